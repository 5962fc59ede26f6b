//! Revoked keys: full public keys, one a line, as `ssh-keygen -Y verify -r` reads them.

use super::{LineFault, MAX_FAULTS, parse};
use crate::keys::PublicKey;
use crate::keys::{self, decode_base64};
use crate::wire::Reader;
use std::collections::HashSet;

/// Keys that count for nothing, of devices and of authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    blobs: HashSet<Vec<u8>>,
}

impl Revoked {
    /// Reads a file's text. Keys of types that are not accepted elsewhere may be revoked, too.
    ///
    /// # Errors
    /// All faults. A fingerprint is one: it makes `ssh-keygen -Y verify -r` refuse every key.
    pub fn parse(file: &str) -> Result<Self, Vec<LineFault>> {
        let blobs = parse::lines(file, blob)?.into_iter().collect();
        let faults: Vec<LineFault> = blank_returns(file).take(MAX_FAULTS).collect();
        if faults.is_empty() { Ok(Self { blobs }) } else { Err(faults) }
    }

    /// Whether a key is revoked.
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.blobs.contains(key.blob())
    }
}

/// Lines of a carriage return alone. To ssh-keygen they are damaged keys, for which it refuses every key.
fn blank_returns(file: &str) -> impl Iterator<Item = LineFault> {
    let is_one = |line: &str| line.contains('\r') && line.trim_matches([' ', '\t', '\r']).is_empty();
    let fault = |line| LineFault {
        line,
        message: "a carriage return stands alone: save the file as plain text".into(),
    };
    file.split('\n').enumerate().filter(move |(_, line)| is_one(line)).map(move |(i, _)| fault(i + 1))
}

fn blob(line: &str) -> Result<Vec<u8>, String> {
    if line.starts_with("SHA256:") || line.starts_with("MD5:") {
        return Err(
            "a fingerprint cannot be revoked: put the full public key here, as in its .pub file".into()
        );
    }
    if line.len() > keys::MAX_LINE {
        return Err("the line is too long".into());
    }
    let mut words = line.split_ascii_whitespace();
    let (name, encoded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let blob = decode_base64(encoded)
        .filter(|blob| Reader::new(blob).text().is_ok_and(|inner| inner == name))
        .ok_or("not an OpenSSH public key: expected type, base64 and perhaps a comment")?;
    if name.contains("-cert-v0") {
        return Err(
            "a certificate cannot be revoked: put its plain public key or its authority's here".into()
        );
    }
    // A damaged key of an accepted type would never match: say so now.
    match PublicKey::from_blob(&blob) {
        Ok(_) | Err(keys::KeyError::Type(_)) => Ok(blob),
        Err(error) => Err(error.to_string()),
    }
}
