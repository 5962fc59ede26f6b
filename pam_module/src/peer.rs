//! The far end of the TCP connection that sshd serves, as the kernel knows it.
//!
//! PAM_RHOST may be a name from the client's own DNS. The socket that sshd inherited cannot lie, unless
//! somebody else chose the process's open files; [`crate::facts`] decides when to look.

use crate::host;
use countersign_protocol::login::Peer;
use nix::sys::socket::{SockType, SockaddrStorage, getpeername, getsockopt, sockopt};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};

/// No sshd has that many descriptors; past them the search ends without a result.
const MAX_DESCRIPTORS: usize = 1024;

/// The one peer of the process's connected TCP sockets, and its socket. None if there are several
/// different ones or `/proc` is not there.
pub(crate) fn find() -> Option<(Peer, OwnedFd)> {
    let mut found: Option<(Peer, OwnedFd)> = None;
    for (count, entry) in std::fs::read_dir("/proc/self/fd").ok()?.enumerate() {
        if count >= MAX_DESCRIPTORS {
            return None;
        }
        let Some(fd) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok()) else {
            continue;
        };
        let Some((peer, socket)) = peer_of(fd) else { continue };
        match &found {
            None => found = Some((peer, socket)),
            // The same connection under another number.
            Some((known, _)) if *known == peer => {}
            Some(_) => return None,
        }
    }
    found
}

fn peer_of(fd: RawFd) -> Option<(Peer, OwnedFd)> {
    let address: SockaddrStorage = getpeername(fd).ok()?;
    let address = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::from(*v4))
        .or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)))?;
    let socket = host::duplicate(fd)?;
    if getsockopt(&socket, sockopt::SockType) != Ok(SockType::Stream) {
        return None;
    }
    Some((Peer { address: plain(address.ip()), port: address.port() }, socket))
}

/// An IPv4 address that came in over an IPv6 socket, as IPv4.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;

    #[test]
    fn tcp_has_a_peer_and_nothing_else_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let expected = client.local_addr().unwrap();
        let (peer, _) = peer_of(accepted.as_raw_fd()).unwrap();
        assert_eq!((peer.address, peer.port), (expected.ip(), expected.port()));

        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect(listener.local_addr().unwrap()).unwrap();
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for fd in [listener.as_raw_fd(), udp.as_raw_fd(), unix.as_raw_fd(), file.as_raw_fd()] {
            assert!(peer_of(fd).is_none());
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mapped = IpAddr::V6("::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap());
        assert_eq!(plain(mapped), "192.0.2.7".parse::<IpAddr>().unwrap());
        let v6 = "2001:db8::1".parse::<IpAddr>().unwrap();
        assert_eq!(plain(v6), v6);
    }
}
