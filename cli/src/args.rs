//! The command line: which commands there are. Those with many arguments have them in a module of their own.

mod approve;
mod ask;
mod audit;
mod doctor;
mod enable;
mod join;
mod policy;

pub use approve::Approve;
pub use ask::Ask;
pub use audit::{Audit, Mark, is_default_approvers};
pub use doctor::Doctor;
pub use enable::{Confirm, Disable, Enable, Lab, Rollback};
pub use join::{Join, Setup};
pub use policy::{Explain, Policy};

use clap::{Parser, Subcommand, ValueHint};
use std::path::PathBuf;

/// The administrator's policy.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/countersign/countersign.toml";
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
}
