//! The command line of `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DEFAULT_CONFIG;

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
