//! The one place where a device's word takes another device away.
//!
//! Believed is what was sealed for the notice that this host last sent to the device, and signed over
//! exactly that notice by a key that the approvers accept for its user. Then it is done as
//! `countersign revoke` does it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::audit::Record;
use countersign_protocol::digest;
use countersign_protocol::message::{Envelope, MessageType, Removal, Sealed};
use countersign_protocol::signed::SignedMessage;
use countersign_protocol::{seal, signed};

use crate::app::App;
use crate::clock;
use crate::devices::Device;
use crate::log::Level;
use crate::manage::{Refusal, write_record};
use crate::notices;
use crate::revoke;

/// Refusals of one device that are written down in a [`SPAN`]; what a hostile server makes up must not
/// fill the audit, and what one device sends must not hide what comes from another.
const MOST_REFUSALS: u32 = 20;
/// Devices that are counted by themselves; any more are counted together.
const MOST_COUNTED: usize = 64;
/// The time over which they are counted.
const SPAN: Duration = Duration::from_secs(3600);

/// Refusals lately: when counting began and how many, by key id. Without one, of all the others together.
#[derive(Default)]
pub struct Refusals(RefCell<HashMap<Option<String>, (Duration, u32)>>);

/// A removal that is believed.
#[derive(Debug)]
pub(crate) struct Believed {
    user: String,
    by: Device,
    /// The device that goes.
    device: Device,
    message: SignedMessage,
    counter: u64,
}

/// Why one is not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Disbelief {
    user: Option<String>,
    /// Of the device that says it has sent it.
    fingerprint: Option<String>,
    pub(crate) why: String,
    /// Whether a newer notice would help an honest device.
    outdated: bool,
    /// Whether it is only this host that cannot tell now, so that the same may be believed later.
    for_now: bool,
}

/// A sealed removal came from the server.
pub(crate) async fn receive(app: &Rc<App>, envelope: &Envelope, sealed: &Sealed) {
    // A device says it again until it hears what came of it.
    if app.notices.knows(sealed) {
        return;
    }
    // What this host alone could not do is tried again when it comes again.
    let settled = match judge(app, envelope, sealed) {
        Ok(believed) => carry_out(app, &believed).await,
        Err(disbelief) => {
            let settled = !disbelief.for_now;
            refuse(app, envelope, disbelief).await;
            settled
        }
    };
    if settled {
        app.notices.note_answer(sealed);
    }
}

/// Verifies a removal. Nothing of it is parsed before the signature was found good.
pub(crate) fn judge(app: &App, envelope: &Envelope, sealed: &Sealed) -> Result<Believed, Disbelief> {
    let of = |user: Option<&str>, by: Option<&Device>, why: String, outdated: bool| Disbelief {
        user: user.map(str::to_owned),
        fingerprint: by.map(|by| by.card.key.fingerprint()),
        why,
        outdated,
        for_now: false,
    };
    let paired: Vec<Device> = app.devices.all().into_iter().filter(|d| d.id() == envelope.from).collect();
    let Some(any) = paired.first() else {
        return Err(of(None, None, "it comes from a device that is not paired".into(), false));
    };
    let Some(notice) = app.notices.last(&envelope.from, &envelope.id) else {
        let why = "it answers no notice that was sent since the start of countersignd";
        return Err(of(None, Some(any), why.into(), true));
    };
    let user = notice.user.as_str();
    let Some(by) = paired.into_iter().find(|device| device.user == user) else {
        return Err(of(Some(user), None, "its device is no longer paired for this user".into(), false));
    };
    let refused = |why: String| of(Some(user), Some(&by), why, false);

    let key = &by.card.key;
    let reply_hash = digest::sha256(&notice.reply.public());
    let opened =
        seal::open(MessageType::Removal, &notice.reply, reply_hash, key, sealed).map_err(|error| {
            let why = format!("it was not made for the last notice that its device was sent ({error})");
            of(Some(user), Some(&by), why, true)
        })?;
    let verified = signed::verify_message::<Removal>(&opened.body, &opened.signature, key)
        .map_err(|error| refused(error.to_string()))?;
    app.approvers.authorize(user, &verified.signed, clock::unix()).map_err(|why| Disbelief {
        for_now: !app.approvers.are_usable(),
        ..refused(format!("its key may not decide for this user: {why}"))
    })?;
    let removal = verified.message;
    if removal.notice != notice.digest {
        return Err(of(Some(user), Some(&by), "it is about another notice".into(), true));
    }
    let devices = app.devices.for_user(user);
    let Some(device) = devices.into_iter().find(|device| device.id() == removal.device) else {
        return Err(refused(format!("{} is no device of this user", removal.device)));
    };
    let message = SignedMessage { bytes: opened.body, signature: opened.signature };
    Ok(Believed { user: user.to_owned(), counter: removal.counter, by, device, message })
}

/// Whether it was done.
async fn carry_out(app: &Rc<App>, believed: &Believed) -> bool {
    let Believed { user, by, device, message, counter } = believed;
    let fingerprint = by.card.key.fingerprint();
    let who = format!("{user}'s device \"{}\" ({fingerprint})", by.card.card.name);
    if let Err(Refusal(_, why)) = revoke::take_away(app, user, device, &who, Some(message)).await {
        let gone = device.card.key.fingerprint();
        app.log.error(&format!("device {gone} of {user} could not be removed as {who} asked: {why}"));
        return false;
    }
    // Only now: the same message that comes again after a failure is no copied key.
    if !app.devices.note_use(&by.card.key, *counter) {
        app.log
            .warning(&format!("the counter of device {fingerprint} went back: its key may have been copied"));
    }
    true
}

async fn refuse(app: &Rc<App>, envelope: &Envelope, disbelief: Disbelief) {
    let Disbelief { user, fingerprint, why, outdated, for_now: _ } = disbelief;
    let from = fingerprint.clone().unwrap_or_else(|| envelope.from.clone());
    let mut paired = app.devices.all();
    paired.retain(|device| device.id() == envelope.from);
    // At its own pace, so that an honest device is helped whatever was refused before.
    if outdated {
        for device in &paired {
            if countersign_protocol::notice::id(&device.user) == envelope.id {
                notices::tell_anew(app, &device.user, device);
            }
        }
    }
    if !app.refusals.is_to_be_written(paired.first().map(Device::id), clock::boot()) {
        return app.log.server(Level::Warning, &format!("a removal by {from} is not believed: {why}"));
    }
    let record = Record {
        event: "removal-refused".into(),
        user,
        device: fingerprint,
        reason: Some(format!("from {from}: {why}")),
        ..Record::default()
    };
    if let Err(Refusal(_, error)) = write_record(app, record).await {
        app.log.error(&format!("the audit cannot be written: {error}"));
    }
}

impl Refusals {
    /// Counts one more, by a paired device or by anybody else.
    fn is_to_be_written(&self, device: Option<String>, now: Duration) -> bool {
        let mut counts = self.0.borrow_mut();
        counts.retain(|_, (began, _)| now < *began + SPAN);
        let is_full = counts.len() >= MOST_COUNTED && !counts.contains_key(&device);
        let (_, count) = counts.entry(if is_full { None } else { device }).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count <= MOST_REFUSALS
    }
}

#[cfg(test)]
mod tests;
