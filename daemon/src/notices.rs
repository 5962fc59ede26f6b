//! What a person's devices are told about each other: at once when one was added or removed, and once
//! a day beside the end of a request.
//!
//! A notice is also what a device answers when it has one taken away ([`crate::removal`]), so the last
//! one that each device was sent is remembered; in memory only, like every reply key.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use countersign_protocol::api::MAX_MESSAGES;
use countersign_protocol::digest;
use countersign_protocol::keys::SealKey;
use countersign_protocol::message::{
    DeviceChange, DeviceEvent, Envelope, MessageType, NoticeDevice, Sealed, VERSION,
};
use countersign_protocol::{notice, seal, signed};

use crate::app::{App, HostIdentity};
use crate::clock;
use crate::devices::{Device, Devices};

/// How often a device is told without anything new.
const DAILY: Duration = Duration::from_secs(24 * 3600);
/// A device whose answer fits no notice is told anew at most that often.
const ANEW: Duration = Duration::from_secs(60);
/// Answers that are remembered, so that one that comes again is passed over.
const MOST_SEEN: usize = 256;

/// A notice as it was sent.
pub(crate) struct Made {
    /// Its register's id.
    pub(crate) id: String,
    /// Whose devices.
    pub(crate) user: String,
    /// SHA-256 of its bytes in hex: what a removal names.
    pub(crate) digest: String,
    /// The private half of its reply key.
    pub(crate) reply: SealKey,
}

/// The last notice of each device.
#[derive(Default)]
pub struct Notices {
    /// By user and device.
    sent: RefCell<HashMap<(String, String), Sent>>,
    /// Hashes of the answers that were dealt with.
    seen: RefCell<VecDeque<[u8; 32]>>,
}

struct Sent {
    made: Rc<Made>,
    /// Boot clock.
    at: Duration,
}

/// Notices to some devices that are not on their way yet.
pub(crate) struct Batch {
    made: Rc<Made>,
    to: Vec<String>,
    pub(crate) messages: Vec<Sealed>,
}

impl Notices {
    /// The last notice that this device was sent under this id.
    pub(crate) fn last(&self, device: &str, id: &str) -> Option<Rc<Made>> {
        let sent = self.sent.borrow();
        let found = sent.iter().find(|((_, to), sent)| to == device && sent.made.id == id);
        found.map(|(_, sent)| Rc::clone(&sent.made))
    }

    /// Whether an answer was dealt with before.
    pub(crate) fn knows(&self, sealed: &Sealed) -> bool {
        self.seen.borrow().contains(&digest::sha256(sealed.sealed.as_bytes()))
    }

    /// An answer was dealt with, for good.
    pub(crate) fn note_answer(&self, sealed: &Sealed) {
        let mut seen = self.seen.borrow_mut();
        if seen.len() >= MOST_SEEN {
            seen.pop_front();
        }
        seen.push_back(digest::sha256(sealed.sealed.as_bytes()));
    }

    /// Notes that a batch is on its way.
    pub(crate) fn note(&self, batch: &Batch) {
        for device in &batch.to {
            let sent = Sent { made: Rc::clone(&batch.made), at: clock::boot() };
            self.sent.borrow_mut().insert((batch.made.user.clone(), device.clone()), sent);
        }
    }

    /// A device is no longer its user's, and answers nothing that it was sent as that.
    pub(crate) fn forget(&self, user: &str, device: &str) {
        self.sent.borrow_mut().remove(&(user.to_owned(), device.to_owned()));
    }

    fn is_due(&self, user: &str, device: &str, pause: Duration) -> bool {
        let sent = self.sent.borrow();
        let last = sent.get(&(user.to_owned(), device.to_owned()));
        last.is_none_or(|last| clock::boot().saturating_sub(last.at) >= pause)
    }
}

/// Tells a person's other devices that one was added or removed, and rings them.
pub(crate) fn tell(app: &App, user: &str, what: DeviceChange, changed: &Device) {
    let (id, name) = (changed.id(), changed.card.card.name.clone());
    let mut others = app.devices.for_user(user);
    others.retain(|device| device.id() != id);
    let event = DeviceEvent { what, device: id, name };
    post(app, user, Some(event), others, true);
}

/// Tells a device anew whose answer fits no notice: the daemon may have been started since, or the
/// device has missed one.
pub(crate) fn tell_anew(app: &App, user: &str, device: &Device) {
    if app.notices.is_due(user, &device.id(), ANEW) {
        post(app, user, None, vec![device.clone()], false);
    }
}

/// The notices to go out beside the end of a request, in the post that has `beside` messages already:
/// to those of its devices that have not heard one for a day.
pub(crate) fn daily(app: &App, user: &str, devices: &[Device], beside: usize) -> Option<Batch> {
    let paired = app.devices.for_user(user);
    let mut due: Vec<Device> = devices
        .iter()
        .filter(|device| paired.iter().any(|now| now.id() == device.id()))
        .filter(|device| app.notices.is_due(user, &device.id(), DAILY))
        .cloned()
        .collect();
    due.truncate(MAX_MESSAGES.saturating_sub(beside));
    told(app, user, make(&app.host, &app.devices, user, None, &due))
}

fn post(app: &App, user: &str, event: Option<DeviceEvent>, to: Vec<Device>, ring: bool) {
    let Some(batch) = told(app, user, make(&app.host, &app.devices, user, event, &to)) else { return };
    if app.relay.notice(batch.messages.clone(), ring) {
        app.notices.note(&batch);
    } else {
        app.log.warning(&format!("the devices of {user} cannot be told of each other: too much is waiting"));
    }
}

fn told(app: &App, user: &str, made: Result<Option<Batch>, String>) -> Option<Batch> {
    made.unwrap_or_else(|why| {
        app.log.warning(&format!("the devices of {user} cannot be told of each other: {why}"));
        None
    })
}

/// Signs one notice and seals it to each of some devices.
pub(crate) fn make(
    host: &HostIdentity,
    devices: &Devices,
    user: &str,
    event: Option<DeviceEvent>,
    to: &[Device],
) -> Result<Option<Batch>, String> {
    if to.is_empty() {
        return Ok(None);
    }
    let reply = SealKey::generate();
    let listed = devices.for_user(user).iter().map(listed).collect();
    let public = Base64::encode_string(&reply.public());
    let notice = notice::fitted(user, public, event, listed, clock::unix());
    let id = notice.id.clone();
    let message = signed::sign_message(host.key.as_ref(), &notice).map_err(|error| error.to_string())?;
    let mut messages = Vec::with_capacity(to.len());
    for device in to {
        let envelope = Envelope {
            version: VERSION,
            message_type: MessageType::Notice,
            from: host.public.id(),
            to: device.id(),
            id: id.clone(),
        };
        let sealed = seal::seal(
            MessageType::Notice,
            &host.public,
            &device.card.recipient(),
            &envelope,
            &message.bytes,
            &message.signature,
        );
        messages.push(sealed.map_err(|error| format!("to {}: {error}", device.card.key.fingerprint()))?);
    }
    let to = to.iter().map(Device::id).collect();
    let made = Rc::new(Made { id, user: user.to_owned(), digest: message.digest(), reply });
    Ok(Some(Batch { made, to, messages }))
}

fn listed(device: &Device) -> NoticeDevice {
    NoticeDevice {
        id: device.id(),
        name: device.card.card.name.clone(),
        paired_at: device.paired_at,
        last_used_at: device.last_used_at,
    }
}
