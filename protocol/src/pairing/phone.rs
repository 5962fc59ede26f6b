//! The device's side of pairing.

use super::{FRESH, First, PairingError, Reveal, Secrets, Ticket, code, decrypt, encrypt, ticket_secret};
use crate::api::{MAX_MAIL, SignedCard};
use crate::card::{self, VerifiedCard};
use crate::digest;
use crate::keys::{PublicKey, SealKey};
use crate::message::{Host, MessageType, Receipt, Sealed, VERSION};
use crate::random;
use crate::seal;
use crate::signed;
use base64ct::{Base64, Encoding};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What the person is shown after the host has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revealed {
    /// The six digits to type at the host's terminal.
    pub code: Zeroizing<String>,
    /// The host that asks. Escape its name before showing.
    pub host: Host,
    /// The user on that host.
    pub user: String,
}

/// A host that the device trusts from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its name and key.
    pub host: Host,
    /// Its key.
    pub host_key: PublicKey,
    /// For whom the device approves there.
    pub user: String,
    /// When, by the host's clock, seconds since 1970.
    pub paired_at: u64,
}

/// A pairing at the device, from the link to the receipt.
pub struct PhonePairing {
    ticket: Ticket,
    secrets: Secrets,
    card: VerifiedCard,
    /// SHA-256 of `m1`'s plaintext.
    first_hash: [u8; 32],
    first: String,
    revealed: Option<(Host, PublicKey, String)>,
}

impl PhonePairing {
    /// Answers a link with the device's card.
    ///
    /// # Errors
    /// [`PairingError::Card`] when the card is not in order.
    pub fn new(ticket: Ticket, card: &SignedCard) -> Result<Self, PairingError> {
        Self::with_random(ticket, card, random::bytes(), random::bytes())
    }

    pub(crate) fn with_random(
        ticket: Ticket,
        card: &SignedCard,
        fresh: [u8; FRESH],
        nonce: [u8; 12],
    ) -> Result<Self, PairingError> {
        let verified = card::verify(card)?;
        let SignedCard { card, signature } = card.clone();
        let first = First { card, signature, fresh: Base64::encode_string(&fresh) };
        let plaintext = serde_json::to_vec(&first).map_err(|_| PairingError::Order)?;
        let secrets = ticket.secrets();
        let aad = secrets.first_aad(&ticket.host_key());
        let first = encrypt(&secrets.card, nonce, &aad, &plaintext).ok_or(PairingError::Order)?;
        let first_hash = digest::sha256(&plaintext);
        Ok(Self { ticket, secrets, card: verified, first_hash, first, revealed: None })
    }

    /// What the link says.
    #[must_use]
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// The message for slot `m1`. The same bytes at each call: the host passes re-sends.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.first
    }

    /// Takes the message from slot `m2`.
    ///
    /// # Errors
    /// [`PairingError::Reveal`] when it is for another device, [`PairingError::Contradiction`] when
    /// it does not fit the link.
    pub fn reveal(&mut self, mail: &str) -> Result<Revealed, PairingError> {
        let plaintext = decrypt(&self.secrets.reveal, &self.first_hash, mail).ok_or(PairingError::Reveal)?;
        let reveal: Reveal = serde_json::from_slice(&plaintext).map_err(|_| PairingError::Contradiction)?;
        let mut n = Zeroizing::new([0u8; 32]);
        let length = Base64::decode(reveal.n.as_bytes(), n.as_mut()).map_or(0, |n| n.len());
        let host_key = PublicKey::from_line(&reveal.host.key)?;
        let fits = reveal.version == VERSION
            && length == 32
            && bool::from(ticket_secret(&n).as_slice().ct_eq(self.ticket.secret().as_slice()))
            && host_key.sha256() == self.ticket.host_key();
        if !fits {
            return Err(PairingError::Contradiction);
        }
        let code = code(&n, &host_key, &self.first_hash);
        self.revealed = Some((reveal.host.clone(), host_key, reveal.user.clone()));
        Ok(Revealed { code, host: reveal.host, user: reveal.user })
    }

    /// Takes the receipt from slot `m3`. Only after this the device trusts the host.
    ///
    /// # Errors
    /// [`PairingError`] when it is not authentic or not for this pairing.
    pub fn receipt(&self, key: &SealKey, mail: &str) -> Result<Pinned, PairingError> {
        let (host, host_key, user) = self.revealed.as_ref().ok_or(PairingError::Order)?;
        if mail.len() > MAX_MAIL {
            return Err(PairingError::Receipt);
        }
        let sealed: Sealed = serde_json::from_str(mail).map_err(|_| PairingError::Receipt)?;
        let opened = seal::open(MessageType::Receipt, key, self.card.hash, host_key, &sealed)?;
        let receipt: Receipt = signed::verify_message(&opened.body, &opened.signature, host_key)?.message;
        let fits = opened.envelope.id == self.ticket.mailbox()
            && opened.envelope.to == self.card.key.id()
            && receipt.host == *host
            && receipt.user == *user
            && receipt.card == digest::hex(&self.card.hash);
        if !fits {
            return Err(PairingError::Receipt);
        }
        Ok(Pinned {
            host: receipt.host,
            host_key: host_key.clone(),
            user: receipt.user,
            paired_at: receipt.paired_at,
        })
    }
}

impl std::fmt::Debug for PhonePairing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PhonePairing({:?})", self.ticket)
    }
}
