//! Which keys may decide for whom: the two approvers files and the two files of revoked keys.
//!
//! One pair is the administrator's and only read, the other is written here alone. A faulty
//! approvers file lets nobody approve; a faulty file of revoked keys lets nobody approve at all.

mod certified;
mod watched;

use crate::files::{self, FileFault, Owner, Store};
use crate::log::Log;
use countersign_protocol::keys::PublicKey;
use countersign_protocol::message::namespace;
use countersign_protocol::signers::{AllowedSigners, Certificates, Line, LineFault, MAX_FILE, Revoked};
use countersign_protocol::sshsig::Signed;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use watched::Watched;

/// The approvers and the revoked keys as the files say them now.
pub struct Approvers {
    allowed: [Watched<AllowedSigners>; 2],
    revoked: [Watched<Revoked>; 2],
    /// The administrator's copies of devices' certificates.
    certificates: Watched<Certificates>,
    own: OwnFiles,
    /// Users and ids of the keys whose end is written down and not yet done.
    ending: RefCell<Vec<(String, String)>>,
    log: Log,
    /// How often it was asked whether a key may decide.
    #[cfg(test)]
    pub(crate) asked: std::cell::Cell<usize>,
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
    look("certificates", &|text| Certificates::parse(text).err());
    faults
}

/// What will be wrong with them before long, a line each.
#[must_use]
pub fn warnings(folder: &Path, owner: Owner) -> Vec<String> {
    let path = folder.join("certificates");
    // What is wrong now is among the faults.
    let Ok(text) = files::read_trusted(&path, owner, MAX_FILE) else { return Vec::new() };
    let certificates = Certificates::parse(&text).ok();
    let warning = certificates.and_then(|certificates| certified::fullness(&certificates, text.len()));
    warning.map(|warning| format!("{}: {warning}", path.display())).into_iter().collect()
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
        let certificates = Watched::new(
            administrator.join("certificates"),
            root,
            Certificates::parse,
            "nobody is named by its principals",
        )
        .warning(certified::fullness);
        let revoked =
            |path: PathBuf, owner| Watched::new(path, owner, Revoked::parse, "nobody can approve at all");
        Self {
            allowed: [
                allowed(administrator.join("approvers"), root),
                allowed(own.approvers.path.clone(), owner),
            ],
            revoked: [revoked(administrator.join("revoked"), root), revoked(own.revoked.path.clone(), owner)],
            certificates,
            own,
            ending: RefCell::default(),
            log,
            #[cfg(test)]
            asked: std::cell::Cell::default(),
        }
    }

    /// What is wrong with the administrator's files now, a line each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let folder = self.certificates.path.parent().unwrap_or(Path::new("/"));
        faults(folder, self.certificates.owner)
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
        #[cfg(test)]
        self.asked.set(self.asked.get() + 1);
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

#[cfg(test)]
mod tests;
