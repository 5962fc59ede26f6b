//! A new device for a user, through a mailbox at the server: link, answer, code, receipt.

use crate::app::App;
use crate::caller::Caller;
use crate::devices::Device;
use crate::log::Level;
use crate::manage::{Answer, Refusal, by, told, write_record};
use crate::person::Person;
use crate::{clock, events, hook, notices};
use countersign_protocol::api::{MAILBOX_LIFE, MAX_POLL};
use countersign_protocol::audit::Record;
use countersign_protocol::card::VerifiedCard;
use countersign_protocol::manage::{PairingAnswered, PairingChecked, PairingOpened, error};
use countersign_protocol::message::{DeviceChange, Host};
use countersign_protocol::pairing::{CodeError, HostPairing, TRIES};
use countersign_relay_client::{RelayClient, Slot};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How often the receipt is tried; without it the phone does not believe that it is paired.
const RECEIPT_TRIES: u32 = 5;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause between two questions to the mailbox, each of which the server may hold for long.
const BETWEEN_POLLS: Duration = Duration::from_millis(100);

/// A pairing that is under way.
pub(crate) struct Pairing {
    client: Arc<RelayClient>,
    pairing: HostPairing,
    /// First message of the mailbox that was not looked at yet.
    next: usize,
    ends: Instant,
    over: bool,
    /// Key id of the device that approved it.
    approver: Option<String>,
    paired: Option<Device>,
}

impl Pairing {
    /// Opens a mailbox, and gives the link to it. `approver` is the device that has approved it, where
    /// the user asks without being root.
    pub(crate) async fn open(
        app: &App,
        person: &Person,
        approver: Option<String>,
    ) -> Answer<(Self, PairingOpened)> {
        let config = app.config().map_err(Refusal::fault)?;
        let client = app.relay.client().ok_or_else(|| no_server(app))?;
        let host = Host { name: app.host.name.clone(), key: app.host.public.to_line() };
        let pairing = HostPairing::new(&config.server, host, &person.name)
            .and_then(|pairing| match &config.app {
                Some(app) => pairing.with_app(app),
                None => Ok(pairing),
            })
            .map_err(|error| Refusal(error::BAD_CALL, error.to_string()))?;
        client.open_mailbox(&pairing.mailbox()).await.map_err(Refusal::unreachable)?;
        let (link, ticket) = (pairing.ticket().link().to_string(), pairing.ticket().typed().to_string());
        let ends = Instant::now() + Duration::from_secs(MAILBOX_LIFE.into());
        let opened = PairingOpened { link, ticket, expires_in: MAILBOX_LIFE };
        Ok((Self { client, pairing, next: 0, ends, over: false, approver, paired: None }, opened))
    }

    /// Waits until a device has answered that may be paired. Dropping the future loses nothing.
    pub(crate) async fn wait(&mut self, app: &App) -> Answer<PairingAnswered> {
        timeout_at(self.ends, self.answered(app)).await.unwrap_or_else(|_| {
            Err(Refusal(error::NOT_FOUND, "no device has opened the link in time; start again".into()))
        })
    }

    async fn answered(&mut self, app: &App) -> Answer<PairingAnswered> {
        let mailbox = self.pairing.mailbox();
        loop {
            let mails = match self.client.mails(&mailbox, Slot::First, self.next, MAX_POLL).await {
                Ok(mails) => mails,
                Err(why) if why.is_outage() => {
                    app.log.server(Level::Warning, &format!("pairing waits for the server: {why}"));
                    sleep(PAUSE).await;
                    continue;
                }
                Err(why) => return Err(Refusal::unreachable(why)),
            };
            for mail in mails {
                match self.pairing.receive(&mail) {
                    Ok(second) => {
                        self.client
                            .put_mail(&mailbox, Slot::Second, &second)
                            .await
                            .map_err(Refusal::unreachable)?;
                        return self.describe(app);
                    }
                    Err(why) => {
                        app.log.server(Level::Warning, &format!("pairing passes over an answer: {why}"))
                    }
                }
                self.next += 1;
            }
            // A server that answers at once, with nothing or with nonsense, is not asked without end.
            sleep(BETWEEN_POLLS).await;
        }
    }

    fn describe(&self, app: &App) -> Answer<PairingAnswered> {
        self.approving_device(app)?;
        let no_device = || Refusal(error::BAD_CALL, CodeError::NoDevice.to_string());
        let card = self.pairing.card().ok_or_else(no_device)?;
        if !app.devices.has_room(self.pairing.user(), card) {
            let text = "this user has too many devices; revoke one that is no longer used";
            return Err(Refusal(error::BAD_CALL, text.into()));
        }
        if app.approvers.is_revoked(&card.key) {
            let text = "this device's key was revoked for good; let the device make a new one";
            return Err(Refusal(error::BAD_CALL, text.into()));
        }
        if self.approver.as_ref().is_some_and(|approver| *approver == card.key.id()) {
            let text = "this is the device that has approved; open the link on the new one";
            return Err(Refusal(error::BAD_CALL, text.into()));
        }
        Ok(PairingAnswered {
            name: card.card.name.clone(),
            fingerprint: card.key.fingerprint(),
            tries: TRIES,
        })
    }

    /// The device that has approved it, if one had to. Without it there is no approval any more: who has
    /// it taken away meanwhile wants nothing of what it has let in.
    fn approving_device(&self, app: &App) -> Answer<Option<Device>> {
        let Some(approver) = &self.approver else { return Ok(None) };
        let mut devices = app.devices.for_user(self.pairing.user()).into_iter();
        match devices.find(|device| device.id() == *approver) {
            Some(device) if !app.approvers.is_revoked(&device.card.key) => Ok(Some(device)),
            _ => {
                let text = "the device that has approved was removed meanwhile; start again with another one";
                Err(Refusal(error::REFUSED, text.into()))
            }
        }
    }

    /// Compares the code that the phone shows; the right one makes it an approver.
    pub(crate) async fn check(&mut self, app: &App, caller: &Caller, code: &str) -> Answer<PairingChecked> {
        if Instant::now() >= self.ends {
            self.over = true;
            return Err(Refusal(error::NOT_FOUND, "the pairing's time is over; start again".into()));
        }
        self.describe(app)?;
        match self.pairing.check(code) {
            Ok(card) => self.paired(app, caller, card).await,
            Err(CodeError::Wrong(tries)) => Ok(PairingChecked::Wrong { tries }),
            Err(CodeError::Over) => {
                self.over = true;
                self.close(app).await;
                Ok(PairingChecked::Wrong { tries: 0 })
            }
            Err(error @ CodeError::NoDevice) => Err(Refusal(error::BAD_CALL, error.to_string())),
        }
    }

    /// Whether there is nothing more to do.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The device that was paired, once it was told so.
    pub(crate) fn paired_device(&self) -> Option<Device> {
        self.paired.clone()
    }

    async fn paired(&mut self, app: &App, caller: &Caller, card: VerifiedCard) -> Answer<PairingChecked> {
        self.over = true;
        let user = self.pairing.user().to_owned();
        let mut reason = format!("\"{}\" by {}", card.card.name, by(caller));
        if let Some(device) = self.approving_device(app)? {
            reason.push_str(&format!(", approved with {}", device.card.key.fingerprint()));
        }
        write_record(
            app,
            Record {
                event: "paired".into(),
                user: Some(user.clone()),
                device: Some(card.key.fingerprint()),
                reason: Some(reason),
                ..Record::default()
            },
        )
        .await?;
        let comment = format!("{} paired {}", card.card.name, clock::unix());
        app.approvers.add(&user, &card.key, &comment).await.map_err(Refusal::fault)?;
        let device = app.devices.add(&user, card).await.map_err(Refusal::fault)?;
        events::paired(app, &device);
        notices::tell(app, &user, DeviceChange::Paired, &device);
        let event = hook::Event {
            person: Some(user),
            device: Some(device.card.key.fingerprint()),
            device_name: Some(device.card.card.name.clone()),
            reason: Some(format!("paired by {}", by(caller))),
            ..hook::Event::default()
        };
        app.hook.tell(app, hook::What::DeviceAdded, event);
        let receipt = self
            .pairing
            .receipt(app.host.key.as_ref(), device.paired_at)
            .map_err(|error| Refusal::fault(format!("the receipt: {error}")))?;
        self.send_receipt(&receipt).await?;
        self.paired = Some(device.clone());
        Ok(PairingChecked::Paired(told(app, &device)))
    }

    async fn send_receipt(&self, receipt: &str) -> Answer<()> {
        let mailbox = self.pairing.mailbox();
        let mut tries = 0;
        loop {
            tries += 1;
            match self.client.put_mail(&mailbox, Slot::Third, receipt).await {
                Ok(()) => return Ok(()),
                Err(why) if tries >= RECEIPT_TRIES => {
                    return Err(Refusal::unreachable(format!(
                        "the device is paired here but was not told: {why}; revoke it and pair again"
                    )));
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Ends a pairing that did not come to its end. A finished one leaves the mailbox to its phone,
    /// which has to fetch the receipt.
    pub(crate) async fn give_up(&self, app: &App) {
        if !self.over {
            self.close(app).await;
        }
    }

    async fn close(&self, app: &App) {
        // The server closes it by itself after some minutes.
        if let Err(why) = self.client.close_mailbox(&self.pairing.mailbox()).await {
            app.log.server(Level::Warning, &format!("a mailbox was not closed: {why}"));
        }
    }
}

/// Why there is no server to talk to.
pub(crate) fn no_server(app: &App) -> Refusal {
    match app.config() {
        Err(faults) => Refusal::fault(format!("the configuration is faulty: {faults}")),
        Ok(config) => Refusal::unreachable(format!(
            "no connection to {} can be made; journalctl -u countersignd says why",
            config.server
        )),
    }
}
