//! Doors to what is private, for the fuzz targets in `fuzz/`: a whole login, on a host process that is made up and a socket
//! whose far end says what it likes.

use crate::args::Arguments;
use crate::client::{Connection, Daemon, Lost};
use crate::facts::{self, Caller, Items};
use crate::story::{self, Host};
use countersign_protocol::frame::END;
use countersign_protocol::login::{Call, Stage, Step, Style};
use libc::c_int;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use zeroize::Zeroizing;

/// What the application and the process tell.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// PAM_USER, and as it is after the wait.
    pub users: [Option<Vec<u8>>; 2],
    /// PAM_SERVICE.
    pub service: Option<Vec<u8>>,
    /// PAM_RHOST.
    pub remote_host: Option<Vec<u8>>,
    /// PAM_RUSER.
    pub remote_user: Option<Vec<u8>>,
    /// PAM_TTY.
    pub terminal: Option<Vec<u8>>,
    /// SSH_AUTH_INFO_0.
    pub ssh_auth_info: Option<Vec<u8>>,
    /// `/proc/self/cmdline`.
    pub command_line: Vec<u8>,
    /// The grant of the `auth` stage.
    pub token: Option<Vec<u8>>,
    /// What is typed at every prompt; nothing where the application cannot ask.
    pub answer: Option<Vec<u8>>,
    /// What the daemon sends after each call.
    pub replies: VecDeque<Vec<u8>>,
}

/// What came of a login.
#[derive(Debug, Default)]
pub struct Seen {
    /// PAM's result; 0 lets in.
    pub result: i32,
    /// What the application was to show and to ask.
    pub shown: Vec<String>,
    /// What went to the system log.
    pub logged: Vec<String>,
    /// What was kept for the session stage.
    pub kept: Option<String>,
}

/// Whether the module understands its arguments.
#[must_use]
pub fn is_understood(arguments: &[&CStr]) -> bool {
    Arguments::parse(arguments).is_ok()
}

/// A login from start to end.
#[must_use]
pub fn login(session: bool, arguments: &[&CStr], told: Told) -> Seen {
    let mut host = Process { told, seen: RefCell::default() };
    let stage = if session { Stage::Session } else { Stage::Auth };
    let result = story::guarded(&mut host, stage, arguments);
    Seen { result: result as i32, ..host.seen.into_inner() }
}

struct Process {
    told: Told,
    seen: RefCell<Seen>,
}

/// The far end of the socket.
struct FarEnd {
    connection: Connection,
    peer: UnixStream,
    replies: VecDeque<Vec<u8>>,
}

impl Daemon for FarEnd {
    fn call(&mut self, call: &Call) -> Result<Step, Lost> {
        let reply = self.replies.pop_front().unwrap_or_default();
        // What is no whole frame ends with the connection, or it would be waited for.
        let is_whole = reply.contains(&END);
        if self.peer.write_all(&reply).is_err() || !is_whole {
            let _ = self.peer.shutdown(Shutdown::Write);
        }
        self.connection.call(call)
    }
}

impl Host for Process {
    type Daemon = FarEnd;

    fn items(&mut self) -> Items {
        Items {
            user: self.told.users[0].clone(),
            service: self.told.service.clone(),
            remote_host: self.told.remote_host.clone(),
            remote_user: self.told.remote_user.clone(),
            terminal: self.told.terminal.clone(),
            ssh_auth_info: self.told.ssh_auth_info.clone(),
        }
    }

    fn user(&self) -> Option<Vec<u8>> {
        self.told.users[1].clone()
    }

    fn caller(&mut self, _: &str) -> Caller {
        let command_line = facts::command_text(self.told.command_line.clone());
        Caller { root: true, command_line, ..Caller::default() }
    }

    fn connect(&mut self, path: &Path, _: Caller) -> Result<FarEnd, Lost> {
        let (own, peer) = UnixStream::pair().map_err(|_| Lost::NobodyListens(path.display().to_string()))?;
        let connection = Connection::over(own.into())?;
        Ok(FarEnd { connection, peer, replies: std::mem::take(&mut self.told.replies) })
    }

    fn silent(&self) -> bool {
        false
    }

    fn tells_by_prompt(&mut self) -> bool {
        true
    }

    fn say(&mut self, _: Style, text: &str) {
        self.seen.borrow_mut().shown.push(text.to_owned());
    }

    fn ask(&mut self, text: &str) -> Option<Zeroizing<String>> {
        self.seen.borrow_mut().shown.push(text.to_owned());
        self.told.answer.as_deref().map(crate::host::typed)
    }

    fn take_token(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        self.told.token.take().map(Zeroizing::new)
    }

    fn keep_token(&mut self, token: &str) -> bool {
        self.seen.borrow_mut().kept = Some(token.to_owned());
        true
    }

    fn log(&self, _: c_int, line: &str) {
        self.seen.borrow_mut().logged.push(line.to_owned());
    }
}
