//! Settings: a TOML file, overridden by the command line; both optional. What the file may say is
//! shown in `countersign-server.example.toml`.

use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Longest configuration file in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Where the server listens when nothing is said.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// Where the database is when nothing is said.
const DATABASE: &str = "/var/lib/countersign-server/countersign-server.db";

/// What is wrong with the settings, in one plain line (for TOML with the place below it).
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(String);

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// As clients know the server; from the listening address when not given.
    pub(crate) origin: Option<String>,
    pub(crate) database: PathBuf,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) behind_proxy: bool,
    /// Whether the web app is served.
    pub(crate) web: bool,
    /// Other origins from which the web app may call.
    pub(crate) app_origins: Vec<String>,
    pub(crate) log: LogLevel,
    pub(crate) limits: Limits,
}

/// The command line's part.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) origin: Option<String>,
    pub(crate) database: Option<PathBuf>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) behind_proxy: bool,
    pub(crate) no_web: bool,
    pub(crate) app_origins: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    origin: Option<String>,
    database: Option<PathBuf>,
    tls: Option<TlsFiles>,
    #[serde(default)]
    behind_proxy: bool,
    web: Option<bool>,
    #[serde(default)]
    app_origins: Vec<String>,
    #[serde(default)]
    log: LogLevel,
    #[serde(default)]
    limits: Limits,
}

/// A certificate chain and its private key, both PEM. Read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// Bounds that an administrator may move. Rates are calls a second; ten seconds' worth may come at
/// once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) connections_per_address: u32,
    pub(crate) memory_mib: u32,
    pub(crate) messages_per_host: u32,
    pub(crate) messages_per_device: u32,
    pub(crate) devices_per_host: u32,
    pub(crate) hosts_per_device: u32,
    pub(crate) mailboxes_per_host: u32,
    pub(crate) host_rate: u32,
    pub(crate) device_rate: u32,
    pub(crate) pair_rate: u32,
    pub(crate) address_rate: u32,
    pub(crate) file_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 25_000,
            connections_per_address: 5_000,
            memory_mib: 256,
            messages_per_host: 12_000,
            // More than one host may have, so that no single host can fill a device's share.
            messages_per_device: 24_000,
            devices_per_host: 1_000,
            hosts_per_device: 10_000,
            mailboxes_per_host: 16,
            host_rate: 200,
            device_rate: 50,
            pair_rate: 20,
            address_rate: 500,
            file_rate: 500,
        }
    }
}

impl Limits {
    fn all(&self) -> [(&'static str, u32); 13] {
        [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("memory_mib", self.memory_mib),
            ("messages_per_host", self.messages_per_host),
            ("messages_per_device", self.messages_per_device),
            ("devices_per_host", self.devices_per_host),
            ("hosts_per_device", self.hosts_per_device),
            ("mailboxes_per_host", self.mailboxes_per_host),
            ("host_rate", self.host_rate),
            ("device_rate", self.device_rate),
            ("pair_rate", self.pair_rate),
            ("address_rate", self.address_rate),
            ("file_rate", self.file_rate),
        ]
    }
}

impl Config {
    /// Reads the file, if there is one, and lays the command line over it.
    pub(crate) fn load(file: Option<&Path>, over: Overrides) -> Result<Self, ConfigError> {
        let file = match file {
            Some(path) => parse(&read(path)?, path)?,
            None => File::default(),
        };
        let tls = match (over.tls_cert, over.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => file.tls,
            _ => return Err(ConfigError("--tls-cert and --tls-key belong together: give both".to_owned())),
        };
        let config = Self {
            listen: over.listen.or(file.listen).unwrap_or(LISTEN),
            origin: over.origin.or(file.origin),
            database: over.database.or(file.database).unwrap_or_else(|| DATABASE.into()),
            tls,
            behind_proxy: over.behind_proxy || file.behind_proxy,
            web: !over.no_web && file.web.unwrap_or(true),
            app_origins: if over.app_origins.is_empty() { file.app_origins } else { over.app_origins },
            log: file.log,
            limits: file.limits,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.tls.is_none() && !self.behind_proxy && !self.listen.ip().is_loopback() {
            return Err(ConfigError(format!(
                "will not listen on {} in plain HTTP: give a certificate (--tls-cert, --tls-key), listen on \
                 127.0.0.1, or say --behind-proxy when a TLS proxy stands in front",
                self.listen
            )));
        }
        for origin in &self.app_origins {
            check_origin("app_origins", origin)?;
        }
        if let Some(origin) = &self.origin {
            check_origin("origin", origin)?;
        } else if self.behind_proxy || self.listen.ip().is_unspecified() {
            return Err(ConfigError(
                "--origin is missing: the address that hosts and phones use, for example https://push.example.com"
                    .to_owned(),
            ));
        }
        match self.limits.all().into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError(format!("limits.{name} must not be 0"))),
            None => Ok(()),
        }
    }

    /// The origin that signed statements must name, for a server that listens on `bound`.
    pub(crate) fn origin_for(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.origin.clone().unwrap_or_else(|| format!("{scheme}://{bound}"))
    }
}

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

fn read(path: &Path) -> Result<String, ConfigError> {
    let fail = |why: String| ConfigError(format!("{}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if size > MAX_FILE {
        return Err(fail(format!("longer than {MAX_FILE} bytes")));
    }
    std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))
}

fn parse(text: &str, path: &Path) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|e| ConfigError(format!("{}: {}", path.display(), e.to_string().trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, over: Overrides) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.toml");
        std::fs::write(&path, toml).unwrap();
        Config::load(Some(&path), over).map_err(|e| e.to_string())
    }

    fn listen(text: &str) -> Overrides {
        Overrides { listen: Some(text.parse().unwrap()), ..Overrides::default() }
    }

    #[test]
    fn the_example_says_the_defaults() {
        let example = include_str!("../countersign-server.example.toml");
        let defaults = Config::load(None, Overrides::default()).unwrap();
        assert_eq!(load(example, Overrides::default()).unwrap(), defaults);
        // What is commented out must be valid as well.
        let all: String = example
            .lines()
            .map(|line| line.strip_prefix("#= ").unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let all = load(&all, Overrides::default()).unwrap();
        assert!(all.tls.is_some() && all.origin.is_some());
        for (name, _) in Limits::default().all() {
            assert!(example.contains(&format!("\n{name} = ")), "{name} is not in the example");
        }
    }

    #[test]
    fn the_command_line_wins() {
        let over = Overrides { database: Some("/b".into()), ..listen("127.0.0.1:2") };
        let config =
            load("listen = '127.0.0.1:1'\ndatabase = '/a'\norigin = 'https://a.example'", over).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.database, Path::new("/b"));
        assert_eq!(config.origin.as_deref(), Some("https://a.example"));
    }

    #[test]
    fn faults_name_the_place() {
        let fault = load("listen = '127.0.0.1:1'\nlissen = 1\n", Overrides::default()).unwrap_err();
        assert!(
            fault.contains("server.toml") && fault.contains("line 2") && fault.contains("lissen"),
            "{fault}"
        );
        let fault = load("[limits]\nhost_rate = 0\n", Overrides::default()).unwrap_err();
        assert!(fault.contains("limits.host_rate"), "{fault}");
        assert!(load("[limits]\nhost_rate = -1\n", Overrides::default()).is_err());
        let missing = Config::load(Some(Path::new("/nonexistent/x.toml")), Overrides::default()).unwrap_err();
        assert!(missing.to_string().starts_with("/nonexistent/x.toml: "), "{missing}");
        let fault = load("", Overrides { tls_cert: Some("/c".into()), ..Overrides::default() }).unwrap_err();
        assert!(fault.contains("--tls-key"), "{fault}");
    }

    #[test]
    fn plain_http_stays_on_loopback() {
        let origin = "origin = 'https://push.example'\n";
        assert!(load(origin, listen("192.0.2.1:80")).unwrap_err().contains("--behind-proxy"));
        assert!(load(origin, listen("[::]:80")).is_err());
        assert!(load(origin, listen("[::1]:80")).is_ok());
        assert!(load(origin, Overrides { behind_proxy: true, ..listen("192.0.2.1:80") }).is_ok());
        assert!(load("behind_proxy = true", listen("192.0.2.1:80")).unwrap_err().contains("--origin"));
    }

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
