//! What a lease holds for: whoever comes again has to be the same in all of it.

use countersign_protocol::message::{Kind, RemoteSource, Request};
use serde::{Deserialize, Serialize};

use crate::login::facts::Facts;
use crate::person::Person;

/// Whom a lease lets in, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The account that is entered, and its number: a name may become another's.
    pub user: String,
    /// See [`Binding::user`].
    pub uid: u32,
    /// The PAM service.
    pub service: String,
    /// Who typed the command.
    pub requester: Option<String>,
    /// From where.
    pub place: Place,
}

/// Where a lease holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Place {
    /// At the other end of a connection, with a key.
    Remote {
        /// The address, in the kernel's word.
        address: String,
        /// The key's fingerprint.
        key: String,
    },
    /// In one session on one terminal of this host.
    Local {
        /// The session leader's process.
        leader: i32,
        /// When that was started.
        started: u64,
        /// The terminal.
        terminal: String,
        /// The address that the application names, if any.
        from: Option<String>,
    },
}

impl Binding {
    /// What a lease for this login would hold for. `None` where there is none: for whoever is not root and so
    /// may say anything, for ssh without a key or without the kernel's word for its peer, for root's own
    /// account from elsewhere, and for programs that were not started in a session on a terminal.
    #[must_use]
    pub fn of(facts: &Facts, account: &Person) -> Option<Self> {
        if !facts.by_root {
            return None;
        }
        let place = match facts.kind {
            Kind::Login if facts.is_sshd() && account.uid != 0 => {
                let remote = facts.remote.as_ref().filter(|remote| remote.source == RemoteSource::Kernel)?;
                let key = &facts.ssh_key.as_ref()?.fingerprint;
                Place::Remote { address: remote.address.clone(), key: key.clone() }
            }
            Kind::Command => {
                let session = facts.session?;
                Place::Local {
                    leader: session.leader,
                    started: session.started,
                    terminal: facts.terminal.clone()?,
                    from: facts.remote.as_ref().map(|remote| remote.address.clone()),
                }
            }
            _ => return None,
        };
        Some(Self {
            user: account.name.clone(),
            uid: account.uid,
            service: facts.service.clone(),
            requester: facts.requester.clone(),
            place,
        })
    }

    /// Whether this is what the person was shown: the signed request says the same, as far as it says it.
    #[must_use]
    pub fn is_of(&self, request: &Request) -> bool {
        let address = request.remote.as_ref().map(|remote| remote.address.as_str());
        let place = match &self.place {
            Place::Remote { address: bound, key } => {
                let from = request.remote.as_ref().map(|remote| remote.source);
                let used = request.ssh_key.as_ref().map(|key| key.fingerprint.as_str());
                request.kind == Kind::Login
                    && from == Some(RemoteSource::Kernel)
                    && address == Some(bound)
                    && used == Some(key)
            }
            Place::Local { terminal, from, .. } => {
                request.kind == Kind::Command
                    && request.terminal.as_ref() == Some(terminal)
                    && address == from.as_deref()
            }
        };
        place
            && request.user == self.user
            && request.uid == self.uid
            && request.service == self.service
            && request.requester == self.requester
    }
}
