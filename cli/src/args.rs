//! The command line.

mod ask;
mod enable;

pub use ask::Ask;
pub use enable::{Confirm, Disable, Enable, Lab, Rollback};

use clap::{Args, Parser, Subcommand, ValueHint};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What every `--help` of the command ends with.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, approved, valid
  1  refused, denied, expired, not found
  2  wrong usage
  3  the daemon or the push server cannot be reached
  4  not permitted
  5  something is broken, or a verification failed";

/// Pair phones, approve logins, inspect and verify.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Print JSON for programs: one object, or one an event
    #[arg(long, global = true)]
    pub json: bool,
    /// Directory of the daemon's sockets
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/countersign")]
    pub run: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Pair a phone (or `countersign approve`) with a user of this host
    #[command(after_help = "\
Shows a QR code, a link and a ticket to type; open one of them on the phone. The phone then shows a
six-digit pairing code, which is asked for here. Once it is paired it is rung, to see that it rings.

Without a terminal the link is the first line on standard output and codes are read from standard input,
one try a line; end of input gives up. With --json every event is an object, its `event` one of approve
(without root: the code that a paired device shows after approving has to be typed first), opened,
answered, wrong, paired, ringing, rung.

Exit codes: 0 paired (also when it was not heard ringing), 1 wrong code, denied or no phone came, 2 usage,
3 daemon or server unreachable, 4 not permitted, 5 broken")]
    Pair {
        /// The user whose logins the phone shall approve
        #[arg(value_hint = ValueHint::Username)]
        user: String,
        /// Do not ring the phone once it is paired
        #[arg(long)]
        no_ring: bool,
    },
    /// Make this host known to its push server
    Join(Join),
    /// Set this host up, step by step: server, first person, recovery codes, doctor, and turn it on
    Setup(Setup),
    /// Approve logins from this terminal instead of a phone
    Approve(Approve),
    /// Ask a phone whether something may be done, and do it only then: for scripts, jobs and hooks
    Ask(Ask),
    /// List the paired devices
    Devices {
        /// Only this user's
        #[arg(value_hint = ValueHint::Username)]
        user: Option<String>,
    },
    /// Take a device's right to approve away
    Revoke {
        /// Whose device
        #[arg(value_hint = ValueHint::Username)]
        user: String,
        /// Its name or its SHA256:… fingerprint
        device: String,
    },
    /// List the logins that wait for a decision, or cancel one
    #[command(after_help = "\
Root sees and cancels everybody's, a user their own: logins into their account, and those that they ask for,
as with sudo. Whoever waits is refused, and the phones stop ringing. Nothing can be approved here.

Exit codes: 0 done, 1 no such request waits, 2 usage, 3 daemon unreachable, 4 not permitted, 5 broken")]
    Requests {
        /// Only those into this user's account, or that this user asks for
        #[arg(value_hint = ValueHint::Username, conflicts_with = "cancel")]
        user: Option<String>,
        /// Cancel the one whose ID begins so
        #[arg(long, value_name = "ID")]
        cancel: Option<String>,
    },
    /// List the leases that hold, or end them
    #[command(after_help = "\
A phone may grant a lease beside an approval where the policy lets it: until it ends nobody is asked again
about the same user and service from the same place. Root sees and ends everybody's, a user their own: those
that they have granted, and those that open their account. It ends at once.

Exit codes: 0 done, 1 there is no such lease, 2 usage, 3 daemon unreachable, 4 not permitted, 5 broken")]
    Leases {
        /// Only those that this user has granted, or that open this user's account
        #[arg(value_hint = ValueHint::Username)]
        user: Option<String>,
        /// End the one whose ID begins so, or `all` of them
        #[arg(long, value_name = "ID|all")]
        end: Option<String>,
    },
    /// Codes to type in place of the phone: how many recovery codes are left, or new ones of some kind
    #[command(group(clap::ArgGroup::new("kind").args(["recovery", "totp", "once"])))]
    Codes {
        /// Whose codes
        #[arg(value_hint = ValueHint::Username)]
        user: String,
        /// Make new codes and print them once; the old ones end
        #[arg(long)]
        recovery: bool,
        /// How many new codes
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=20), requires = "recovery")]
        count: u8,
        /// Make a secret for an authenticator app and show it once; the old one ends
        #[arg(long)]
        totp: bool,
        /// Make one code that opens once within this time: 30m, 1h, at most 24h
        #[arg(long, value_name = "TIME", value_parser = seconds, requires = "reason")]
        once: Option<u32>,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT", requires = "once")]
        reason: Option<String>,
    },
    /// What is held against users and sources after too many logins, denials and wrong codes; or end it
    #[command(after_help = "\
Without arguments it lists what holds now. Everything is for root, and ending it is audited.

Exit codes: 0 done, 1 there is no such user or source, 2 usage, 3 daemon unreachable, 4 not permitted, 5 broken")]
    Unblock {
        /// Whose logins
        #[arg(value_hint = ValueHint::Username)]
        user: Option<String>,
        /// Only from there, as the list shows it: an address, or "user NAME", "uid N" or "terminal T" for a local one
        #[arg(long, value_name = "ADDRESS")]
        source: Option<String>,
        /// Of everybody
        #[arg(long, conflicts_with_all = ["user", "source"])]
        all: bool,
    },
    /// How the daemon is, and what to do if something is wrong
    Status,
    /// Find what would open on this host, what would lock somebody out, and what to change
    #[command(after_help = "\
Reads the PAM stacks as libpam does, sshd's settings (sshd -T), sudo's rules, the policy, units, files and the
break-glass group, and changes nothing. It needs neither the daemon nor a network; it sees most as root.

Exit codes: 0 nothing found, 1 something found, 2 usage")]
    Doctor(Doctor),
    /// Let services ask for approvals; taken back by itself unless a new login confirms it
    Enable(Enable),
    /// Let services ask no longer
    Disable(Disable),
    /// Keep what `enable` has changed, from a login that began since
    Confirm(Confirm),
    /// Take back what `enable` has changed and nobody has confirmed
    Rollback(Rollback),
    /// Go through a login as the PAM module would, without logging in
    #[command(after_help = "\
Prompts come on the terminal; Ctrl-C withdraws the login.

Exit codes: 0 granted (or the policy does not ask), 1 denied, expired or busy, 2 usage,
3 daemon or server unreachable, 4 not permitted, 5 misconfigured or broken")]
    TestLogin {
        /// Who logs in
        #[arg(value_hint = ValueHint::Username)]
        user: String,
        /// The PAM service to play
        #[arg(long)]
        service: String,
    },
    /// Read and verify the audit log
    #[command(subcommand)]
    Audit(Audit),
    /// What the policy means, without a daemon and without a login
    #[command(subcommand)]
    Policy(Policy),
    /// Tell the daemon what polkit is about to ask a password for: for a rule of polkit's, which waits for it
    #[command(hide = true)]
    PolkitAsks {
        /// The user for whom something is to be done
        subject: String,
        /// The action's name
        action: String,
        /// What it is in words; where that is empty the words of the action's package
        text: String,
    },
    /// Ask whether packages may be installed or removed: for the hooks of package managers, which say on standard input what
    /// they are about to do
    #[command(hide = true)]
    PackageHook {
        /// Whose hook
        manager: Manager,
    },
    /// Be the service on the system bus, which is started by the bus
    #[command(hide = true)]
    DbusService {
        /// Ends when nobody has used it for so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 180, hide = true)]
        idle: u64,
    },
    /// Print the completions for a shell, as the packages install them
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Whose hook it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Manager {
    /// apt, which speaks version 3 of its protocol for hooks.
    Apt,
    /// dnf, by the plugin that is beside this program.
    Dnf,
}

impl Manager {
    /// What the names of its actions begin with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
        }
    }
}

/// Arguments of `join`.
#[derive(Debug, Args)]
#[command(after_help = "\
`countersign-server token` prints the whole line. With URL, /etc/countersign/countersign.toml is made, or gets the
line server = \"URL\" where it has none, the daemon is started (by systemd: now and with every start of the machine)
or told to read it, and is waited for until it is connected. A file that names another server is left alone. What is
done already is not done again: a host that has joined keeps its key, and its token is not used up.

Exit codes: 0 joined (also before), 1 another server is named, 2 usage, 3 daemon or server unreachable,
4 not permitted (also: the token is wrong, used up or too old), 5 broken")]
pub struct Join {
    /// The push server, for example https://push.example.com [default: the one that the configuration names]
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub server: Option<String>,
    /// One-time token from `countersign-server token`; `-` reads it from standard input
    #[arg(long)]
    pub token: String,
    /// Certificates (PEM) to trust for the server in place of the system's; a copy goes to /etc/countersign
    #[arg(long, value_name = "FILE", requires = "server")]
    pub server_ca: Option<PathBuf>,
}

/// Arguments of `setup`: answers to what it would ask.
#[derive(Debug, Args)]
#[command(after_help = "\
Asks for what is missing on a terminal; without one it asks nothing, and what is missing is an error that names its
option. Steps that are done are left as they are, so it can be broken off (Ctrl-C) and run again at any time.
Pairing shows what `countersign pair` shows, and reads the pairing code as that does.

With --json every line is an object, its `event` one of step (its `state` one of begun, done, already, skipped),
those of `countersign pair`, recovery-codes, remark and finished. The objects of `countersign doctor --json` and
`countersign enable --json` stand between, and have none.

Exit codes: 0 set up, 1 refused (also: another server is named, no phone came, somebody would be locked out), 2 usage or an answer is missing,
3 daemon or server unreachable, 4 not permitted (also: not root, or the token is not taken), 5 broken")]
pub struct Setup {
    /// The push server, for example https://push.example.com
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub server: Option<String>,
    /// One-time token from `countersign-server token`; `-` reads it from standard input
    #[arg(long)]
    pub token: Option<String>,
    /// Certificates (PEM) to trust for the server in place of the system's; a copy goes to /etc/countersign
    #[arg(long, value_name = "FILE")]
    pub server_ca: Option<PathBuf>,
    /// Whose logins the first phone shall approve
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Username)]
    pub user: Option<String>,
    /// Pair nobody now
    #[arg(long, conflicts_with_all = ["user", "recovery"])]
    pub no_user: bool,
    /// Do not ring the phone once it is paired
    #[arg(long)]
    pub no_ring: bool,
    /// Make recovery codes for that user, unless there are some
    #[arg(long)]
    pub recovery: bool,
    /// Make no recovery codes
    #[arg(long, conflicts_with = "recovery")]
    pub no_recovery: bool,
    /// Turn it on for these services, as `countersign enable` does: two minutes later it is taken back unless confirmed
    #[arg(long, value_name = "SERVICE,…", value_delimiter = ',')]
    pub enable: Vec<String>,
    /// Turn it on for nothing now
    #[arg(long, conflicts_with = "enable")]
    pub no_enable: bool,
    /// Make recovery codes; with --enable also as `countersign enable --yes`. Turns on nothing that is not named
    #[arg(long, short)]
    pub yes: bool,
    /// How the module is called in the lines
    #[arg(long, hide = true, value_name = "FILE", default_value = "pam_countersign.so")]
    pub module: String,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// As /usr/share/bash-completion/completions/countersign.
    Bash,
    /// As site-functions/_countersign.
    Zsh,
    /// As vendor_completions.d/countersign.fish.
    Fish,
}

/// What to look at.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Only these services [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Also say what each service would do now if the server, the daemon or the phone were gone
    #[arg(long)]
    pub drill: bool,
    /// The policy; what is in FILE.d/ belongs to it
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Where the PAM services are
    #[arg(long, value_name = "DIR", hide = true)]
    pub pam: Option<PathBuf>,
}

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Find faults, and rules that never match, let everybody pass, or that no service reaches
    #[command(
        after_help = "Exit codes: 0 nothing found, 1 there is something to think about, 2 usage, 5 faults"
    )]
    Check {
        /// The policy; what is in FILE.d/ belongs to it
        #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// Where the PAM services are
        #[arg(long, value_name = "DIR", default_value = "/etc/pam.d", hide = true)]
        pam: PathBuf,
    },
    /// Say which rule decides about a login, why none before it, and what happens, online and offline
    Explain(Box<Explain>),
}

/// A login that is asked about.
#[derive(Debug, Args)]
pub struct Explain {
    /// The policy; what is in FILE.d/ belongs to it
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Who is logged in as
    #[arg(long)]
    pub user: String,
    /// The PAM service
    #[arg(long)]
    pub service: String,
    /// The session stage: ssh with a key alone
    #[arg(long)]
    pub session: bool,
    /// The address it comes from; without it it is local
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// When, by this host's clock: "2026-11-23 08:30" [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// The fingerprint of the ssh key
    #[arg(long, value_name = "SHA256:…")]
    pub key: Option<String>,
    /// The type of the ssh key, such as sk-ssh-ed25519@openssh.com
    #[arg(long, value_name = "TYPE")]
    pub key_type: Option<String>,
    /// The command line
    #[arg(long)]
    pub command: Option<String>,
    /// Who typed the command
    #[arg(long, value_name = "USER")]
    pub requester: Option<String>,
    /// The terminal
    #[arg(long)]
    pub terminal: Option<String>,
    /// The host's name [default: this one's]
    #[arg(long)]
    pub host: Option<String>,
    /// The user was never let in from there
    #[arg(long)]
    pub new_source: bool,
    /// The action that `countersign ask` asks for; its service is "ask"
    #[arg(long, value_name = "NAME")]
    pub action: Option<String>,
    /// Where what it is about comes from; may be given several times
    #[arg(long)]
    pub origin: Vec<String>,
}

/// A time such as 30m or 1h, in seconds.
fn seconds(text: &str) -> Result<u32, String> {
    use countersign_protocol::manage::{MAX_ONCE, MIN_ONCE};
    let number = |digits: &str, factor| digits.parse::<u32>().ok().and_then(|n| n.checked_mul(factor));
    let seconds = match (text.strip_suffix('m'), text.strip_suffix('h')) {
        (Some(digits), _) => number(digits, 60),
        (_, Some(digits)) => number(digits, 3600),
        _ => None,
    };
    seconds
        .filter(|seconds| (MIN_ONCE..=MAX_ONCE).contains(seconds))
        .ok_or_else(|| "write 30m or 1h; at most 24h".to_owned())
}

/// A number of days.
fn days(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "write a number of days, such as 7".to_owned())
}

/// The administrator's policy.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/countersign/countersign.toml";

/// Arguments of `approve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys: a approve, d deny, r report \"this was not me\", tab or arrows the next request, q quit; where the
policy lets a lease be granted with an approval, l chooses how long.

--plain prints a line an event and reads `a ID`, `a ID 8h` (with a lease), `d ID`, `r ID` and `q` from
standard input; it is taken by itself when there is no terminal. With --json every event is an object
instead, its `event` one of pairing-code, paired, connected, disconnected, request, decided, closed, device, alarm, notice.

--notify works beside both. Without a terminal (as a user service) it is all that there is: standard
input is not read, and codes stand in notifications only.

The key in DIR/id_ed25519 is an ordinary OpenSSH key: `ssh-keygen -p -f` gives it a passphrase.

Exit codes: 0 quit, 1 pairing refused, 2 usage, 3 server unreachable while pairing, 4 not permitted
(the directory or its files are open to others), 5 broken")]
pub struct Approve {
    /// Where this approver keeps its keys [default: $XDG_DATA_HOME/countersign]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Pair with a host first: the link or the ticket that `countersign pair USER` shows
    #[arg(long, value_name = "LINK|TICKET")]
    pub pair: Option<String>,
    /// The server of a TICKET [default: the one that is known already]
    #[arg(long, value_name = "URL", requires = "pair")]
    pub server: Option<String>,
    /// The name that hosts show for this device [default: the machine's name]
    #[arg(long, requires = "pair")]
    pub name: Option<String>,
    /// Certificates (PEM) to trust for the server of LINK in place of the system's
    #[arg(long, value_name = "FILE", requires = "pair")]
    pub server_ca: Option<PathBuf>,
    /// Sign with this key of ssh-agent: its SHA256:… fingerprint or its public key file
    #[arg(long, value_name = "FINGERPRINT|FILE")]
    pub agent: Option<String>,
    /// Make the code for a QR code that a login shows while its server is away: its bytes, as hexadecimal digits
    #[arg(long, value_name = "HEX", conflicts_with = "pair")]
    pub challenge: Option<String>,
    /// A line an event instead of a screen
    #[arg(long)]
    pub plain: bool,
    /// Raise desktop notifications too, with buttons to approve and to deny
    #[arg(long)]
    pub notify: bool,
    /// Approves whatever comes, at once and unseen. Never use it but in tests
    #[arg(long, hide = true, conflicts_with = "auto_deny_everything_for_tests")]
    pub auto_approve_everything_for_tests: bool,
    /// Denies whatever comes, at once
    #[arg(long, hide = true)]
    pub auto_deny_everything_for_tests: bool,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Show records; with SEQ and --extract, write one out to check it by hand with ssh-keygen
    Show {
        /// The record's number
        seq: Option<u64>,
        /// Write request, decision and their signatures there and print the line that checks them
        #[arg(long, value_name = "DIR", requires = "seq")]
        extract: Option<PathBuf>,
        /// Only the last N
        #[arg(long, value_name = "N", conflicts_with = "seq")]
        last: Option<usize>,
        /// Only this user's
        #[arg(long, conflicts_with = "seq")]
        user: Option<String>,
        /// The log
        #[arg(long, value_name = "FILE", default_value = DEFAULT_AUDIT)]
        file: PathBuf,
        /// Approvers files for the printed line
        #[arg(long, value_name = "FILE", num_args = 1.., default_values = DEFAULT_APPROVERS)]
        approvers: Vec<PathBuf>,
    },
    /// What a policy that observes would have done: who would have been refused, and why
    Observed {
        /// Only the last N days
        #[arg(long, value_name = "N", value_parser = days)]
        days: Option<u32>,
        /// The log
        #[arg(long, value_name = "FILE", default_value = DEFAULT_AUDIT)]
        file: PathBuf,
    },
    /// Check the chain of hashes and every signature
    #[command(after_help = "\
What is cut off at the end leaves a log in order. Each line that the daemon writes to the system's log for a
record names it, as in audit=17:4f…; with --has such a value is looked for here, and a log that has lost the
record, or has another one in its place, is not valid. Give the last one that a log on another machine has.

A log that others have compressed is read from a pipe: zcat FILE | countersign audit verify --file /dev/stdin

Exit codes: 0 valid, 1 no such file, 2 usage, 4 not permitted, 5 not valid")]
    Verify {
        /// The log
        #[arg(long, value_name = "FILE", default_value = DEFAULT_AUDIT)]
        file: PathBuf,
        /// The host's public key; without it, the one that the log's first request names
        #[arg(long, value_name = "FILE")]
        host_key: Option<PathBuf>,
        /// Files of keys that were accepted
        #[arg(long, value_name = "FILE", num_args = 1.., default_values = DEFAULT_APPROVERS)]
        approvers: Vec<PathBuf>,
        /// A record that the log must hold, as a line of the system's log names it after `audit=`
        #[arg(long, value_name = "SEQ:DIGEST")]
        has: Option<Mark>,
    },
}

/// A record by its number and the digest of its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The record's number.
    pub seq: u64,
    /// SHA-256 of its line in hex.
    pub digest: String,
}

impl FromStr for Mark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = "it is not a record's number and digest: copy what follows audit= in a line of the log, as in 17:4f…";
        let (seq, digest) = text.trim().trim_start_matches("audit=").split_once(':').ok_or(bad)?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or(bad)?;
        if digest.len() != DIGEST_DIGITS
            || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(bad);
        }
        Ok(Self { seq, digest: digest.to_owned() })
    }
}

/// Digits of a SHA-256 in hex.
const DIGEST_DIGITS: usize = 64;
/// Where the daemon writes.
const DEFAULT_AUDIT: &str = "/var/lib/countersign/audit/audit.jsonl";
/// The administrator's approvers, and those that the daemon paired.
const DEFAULT_APPROVERS: [&str; 2] = ["/etc/countersign/approvers", "/var/lib/countersign/approvers"];

/// Whether a path is a place where approvers are looked for unasked.
#[must_use]
pub fn is_default_approvers(path: &Path) -> bool {
    DEFAULT_APPROVERS.iter().any(|p| Path::new(p) == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_code_for_a_while_needs_a_reason_and_a_time() {
        let parse =
            |rest: &[&str]| Cli::try_parse_from(["countersign", "codes", "alice"].iter().chain(rest)).is_ok();
        assert!(parse(&["--once", "1h", "--reason", "phone lost"]) && parse(&["--totp"]) && parse(&[]));
        for time in ["", "0m", "25h", "1d", "60", "-1h", "99999999999h"] {
            assert!(!parse(&["--once", time, "--reason", "x"]), "{time}");
        }
        assert!(!parse(&["--once", "1h"]) && !parse(&["--reason", "x"]));
        assert!(!parse(&["--totp", "--recovery"]) && !parse(&["--totp", "--once", "1h", "--reason", "x"]));
    }

    #[test]
    fn a_mark_is_read_as_the_log_shows_it() {
        let digest = "4f".repeat(32);
        let mark = Mark { seq: 17, digest: digest.clone() };
        for text in [format!("17:{digest}"), format!("audit=17:{digest}\n")] {
            assert_eq!(text.parse(), Ok(mark.clone()));
        }
        let bad = ["", "17", ":", "17:", "0:x", &format!("0:{digest}"), &format!("x:{digest}"), "17:4f"];
        for text in bad.into_iter().chain([format!("1:{}", digest.to_uppercase()).as_str()]) {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
    }

    #[test]
    fn approving_by_itself_needs_the_long_flag_and_only_one_of_them() {
        assert!(Cli::try_parse_from(["countersign", "approve", "--auto"]).is_err());
        let both = [
            "countersign",
            "approve",
            "--auto-approve-everything-for-tests",
            "--auto-deny-everything-for-tests",
        ];
        assert!(Cli::try_parse_from(both).is_err());
    }
}
