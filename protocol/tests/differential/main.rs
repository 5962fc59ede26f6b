//! Made-up signatures and approvers files, judged here and by `ssh-keygen`: whatever is accepted here it accepts, and whatever
//! it accepts and we do not is refused for a reason that is on a list.
//!
//! `COUNTERSIGN_CASES` says how many (250 of each kind without); `COUNTERSIGN_SEED` plays a failing run again.

#[path = "../common/mod.rs"]
mod common;
mod random;
mod signer_files;
mod signers;
mod sshsig;

const NAMESPACE: &str = "decision@x";
const DATA: &[u8] = b"{\"version\":1}";
