//! The calls of a pairing, in their order: asked by the user themselves, it begins with the approval of
//! a paired device; with a new device it goes on as [`crate::pairing`] says; at its end the device is
//! rung.

use super::{Answer, Refusal, Session};
use crate::app::App;
use crate::devices::Device;
use crate::login::{self, Asked, Typed};
use crate::pairing::Pairing;
use crate::person::Person;
use countersign_protocol::manage::{
    PairingAnswered, PairingChecked, PairingOpened, PairingStep, Rung, error,
};
use std::rc::Rc;

/// How far a pairing is.
pub(super) enum Step {
    /// There is none.
    None,
    /// A paired device was asked.
    Asked(Asked, Person),
    /// A new device may answer.
    Open(Box<Pairing>, Person),
    /// It may be rung.
    Paired(Device, Person),
}

impl Step {
    /// Tells the phones when a question has ended while nobody calls. Never comes back by itself.
    pub(super) async fn tell_end(&self) {
        match self {
            Self::Asked(asked, _) => asked.tell_end().await,
            _ => std::future::pending().await,
        }
    }
}

impl Session {
    pub(super) async fn pair(&mut self, user: &str) -> Answer<PairingStep> {
        let person = self.permitted(user).await?;
        self.give_up().await;
        if self.caller.root_socket {
            return Ok(PairingStep::Opened(self.open_pairing(person, None).await?));
        }
        self.app.approvers.has_room_for_users().map_err(|full| Refusal::fault(full.to_string()))?;
        let asked = ask(&self.app, &person).await?;
        let step = PairingStep::Approve { tries: asked.tries(), expires_in: asked.left() };
        self.step = Step::Asked(asked, person);
        Ok(step)
    }

    pub(super) async fn pair_approve(&mut self, code: &str) -> Answer<PairingStep> {
        let Step::Asked(asked, _) = &self.step else { return no_pairing() };
        let typed = tokio::select! {
            typed = asked.typed(code) => typed,
            () = self.connection.closed() => return Err(Refusal::fault("the caller is gone")),
        };
        if typed == Typed::Again {
            return Ok(PairingStep::Approve { tries: asked.tries(), expires_in: asked.left() });
        }
        let by = self.by();
        let Step::Asked(asked, person) = std::mem::replace(&mut self.step, Step::None) else {
            return no_pairing();
        };
        asked.finish(&by).await.map_err(|error| {
            Refusal::fault(format!("not done, since the audit cannot be written: {error}"))
        })?;
        match typed {
            Typed::Granted(approver) => {
                Ok(PairingStep::Opened(self.open_pairing(person, Some(approver)).await?))
            }
            Typed::Over(why) => Err(Refusal(error::REFUSED, why)),
            Typed::Again => no_pairing(),
        }
    }

    async fn open_pairing(&mut self, person: Person, approver: Option<String>) -> Answer<PairingOpened> {
        let (pairing, opened) = Pairing::open(&self.app, &person, approver).await?;
        self.step = Step::Open(Box::new(pairing), person);
        Ok(opened)
    }

    pub(super) async fn pair_wait(&mut self) -> Answer<PairingAnswered> {
        let Step::Open(pairing, _) = &mut self.step else { return no_pairing() };
        tokio::select! {
            answered = pairing.wait(&self.app) => answered,
            () = self.connection.closed() => Err(Refusal::fault("the caller is gone")),
        }
    }

    pub(super) async fn pair_code(&mut self, code: &str) -> Answer<PairingChecked> {
        let Step::Open(pairing, person) = &mut self.step else { return no_pairing() };
        let checked = pairing.check(&self.app, &self.caller, code).await;
        if pairing.is_over() {
            let paired = pairing.paired_device().map(|device| (device, person.clone()));
            self.step = paired.map_or(Step::None, |(device, person)| Step::Paired(device, person));
        }
        checked
    }

    pub(super) async fn ring(&mut self) -> Answer<Rung> {
        // Once: a device that is paired must not be rung at anybody's will.
        let Step::Paired(device, person) = std::mem::replace(&mut self.step, Step::None) else {
            return Err(Refusal(error::NOT_FOUND, "no device was paired on this connection just now".into()));
        };
        tokio::select! {
            rung = login::ring(&self.app, &person, device) => {
                rung.map(|answer| Rung { answer }).map_err(Refusal::unreachable)
            }
            () = self.connection.closed() => Err(Refusal::fault("the caller is gone")),
        }
    }

    /// Ends what has not come to its end.
    pub(super) async fn give_up(&mut self) {
        match std::mem::replace(&mut self.step, Step::None) {
            Step::None | Step::Paired(..) => {}
            Step::Asked(asked, _) => {
                if let Err(error) = asked.finish(&self.by()).await {
                    self.app.log.error(&format!("the audit cannot be written: {error}"));
                }
            }
            Step::Open(pairing, _) => pairing.give_up(&self.app).await,
        }
    }
}

/// Asks the user's paired devices whether another one may be paired.
async fn ask(app: &Rc<App>, person: &Person) -> Answer<Asked> {
    if app.devices.for_user(&person.name).is_empty() {
        let text = "your first device is paired by root: sudo countersign pair YOU";
        return Err(Refusal(error::NOT_PERMITTED, text.into()));
    }
    if !app.logins.may_ask(person.uid) {
        return Err(Refusal(error::NOT_PERMITTED, "you have asked too often; try again in a minute".into()));
    }
    Asked::begin(app, person, "pairing", "pair one more device").await.map_err(Refusal::unreachable)
}

fn no_pairing<T>() -> Answer<T> {
    Err(Refusal(error::NOT_FOUND, "no pairing is at this step on this connection; call Pair first".into()))
}
