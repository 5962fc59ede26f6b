//! Codes of authenticators (RFC 6238): SHA-1, six digits, thirty seconds, one step to either side.
//!
//! A step counts once, and no step before one that has counted: that is on the disk before anybody learns that a
//! code was right. Setting the clock back brings no code back.

use crate::{clock, files};
use base64ct::{Base64, Encoding};
use countersign_protocol::random;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Digits of a code.
pub const DIGITS: usize = 6;
/// Seconds of a step.
pub const STEP: u64 = 30;
/// Bytes of a secret: as many as SHA-1 gives.
const SECRET: usize = 20;
/// Longest file in bytes.
const MAX_FILE: usize = 8 * 1024 * 1024;

/// Everybody's authenticators on this host.
#[derive(Debug)]
pub struct Totp {
    store: files::Store,
    state: RefCell<State>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    users: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    made_at: u64,
    /// Base64.
    secret: Zeroizing<String>,
    /// The last step that has counted.
    last_step: u64,
}

impl Totp {
    /// Reads the file, or starts without one.
    ///
    /// # Errors
    /// When it is there and cannot be read: what was used up would be good again.
    pub fn open(path: &Path, owner: files::Owner) -> io::Result<Self> {
        let state = files::read_json(path, owner, MAX_FILE)?.unwrap_or_default();
        Ok(Self { store: files::Store::new(path), state: RefCell::new(state) })
    }

    /// Whether a user has an authenticator.
    #[must_use]
    pub fn has(&self, user: &str) -> bool {
        self.state.borrow().users.contains_key(user)
    }

    /// A new secret for a user; the old one ends.
    ///
    /// # Errors
    /// When it could not be written down: then the old one still holds.
    pub async fn new_secret(&self, user: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        let secret = Zeroizing::new(random::bytes::<SECRET>().to_vec());
        let encoded = Zeroizing::new(Base64::encode_string(&secret));
        let entry = Entry { made_at: clock::unix(), secret: encoded, last_step: 0 };
        let old = self.state.borrow_mut().users.insert(user.to_owned(), entry);
        if let Err(error) = self.write().await {
            let users = &mut self.state.borrow_mut().users;
            match old {
                Some(old) => users.insert(user.to_owned(), old),
                None => users.remove(user),
            };
            return Err(error);
        }
        Ok(secret)
    }

    /// Whether this is the user's code at that time, in seconds since 1970; from now on it is used up.
    ///
    /// # Errors
    /// When that could not be written down: then it counts as wrong, and is used up all the same.
    pub async fn use_up(&self, user: &str, typed: &str, at: u64) -> io::Result<bool> {
        // In memory first: of equal answers at once one wins.
        let is_right = self.state.borrow_mut().use_up(user, typed, at);
        if is_right {
            self.write().await?;
        }
        Ok(is_right)
    }

    async fn write(&self) -> io::Result<()> {
        self.store.write(|| serde_json::to_vec(&*self.state.borrow())).await
    }
}

impl State {
    fn use_up(&mut self, user: &str, typed: &str, at: u64) -> bool {
        let entry = self.users.get_mut(user);
        // Without a secret the same work is done, so that the time does not tell.
        let secret = entry.as_ref().and_then(|entry| Base64::decode_vec(&entry.secret).ok());
        let secret = Zeroizing::new(secret.unwrap_or_else(|| vec![0; SECRET]));
        let last = entry.as_ref().map_or(u64::MAX, |entry| entry.last_step);
        let now = at / STEP;
        let mut right = None;
        for step in now.saturating_sub(1)..=now.saturating_add(1) {
            let is_it = bool::from(code(&secret, step).as_bytes().ct_eq(typed.as_bytes()));
            if is_it && step > last {
                right = Some(step);
            }
        }
        match (entry, right) {
            (Some(entry), Some(step)) => {
                entry.last_step = step;
                true
            }
            _ => false,
        }
    }
}

/// Now, by the clock that authenticators go by.
#[must_use]
pub fn now() -> u64 {
    clock::unix()
}

/// RFC 4226 with a step for its counter.
fn code(secret: &[u8], step: u64) -> Zeroizing<String> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(secret).expect("any length");
    mac.update(&step.to_be_bytes());
    let tag: [u8; 20] = mac.finalize().into_bytes().into();
    let at = usize::from(tag[19] & 15);
    let part = tag.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_be_bytes);
    Zeroizing::new(format!("{:0width$}", (part & 0x7fff_ffff) % 10u32.pow(6), width = DIGITS))
}

/// A user's code at a time.
#[cfg(test)]
pub(crate) fn tests_code(secret: &[u8], at: u64) -> Zeroizing<String> {
    code(secret, at / STEP)
}

/// What authenticator apps read: the secret as they write it, and a link that says what it is for.
#[must_use]
pub fn link(secret: &[u8], user: &str, host: &str) -> (Zeroizing<String>, Zeroizing<String>) {
    let text = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(secret));
    let (user, host) = (percent(user), percent(host));
    let link = Zeroizing::new(format!("otpauth://totp/{host}:{user}?secret={}&issuer={host}", *text));
    (text, link)
}

fn percent(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn open(path: &Path) -> Totp {
        Totp::open(path, files::Owner(nix::unistd::geteuid().as_raw())).unwrap()
    }

    /// RFC 6238, appendix B, SHA-1; the RFC's eight digits end in these six.
    #[test]
    fn the_codes_of_the_rfc() {
        for (at, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(b"12345678901234567890", at / STEP).as_str(), expected, "{at}");
        }
    }

    #[tokio::test]
    async fn a_step_counts_once_and_none_before_it_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("totp.json");
        let totp = open(&path);
        let secret = totp.new_secret("alice").await.unwrap();
        let at = 1_800_000_000;
        let of = |time: u64| code(&secret, time / STEP);
        assert!(!totp.use_up("alice", &of(at - 2 * STEP), at).await.unwrap());
        assert!(!totp.use_up("alice", &of(at + 2 * STEP), at).await.unwrap());
        assert!(!totp.use_up("bob", &of(at), at).await.unwrap());
        assert!(totp.use_up("alice", &of(at), at).await.unwrap());
        for totp in [totp, open(&path)] {
            // Neither the same again nor an earlier one, nor by a clock that was set back.
            assert!(!totp.use_up("alice", &of(at), at).await.unwrap());
            assert!(!totp.use_up("alice", &of(at - STEP), at).await.unwrap());
            assert!(!totp.use_up("alice", &of(at - 3600), at - 3600).await.unwrap());
        }
        assert!(open(&path).use_up("alice", &of(at + STEP), at).await.unwrap());
        assert!(open(&path).use_up("alice", &of(at + 3 * STEP), at + 3 * STEP).await.unwrap());
    }

    #[tokio::test]
    async fn of_twenty_equal_codes_at_once_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let totp = Rc::new(open(&folder.path().join("totp.json")));
        let secret = totp.new_secret("alice").await.unwrap();
        let local = tokio::task::LocalSet::new();
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let (totp, code) = (Rc::clone(&totp), code(&secret, 60_000_000));
            tasks.push(local.spawn_local(async move { totp.use_up("alice", &code, 1_800_000_000).await }));
        }
        let mut won = 0;
        let all = async {
            for task in tasks {
                won += u32::from(task.await.unwrap().unwrap());
            }
        };
        local.run_until(all).await;
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_opens_nothing_and_a_new_secret_ends_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("totp.json");
        let totp = open(&path);
        let secret = totp.new_secret("alice").await.unwrap();
        // A directory where the new file has to go: root, too, fails there.
        let broken = files::beside(&path, ".new");
        std::fs::create_dir(&broken).unwrap();
        let at = 1_800_000_000;
        assert!(totp.use_up("alice", &code(&secret, at / STEP), at).await.is_err());
        assert!(totp.new_secret("alice").await.is_err());
        std::fs::remove_dir(&broken).unwrap();
        assert!(!totp.use_up("alice", &code(&secret, at / STEP), at).await.unwrap());
        assert!(totp.use_up("alice", &code(&secret, at / STEP + 1), at).await.unwrap());
        let new = totp.new_secret("alice").await.unwrap();
        let at = at + 600;
        assert!(!totp.use_up("alice", &code(&secret, at / STEP), at).await.unwrap());
        assert!(totp.use_up("alice", &code(&new, at / STEP), at).await.unwrap());
    }

    #[test]
    fn apps_are_told_what_it_is_for() {
        let (text, link) = link(b"12345678901234567890", "al ice", "db-1");
        assert_eq!(text.as_str(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(link.as_str(), format!("otpauth://totp/db-1:al%20ice?secret={}&issuer=db-1", *text));
    }
}
