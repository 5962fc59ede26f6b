//! Framing on the daemon's Unix sockets: one JSON object, then a NUL byte.
//!
//! The shape is varlink's: a call is `{"method": NAME, "parameters": {…}}`, a reply is
//! `{"parameters": {…}}` or `{"error": NAME, "parameters": {"message": TEXT}}`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longest frame in bytes, without its NUL. A longer one ends the connection.
pub const MAX_FRAME: usize = 16 * 1024;

/// The byte that ends a frame. JSON never contains it.
pub const END: u8 = 0;

/// A reply to a call: parameters, or a named error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// Strict, so that a reply with an `error` is never read as a result.
#[serde(untagged, deny_unknown_fields)]
pub enum Reply<T> {
    /// The call could not be carried out.
    Error {
        /// Dotted name, for example `org.countersign.Login.BadCall`.
        error: String,
        /// What happened and what to do, for a person.
        parameters: Complaint,
    },
    /// The call's result.
    Parameters {
        /// The result itself.
        parameters: T,
    },
}

/// The parameters of an error reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// One line for a person.
    pub message: String,
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME`].
    #[error("a frame of more than {MAX_FRAME} bytes")]
    TooLong,
    /// Not the JSON that was expected.
    #[error("not a valid message: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The bytes of one frame, its NUL included.
///
/// # Errors
/// [`FrameError::TooLong`] when the JSON is over [`MAX_FRAME`] bytes.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLong);
    }
    bytes.push(END);
    Ok(bytes)
}

/// Reads one frame's JSON (without its NUL).
///
/// # Errors
/// [`FrameError`] when it is too long or not a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLong);
    }
    Ok(serde_json::from_slice(bytes)?)
}
