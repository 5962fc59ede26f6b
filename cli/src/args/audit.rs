//! The command line of `audit`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Subcommand;

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

/// A number of days.
fn days(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "write a number of days, such as 7".to_owned())
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
pub(super) const DEFAULT_AUDIT: &str = "/var/lib/countersign/audit/audit.jsonl";
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
}
