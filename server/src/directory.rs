//! Who is known and who is linked to whom, in memory: every message asks, so no message waits for
//! the database.

use crate::push::Subscription;
use base64ct::{Base64UrlUnpadded, Encoding};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// A key id: SHA-256 of an OpenSSH public key blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(pub(crate) [u8; 32]);

impl KeyId {
    /// Reads base64url without padding.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut id = [0u8; 32];
        let len = Base64UrlUnpadded::decode(text, &mut id).ok()?.len();
        (len == id.len()).then_some(Self(id))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a key is known as. A key is one of them for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Host,
    Device,
}

/// A known key by a small number, which holds until the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Peer(u32);

#[derive(Debug)]
struct Entry {
    id: KeyId,
    role: Role,
    links: u32,
}

/// All known keys and links.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_id: HashMap<KeyId, Peer>,
    entries: Vec<Entry>,
    links: HashSet<(Peer, Peer)>,
    subscriptions: HashMap<Peer, Arc<Subscription>>,
}

impl Directory {
    /// The number of a key, if it is known.
    pub(crate) fn find(&self, id: &KeyId) -> Option<(Peer, Role)> {
        let peer = *self.by_id.get(id)?;
        self.entries.get(peer.0 as usize).map(|entry| (peer, entry.role))
    }

    /// The key id of a peer.
    pub(crate) fn id(&self, peer: Peer) -> Option<KeyId> {
        self.entries.get(peer.0 as usize).map(|entry| entry.id)
    }

    /// How many links a peer has.
    pub(crate) fn links_of(&self, peer: Peer) -> u32 {
        self.entries.get(peer.0 as usize).map_or(0, |entry| entry.links)
    }

    pub(crate) fn linked(&self, host: Peer, device: Peer) -> bool {
        self.links.contains(&(host, device))
    }

    /// Adds a key; one that is known keeps its number and role.
    pub(crate) fn add(&mut self, id: KeyId, role: Role) -> Peer {
        if let Some(peer) = self.by_id.get(&id) {
            return *peer;
        }
        let peer = Peer(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.entries.push(Entry { id, role, links: 0 });
        self.by_id.insert(id, peer);
        peer
    }

    /// Forgets a key. Its number is not given again.
    pub(crate) fn forget(&mut self, peer: Peer) {
        if let Some(id) = self.id(peer) {
            self.by_id.remove(&id);
        }
        self.subscriptions.remove(&peer);
    }

    /// Where a device wants to be rung.
    pub(crate) fn subscription(&self, device: Peer) -> Option<Arc<Subscription>> {
        self.subscriptions.get(&device).cloned()
    }

    /// Sets that, or ends it.
    pub(crate) fn subscribe(&mut self, device: Peer, subscription: Option<Subscription>) {
        match subscription {
            Some(subscription) => self.subscriptions.insert(device, Arc::new(subscription)),
            None => self.subscriptions.remove(&device),
        };
    }

    /// How many devices want to be rung.
    pub(crate) fn subscribed(&self) -> usize {
        self.subscriptions.len()
    }

    pub(crate) fn link(&mut self, host: Peer, device: Peer) {
        if self.links.insert((host, device)) {
            self.count(host, device, 1);
        }
    }

    pub(crate) fn unlink(&mut self, host: Peer, device: Peer) {
        if self.links.remove(&(host, device)) {
            self.count(host, device, -1);
        }
    }

    fn count(&mut self, host: Peer, device: Peer, change: i32) {
        for peer in [host, device] {
            if let Some(entry) = self.entries.get_mut(peer.0 as usize) {
                entry.links = entry.links.saturating_add_signed(change);
            }
        }
    }

    /// Known hosts, known devices, links.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let role = |peer: &&Peer| self.entries.get(peer.0 as usize).is_some_and(|e| e.role == Role::Host);
        let hosts = self.by_id.values().filter(role).count();
        (hosts, self.by_id.len() - hosts, self.links.len())
    }
}

#[cfg(test)]
impl Peer {
    pub(crate) fn for_test(number: u32) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_read_what_they_write_and_nothing_else() {
        let id = KeyId([0xfb; 32]);
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        for bad in ["", "AAAA", &"A".repeat(44), &"+".repeat(43), &format!("{id}=")] {
            assert_eq!(KeyId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn links_are_counted_once_and_a_key_keeps_its_role() {
        let mut directory = Directory::default();
        let host = directory.add(KeyId([1; 32]), Role::Host);
        let device = directory.add(KeyId([2; 32]), Role::Device);
        assert_eq!(directory.add(KeyId([1; 32]), Role::Device), host);
        assert_eq!(directory.find(&KeyId([1; 32])), Some((host, Role::Host)));
        directory.link(host, device);
        directory.link(host, device);
        assert_eq!(directory.links_of(host), 1);
        assert!(directory.linked(host, device) && !directory.linked(device, host));
        directory.unlink(host, device);
        directory.unlink(host, device);
        assert_eq!((directory.links_of(host), directory.links_of(device)), (0, 0));
        assert_eq!(directory.counts(), (1, 1, 0));
        directory.forget(device);
        assert_eq!(directory.find(&KeyId([2; 32])), None);
        assert_ne!(directory.add(KeyId([2; 32]), Role::Device), device);
    }
}
