//! What the tests of the calls share.

use super::Session;
use crate::caller::Caller;
use crate::connection::Connection;
use crate::testing::Lab;
use tokio::net::UnixStream;

/// A session of that caller, and its other end.
pub(super) fn session(lab: &Lab, uid: u32, root_socket: bool) -> (Session, Connection) {
    let (stream, peer) = UnixStream::pair().unwrap();
    let caller = Caller { uid, gid: uid, pid: None, root_socket };
    (Session::new(&lab.app, caller, Connection::new(stream)), Connection::new(peer))
}
