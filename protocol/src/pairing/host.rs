//! The host's side of pairing.

use super::{
    FRESH, First, PairingError, Reveal, Secrets, TRIES, Ticket, code, decrypt, encrypt, ticket_secret,
};
use crate::api::SignedCard;
use crate::card::{self, CardError, VerifiedCard};
use crate::digest;
use crate::keys::{PublicKey, Signer};
use crate::message::{Envelope, Host, MessageType, Receipt, VERSION};
use crate::random;
use crate::seal;
use crate::signed;
use crate::text;
use base64ct::{Base64, Encoding};
use hpke::rand_core::{CryptoRng, UnwrapErr};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Why an `m1` is not taken. Pairing goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FirstError {
    /// Not made by somebody who has the link.
    #[error("a message that was not made for this pairing")]
    Unreadable,
    /// A card that is refused.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Another device was first.
    #[error("another device has used this link already")]
    Taken,
    /// Three wrong codes.
    #[error("this pairing is over")]
    Over,
}

/// Why a code is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// No device has answered.
    #[error("no device has opened the link yet")]
    NoDevice,
    /// Not the code.
    #[error("not the code that the device shows; {0} tries left")]
    Wrong(u8),
    /// No tries are left.
    #[error("wrong three times: this pairing is over, start a new one")]
    Over,
}

/// A pairing at the host, from the link to the receipt. Its five minutes are the caller's to keep.
pub struct HostPairing {
    n: Zeroizing<[u8; 32]>,
    ticket: Ticket,
    secrets: Secrets,
    host: Host,
    host_key: PublicKey,
    user: String,
    state: State,
}

enum State {
    /// For an `m1`.
    Waiting,
    /// Onto one card; the code is awaited.
    Locked { device: Box<Device>, tries: u8 },
    /// The code was typed.
    Confirmed(Box<Device>),
    /// Too many wrong codes.
    Over,
}

struct Device {
    /// SHA-256 of `m1`'s plaintext.
    first: [u8; 32],
    second: String,
    card: VerifiedCard,
    code: Zeroizing<String>,
}

impl HostPairing {
    /// Starts a pairing for `user`, through the push server at `origin`.
    ///
    /// # Errors
    /// [`PairingError`] when the origin, the host's key or the user's name is unusable.
    pub fn new(origin: &str, host: Host, user: &str) -> Result<Self, PairingError> {
        Self::from_secret(Zeroizing::new(random::bytes()), origin, host, user)
    }

    /// The same with a link that leads to an app on an origin of its own.
    ///
    /// # Errors
    /// [`PairingError::Ticket`] when that is none.
    pub fn with_app(mut self, app: &str) -> Result<Self, PairingError> {
        self.ticket = self.ticket.with_app(app)?;
        Ok(self)
    }

    pub(crate) fn from_secret(
        n: Zeroizing<[u8; 32]>,
        origin: &str,
        host: Host,
        user: &str,
    ) -> Result<Self, PairingError> {
        let host_key = PublicKey::from_line(&host.key)?;
        if !text::is_principal(user) {
            return Err(PairingError::User);
        }
        let ticket = Ticket::new(origin, ticket_secret(&n), host_key.sha256())?;
        let secrets = ticket.secrets();
        Ok(Self { n, ticket, secrets, host, host_key, user: user.to_owned(), state: State::Waiting })
    }

    /// What the link says.
    #[must_use]
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// The mailbox's id in hex.
    #[must_use]
    pub fn mailbox(&self) -> String {
        self.ticket.mailbox()
    }

    /// For whom.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Takes a message from slot `m1`, and gives the one for slot `m2`. The first that is in order
    /// fixes the device; the same again gives the same answer.
    ///
    /// # Errors
    /// [`FirstError`]: the message is to be passed over.
    pub fn receive(&mut self, mail: &str) -> Result<String, FirstError> {
        self.receive_with(mail, random::bytes())
    }

    pub(crate) fn receive_with(&mut self, mail: &str, nonce: [u8; 12]) -> Result<String, FirstError> {
        if matches!(self.state, State::Over) {
            return Err(FirstError::Over);
        }
        let aad = self.secrets.first_aad(&self.host_key.sha256());
        let plaintext = decrypt(&self.secrets.card, &aad, mail).ok_or(FirstError::Unreadable)?;
        let first = digest::sha256(&plaintext);
        if let Some(device) = self.device() {
            return if device.first == first { Ok(device.second.clone()) } else { Err(FirstError::Taken) };
        }
        let First { card, signature, fresh } =
            serde_json::from_slice(&plaintext).map_err(|_| FirstError::Unreadable)?;
        if Base64::decode_vec(&fresh).map_or(0, |fresh| fresh.len()) != FRESH {
            return Err(FirstError::Unreadable);
        }
        let card = card::verify(&SignedCard { card, signature })?;
        let reveal = Reveal {
            version: VERSION,
            n: Zeroizing::new(Base64::encode_string(self.n.as_slice())),
            host: self.host.clone(),
            user: self.user.clone(),
        };
        let reveal = Zeroizing::new(serde_json::to_vec(&reveal).map_err(|_| FirstError::Unreadable)?);
        let second = encrypt(&self.secrets.reveal, nonce, &first, &reveal).ok_or(FirstError::Unreadable)?;
        let code = code(&self.n, &self.host_key, &first);
        let device = Box::new(Device { first, second: second.clone(), card, code });
        self.state = State::Locked { device, tries: TRIES };
        Ok(second)
    }

    /// The card of the device that has answered. Nothing is proven before its code was typed.
    #[must_use]
    pub fn card(&self) -> Option<&VerifiedCard> {
        self.device().map(|device| &device.card)
    }

    /// Compares what was typed with the code, blanks and dashes aside.
    ///
    /// # Errors
    /// [`CodeError`] counts the tries; after the last the pairing is over.
    pub fn check(&mut self, typed: &str) -> Result<VerifiedCard, CodeError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Waiting => {
                self.state = State::Waiting;
                Err(CodeError::NoDevice)
            }
            State::Locked { device, tries } => {
                let typed: Zeroizing<String> =
                    Zeroizing::new(typed.chars().filter(|c| !matches!(c, ' ' | '-' | '\t' | '\n')).collect());
                if bool::from(typed.as_bytes().ct_eq(device.code.as_bytes())) {
                    let card = device.card.clone();
                    self.state = State::Confirmed(device);
                    return Ok(card);
                }
                let tries = tries.saturating_sub(1);
                if tries == 0 {
                    return Err(CodeError::Over);
                }
                self.state = State::Locked { device, tries };
                Err(CodeError::Wrong(tries))
            }
            // One code is one pairing.
            State::Confirmed(device) => {
                self.state = State::Confirmed(device);
                Err(CodeError::Over)
            }
            State::Over => Err(CodeError::Over),
        }
    }

    /// The receipt for slot `m3`, once the code was typed and the approver's line is written: the JSON
    /// text of a sealed message.
    ///
    /// # Errors
    /// [`PairingError::Order`] before that; else what signing or sealing says.
    pub fn receipt(&self, signer: &dyn Signer, paired_at: u64) -> Result<String, PairingError> {
        self.receipt_with(&mut UnwrapErr(getrandom::SysRng), signer, paired_at)
    }

    pub(crate) fn receipt_with(
        &self,
        random: &mut impl CryptoRng,
        signer: &dyn Signer,
        paired_at: u64,
    ) -> Result<String, PairingError> {
        let State::Confirmed(device) = &self.state else {
            return Err(PairingError::Order);
        };
        let receipt = Receipt {
            version: VERSION,
            host: self.host.clone(),
            user: self.user.clone(),
            card: digest::hex(&device.card.hash),
            paired_at,
        };
        let message = signed::sign_message(signer, &receipt)?;
        let envelope = Envelope {
            version: VERSION,
            message_type: MessageType::Receipt,
            from: self.host_key.id(),
            to: device.card.key.id(),
            id: self.mailbox(),
        };
        let sealed = seal::seal_with(
            random,
            MessageType::Receipt,
            &self.host_key,
            &device.card.recipient(),
            &envelope,
            &message.bytes,
            &message.signature,
        )?;
        serde_json::to_string(&sealed).map_err(|_| PairingError::Receipt)
    }

    fn device(&self) -> Option<&Device> {
        match &self.state {
            State::Locked { device, .. } | State::Confirmed(device) => Some(device),
            State::Waiting | State::Over => None,
        }
    }
}

impl std::fmt::Debug for HostPairing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostPairing({:?})", self.ticket)
    }
}
