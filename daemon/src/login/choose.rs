//! Which rule decides about a login.

use countersign_policy::{Config, Membership, Rule, Situation};
use jiff::tz::TimeZone;

use super::ending::Ending;
use super::facts::Facts;
use super::rules::Account;
use super::story::Told;
use crate::app::App;
use crate::{clock, person};

/// The rule for a login. The account is there where a rule asks who it is.
///
/// # Errors
/// When it cannot be told which one: then nobody is let in.
pub(super) async fn rule<'c>(
    app: &App,
    facts: &Facts,
    config: &'c Config,
    account: Option<&Account>,
) -> Told<&'c Rule> {
    let groups = match account.and_then(|account| account.uid) {
        Some(uid) => person::membership(uid, config.groups(), facts.by_root)
            .await
            .map_err(|error| Ending::fault(format!("the user's groups are not known: {error}")))?,
        None => Membership::default(),
    };
    let user = account.map_or(facts.user.as_str(), |account| account.name.as_str());
    Ok(config.rule_for(&Situation {
        service: &facts.service,
        stage: facts.stage,
        user,
        groups,
        requester: facts.requester.as_deref(),
        remote: facts.remote.as_ref(),
        host: &app.host.name,
        terminal: facts.terminal.as_deref(),
        ssh_key: facts.ssh_key.as_ref(),
        command: facts.command.as_deref(),
        action: facts.asked_action(),
        origins: &facts.origins,
        new_source: app.sources.is_new(user, &facts.source()),
        now: clock::now(),
        zone: TimeZone::system(),
    }))
}
