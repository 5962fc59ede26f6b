//! A name service for tests, in place of the machine's.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::directory::{Directory, Entry, Listed};

thread_local! {
    static DIRECTORY: RefCell<Option<Arc<Fake>>> = const { RefCell::new(None) };
}

/// Groups and their members; every other name is a user's.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) groups: Vec<(String, Vec<String>)>,
    /// Whether a group's entry lists its members.
    pub(super) lists: bool,
    /// How long a question about a user takes.
    pub(super) takes: Duration,
    /// Names of users about whom it fails.
    pub(super) fails: Vec<String>,
    pub(super) asked: AtomicUsize,
}

impl Fake {
    pub(super) fn new(groups: &[(&str, &[&str])]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let groups = groups.iter().map(|(group, names)| ((*group).to_owned(), owned(names))).collect();
        Self { groups, lists: true, ..Self::default() }
    }

    /// From now on this thread asks it.
    pub(super) fn install(self) -> Arc<Self> {
        let fake = Arc::new(self);
        DIRECTORY.set(Some(Arc::clone(&fake)));
        fake
    }

    /// How often it was asked about users since the last time.
    pub(super) fn count(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }

    fn gid(at: usize) -> u32 {
        u32::try_from(7000 + at).unwrap()
    }

    fn take_time(&self, name: &str) -> nix::Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.takes);
        if self.fails.iter().any(|fails| fails == name) { Err(nix::Error::EIO) } else { Ok(()) }
    }
}

impl Directory for Fake {
    fn user(&self, name: &str) -> nix::Result<Option<Entry>> {
        self.take_time(name)?;
        Ok(Some(Entry { name: name.to_owned(), uid: uid(name), gid: 100 }))
    }

    fn group(&self, name: &str) -> nix::Result<Option<Listed>> {
        let found = self.groups.iter().enumerate().find(|(_, (group, _))| group == name);
        Ok(found.map(|(at, (_, members))| {
            let members = if self.lists { members.clone() } else { Vec::new() };
            Listed { gid: Self::gid(at), members }
        }))
    }

    fn groups_of(&self, user: &Entry) -> nix::Result<Vec<u32>> {
        self.take_time(&user.name)?;
        let of = self.groups.iter().enumerate().filter(|(_, (_, members))| members.contains(&user.name));
        Ok(of.map(|(at, _)| Self::gid(at)).collect())
    }
}

/// The same for a name whenever it is asked (FNV-1a).
fn uid(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

pub(super) fn directory() -> Option<Arc<dyn Directory>> {
    DIRECTORY.with_borrow(|fake| fake.clone().map(|fake| fake as Arc<dyn Directory>))
}

/// From now on these groups and their members are all that this thread's name service has; another's name is
/// a user's.
pub(crate) fn groups_for_tests(groups: &[(&str, &[&str])]) {
    Fake::new(groups).install();
}
