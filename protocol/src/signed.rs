//! Signed messages: made from a value, or verified and only then parsed and checked.

use crate::card;
use crate::digest;
use crate::keys::{PublicKey, SignError, Signer};
use crate::login::{MAX_COMMAND, MAX_NAME};
use crate::message::{
    Answer, CODE_DIGITS, Closed, Decision, Host, List, MAX_BODY, MAX_DETAIL, MAX_EXPIRES_IN, MAX_LIST,
    MAX_OFFSET, MAX_PLACE, MAX_ZONE, MessageType, Receipt, Request, VERSION,
};
use crate::sshsig::{self, Signed, SshSigError};
use crate::text;
use base64ct::{Base64, Encoding};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest terminal, action, fingerprint or lease scope in bytes.
const MAX_FIELD: usize = 256;
/// Longest address in bytes: a host name when the application gave one.
const MAX_ADDRESS: usize = 256;
/// Longest list of people who may approve.
const MAX_PEOPLE: usize = 16;
/// Longest lease in seconds.
pub const MAX_LEASE: u32 = 8 * 3600;
/// Most uses of a lease, where they are counted.
pub const MAX_LEASE_USES: u32 = 1000;

/// Why a message is not made or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Over [`MAX_BODY`].
    #[error("the message is longer than {MAX_BODY} bytes")]
    TooLong,
    /// Its signature is wrong.
    #[error(transparent)]
    Signature(#[from] SshSigError),
    /// Signed by somebody else.
    #[error("the message is signed by another key than expected")]
    OtherKey,
    /// Not JSON of this type.
    #[error("the message is not readable: {0}")]
    Malformed(String),
    /// A field is wrong.
    #[error("the message's {0}")]
    Field(&'static str),
}

/// A kind of signed message.
pub trait Message: Serialize + DeserializeOwned {
    /// Which one.
    const TYPE: MessageType;

    /// Checks its fields.
    ///
    /// # Errors
    /// [`MessageError::Field`] names the first wrong one.
    fn check(&self) -> Result<(), MessageError>;
}

/// A message as it is sealed and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    /// The JSON bytes.
    pub bytes: Vec<u8>,
    /// Armored SSHSIG over them.
    pub signature: String,
}

impl SignedMessage {
    /// SHA-256 of the bytes in hex: how a decision names its request.
    #[must_use]
    pub fn digest(&self) -> String {
        digest::sha256_hex(&self.bytes)
    }
}

/// A message that is authentic and in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    /// What it says.
    pub message: T,
    /// Who signed, for [`crate::signers::AllowedSigners::authorize`].
    pub signed: Signed,
}

/// Checks, writes and signs a message.
///
/// # Errors
/// [`MessageError`] when a field is wrong, it is too long or the signer fails.
pub fn sign_message<T: Message>(signer: &dyn Signer, message: &T) -> Result<SignedMessage, MessageError> {
    message.check()?;
    let bytes = serde_json::to_vec(message).map_err(|e| MessageError::Malformed(e.to_string()))?;
    if bytes.len() > MAX_BODY {
        return Err(MessageError::TooLong);
    }
    let signature = sshsig::sign(signer, T::TYPE.namespace(), &bytes)?;
    Ok(SignedMessage { bytes, signature })
}

/// Verifies a message by `key`, then parses and checks it.
///
/// # Errors
/// [`MessageError`]; nothing is parsed unless the signature is valid and by that key.
pub fn verify_message<T: Message>(
    bytes: &[u8],
    signature: &str,
    key: &PublicKey,
) -> Result<Verified<T>, MessageError> {
    verify_if(bytes, signature, |signed| signed.key == *key)
}

/// Verifies a message by whatever key signed it. That key is in the result, and means nothing before
/// the caller has found it trusted.
///
/// # Errors
/// [`MessageError`]; nothing is parsed unless the signature is valid.
pub fn verify_unpinned<T: Message>(bytes: &[u8], signature: &str) -> Result<Verified<T>, MessageError> {
    verify_if(bytes, signature, |_| true)
}

fn verify_if<T: Message>(
    bytes: &[u8],
    signature: &str,
    expected: impl Fn(&Signed) -> bool,
) -> Result<Verified<T>, MessageError> {
    if bytes.len() > MAX_BODY {
        return Err(MessageError::TooLong);
    }
    let signed = sshsig::verify(signature, T::TYPE.namespace(), bytes)?;
    if !expected(&signed) {
        return Err(MessageError::OtherKey);
    }
    let message: T = serde_json::from_slice(bytes)
        .map_err(|e| MessageError::Malformed(text::escape(&e.to_string()).into_owned()))?;
    message.check()?;
    Ok(Verified { message, signed })
}

impl Message for Request {
    const TYPE: MessageType = MessageType::Request;

    fn check(&self) -> Result<(), MessageError> {
        version(self.version)?;
        hex(&self.id, 32, "id is not 16 bytes of hex")?;
        card::seal_key(&self.reply_key).ok_or(MessageError::Field("reply key is not 32 bytes of base64"))?;
        host(&self.host)?;
        name(&self.user, "user is empty or too long")?;
        optional(self.requester.as_deref(), MAX_NAME, "requester is too long")?;
        name(&self.service, "service is empty or too long")?;
        optional(self.command.as_deref(), MAX_COMMAND, "command is too long")?;
        optional(self.action.as_deref(), MAX_FIELD, "action is too long")?;
        optional(self.detail.as_deref(), MAX_DETAIL, "detail is too long")?;
        self.list.as_ref().map_or(Ok(()), list)?;
        optional(self.terminal.as_deref(), MAX_NAME, "terminal is too long")?;
        if let Some(remote) = &self.remote {
            at_most(&remote.address, MAX_ADDRESS, "address is too long")?;
        }
        if let Some(key) = &self.ssh_key {
            at_most(&key.fingerprint, MAX_FIELD, "ssh key's fingerprint is too long")?;
            at_most(&key.key_type, MAX_FIELD, "ssh key's type is too long")?;
        }
        if let Some(context) = &self.context {
            let place = context.place.as_ref().map(|place| place.text.as_str());
            optional(place, MAX_PLACE, "place is too long")?;
            let zone = context.zone.as_ref();
            optional(zone.and_then(|zone| zone.name.as_deref()), MAX_ZONE, "time zone's name is too long")?;
            if zone.is_some_and(|zone| zone.offset.unsigned_abs() > MAX_OFFSET.unsigned_abs()) {
                return Err(MessageError::Field("time zone is too far from UTC"));
            }
        }
        if !(1..=MAX_EXPIRES_IN).contains(&self.expires_in) {
            return Err(MessageError::Field("validity is zero or too long"));
        }
        if self.lease_max.is_some_and(|max| max > MAX_LEASE) {
            return Err(MessageError::Field("lease is too long"));
        }
        let uses = self.lease_uses;
        if uses.is_some_and(|uses| uses == 0 || uses > MAX_LEASE_USES)
            || (uses.is_some() && self.lease_max.is_none())
        {
            return Err(MessageError::Field("lease is for no login or too many"));
        }
        let people = &self.approvals.from;
        if self.approvals.needed == 0 || people.is_empty() || people.len() > MAX_PEOPLE {
            return Err(MessageError::Field("approvals need at least one person and have a limit"));
        }
        people.iter().try_for_each(|person| name(person, "approver's name is empty or too long"))
    }
}

impl Message for Decision {
    const TYPE: MessageType = MessageType::Decision;

    fn check(&self) -> Result<(), MessageError> {
        version(self.version)?;
        hex(&self.request, 64, "request digest is not SHA-256 in hex")?;
        if let Some(code) = &self.code
            && (code.len() != CODE_DIGITS || !code.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(MessageError::Field("code is not six digits"));
        }
        if let Some(lease) = &self.lease {
            at_most(&lease.scope, MAX_FIELD, "lease scope is too long")?;
        }
        if self.decision != Answer::Approve && (self.code.is_some() || self.lease.is_some()) {
            return Err(MessageError::Field("denial carries what only an approval may"));
        }
        Ok(())
    }
}

impl Message for Closed {
    const TYPE: MessageType = MessageType::Closed;

    fn check(&self) -> Result<(), MessageError> {
        version(self.version)?;
        hex(&self.id, 32, "id is not 16 bytes of hex")?;
        hex(&self.request, 64, "request digest is not SHA-256 in hex")
    }
}

impl Message for Receipt {
    const TYPE: MessageType = MessageType::Receipt;

    fn check(&self) -> Result<(), MessageError> {
        version(self.version)?;
        host(&self.host)?;
        name(&self.user, "user is empty or too long")?;
        hex(&self.card, 64, "card digest is not SHA-256 in hex")
    }
}

fn version(version: u32) -> Result<(), MessageError> {
    if version == VERSION { Ok(()) } else { Err(MessageError::Field("version is another one")) }
}

fn hex(text: &str, digits: usize, fault: &'static str) -> Result<(), MessageError> {
    if digest::is_hex(text, digits) { Ok(()) } else { Err(MessageError::Field(fault)) }
}

fn at_most(text: &str, max: usize, fault: &'static str) -> Result<(), MessageError> {
    if text.len() <= max { Ok(()) } else { Err(MessageError::Field(fault)) }
}

fn optional(text: Option<&str>, max: usize, fault: &'static str) -> Result<(), MessageError> {
    text.map_or(Ok(()), |text| at_most(text, max, fault))
}

fn name(text: &str, fault: &'static str) -> Result<(), MessageError> {
    if text.is_empty() { Err(MessageError::Field(fault)) } else { at_most(text, MAX_NAME, fault) }
}

fn list(list: &List) -> Result<(), MessageError> {
    hex(&list.sha256, 64, "list's digest is not SHA-256 in hex")?;
    let is_size = |n: u32| n > 0 && usize::try_from(n).is_ok_and(|n| n <= MAX_LIST);
    if !is_size(list.bytes) || !is_size(list.lines) {
        return Err(MessageError::Field("list is empty or too long"));
    }
    match Base64::decode(&list.key, &mut [0; 16]).map(<[u8]>::len) {
        Ok(16) => Ok(()),
        _ => Err(MessageError::Field("list's key is not 16 bytes of base64")),
    }
}

fn host(host: &Host) -> Result<(), MessageError> {
    name(&host.name, "host name is empty or too long")?;
    PublicKey::from_line(&host.key).map(drop).map_err(|_| MessageError::Field("host key is not accepted"))
}
