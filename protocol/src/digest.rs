//! SHA-256, and the two text forms that it takes here.

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of some bytes as 64 lower-case hex digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// Bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Whether a text is exactly `digits` lower-case hex digits.
#[must_use]
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether a text has the shape of a key id: base64url without padding of 32 bytes.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    let mut buffer = [0u8; 32];
    matches!(Base64UrlUnpadded::decode(text, &mut buffer), Ok(bytes) if bytes.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn hex_is_lower_case_and_exact() {
        assert!(is_hex("00ff", 4));
        for bad in ["00fF", "00f", "00ff0", "00fg", ""] {
            assert!(!is_hex(bad, 4), "{bad:?}");
        }
    }

    #[test]
    fn key_ids_are_32_bytes() {
        assert!(is_key_id(&Base64UrlUnpadded::encode_string(&[7; 32])));
        assert!(!is_key_id(&Base64UrlUnpadded::encode_string(&[7; 31])));
        assert!(!is_key_id(&Base64UrlUnpadded::encode_string(&[7; 33])));
        assert!(!is_key_id(""));
        assert!(!is_key_id("++++"));
    }
}
