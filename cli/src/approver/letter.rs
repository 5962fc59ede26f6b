//! What comes from hosts, believed only after its seal and signature; and the answer to it.

use super::inbox::{Key, Verified};
use super::store::{Device, PinnedHost};
use base64ct::{Base64, Encoding};
use countersign_protocol::digest;
use countersign_protocol::keys::PublicKey;
use countersign_protocol::message::{
    Answer, CODE_DIGITS, Closed, ClosedOutcome, Confirm, Decision, Envelope, Lease, MAX_ENVELOPE,
    MessageType, Notice, Request, Sealed, VERSION,
};
use countersign_protocol::phone_code;
use countersign_protocol::random;
use countersign_protocol::seal::{self, Recipient};
use countersign_protocol::signed::{sign_message, verify_message};
use countersign_protocol::text::escape;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A believed message.
#[derive(Debug, PartialEq, Eq)]
pub enum Letter {
    /// A request.
    Request(Box<Verified>),
    /// The end of one.
    Closed {
        /// Which.
        key: Key,
        /// SHA-256 of the request's bytes in hex.
        digest: String,
        /// How it ended.
        outcome: ClosedOutcome,
        /// The host's name.
        host_name: String,
    },
    /// What a host says of a user's devices.
    Notice {
        /// Its register.
        key: Key,
        /// SHA-256 of its bytes in hex.
        digest: String,
        /// What it says.
        notice: Arc<Notice>,
        /// The host's name.
        host_name: String,
    },
    /// Of a kind that a later version has; nothing is known of it, not even whose it is.
    Unknown,
}

/// Opens, verifies and only then reads a message that came through `server`.
///
/// # Errors
/// An alarm's text: such a message is shown to nobody.
pub fn read(sealed: &Sealed, device: &Device, hosts: &[PinnedHost], server: &str) -> Result<Letter, String> {
    if is_of_later_kind(sealed) {
        return Ok(Letter::Unknown);
    }
    let envelope = seal::peek(sealed).map_err(|e| format!("a damaged message came: {e}"))?;
    let find = |h: &&PinnedHost| PublicKey::from_line(&h.key).is_ok_and(|k| k.id() == envelope.from);
    let Some(host) = hosts.iter().find(find) else {
        return Err(format!(
            "a host that was never paired sent something (key id {})",
            escape(&envelope.from)
        ));
    };
    let name = escape(&host.name);
    let key = PublicKey::from_line(&host.key).map_err(|e| format!("the key of {name}: {e}"))?;
    if envelope.to != device.card.key.id() {
        return Err(format!("a message of {name} for another device came"));
    }
    let opened = seal::open(envelope.message_type, &device.seal_key, device.card.hash, &key, sealed)
        .map_err(|e| format!("a message of {name}: {e}"))?;
    let believed = |e| format!("a message in the name of {name}: {e}: SOMEBODY MAY BE CHEATING");
    let digest = digest::sha256_hex(&opened.body);
    let id = match envelope.message_type {
        MessageType::Request => {
            let request: Request =
                verify_message(&opened.body, &opened.signature, &key).map_err(believed)?.message;
            if request.host.key != host.key {
                return Err(format!(
                    "a request of {name} names another host's key: SOMEBODY MAY BE CHEATING"
                ));
            }
            let id = request.id.clone();
            let (host, host_name) = (envelope.from, host.name.clone());
            let of_host = hosts.iter().filter(|known| known.key == request.host.key);
            let users = of_host.map(|known| known.user.clone()).collect();
            let verified = Verified { request, digest, host, host_name, server: server.to_owned(), users };
            (id, Letter::Request(Box::new(verified)))
        }
        MessageType::Closed => {
            let closed: Closed =
                verify_message(&opened.body, &opened.signature, &key).map_err(believed)?.message;
            let key = Key { host: envelope.from, id: closed.id.clone() };
            let (digest, outcome, host_name) = (closed.request, closed.outcome, host.name.clone());
            (closed.id, Letter::Closed { key, digest, outcome, host_name })
        }
        MessageType::Notice => {
            let notice: Notice =
                verify_message(&opened.body, &opened.signature, &key).map_err(believed)?.message;
            let key = Key { host: envelope.from, id: notice.id.clone() };
            let host_name = host.name.clone();
            (notice.id.clone(), Letter::Notice { key, digest, notice: Arc::new(notice), host_name })
        }
        MessageType::Decision | MessageType::Receipt | MessageType::Removal => {
            return Err(format!("a message of {name} of a kind that has no place here"));
        }
    };
    // The relay sorts by the envelope's id; another one inside would let it mix them up.
    if id.0 == envelope.id {
        Ok(id.1)
    } else {
        Err(format!("a message of {name} was put into another's envelope"))
    }
}

/// Whether an envelope is in order but for a version or a type that is not known here. A relay that makes
/// one up only wastes its own time.
fn is_of_later_kind(sealed: &Sealed) -> bool {
    #[derive(serde::Deserialize)]
    struct Any {
        version: u32,
        #[serde(rename = "type")]
        message_type: String,
    }
    if sealed.envelope.len() > MAX_ENVELOPE {
        return false;
    }
    let Ok(Any { version, message_type }) = serde_json::from_str(&sealed.envelope) else { return false };
    let is_known = serde_json::from_value::<MessageType>(message_type.into()).is_ok();
    version > VERSION || (version == VERSION && !is_known)
}

/// What a person says of a request.
#[derive(Debug, Clone, Copy)]
pub struct Saying {
    /// The answer.
    pub answer: Answer,
    /// Until when an approval holds, in seconds since 1970 by the host's clock.
    pub lease: Option<u64>,
    /// Rises with every decision.
    pub counter: u64,
    /// The time, in seconds since 1970.
    pub now: u64,
}

/// A decision, signed and sealed for the host, with the code to show.
///
/// # Errors
/// Why there is none.
pub fn decide(
    verified: &Verified,
    saying: &Saying,
    device: &Device,
) -> Result<(Sealed, Option<Zeroizing<String>>), String> {
    let (request, Saying { answer, lease, counter, now }) = (&verified.request, *saying);
    let coded = answer == Answer::Approve && request.confirm == Confirm::Code;
    let code = coded.then(|| Zeroizing::new(random::digits(CODE_DIGITS)));
    let decision = Decision {
        version: VERSION,
        request: verified.digest.clone(),
        decision: answer,
        code: code.as_deref().cloned(),
        lease: lease.map(|until| Lease { until, scope: request.service.clone() }),
        decided_at: now,
        counter,
    };
    let message = sign_message(&*device.signer, &decision).map_err(|e| e.to_string())?;
    let mut reply_key = [0u8; 32];
    let len = Base64::decode(&request.reply_key, &mut reply_key).map_err(|e| e.to_string())?.len();
    if len != reply_key.len() {
        return Err("the request's reply key is damaged".into());
    }
    let envelope = Envelope {
        version: VERSION,
        message_type: MessageType::Decision,
        from: device.card.key.id(),
        to: verified.host.clone(),
        id: request.id.clone(),
    };
    let recipient = Recipient::reply_key(reply_key);
    let body = &message.bytes;
    let sender = device.signer.public_key();
    let sealed = seal::seal(MessageType::Decision, sender, &recipient, &envelope, body, &message.signature)
        .map_err(|e| e.to_string())?;
    Ok((sealed, code))
}

/// Eight digits for an approval that cannot be sent.
#[must_use]
pub fn unsent_code(verified: &Verified, device: &Device) -> Option<Zeroizing<String>> {
    let host = PublicKey::from_line(&verified.request.host.key).ok()?;
    let mut reply_key = [0u8; 32];
    let length = Base64::decode(&verified.request.reply_key, &mut reply_key).ok()?.len();
    let (key, card) = (&device.seal_key, &device.card.hash);
    let code = phone_code::of_request_at_device(key, card, &host, reply_key, &verified.digest);
    code.ok().filter(|_| length == reply_key.len())
}

#[cfg(test)]
#[path = "letter_tests.rs"]
mod tests;
