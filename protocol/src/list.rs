//! The list of an action: what is too long for a request travels beside it, encrypted once for all devices.
//!
//! The signed request says how long the list is, what its SHA-256 is, and with which key it opens
//! ([`List`]). A relay can keep it back or change it; a device that has not opened it, and found it to be
//! what the host has signed, does not offer to approve.

use crate::digest::sha256_hex;
use crate::message::{List, MAX_LIST};
use crate::random;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// The plaintext is padded with zeros to a multiple of so many bytes: the relay learns no more of its length.
pub const STEP: usize = 16 * 1024;
/// Bytes of the key.
const KEY: usize = 16;
/// Bytes of the random nonce in front.
const NONCE: usize = 12;
/// Bytes of the tag at the end.
const TAG: usize = 16;
/// Longest encrypted list in bytes.
pub const MAX_SEALED: usize = NONCE + MAX_LIST + TAG;
/// Longest body of the call that brings one, in bytes.
pub const MAX_BODY: usize = 288 * 1024;

/// Why there is no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Nothing to list.
    #[error("the list is empty")]
    Empty,
    /// Over the limit.
    #[error("the list is longer than {MAX_LIST} bytes")]
    TooLong,
    /// The request says what cannot be of any list.
    #[error("the request describes its list in a way that cannot be")]
    Description,
    /// The encrypted list does not open: it is not the one that the host has made for this request.
    #[error("the list does not open: it was changed on its way")]
    Closed,
    /// It opens and is another one than was signed.
    #[error("the list is not the one that the request was signed for")]
    Differs,
}

/// Describes a list for its request, with a fresh key.
///
/// # Errors
/// [`ListError::Empty`] and [`ListError::TooLong`].
pub fn describe(text: &str) -> Result<List, ListError> {
    if text.is_empty() {
        return Err(ListError::Empty);
    }
    let bytes =
        u32::try_from(text.len()).ok().filter(|_| text.len() <= MAX_LIST).ok_or(ListError::TooLong)?;
    Ok(List {
        sha256: sha256_hex(text.as_bytes()),
        bytes,
        lines: lines(text),
        key: Base64::encode_string(Zeroizing::new(random::bytes::<KEY>()).as_slice()),
    })
}

/// Lines of a text: each ends with a line feed, the last one may do without.
#[must_use]
pub fn lines(text: &str) -> u32 {
    // At most one a byte, of which there are fewer than fit.
    u32::try_from(text.split_terminator('\n').count()).unwrap_or(u32::MAX)
}

/// Encrypts a list for the request with that id.
///
/// # Errors
/// [`ListError::Differs`] when it is not the one described, [`ListError::Description`] for an unusable key.
pub fn seal(list: &List, id: &str, text: &str) -> Result<Vec<u8>, ListError> {
    seal_with(random::bytes(), list, id, text)
}

pub(crate) fn seal_with(nonce: [u8; NONCE], list: &List, id: &str, text: &str) -> Result<Vec<u8>, ListError> {
    let padded = padded(list)?;
    check(list, text)?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(padded));
    plaintext.extend_from_slice(text.as_bytes());
    plaintext.resize(padded, 0);
    let payload = Payload { msg: &plaintext, aad: id.as_bytes() };
    let sealed = Aes128Gcm::new((&*key(list)?).into())
        .encrypt(&Nonce::from(nonce), payload)
        .map_err(|_| ListError::TooLong)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Opens the list of a verified request.
///
/// # Errors
/// [`ListError`]; nothing of a list that is not the signed one is given out.
pub fn open(list: &List, id: &str, sealed: &[u8]) -> Result<String, ListError> {
    let padded = padded(list)?;
    let key = key(list)?;
    if sealed.len() != NONCE + padded + TAG {
        return Err(ListError::Closed);
    }
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(ListError::Closed)?;
    let payload = Payload { msg: sealed, aad: id.as_bytes() };
    let plaintext = Aes128Gcm::new((&*key).into())
        .decrypt(&Nonce::from(*nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| ListError::Closed)?;
    let (text, padding) = plaintext.split_at_checked(list.bytes as usize).ok_or(ListError::Differs)?;
    let text = std::str::from_utf8(text).map_err(|_| ListError::Differs)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(ListError::Differs);
    }
    check(list, text)?;
    Ok(text.to_owned())
}

/// Whether an encrypted list may be so long: all that a relay can check.
#[must_use]
pub fn is_sealed_length(bytes: usize) -> bool {
    let padded = bytes.saturating_sub(NONCE + TAG);
    padded > 0 && bytes <= MAX_SEALED && padded.is_multiple_of(STEP)
}

/// Bytes of the padded plaintext.
fn padded(list: &List) -> Result<usize, ListError> {
    match list.bytes as usize {
        bytes @ 1..=MAX_LIST => Ok(bytes.next_multiple_of(STEP)),
        _ => Err(ListError::Description),
    }
}

fn key(list: &List) -> Result<Zeroizing<[u8; KEY]>, ListError> {
    let mut key = Zeroizing::new([0u8; KEY]);
    let length = Base64::decode(&list.key, key.as_mut_slice()).map_err(|_| ListError::Description)?.len();
    if length == KEY { Ok(key) } else { Err(ListError::Description) }
}

fn check(list: &List, text: &str) -> Result<(), ListError> {
    let fits = text.len() == list.bytes as usize
        && sha256_hex(text.as_bytes()) == list.sha256
        && lines(text) == list.lines;
    if fits { Ok(()) } else { Err(ListError::Differs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";
    const TEXT: &str = "install hello 2.10-3\nupgrade zoë 1 -> 2\n";

    #[test]
    fn a_list_comes_back_whole_and_its_length_is_hidden() {
        for text in [
            "a".to_owned(),
            TEXT.to_owned(),
            "x".repeat(STEP),
            "x".repeat(STEP + 1),
            "y\n".repeat(MAX_LIST / 2),
        ] {
            let list = describe(&text).unwrap();
            let sealed = seal(&list, ID, &text).unwrap();
            assert_eq!(sealed.len() % STEP, NONCE + TAG);
            assert!(is_sealed_length(sealed.len()) && sealed.len() <= MAX_SEALED);
            assert_eq!(open(&list, ID, &sealed), Ok(text));
        }
        const { assert!(MAX_SEALED <= MAX_BODY) };
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(describe(""), Err(ListError::Empty));
        assert_eq!(describe(&"x".repeat(MAX_LIST + 1)), Err(ListError::TooLong));
        for bytes in [0, 1, NONCE + TAG, STEP, NONCE + STEP + TAG + 1, MAX_SEALED + STEP] {
            assert!(!is_sealed_length(bytes), "{bytes}");
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        for (text, n) in
            [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("a\n\n", 2), ("\n", 1), ("a\r\nb\r\n", 2)]
        {
            assert_eq!(lines(text), n, "{text:?}");
        }
    }

    #[test]
    fn any_change_on_the_way_is_noticed() {
        let list = describe(TEXT).unwrap();
        let sealed = seal(&list, ID, TEXT).unwrap();
        for at in [0, NONCE, NONCE + 3, sealed.len() - 1] {
            let mut changed = sealed.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            assert_eq!(open(&list, ID, &changed), Err(ListError::Closed), "{at}");
        }
        assert_eq!(
            open(&list, &ID.replace("00", "01"), &sealed),
            Err(ListError::Closed),
            "another request's"
        );
        assert_eq!(open(&list, ID, &sealed[..sealed.len() - 1]), Err(ListError::Closed));
        assert_eq!(open(&list, ID, &[sealed.as_slice(), &[0; STEP]].concat()), Err(ListError::Closed));
        assert_eq!(open(&list, ID, &[]), Err(ListError::Closed));
    }

    #[test]
    fn what_opens_and_is_not_what_was_signed_is_refused() {
        let list = describe(TEXT).unwrap();
        let sealed = seal(&list, ID, TEXT).unwrap();
        let with = |change: &dyn Fn(&mut List)| {
            let mut list = list.clone();
            change(&mut list);
            open(&list, ID, &sealed)
        };
        assert_eq!(with(&|list| list.sha256 = "0".repeat(64)), Err(ListError::Differs));
        assert_eq!(with(&|list| list.lines += 1), Err(ListError::Differs));
        assert_eq!(with(&|list| list.bytes -= 1), Err(ListError::Differs));
        assert_eq!(with(&|list| list.bytes += 1), Err(ListError::Differs));
        assert_eq!(with(&|list| list.bytes = 0), Err(ListError::Description));
        assert_eq!(with(&|list| list.bytes += 1 << 20), Err(ListError::Description));
        assert_eq!(with(&|list| list.key = describe(TEXT).unwrap().key), Err(ListError::Closed));
        assert_eq!(with(&|list| list.key = Base64::encode_string(&[7; 15])), Err(ListError::Description));
        assert_eq!(with(&|list| list.key = Base64::encode_string(&[7; 17])), Err(ListError::Description));
        assert_eq!(with(&|list| list.key = "!".to_owned()), Err(ListError::Description));
    }

    #[test]
    fn only_what_was_described_is_encrypted() {
        let list = describe(TEXT).unwrap();
        assert_eq!(seal(&list, ID, &TEXT.replace("hello", "hullo")), Err(ListError::Differs));
    }
}
