//! Which keys may decide for whom: the two approvers files and the two files of revoked keys.
//!
//! One pair is the administrator's and only read, the other is written here alone. A faulty
//! approvers file lets nobody approve; a faulty file of revoked keys lets nobody approve at all.

use crate::clock;
use crate::files::{self, FileFault, Owner, Store, Version};
use crate::log::Log;
use countersign_protocol::keys::PublicKey;
use countersign_protocol::message::namespace;
use countersign_protocol::signers::{AllowedSigners, Line, LineFault, MAX_FILE, Revoked};
use countersign_protocol::sshsig::Signed;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// The approvers and the revoked keys as the files say them now.
pub struct Approvers {
    allowed: [Watched<AllowedSigners>; 2],
    revoked: [Watched<Revoked>; 2],
    own: OwnFiles,
    /// Users and ids of the keys whose end is written down and not yet done.
    ending: RefCell<Vec<(String, String)>>,
    log: Log,
}

/// While it lives, a key decides nothing for a user.
pub(crate) struct Held<'a> {
    approvers: &'a Approvers,
    user: String,
    key: String,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut ending = self.approvers.ending.borrow_mut();
        if let Some(at) = ending.iter().position(|(user, key)| *user == self.user && *key == self.key) {
            ending.swap_remove(at);
        }
    }
}

/// The pair that the daemon writes.
struct OwnFiles {
    approvers: OwnFile,
    revoked: OwnFile,
    owner: Owner,
}

struct OwnFile {
    path: PathBuf,
    store: Store,
}

/// How long the same fault of a file is not said again.
const SAID_FOR: Duration = Duration::from_secs(60);

/// A line about a file as it was then.
struct Said {
    text: String,
    /// `None` where that could not be seen.
    version: Option<Version>,
    at: Duration,
}

/// A file that is read again whenever it has changed.
struct Watched<T> {
    path: PathBuf,
    owner: Owner,
    parse: fn(&str) -> Result<T, Vec<LineFault>>,
    /// What a fault in it means.
    then: &'static str,
    seen: RefCell<Option<Seen<T>>>,
    /// What was said last to be wrong, and when.
    said: RefCell<Option<Said>>,
}

/// What was in a file: its content, or that it must not be used.
type Content<T> = Result<Rc<T>, ()>;

struct Seen<T> {
    version: Option<Version>,
    content: Content<T>,
}

/// What is wrong with the administrator's approvers and revoked keys, a line each.
#[must_use]
pub fn faults(folder: &Path, owner: Owner) -> Vec<String> {
    let mut faults = Vec::new();
    let mut look = |name: &str, parse: &dyn Fn(&str) -> Option<Vec<LineFault>>| {
        let path = folder.join(name);
        match files::read_trusted(&path, owner, MAX_FILE) {
            Err(FileFault::Missing) => {}
            Err(fault) => faults.push(format!("{}: {fault}", path.display())),
            Ok(text) => {
                let found = parse(&text).unwrap_or_default();
                faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", path.display())));
            }
        }
    };
    look("approvers", &|text| AllowedSigners::parse(text).err());
    look("revoked", &|text| Revoked::parse(text).err());
    faults
}

impl Approvers {
    /// Of the administrator's folder and the daemon's own, each with who may own its files.
    #[must_use]
    pub fn new((administrator, root): (&Path, Owner), (own, owner): (&Path, Owner), log: Log) -> Self {
        let file = |name| OwnFile { path: own.join(name), store: Store::new(&own.join(name)) };
        let own = OwnFiles { approvers: file("approvers"), revoked: file("revoked"), owner };
        let allowed = |path: PathBuf, owner| {
            Watched::new(path, owner, AllowedSigners::parse, "nobody can approve by this file")
        };
        let revoked =
            |path: PathBuf, owner| Watched::new(path, owner, Revoked::parse, "nobody can approve at all");
        Self {
            allowed: [
                allowed(administrator.join("approvers"), root),
                allowed(own.approvers.path.clone(), owner),
            ],
            revoked: [revoked(administrator.join("revoked"), root), revoked(own.revoked.path.clone(), owner)],
            own,
            ending: RefCell::default(),
            log,
        }
    }

    /// Lets a key decide nothing for a user from now on: its end is about to be written down, and nothing that it
    /// decides may stand in the audit after that.
    pub(crate) fn hold(&self, user: &str, key: &PublicKey) -> Held<'_> {
        let (user, key) = (user.to_owned(), key.id());
        self.ending.borrow_mut().push((user.clone(), key.clone()));
        Held { approvers: self, user, key }
    }

    /// Whether this signature's key may decide for this user now.
    ///
    /// # Errors
    /// Why not, for the log.
    pub fn authorize(&self, user: &str, signed: &Signed, at_unix: u64) -> Result<(), String> {
        let mut revoked = Vec::new();
        for file in &self.revoked {
            revoked
                .push(file.content(&self.log).map_err(|()| {
                    format!("{} cannot be used, so nobody may approve", file.path.display())
                })?);
        }
        if revoked.iter().any(|revoked| revoked.contains(&signed.key)) {
            return Err("the key is revoked".into());
        }
        let id = signed.key.id();
        if self.ending.borrow().iter().any(|(whose, key)| whose == user && *key == id) {
            return Err("the key is being revoked".into());
        }
        let mut refusal = String::from("there are no approvers");
        for file in &self.allowed {
            let Ok(allowed) = file.content(&self.log) else {
                refusal = format!("{} cannot be used", file.path.display());
                continue;
            };
            let judged = revoked.iter().try_for_each(|revoked| {
                allowed.authorize(user, namespace::DECISION, signed, at_unix, revoked)
            });
            match judged {
                Ok(()) => return Ok(()),
                Err(why) => refusal = why.to_string(),
            }
        }
        Err(refusal)
    }

    /// Whether every file can be used, so that what they refuse is what they say.
    #[must_use]
    pub(crate) fn are_usable(&self) -> bool {
        self.allowed.iter().all(|file| file.content(&self.log).is_ok())
            && self.revoked.iter().all(|file| file.content(&self.log).is_ok())
    }

    /// Whether a key has ended. When that cannot be known it counts as ended.
    #[must_use]
    pub fn is_revoked(&self, key: &PublicKey) -> bool {
        self.revoked.iter().any(|file| file.content(&self.log).map_or(true, |revoked| revoked.contains(key)))
    }

    /// Whether users may still pair by themselves. What they fill of the own files is half at most, so that there is
    /// always room for what root does, and for revoking.
    ///
    /// # Errors
    /// Names the file that is too full, or that cannot be read.
    pub fn has_room_for_users(&self) -> io::Result<()> {
        for file in [&self.own.approvers, &self.own.revoked] {
            let text = self.own.read(&file.path)?;
            if text.len() > MAX_FILE / 2 {
                let path = file.path.display();
                return Err(io::Error::other(format!("{path} is half full; only root can pair now")));
            }
        }
        Ok(())
    }

    /// Lets a key decide for a user from now on; in place of its earlier line, if it has one.
    ///
    /// # Errors
    /// When the user's name could be read as a pattern, or the file is full or could not be written.
    pub async fn add(&self, user: &str, key: &PublicKey, comment: &str) -> io::Result<()> {
        let line = Line::new(user, key.clone(), comment)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
            .to_string();
        let change = |text: &str| without(text, key, |principal| principal == user) + &line + "\n";
        self.own.change(&self.own.approvers, change).await
    }

    /// Ends a key for good, for every user and in the administrator's file too. Its own lines are then for
    /// [`Self::forget`].
    ///
    /// # Errors
    /// When the file is full or could not be written.
    pub async fn revoke(&self, key: &PublicKey) -> io::Result<()> {
        let line = key.to_line() + "\n";
        let change = |text: &str| match text.split_inclusive('\n').any(|present| present == line) {
            true => text.to_owned(),
            false => text.to_owned() + &line,
        };
        self.own.change(&self.own.revoked, change).await
    }

    /// Takes all own lines of a key away that has ended. Only for tidiness.
    ///
    /// # Errors
    /// When the file could not be written.
    pub async fn forget(&self, key: &PublicKey) -> io::Result<()> {
        self.own.change(&self.own.approvers, |text| without(text, key, |_| true)).await
    }

    /// Takes a key's own lines for one user away. It goes on deciding for others, and for this one where the
    /// administrator's file says so.
    ///
    /// # Errors
    /// When the file could not be written.
    pub async fn remove(&self, user: &str, key: &PublicKey) -> io::Result<()> {
        let change = |text: &str| without(text, key, |principal| principal == user);
        self.own.change(&self.own.approvers, change).await
    }
}

/// The text of an approvers file without a key's lines for these users.
fn without(text: &str, key: &PublicKey, of: impl Fn(&str) -> bool) -> String {
    let line = key.to_line();
    let encoded = line.split(' ').nth(1).unwrap_or_default();
    let goes = |present: &str| {
        let mut fields = present.split_whitespace();
        fields.next().is_some_and(&of) && fields.any(|field| field == encoded)
    };
    text.split_inclusive('\n').filter(|present| !goes(present)).collect()
}

impl OwnFiles {
    /// Writes what becomes of the text that the file holds when it is this change's turn.
    async fn change(&self, file: &OwnFile, change: impl FnOnce(&str) -> String) -> io::Result<()> {
        let content = || {
            let old = self.read(&file.path)?;
            let new = change(&old);
            if new.len() > MAX_FILE {
                // Nobody could approve by a file that is too long to be read.
                let path = file.path.display();
                return Err(io::Error::other(format!("{path} is full: it may have {MAX_FILE} bytes")));
            }
            Ok((new != old).then(|| new.into_bytes()))
        };
        file.store.change(content).await
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        match files::read_trusted(path, self.owner, MAX_FILE) {
            Err(FileFault::Missing) => Ok(String::new()),
            Err(fault) => Err(io::Error::other(format!("{}: {fault}", path.display()))),
            Ok(mut text) => {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                Ok(text)
            }
        }
    }
}

impl<T: Default> Watched<T> {
    fn new(
        path: PathBuf,
        owner: Owner,
        parse: fn(&str) -> Result<T, Vec<LineFault>>,
        then: &'static str,
    ) -> Self {
        Self { path, owner, parse, then, seen: RefCell::new(None), said: RefCell::new(None) }
    }

    /// The file's content as it is now. A missing file is an empty one.
    fn content(&self, log: &Log) -> Content<T> {
        // Before reading: a change in between is seen the next time. Where it cannot be seen whether there is
        // a file, what was known before says nothing.
        let Ok(version) = files::version(&self.path) else { return self.read(log, None).0 };
        let mut seen = self.seen.borrow_mut();
        if let Some(seen) = seen.as_ref()
            && seen.version == version
        {
            return seen.content.clone();
        }
        let (content, lasts) = self.read(log, version);
        *seen = lasts.then(|| Seen { version, content: content.clone() });
        content
    }

    /// Says what is wrong; the same of the same file once a minute at most, since each decision that comes looks
    /// again.
    fn say(&self, log: &Log, text: String, version: Option<Version>) {
        let at = clock::boot();
        let mut said = self.said.borrow_mut();
        let is_same = |said: &Said| said.text == text && said.version == version && at < said.at + SAID_FOR;
        if !said.as_ref().is_some_and(is_same) {
            log.error(&text);
            *said = Some(Said { text, version, at });
        }
    }

    /// What is in the file, and whether that stays so for as long as the file is the same.
    fn read(&self, log: &Log, version: Option<Version>) -> (Content<T>, bool) {
        let path = self.path.display();
        let text = match files::read_trusted(&self.path, self.owner, MAX_FILE) {
            Ok(text) => text,
            Err(FileFault::Missing) => return (Ok(Rc::new(T::default())), true),
            Err(fault) => {
                self.say(log, format!("{path}: {fault}; {}", self.then), version);
                // Out of descriptors or memory, or a folder's mode: over while the file stays as it is.
                return (Err(()), !matches!(fault, FileFault::Io(_) | FileFault::Unreadable(_)));
            }
        };
        let content = (self.parse)(&text).map(Rc::new).map_err(|faults| {
            for fault in faults {
                log.error(&format!("{path}: {fault}; {}", self.then));
            }
        });
        (content, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::keys::{Signer, SigningKey};
    use countersign_protocol::sshsig;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    struct Place {
        folder: tempfile::TempDir,
        approvers: Approvers,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["etc", "own"] {
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            let owner = Owner(nix::unistd::geteuid().as_raw());
            let log = Log::to(folder.path().join("no log"), false);
            let (etc, own) = (folder.path().join("etc"), folder.path().join("own"));
            let approvers = Approvers::new((&etc, owner), (&own, owner), log);
            Self { folder, approvers }
        }

        fn write(&self, name: &str, text: &str) {
            files::replace(&self.folder.path().join(name), text.as_bytes()).unwrap();
        }

        fn may(&self, user: &str, key: &SigningKey) -> Result<(), String> {
            let armored = sshsig::sign(key, namespace::DECISION, b"x").unwrap();
            let signed = sshsig::verify(&armored, namespace::DECISION, b"x").unwrap();
            self.approvers.authorize(user, &signed, 1_800_000_000)
        }
    }

    #[tokio::test]
    async fn a_paired_key_decides_for_its_user_until_it_is_revoked() {
        let place = Place::new();
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        assert!(place.may("alice", &key).is_err());
        place.approvers.add("alice", key.public_key(), "phone").await.unwrap();
        place.approvers.add("alice", key.public_key(), "phone").await.unwrap();
        place.approvers.add("bob", other.public_key(), "phone").await.unwrap();
        assert_eq!(place.may("alice", &key), Ok(()));
        assert!(place.may("bob", &key).is_err() && place.may("alice", &other).is_err());
        let text = std::fs::read_to_string(place.folder.path().join("own/approvers")).unwrap();
        assert_eq!(text.lines().count(), 2);

        place.approvers.revoke(key.public_key()).await.unwrap();
        place.approvers.revoke(key.public_key()).await.unwrap();
        assert!(place.may("alice", &key).unwrap_err().contains("revoked"));
        assert_eq!(place.may("bob", &other), Ok(()));
        assert!(
            place.approvers.is_revoked(key.public_key()) && !place.approvers.is_revoked(other.public_key())
        );
        // Not even pairing it again brings it back.
        place.approvers.add("alice", key.public_key(), "phone").await.unwrap();
        assert!(place.may("alice", &key).is_err());
    }

    #[tokio::test]
    async fn a_key_that_is_being_revoked_decides_nothing_for_that_user() {
        let place = Place::new();
        let key = SigningKey::generate();
        for user in ["alice", "bob"] {
            place.approvers.add(user, key.public_key(), "phone").await.unwrap();
        }
        let held = [(); 2].map(|()| place.approvers.hold("alice", key.public_key()));
        for one in held {
            assert!(place.may("alice", &key).unwrap_err().contains("being revoked"));
            assert_eq!(place.may("bob", &key), Ok(()));
            drop(one);
        }
        assert_eq!(place.may("alice", &key), Ok(()));
    }

    #[tokio::test]
    async fn changes_at_once_leave_what_each_of_them_did() {
        let place = Place::new();
        let keys = [(); 6].map(|()| SigningKey::generate());
        let [a, b, c, d, e, f] = keys.each_ref().map(SigningKey::public_key);
        for key in [a, b, c, d] {
            place.approvers.add("alice", key, "phone").await.unwrap();
        }
        let approvers = &place.approvers;
        let done = tokio::join!(
            approvers.revoke(a),
            approvers.add("bob", e, "phone"),
            approvers.revoke(b),
            approvers.remove("alice", c),
            approvers.add("bob", f, "phone"),
        );
        done.0.and(done.1).and(done.2).and(done.3).and(done.4).unwrap();
        assert!(approvers.is_revoked(a) && approvers.is_revoked(b) && !approvers.is_revoked(c));
        let may: Vec<_> =
            keys.iter().map(|key| (place.may("alice", key).is_ok(), place.may("bob", key).is_ok())).collect();
        let nobody = (false, false);
        assert_eq!(may, [nobody, nobody, nobody, (true, false), (false, true), (false, true)]);
    }

    #[tokio::test]
    async fn the_files_never_become_too_long_to_be_read() {
        let place = Place::new();
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        for comment in ["2026-01-01 phone", "2026-01-02 phone"] {
            place.approvers.add("alice", key.public_key(), comment).await.unwrap();
        }
        let text = std::fs::read_to_string(place.folder.path().join("own/approvers")).unwrap();
        assert!(text.lines().count() == 1 && text.contains("2026-01-02"), "{text}");
        place.approvers.has_room_for_users().unwrap();

        let filled = |size| format!("{text}{}\n", "#".repeat(size - text.len() - 1));
        place.write("own/approvers", &filled(MAX_FILE / 2 + 1));
        assert!(
            place
                .approvers
                .has_room_for_users()
                .unwrap_err()
                .to_string()
                .contains("own/approvers is half full")
        );
        place.approvers.add("bob", other.public_key(), "phone").await.unwrap();
        place.write("own/approvers", &filled(MAX_FILE));
        let full = place.approvers.add("bob", other.public_key(), "phone").await.unwrap_err();
        assert!(full.to_string().contains("own/approvers is full"), "{full}");
        assert_eq!(place.may("alice", &key), Ok(()));
        place.approvers.revoke(key.public_key()).await.unwrap();
        assert!(place.may("alice", &key).is_err());
    }

    #[tokio::test]
    async fn a_key_that_is_taken_from_one_user_goes_on_for_the_other() {
        let place = Place::new();
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        for (user, key) in [("alice", &key), ("alicia", &key), ("bob", &key), ("alice", &other)] {
            place.approvers.add(user, key.public_key(), "alice").await.unwrap();
        }
        place.approvers.remove("alice", key.public_key()).await.unwrap();
        assert!(place.may("alice", &key).unwrap_err().contains("not listed"));
        for (user, key) in [("alicia", &key), ("bob", &key), ("alice", &other)] {
            assert_eq!(place.may(user, key), Ok(()), "{user}");
        }
        assert!(!place.approvers.is_revoked(key.public_key()));
        // It may be paired again.
        place.approvers.add("alice", key.public_key(), "alice").await.unwrap();
        assert_eq!(place.may("alice", &key), Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_is_a_pattern_never_reaches_the_file() {
        let place = Place::new();
        for name in ["*", "a,root", "!root", "a b", "", "root\n"] {
            assert!(place.approvers.add(name, SigningKey::generate().public_key(), "").await.is_err());
        }
        assert!(!place.folder.path().join("own/approvers").exists());
        // Nor does a comment that would be a line of its own.
        let key = SigningKey::generate();
        let comment = format!("x\nroot {}", key.public_key().to_line());
        place.approvers.add("alice", key.public_key(), &comment).await.unwrap();
        assert!(place.may("root", &key).is_err());
    }

    #[tokio::test]
    async fn the_administrators_files_hold_and_changes_are_seen_at_once() {
        let place = Place::new();
        let key = SigningKey::generate();
        let line = key.public_key().to_line();
        place.write("etc/approvers", &format!("alice {line}\n"));
        assert_eq!(place.may("alice", &key), Ok(()));
        place.write("etc/approvers", "# nobody\n");
        assert!(place.may("alice", &key).is_err());
        place.write("etc/approvers", &format!("alice {line}\n"));
        place.write("etc/revoked", &format!("{line}\n"));
        assert!(place.may("alice", &key).is_err());
        std::fs::remove_file(place.folder.path().join("etc/revoked")).unwrap();
        assert_eq!(place.may("alice", &key), Ok(()));
    }

    #[tokio::test]
    async fn a_faulty_file_lets_nobody_in() {
        let place = Place::new();
        let key = SigningKey::generate();
        let line = key.public_key().to_line();
        place.write("etc/approvers", &format!("alice {line}\nthis is no line\n"));
        assert!(place.may("alice", &key).is_err());
        // The other file still counts, but for the revoked keys that nobody can read.
        place.approvers.add("alice", key.public_key(), "").await.unwrap();
        assert_eq!(place.may("alice", &key), Ok(()));
        place.write("etc/revoked", "SHA256:abc\n");
        assert!(place.may("alice", &key).unwrap_err().contains("nobody may approve"));
        assert!(place.approvers.is_revoked(key.public_key()));
        place.write("etc/revoked", "");
        let path = place.folder.path().join("own/approvers");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(place.may("alice", &key).is_err());
        assert!(place.approvers.add("alice", key.public_key(), "").await.is_err());
    }

    /// No file of revoked keys is one thing, not to know whether there is one another.
    #[tokio::test]
    async fn a_folder_that_cannot_be_looked_into_is_not_an_empty_one() {
        let place = Place::new();
        let key = SigningKey::generate();
        place.approvers.add("alice", key.public_key(), "").await.unwrap();
        assert_eq!(place.may("alice", &key), Ok(()));
        let etc = place.folder.path().join("etc");
        std::fs::remove_dir(&etc).unwrap();
        std::fs::write(&etc, "").unwrap();
        assert!(place.may("alice", &key).unwrap_err().contains("nobody may approve"));
        assert!(place.approvers.is_revoked(key.public_key()));
        std::fs::remove_file(&etc).unwrap();
        std::fs::create_dir(&etc).unwrap();
        assert_eq!(place.may("alice", &key), Ok(()));
    }

    /// Set for the process that this test starts, to be out of descriptors alone.
    const ALONE: &str = "COUNTERSIGN_TEST_OUT_OF_DESCRIPTORS";

    #[test]
    fn what_cannot_be_read_for_a_moment_is_read_again() {
        if std::env::var_os(ALONE).is_none() {
            let name = "approvers::tests::what_cannot_be_read_for_a_moment_is_read_again";
            let mut test = std::process::Command::new(std::env::current_exe().unwrap());
            let done = test.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(done.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let place = Place::new();
        let key = SigningKey::generate();
        let line = key.public_key().to_line();
        place.write("etc/approvers", &format!("alice {line}\n"));
        place.write("etc/revoked", "# nobody\n");
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
        let (refused, ended) = (place.may("alice", &key), place.approvers.is_revoked(key.public_key()));
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert!(refused.unwrap_err().contains("nobody may approve") && ended);
        assert_eq!(place.may("alice", &key), Ok(()));
    }
}
