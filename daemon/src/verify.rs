//! The one place where a sealed message becomes a decision that counts.

use countersign_protocol::certificate::Certificate;
use countersign_protocol::digest;
use countersign_protocol::keys::PublicKey;
use countersign_protocol::message::{Answer, CODE_DIGITS, Confirm, Decision, MessageType, Sealed};
use countersign_protocol::signed::SignedMessage;
use countersign_protocol::sshsig::Signed;
use countersign_protocol::{seal, signed};
use zeroize::Zeroizing;

use crate::app::App;
use crate::clock;
use crate::login::panel;
use crate::login::request::OpenRequest;
use crate::person::Member;

/// A decision whose signature, signer, binding and time were all found good.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What it says.
    pub decision: Decision,
    /// The exact bytes that were signed.
    pub bytes: Vec<u8>,
    /// Armored SSHSIG over them.
    pub signature: String,
    /// What it was found to be signed by.
    pub signed: Signed,
    /// Key id of the device.
    pub device: String,
    /// Fingerprint of the device's key.
    pub fingerprint: String,
    /// Whose device it was asked as.
    pub person: String,
    /// The host's copy of the certificate by which it counts, where it brought none itself.
    pub certificate: Option<String>,
}

impl Verified {
    /// The line of a certificate by which it counts, unless its signature brings that along.
    pub(crate) fn copy(&self, certificate: &Certificate) -> Option<String> {
        (self.signed.certificate.as_ref() != Some(certificate)).then(|| certificate.to_line())
    }
}

/// Verifies a sealed decision about an open request: that it was sealed by a device which was
/// asked and is still paired, signed by that device's key in the decision's namespace, that the
/// approvers accept the key for this person, that it names exactly this request, and that the time
/// is not over. Nothing of it is parsed before the signature was found good.
///
/// # Errors
/// Says what is wrong, for the log; nobody but the administrator learns it.
pub fn decision(app: &App, open: &OpenRequest, sealed: &Sealed) -> Result<Verified, String> {
    let envelope = seal::peek(sealed).map_err(|error| error.to_string())?;
    if envelope.message_type != MessageType::Decision || envelope.id != open.id {
        return Err("its envelope is not that of a decision about this request".into());
    }
    let device = open
        .devices
        .iter()
        .find(|device| device.card.key.id() == envelope.from)
        .ok_or("it comes from a device that was not asked")?;
    let person = &device.user;
    if !app.devices.for_user(person).iter().any(|now| now.card.key == device.card.key) {
        return Err("its device is no longer paired".into());
    }

    let reply_hash = digest::sha256(&open.reply.public());
    let opened = seal::open(MessageType::Decision, &open.reply, reply_hash, &device.card.key, sealed)
        .map_err(|error| format!("it cannot be opened: {error}"))?;
    let signed = SignedMessage { bytes: opened.body, signature: opened.signature };
    let mut verified = by_device(app, person, &device.card.key, &open.digest, signed)?;
    // Without a certificate whom it makes one may still say no.
    if verified.decision.decision == Answer::Approve
        && let Some(approvals) = open.rule.as_ref().filter(|_| open.certified.contains(person))
    {
        let certificate = panel::certify(app, approvals, person, &verified.signed, app.latest())?;
        verified.certificate = verified.copy(&certificate);
    }
    let decision = &verified.decision;
    if open.left().is_zero() {
        return Err("it came after the deadline".into());
    }
    let needs_code = decision.decision == Answer::Approve && open.confirm == Confirm::Code;
    if needs_code && !decision.code.as_deref().is_some_and(is_code) {
        return Err("it approves without the code that was asked for".into());
    }
    Ok(verified)
}

/// Verifies a decision that is kept: the same, by a device that is paired now.
///
/// # Errors
/// Why it counts no more.
pub(crate) fn kept(
    app: &App,
    person: &str,
    device: &str,
    digest: &str,
    decision: SignedMessage,
) -> Result<Verified, String> {
    let paired = app.devices.for_user(person);
    let device = paired.iter().find(|now| now.id() == device).ok_or("its device is no longer paired")?;
    by_device(app, person, &device.card.key, digest, decision)
}

/// A decision by this key, which the approvers accept for this person, about the request of this digest.
fn by_device(
    app: &App,
    person: &str,
    key: &PublicKey,
    digest: &str,
    message: SignedMessage,
) -> Result<Verified, String> {
    let verified = signed::verify_message::<Decision>(&message.bytes, &message.signature, key)
        .map_err(|error| error.to_string())?;
    app.approvers
        .authorize(person, &verified.signed, clock::unix())
        .map_err(|error| format!("its key may not approve for this person: {error}"))?;
    if verified.message.request != digest {
        return Err("it is about another request".into());
    }
    Ok(Verified {
        decision: verified.message,
        bytes: message.bytes,
        signature: message.signature,
        signed: verified.signed,
        device: key.id(),
        fingerprint: key.fingerprint(),
        person: person.to_owned(),
        certificate: None,
    })
}

/// Whether the approvals that let somebody in still count: a device that was removed or revoked while a code
/// was typed has nothing to say any more, nor has whoever is no longer one of those whom the rule names.
/// `members` are those who are, where it names any.
///
/// # Errors
/// Why not, for the log.
pub(crate) fn still_counts(app: &App, open: &OpenRequest, members: &[Member]) -> Result<(), String> {
    if !open.is_complete() {
        return Err("there is no approval, or too few".into());
    }
    open.counting().iter().try_for_each(|taken| {
        let is_one = |member: &Member| member.person.name == taken.person;
        if open.rule.is_some() && !members.iter().any(is_one) {
            return Err(format!("{} is no longer one of those who may approve", taken.person));
        }
        let paired = app.devices.for_user(&taken.person);
        let device = paired.iter().find(|device| device.id() == taken.device);
        if device.ok_or("its device is no longer paired")?.card.key != taken.signed.key {
            return Err("its device has another key now".into());
        }
        app.approvers
            .authorize(&taken.person, &taken.signed, clock::unix())
            .map_err(|error| format!("its key may no longer approve for this person: {error}"))
    })
}

/// Whether a text has the form of an approval's code.
#[must_use]
pub fn is_code(text: &str) -> bool {
    text.len() == CODE_DIGITS && text.bytes().all(|b| b.is_ascii_digit())
}

/// An approval's code as a person typed it; phones show it in two groups.
#[must_use]
pub fn typed_code(text: &str) -> Option<Zeroizing<String>> {
    let digits: Zeroizing<String> = Zeroizing::new(text.split([' ', '-']).collect());
    is_code(&digits).then_some(digits)
}

#[cfg(test)]
mod tests;
