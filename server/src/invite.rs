//! Letting a host in: the one-time token, and the line to run there.

use crate::config::{Config, DATABASE, check_origin};
use crate::registry::{self, Registry};
use crate::store::{self, StoreError, tables};
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_files::{Owner, beside, read_trusted, replace};
use countersign_protocol::api::JOIN_TOKEN;
use countersign_protocol::random;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// How long the token of a first start may be used.
pub(crate) const FIRST_LIFE: u64 = 3600;
/// Longest origin in bytes.
const MAX_ORIGIN: usize = 256;

/// What a host has to prove once.
pub(crate) fn new_token() -> String {
    format!("{JOIN_TOKEN}{}", Base64UrlUnpadded::encode_string(&random::bytes::<24>()))
}

/// The line to run on a host. The token is its last word.
pub(crate) fn line(origin: &str, token: &str) -> String {
    format!("countersign join {origin} --token {token}")
}

/// Makes a token beside a server that may be running. Nothing when too many are waiting.
pub(crate) fn token(database: &Path, life: u64) -> Result<Option<String>, StoreError> {
    let mut conn = store::connect(database)?;
    let token = new_token();
    let added = tables::add_join_token(&mut conn, &token, registry::now(), life)
        .map_err(|error| StoreError::sqlite(database, &error))?;
    Ok(added.then_some(token))
}

/// How hosts know the server: by its configuration, else as the server said that ran here last.
pub(crate) fn origin(config: &Config) -> String {
    let kept = || {
        let text = read_trusted(&kept_at(&config.database), Owner::own(), MAX_ORIGIN).ok()?;
        let text = text.trim();
        check_origin("origin", text).ok().map(|()| text.to_owned())
    };
    let named = config.origin.is_some() || config.acme.is_some();
    let said = if named { None } else { kept() };
    said.unwrap_or_else(|| config.origin_for(config.listen))
}

fn kept_at(database: &Path) -> PathBuf {
    beside(database, "-origin")
}

/// Keeps how hosts know this server, for `token`, which is not told the server's options.
pub(crate) fn keep_origin(config: &Config, origin: &str) {
    let path = kept_at(&config.database);
    let same = read_trusted(&path, Owner::own(), MAX_ORIGIN).is_ok_and(|text| text == origin);
    if !same && let Err(error) = replace(&path, origin.as_bytes()) {
        tracing::warn!("{}: {error}; countersign-server token may name another address", path.display());
    }
}

/// Says how the first host joins, while there is none. A token goes to a person at a terminal only: what is
/// written elsewhere may be a log that others read.
pub(crate) async fn first_host(config: &Config, origin: &str, registry: &Registry) {
    if registry.counts().0 != 0 {
        return;
    }
    let mut command = "countersign-server token".to_owned();
    if config.database != Path::new(DATABASE) {
        command.push_str(&format!(" --database {}", config.database.display()));
    }
    let watched = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !watched || std::env::var_os("JOURNAL_STREAM").is_some() {
        tracing::info!("no host has joined yet; this prints the line to run on one: {command}");
        return;
    }
    match registry.invite(FIRST_LIFE).await {
        Ok(Some(token)) => {
            let text = format!(
                "\nNo host has joined yet. Run this on one, as root, within an hour:\n\n  {}\n\n\
                 Each host needs a line of its own: {command}\n\
                 This server ends with Ctrl-C. To keep one running, put its settings into\n\
                 /etc/countersign/server.toml: systemctl enable --now countersign-server\n\n",
                line(origin, &token)
            );
            // Nobody can be told that the terminal has gone.
            let _ = io::stdout().write_all(text.as_bytes());
        }
        Ok(None) => tracing::warn!("no host has joined yet, and too many join tokens are waiting"),
        Err(error) => tracing::warn!("no join token: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_last_word_of_its_line() {
        let token = new_token();
        let line = line("https://push.example.com", &token);
        assert_eq!(line.split(' ').next_back(), Some(token.as_str()));
        assert!(line.starts_with("countersign join https://push.example.com --token join-"));
    }

    #[test]
    fn the_address_is_that_of_the_configuration_or_of_the_last_start() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("a.db");
        let over = || crate::config::Overrides { database: Some(database.clone()), ..Default::default() };
        let plain = Config::load(None, over()).unwrap();
        assert_eq!(origin(&plain), "http://127.0.0.1:8443");
        keep_origin(&plain, "https://push.example.com");
        assert_eq!(origin(&plain), "https://push.example.com");
        let over = crate::config::Overrides { domains: vec!["new.example.com".into()], ..over() };
        assert_eq!(origin(&Config::load(None, over).unwrap()), "https://new.example.com");
        std::fs::write(kept_at(&database), "not an address").unwrap();
        assert_eq!(origin(&plain), "http://127.0.0.1:8443");
    }
}
