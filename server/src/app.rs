//! What all requests share.

use crate::challenges::Challenges;
use crate::config::Config;
use crate::directory::Role;
use crate::limits::Limits;
use crate::lists::Lists;
use crate::mailboxes::Mailboxes;
use crate::messages::{Bounds, Messages};
use crate::metrics::Metrics;
use crate::problem::Fault;
use crate::push::Push;
use crate::registry::{self, Registry};
use crate::tokens::{Caller, Tokens};
use countersign_protocol::{digest, random};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// The server's state.
pub(crate) struct App {
    pub(crate) origin: String,
    pub(crate) behind_proxy: bool,
    /// New at every start: tells clients that everything was forgotten.
    pub(crate) epoch: String,
    pub(crate) registry: Registry,
    pub(crate) challenges: Challenges,
    pub(crate) tokens: Tokens,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) lists: Lists,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) push: Push,
    /// Becomes true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
    messages: Mutex<Messages>,
}

/// As handlers get it.
pub(crate) type Shared = Arc<App>;

impl App {
    pub(crate) fn new(
        config: &Config,
        origin: String,
        registry: Registry,
        push: Push,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            origin,
            behind_proxy: config.behind_proxy,
            epoch: digest::hex(&random::bytes::<8>()),
            registry,
            challenges: Challenges::new(),
            tokens: Tokens::default(),
            mailboxes: Mailboxes::new(config.limits.mailboxes_per_host),
            lists: Lists::default(),
            limits: Limits::new(&config.limits),
            metrics: Metrics::new(push.results()),
            push,
            stopping,
            messages: Mutex::new(Messages::new(Bounds::new(&config.limits))),
        }
    }

    /// The held messages. Never kept across an await.
    pub(crate) fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a known caller call, or says when to come back.
    pub(crate) fn charge(&self, caller: &Caller, cost: u32) -> Result<(), Fault> {
        let charged = match caller.role {
            Role::Host => self.limits.host(caller.peer, cost),
            Role::Device => self.limits.device(caller.peer, cost),
        };
        charged.map_err(|wait| {
            Fault::limit("too many calls with this key; wait as long as Retry-After says", wait)
        })
    }

    /// Lets an unknown caller call, or says when to come back.
    pub(crate) fn charge_address(&self, address: IpAddr) -> Result<(), Fault> {
        self.limits.address(address).map_err(|wait| {
            Fault::limit("too many calls from this address; wait as long as Retry-After says", wait)
        })
    }

    /// Drops expired messages: often, so that no phone is shown what is over.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.messages().sweep(now);
        self.lists.sweep(now);
    }

    /// Forgets everything else that has expired. Nothing of it is taken for good meanwhile.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        self.tokens.sweep(now);
        self.mailboxes.sweep(now);
        self.limits.sweep(now);
        self.challenges.sweep(registry::now());
    }
}
