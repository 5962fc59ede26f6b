//! The paired devices: their cards, to seal requests for, and what is told about them.
//!
//! Whether a device may decide is not said here but in [`crate::approvers`].

use crate::clock;
use crate::files::{self, FileFault, Owner, Store};
use crate::log::Log;
use countersign_protocol::api::SignedCard;
use countersign_protocol::card::{self, VerifiedCard};
use countersign_protocol::keys::PublicKey;
use countersign_protocol::signers::MAX_FILE as MAX_KEYS;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long uses are gathered before they are written.
const NOTE_TIME: Duration = Duration::from_secs(1);
/// Longest file in bytes.
const MAX_FILE: usize = 32 * 1024 * 1024;
/// Most devices of one user: a login's messages go out in one post.
pub const MAX_DEVICES: usize = countersign_protocol::api::MAX_MESSAGES;

/// All paired devices.
#[derive(Debug)]
pub struct Devices {
    store: Store,
    list: RefCell<Vec<Device>>,
    /// Users who had a device once.
    former: RefCell<BTreeSet<String>>,
    /// Whether uses were noted that the file does not have.
    unwritten: Cell<bool>,
    noted: Notify,
}

/// A device of one user.
#[derive(Debug, Clone)]
pub struct Device {
    /// The canonical name of its user.
    pub user: String,
    /// Its card, verified.
    pub card: Rc<VerifiedCard>,
    /// When it was paired, seconds since 1970.
    pub paired_at: u64,
    /// When it last decided, seconds since 1970.
    pub last_used_at: Option<u64>,
    /// The highest counter of its decisions.
    pub counter: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    devices: Vec<Entry>,
    #[serde(default)]
    former: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    user: String,
    card: SignedCard,
    paired_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<u64>,
    counter: u64,
}

impl Devices {
    /// Reads the file, or makes one at the first start.
    ///
    /// # Errors
    /// When it cannot be read, or was there once: a user must not pass for one who never had a device.
    pub fn open(path: &Path, owner: Owner) -> io::Result<Self> {
        let file = match files::read_json(path, owner, MAX_FILE)? {
            Some(file) => file,
            None => first_file(path, owner)?,
        };
        let mut list = Vec::new();
        for entry in file.devices {
            list.push(Device::read(entry).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
            })?);
        }
        Ok(Self {
            store: Store::new(path),
            list: RefCell::new(list),
            former: RefCell::new(file.former),
            unwritten: Cell::new(false),
            noted: Notify::new(),
        })
    }

    /// A user's devices in order of pairing.
    #[must_use]
    pub fn for_user(&self, user: &str) -> Vec<Device> {
        self.list.borrow().iter().filter(|device| device.user == user).cloned().collect()
    }

    /// Whether a user without devices had one before. Such a user is not new: taking the last
    /// device away must not turn the second factor off where the policy spares new users.
    #[must_use]
    pub fn had_any(&self, user: &str) -> bool {
        self.former.borrow().contains(user)
    }

    /// Everybody who has a device, in order of pairing.
    #[must_use]
    pub fn users(&self) -> Vec<String> {
        let list = self.list.borrow();
        let mut seen = BTreeSet::new();
        list.iter().filter(|device| seen.insert(&device.user)).map(|device| device.user.clone()).collect()
    }

    /// All devices in order of pairing.
    #[must_use]
    pub fn all(&self) -> Vec<Device> {
        self.list.borrow().clone()
    }

    /// Adds a device, or takes a paired device's new card, for all who have paired it.
    ///
    /// # Errors
    /// When the user has too many, the card is older than the known one, or the file could not be written; then
    /// nothing about this device has changed.
    pub async fn add(&self, user: &str, card: VerifiedCard) -> io::Result<Device> {
        let device = Device {
            user: user.into(),
            card: Rc::new(card),
            paired_at: clock::unix(),
            last_used_at: None,
            counter: 0,
        };
        if !self.has_room(user, &device.card) {
            return Err(io::Error::other(format!(
                "{user} has {MAX_DEVICES} devices already; revoke one that is no longer used"
            )));
        }
        let id = device.id();
        let before = self.entries(&id);
        if before.iter().any(|known| known.card.card.serial > device.card.card.serial) {
            return Err(io::Error::other("the device's card is older than the one that is known"));
        }
        {
            let mut list = self.list.borrow_mut();
            list.retain(|present| !present.is(user, &id));
            for known in list.iter_mut().filter(|known| known.id() == id) {
                known.card = device.card.clone();
            }
            list.push(device.clone());
        }
        self.write_or(&id, before).await?;
        Ok(device)
    }

    /// Whether this device may be paired in addition.
    #[must_use]
    pub fn has_room(&self, user: &str, card: &VerifiedCard) -> bool {
        let id = card.key.id();
        let others = self.list.borrow().iter().filter(|d| d.user == user && d.id() != id).count();
        others < MAX_DEVICES
    }

    /// Removes all entries of a key; gives those that there were.
    ///
    /// # Errors
    /// When the file could not be written; then nothing has changed.
    pub async fn remove(&self, id: &str) -> io::Result<Vec<Device>> {
        self.remove_where(id, |_| true).await
    }

    /// Removes one user's entry of a key; gives it, if there was one.
    ///
    /// # Errors
    /// When the file could not be written; then nothing has changed.
    pub async fn remove_from(&self, user: &str, id: &str) -> io::Result<Vec<Device>> {
        self.remove_where(id, |device| device.user == user).await
    }

    async fn remove_where(&self, id: &str, goes: impl Fn(&Device) -> bool) -> io::Result<Vec<Device>> {
        let before = self.entries(id);
        let removed: Vec<Device> = before.iter().filter(|device| goes(device)).cloned().collect();
        if !removed.is_empty() {
            self.list.borrow_mut().retain(|device| device.id() != id || !goes(device));
            self.former.borrow_mut().extend(removed.iter().map(|device| device.user.clone()));
            self.write_or(id, before).await?;
        }
        Ok(removed)
    }

    fn entries(&self, id: &str) -> Vec<Device> {
        self.list.borrow().iter().filter(|device| device.id() == id).cloned().collect()
    }

    /// Takes note of a decision by this key. False when its counter did not rise, which hints at a
    /// copied key.
    pub fn note_use(&self, key: &PublicKey, counter: u64) -> bool {
        let mut rose = true;
        for device in self.list.borrow_mut().iter_mut().filter(|device| device.card.key == *key) {
            rose &= counter > device.counter;
            device.counter = device.counter.max(counter);
            device.last_used_at = Some(clock::unix());
            self.unwritten.set(true);
        }
        if self.unwritten.get() {
            self.noted.notify_one();
        }
        rose
    }

    /// Writes what [`Self::note_use`] noted, a moment after it did. Never comes back by itself.
    pub async fn keep_uses(&self, log: &Log) {
        loop {
            self.noted.notified().await;
            tokio::time::sleep(NOTE_TIME).await;
            if let Err(error) = self.write_uses().await {
                log.error(&error.to_string());
            }
        }
    }

    /// Writes what [`Self::note_use`] noted, if anything.
    ///
    /// # Errors
    /// When the file could not be written.
    pub async fn write_uses(&self) -> io::Result<()> {
        if self.unwritten.replace(false) { self.write().await } else { Ok(()) }
    }

    /// Writes the list; if that fails the entries of this one key are again what they were. Others may have
    /// changed meanwhile.
    async fn write_or(&self, id: &str, before: Vec<Device>) -> io::Result<()> {
        let written = self.write().await;
        if written.is_err() {
            let mut list = self.list.borrow_mut();
            list.retain(|device| device.id() != id);
            list.extend(before);
            list.sort_by_key(|device| device.paired_at);
        }
        written
    }

    async fn write(&self) -> io::Result<()> {
        self.store
            .write(|| {
                let devices = self.list.borrow().iter().map(Device::entry).collect();
                serde_json::to_vec(&File { devices, former: self.former.borrow().clone() })
            })
            .await
    }
}

/// An empty file, unless the files beside it say that there were devices.
fn first_file(path: &Path, owner: Owner) -> io::Result<File> {
    let named = |path: &Path, error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
    };
    for name in ["approvers", "revoked"] {
        let beside = path.with_file_name(name);
        let text = match files::read_trusted(&beside, owner, MAX_KEYS) {
            Err(FileFault::Missing) => continue,
            text => text.map_err(|fault| named(&beside, &fault))?,
        };
        if text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#')) {
            let why = format!(
                "it is missing, though {} lists keys of devices: restore it, or move that file away, too, to \
                 begin anew",
                beside.display()
            );
            return Err(named(path, &why));
        }
    }
    let file = File { devices: Vec::new(), former: BTreeSet::new() };
    files::replace(path, &serde_json::to_vec(&file)?).map_err(|error| named(path, &error))?;
    Ok(file)
}

impl Device {
    /// Its key id.
    #[must_use]
    pub fn id(&self) -> String {
        self.card.key.id()
    }

    fn is(&self, user: &str, id: &str) -> bool {
        self.user == user && self.id() == id
    }

    fn read(entry: Entry) -> Result<Self, card::CardError> {
        Ok(Self {
            card: Rc::new(card::verify(&entry.card)?),
            user: entry.user,
            paired_at: entry.paired_at,
            last_used_at: entry.last_used_at,
            counter: entry.counter,
        })
    }

    fn entry(&self) -> Entry {
        Entry {
            user: self.user.clone(),
            card: SignedCard {
                card: String::from_utf8_lossy(&self.card.bytes).into_owned(),
                signature: self.card.signature.clone(),
            },
            paired_at: self.paired_at,
            last_used_at: self.last_used_at,
            counter: self.counter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64, Encoding};
    use countersign_protocol::keys::{SealKey, Signer, SigningKey};
    use countersign_protocol::message::{Card, VERSION};
    use std::path::PathBuf;

    fn new_card(name: &str) -> VerifiedCard {
        let key = SigningKey::generate();
        let card = Card {
            version: VERSION,
            key: key.public_key().to_line(),
            seal: Base64::encode_string(&SealKey::generate().public()),
            serial: 1,
            name: name.into(),
        };
        card::verify(&card::sign(&key, &card).unwrap()).unwrap()
    }

    fn open(path: &Path) -> io::Result<Devices> {
        Devices::open(path, Owner(nix::unistd::geteuid().as_raw()))
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("devices.json");
        (folder, path)
    }

    #[tokio::test]
    async fn devices_and_their_uses_are_kept_across_restarts() {
        let (_folder, path) = place();
        let devices = open(&path).unwrap();
        let (phone, tablet) = (new_card("phone"), new_card("tablet"));
        let id = phone.key.id();
        devices.add("alice", phone.clone()).await.unwrap();
        devices.add("alice", tablet).await.unwrap();
        devices.add("root", phone.clone()).await.unwrap();
        assert!(devices.note_use(&phone.key, 5));
        assert!(!devices.note_use(&phone.key, 5), "a counter that stands still");
        assert!(!devices.note_use(&phone.key, 3), "a counter that falls");
        devices.write_uses().await.unwrap();

        let devices = open(&path).unwrap();
        let alices = devices.for_user("alice");
        assert_eq!(alices.len(), 2);
        assert_eq!(*alices[0].card, phone);
        assert_eq!((alices[0].counter, alices[1].counter), (5, 0));
        assert!(alices[0].last_used_at.is_some() && alices[1].last_used_at.is_none());
        assert!(devices.for_user("bob").is_empty());

        let removed = devices.remove(&id).await.unwrap();
        assert_eq!(removed.iter().map(|device| device.user.as_str()).collect::<Vec<_>>(), ["alice", "root"]);
        let devices = open(&path).unwrap();
        assert_eq!(devices.all().len(), 1);
        assert!(devices.had_any("root") && !devices.had_any("bob"));
    }

    #[tokio::test]
    async fn a_card_is_of_all_who_have_paired_it_and_never_an_older_one() {
        let (_folder, path) = place();
        let devices = open(&path).unwrap();
        let key = SigningKey::generate();
        let card = |serial, name: &str| {
            let seal = Base64::encode_string(&SealKey::generate().public());
            let card =
                Card { version: VERSION, key: key.public_key().to_line(), seal, serial, name: name.into() };
            card::verify(&card::sign(&key, &card).unwrap()).unwrap()
        };
        devices.add("alice", card(2, "phone")).await.unwrap();
        devices.add("root", card(3, "my phone")).await.unwrap();
        let names =
            |user: &str| devices.for_user(user).iter().map(|d| d.card.card.name.clone()).collect::<Vec<_>>();
        assert_eq!((names("alice"), names("root")), (vec!["my phone".into()], vec!["my phone".into()]));
        assert!(devices.add("root", card(2, "phone")).await.unwrap_err().to_string().contains("older"));
        assert_eq!(names("root"), ["my phone"]);
    }

    #[tokio::test]
    async fn a_change_that_fails_undoes_itself_alone() {
        let (folder, path) = place();
        let devices = open(&path).unwrap();
        let [a, b, c] = ["a", "b", "c"].map(new_card);
        for card in [&a, &b] {
            devices.add("alice", card.clone()).await.unwrap();
        }
        let gone = folder.path().with_extension("gone");
        std::fs::rename(folder.path(), &gone).unwrap();
        let (id_a, id_b) = (a.key.id(), b.key.id());
        let put_back = async {
            std::fs::rename(&gone, folder.path()).unwrap();
            devices.remove(&id_b).await
        };
        // The second removal begins while the first one still waits for the disk.
        let (first, added) = tokio::join!(devices.remove(&id_a), devices.add("alice", c));
        assert!(first.is_err() && added.is_err());
        put_back.await.unwrap();
        let left = |devices: &Devices| devices.for_user("alice").iter().map(Device::id).collect::<Vec<_>>();
        assert_eq!(left(&devices), std::slice::from_ref(&id_a));
        assert_eq!(left(&open(&path).unwrap()), [id_a]);
    }

    #[tokio::test]
    async fn a_device_is_taken_from_one_of_its_users() {
        let (_folder, path) = place();
        let devices = open(&path).unwrap();
        let phone = new_card("phone");
        for user in ["alice", "root"] {
            devices.add(user, phone.clone()).await.unwrap();
        }
        let removed = devices.remove_from("alice", &phone.key.id()).await.unwrap();
        assert_eq!(removed.iter().map(|device| device.user.as_str()).collect::<Vec<_>>(), ["alice"]);
        assert!(devices.remove_from("alice", &phone.key.id()).await.unwrap().is_empty());
        let devices = open(&path).unwrap();
        assert_eq!((devices.for_user("alice").len(), devices.for_user("root").len()), (0, 1));
        assert!(devices.had_any("alice") && !devices.had_any("root"));
    }

    #[tokio::test]
    async fn a_paired_device_comes_again_in_its_own_place_and_no_more_than_fit() {
        let (_folder, path) = place();
        let devices = open(&path).unwrap();
        let phone = new_card("phone");
        devices.add("alice", phone.clone()).await.unwrap();
        for number in 1..MAX_DEVICES {
            devices.add("alice", new_card(&number.to_string())).await.unwrap();
        }
        assert!(devices.add("alice", new_card("one more")).await.is_err());
        devices.add("alice", phone).await.unwrap();
        assert_eq!(devices.for_user("alice").len(), MAX_DEVICES);
    }

    #[tokio::test]
    async fn what_could_not_be_written_has_not_happened() {
        let (_folder, path) = place();
        let devices = open(&path).unwrap();
        std::fs::create_dir(files::beside(&path, ".new")).unwrap();
        assert!(devices.add("alice", new_card("phone")).await.is_err());
        assert!(devices.all().is_empty());
    }

    /// Else a lost file would make everybody new, and a policy that spares new users spare all.
    #[tokio::test]
    async fn a_file_that_is_lost_is_not_a_first_start() {
        for (name, left) in
            [("approvers", "alice ssh-ed25519 A phone\n"), ("revoked", "# a\n\nssh-ed25519 A\n")]
        {
            let (folder, path) = place();
            let beside = folder.path().join(name);
            files::replace(&beside, b"# nobody\n\n").unwrap();
            drop(open(&path).unwrap());
            assert!(path.exists(), "what is missing later was lost");
            files::replace(&beside, left.as_bytes()).unwrap();
            assert!(open(&path).unwrap().all().is_empty());
            std::fs::remove_file(&path).unwrap();
            let why = open(&path).unwrap_err().to_string();
            assert!(why.contains("devices.json: it is missing") && why.contains(name), "{why}");
            assert!(!path.exists());
            std::fs::remove_file(&beside).unwrap();
            std::fs::create_dir(&beside).unwrap();
            assert!(open(&path).unwrap_err().to_string().contains(name), "nobody knows what it lists");
            std::fs::remove_dir(&beside).unwrap();
            open(&path).unwrap();
        }
    }

    #[tokio::test]
    async fn a_changed_card_or_a_broken_file_is_not_no_devices() {
        let (_folder, path) = place();
        open(&path).unwrap().add("alice", new_card("phone")).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for other in [text.replace("phone", "tower"), text.replace("devices", "device"), String::new()] {
            files::replace(&path, other.as_bytes()).unwrap();
            assert!(open(&path).unwrap_err().to_string().contains("devices.json"), "{other}");
        }
    }
}
