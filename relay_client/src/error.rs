//! What can go wrong between here and the server, in lines that say where to look.

use countersign_protocol::api::Problem;
use countersign_protocol::text::{clip, escape};
use std::error::Error;
use std::io;
use std::time::Duration;

/// Longest text of another program that is shown, in bytes.
const MAX_TEXT: usize = 300;

/// Why a call has no result. Each is one line for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The configured address is none.
    #[error(
        "the server's address must be https://NAME, perhaps with a port (http:// on loopback only), and no path"
    )]
    Origin,
    /// The configured CA certificates cannot be used.
    #[error("the server's CA certificates cannot be used: {0}")]
    Ca(String),
    /// The server's name has no address.
    #[error("cannot find the address of {origin}: check its name and this machine's DNS")]
    Dns {
        /// The server.
        origin: String,
    },
    /// Nothing listens there.
    #[error("{origin} refuses connections: check that the server runs, and the port")]
    Refused {
        /// The server.
        origin: String,
    },
    /// No answer.
    #[error("no answer from {origin} in time: check the network and firewalls between")]
    Timeout {
        /// The server.
        origin: String,
    },
    /// TLS failed.
    #[error(
        "no trusted connection to {origin}: {detail}; check its certificate, the CA that it is held against (server_ca, --server-ca) and the clock"
    )]
    Tls {
        /// The server.
        origin: String,
        /// What the TLS library says.
        detail: String,
    },
    /// The connection broke or could not be made.
    #[error("the connection to {origin} failed: {detail}")]
    Connection {
        /// The server.
        origin: String,
        /// What the system says.
        detail: String,
    },
    /// Somebody else has opened the event stream of this key.
    #[error("another machine uses the same key at {origin}, which serves one of them at a time")]
    Replaced {
        /// The server.
        origin: String,
    },
    /// Too many calls.
    #[error("the server asks to slow down{}", .retry_after.map(|t| format!(" for {} s", t.as_secs())).unwrap_or_default())]
    Limited {
        /// How long to wait, if it says.
        retry_after: Option<Duration>,
    },
    /// The server answered with an error.
    #[error("the server answered {status}{}", said(.problem.as_ref()))]
    Status {
        /// The HTTP status.
        status: u16,
        /// What it says about it.
        problem: Option<Problem>,
    },
    /// Not the answer of such a server.
    #[error("{origin} does not answer as a countersign-server does ({detail}): check the address")]
    Garbage {
        /// The server.
        origin: String,
        /// What is wrong with the answer.
        detail: &'static str,
    },
    /// The token could not be signed for.
    #[error("cannot authenticate to the server: {0}")]
    Sign(String),
}

impl RelayError {
    /// Whether the server is out of reach or out of order, so that trying other calls now is futile;
    /// otherwise it is there and refuses this call.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Origin
            | Self::Ca(_)
            | Self::Dns { .. }
            | Self::Refused { .. }
            | Self::Timeout { .. }
            | Self::Tls { .. }
            | Self::Connection { .. }
            | Self::Replaced { .. }
            | Self::Garbage { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Limited { .. } | Self::Sign(_) => false,
        }
    }

    /// The same in fixed words, for whoever logs in: nothing in it was said by the server or a library.
    #[must_use]
    pub fn brief(&self) -> String {
        let words = match self {
            Self::Origin => "its address is unusable",
            Self::Ca(_) => "the certificates to trust it by cannot be read",
            Self::Dns { .. } => "its name is not found",
            Self::Refused { .. } => "connection refused",
            Self::Timeout { .. } => "no answer",
            Self::Tls { .. } => "its certificate is not trusted",
            Self::Connection { .. } => "the connection broke",
            Self::Replaced { .. } => "another machine uses this host's key",
            Self::Limited { .. } => "it asks to slow down",
            Self::Status { status, .. } => return format!("it answered {status}"),
            Self::Garbage { .. } => "something else answers there",
            Self::Sign(_) => "this host cannot sign in to it",
        };
        words.to_owned()
    }

    /// The problem's stable code, when the server named one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Status { problem: Some(problem), .. } => Some(&problem.code),
            _ => None,
        }
    }

    pub(crate) fn from_http(origin: &str, error: &reqwest::Error) -> Self {
        let origin = origin.to_owned();
        if error.is_dns() {
            return Self::Dns { origin };
        }
        let mut source: Option<&(dyn Error + 'static)> = Some(error);
        let mut detail = String::new();
        while let Some(cause) = source {
            if let Some(detail) = tls_detail(cause) {
                return Self::Tls { origin, detail };
            }
            if cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
            {
                return Self::Refused { origin };
            }
            detail = cause.to_string();
            source = cause.source();
        }
        if error.is_timeout() {
            return Self::Timeout { origin };
        }
        Self::Connection { origin, detail: inert(&detail) }
    }
}

fn tls_detail(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(inert(&error.to_string()));
    }
    // An io::Error hides what it wraps from `source`, and may wrap another.
    tls_detail(cause.downcast_ref::<io::Error>()?.get_ref()?)
}

fn said(problem: Option<&Problem>) -> String {
    problem.map(|problem| format!(": {}", inert(&problem.message))).unwrap_or_default()
}

fn inert(text: &str) -> String {
    escape(clip(text, MAX_TEXT)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_inert_line() {
        let problem = Problem { code: "x".into(), message: "bad\n\x1b[31mtoken".into() };
        let error = RelayError::Status { status: 403, problem: Some(problem) };
        assert_eq!(error.to_string(), "the server answered 403: bad\\u{a}\\u{1b}[31mtoken");
        assert_eq!(error.code(), Some("x"));
        assert_eq!(error.brief(), "it answered 403");
        assert_eq!(
            RelayError::Limited { retry_after: Some(Duration::from_secs(7)) }.to_string(),
            "the server asks to slow down for 7 s"
        );
        assert_eq!(RelayError::Status { status: 502, problem: None }.to_string(), "the server answered 502");
    }

    #[test]
    fn refusals_are_no_outage() {
        assert!(RelayError::Status { status: 503, problem: None }.is_outage());
        assert!(!RelayError::Status { status: 403, problem: None }.is_outage());
        assert!(!RelayError::Limited { retry_after: None }.is_outage());
    }
}
