//! The one place where a sealed message becomes a decision that counts.

use countersign_protocol::digest;
use countersign_protocol::message::{Answer, CODE_DIGITS, Confirm, Decision, MessageType, Sealed};
use countersign_protocol::sshsig::Signed;
use countersign_protocol::{seal, signed};
use zeroize::Zeroizing;

use crate::app::App;
use crate::clock;
use crate::login::request::OpenRequest;
use crate::person::Person;

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
    let verified = signed::verify_message::<Decision>(&opened.body, &opened.signature, &device.card.key)
        .map_err(|error| error.to_string())?;
    app.approvers
        .authorize(person, &verified.signed, clock::unix())
        .map_err(|error| format!("its key may not approve for this person: {error}"))?;

    let decision = verified.message;
    if decision.request != open.digest {
        return Err("it is about another request".into());
    }
    if open.left().is_zero() {
        return Err("it came after the deadline".into());
    }
    let needs_code = decision.decision == Answer::Approve && open.confirm == Confirm::Code;
    if needs_code && !decision.code.as_deref().is_some_and(is_code) {
        return Err("it approves without the code that was asked for".into());
    }
    Ok(Verified {
        decision,
        bytes: opened.body,
        signature: opened.signature,
        signed: verified.signed,
        device: device.card.key.id(),
        fingerprint: device.card.key.fingerprint(),
        person: person.clone(),
    })
}

/// Whether the approvals that let somebody in still count: a device that was removed or revoked while a code
/// was typed has nothing to say any more, nor has whoever is no longer one of those whom the rule names.
/// `members` are those who are, where it names any.
///
/// # Errors
/// Why not, for the log.
pub(crate) fn still_counts(app: &App, open: &OpenRequest, members: &[Person]) -> Result<(), String> {
    if !open.is_complete() {
        return Err("there is no approval, or too few".into());
    }
    open.counting().iter().try_for_each(|taken| {
        if open.rule.is_some() && !members.iter().any(|member| member.name == taken.person) {
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
