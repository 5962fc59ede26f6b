//! The command line of `join` and of `setup`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

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
