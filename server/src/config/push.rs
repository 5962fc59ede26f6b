//! Web Push.

use super::ConfigError;
use serde::Deserialize;
use std::path::PathBuf;

/// How devices are rung.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Push {
    /// Whom a push service's operator may ask: a `mailto:` or `https:` URL.
    pub(crate) contact: Option<String>,
    /// Certificates that are trusted for push services beside the system's, PEM.
    pub(crate) ca: Option<PathBuf>,
    /// Whether push services may be on addresses that are not public, and on any port.
    pub(crate) private_networks: bool,
}

impl Push {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let plain = |contact: &String| {
            let rest = contact.strip_prefix("mailto:").or_else(|| contact.strip_prefix("https://"));
            contact.len() <= 256
                && rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()))
        };
        match self.contact.as_ref().filter(|contact| !plain(contact)) {
            Some(contact) => Err(ConfigError(format!(
                "push.contact: {contact:?} is not of the form mailto:admin@example.com or https://example.com/"
            ))),
            None => Ok(()),
        }
    }
}
