//! The two sockets: handed over by systemd, or bound here.

use listenfd::ListenFd;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The socket for root's programs.
pub const ROOT: &str = "pam";
/// The socket for everybody.
pub const EVERYBODY: &str = "self";

/// Both, listening.
#[derive(Debug)]
pub struct Sockets {
    /// Only root can connect.
    pub root: UnixListener,
    /// Everybody can.
    pub everybody: UnixListener,
    /// Whether systemd handed them over.
    pub by_systemd: bool,
}

/// Takes systemd's sockets, or binds both in a directory.
///
/// # Errors
/// Names the socket and says what to do.
pub fn open(run: &Path) -> io::Result<Sockets> {
    let mut handed = ListenFd::from_env();
    let by_systemd = handed.len() > 0;
    let sockets = if by_systemd {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let root = take(&mut handed, &names, ROOT)?;
        Sockets { root, everybody: take(&mut handed, &names, EVERYBODY)?, by_systemd }
    } else {
        make_directory(run)?;
        let root = bind(&run.join("pam.sock"), 0o600)?;
        Sockets { root, everybody: bind(&run.join("self.sock"), 0o666)?, by_systemd }
    };
    sockets.root.set_nonblocking(true)?;
    sockets.everybody.set_nonblocking(true)?;
    Ok(sockets)
}

fn take(handed: &mut ListenFd, names: &str, name: &str) -> io::Result<UnixListener> {
    let missing = || {
        io::Error::other(format!(
            "systemd handed over no socket named {name} (FileDescriptorName=), only \"{names}\""
        ))
    };
    let at = names.split(':').position(|given| given == name).ok_or_else(missing)?;
    handed.take_unix_listener(at)?.ok_or_else(missing)
}

fn make_directory(run: &Path) -> io::Result<()> {
    match std::fs::create_dir(run) {
        Ok(()) => std::fs::set_permissions(run, PermissionsExt::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|error| named(run, error))?;
    // Who can write there could put a link where a socket's mode is set in a moment; and no login would
    // trust the socket.
    let data = std::fs::symlink_metadata(run).map_err(|error| named(run, error))?;
    let is_ours = data.uid() == 0 || data.uid() == nix::unistd::geteuid().as_raw();
    if data.is_dir() && is_ours && data.mode() & 0o022 == 0 {
        Ok(())
    } else {
        let why =
            "it has to be a directory of root's that nobody else can write: chown root DIR, chmod 755 DIR";
        Err(named(run, io::Error::other(why)))
    }
}

fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    remove_stale(path).map_err(|error| named(path, error))?;
    // Nobody connects between binding and setting the mode: connecting needs write permission.
    let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    nix::sys::stat::umask(old);
    let listener = bound.map_err(|error| named(path, error))?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(|error| named(path, error))?;
    Ok(listener)
}

/// Removes what an earlier daemon left, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let data = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        data => data?,
    };
    if !data.file_type().is_socket() || data.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("something that is not this daemon's socket is there; move it away"));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::other("another countersignd serves it; stop that one first"));
    }
    std::fs::remove_file(path)
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
