//! One code: how it is made, written and read, and the slow hash that is kept of it.

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Encoding};
use countersign_protocol::random;
use std::io;
use zeroize::Zeroizing;

/// Crockford's: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a code, five bits each.
const LENGTH: usize = 16;
/// Characters between two dashes.
const GROUP: usize = 4;
/// Memory of a hash in KiB, and passes over it. A code has 80 bits: this is a second wall.
pub(super) const COST: (u32, u32) = (8 * 1024, 3);

/// Whether an answer is written like a recovery code, so that it is compared with nothing else.
#[must_use]
pub fn looks_like_code(answer: &str) -> bool {
    fold(answer).is_some()
}

pub(super) fn slow_hash(
    code: &str,
    salt: &str,
    (memory, passes): (u32, u32),
) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut salt = Base64::decode_vec(salt).map_err(|_| io::Error::other("a salt that is not base64"))?;
    salt.resize(salt.len().max(16), 0);
    let mut hash = Zeroizing::new(vec![0; 32]);
    let params = Params::new(memory, passes, 1, Some(hash.len())).map_err(io::Error::other)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(code.as_bytes(), &salt, &mut hash)
        .map_err(io::Error::other)?;
    Ok(hash)
}

/// A code as it is hashed: sixteen characters of the alphabet. `None` when it cannot be one.
pub(super) fn fold(answer: &str) -> Option<Zeroizing<String>> {
    let mut code = Zeroizing::new(String::with_capacity(LENGTH));
    for c in answer.chars().filter(|c| !matches!(c, '-' | ' ' | '\t')) {
        let c = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        };
        if !c.is_ascii() || !ALPHABET.contains(&(c as u8)) || code.len() == LENGTH {
            return None;
        }
        code.push(c);
    }
    (code.len() == LENGTH).then_some(code)
}

pub(super) fn new_code() -> Zeroizing<String> {
    let bits = u128::from_be_bytes(*Zeroizing::new(random::bytes::<16>()));
    let symbol =
        |at: usize| ALPHABET.get((bits >> (at * 5)) as usize & 31).map_or('0', |byte| char::from(*byte));
    Zeroizing::new((0..LENGTH).map(symbol).collect())
}

/// `xxxx-xxxx-xxxx-xxxx`.
pub(super) fn grouped(code: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(LENGTH + LENGTH / GROUP));
    for (at, c) in code.chars().enumerate() {
        if at > 0 && at % GROUP == 0 {
            text.push('-');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_write_them() {
        for same in
            ["0123-abcd-efgh-jk10", "O123 ABCD EFGH JKLo", "oi23abcdefghjkI0", " 0l23-abcd-efgh-jk10 "]
        {
            assert_eq!(fold(same).unwrap().as_str(), "0123abcdefghjk10", "{same}");
        }
        for other in [
            "",
            "123456",
            "0123-abcd-efgh-jk1",
            "0123-abcd-efgh-jk100",
            "0123-abcd-efgh-jku0",
            "é123abcdefghjk10",
        ] {
            assert!(!looks_like_code(other), "{other}");
        }
    }
}
