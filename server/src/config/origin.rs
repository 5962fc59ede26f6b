//! Origins: how clients name the server, and who may call from a browser.

use super::ConfigError;

/// An origin is compared byte by byte with what clients sign, so there must be one way to write it.
pub(crate) fn check_origin(setting: &str, origin: &str) -> Result<(), ConfigError> {
    let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let plain = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b))
    };
    if origin.len() <= 256 && rest.is_some_and(plain) {
        return Ok(());
    }
    Err(ConfigError(format!(
        "{setting}: {origin:?} is not of the form https://push.example.com (lower case, no path, no slash at the end)"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_one_spelling() {
        for good in ["https://push.example.com", "http://127.0.0.1:8443", "https://[::1]:8443"] {
            assert!(check_origin("origin", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "push.example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://A",
            "ftp://a",
            "https://a b",
        ] {
            assert!(check_origin("origin", bad).is_err(), "{bad}");
        }
    }
}
