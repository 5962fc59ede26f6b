//! Who comes, by which program, from where and with what: the same things may come again, as another login.

use countersign_protocol::login::{ASK_SERVICE, Action, Begin, Peer, Session, Stage, VERSION};

use super::cast::{ALICE, GUEST, ROOT};

/// Addresses and terminals that several logins may come from are of this network.
pub(super) const NETWORK: &str = "192.0.2";
/// Keys that may be used at sshd, as it names them, and their fingerprints.
const KEYS: [&str; 2] = [
    "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKmTIlKjhHcJR5+/Ggv6+Pw1D8yvuHbHs+1DXh7YWnK",
    "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];
/// As `ssh-keygen -l` prints them.
const FINGERPRINTS: [&str; 2] = [
    "SHA256:nxye3CYov0Eq/c1dv7+euNRYcuZt8JP0mAkWX4kwDXk",
    "SHA256:kmYcvdi2GkPeWxB6XLjrZB8JHsy2Hm8luHMFp9GMvqk",
];

/// What is asked for where it is no login, and how many lines its list has.
const ACTIONS: [(&str, usize); 3] = [("deploy.web", 0), ("apt.install", 3), ("apt.remove", 2_000)];
/// Where what an action is about may come from.
pub(super) const ORIGIN: &str = "Debian";
/// The guest's number, wherever there is such a user.
const GUEST_UID: u32 = 65_534;

/// What programs log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Sshd,
    SshdSession,
    Sudo,
    /// Alice becomes root.
    SuOfAlice,
    /// On a terminal of the machine.
    Console,
    Locker,
    SilentLocker,
    /// A locker that puts the password into every prompt.
    OneField,
    /// `countersign ask` of root's.
    Ask,
    /// The same behind alice's sudo.
    AskOfAlice,
    /// The same where nobody is at a terminal.
    AskOfJob,
    /// The guest asks, and the service on the bus answers for whom that is.
    AskOfGuest,
}

/// A login that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) program: Program,
    /// Whether it is the guest's account that is entered, and not root's.
    pub(super) guest: bool,
    /// From which address or terminal; 0 is one that no other login has.
    pub(super) place: u8,
    /// With which key, or in which session; 0 is none. Or for which action.
    pub(super) by: u8,
    /// Whether it is the kernel that names the address. Or whether all that an action is about is of one origin.
    pub(super) vouched: bool,
}

impl From<Program> for Visit {
    fn from(program: Program) -> Self {
        Self { program, guest: false, place: 0, by: 0, vouched: false }
    }
}

impl Visit {
    pub(super) fn service(self) -> &'static str {
        match self.program {
            Program::Sshd | Program::SshdSession => "sshd",
            Program::Sudo => "sudo",
            Program::SuOfAlice => "su",
            Program::Console => "login",
            Program::Locker | Program::SilentLocker => "xsecurelock",
            Program::OneField => "swaylock",
            Program::Ask | Program::AskOfAlice | Program::AskOfJob | Program::AskOfGuest => ASK_SERVICE,
        }
    }

    pub(super) fn stage(self) -> Stage {
        if self.program == Program::SshdSession { Stage::Session } else { Stage::Auth }
    }

    /// The account that is entered.
    pub(super) fn account(self) -> &'static str {
        match self.program {
            Program::SuOfAlice => ROOT,
            Program::AskOfGuest => GUEST,
            _ if self.guest => GUEST,
            _ => ROOT,
        }
    }

    /// Who is asked, where the rule names nobody.
    pub(super) fn person(self) -> &'static str {
        self.requester().filter(|_| self.account() == ROOT).unwrap_or(self.account())
    }

    pub(super) fn requester(self) -> Option<&'static str> {
        matches!(self.program, Program::SuOfAlice | Program::AskOfAlice).then_some(ALICE)
    }

    fn is_ssh(self) -> bool {
        self.service() == "sshd"
    }

    /// Whether it is no login.
    pub(super) fn is_ask(self) -> bool {
        self.service() == ASK_SERVICE
    }

    /// Who asks, where root's program does not; the daemon is told by one of root's.
    pub(super) fn acts_for(self) -> Option<u32> {
        (self.program == Program::AskOfGuest).then_some(GUEST_UID)
    }

    /// What is asked for, where it is no login.
    pub(super) fn action(self) -> Option<&'static str> {
        self.is_ask().then(|| self.asked().0)
    }

    fn asked(self) -> (&'static str, usize) {
        ACTIONS[usize::from(self.by) % ACTIONS.len()]
    }

    /// Where that comes from.
    pub(super) fn origins(self) -> &'static [&'static str] {
        match (self.is_ask() && self.by > 0, self.vouched) {
            (false, _) => &[],
            (true, true) => &[ORIGIN],
            (true, false) => &[ORIGIN, "elsewhere"],
        }
    }

    /// What it is done to: another list for each login.
    pub(super) fn list(self, number: usize) -> Option<String> {
        let lines = if self.is_ask() { self.asked().1 } else { 0 };
        (lines > 0).then(|| (0..lines).map(|line| format!("c{number} {line}\n")).collect())
    }

    fn is_command(self) -> bool {
        matches!(self.program, Program::Sudo | Program::SuOfAlice)
    }

    /// Whether somebody stands in front of the machine and enters or unlocks it.
    pub(super) fn is_in_front(self) -> bool {
        let enters = matches!(
            self.program,
            Program::Console | Program::Locker | Program::SilentLocker | Program::OneField
        );
        enters && self.place > 0
    }

    /// The address that it comes from, if any.
    pub(super) fn address(self, number: usize) -> Option<String> {
        if self.is_ask() {
            return None;
        }
        match (self.is_ssh(), self.place) {
            (_, 0) => Some(format!("h{number}")),
            (true, place) => Some(format!("{NETWORK}.{place}")),
            (false, _) => None,
        }
    }

    pub(super) fn terminal(self, number: usize) -> Option<String> {
        (self.program != Program::AskOfJob).then(|| match (self.is_ssh(), self.place) {
            (_, 0) => format!("t{number}"),
            (true, _) => "ssh".to_owned(),
            (false, place) => format!("tty{place}"),
        })
    }

    /// Whom the kernel names as the caller.
    fn uid(self) -> String {
        format!("uid {}", self.acts_for().unwrap_or_default())
    }

    /// The fingerprint of the key that sshd has accepted.
    pub(super) fn fingerprint(self) -> Option<&'static str> {
        let key = usize::from(self.by).checked_sub(1).filter(|_| self.is_ssh())?;
        FINGERPRINTS.get(key).copied()
    }

    /// Whether the kernel names its address.
    pub(super) fn is_vouched(self) -> bool {
        self.is_ssh() && self.place > 0 && self.vouched
    }

    /// What is held against whoever comes from there is held against this; and whether a report holds for long.
    pub(super) fn held(self, number: usize) -> (String, bool) {
        if self.is_command() || self.requester().is_some() {
            return (format!("user {}", self.requester().unwrap_or(self.account())), true);
        }
        match (self.address(number), self.terminal(number), self.acts_for()) {
            (Some(address), ..) => (address, self.is_vouched()),
            (None, Some(terminal), None) => (terminal, false),
            (None, ..) => (self.uid(), false),
        }
    }

    /// From where it counts as known or new.
    pub(super) fn source(self, number: usize) -> String {
        let local = || self.requester().map_or(self.uid(), |name| format!("user {name}"));
        self.address(number).unwrap_or_else(local)
    }

    /// What a lease of it holds for, a part a place: by whom and which program, from where, and with which key or
    /// in which session. Root is entered from elsewhere by none.
    pub(super) fn bound(self, number: usize) -> Option<[String; 3]> {
        let may = if self.is_ssh() { self.guest && self.is_vouched() } else { self.is_command() };
        let who = format!("{} {} {:?}", self.service(), self.account(), self.requester());
        let from = format!("{:?} {:?}", self.address(number), self.terminal(number));
        (may && self.by > 0).then(|| [who, from, self.by.to_string()])
    }

    /// What its module says.
    pub(super) fn begin(self, number: usize, token: Option<String>) -> Begin {
        let key = usize::from(self.by).checked_sub(1);
        let address = self.address(number);
        let peer = address.as_ref().filter(|_| self.is_vouched()).and_then(|address| address.parse().ok());
        Begin {
            version: VERSION,
            stage: self.stage(),
            service: self.service().to_owned(),
            user: self.account().to_owned(),
            remote_host: address.filter(|_| peer.is_none()),
            terminal: self.terminal(number),
            // What a user claims of others is not believed.
            remote_user: self.requester().or(self.acts_for().map(|_| ALICE)).map(str::to_owned),
            ssh_auth_info: key.filter(|_| self.is_ssh()).map(|key| KEYS[key].to_owned()),
            // Comes back in the request: whose it is.
            command_line: Some(format!("c{number}")),
            peer: peer.map(|address| Peer { address, port: 50_000 }),
            session: key
                .filter(|_| !self.is_ssh() && !self.is_ask())
                .map(|_| Session { leader: 700, started: self.by.into() }),
            silent: self.program == Program::SilentLocker,
            token: token.map(Into::into),
            passwordless: false,
            action: self.action().map(|name| Action {
                name: name.to_owned(),
                detail: Some(format!("do c{number}")),
                origins: self.origins().iter().map(|&origin| origin.to_owned()).collect(),
                list: self.list(number).map(|list| u32::try_from(list.len()).unwrap()),
            }),
        }
    }
}
