//! What everything in the daemon shares. One thread, so no locks.

use crate::approvers::Approvers;
use crate::audit::Audit;
use crate::budget::{Budget, Try};
use crate::clock;
use crate::devices::Devices;
use crate::events::Events;
use crate::fatigue::Fatigue;
use crate::files::Owner;
use crate::geoip::Geoip;
use crate::hook::Hook;
use crate::leases::Leases;
use crate::log::Log;
use crate::login::Logins;
use crate::notices::Notices;
use crate::polkit::Questions;
use crate::recovery::Recovery;
use crate::relay::Relay;
use crate::removal::Refusals;
use crate::sources::Sources;
use crate::totp::Totp;
use countersign_policy::{Config, Loaded};
use countersign_protocol::keys::{PublicKey, SigningKey};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// The daemon.
pub struct App {
    /// Where its files are.
    pub paths: Paths,
    /// Who may own the administrator's files beside root.
    pub administrator: Owner,
    /// The policy, and what is wrong with it; ask [`App::config`].
    pub config: RefCell<Loaded>,
    /// Who this host is.
    pub host: HostIdentity,
    /// Which keys may decide for whom.
    pub approvers: Approvers,
    /// The paired devices.
    pub devices: Devices,
    /// What happened.
    pub audit: Audit,
    /// Failures of typed factors.
    pub budget: Rc<Budget>,
    /// Recovery codes.
    pub recovery: Recovery,
    /// Authenticators.
    pub totp: Totp,
    /// Who was asked too often, and who is refused from where.
    pub fatigue: Fatigue,
    /// Where addresses may be.
    pub geoip: Geoip,
    /// Where users were let in from.
    pub sources: Sources,
    /// What administrators read.
    pub log: Log,
    /// The connection to the server.
    pub relay: Relay,
    /// The logins that wait.
    pub logins: Logins,
    /// The leases that were granted.
    pub leases: Leases,
    /// What devices were told about each other.
    pub notices: Notices,
    /// Who watches what happens.
    pub events: Events,
    /// The administrator's own program.
    pub hook: Hook,
    /// What polkit is about to ask a password for.
    pub polkit: Questions,
    /// Removals that were not believed lately.
    pub refusals: Refusals,
}

/// Who this host is.
pub struct HostIdentity {
    /// Its signing key.
    pub key: Arc<SigningKey>,
    /// Its name, for people.
    pub name: String,
    /// Its public key.
    pub public: PublicKey,
}

/// Where the daemon's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The configuration; the administrator's `approvers` and `revoked` are beside it.
    pub config: PathBuf,
    /// The daemon's own files.
    pub state: PathBuf,
    /// The sockets.
    pub run: PathBuf,
}

impl App {
    /// The policy in force.
    ///
    /// # Errors
    /// What is wrong with the configuration, when none was ever good: then nobody is let in.
    pub fn config(&self) -> Result<Rc<Config>, String> {
        let loaded = self.config.borrow();
        loaded.good.clone().ok_or_else(|| loaded.faults.join("; "))
    }

    /// The latest time that is known of, in seconds since 1970: whatever has ended by it does not begin again when the
    /// clock is set back.
    #[must_use]
    pub(crate) fn latest(&self) -> u64 {
        clock::unix().max(self.budget.now())
    }

    /// Whether a user has any code that could be guessed: one printed, an authenticator's or a phone's.
    #[must_use]
    pub fn has_something_to_guess(&self, user: &str) -> bool {
        self.recovery.holds(user) || self.totp.has(user) || !self.devices.for_user(user).is_empty()
    }

    /// Leave to compare one code that this user typed, unless too many were wrong.
    ///
    /// # Errors
    /// When it cannot be written down: then nothing may be compared.
    pub async fn leave_to_guess(&self, user: &str) -> io::Result<Option<Try>> {
        Ok(self.budget.take(user, |user| self.has_something_to_guess(user)).await?.ok())
    }
}

impl Paths {
    /// The administrator's folder.
    #[must_use]
    pub fn administrator(&self) -> &Path {
        self.config.parent().unwrap_or(Path::new("/"))
    }

    /// A file of the daemon's own.
    #[must_use]
    pub fn own(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }
}

#[cfg(test)]
mod tests {
    use crate::clock;
    use crate::testing::{Lab, TestDevice};
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn after_a_start_invented_names_free_nobody_who_has_any_factor() {
        let lab = Lab::new();
        lab.app.totp.new_secret("alice").await.unwrap();
        lab.app.recovery.new_codes("bob", 1).await.unwrap();
        lab.pair("carol", &TestDevice::new()).await;
        let now = clock::unix();
        let holders = ["alice", "bob", "carol"];
        let mut users: BTreeMap<String, Vec<u64>> =
            holders.iter().map(|name| ((*name).to_owned(), vec![now - 60; 5])).collect();
        users.extend((users.len()..1_000).map(|number| (format!("invented{number}"), vec![now - 30])));
        let file = serde_json::json!({ "high_water": now, "users": users });
        crate::files::replace(&lab.app.paths.own("budget.json"), file.to_string().as_bytes()).unwrap();

        let lab = lab.restarted();
        for number in 0..10 {
            assert!(lab.app.leave_to_guess(&format!("another{number}")).await.unwrap().is_some());
        }
        for name in holders {
            assert!(lab.app.leave_to_guess(name).await.unwrap().is_none(), "{name}'s failures still count");
        }
    }
}
