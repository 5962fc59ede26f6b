//! A login's hold on its request: posts it, and sees to it that the phones learn of its end,
//! however the login ends.

use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::message::Confirm;

use super::ending::Ending;
use super::facts::Facts;
use super::request::OpenRequest;
use super::state::Event;
use crate::app::App;
use crate::clock;
use crate::person::Person;

/// How long phones and server keep the end of a request, after the request itself would have ended.
const END_KEPT: Duration = Duration::from_secs(300);

/// An open request, held by its login. Letting go of it withdraws it.
pub struct Open {
    app: Rc<App>,
    request: Rc<OpenRequest>,
}

impl Open {
    /// Makes a request to all of a person's devices and posts it. Afterwards it is posted or
    /// unreachable, or, when somebody was quick, decided.
    pub(super) async fn begin(
        app: &Rc<App>,
        facts: &Facts,
        account: &Person,
        person: &str,
        confirm: Confirm,
        wait: Duration,
    ) -> Result<Self, Ending> {
        let devices = app.devices.for_user(person);
        let request = OpenRequest::new(&app.host, facts, (account, person), devices, confirm, wait)
            .map_err(Ending::fault)?;
        app.logins.keep(&request);
        let open = Self { app: app.clone(), request };
        open.post().await.map_err(Ending::fault)?;
        Ok(open)
    }

    /// Posts once more after the server was away. Whether it worked is the request's state.
    pub(super) async fn post_again(&self) {
        if let Err(error) = self.post().await {
            self.app.log.warning(&error);
        }
    }

    async fn post(&self) -> Result<(), String> {
        let request = &self.request;
        let relay = &self.app.relay;
        let posted = if request.devices.is_empty() {
            // To nobody: as reachable and as slow as the server is for everybody else.
            relay.post_nothing().await
        } else {
            let began = clock::boot();
            let messages = request.sealed(&self.app.host)?;
            let posted = relay.post(&request.id, messages, request.deadline).await;
            if posted.is_ok() {
                relay.note_time(clock::boot().saturating_sub(began));
            }
            posted
        };
        request.happens(if posted.is_ok() { Event::Acknowledged } else { Event::Lost });
        Ok(())
    }

    /// Tells the phones, once the request has ended. Telling twice does no harm.
    pub(super) fn tell_end(&self) {
        if !self.request.state().is_end() || self.request.devices.is_empty() || self.request.told() {
            return;
        }
        match self.request.sealed_closed(&self.app.host) {
            Ok(messages) => {
                self.app.relay.close(&self.request.id, messages, self.request.deadline + END_KEPT)
            }
            Err(error) => self.app.log.warning(&error),
        }
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
        self.request.happens(Event::HangUp);
        self.tell_end();
    }
}
