//! The file as it is written.

use super::{ConfigError, Limits, LogLevel, Push, TlsFiles};
use countersign_files::{Owner, read_trusted};
use countersign_protocol::text::is_active;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Longest configuration file in bytes.
const MAX_FILE: usize = 64 * 1024;

/// What may stand in it; what is missing has its default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) listen: Option<SocketAddr>,
    pub(super) origin: Option<String>,
    pub(super) database: Option<PathBuf>,
    pub(super) tls: Option<TlsFiles>,
    #[serde(default)]
    pub(super) domain: Vec<String>,
    pub(super) acme_contact: Option<String>,
    pub(super) acme_directory: Option<String>,
    pub(super) acme_ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) behind_proxy: bool,
    pub(super) web: Option<bool>,
    #[serde(default)]
    pub(super) app_origins: Vec<String>,
    #[serde(default)]
    pub(super) log: LogLevel,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) push: Push,
}

impl File {
    /// Reads it.
    pub(super) fn open(path: &Path) -> Result<Self, ConfigError> {
        let text = read_trusted(path, Owner::own(), MAX_FILE)
            .map_err(|fault| ConfigError(format!("{}: {fault}", path.display())))?;
        parse(&text, path)
    }
}

fn parse(source: &str, path: &Path) -> Result<File, ConfigError> {
    toml::from_str(source).map_err(|error: toml::de::Error| {
        // It draws the line, whatever stands there; the caret below has to stay in its place.
        let inert = |c| match c {
            '\n' => c,
            '\t' => ' ',
            c if is_active(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        let told: String = error.to_string().trim_end().chars().map(inert).collect();
        let belongs = place_of(&error).map(|place| format!("\nIt belongs {place}.")).unwrap_or_default();
        ConfigError(format!("{}: {told}{belongs}", path.display()))
    })
}

/// Where a key belongs that was found in another table, as whatever is added to the end of a file is.
fn place_of(error: &toml::de::Error) -> Option<&'static str> {
    const UNKNOWN: &str = "unknown field `";
    let key = error.message().strip_prefix(UNKNOWN)?.split('`').next()?;
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    // Alone it is unknown where it does not belong; elsewhere there is at most something wrong with its value.
    let line = format!("{key} = 0");
    let is_known = |error: Option<toml::de::Error>| error.is_none_or(|e| !e.message().starts_with(UNKNOWN));
    [
        ("above the first [table]", toml::from_str::<File>(&line).err()),
        ("under [limits]", toml::from_str::<Limits>(&line).err()),
        ("under [push]", toml::from_str::<Push>(&line).err()),
        ("under [tls]", toml::from_str::<TlsFiles>(&line).err()),
    ]
    .into_iter()
    .find_map(|(place, error)| is_known(error).then_some(place))
}
