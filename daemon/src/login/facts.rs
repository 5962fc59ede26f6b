//! What is known of a login before anybody is asked, and whose word it is.

use base64ct::{Base64, Encoding};
use countersign_policy::services;
use countersign_protocol::digest;
use std::rc::Rc;

use countersign_protocol::login::{
    ASK_SERVICE, Action, Begin, MAX_COMMAND, MAX_NAME, MAX_ORIGINS, MAX_SSH_AUTH_INFO, Session, Stage,
    VERSION,
};
use countersign_protocol::message::{Context, Kind, MAX_DETAIL, MAX_LIST, Remote, RemoteSource, SshKey};
use zeroize::Zeroizing;

use super::list::ListText;
use crate::caller::Caller;
use crate::person::Person;

/// A login's facts, checked for size and shape.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The PAM function.
    pub stage: Stage,
    /// PAM_SERVICE.
    pub service: String,
    /// PAM_USER, as the application gave it.
    pub user: String,
    /// PAM_RUSER.
    pub requester: Option<String>,
    /// PAM_TTY.
    pub terminal: Option<String>,
    /// Where from, and who says so.
    pub remote: Option<Remote>,
    /// The key that sshd accepted.
    pub ssh_key: Option<SshKey>,
    /// The calling process's command line.
    pub command: Option<String>,
    /// What is to be done, where it is no command.
    pub action: Option<String>,
    /// The same in words.
    pub detail: Option<String>,
    /// Where what is to be done comes from.
    pub origins: Vec<String>,
    /// What it is to be done to, once that was read.
    pub list: Option<Rc<ListText>>,
    /// The session that a set-uid caller was started in.
    pub session: Option<Session>,
    /// What kind of thing it is.
    pub kind: Kind,
    /// What this host knows beside that.
    pub context: Option<Context>,
    /// Nothing but prompts may be shown.
    pub silent: bool,
    /// A grant of the `auth` stage.
    pub token: Option<Zeroizing<String>>,
    /// No password goes before: only a rule that says so lets in. Anybody may say it of themselves, as it only narrows.
    pub passwordless: bool,
    /// The calling process's effective uid, from the kernel.
    pub uid: u32,
    /// Whether it came by the root socket.
    pub by_root: bool,
}

/// Room for a command line in a request, as JSON. With it a request keeps below its limit, so that a
/// long command is asked about instead of refused.
const COMMAND_ROOM: usize = 1000;

impl Facts {
    /// Checks what a caller says. What somebody who is not root says of keys, grants and addresses
    /// is not believed at all.
    ///
    /// # Errors
    /// Says which field is unusable.
    pub fn new(begin: Begin, caller: &Caller) -> Result<Self, String> {
        if begin.version != VERSION {
            return Err(format!("the module speaks version {}, this daemon {VERSION}", begin.version));
        }
        check("service", &begin.service, MAX_NAME)?;
        check("user", &begin.user, MAX_NAME)?;
        for (name, value, most) in [
            ("remote host", &begin.remote_host, MAX_NAME),
            ("remote user", &begin.remote_user, MAX_NAME),
            ("terminal", &begin.terminal, MAX_NAME),
            ("command line", &begin.command_line, MAX_COMMAND),
            ("SSH_AUTH_INFO_0", &begin.ssh_auth_info, MAX_SSH_AUTH_INFO),
        ] {
            if value.as_ref().is_some_and(|v| v.len() > most) {
                return Err(format!("the {name} is over {most} bytes"));
            }
        }
        let by_root = caller.root_socket;
        let action = action(&begin)?.cloned();
        let is_ask = action.is_some();
        let (action, detail, origins) = action.map_or((None, None, Vec::new()), |action| {
            (Some(action.name), action.detail.filter(|detail| !detail.is_empty()), action.origins)
        });
        Ok(Self {
            kind: if is_ask { Kind::Action } else { kind(&begin.service, by_root) },
            action,
            detail,
            origins,
            list: None,
            remote: if by_root { remote(&begin) } else { None },
            ssh_key: begin.ssh_auth_info.as_deref().filter(|_| by_root).and_then(ssh_key),
            requester: begin.remote_user.filter(|name| by_root && !name.is_empty() && *name != begin.user),
            terminal: begin.terminal.filter(|t| !t.is_empty()),
            command: begin.command_line.filter(|c| !c.is_empty()).map(fitting),
            context: None,
            session: begin.session.filter(|_| by_root),
            token: begin.token.filter(|_| by_root && begin.stage == Stage::Session),
            stage: begin.stage,
            service: begin.service,
            user: begin.user,
            silent: begin.silent,
            passwordless: begin.passwordless,
            uid: caller.uid,
            by_root,
        })
    }

    /// Facts of a test ring.
    #[must_use]
    pub fn of_test(person: &Person) -> Self {
        Self { kind: Kind::Test, action: None, ..Self::of_action(person, "") }
    }

    /// Facts of something that a person asks of the daemon itself.
    #[must_use]
    pub fn of_action(person: &Person, action: &str) -> Self {
        Self {
            stage: Stage::Auth,
            service: "countersign".to_owned(),
            user: person.name.clone(),
            requester: None,
            terminal: None,
            remote: None,
            ssh_key: None,
            command: None,
            action: Some(action.to_owned()),
            detail: None,
            origins: Vec::new(),
            list: None,
            context: None,
            session: None,
            kind: Kind::Action,
            silent: true,
            token: None,
            passwordless: false,
            uid: person.uid,
            by_root: false,
        }
    }

    /// Where the login comes from, for counting: the address, or who asks on this host.
    #[must_use]
    pub fn source(&self) -> String {
        match (&self.remote, &self.requester) {
            (Some(remote), _) => remote.address.clone(),
            // Behind a set-uid program the kernel shows root only.
            (None, Some(requester)) => format!("user {requester}"),
            (None, None) => format!("uid {}", self.uid),
        }
    }

    /// Whether the application prompts at a terminal, so that a prompt which fails was broken off by the
    /// person: sudo takes a Ctrl-C for itself and leaves no signal behind, login hands on a Ctrl-D.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        services::has_terminal(self.kind, &self.service) || (self.is_ask() && self.terminal.is_some())
    }

    /// Whether this is no login: a program asks whether it may do something.
    #[must_use]
    pub fn is_ask(&self) -> bool {
        self.service == ASK_SERVICE
    }

    /// What that is.
    #[must_use]
    pub fn asked_action(&self) -> Option<&str> {
        self.action.as_deref().filter(|_| self.is_ask())
    }

    /// Whether a question gets an answer of its own: not in the session stage, not where the program puts the
    /// password into every prompt, and not where a program asks that has no terminal.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.stage == Stage::Auth
            && !services::has_one_field(&self.service)
            && (!self.is_ask() || self.terminal.is_some())
    }

    /// Whether rows of text come to stand above a prompt as they are said: not so in the windows of greeters and
    /// lockers.
    #[must_use]
    pub fn shows_rows(&self) -> bool {
        self.stage == Stage::Auth && (self.has_terminal() || self.is_sshd())
    }

    /// Whether this is polkit's helper. It is told nothing of the action, and who has asked for it is the kernel's word.
    #[must_use]
    pub fn is_polkit(&self) -> bool {
        self.by_root && services::is_polkit(&self.service)
    }

    /// Whether our question is the first one, and its program shows no text with that.
    #[must_use]
    pub fn hides_first_prompt(&self) -> bool {
        self.passwordless && services::hides_first_prompt(&self.service)
    }

    /// For whom something is to be done, where polkit asks: whose agent it is.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.requester.as_ref().unwrap_or(&self.user)
    }

    /// Whether this is sshd, under whatever name its binary was started: its PAM service is its
    /// own file name.
    #[must_use]
    pub fn is_sshd(&self) -> bool {
        self.by_root && services::is_sshd(&self.service)
    }
}

/// What is asked for, where that is no login. It has a service of its own, so that no rule for logins is one for it.
fn action(begin: &Begin) -> Result<Option<&Action>, String> {
    let Some(action) = &begin.action else {
        return match begin.service.as_str() {
            ASK_SERVICE => {
                Err(format!("the service \"{ASK_SERVICE}\" is for countersign ask, with an action"))
            }
            _ => Ok(None),
        };
    };
    let is_list = |bytes: u32| (1..=MAX_LIST).contains(&usize::try_from(bytes).unwrap_or(usize::MAX));
    let fault = if begin.service != ASK_SERVICE || begin.stage != Stage::Auth {
        format!("an action belongs to the service \"{ASK_SERVICE}\"")
    } else if !Action::is_name(&action.name) {
        "the action's name has other characters than letters, digits, \".\", \"_\" and \"-\", or is too long"
            .to_owned()
    } else if action.detail.as_ref().is_some_and(|detail| detail.len() > MAX_DETAIL) {
        format!("the detail is over {MAX_DETAIL} bytes")
    } else if action.origins.len() > MAX_ORIGINS || !action.origins.iter().all(|one| Action::is_origin(one)) {
        format!("there are more than {MAX_ORIGINS} origins, or one is empty, too long or no plain text")
    } else if !action.list.is_none_or(is_list) {
        format!("the list is empty or over {MAX_LIST} bytes")
    } else {
        return Ok(Some(action));
    };
    Err(fault)
}

fn check(name: &str, value: &str, most: usize) -> Result<(), String> {
    match value.len() {
        0 => Err(format!("the {name} is empty")),
        length if length > most => Err(format!("the {name} is over {most} bytes")),
        _ => Ok(()),
    }
}

/// A command line, cut to its room in a request; a cut one says so.
fn fitting(command: String) -> String {
    let length = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if c.is_ascii_control() => 6,
        c => c.len_utf8(),
    };
    if command.chars().map(length).sum::<usize>() <= COMMAND_ROOM {
        return command;
    }
    let mut room = COMMAND_ROOM - '…'.len_utf8();
    let fits = command.chars().take_while(|c| {
        let enough = room.checked_sub(length(*c));
        room = enough.unwrap_or_default();
        enough.is_some()
    });
    fits.chain(['…']).collect()
}

fn kind(service: &str, by_root: bool) -> Kind {
    if by_root { services::kind(service) } else { Kind::Unlock }
}

/// The kernel's word if there is one, else the application's.
fn remote(begin: &Begin) -> Option<Remote> {
    if let Some(peer) = begin.peer {
        return Some(Remote {
            address: peer.address.to_string(),
            port: Some(peer.port),
            source: RemoteSource::Kernel,
        });
    }
    let address = begin.remote_host.clone().filter(|host| !host.is_empty())?;
    Some(Remote { address, port: None, source: RemoteSource::Pam })
}

/// The last key in `SSH_AUTH_INFO_0`: lines of `publickey TYPE BASE64`. Of a certificate it is the
/// certificate's own digest.
fn ssh_key(info: &str) -> Option<SshKey> {
    info.lines().rev().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("publickey") {
            return None;
        }
        let key_type = words.next()?;
        let blob = Base64::decode_vec(words.next()?).ok()?;
        let digest = base64ct::Base64Unpadded::encode_string(&digest::sha256(&blob));
        Some(SshKey { fingerprint: format!("SHA256:{digest}"), key_type: key_type.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::login::Peer;

    fn begin() -> Begin {
        Begin {
            version: VERSION,
            stage: Stage::Auth,
            service: "sshd".into(),
            user: "alice".into(),
            remote_host: Some("evil.example".into()),
            remote_user: None,
            terminal: Some("ssh".into()),
            ssh_auth_info: None,
            command_line: None,
            peer: None,
            session: None,
            silent: false,
            token: None,
            passwordless: false,
            action: None,
        }
    }

    /// `countersign ask`, about this action.
    fn ask(action: Action) -> Begin {
        Begin { service: ASK_SERVICE.into(), remote_host: None, action: Some(action), ..begin() }
    }

    fn deploy() -> Action {
        Action { name: "deploy.web".into(), detail: None, origins: Vec::new(), list: None }
    }

    fn root() -> Caller {
        Caller { uid: 0, gid: 0, pid: Some(1), root_socket: true }
    }

    #[test]
    fn the_kernels_address_beats_a_name_from_dns() {
        let mut said = begin();
        assert_eq!(Facts::new(said.clone(), &root()).unwrap().remote.unwrap().source, RemoteSource::Pam);
        said.peer = Some(Peer { address: "192.0.2.7".parse().unwrap(), port: 2222 });
        let remote = Facts::new(said, &root()).unwrap().remote.unwrap();
        assert_eq!((remote.address.as_str(), remote.source), ("192.0.2.7", RemoteSource::Kernel));
    }

    #[test]
    fn who_is_not_root_is_not_believed() {
        let said = Begin {
            peer: Some(Peer { address: "192.0.2.7".parse().unwrap(), port: 1 }),
            session: Some(Session { leader: 7, started: 1 }),
            token: Some(Zeroizing::new("t".into())),
            stage: Stage::Session,
            remote_user: Some("root".into()),
            ssh_auth_info: Some("publickey ssh-ed25519 AAAA".into()),
            ..begin()
        };
        let facts =
            Facts::new(said, &Caller { uid: 1000, gid: 1000, pid: Some(1), root_socket: false }).unwrap();
        assert!(facts.remote.is_none() && facts.token.is_none() && facts.ssh_key.is_none());
        assert!(facts.session.is_none());
        assert_eq!(facts.kind, Kind::Unlock);
        assert!(facts.requester.is_none() && !facts.is_sshd());
    }

    #[test]
    fn the_key_is_named_as_ssh_keygen_names_it() {
        let line =
            "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKmTIlKjhHcJR5+/Ggv6+Pw1D8yvuHbHs+1DXh7YWnK";
        let info = format!("password\n{line}\nkeyboard-interactive\n");
        let key = ssh_key(&info).unwrap();
        assert_eq!(key.key_type, "ssh-ed25519");
        assert_eq!(key.fingerprint.len(), "SHA256:".len() + 43);
        assert_eq!(ssh_key("password\n"), None);
        assert_eq!(ssh_key("publickey ssh-ed25519 !!!\n"), None);
    }

    #[test]
    fn a_long_command_is_cut_to_its_room_and_says_so() {
        for long in ["x".repeat(1024), "\"".repeat(1024), "\u{7}".repeat(1024), "é".repeat(512)] {
            let cut = fitting(long.clone());
            assert!(cut.ends_with('…') && long.starts_with(cut.trim_end_matches('…')), "{cut}");
            let length = serde_json::to_string(&cut).unwrap().len() - 2;
            assert!((COMMAND_ROOM - 6..=COMMAND_ROOM).contains(&length), "{length}");
        }
        for short in [String::new(), "x".repeat(COMMAND_ROOM), "\n".repeat(COMMAND_ROOM / 2)] {
            assert_eq!(fitting(short.clone()), short);
        }
    }

    #[test]
    fn an_action_is_one_whoever_asks_and_never_a_login() {
        let somebody = Caller { uid: 1000, gid: 1000, pid: Some(1), root_socket: false };
        for (caller, requester) in [(root(), Some("bob")), (somebody, None)] {
            let begin = Begin { remote_user: Some("bob".into()), ..ask(deploy()) };
            let facts = Facts::new(begin, &caller).unwrap();
            assert_eq!((facts.kind, facts.asked_action()), (Kind::Action, Some("deploy.web")));
            assert_eq!(facts.requester.as_deref(), requester);
            assert_eq!(facts.has_terminal(), facts.terminal.is_some());
        }
        assert_eq!(Facts::new(begin(), &root()).unwrap().asked_action(), None);
        let without = Begin { terminal: None, ..ask(deploy()) };
        let without = Facts::new(without, &root()).unwrap();
        assert!(!without.can_ask() && !without.has_terminal());
    }

    #[test]
    fn an_action_has_its_service_and_its_limits() {
        let origins = |n: usize| vec!["Debian".to_owned(); n];
        for action in [
            Action { detail: Some("d".repeat(300)), origins: origins(16), list: Some(262_144), ..deploy() },
            Action { list: Some(1), ..deploy() },
        ] {
            assert!(Facts::new(ask(action), &root()).is_ok());
        }
        for action in [
            Action { name: "a b".into(), ..deploy() },
            Action { name: String::new(), ..deploy() },
            Action { detail: Some("d".repeat(301)), ..deploy() },
            Action { origins: origins(17), ..deploy() },
            Action { origins: vec!["\n".into()], ..deploy() },
            Action { list: Some(0), ..deploy() },
            Action { list: Some(262_145), ..deploy() },
        ] {
            assert!(Facts::new(ask(action.clone()), &root()).is_err(), "{action:?}");
        }
        assert!(Facts::new(Begin { service: "sudo".into(), ..ask(deploy()) }, &root()).is_err());
        assert!(Facts::new(Begin { stage: Stage::Session, ..ask(deploy()) }, &root()).is_err());
        assert!(Facts::new(Begin { action: None, ..ask(deploy()) }, &root()).is_err());
    }

    #[test]
    fn sizes_and_versions_are_checked() {
        assert!(Facts::new(Begin { user: "u".repeat(MAX_NAME + 1), ..begin() }, &root()).is_err());
        assert!(Facts::new(Begin { user: String::new(), ..begin() }, &root()).is_err());
        assert!(Facts::new(Begin { version: 2, ..begin() }, &root()).is_err());
        let long = Some("x".repeat(MAX_COMMAND + 1));
        assert!(Facts::new(Begin { command_line: long, ..begin() }, &root()).is_err());
    }
}
