//! What the module knows of a login, checked and put into [`Begin`].

use crate::{host, peer, polkit};
use countersign_protocol::login::{
    Begin, MAX_COMMAND, MAX_NAME, MAX_SSH_AUTH_INFO, Peer, Session, Stage, VERSION,
};
use nix::unistd::{geteuid, getsid};
use std::io::Read;
use std::os::fd::OwnedFd;
use zeroize::Zeroizing;

/// Longest `/proc/PID/stat` that is read; what is asked of it stands in its first half.
const MAX_STAT: u64 = 1024;
/// Which word behind the name, that is in brackets, is the start time.
const STARTED: usize = 19;
/// The same of its terminal.
const TERMINAL: usize = 4;
/// Longest token that is handed on.
const MAX_TOKEN: usize = 256;

/// Copies of the PAM items: a conversation may replace what libpam holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Items {
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) service: Option<Vec<u8>>,
    pub(crate) remote_host: Option<Vec<u8>>,
    pub(crate) remote_user: Option<Vec<u8>>,
    pub(crate) terminal: Option<Vec<u8>>,
    pub(crate) ssh_auth_info: Option<Vec<u8>>,
}

/// An item that cannot be told to the daemon. What could not be shown truthfully is not asked about.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum BadItem {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{0} is not UTF-8")]
    NotText(&'static str),
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
}

/// What the calling process itself tells.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// Effective uid 0: may use the daemon's root socket.
    pub(crate) root: bool,
    /// The far end of sshd's connection.
    pub(crate) peer: Option<Peer>,
    /// That connection's socket, or that of polkit's agent, to notice when the client is gone.
    pub(crate) socket: Option<OwnedFd>,
    /// The command line of a set-uid program.
    pub(crate) command_line: Option<String>,
    /// Whose agent speaks with polkit's helper.
    pub(crate) agent: Option<String>,
    /// The terminal of a set-uid program.
    pub(crate) terminal: Option<String>,
    /// The session that a set-uid program was started in.
    pub(crate) session: Option<Session>,
}

impl Caller {
    /// Looks at the calling process.
    pub(crate) fn look(service: &str) -> Self {
        let root = geteuid().is_root();
        let set_uid = host::is_set_uid();
        // A user who starts a set-uid program chooses its open files, and so could show it any peer.
        let connection = (root && !set_uid && service.starts_with("sshd")).then(peer::find).flatten();
        let (peer, socket) = connection.unzip();
        let session = (root && set_uid).then(own_session).flatten();
        if root && service == polkit::SERVICE {
            let agent = polkit::Agent::look(set_uid);
            let terminal = set_uid.then(own_terminal).flatten();
            // The helper's command line is its own name and the user's: nothing of what is to be done.
            return Self {
                root,
                socket: agent.socket,
                session,
                agent: agent.user,
                terminal,
                ..Self::default()
            };
        }
        let command_line = set_uid.then(own_command_line).flatten();
        Self { root, peer, socket, command_line, session, agent: None, terminal: None }
    }
}

/// The session of this process; none if its leader is outside of this PID namespace, as in some containers.
fn own_session() -> Option<Session> {
    session_of(getsid(None).ok()?.as_raw())
}

/// The session that a process leads, with its start: the number alone would soon be another's.
fn session_of(leader: i32) -> Option<Session> {
    Some(Session { leader, started: word(&stat(&leader.to_string())?, STARTED)? })
}

/// The terminal that this process was started on; none in a desktop's agent.
fn own_terminal() -> Option<String> {
    terminal_name(word(&stat("self")?, TERMINAL)?)
}

/// The name of a terminal by the kernel's number for it: of a pseudo-terminal or a console.
fn terminal_name(device: u32) -> Option<String> {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match (major, minor) {
        (136..=143, minor) => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        (4, 1..=63) => Some(format!("tty{minor}")),
        _ => None,
    }
}

fn stat(process: &str) -> Option<Vec<u8>> {
    let file = std::fs::File::open(format!("/proc/{process}/stat")).ok()?;
    let mut stat = Vec::with_capacity(MAX_STAT as usize);
    file.take(MAX_STAT).read_to_end(&mut stat).ok()?;
    Some(stat)
}

/// A word of a `/proc/PID/stat`, counted behind the name. That is the process's own choice, brackets and all.
fn word<T: std::str::FromStr>(stat: &[u8], number: usize) -> Option<T> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after..)?).ok()?;
    rest.split_ascii_whitespace().nth(number)?.parse().ok()
}

/// The arguments of this process, for a person to read: whoever started it can write anything there.
fn own_command_line() -> Option<String> {
    let mut bytes = Vec::with_capacity(MAX_COMMAND);
    let file = std::fs::File::open("/proc/self/cmdline").ok()?;
    file.take(MAX_COMMAND as u64).read_to_end(&mut bytes).ok()?;
    command_text(bytes)
}

pub(crate) fn command_text(mut bytes: Vec<u8>) -> Option<String> {
    for byte in &mut bytes {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // The limit cut a character in two.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_end_matches(' ');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Describes a login. The caller adds what [`Caller`] knows by [`add_caller`].
pub(crate) fn begin(
    stage: Stage,
    items: Items,
    silent: bool,
    token: Option<Zeroizing<Vec<u8>>>,
) -> Result<Begin, BadItem> {
    let name = |bytes, item| text(bytes, item, MAX_NAME);
    Ok(Begin {
        version: VERSION,
        stage,
        service: name(items.service, "PAM_SERVICE")?.ok_or(BadItem::Missing("PAM_SERVICE"))?,
        user: name(items.user, "PAM_USER")?.ok_or(BadItem::Missing("PAM_USER"))?,
        remote_host: name(items.remote_host, "PAM_RHOST")?,
        remote_user: name(items.remote_user, "PAM_RUSER")?,
        terminal: name(items.terminal, "PAM_TTY")?,
        ssh_auth_info: text(items.ssh_auth_info, "SSH_AUTH_INFO_0", MAX_SSH_AUTH_INFO)?,
        command_line: None,
        peer: None,
        session: None,
        silent,
        token: token.and_then(|token| token_text(&token)),
        passwordless: false,
        action: None,
    })
}

/// Adds what the calling process tells.
pub(crate) fn add_caller(begin: &mut Begin, caller: &mut Caller) {
    begin.peer = caller.peer;
    begin.command_line = caller.command_line.take();
    begin.session = caller.session.take();
    begin.terminal = begin.terminal.take().or_else(|| caller.terminal.take());
    // polkit's helper names the account there that it checks, once more.
    begin.remote_user = caller.agent.take().or_else(|| begin.remote_user.take());
}

/// An item as text; an empty one counts as not set.
fn text(bytes: Option<Vec<u8>>, item: &'static str, max: usize) -> Result<Option<String>, BadItem> {
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    if bytes.len() > max {
        return Err(BadItem::TooLong(item, max));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| BadItem::NotText(item))
}

/// A token as the daemon makes them. Anything else in that variable is not ours and stays here: the
/// login is asked about as if it were not there.
fn token_text(bytes: &[u8]) -> Option<Zeroizing<String>> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|token| is_token(token))
        .map(|token| Zeroizing::new(token.to_owned()))
}

/// Whether a text may be kept as a token in an environment variable.
pub(crate) fn is_token(token: &str) -> bool {
    (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Items {
        Items { user: Some(b"alice".into()), service: Some(b"sshd".into()), ..Items::default() }
    }

    #[test]
    fn empty_items_are_absent() {
        let some = Items { remote_host: Some(vec![]), terminal: Some(b"ssh".into()), ..items() };
        let begin = begin(Stage::Auth, some, true, None).unwrap();
        assert_eq!((begin.user.as_str(), begin.service.as_str()), ("alice", "sshd"));
        assert_eq!((begin.remote_host, begin.terminal), (None, Some("ssh".to_owned())));
        assert!(begin.silent);
    }

    #[test]
    fn bad_items_are_named() {
        let refused = |items| begin(Stage::Auth, items, false, None).unwrap_err();
        assert_eq!(refused(Items { user: None, ..items() }), BadItem::Missing("PAM_USER"));
        assert_eq!(refused(Items { user: Some(vec![]), ..items() }), BadItem::Missing("PAM_USER"));
        assert_eq!(refused(Items { service: None, ..items() }), BadItem::Missing("PAM_SERVICE"));
        assert_eq!(refused(Items { user: Some(b"a\xff".into()), ..items() }), BadItem::NotText("PAM_USER"));
        let long = Some(vec![b'x'; MAX_NAME + 1]);
        assert_eq!(refused(Items { remote_host: long, ..items() }), BadItem::TooLong("PAM_RHOST", MAX_NAME));
        let long = Some(vec![b'x'; MAX_SSH_AUTH_INFO + 1]);
        let too_long = BadItem::TooLong("SSH_AUTH_INFO_0", MAX_SSH_AUTH_INFO);
        assert_eq!(refused(Items { ssh_auth_info: long, ..items() }), too_long);
        assert!(
            begin(Stage::Auth, Items { terminal: Some(vec![b'x'; MAX_NAME]), ..items() }, false, None)
                .is_ok()
        );
    }

    #[test]
    fn foreign_tokens_stay_here() {
        let token = |bytes: &[u8]| {
            begin(Stage::Session, items(), false, Some(Zeroizing::new(bytes.into()))).unwrap().token
        };
        assert_eq!(token(b"abc-_123").unwrap().as_str(), "abc-_123");
        for bad in [&b""[..], b"a b", b"a\n", b"\xff", &[b'x'; MAX_TOKEN + 1]] {
            assert_eq!(token(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_session_is_its_leaders_number_and_start() {
        let leader = std::process::id().cast_signed();
        let own = session_of(leader).unwrap();
        assert_eq!((own.leader, session_of(leader)), (leader, Some(own)));
        assert_eq!(session_of(0), None, "what getsid says of a leader outside of the PID namespace");
        assert_eq!(own_session(), session_of(getsid(None).unwrap().as_raw()));
        let tail = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 1";
        for name in ["bash", "a) S 1 7 7 0", "(x", ") "] {
            let stat = format!("7 ({name}) {tail}");
            assert_eq!(word(stat.as_bytes(), STARTED), Some(12345_u64), "{name}");
        }
        for bad in
            ["", "7 (bash", "7 (bash) S 1 7", "7 (bash) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 x"]
        {
            assert_eq!(word::<u64>(bad.as_bytes(), STARTED), None, "{bad}");
        }
    }

    #[test]
    fn terminals_have_the_names_that_people_know() {
        for (device, name) in [
            (0x8803, Some("pts/3")),
            (0x8901, Some("pts/257")),
            (0x10_8802, Some("pts/258")),
            (0x0401, Some("tty1")),
            (0x0440, None),
            (0x0501, None),
            (0, None),
        ] {
            assert_eq!(terminal_name(device).as_deref(), name, "{device:#x}");
        }
    }

    #[test]
    fn polkits_agent_stands_in_place_of_what_its_helper_says() {
        let said = Items { remote_user: Some(b"alice".into()), terminal: Some(b"tty7".into()), ..items() };
        let mut told = begin(Stage::Auth, said, false, None).unwrap();
        add_caller(&mut told, &mut Caller::default());
        assert_eq!((told.remote_user.as_deref(), told.terminal.as_deref()), (Some("alice"), Some("tty7")));
        let agent =
            || Caller { agent: Some("bob".into()), terminal: Some("pts/3".into()), ..Caller::default() };
        add_caller(&mut told, &mut agent());
        assert_eq!((told.remote_user.as_deref(), told.terminal.as_deref()), (Some("bob"), Some("tty7")));
        let mut told = begin(Stage::Auth, items(), false, None).unwrap();
        add_caller(&mut told, &mut agent());
        assert_eq!(told.terminal.as_deref(), Some("pts/3"));
    }

    #[test]
    fn command_lines_are_text_or_absent() {
        let text = |bytes: &[u8]| command_text(bytes.into());
        assert_eq!(text(b"sudo\0-u\0root\0id\0").as_deref(), Some("sudo -u root id"));
        assert_eq!(text("sudo\0caf\u{e9}".as_bytes()).as_deref(), Some("sudo caf\u{e9}"));
        assert_eq!(text(b"sudo\0caf\xc3").as_deref(), Some("sudo caf"));
        assert_eq!(text(b"sudo\0\xff\0id\0"), None);
        assert_eq!(text(b"\0\0"), None);
    }
}
