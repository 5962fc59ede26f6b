//! Who sits in front of polkit's helper. The helper is told the account whose password it checks, and nothing of who
//! has asked for it; the kernel knows whose agent has started it, or is at the other end of its socket.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, User, getuid};
use std::os::fd::{AsFd, OwnedFd};

use crate::host;

/// The service that polkit's helper calls.
pub(crate) const SERVICE: &str = "polkit-1";
/// Standard input: the agent's connection, where systemd has started the helper.
const STDIN: i32 = 0;

/// The authentication agent.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    /// Whose it is. None if the name service does not know.
    pub(crate) user: Option<String>,
    /// Its connection, to notice when its dialog is closed: unlike a set-uid helper, nobody kills the one that
    /// systemd has started.
    pub(crate) socket: Option<OwnedFd>,
}

impl Agent {
    /// Looks at the helper that this process is. A set-uid one was started by its agent, who chose its open files; the
    /// other one is root's own, and what stands on its standard input was accepted by systemd.
    pub(crate) fn look(set_uid: bool) -> Self {
        if set_uid {
            return Self { user: name_of(getuid()), socket: None };
        }
        let Some((uid, socket)) = host::duplicate(STDIN).and_then(peer_of) else { return Self::default() };
        Self { user: name_of(uid), socket: Some(socket) }
    }
}

/// The user at the other end of a Unix socket, and the socket; none for anything else.
fn peer_of(socket: OwnedFd) -> Option<(Uid, OwnedFd)> {
    let peer = getsockopt(&socket.as_fd(), PeerCredentials).ok()?;
    // Sockets of other families have the option, and nobody in it.
    (peer.pid() > 0).then(|| (Uid::from_raw(peer.uid()), socket))
}

fn name_of(uid: Uid) -> Option<String> {
    User::from_uid(uid).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;

    #[test]
    fn only_a_unix_socket_has_somebody_at_its_end() {
        let (own, _other) = UnixStream::pair().unwrap();
        let (uid, _) = peer_of(own.into()).unwrap();
        assert_eq!(uid, nix::unistd::geteuid());
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(peer_of(udp.into()).is_none());
        assert!(peer_of(std::fs::File::open("/dev/null").unwrap().into()).is_none());
    }

    #[test]
    fn a_set_uid_helper_is_its_real_users() {
        let agent = Agent::look(true);
        assert_eq!(agent.user, name_of(getuid()));
        assert!(agent.socket.is_none());
    }
}
