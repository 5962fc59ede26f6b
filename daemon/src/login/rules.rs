//! What the rule that matched says about a login.

use countersign_protocol::login::Stage;
use countersign_protocol::message::{Confirm, Kind};

use super::ending::Ending;
use super::facts::Facts;
use super::request::OpenRequest;
use super::story::Told;
use crate::app::App;
use crate::budget::Past;
use crate::person::Person;
use countersign_policy::{Ask, Factor, Rule, Unenrolled, WithoutPrompt};

/// Whose phone is asked. For su and polkit to root the caller's, since nobody carries root's, and for what root asks for
/// that of who is logged in behind it; whoever else names a caller (a remote shell, a mail server) may have that name
/// from the other side.
pub(super) fn whom(rule: &Rule, facts: &Facts, account: &Account) -> String {
    let asked_for_other =
        facts.by_root && (facts.kind == Kind::Command || facts.is_polkit() || facts.is_ask());
    // Whoever else is named by `countersign ask --user` was named for their phone.
    let asks_caller = rule.ask == Ask::Caller && !facts.is_ask();
    match facts.requester.as_ref().filter(|_| asked_for_other) {
        Some(caller) if asks_caller || account.uid == Some(0) => caller.clone(),
        _ => account.name.clone(),
    }
}

/// What the person has to do beside approving. Where nothing can be asked, that is the rule's `without_prompt`.
pub(super) fn confirm(rule: &Rule, facts: &Facts) -> Told<Confirm> {
    match (facts.stage, rule.without_prompt) {
        (Stage::Auth, _) if facts.can_ask() || rule.confirm == Confirm::Tap => Ok(rule.confirm),
        (_, WithoutPrompt::Tap) => Ok(Confirm::Tap),
        (Stage::Auth, WithoutPrompt::Refuse) if facts.is_ask() => Err(Ending::no_terminal()),
        (Stage::Auth, WithoutPrompt::Refuse) => Err(Ending::one_field()),
        (Stage::Session, WithoutPrompt::Refuse) => Err(Ending::key_alone()),
    }
}

/// What may be typed while the server is away, each once.
pub(super) fn offline_factors(rule: &Rule) -> Vec<Factor> {
    let mut factors = rule.codes.clone();
    factors.extend(rule.offline.iter().copied().filter(|factor| !rule.codes.contains(factor)));
    factors.retain(|factor| *factor != Factor::Lease && counts(*factor, rule));
    factors
}

/// Whether a factor means anything under a rule: one phone's code is not the word of several people.
fn counts(factor: Factor, rule: &Rule) -> bool {
    factor != Factor::PhoneCode || rule.approvals.is_none()
}

/// Whether a factor may be typed now.
pub(super) fn may_type(factor: Factor, open: &OpenRequest, rule: &Rule) -> bool {
    counts(factor, rule)
        && (rule.codes.contains(&factor) || (rule.offline.contains(&factor) && open.is_unreachable()))
}

/// The account that is entered.
pub(super) struct Account {
    /// Canonical where it is known.
    pub(super) name: String,
    /// `None`: the name service knows nobody of that name.
    pub(super) uid: Option<u32>,
}

impl Account {
    /// As it stands in a request. What is made for an unknown name is never sent.
    pub(super) fn known(&self) -> Person {
        Person { name: self.name.clone(), uid: self.uid.unwrap_or(u32::MAX) }
    }
}

/// Whether a person who never had a device is let pass.
pub(super) async fn skips(app: &App, rule: &Rule) -> bool {
    match rule.unenrolled {
        Unenrolled::Deny => false,
        Unenrolled::SkipUntil(date) => match app.budget.is_past(date).await {
            Ok(Past::No) => true,
            Ok(Past::Yes) => false,
            Ok(Past::Clock) => {
                app.log.notice(
                    "skip_until counts as passed, since the clock once stood beyond it; if that was wrong, stop \
                     countersignd, remove budget.json from its folder and start it again",
                );
                false
            }
            Err(error) => {
                app.log.error(&error.to_string());
                false
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts;
    use countersign_policy as config;

    #[test]
    fn a_caller_is_asked_only_where_the_host_itself_names_one() {
        let mut rule = config::read("server = \"http://127.0.0.1:1\"\n").unwrap().default;
        let root = Account { name: "root".to_owned(), uid: Some(0) };
        let bob = Account { name: "bob".to_owned(), uid: Some(1001) };
        let with =
            |kind, by_root| Facts { kind, by_root, requester: Some("eve".to_owned()), ..facts("root") };
        assert_eq!(whom(&rule, &with(Kind::Command, true), &root), "eve");
        assert_eq!(whom(&rule, &with(Kind::Command, true), &bob), "bob");
        rule.ask = Ask::Caller;
        assert_eq!(whom(&rule, &with(Kind::Command, true), &bob), "eve");
        let polkit = Facts { service: "polkit-1".to_owned(), ..with(Kind::Action, true) };
        assert_eq!(whom(&rule, &polkit, &bob), "eve");
        let ask = Facts { service: "ask".to_owned(), ..with(Kind::Action, true) };
        assert_eq!(whom(&rule, &ask, &root), "eve");
        assert_eq!(whom(&rule, &ask, &bob), "bob", "--user names whose phone is asked");
        assert_eq!(whom(&rule, &with(Kind::Action, true), &root), "root");
        for (kind, by_root) in [(Kind::Login, true), (Kind::Unlock, true), (Kind::Command, false)] {
            assert_eq!(whom(&rule, &with(kind, by_root), &bob), "bob");
        }
    }
}
