//! Giving up root, and keeping secrets out of core files.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, User, getresuid, setgroups, setresgid, setresuid};
use std::io;

/// No core file, no other process of the same user reads this one's memory, and nothing that is
/// executed gains rights.
///
/// # Errors
/// When the system refuses.
pub fn harden() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)?;
    prctl::set_no_new_privs()?;
    Ok(())
}

/// As many open files as the system grants: each waiting login is one.
///
/// # Errors
/// When the system refuses.
pub fn raise_file_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// The user to become.
///
/// # Errors
/// When there is none of that name, or it is root.
pub fn find(name: &str) -> io::Result<User> {
    let user = User::from_name(name)?
        .ok_or_else(|| io::Error::other(format!("--user {name}: there is no such user")))?;
    if user.uid.is_root() {
        return Err(io::Error::other(format!("--user {name}: that is root")));
    }
    Ok(user)
}

/// Becomes that user, with no way back. [`harden`] belongs after it: the kernel forgets some of it
/// when ids change.
///
/// # Errors
/// When anything of it did not happen. The process must end then.
pub fn become_user(user: &User) -> io::Result<()> {
    setgroups(&[])?;
    setresgid(user.gid, user.gid, user.gid)?;
    setresuid(user.uid, user.uid, user.uid)?;
    // Whoever can go back has not left.
    let left = getresuid()?;
    let back = setresuid(Uid::from_raw(u32::MAX), Uid::from_raw(0), Uid::from_raw(u32::MAX)).is_ok()
        || setresgid(Gid::from_raw(u32::MAX), Gid::from_raw(0), Gid::from_raw(u32::MAX)).is_ok();
    if back || [left.real, left.effective, left.saved].iter().any(|uid| *uid != user.uid) {
        return Err(io::Error::other("root was not given up"));
    }
    Ok(())
}
