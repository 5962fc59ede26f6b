//! Arguments of `enable`, `disable`, `confirm` and `rollback`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `enable`.
#[derive(Debug, Args)]
#[command(after_help = "\
Shows what it would change, tests with a real approval, then writes marked lines behind the line that checks
the password: auth, and for sshd session, each below a line that lets the group countersign-breakglass pass.
sudo brings sudo-i with it, su brings su-l, where these have lines of their own. Only what is named is
changed, login too. For sshd the settings KbdInteractiveAuthentication and UsePAM go into
/etc/ssh/sshd_config.d/00-countersign.conf where they do not hold already.

After TWO MINUTES all of it is taken back, unless \"sudo countersign confirm\" is run in a login that began
after the change. It is also taken back when this shell, the daemon or the machine goes down meanwhile.

Accounts that logged in within 90 days, have no device and are let in by no rule would be locked out: they
are listed, and nothing is changed before each has a device, a rule, or --yes is given.

Exit codes: 0 done (or nothing to do), 1 refused, 2 usage, 3 daemon or server unreachable, 4 not permitted,
5 broken")]
pub struct Enable {
    /// Services: files in /etc/pam.d, such as sshd, sudo, su, login. Without any: what is on, and what waits
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Ask nothing, and lock the listed accounts out
    #[arg(long, requires = "services")]
    pub yes: bool,
    /// Show what would be changed, and change nothing
    #[arg(long, requires = "services")]
    pub dry_run: bool,
    /// Who approves the test [default: who runs this, behind sudo]
    #[arg(long, value_name = "USER", requires = "services", conflicts_with = "no_test")]
    pub user: Option<String>,
    /// Change it without a test
    #[arg(long, requires = "services")]
    pub no_test: bool,
    /// Put lines back that an upgrade took out of services that are on; for packages, never fails
    #[arg(long, conflicts_with_all = ["services", "yes", "dry_run", "user", "no_test"])]
    pub restore: bool,
    /// For tests.
    #[command(flatten)]
    pub lab: Lab,
    /// Take it back so many seconds later
    #[arg(long, hide = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=120))]
    pub within: Option<u64>,
    /// How the module is called in the lines
    #[arg(long, hide = true, value_name = "FILE", default_value = "pam_countersign.so")]
    pub module: String,
}

/// Arguments of `disable`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").args(["services", "all"]).required(true)))]
#[command(after_help = "\
Takes exactly those lines out that countersign enable has written; what others have written stays. It needs no
daemon. A change that waits to be confirmed is taken back first.

Exit codes: 0 done (or nothing to do), 1 other lines with pam_countersign.so remain (with --all), 2 usage,
4 not permitted, 5 broken")]
pub struct Disable {
    /// Services that are on
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// All of them, as before the module is removed
    #[arg(long)]
    pub all: bool,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// For tests.
    #[command(flatten)]
    pub lab: Lab,
}

/// Arguments of `confirm`.
#[derive(Debug, Args)]
#[command(after_help = "\
Run it with sudo in a login that began after countersign enable: that you could log in is the proof that the
change does not lock you out. A new window of tmux, a second channel of an old ssh connection and sudo in the
old shell are no new logins.

Exit codes: 0 confirmed, 1 refused, or there is nothing to confirm, 2 usage, 4 not permitted, 5 broken")]
pub struct Confirm {
    /// Though no login has come by Countersign since the change, such as one of the break-glass group
    #[arg(long)]
    pub untested: bool,
    /// For tests.
    #[command(flatten)]
    pub lab: Lab,
    /// The audit log
    #[arg(long, hide = true, value_name = "FILE", default_value = super::audit::DEFAULT_AUDIT)]
    pub audit: PathBuf,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes back at once what countersign enable has changed and nobody has confirmed yet. It needs no daemon and no
configuration. A file that somebody has edited since keeps that: only our lines go.

Exit codes: 0 done (or nothing to do), 2 usage, 4 not permitted, 5 something could not be taken back: it says what")]
pub struct Rollback {
    /// As systemd runs it: at boot, and when the two minutes are over
    #[arg(long, hide = true)]
    pub boot: bool,
    /// Wait for the end of the two minutes first
    #[arg(long, hide = true, conflicts_with = "boot")]
    pub guard: bool,
    /// For tests.
    #[command(flatten)]
    pub lab: Lab,
}

/// For tests.
#[derive(Debug, Args)]
pub struct Lab {
    /// The folder that has pam.d, ssh and countersign in it
    #[arg(long, hide = true, value_name = "DIR", default_value = "/etc")]
    pub etc: PathBuf,
    /// Die at the Nth step
    #[arg(long, hide = true, value_name = "N")]
    pub die_at: Option<u32>,
}
