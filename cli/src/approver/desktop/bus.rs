//! Keeps the desktop's popups as they are wanted (org.freedesktop.Notifications), and hears their buttons.
//!
//! The notification service may be missing, hang, crash and come back: what is wanted is raised again,
//! and the trouble is said once. Only the present owner of its name is believed.

use super::popup::{About, Life, Popup, Urgency};
use super::words::{SHOW, Skills, body, buttons, name, unlinked};
use super::{Said, lock};
use crate::approver::run::Input;
use crate::bus::{call, connect, next};
use countersign_protocol::message::Answer;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use zbus::connection::Builder;
use zbus::message::{Sequence, Type};
use zbus::{Connection, Message, MessageStream, Variant};

const NAME: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
const DBUS: &str = "org.freedesktop.DBus";
const DBUS_PATH: &str = "/org/freedesktop/DBus";

/// Before a desktop that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// A button takes no answer for so long after popups came, changed or moved: the person has not read it.
/// (A busy machine needs longer than that between two steps of a test.)
const LOOK_FIRST: Duration = Duration::from_millis(if cfg!(test) { 4_000 } else { 700 });
/// Between two changes of the popups of alarms and of news, which others can cause at will.
const BETWEEN_NEWS: Duration = Duration::from_secs(3);
/// Messages that may wait to be read here; more wait on the bus's side.
const MAX_QUEUED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Addresses of the buses, where they are not the usual ones.
#[derive(Debug, Default, Clone)]
pub(super) struct Buses {
    pub(super) session: Option<String>,
    pub(super) system: Option<String>,
}

/// Keeps the popups until nobody wants any more, then takes them away.
pub(super) async fn run(
    mut wanted: watch::Receiver<Vec<Popup>>,
    inputs: mpsc::Sender<Input>,
    buses: Buses,
    start: std::time::Instant,
) {
    let mut reporter = Reporter { inputs, trouble: None };
    loop {
        match Session::open(&buses, start).await {
            Ok(mut session) => match session.follow(&mut wanted, &mut reporter).await {
                Ok(()) => return,
                Err(why) => reporter.trouble(why).await,
            },
            Err(why) => reporter.trouble(why).await,
        }
        let ended = timeout(RETRY, wanted.wait_for(|_| false)).await.is_ok();
        if ended || wanted.wait_for(|popups| !popups.is_empty()).await.is_err() {
            return;
        }
    }
}

/// Says what changes, and each trouble once.
struct Reporter {
    inputs: mpsc::Sender<Input>,
    trouble: Option<String>,
}

impl Reporter {
    async fn say(&self, said: Said) {
        // The loop is gone when the program ends.
        let _ = self.inputs.send(Input::Desktop(said)).await;
    }

    async fn trouble(&mut self, why: String) {
        if self.trouble.is_none() {
            self.say(Said::Notice(format!("no desktop notifications: {why}; trying again"))).await;
        }
        self.trouble = Some(why);
    }

    async fn works(&mut self) {
        if self.trouble.take().is_some() {
            self.say(Said::Notice("desktop notifications work again".into())).await;
        }
    }
}

/// A popup that was raised.
struct Standing {
    /// What it says; nothing when it has to be raised again.
    popup: Option<Popup>,
    /// Its number at the service; nothing when it was taken away there.
    id: Option<u32>,
    /// When it was raised.
    at: Instant,
    /// Signals from before this are about what stood there earlier.
    since: Sequence,
}

/// A bus with its notification service.
struct Session {
    connection: Connection,
    stream: MessageStream,
    system: Option<String>,
    /// The unique name of the service, and what it can do, when it is known.
    service: Option<(String, Skills)>,
    standing: BTreeMap<About, Standing>,
    /// The unique name under which the numbers of what stands mean something.
    raised_at: String,
    /// When something last came, changed or moved.
    moved: Instant,
    /// When a service that failed is tried again; until then it is left alone.
    again: Option<Instant>,
    /// When a change that has to wait is due; others do not wait for it.
    due: Option<Instant>,
    start: std::time::Instant,
}

impl Session {
    async fn open(buses: &Buses, start: std::time::Instant) -> Result<Self, String> {
        let connection = connect(buses.session.clone(), Builder::session).await.map_err(plain)?;
        let mut stream = MessageStream::from(&connection);
        stream.set_max_queued(MAX_QUEUED);
        for rule in [
            format!(
                "type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg0='{NAME}'"
            ),
            format!("type='signal',sender='{NAME}',interface='{NAME}'"),
        ] {
            call(&connection, DBUS, DBUS_PATH, DBUS, "AddMatch", &rule).await.map_err(plain)?;
        }
        let mut session = Self {
            connection,
            stream,
            system: buses.system.clone(),
            service: None,
            standing: BTreeMap::new(),
            raised_at: String::new(),
            moved: Instant::now(),
            again: None,
            due: None,
            start,
        };
        session.look_for_service().await?;
        Ok(session)
    }

    /// Whether there is a service, or one that would be started.
    async fn look_for_service(&mut self) -> Result<(), String> {
        if self.owner().await?.is_some() {
            return Ok(());
        }
        let reply = call(&self.connection, DBUS, DBUS_PATH, DBUS, "ListActivatableNames", &())
            .await
            .map_err(plain)?;
        let names: Vec<String> = reply.body().deserialize().map_err(plain)?;
        if names.iter().any(|name| name == NAME) { Ok(()) } else { Err(missing()) }
    }

    /// Its present owner.
    async fn owner(&self) -> Result<Option<String>, String> {
        match call(&self.connection, DBUS, DBUS_PATH, DBUS, "GetNameOwner", &NAME).await {
            Ok(reply) => reply.body().deserialize().map(Some).map_err(plain),
            Err(zbus::Error::FDO(e)) if matches!(*e, zbus::fdo::Error::NameHasNoOwner(_)) => Ok(None),
            Err(e) => Err(plain(e)),
        }
    }

    /// The service that runs, started if there is none.
    async fn service(&mut self) -> Result<(String, Skills), String> {
        if let Some(service) = &self.service {
            return Ok(service.clone());
        }
        let owner = match self.owner().await? {
            Some(owner) => owner,
            None => {
                call(&self.connection, DBUS, DBUS_PATH, DBUS, "StartServiceByName", &(NAME, 0u32))
                    .await
                    .map_err(|_| missing())?;
                self.owner().await?.ok_or_else(missing)?
            }
        };
        let reply =
            call(&self.connection, &owner, PATH, NAME, "GetCapabilities", &()).await.map_err(plain)?;
        let skills: Vec<String> = reply.body().deserialize().map_err(plain)?;
        let has = |skill: &str| skills.iter().any(|s| s == skill);
        if owner != self.raised_at {
            self.standing.clear();
            self.raised_at.clone_from(&owner);
        }
        let service = (owner, Skills { markup: has("body-markup"), buttons: has("actions") });
        self.service = Some(service.clone());
        Ok(service)
    }

    /// Keeps what stands as it is wanted. Comes back without an error when nobody wants any more.
    async fn follow(
        &mut self,
        wanted: &mut watch::Receiver<Vec<Popup>>,
        reporter: &mut Reporter,
    ) -> Result<(), String> {
        loop {
            let popups = wanted.borrow_and_update().clone();
            if self.again.is_none_or(|at| at <= Instant::now()) {
                self.again = None;
                match self.arrange(&popups).await {
                    Ok(true) => reporter.works().await,
                    Ok(false) => (),
                    Err(why) => {
                        // A service that does not answer is asked for anew, under whatever name it has then.
                        self.service = None;
                        self.again = Some(Instant::now() + RETRY);
                        reporter.trouble(why).await;
                    }
                }
            }
            let wake = self.again.or(self.due);
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() {
                    // What cannot be taken away runs out by itself.
                    let _ = self.arrange(&[]).await;
                    return Ok(());
                },
                message = next(&mut self.stream) => {
                    let message = message.ok_or("the session bus is gone")?.map_err(plain)?;
                    if let Some(said) = self.take(&message).await {
                        reporter.say(said).await;
                    }
                }
                () = at(wake) => (),
            }
        }
    }

    /// Raises, changes and takes away until everything is as wanted; says whether there was anything to do.
    async fn arrange(&mut self, wanted: &[Popup]) -> Result<bool, String> {
        let gone: Vec<About> = self
            .standing
            .keys()
            .filter(|about| !wanted.iter().any(|p| p.about == **about))
            .cloned()
            .collect();
        let mut did = false;
        self.due = None;
        for about in gone {
            if self.standing.get(&about).is_some_and(|s| s.id.is_some()) {
                self.withdraw(&about).await?;
                did = true;
            }
            self.standing.remove(&about);
        }
        for popup in wanted {
            let before = self.standing.get(&popup.about);
            if before.is_some_and(|s| s.popup.as_ref() == Some(popup)) {
                continue;
            }
            if let (About::Alarms | About::News, Some(before)) = (&popup.about, before) {
                let at = before.at + BETWEEN_NEWS;
                if at > Instant::now() {
                    self.due = Some(self.due.map_or(at, |due| due.min(at)));
                    continue;
                }
            }
            self.raise(popup).await?;
            did = true;
        }
        Ok(did)
    }

    async fn withdraw(&mut self, about: &About) -> Result<(), String> {
        let (owner, _) = self.service().await?;
        // Another service knows nothing of it.
        let Some(id) = self.standing.get(about).and_then(|s| s.id) else { return Ok(()) };
        self.moved = Instant::now();
        match call(&self.connection, &owner, PATH, NAME, "CloseNotification", &id).await {
            // Some services answer so when it has gone by itself.
            Ok(_) | Err(zbus::Error::FDO(_) | zbus::Error::MethodError(..)) => Ok(()),
            Err(e) => Err(plain(e)),
        }
    }

    async fn raise(&mut self, popup: &Popup) -> Result<(), String> {
        let (owner, skills) = self.service().await?;
        let replaces = self.standing.get(&popup.about).and_then(|s| s.id).unwrap_or(0);
        let icon = if popup.about == About::Alarms { "dialog-warning" } else { "dialog-password" };
        let buttons = if skills.buttons { buttons(popup) } else { Vec::new() };
        let mut hints = HashMap::from([
            ("urgency", Variant::U8(popup.urgency as u8)),
            // It goes when the request goes, not when a button was pressed.
            ("resident", Variant::Bool(true)),
        ]);
        if replaces == 0 && popup.urgency == Urgency::Critical {
            hints.insert("sound-name", Variant::new("message-new-instant"));
        }
        // A summary is no markup by the specification.
        let (summary, body) = (unlinked(&popup.summary), body(popup, skills));
        let life = self.life(popup);
        let notification = ("Countersign", replaces, icon, summary, body, buttons, hints, life);
        let reply =
            call(&self.connection, &owner, PATH, NAME, "Notify", &notification).await.map_err(plain)?;
        let id: u32 = reply.body().deserialize().map_err(plain)?;
        let at = Instant::now();
        self.moved = at;
        let standing =
            Standing { popup: Some(popup.clone()), id: Some(id), at, since: reply.recv_position() };
        self.standing.insert(popup.about.clone(), standing);
        Ok(())
    }

    /// Milliseconds that it stands; 0 is for ever.
    fn life(&self, popup: &Popup) -> i32 {
        let ms = match popup.life {
            Life::Until(end) => {
                let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
                end.saturating_sub(now).max(1)
            }
            Life::Seconds(seconds) => u64::from(seconds) * 1000,
            Life::Endless => 0,
        };
        i32::try_from(ms).unwrap_or(i32::MAX)
    }

    /// Takes a signal, if it is one and comes from whom it has to come.
    async fn take(&mut self, message: &Message) -> Option<Said> {
        if message.message_type() != Type::Signal {
            return None;
        }
        let header = message.header();
        let (sender, interface) = (header.sender()?.as_str(), header.interface()?.as_str());
        let member = header.member()?.as_str();
        if (sender, interface, member) == (DBUS, DBUS, "NameOwnerChanged") {
            let (name, _, owner): (String, String, String) = message.body().deserialize().ok()?;
            if name == NAME && owner != self.raised_at {
                // Another service or none: what the old one showed is gone.
                self.service = None;
                self.standing.clear();
            }
            if name == NAME && !owner.is_empty() {
                self.again = None;
            }
            return None;
        }
        if interface != NAME || self.service.as_ref().is_none_or(|(owner, _)| owner != sender) {
            return None;
        }
        match member {
            "ActionInvoked" => {
                let (id, button): (u32, String) = message.body().deserialize().ok()?;
                self.pressed(id, &button, message.recv_position()).await
            }
            "NotificationClosed" => {
                let (id, _reason): (u32, u32) = message.body().deserialize().ok()?;
                self.find(id, message.recv_position())?.id = None;
                self.moved = Instant::now();
                None
            }
            _ => None,
        }
    }

    /// What stands under a number since before the signal.
    fn find(&mut self, id: u32, signal: Sequence) -> Option<&mut Standing> {
        self.standing.values_mut().find(|s| s.id == Some(id) && s.since < signal)
    }

    /// A button was pressed.
    async fn pressed(&mut self, id: u32, button: &str, signal: Sequence) -> Option<Said> {
        let moved = self.moved;
        let standing = self.find(id, signal)?;
        if button == SHOW {
            standing.popup = None;
            return None;
        }
        let popup = standing.popup.clone()?;
        let (answer, _) = *popup.buttons.iter().find(|(answer, _)| name(*answer) == button)?;
        let key = popup.request()?.clone();
        if moved.elapsed() < LOOK_FIRST {
            return Some(Said::Refused(key, "it had just come or moved: look at it, then press again"));
        }
        if answer == Answer::Approve
            && let Some(why) = lock::refuses(self.system.as_deref()).await
        {
            return Some(Said::Refused(key, why));
        }
        Some(Said::Answer(answer, Box::new(popup)))
    }
}

fn missing() -> String {
    "no notification service runs in this session".into()
}

fn plain(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Waits for a time, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "bus_tests.rs"]
mod tests;
