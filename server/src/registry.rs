//! Hosts, devices and links: in memory for whoever asks, on disk before anybody hears "done".
//!
//! Memory is changed on the database's thread, right after the commit, so that both always change
//! in the same order.

use crate::directory::{Directory, KeyId, Peer, Role};
use crate::invite;
use crate::push::{self, Subscription};
use crate::store::tables::{self, Carded, Joined, Unlinked};
use crate::store::{self, Store, StoreError, StoreThread};
use countersign_protocol::api::{self, KnownHost, SignedCard};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The registry.
pub(crate) struct Registry {
    store: Store,
    directory: Arc<RwLock<Directory>>,
    devices_per_host: u32,
    hosts_per_device: u32,
}

/// How a device's registration went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    Done {
        changed: bool,
    },
    /// A card with this or a higher serial is known.
    Older,
    /// The key is a host's.
    IsHost,
    /// The device is not known (any more).
    Unknown,
    /// The host or the device has as many links as it may.
    Full,
}

fn write(directory: &RwLock<Directory>) -> RwLockWriteGuard<'_, Directory> {
    directory.write().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Opens the database and reads all of it that is kept in memory, and the secret for Web Push.
    pub(crate) fn open(
        path: &Path,
        devices_per_host: u32,
        hosts_per_device: u32,
        private_networks: bool,
    ) -> Result<(Self, StoreThread, Zeroizing<[u8; 32]>), StoreError> {
        let (store, thread, mut conn) = Store::open(path)?;
        let sqlite = |error| StoreError::sqlite(path, &error);
        let secret = store::push::secret(&mut conn, &*push::new_secret()).map_err(sqlite)?;
        let mut directory = tables::load(&conn).map_err(sqlite)?;
        for (device, given) in store::push::subscriptions(&conn).map_err(sqlite)? {
            // One that is no longer allowed stays in the database: the setting may come back.
            let subscription = Subscription::read(&given, private_networks).ok();
            if let (Some((device, _)), Some(subscription)) = (directory.find(&device), subscription) {
                directory.subscribe(device, Some(subscription));
            }
        }
        let directory = Arc::new(RwLock::new(directory));
        Ok((Self { store, directory, devices_per_host, hosts_per_device }, thread, secret))
    }

    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number and role of a key, if it is known.
    pub(crate) fn find(&self, id: &KeyId) -> Option<(Peer, Role)> {
        self.read().find(id)
    }

    /// The devices of a host among `ids`, each `None` where it is not linked: one look for a whole
    /// post.
    pub(crate) fn devices(&self, host: Peer, ids: &[KeyId]) -> Vec<Option<Peer>> {
        let directory = self.read();
        let linked =
            |id| directory.find(id).map(|(peer, _)| peer).filter(|peer| directory.linked(host, *peer));
        ids.iter().map(linked).collect()
    }

    /// The host with this id, if it is linked to a device.
    pub(crate) fn host_of(&self, device: Peer, id: &KeyId) -> Option<Peer> {
        let directory = self.read();
        directory.find(id).map(|(host, _)| host).filter(|host| directory.linked(*host, device))
    }

    /// A peer's key id.
    pub(crate) fn id(&self, peer: Peer) -> Option<KeyId> {
        self.read().id(peer)
    }

    /// Known hosts, known devices, links.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        self.read().counts()
    }

    /// Where a device wants to be rung.
    pub(crate) fn subscription(&self, device: Peer) -> Option<Arc<Subscription>> {
        self.read().subscription(device)
    }

    /// How many devices want to be rung.
    pub(crate) fn subscribed(&self) -> usize {
        self.read().subscribed()
    }

    /// Takes a device's subscription. False when the device is not known (any more).
    pub(crate) async fn subscribe(
        &self,
        device: KeyId,
        given: api::Subscription,
        subscription: Subscription,
    ) -> Result<bool, StoreError> {
        let peer = self.find(&device).map(|(peer, _)| peer);
        if peer.and_then(|peer| self.subscription(peer)).is_some_and(|held| *held == subscription) {
            return Ok(true);
        }
        let directory = Arc::clone(&self.directory);
        self.store
            .run(move |conn| {
                let known = store::push::subscribe(conn, device, &given, now())?;
                let mut directory = write(&directory);
                match directory.find(&device) {
                    Some((peer, _)) if known => directory.subscribe(peer, Some(subscription)),
                    _ => return Ok(false),
                }
                Ok(true)
            })
            .await
    }

    /// Forgets a device's subscription; where one is given, only if it is still that one.
    pub(crate) async fn unsubscribe(
        &self,
        device: KeyId,
        only: Option<Arc<Subscription>>,
    ) -> Result<bool, StoreError> {
        let directory = Arc::clone(&self.directory);
        self.store
            .run(move |conn| {
                let endpoint = only.as_ref().map(|only| only.endpoint().as_str());
                let ended = store::push::unsubscribe(conn, device, endpoint)?;
                let mut directory = write(&directory);
                if let Some((peer, _)) = directory.find(&device)
                    && ended
                {
                    directory.subscribe(peer, None);
                }
                Ok(ended)
            })
            .await
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    /// Makes a token for a host that joins. Nothing when too many are waiting.
    pub(crate) async fn invite(&self, life: u64) -> Result<Option<String>, StoreError> {
        self.store
            .run(move |conn| {
                let token = invite::new_token();
                Ok(tables::add_join_token(conn, &token, now(), life)?.then_some(token))
            })
            .await
    }

    pub(crate) async fn join(
        &self,
        token: String,
        id: KeyId,
        key: String,
        name: String,
    ) -> Result<Joined, StoreError> {
        let directory = Arc::clone(&self.directory);
        self.store
            .run(move |conn| {
                let joined = tables::join(conn, &token, id, &key, &name, now())?;
                if matches!(joined, Joined::New | Joined::Again) {
                    write(&directory).add(id, Role::Host);
                }
                Ok(joined)
            })
            .await
    }

    /// Takes the card of a device; with a host, links the device to it.
    pub(crate) async fn put_card(
        &self,
        device: KeyId,
        card: SignedCard,
        serial: i64,
        host: Option<KeyId>,
    ) -> Result<Registered, StoreError> {
        let directory = Arc::clone(&self.directory);
        let (devices, hosts) = (self.devices_per_host, self.hosts_per_device);
        self.store
            .run(move |conn| {
                if let Some(host) = host
                    && is_full(&write(&directory), host, device, devices, hosts)
                {
                    return Ok(Registered::Full);
                }
                let (carded, linked) = tables::put_card(conn, device, &card, serial, host, now())?;
                match carded {
                    Carded::IsHost => return Ok(Registered::IsHost),
                    Carded::Older => return Ok(Registered::Older),
                    Carded::Unknown => return Ok(Registered::Unknown),
                    Carded::New | Carded::Newer | Carded::Same => {}
                }
                let mut directory = write(&directory);
                let peer = directory.add(device, Role::Device);
                if let Some((host, _)) = host.and_then(|host| directory.find(&host)) {
                    directory.link(host, peer);
                }
                Ok(Registered::Done { changed: linked || carded != Carded::Same })
            })
            .await
    }

    /// Ends a link. `None` when there was none, else both sides.
    pub(crate) async fn unlink(
        &self,
        host: KeyId,
        device: KeyId,
    ) -> Result<Option<(Peer, Peer)>, StoreError> {
        let directory = Arc::clone(&self.directory);
        self.store
            .run(move |conn| {
                let unlinked = tables::unlink(conn, host, device)?;
                let mut directory = write(&directory);
                let (Some((host, _)), Some((device, _))) = (directory.find(&host), directory.find(&device))
                else {
                    return Ok(None);
                };
                directory.unlink(host, device);
                if unlinked == Unlinked::Device {
                    directory.forget(device);
                }
                Ok((unlinked != Unlinked::NoLink).then_some((host, device)))
            })
            .await
    }

    /// The cards of a host's devices.
    pub(crate) async fn cards(&self, host: KeyId) -> Result<Vec<SignedCard>, StoreError> {
        self.store.run(move |conn| tables::cards(conn, host)).await
    }

    /// The hosts of a device.
    pub(crate) async fn hosts(&self, device: KeyId) -> Result<Vec<KnownHost>, StoreError> {
        self.store.run(move |conn| tables::hosts(conn, device)).await
    }
}

fn is_full(directory: &Directory, host: KeyId, device: KeyId, devices: u32, hosts: u32) -> bool {
    let Some((host, _)) = directory.find(&host) else { return false };
    let device = directory.find(&device).map(|(device, _)| device);
    if device.is_some_and(|device| directory.linked(host, device)) {
        return false;
    }
    directory.links_of(host) >= devices || device.is_some_and(|device| directory.links_of(device) >= hosts)
}
