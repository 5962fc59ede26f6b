//! The one place where a device's word takes another device away.
//!
//! Believed is what was sealed for the notice that this host last sent to the device, and signed over
//! exactly that notice by a key that the approvers accept for its user. Then it is done as
//! `countersign revoke` does it.

use std::cell::Cell;
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
use crate::manage::{Refusal, write_record};
use crate::notices;
use crate::revoke;

/// Refusals that are written down in a [`SPAN`]; what a hostile server makes up must not fill the audit.
const MOST_REFUSALS: u32 = 20;
/// The time over which they are counted.
const SPAN: Duration = Duration::from_secs(3600);

/// Refusals lately.
#[derive(Default)]
pub struct Refusals(Cell<(Duration, u32)>);

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
}

/// A sealed removal came from the server.
pub(crate) async fn receive(app: &Rc<App>, envelope: &Envelope, sealed: &Sealed) {
    // A device says it again until it hears what came of it.
    if app.notices.knows(sealed) {
        return;
    }
    match judge(app, envelope, sealed) {
        Ok(believed) => carry_out(app, &believed).await,
        Err(disbelief) => refuse(app, envelope, disbelief).await,
    }
}

/// Verifies a removal. Nothing of it is parsed before the signature was found good.
pub(crate) fn judge(app: &App, envelope: &Envelope, sealed: &Sealed) -> Result<Believed, Disbelief> {
    let of = |user: Option<&str>, by: Option<&Device>, why: String, outdated: bool| Disbelief {
        user: user.map(str::to_owned),
        fingerprint: by.map(|by| by.card.key.fingerprint()),
        why,
        outdated,
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
    app.approvers
        .authorize(user, &verified.signed, clock::unix())
        .map_err(|why| refused(format!("its key may not decide for this user: {why}")))?;
    let removal = verified.message;
    if removal.notice != notice.digest {
        return Err(of(Some(user), Some(&by), "it is about another notice".into(), true));
    }
    let devices = app.devices.for_user(user);
    let Some(device) = devices.into_iter().find(|device| device.id() == removal.device) else {
        return Err(refused(format!("{} is no device of this user", removal.device)));
    };
    if revoke::is_anothers(app, user, &device) {
        return Err(refused("its device approves for another user, too; only root may revoke it".into()));
    }
    let message = SignedMessage { bytes: opened.body, signature: opened.signature };
    Ok(Believed { user: user.to_owned(), counter: removal.counter, by, device, message })
}

async fn carry_out(app: &Rc<App>, believed: &Believed) {
    let Believed { user, by, device, message, counter } = believed;
    let fingerprint = by.card.key.fingerprint();
    if !app.devices.note_use(&by.id(), *counter) {
        app.log
            .warning(&format!("the counter of device {fingerprint} went back: its key may have been copied"));
    }
    let who = format!("{user}'s device \"{}\" ({fingerprint})", by.card.card.name);
    if let Err(Refusal(_, why)) = revoke::revoke(app, user, device, &who, Some(message)).await {
        let gone = device.card.key.fingerprint();
        app.log.error(&format!("device {gone} of {user} could not be removed as {who} asked: {why}"));
    }
}

async fn refuse(app: &Rc<App>, envelope: &Envelope, disbelief: Disbelief) {
    let Disbelief { user, fingerprint, why, outdated } = disbelief;
    let from = fingerprint.clone().unwrap_or_else(|| envelope.from.clone());
    if !app.refusals.is_to_be_written() {
        return app.log.warning(&format!("a removal by {from} is not believed: {why}"));
    }
    if outdated {
        for device in app.devices.all().iter().filter(|device| device.id() == envelope.from) {
            if countersign_protocol::notice::id(&device.user) == envelope.id {
                notices::tell_anew(app, &device.user, device);
            }
        }
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
    fn is_to_be_written(&self) -> bool {
        let now = clock::boot();
        let (began, count) = self.0.get();
        let (began, count) = if now >= began + SPAN { (now, 0) } else { (began, count) };
        self.0.set((began, count.saturating_add(1)));
        count < MOST_REFUSALS
    }
}

#[cfg(test)]
mod tests;
