//! RFC 6238, written once more from the text of the RFC: what an authenticator shows.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::cast::secret;

/// Seconds for which it shows the same.
const STEP: u64 = 30;

/// The step that it is at that time, in seconds since 1970.
pub(super) fn step(unix: u64) -> u64 {
    unix / STEP
}

/// What the person's authenticator shows then.
pub(super) fn shows(person: &str, step: u64) -> String {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(&secret(person)).unwrap();
    mac.update(&step.to_be_bytes());
    let tag = mac.finalize().into_bytes();
    let at = usize::from(tag[19] % 16);
    let number = tag[at..at + 4].iter().fold(0, |number, byte| number * 256 + u64::from(*byte));
    format!("{:06}", number % (1 << 31) % 1_000_000)
}

#[test]
fn it_shows_what_oathtool_does() {
    let shown = ["root", "alice", "nobody"].map(|person| shows(person, step(1_800_000_000)));
    assert_eq!(shown, ["498316", "500348", "570257"]);
}
