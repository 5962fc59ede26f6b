//! A request and its end as they travel: sealed to each device.

use countersign_protocol::keys::SealKey;
use countersign_protocol::message::{Closed, Envelope, MessageType, Sealed, VERSION};
use countersign_protocol::seal::{self, Recipient, SealError};
use countersign_protocol::signed::{self, SignedMessage};

use super::request::OpenRequest;
use crate::app::HostIdentity;
use crate::clock;

impl OpenRequest {
    /// The request, sealed to each device.
    ///
    /// # Errors
    /// When sealing fails; names the device.
    pub fn sealed(&self, host: &HostIdentity) -> Result<Vec<Sealed>, String> {
        self.seal(host, MessageType::Request, &self.signed)
    }

    /// The same work for a request to nobody: it must not be told from another by the time that it takes.
    ///
    /// # Errors
    /// When sealing fails.
    pub(super) fn sealed_to_nobody(&self, host: &HostIdentity) -> Result<(), String> {
        let nobody = Recipient { seal_key: SealKey::generate().public(), hash: [0; 32] };
        self.seal_to(host, MessageType::Request, &self.signed, host.public.id(), &nobody)
            .map(drop)
            .map_err(|error| format!("cannot seal to nobody: {error}"))
    }

    /// How it ended, signed and sealed to each device.
    ///
    /// # Errors
    /// When signing or sealing fails.
    pub fn sealed_closed(&self, host: &HostIdentity) -> Result<Vec<Sealed>, String> {
        let closed = Closed {
            version: VERSION,
            id: self.id.clone(),
            request: self.digest.clone(),
            outcome: self.outcome(),
            closed_at: clock::unix(),
        };
        let signed = signed::sign_message(host.key.as_ref(), &closed)
            .map_err(|error| format!("the end of a request cannot be signed: {error}"))?;
        self.seal(host, MessageType::Closed, &signed)
    }

    fn seal(
        &self,
        host: &HostIdentity,
        kind: MessageType,
        message: &SignedMessage,
    ) -> Result<Vec<Sealed>, String> {
        self.devices
            .iter()
            .map(|device| {
                self.seal_to(host, kind, message, device.card.key.id(), &device.card.recipient())
                    .map_err(|error| format!("cannot seal to {}: {error}", device.card.key.fingerprint()))
            })
            .collect()
    }

    fn seal_to(
        &self,
        host: &HostIdentity,
        kind: MessageType,
        message: &SignedMessage,
        to: String,
        recipient: &Recipient,
    ) -> Result<Sealed, SealError> {
        let from = host.public.id();
        let envelope = Envelope { version: VERSION, message_type: kind, from, to, id: self.id.clone() };
        seal::seal(kind, &host.public, recipient, &envelope, &message.bytes, &message.signature)
    }
}
