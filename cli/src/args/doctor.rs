//! The command line of `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::DEFAULT_CONFIG;

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
