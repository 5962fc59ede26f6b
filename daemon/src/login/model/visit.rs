//! Who comes, by which program, from where and with what: the same things may come again, as another login.

use countersign_protocol::login::{Begin, Peer, Session, Stage, VERSION};

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
}

/// A login that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) program: Program,
    /// Whether it is the guest's account that is entered, and not root's.
    pub(super) guest: bool,
    /// From which address or terminal; 0 is one that no other login has.
    pub(super) place: u8,
    /// With which key, or in which session; 0 is none.
    pub(super) by: u8,
    /// Whether it is the kernel that names the address.
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
        }
    }

    pub(super) fn stage(self) -> Stage {
        if self.program == Program::SshdSession { Stage::Session } else { Stage::Auth }
    }

    /// The account that is entered.
    pub(super) fn account(self) -> &'static str {
        if self.guest && self.program != Program::SuOfAlice { GUEST } else { ROOT }
    }

    /// Who is asked, where the rule names nobody.
    pub(super) fn person(self) -> &'static str {
        if self.program == Program::SuOfAlice { ALICE } else { self.account() }
    }

    pub(super) fn requester(self) -> Option<&'static str> {
        (self.program == Program::SuOfAlice).then_some(ALICE)
    }

    fn is_ssh(self) -> bool {
        self.service() == "sshd"
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
        match (self.is_ssh(), self.place) {
            (_, 0) => Some(format!("h{number}")),
            (true, place) => Some(format!("{NETWORK}.{place}")),
            (false, _) => None,
        }
    }

    pub(super) fn terminal(self, number: usize) -> String {
        match (self.is_ssh(), self.place) {
            (_, 0) => format!("t{number}"),
            (true, _) => "ssh".to_owned(),
            (false, place) => format!("tty{place}"),
        }
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
        if self.is_command() {
            return (format!("user {}", self.requester().unwrap_or(self.account())), true);
        }
        match self.address(number) {
            Some(address) => (address, self.is_vouched()),
            None => (self.terminal(number), false),
        }
    }

    /// From where it counts as known or new.
    pub(super) fn source(self, number: usize) -> String {
        let local = || self.requester().map_or("uid 0".to_owned(), |name| format!("user {name}"));
        self.address(number).unwrap_or_else(local)
    }

    /// What a lease of it holds for, a part a place: by whom and which program, from where, and with which key or
    /// in which session. Root is entered from elsewhere by none.
    pub(super) fn bound(self, number: usize) -> Option<[String; 3]> {
        let may = if self.is_ssh() { self.guest && self.is_vouched() } else { self.is_command() };
        let who = format!("{} {} {:?}", self.service(), self.account(), self.requester());
        let from = format!("{:?} {}", self.address(number), self.terminal(number));
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
            terminal: Some(self.terminal(number)),
            remote_user: self.requester().map(str::to_owned),
            ssh_auth_info: key.filter(|_| self.is_ssh()).map(|key| KEYS[key].to_owned()),
            // Comes back in the request: whose it is.
            command_line: Some(format!("c{number}")),
            peer: peer.map(|address| Peer { address, port: 50_000 }),
            session: key.filter(|_| !self.is_ssh()).map(|_| Session { leader: 700, started: self.by.into() }),
            silent: self.program == Program::SilentLocker,
            token: token.map(Into::into),
            passwordless: false,
            action: None,
        }
    }
}
