//! Settings: a TOML file, overridden by the command line; both optional. What the file may say is
//! shown in `countersign-server.example.toml`.

use countersign_protocol::text::is_active;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Longest configuration file in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Where the server listens when nothing is said.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// The same with a domain: HTTPS, on all addresses of both families.
const LISTEN_HTTPS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 443);
/// Who issues certificates when nothing is said.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Most names in one certificate.
const MAX_DOMAINS: usize = 32;
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
    pub(crate) acme: Option<Acme>,
    pub(crate) behind_proxy: bool,
    /// Whether the web app is served.
    pub(crate) web: bool,
    /// Other origins from which the web app may call.
    pub(crate) app_origins: Vec<String>,
    pub(crate) log: LogLevel,
    pub(crate) limits: Limits,
    pub(crate) push: Push,
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
    pub(crate) domains: Vec<String>,
    pub(crate) acme_contact: Option<String>,
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
    domain: Vec<String>,
    acme_contact: Option<String>,
    acme_directory: Option<String>,
    acme_ca: Option<PathBuf>,
    #[serde(default)]
    behind_proxy: bool,
    web: Option<bool>,
    #[serde(default)]
    app_origins: Vec<String>,
    #[serde(default)]
    log: LogLevel,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    push: Push,
}

/// A certificate chain and its private key, both PEM. Read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Certificates by ACME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acme {
    /// All in one certificate; the first is the server's.
    pub(crate) domains: Vec<String>,
    /// A URL, for example `mailto:admin@example.com`.
    pub(crate) contact: Option<String>,
    pub(crate) directory: String,
    /// The only roots that are believed for `directory`, PEM.
    pub(crate) ca: Option<PathBuf>,
}

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
    fn check(&self) -> Result<(), ConfigError> {
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
        let domains = if over.domains.is_empty() { file.domain } else { over.domains };
        let contact = over.acme_contact.or(file.acme_contact);
        if domains.is_empty()
            && (contact.is_some() || file.acme_directory.is_some() || file.acme_ca.is_some())
        {
            return Err(ConfigError("acme_... is set, but no domain to get a certificate for".to_owned()));
        }
        let acme = (!domains.is_empty()).then(|| Acme {
            domains,
            contact: contact.map(|mail| format!("mailto:{mail}")),
            directory: file.acme_directory.unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
            ca: file.acme_ca,
        });
        let listen = if acme.is_some() { LISTEN_HTTPS } else { LISTEN };
        let config = Self {
            listen: over.listen.or(file.listen).unwrap_or(listen),
            origin: over.origin.or(file.origin),
            database: over.database.or(file.database).unwrap_or_else(|| DATABASE.into()),
            tls,
            acme,
            behind_proxy: over.behind_proxy || file.behind_proxy,
            web: !over.no_web && file.web.unwrap_or(true),
            app_origins: if over.app_origins.is_empty() { file.app_origins } else { over.app_origins },
            log: file.log,
            limits: file.limits,
            push: file.push,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some(acme) = &self.acme {
            acme.check()?;
            if self.tls.is_some() || self.behind_proxy {
                return Err(ConfigError(
                    "a domain, certificate files and behind_proxy are three ways to HTTPS: choose one"
                        .to_owned(),
                ));
            }
        }
        let tls = self.tls.is_some() || self.acme.is_some();
        if !tls && !self.behind_proxy && !self.listen.ip().is_loopback() {
            return Err(ConfigError(format!(
                "will not listen on {} in plain HTTP: get a certificate (--domain) or give one (--tls-cert, \
                 --tls-key), listen on 127.0.0.1, or say --behind-proxy when a TLS proxy stands in front",
                self.listen
            )));
        }
        for origin in &self.app_origins {
            check_origin("app_origins", origin)?;
        }
        if let Some(origin) = &self.origin {
            check_origin("origin", origin)?;
        } else if self.acme.is_none() && (self.behind_proxy || self.listen.ip().is_unspecified()) {
            return Err(ConfigError(
                "--origin is missing: the address that hosts and phones use, for example https://push.example.com"
                    .to_owned(),
            ));
        }
        self.push.check()?;
        match self.limits.all().into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError(format!("limits.{name} must not be 0"))),
            None => Ok(()),
        }
    }

    /// Where what outlives a restart is: beside the database.
    pub(crate) fn state(&self) -> &Path {
        self.database.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."))
    }

    /// The origin that signed statements must name, for a server that listens on `bound`.
    pub(crate) fn origin_for(&self, bound: SocketAddr) -> String {
        let domain = self.acme.as_ref().and_then(|acme| acme.domains.first());
        if let (None, Some(domain)) = (&self.origin, domain) {
            // Whatever the port here: the authority has reached it at 443, so others do.
            return format!("https://{domain}");
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.origin.clone().unwrap_or_else(|| format!("{scheme}://{bound}"))
    }
}

impl Acme {
    fn check(&self) -> Result<(), ConfigError> {
        if let Some(bad) = self.domains.iter().find(|domain| !is_domain(domain)) {
            return Err(ConfigError(format!(
                "domain: {bad:?} is not of the form push.example.com (lower case, no https://, no port, no *)"
            )));
        }
        if self.domains.len() > MAX_DOMAINS {
            return Err(ConfigError(format!("domain: more than {MAX_DOMAINS} names")));
        }
        if !self.directory.starts_with("https://") {
            return Err(ConfigError(format!("acme_directory: {:?} is not an https:// URL", self.directory)));
        }
        match &self.contact {
            Some(contact) if !contact.contains('@') || contact.contains(char::is_whitespace) => Err(
                ConfigError("acme_contact is not a mail address, for example admin@example.com".to_owned()),
            ),
            _ => Ok(()),
        }
    }
}

/// Whether an authority may certify it: a name with a dot, as DNS has it.
fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let named = name.rsplit('.').next().is_some_and(|top| !top.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.contains('.') && named && name.split('.').all(label)
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
        ConfigError(format!("{}: {told}", path.display()))
    })
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
        // What is commented out must be valid as well; of the ways to HTTPS one at a time.
        let without = |ours: fn(&str) -> bool| {
            let lines = example.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line));
            load(&lines.filter(|line| !ours(line)).collect::<Vec<_>>().join("\n"), Overrides::default())
                .unwrap()
        };
        let all = without(|line| line.starts_with("domain") || line.starts_with("acme_"));
        assert!(all.tls.is_some() && all.origin.is_some() && all.app_origins.len() == 1);
        let all = without(|line| ["[tls]", "certificate", "key"].iter().any(|word| line.starts_with(word)));
        assert!(all.acme.is_some_and(|acme| acme.contact.is_some() && acme.ca.is_some()));
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
        let fault = load("origin = 'x\u{9b}2J\u{202e}'\n\tx = \u{1b}", Overrides::default()).unwrap_err();
        assert!(!fault.contains(|c| c != '\n' && is_active(c)), "{fault:?}");
        let fault = load("", Overrides { tls_cert: Some("/c".into()), ..Overrides::default() }).unwrap_err();
        assert!(fault.contains("--tls-key"), "{fault}");
    }

    #[test]
    fn whom_push_services_ask_is_a_url() {
        let push = |contact: &str| load(&format!("[push]\ncontact = '{contact}'"), Overrides::default());
        for good in ["mailto:admin@example.com", "https://example.com/contact"] {
            assert_eq!(push(good).unwrap().push.contact.as_deref(), Some(good));
        }
        for bad in ["", "admin@example.com", "mailto:", "http://example.com", "mailto:a b@example.com"] {
            assert!(push(bad).unwrap_err().contains("push.contact"), "{bad}");
        }
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
    fn a_domain_brings_https() {
        let domain = |more: &str| {
            load(&format!("domain = ['push.example.com', 'b.example']\n{more}"), Overrides::default())
        };
        let config = domain("acme_contact = 'admin@example.com'").unwrap();
        assert_eq!(config.listen, "[::]:443".parse().unwrap());
        assert_eq!(config.origin_for("[::]:8443".parse().unwrap()), "https://push.example.com");
        let acme = config.acme.unwrap();
        assert_eq!(acme.domains, ["push.example.com", "b.example"]);
        assert_eq!(acme.contact.as_deref(), Some("mailto:admin@example.com"));
        assert_eq!(acme.directory, LETS_ENCRYPT);
        let config = domain("origin = 'https://other.example'\nlisten = '0.0.0.0:8443'").unwrap();
        assert_eq!(config.origin_for(config.listen), "https://other.example");
        let over = Overrides { domains: vec!["c.example".to_owned()], ..Overrides::default() };
        assert_eq!(load("domain = ['b.example']", over).unwrap().acme.unwrap().domains, ["c.example"]);
        for (more, why) in [
            ("behind_proxy = true", "choose one"),
            ("[tls]\ncertificate = '/c'\nkey = '/k'", "choose one"),
            ("acme_directory = 'http://acme.example'", "acme_directory"),
            ("acme_contact = 'admin'", "acme_contact"),
        ] {
            let fault = domain(more).unwrap_err();
            assert!(fault.contains(why), "{fault}");
        }
        assert_eq!(load("", Overrides::default()).unwrap().acme, None);
    }

    #[test]
    fn domains_are_names_that_dns_may_hold() {
        for good in ["push.example.com", "a-1.example", "xn--bcher-kva.example", "1.example"] {
            assert!(is_domain(good), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            "localhost",
            "192.0.2.1",
            "Push.example.com",
            "*.example.com",
            "https://a.example",
            "a.example:443",
            "a..example",
            ".example",
            "a.example.",
            "-a.example",
            "a b.example",
            "[::1]",
            &long,
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
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
