//! The server's address.

use crate::RelayError;
use reqwest::Url;
use std::net::IpAddr;

/// Reads an origin: https, or http where nobody is between; no path, no user.
pub(crate) fn parse(text: &str) -> Result<Url, RelayError> {
    let url = Url::parse(text).map_err(|_| RelayError::Origin)?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let safe = match url.scheme() {
        "https" => true,
        "http" => url.host_str().is_some_and(is_loopback),
        _ => false,
    };
    // What is signed is the text: it has to be the one spelling of the origin.
    let exact = url.origin().ascii_serialization() == text;
    if bare && safe && exact { Ok(url) } else { Err(RelayError::Origin) }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for good in [
            "https://push.example.com",
            "https://push.example.com:8443",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://localhost:1",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "push.example.com",
            "http://push.example.com",
            "http://192.168.1.1",
            "https://push.example.com/",
            "https://push.example.com/x",
            "https://push.example.com:443",
            "https://Push.example.com",
            "https://a@push.example.com",
            "https://push.example.com?x",
            "ftp://push.example.com",
            "file:///etc/passwd",
        ] {
            assert_eq!(parse(bad).err(), Some(RelayError::Origin), "{bad}");
        }
    }
}
