//! The ticket as it is typed: `T` in Crockford's base32, most significant bit first, 26 characters
//! of which the last has two bits of zero.
//!
//! It names no host. The device asks the relay whose mailbox it is; what that says is proven by the
//! host's answer, which only somebody who knows `N` behind `T` can give for that key, and a relay that
//! lies keeps the two from meeting: `m1` is bound to the key.

use super::{Secrets, Ticket, TicketError};
use crate::digest;
use base64ct::{Base64UrlUnpadded, Encoding};
use std::fmt;
use zeroize::Zeroizing;

/// Letters that are read as others are not among them.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CHARACTERS: usize = 26;
/// Characters before each dash.
const GROUP: usize = 5;
/// Groups before the last, longer one.
const GROUPS: usize = 4;
/// Longest text that is looked at, in bytes.
const MAX_TEXT: usize = 128;

/// A ticket that was typed.
#[derive(Clone, PartialEq, Eq)]
pub struct TypedTicket {
    t: Zeroizing<[u8; 16]>,
}

impl TypedTicket {
    /// Reads a ticket; case, blanks, dashes and letters that look like digits do not matter.
    ///
    /// # Errors
    /// [`TicketError::Typed`] when it is none.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        if text.len() > MAX_TEXT {
            return Err(TicketError::Typed);
        }
        let (mut bits, mut count, mut characters) = (Zeroizing::new(0u16), 0u32, 0usize);
        let mut t = Zeroizing::new([0u8; 16]);
        let mut out = t.iter_mut();
        for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            characters += 1;
            *bits = (*bits << 5) | u16::from(value(c).ok_or(TicketError::Typed)?);
            count += 5;
            if count >= 8 {
                count -= 8;
                // More than 26 characters find no byte to go to.
                *out.next().ok_or(TicketError::Typed)? = u8::try_from((*bits >> count) & 0xff).unwrap_or(0);
                *bits &= (1 << count) - 1;
            }
        }
        if characters != CHARACTERS || *bits != 0 {
            return Err(TicketError::Typed);
        }
        Ok(Self { t })
    }

    /// The mailbox's id in hex: the relay says whose it is.
    #[must_use]
    pub fn mailbox(&self) -> String {
        digest::hex(&Secrets::derive(&self.t).mailbox)
    }

    /// The whole ticket, once the server at `origin` has said whose the mailbox is.
    ///
    /// # Errors
    /// [`TicketError`] when that is no origin, or not a key id.
    pub fn of_host(self, origin: &str, host: &str) -> Result<Ticket, TicketError> {
        let mut host_key = [0u8; 32];
        let length = Base64UrlUnpadded::decode(host, &mut host_key).map_or(0, |bytes| bytes.len());
        if length != host_key.len() {
            return Err(TicketError::Host);
        }
        Ticket::new(origin, self.t, host_key)
    }
}

impl fmt::Debug for TypedTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedTicket")
    }
}

/// The 26 characters, in groups of 5, 5, 5, 5 and 6.
pub(super) fn write(t: &[u8; 16]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(CHARACTERS + GROUPS));
    let number = Zeroizing::new(u128::from_be_bytes(*t));
    for place in 0..CHARACTERS {
        if place > 0 && place % GROUP == 0 && place / GROUP <= GROUPS {
            out.push('-');
        }
        // 130 bits, the number on the left of them.
        let shift = 5 * (CHARACTERS - 1 - place);
        let bits = if shift >= 2 { *number >> (shift - 2) } else { *number << 2 };
        let letter = usize::try_from(bits & 31).ok().and_then(|at| ALPHABET.get(at));
        out.push(char::from(*letter.unwrap_or(&b'0')));
    }
    out
}

fn value(c: char) -> Option<u8> {
    let c = match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        c => c,
    };
    ALPHABET.iter().position(|letter| char::from(*letter) == c).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn tickets_read_back() {
        for t in [[0; 16], [0xff; 16], random::bytes(), random::bytes()] {
            let text = write(&t);
            assert_eq!(text.len(), 30);
            assert_eq!(*TypedTicket::parse(&text).unwrap().t, t, "{}", *text);
        }
        assert_eq!(*write(&[0xff; 16]), "zzzzz-zzzzz-zzzzz-zzzzz-zzzzzw");
        // RFC 4648's alphabet would say the same numbers in other letters: 00 44 32 14 c7 …
        let t = u128::from_str_radix("00443214c74254b635cf84653a56d7c6", 16).unwrap().to_be_bytes();
        assert_eq!(*write(&t), "01234-56789-abcde-fghjk-mnpqrr");
    }

    #[test]
    fn what_fingers_do_does_not_matter() {
        let plain = TypedTicket::parse("01234-56789-abcde-fghjk-mnpqrr").unwrap();
        for typed in [
            "0123456789abcdefghjkmnpqrr",
            " OI234 56789\tABCDE fghjk-MNPQRR\n",
            "ol23456789abcdefghjkmnpqrr",
            "0-1-2-3-4-5-6-7-8-9-a-b-c-d-e-f-g-h-j-k-m-n-p-q-r-r",
        ] {
            assert_eq!(TypedTicket::parse(typed), Ok(plain.clone()), "{typed}");
        }
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        let good = "01234-56789-abcde-fghjk-mnpqrr";
        for bad in [
            "",
            &good[..29],
            &format!("{good}0"),
            &format!("{good}00000000"),
            &good.replace('a', "u"),
            &good.replace('a', "é"),
            // Bits that belong to nothing.
            &good.replace("rr", "rs"),
            &" ".repeat(MAX_TEXT + 1),
        ] {
            assert_eq!(TypedTicket::parse(bad), Err(TicketError::Typed), "{bad}");
        }
    }

    #[test]
    fn the_relay_says_whose_it_is() {
        let typed = TypedTicket::parse("01234-56789-abcde-fghjk-mnpqrr").unwrap();
        let host = Base64UrlUnpadded::encode_string(&[2; 32]);
        let ticket = typed.clone().of_host("https://push.example.com", &host).unwrap();
        assert_eq!((ticket.mailbox(), ticket.host_key()), (typed.mailbox(), [2; 32]));
        assert_eq!(Ticket::parse(&ticket.link()).unwrap(), ticket);
        for bad in ["", "AAAA", &host[1..], &format!("{host}A")] {
            assert_eq!(typed.clone().of_host("https://a", bad), Err(TicketError::Host));
        }
        assert_eq!(typed.of_host("a", &host), Err(TicketError::Origin));
    }
}
