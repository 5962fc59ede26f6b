//! The pairing link: `ORIGIN/pair#1.T.SHA-256(host key)`, both in base64url without padding, and
//! after another dot the server's origin where the link leads to an app that has its own. What follows
//! `#` never reaches a server.

use super::{Secrets, typed};
use crate::digest;
use base64ct::{Base64UrlUnpadded, Encoding};
use std::fmt;
use zeroize::Zeroizing;

/// Longest link in bytes.
const MAX_LINK: usize = 512;
const PATH: &str = "/pair#1.";

/// Why a text is not a pairing link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Another text.
    #[error("not a pairing link: it looks like https://SERVER/pair#1.….…; copy all of it")]
    Malformed,
    /// Made by a later version.
    #[error("a pairing link of a later version: update this program")]
    Version,
    /// The server's or the app's address is none.
    #[error("the server's address must be https://NAME or http://NAME, perhaps with a port, and no path")]
    Origin,
    /// Not 26 letters and digits of a ticket.
    #[error("not a ticket: it has 26 letters and digits; type all of them")]
    Typed,
    /// Not the key id of a host.
    #[error("the server does not say which host the ticket is of")]
    Host,
}

/// What a pairing link says. Who knows it can try to pair: it is as secret as a password for the
/// five minutes that it lives.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    origin: String,
    /// Where the link leads, when that is not the server.
    app: Option<String>,
    t: Zeroizing<[u8; 16]>,
    host_key: [u8; 32],
}

impl Ticket {
    pub(super) fn new(origin: &str, t: Zeroizing<[u8; 16]>, host_key: [u8; 32]) -> Result<Self, TicketError> {
        if !is_origin(origin) {
            return Err(TicketError::Origin);
        }
        Ok(Self { origin: origin.to_owned(), app: None, t, host_key })
    }

    /// The same with a link that leads to an app on an origin of its own.
    ///
    /// # Errors
    /// [`TicketError::Origin`] when that is none.
    pub fn with_app(mut self, app: &str) -> Result<Self, TicketError> {
        if !is_origin(app) {
            return Err(TicketError::Origin);
        }
        self.app = (app != self.origin).then(|| app.to_owned());
        Ok(self)
    }

    /// Reads a link.
    ///
    /// # Errors
    /// [`TicketError`] says what is wrong with it.
    pub fn parse(link: &str) -> Result<Self, TicketError> {
        let link = link.trim();
        if link.len() > MAX_LINK {
            return Err(TicketError::Malformed);
        }
        let (origin, fragment) = match link.split_once(PATH) {
            Some(parts) => parts,
            None if link.contains("/pair#") => return Err(TicketError::Version),
            None => return Err(TicketError::Malformed),
        };
        // The server's name may hold dots itself.
        let mut fields = fragment.splitn(3, '.');
        let (t, host_key) = fields.next().zip(fields.next()).ok_or(TicketError::Malformed)?;
        let mut secret = Zeroizing::new([0u8; 16]);
        decode(t, secret.as_mut())?;
        let mut hash = [0u8; 32];
        decode(host_key, &mut hash)?;
        match fields.next() {
            Some(server) => Self::new(server, secret, hash)?.with_app(origin),
            None => Self::new(origin, secret, hash),
        }
    }

    /// The link. `Display` is left out so that it does not get into a log by accident.
    #[must_use]
    pub fn link(&self) -> Zeroizing<String> {
        let (t, host_key) = (self.t.as_slice(), &self.host_key);
        let (t, host_key) = (Base64UrlUnpadded::encode_string(t), Base64UrlUnpadded::encode_string(host_key));
        Zeroizing::new(match &self.app {
            Some(app) => format!("{app}{PATH}{t}.{host_key}.{}", self.origin),
            None => format!("{}{PATH}{t}.{host_key}", self.origin),
        })
    }

    /// The ticket to be typed where no camera and no link is at hand: `T` alone, in Crockford's
    /// base32, lower case, in groups.
    #[must_use]
    pub fn typed(&self) -> Zeroizing<String> {
        typed::write(&self.t)
    }

    /// The push server's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// SHA-256 of the host key that must answer.
    #[must_use]
    pub fn host_key(&self) -> [u8; 32] {
        self.host_key
    }

    /// The mailbox's id in hex.
    #[must_use]
    pub fn mailbox(&self) -> String {
        digest::hex(&self.secrets().mailbox)
    }

    pub(super) fn secrets(&self) -> Secrets {
        Secrets::derive(&self.t)
    }

    pub(super) fn secret(&self) -> &[u8; 16] {
        &self.t
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.origin)
    }
}

fn decode(text: &str, out: &mut [u8]) -> Result<(), TicketError> {
    let expected = out.len();
    match Base64UrlUnpadded::decode(text, out) {
        Ok(bytes) if bytes.len() == expected => Ok(()),
        _ => Err(TicketError::Malformed),
    }
}

/// Whether a text is an origin as browsers write it: scheme, lower-case name or address, perhaps a
/// port, nothing else.
#[must_use]
pub fn is_origin(origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")) else {
        return false;
    };
    let (name, port) = match authority.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((address, port)) if address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') => {
                (address, port)
            }
            _ => return false,
        },
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let named = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:".contains(&b));
    let ported = port.is_empty()
        || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok_and(|n| n.to_string() == p));
    named && ported
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket::new("https://push.example.com:8443", Zeroizing::new([1; 16]), [2; 32]).unwrap()
    }

    #[test]
    fn links_read_back() {
        let ticket = ticket();
        assert_eq!(
            ticket.link().as_str(),
            "https://push.example.com:8443/pair#1.AQEBAQEBAQEBAQEBAQEBAQ.AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"
        );
        assert_eq!(Ticket::parse(&format!(" {}\n", *ticket.link())).unwrap(), ticket);
        assert_eq!(format!("{ticket:?}"), "Ticket(https://push.example.com:8443)");
    }

    #[test]
    fn an_app_of_its_own_origin_is_told_the_server() {
        let plain = ticket();
        let ticket = ticket().with_app("https://approve.example.com").unwrap();
        let link = ticket.link();
        let (app, rest) = link.split_once("/pair#").unwrap();
        assert_eq!(app, "https://approve.example.com");
        assert!(rest.ends_with(".https://push.example.com:8443"), "{rest}");
        let read = Ticket::parse(&link).unwrap();
        assert_eq!((read.origin(), read.mailbox()), (plain.origin(), plain.mailbox()));
        assert_eq!(read, ticket);
        assert_eq!(ticket.typed(), plain.typed());
        // The server itself needs no fourth field, and may have one.
        assert_eq!(plain.clone().with_app(plain.origin()).unwrap().link(), plain.link());
        assert_eq!(Ticket::parse(&format!("{}.{}", *plain.link(), plain.origin())).unwrap(), plain);
        assert_eq!(plain.with_app("approve.example.com"), Err(TicketError::Origin));
    }

    #[test]
    fn other_texts_are_no_links() {
        let link = ticket().link();
        assert_eq!(Ticket::parse(&link.replace("#1.", "#2.")), Err(TicketError::Version));
        for bad in [
            "",
            "https://push.example.com",
            &link[..link.len() - 1],
            &format!("{}A", *link),
            &link.replace(".Ag", "Ag"),
        ] {
            assert_eq!(Ticket::parse(bad), Err(TicketError::Malformed), "{bad}");
        }
        for bad in
            [format!("{}.", *link), format!("{}.push.example.com", *link), format!("{}.https://a/b", *link)]
        {
            assert_eq!(Ticket::parse(&bad), Err(TicketError::Origin), "{bad}");
        }
        for bad in [
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a:0x1",
            "https://a:99999",
            "https://a:080",
            "https://u@a",
            "https://A",
            "https://a b",
            "https://[::g]",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
        for good in ["http://127.0.0.1:8080", "https://[::1]:8443", "https://push.example.com"] {
            assert!(is_origin(good), "{good}");
        }
    }
}
