//! What an approver keeps: its keys, its card, the hosts that it trusts, its counter, what is closed.

use super::agent::AgentKey;
use super::devices::Known;
use super::home::Home;
use super::inbox::{Decided, Key};
use crate::output::{Exit, Failure, Outcome};
use base64ct::{Base64, Encoding};
use countersign_protocol::api::SignedCard;
use countersign_protocol::card::{self, VerifiedCard};
use countersign_protocol::keys::{KeyError, PublicKey, SealKey, Signer, SigningKey};
use countersign_protocol::message::{Card, MAX_DEVICE_NAME, VERSION};
use countersign_protocol::text::{clip, escape_json};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Names of the files.
mod file {
    pub(super) const IDENTITY: &str = "identity.json";
    pub(super) const SIGNING_KEY: &str = "id_ed25519";
    pub(super) const SEAL_KEY: &str = "seal_key";
    pub(super) const HOSTS: &str = "hosts.json";
    pub(super) const COUNTER: &str = "counter";
    pub(super) const CLOSED: &str = "closed.json";
    pub(super) const DECIDED: &str = "decided.json";
    pub(super) const HISTORY: &str = "history.jsonl";

    /// Of one host, by its key id.
    pub(super) fn devices(host: &str) -> String {
        format!("devices-{host}.json")
    }
}

/// A server that this device is known at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerEntry {
    /// Its origin.
    pub origin: String,
    /// Certificates that vouch for it in place of the system's, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// A host that this device trusts since its receipt came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedHost {
    /// The name that it had when it was paired.
    pub name: String,
    /// Its public key, one OpenSSH line.
    pub key: String,
    /// Whose logins this device approves there.
    pub user: String,
    /// Origin of the server that it uses.
    pub server: String,
    /// When it was paired, seconds since 1970.
    pub paired_at: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    version: u32,
    card: SignedCard,
    /// The key in ssh-agent, where the key is not in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    servers: Vec<ServerEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosedId {
    host: String,
    id: String,
    until: u64,
}

/// This device: what it signs and opens with.
pub struct Device {
    /// Signs decisions and at servers.
    pub signer: Arc<dyn Signer>,
    /// Opens what hosts seal.
    pub seal_key: SealKey,
    /// Its card with the signature, as sent.
    pub signed_card: SignedCard,
    /// The card, verified.
    pub card: VerifiedCard,
}

/// Asks for the passphrase of a key file.
pub type AskPassphrase<'a> = &'a dyn Fn(&str) -> Outcome<Zeroizing<String>>;

/// The directory's contents.
pub struct Store {
    home: Home,
    identity: Option<Identity>,
    hosts: Vec<PinnedHost>,
    counter: u64,
}

impl Store {
    /// Reads the directory.
    ///
    /// # Errors
    /// When it is not private, or a file in it is damaged.
    pub fn open(path: &Path) -> Outcome<Self> {
        let home = Home::open(path)?;
        let identity: Option<Identity> = read_json(&home, file::IDENTITY)?;
        if identity.as_ref().is_some_and(|i| i.version != VERSION) {
            return Err(Failure::broken(home.place(file::IDENTITY), "written by another version"));
        }
        let hosts = read_json(&home, file::HOSTS)?.unwrap_or_default();
        let counter = match home.read(file::COUNTER)? {
            None => 0,
            Some(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|t| t.trim().parse().ok())
                .ok_or_else(|| Failure::broken(home.place(file::COUNTER), "not a number"))?,
        };
        Ok(Self { home, identity, hosts, counter })
    }

    /// The device that was made earlier; nothing in a new directory. `agent` must be the agent's
    /// key that it was made with, if it is given.
    ///
    /// # Errors
    /// When its key cannot be had, or its files do not belong together.
    pub fn device(&self, agent: Option<&str>, ask: AskPassphrase<'_>) -> Outcome<Option<Device>> {
        let Some(identity) = &self.identity else { return Ok(None) };
        let place = self.home.place(file::IDENTITY);
        let card = card::verify(&identity.card).map_err(|e| Failure::broken(&place, e))?;
        let signer: Arc<dyn Signer> = match (&identity.agent, agent) {
            (None, None) => Arc::new(self.signing_key(ask)?),
            (None, Some(_)) => {
                let text =
                    format!("{place}: this device has its key in a file: choose another --home for --agent");
                return Err(Failure::new(Exit::Usage, text));
            }
            (Some(line), wanted) => {
                let key = PublicKey::from_line(line).map_err(|e| Failure::broken(&place, e))?;
                let socket = AgentKey::socket()?;
                let own = key.fingerprint();
                Arc::new(AgentKey::find(&socket, wanted.unwrap_or(&own))?)
            }
        };
        if *signer.public_key() != card.key {
            let text = format!("{place}: the card names another key ({})", card.key.fingerprint());
            return Err(Failure::new(Exit::Broken, text));
        }
        let bytes = self.home.read(file::SEAL_KEY)?.unwrap_or_default();
        let broken =
            || Failure::broken(self.home.place(file::SEAL_KEY), "missing, damaged or another card's");
        let mut secret = Zeroizing::new([0u8; 32]);
        let text = std::str::from_utf8(&bytes).map_err(|_| broken())?;
        let len = Base64::decode(text.trim(), &mut *secret).map_err(|_| broken())?.len();
        let seal_key = SealKey::from_bytes(&secret);
        if len != 32 || seal_key.public() != card.seal_key {
            return Err(broken());
        }
        Ok(Some(Device { signer, seal_key, signed_card: identity.card.clone(), card }))
    }

    /// Makes this directory's device, with a new key in a file or a key in ssh-agent.
    ///
    /// # Errors
    /// When the key cannot be had or the files not be written.
    pub fn create(&mut self, name: &str, agent: Option<&str>) -> Outcome<Device> {
        let signer: Arc<dyn Signer> = match agent {
            Some(wanted) => Arc::new(AgentKey::find(&AgentKey::socket()?, wanted)?),
            None => {
                let key = SigningKey::generate();
                let pem = key
                    .to_openssh("countersign approver")
                    .map_err(|e| Failure::broken(self.home.place(file::SIGNING_KEY), e))?;
                self.home.write(file::SIGNING_KEY, pem.as_bytes())?;
                Arc::new(key)
            }
        };
        let seal_key = SealKey::generate();
        let encoded = Zeroizing::new(Base64::encode_string(&*seal_key.to_bytes()));
        self.home.write(file::SEAL_KEY, encoded.as_bytes())?;
        let card = Card {
            version: VERSION,
            key: signer.public_key().to_line(),
            seal: Base64::encode_string(&seal_key.public()),
            serial: 1,
            name: clip(name, MAX_DEVICE_NAME).to_owned(),
        };
        let signed_card = card::sign(&*signer, &card).map_err(|e| Failure::broken("the device's card", e))?;
        let card = card::verify(&signed_card).map_err(|e| Failure::broken("the device's card", e))?;
        let agent = agent.is_some().then(|| signer.public_key().to_line());
        let identity = Identity { version: VERSION, card: signed_card.clone(), agent, servers: Vec::new() };
        write_json(&self.home, file::IDENTITY, &identity)?;
        self.identity = Some(identity);
        Ok(Device { signer, seal_key, signed_card, card })
    }

    fn signing_key(&self, ask: AskPassphrase<'_>) -> Outcome<SigningKey> {
        let place = self.home.place(file::SIGNING_KEY);
        let bytes = self
            .home
            .read(file::SIGNING_KEY)?
            .ok_or_else(|| Failure::broken(&place, "the key is gone: pair again with another --home"))?;
        let pem = std::str::from_utf8(&bytes).map_err(|e| Failure::broken(&place, e))?;
        let key = match SigningKey::from_openssh(pem, None) {
            Err(KeyError::Encrypted) => {
                let passphrase = ask(&place)?;
                SigningKey::from_openssh(pem, Some(passphrase.as_bytes()))
            }
            other => other,
        };
        key.map_err(|e| match e {
            KeyError::Passphrase => Failure::new(Exit::Refused, format!("{place}: {e}")),
            _ => Failure::broken(&place, e),
        })
    }

    /// The servers to listen at.
    #[must_use]
    pub fn servers(&self) -> &[ServerEntry] {
        self.identity.as_ref().map_or(&[], |i| &i.servers)
    }

    /// The hosts that are trusted.
    #[must_use]
    pub fn hosts(&self) -> &[PinnedHost] {
        &self.hosts
    }

    /// Trusts a host whose receipt was verified, and remembers its server.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn pin(&mut self, host: PinnedHost, server: ServerEntry) -> Outcome {
        self.hosts.retain(|h| (&h.key, &h.user) != (&host.key, &host.user));
        self.hosts.push(host);
        write_json(&self.home, file::HOSTS, &self.hosts)?;
        let Some(identity) = &mut self.identity else { return Ok(()) };
        identity.servers.retain(|s| s.origin != server.origin);
        identity.servers.push(server);
        write_json(&self.home, file::IDENTITY, &identity)
    }

    /// A number higher than every one before, on disk before it is used.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn next_counter(&mut self) -> Outcome<u64> {
        let next = self
            .counter
            .checked_add(1)
            .ok_or_else(|| Failure::broken(self.home.place(file::COUNTER), "used up"))?;
        self.home.write(file::COUNTER, next.to_string().as_bytes())?;
        self.counter = next;
        Ok(next)
    }

    /// Ids of closed requests from earlier runs.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn closed(&self) -> Outcome<BTreeMap<Key, u64>> {
        let ids: Vec<ClosedId> = read_json(&self.home, file::CLOSED)?.unwrap_or_default();
        Ok(ids.into_iter().map(|c| (Key { host: c.host, id: c.id }, c.until)).collect())
    }

    /// Keeps ids of closed requests for the next run.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_closed(&self, closed: &BTreeMap<Key, u64>) -> Outcome {
        let ids: Vec<ClosedId> = closed
            .iter()
            .map(|(key, until)| ClosedId { host: key.host.clone(), id: key.id.clone(), until: *until })
            .collect();
        write_json(&self.home, file::CLOSED, &ids)
    }

    /// Decisions of an earlier run that no host has closed.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn decided(&self) -> Outcome<Vec<Decided>> {
        Ok(read_json(&self.home, file::DECIDED)?.unwrap_or_default())
    }

    /// Keeps decisions, so that an end of the program does not lose them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_decided(&self, decided: &[Decided]) -> Outcome {
        write_json(&self.home, file::DECIDED, &decided)
    }

    /// What the trusted hosts have said of their users' devices in earlier runs, by key id.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn device_lists(&self) -> Outcome<BTreeMap<String, Vec<Known>>> {
        let mut lists = BTreeMap::new();
        for host in &self.hosts {
            // Whose key cannot be read is not heard either.
            let Ok(key) = PublicKey::from_line(&host.key) else { continue };
            if let Some(known) = read_json(&self.home, &file::devices(&key.id()))? {
                lists.insert(key.id(), known);
            }
        }
        Ok(lists)
    }

    /// Keeps what a trusted host, named by its key id, has said of devices.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_device_lists(&self, host: &str, lists: &[&Known]) -> Outcome {
        write_json(&self.home, &file::devices(host), &lists)
    }

    /// Adds a line to the history.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn log(&self, event: &serde_json::Value) -> Outcome {
        self.home.append(file::HISTORY, format!("{}\n", escape_json(&event.to_string())).as_bytes())
    }
}

fn read_json<T: DeserializeOwned>(home: &Home, name: &str) -> Outcome<Option<T>> {
    let Some(bytes) = home.read(name)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| Failure::broken(home.place(name), e))
}

fn write_json<T: Serialize>(home: &Home, name: &str, value: &T) -> Outcome {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Failure::broken(home.place(name), e))?;
    text.push(b'\n');
    home.write(name, &text)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
