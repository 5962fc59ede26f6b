//! Settings: a TOML file, overridden by the command line; both optional. What the file may say is
//! shown in `countersign-server.example.toml`.

mod file;
mod https;
mod limits;
mod origin;
mod push;

use file::File;
use https::LETS_ENCRYPT;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub(crate) use https::{Acme, TlsFiles};
pub(crate) use limits::Limits;
pub(crate) use origin::check_origin;
pub(crate) use push::Push;

/// Where the server listens when nothing is said.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// The same with a domain: HTTPS, on all addresses of both families.
const LISTEN_HTTPS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 443);
/// Where the database is when nothing is said.
pub(crate) const DATABASE: &str = "/var/lib/countersign-server/countersign-server.db";

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

impl Config {
    /// Reads the file, if there is one, and lays the command line over it.
    pub(crate) fn load(file: Option<&Path>, over: Overrides) -> Result<Self, ConfigError> {
        let file = match file {
            Some(path) => File::open(path)?,
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

#[cfg(test)]
mod tests;
