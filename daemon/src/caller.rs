//! Who is at the other end of a socket.

/// A peer as the kernel names it, never as it names itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its effective user when it connected.
    pub uid: u32,
    /// Its effective group when it connected.
    pub gid: u32,
    /// Its process, for the log only: the number may belong to somebody else by now.
    pub pid: Option<i32>,
    /// Whether it came by the socket that only root can open, and is root.
    pub root_socket: bool,
}
