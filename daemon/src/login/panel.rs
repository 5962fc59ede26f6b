//! Whose decisions a request needs: those of the person's own devices, or of several people whom the rule names.

use std::collections::{HashMap, HashSet};

use countersign_policy::Approvals;
use countersign_protocol::api::MAX_MESSAGES;
use countersign_protocol::certificate::Certificate;
use countersign_protocol::sshsig::Signed;
use tokio::time::Instant;

use crate::app::App;
use crate::devices::Device;
use crate::person::{self, Candidate, LookupError, Member, Question};
use crate::verify::Verified;

/// Most devices that are asked for one login: its messages go out in one post.
pub(crate) const MOST_DEVICES: usize = MAX_MESSAGES;

/// Who decides about a request.
pub struct Panel {
    /// How many different people have to approve.
    pub(super) needed: u8,
    /// Their names and groups, as phones show them.
    pub(super) from: Vec<String>,
    /// The devices that are asked, each for its own person; a key stands here once.
    pub(super) devices: Vec<Device>,
    /// Those of the people whom only certificates name: each approval of theirs needs one.
    pub(super) certified: Vec<String>,
    /// What the rule says of several people: asked once more before anybody is let in.
    pub(super) rule: Option<Approvals>,
}

impl Panel {
    /// One person, by some of their devices.
    #[must_use]
    pub fn of_one(person: &str, devices: Vec<Device>) -> Self {
        Self { needed: 1, from: vec![person.to_owned()], devices, certified: Vec::new(), rule: None }
    }

    /// The people whom a rule names, as the name service knows them now. Where too few of them have a device
    /// nobody is asked: it could only be in vain. `waits_since` is when whoever logs in began to wait for an answer.
    ///
    /// # Errors
    /// When the name service does not say who they are.
    pub(super) async fn of_several(
        app: &App,
        approvals: &Approvals,
        for_root: bool,
        waits_since: Instant,
    ) -> Result<Self, LookupError> {
        let mut devices =
            if approvals.principals().next().is_some() { app.devices.all() } else { Vec::new() };
        devices.retain(|device| is_certified(app, approvals, device));
        let certified: HashSet<String> = devices.into_iter().map(|device| device.user).collect();
        let users = app.devices.users().into_iter();
        let users = users.map(|name| Candidate { is_certified: certified.contains(&name), name });
        let question =
            Question { named: approvals.from.clone(), needed: approvals.needed.into(), waits_since };
        let found = person::survey(users.collect(), question, for_root).await?;
        let (of_each, shared) = devices_of(app, approvals, &found.members);
        if let Some((why, users)) = found.unknown {
            if of_each.len() < usize::from(approvals.needed) {
                return Err(why);
            }
            app.log.warning(&format!(
                "{why}: of {users} users it is not known whether they may approve, they are not asked"
            ));
        }
        for key in shared {
            app.log.warning(&format!(
                "device {key} is paired for several of those who may approve, and so is asked for none of them: \
                 it could speak for two people"
            ));
        }
        let mut devices = Vec::new();
        if of_each.len() < usize::from(approvals.needed) {
            let (needed, have, from) = (approvals.needed, of_each.len(), approvals.names().join(", "));
            app.log.notice(&format!(
                "{needed} people of {from} are needed, and {have} of them have a device: nobody is asked"
            ));
        } else {
            devices = in_turns(of_each);
        }
        let certified =
            found.members.into_iter().filter(|member| !member.by_name).map(|member| member.person.name);
        Ok(Self {
            needed: approvals.needed,
            from: approvals.names(),
            devices,
            certified: certified.collect(),
            rule: Some(approvals.clone()),
        })
    }
}

/// Which of those who have approved a rule names now, each person once.
///
/// # Errors
/// When the name service does not say.
pub(super) async fn members(
    app: &App,
    approved: &[Verified],
    approvals: &Approvals,
    for_root: bool,
) -> Result<Vec<Member>, LookupError> {
    let now = app.latest();
    let users = approved.iter().map(|taken| {
        let is_certified = certify(app, approvals, &taken.person, &taken.signed, now).is_ok();
        Candidate { name: taken.person.clone(), is_certified }
    });
    person::members(users.collect(), approvals.from.clone(), for_root).await
}

/// The certificate by which what a key has signed counts as a word of one of a rule's principals.
///
/// # Errors
/// Why not, for the log.
pub(crate) fn certify(
    app: &App,
    approvals: &Approvals,
    person: &str,
    signed: &Signed,
    at_unix: u64,
) -> Result<Certificate, String> {
    let mut refusal = String::from("no principal of certificates may approve");
    for principal in approvals.principals() {
        match app.approvers.certify(principal, person, signed, at_unix) {
            Ok(certificate) => return Ok(certificate),
            Err(why) => refusal = why,
        }
    }
    Err(refusal)
}

/// The same of whatever this device will sign.
fn is_certified(app: &App, approvals: &Approvals, device: &Device) -> bool {
    let signed = Signed { key: device.card.key.clone(), certificate: None };
    certify(app, approvals, &device.user, &signed, app.latest()).is_ok()
}

/// Each person's devices, less those that are paired for more than one of them; and those. Of whom only certificates
/// name these are the certified ones.
fn devices_of(app: &App, approvals: &Approvals, people: &[Member]) -> (Vec<Vec<Device>>, Vec<String>) {
    let of_one = |member: &Member| {
        let mut devices = app.devices.for_user(&member.person.name);
        devices.retain(|device| member.by_name || is_certified(app, approvals, device));
        devices
    };
    let all: Vec<Vec<Device>> = people.iter().map(of_one).collect();
    let mut owners: HashMap<String, usize> = HashMap::new();
    for device in all.iter().flatten() {
        *owners.entry(device.id()).or_default() += 1;
    }
    let is_shared = |device: &Device| owners.get(&device.id()).is_some_and(|owners| *owners > 1);
    let mut shared: Vec<String> = all
        .iter()
        .flatten()
        .filter(|device| is_shared(device))
        .map(|device| device.card.key.fingerprint())
        .collect();
    shared.sort();
    shared.dedup();
    let alone =
        all.into_iter().map(|of_one| of_one.into_iter().filter(|one| !is_shared(one)).collect::<Vec<_>>());
    (alone.filter(|of_one| !of_one.is_empty()).collect(), shared)
}

/// As many as one post holds: first everybody's device that decided last, then everybody's next one.
fn in_turns(mut of_each: Vec<Vec<Device>>) -> Vec<Device> {
    for of_one in &mut of_each {
        of_one.sort_by_key(|device| std::cmp::Reverse(device.last_used_at.max(Some(device.paired_at))));
    }
    let most = of_each.iter().map(Vec::len).max().unwrap_or_default();
    let turns = (0..most).flat_map(|turn| of_each.iter().filter_map(move |of_one| of_one.get(turn)));
    turns.take(MOST_DEVICES).cloned().collect()
}

#[cfg(test)]
mod principals;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::facts::Facts;
    use crate::login::request::OpenRequest;
    use crate::person::Person;
    use crate::testing::{self, Lab, TestDevice};
    use countersign_policy::{Confirm, MAX_NAMES, Named};
    use countersign_protocol::login::MAX_COMMAND;
    use std::time::Duration;

    fn oncall(needed: u8) -> Approvals {
        Approvals { from: vec![Named::Group("oncall".into()), Named::User("carol".into())], needed }
    }

    async fn asked(lab: &Lab, needed: u8) -> Vec<String> {
        let panel = Panel::of_several(&lab.app, &oncall(needed), true, Instant::now()).await.unwrap();
        panel.devices.iter().map(|device| device.user.clone()).collect()
    }

    #[tokio::test]
    async fn those_are_asked_who_are_named_and_have_a_device() {
        person::groups_for_tests(&[("oncall", &["alice", "bob", "dora"])]);
        let lab = Lab::new();
        for user in ["alice", "alice", "bob", "carol", "eve"] {
            lab.pair(user, &TestDevice::new()).await;
        }
        assert_eq!(asked(&lab, 2).await, ["alice", "bob", "carol", "alice"], "everybody's first comes first");
        assert_eq!(asked(&lab, 3).await.len(), 4);
        assert_eq!(asked(&lab, 4).await.len(), 0, "nobody rings in vain");
    }

    #[tokio::test]
    async fn a_key_that_is_paired_for_two_of_them_speaks_for_none() {
        person::groups_for_tests(&[("oncall", &["alice", "bob"])]);
        let (lab, shared) = (Lab::new(), TestDevice::new());
        for user in ["alice", "bob"] {
            lab.pair(user, &shared).await;
        }
        lab.pair("carol", &TestDevice::new()).await;
        assert_eq!(asked(&lab, 1).await, ["carol"]);
        assert_eq!(asked(&lab, 2).await.len(), 0);
        // Outside this rule it is hers alone.
        lab.pair("bob", &TestDevice::new()).await;
        assert_eq!(asked(&lab, 2).await, ["bob", "carol"]);
    }

    #[tokio::test]
    async fn no_more_are_asked_than_one_post_holds_and_everybody_before_anybodys_second() {
        let names: Vec<String> = (0..12).map(|number| format!("u{number}")).collect();
        let group: Vec<&str> = names.iter().map(String::as_str).collect();
        person::groups_for_tests(&[("oncall", &group)]);
        let lab = Lab::new();
        for name in &names {
            lab.pair(name, &TestDevice::new()).await;
            lab.pair(name, &TestDevice::new()).await;
        }
        let asked = asked(&lab, 2).await;
        assert_eq!(asked.len(), MOST_DEVICES);
        assert_eq!(asked[..12], names);
    }

    #[tokio::test]
    async fn names_fit_beside_a_long_command_line() {
        let (lab, long) = (Lab::new(), "x".repeat(32));
        let facts = Facts {
            command: Some("c".repeat(MAX_COMMAND)),
            requester: Some(long.clone()),
            terminal: Some("pts/123".into()),
            ..testing::facts(&long)
        };
        let from = vec![Named::User("n".repeat(MAX_NAMES / 8)); 8];
        let panel =
            Panel::of_several(&lab.app, &Approvals { from, needed: 8 }, true, Instant::now()).await.unwrap();
        let person = Person { name: long.clone(), uid: u32::MAX };
        let wait = Duration::from_secs(600);
        let request =
            OpenRequest::new(&lab.app.host, &facts, (&person, &long), panel, Confirm::Code, wait, None);
        assert!(request.is_ok(), "{:?}", request.err());
    }

    #[tokio::test]
    async fn the_name_service_is_asked_for_who_is_in_a_group() {
        let lab = Lab::new();
        lab.pair("root", &TestDevice::new()).await;
        lab.pair("no-such-user-here", &TestDevice::new()).await;
        let of = async |named| {
            let approvals = Approvals { from: vec![named], needed: 1 };
            Panel::of_several(&lab.app, &approvals, true, Instant::now()).await.unwrap().devices.len()
        };
        assert_eq!(of(Named::Group("root".into())).await, 1, "by the primary group, too");
        assert_eq!(of(Named::User("root".into())).await, 1);
        assert_eq!(of(Named::Group("no-such-group".into())).await, 0);
        assert_eq!(of(Named::User("no-such-user-here".into())).await, 0);
    }
}
