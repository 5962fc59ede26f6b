//! A login's hold on its request: posts it, and sees to it that the phones learn of its end,
//! however the login ends. That somebody was let in they learn once it is written down.

use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::message::{Confirm, Kind};

use super::ending::Ending;
use super::facts::Facts;
use super::panel::Panel;
use super::request::OpenRequest;
use super::state::{Event, State};
use crate::app::App;
use crate::devices::Device;
use crate::fatigue::Counted;
use crate::leases::Offer;
use crate::person::{Member, Person};
use crate::relay::Trouble;
use crate::{notices, verify};

/// How long phones and server keep the end of a request, after the request itself would have ended.
const END_KEPT: Duration = Duration::from_secs(300);

/// How a person is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manner {
    /// What has to be done beside approving.
    pub(super) confirm: Confirm,
    /// For how long.
    pub(super) wait: Duration,
    /// Whether devices ring for it, unless they have rung too often.
    pub(super) ring: bool,
    /// The lease that may be granted with it.
    pub(super) lease: Option<Offer>,
}

/// An open request, held by its login. Letting go of it withdraws it, unless it has ended.
pub struct Open {
    app: Rc<App>,
    request: Rc<OpenRequest>,
    counted: Counted,
}

impl Open {
    /// Makes a request to all of a person's devices and posts it. Afterwards it is posted or
    /// unreachable, or, when somebody was quick, decided.
    pub(super) async fn begin(
        app: &Rc<App>,
        facts: &Facts,
        account: &Person,
        person: &str,
        manner: Manner,
    ) -> Result<Self, Ending> {
        let panel = Panel::of_one(person, app.devices.for_user(person));
        Self::begin_with(app, facts, (account, person), panel, manner).await
    }

    /// The same to others, or to some devices only.
    pub(super) async fn begin_with(
        app: &Rc<App>,
        facts: &Facts,
        whom: (&Person, &str),
        panel: Panel,
        manner: Manner,
    ) -> Result<Self, Ending> {
        let Manner { confirm, wait, ring, lease } = manner;
        let request =
            OpenRequest::new(&app.host, facts, whom, panel, confirm, wait, lease).map_err(Ending::fault)?;
        // It goes to the server in front of the request, each time that the request does.
        if let Some(list) = request.list.take().filter(|_| !request.devices.is_empty()) {
            let sealed = list.seal(&request.id).map_err(|error| Ending::fault(error.to_string()))?;
            app.relay
                .keep_list(&request.id, sealed, facts.by_root, request.deadline)
                .map_err(Ending::too_many_lists)?;
        }
        app.logins.keep(&request);
        app.events.opened(&request);
        // A device that is just being tried out is no login of its person.
        let counts = ring && !request.devices.is_empty() && facts.kind != Kind::Test;
        let mut counted = app.fatigue.begin(request.asking.clone(), counts);
        counted.rings |= ring && facts.kind == Kind::Test;
        let open = Self { app: app.clone(), request, counted };
        open.post().await?;
        Ok(open)
    }

    /// Posts once more after the server was away. Whether it worked is the request's state.
    ///
    /// # Errors
    /// When it is over.
    pub(super) async fn post_again(&self) -> Result<(), Ending> {
        self.post().await
    }

    async fn post(&self) -> Result<(), Ending> {
        self.bring_list().await?;
        let request = &self.request;
        let relay = &self.app.relay;
        let posted = if request.devices.is_empty() {
            // To nobody: as reachable as the server is for everybody else.
            let posted = relay.post_nothing().await;
            if posted.is_err() {
                // What is to be posted later is sealed by then.
                request.sealed_to_nobody(&self.app.host).map_err(Ending::fault)?;
            }
            posted
        } else {
            let messages = request.sealed(&self.app.host).map_err(Ending::fault)?;
            // In a box that goes with the post: who waits for a person would hold its room for as long.
            Box::pin(relay.post(&request.id, messages, request.deadline, self.counted.rings)).await
        };
        request.happens(if posted.is_ok() { Event::Acknowledged } else { Event::Lost });
        Ok(())
    }

    /// The list goes first, so that no phone asks for one that is not there yet. How long it is was the caller's choice, so
    /// that what becomes of it decides about nothing else: only where the server is gone, too, it is out of reach.
    async fn bring_list(&self) -> Result<(), Ending> {
        let (relay, seen) = (&self.app.relay, self.state());
        let why = tokio::select! {
            biased;
            brought = relay.bring_list(&self.id) => match brought {
                Err(why) if !relay.is_gone() => why,
                _ => return Ok(()),
            },
            // Taken back, or its time is over; after an outage it may be posted, too.
            () = self.changed_from(seen) => match self.state() {
                State::Expired => Trouble::of("the rule's wait is over before it is there"),
                state if state.is_end() => return Err(Ending::of_request(self)),
                _ => return Ok(()),
            },
        };
        Err(Ending::list_not_taken(&why))
    }

    /// Lets the approvals take effect; `false` where it is too late for that. One that no longer counts ends
    /// the request like a denial. `members` are those whom the rule names now, where it names any.
    ///
    /// # Errors
    /// Why it no longer counts, for the administrator.
    pub(super) fn confirm(&self, members: &[Member]) -> Result<bool, String> {
        if let Err(why) = verify::still_counts(&self.app, &self.request, members) {
            self.request.happens(Event::Deny);
            return Err(format!("the approval no longer counts: {why}"));
        }
        Ok(self.request.happens(Event::Confirmed))
    }

    /// Tells the phones, once the request has ended. Telling twice does no harm. What lets somebody in
    /// is told by [`settle`].
    pub(super) fn tell_end(&self) {
        if !self.request.lets_in() {
            tell(&self.app, &self.request);
        }
    }
}

/// Tells the phones of a request that has let somebody in, now that it is known whether that was
/// written down and so has happened. Does nothing for any other.
pub(super) fn settle(app: &App, request: &OpenRequest, written: bool) {
    if request.lets_in() {
        if !written {
            request.undo();
        } else if !request.devices.is_empty() {
            app.fatigue.succeeded(&request.asking);
        }
        tell(app, request);
    }
}

fn tell(app: &App, request: &OpenRequest) {
    if !request.state().is_end() || request.told() {
        return;
    }
    app.events.closed(request);
    if request.devices.is_empty() {
        return;
    }
    let mut messages = match request.sealed_closed(&app.host) {
        Ok(messages) => messages,
        Err(error) => return app.log.warning(&error),
    };
    // Here because phones are awake now, and whoever learns of the post learns nothing more.
    let mut daily = Vec::new();
    for person in request.people() {
        let theirs: Vec<Device> =
            request.devices.iter().filter(|device| device.user == person).cloned().collect();
        let batch = notices::daily(app, person, &theirs, messages.len());
        messages.extend(batch.iter().flat_map(|batch| batch.messages.clone()));
        daily.extend(batch);
    }
    if app.relay.close(&request.id, messages, request.deadline + END_KEPT) {
        daily.iter().for_each(|batch| app.notices.note(batch));
    }
}

impl Deref for Open {
    type Target = Rc<OpenRequest>;

    fn deref(&self) -> &Self::Target {
        &self.request
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.app.relay.may_have_rung(&self.request.id) {
            self.app.fatigue.give_back(&self.counted);
        }
        self.request.happens(Event::HangUp);
        self.tell_end();
    }
}
