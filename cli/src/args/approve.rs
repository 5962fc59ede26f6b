//! The command line of `approve`.

use std::path::PathBuf;

use clap::Args;

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

#[cfg(test)]
mod tests {
    use crate::args::Cli;
    use clap::Parser;

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
