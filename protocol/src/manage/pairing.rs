//! How a pairing goes on, call by call, and the ring at its end.

use super::Device;
use serde::{Deserialize, Serialize};

/// How far a pairing is, before a phone can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum PairingStep {
    /// A paired device was asked: the code that it shows has to be typed.
    Approve {
        /// How often one may be typed.
        tries: u8,
        /// Seconds until the question ends.
        expires_in: u32,
    },
    /// A phone may answer.
    Opened(PairingOpened),
}

/// A pairing is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingOpened {
    /// What the QR code carries: a link with everything in its fragment.
    pub link: String,
    /// What is typed where the link cannot be opened.
    pub ticket: String,
    /// Seconds until it closes.
    pub expires_in: u32,
}

/// A phone has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingAnswered {
    /// The name it gives itself; escape it before showing.
    pub name: String,
    /// Fingerprint of its signing key.
    pub fingerprint: String,
    /// How often a code may be typed.
    pub tries: u8,
}

/// What came of a pairing code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum PairingChecked {
    /// The device may approve from now on.
    Paired(Device),
    /// Not the code.
    Wrong {
        /// Tries that are left; at 0 the pairing is over.
        tries: u8,
    },
}

/// What came of a test ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// What its person answered; nothing when nobody did in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<RingAnswer>,
}

/// Answers to a test ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RingAnswer {
    /// It rang.
    Rang,
    /// Denied: somebody holds the device who does not expect it.
    Denied,
}
