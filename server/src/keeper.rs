//! Whose the server's files are. Root works on them as the user that keeps them, so that nothing is left
//! behind that this user's server could not read; and reads no file of another user's as root.

use crate::config::DATABASE;
use nix::unistd::{Gid, Uid, User, geteuid, getresuid, setgroups, setresgid, setresuid};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;

/// The account that the packages make.
const ACCOUNT: &str = "countersign-server";

/// Another user than root, whom root becomes.
pub(crate) struct Keeper {
    uid: Uid,
    gid: Gid,
}

/// The user whose file it is, where this is root and that is another.
pub(crate) fn owner(file: &Path) -> Option<Keeper> {
    // What is wrong with it is told where it is read.
    let data = std::fs::symlink_metadata(file).ok()?;
    Keeper::beside_root(data.uid(), data.gid())
}

/// The user that keeps a database: its own, or, where there is none yet, that of its directory. Nobody where
/// a third one has it, which is refused when it is opened.
pub(crate) fn of(database: &Path) -> Option<Keeper> {
    let around = std::fs::metadata(directory_of(database)).ok()?;
    let theirs = std::fs::symlink_metadata(database).map_or(true, |data| data.uid() == around.uid());
    Keeper::beside_root(around.uid(), around.gid()).filter(|_| theirs)
}

impl Keeper {
    fn beside_root(uid: u32, gid: u32) -> Option<Self> {
        (geteuid().is_root() && uid != 0).then(|| Self { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) })
    }

    /// Becomes that user, with no way back.
    pub(crate) fn become_it(self) -> io::Result<()> {
        let uid = self.uid;
        let gid = User::from_uid(uid)?.map_or(self.gid, |user| user.gid);
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        // Whoever can go back has not left.
        let left = getresuid()?;
        let back = setresuid(uid, Uid::from_raw(0), uid).is_ok();
        if back || [left.real, left.effective, left.saved] != [uid; 3] {
            return Err(io::Error::other("root was not given up"));
        }
        Ok(())
    }
}

/// Makes the usual place of the database, as the service manager would, where root starts the server by hand.
pub(crate) fn make_place(database: &Path) -> io::Result<()> {
    let directory = directory_of(database);
    if database != Path::new(DATABASE) || directory.exists() || !geteuid().is_root() {
        return Ok(());
    }
    std::fs::DirBuilder::new().mode(0o700).create(directory)?;
    match User::from_name(ACCOUNT)? {
        Some(user) => chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
        None => Ok(()),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."))
}
