//! Recovery codes: printed once, each opens once, for when the phone or the network is gone.
//!
//! A code is 80 random bits. Only slow hashes are kept. A code is written down as used, on the
//! disk, before anybody learns that it was right.

mod code;

pub use code::looks_like_code;

use crate::budget::{Budget, Past};
use crate::{clock, files};
use base64ct::{Base64, Encoding};
use code::{COST, fold, grouped, new_code, slow_hash};
use countersign_protocol::random;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Most codes of a user.
pub const MAX_CODES: u8 = 20;
/// Hashes at once, so that guessing cannot fill the memory.
const HASHES: usize = 2;
/// Longest file in bytes.
const MAX_FILE: usize = 32 * 1024 * 1024;

/// Everybody's recovery codes.
#[derive(Debug)]
pub struct Recovery {
    store: files::Store,
    budget: Rc<Budget>,
    state: RefCell<State>,
    hashes: Semaphore,
}

/// What came of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Right, and used up.
    Used {
        /// Codes that are left.
        left: u32,
    },
    /// Right: the one that root has made for a while, and used up.
    Once {
        /// Why it was made.
        reason: String,
    },
    /// Not one of this user's unused codes.
    Wrong,
    /// Too many failures: nothing was compared.
    Blocked {
        /// When to try again.
        retry: Duration,
    },
    /// Does not look like a recovery code: nothing was compared or counted.
    NotACode,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    users: BTreeMap<String, Batch>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    once: BTreeMap<String, Once>,
}

/// A code that is good for a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Once {
    reason: String,
    /// By [`Budget::is_past`].
    ends_at: u64,
    code: Batch,
}

/// The codes that were made in one go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    made_at: u64,
    /// Base64, 16 bytes.
    salt: String,
    memory_kib: u32,
    passes: u32,
    codes: Vec<Kept>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Base64, 32 bytes.
    hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_at: Option<u64>,
}

impl Recovery {
    /// Reads the file, or starts without one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn open(path: &Path, owner: files::Owner, budget: Rc<Budget>) -> io::Result<Self> {
        Ok(Self {
            store: files::Store::new(path),
            budget,
            state: RefCell::new(files::read_json(path, owner, MAX_FILE)?.unwrap_or_default()),
            hashes: Semaphore::new(HASHES),
        })
    }

    /// Compares an answer with this user's codes and uses the right one up. `holds` is as in [`Budget::take`].
    ///
    /// # Errors
    /// When something could not be written down: then the answer counts as wrong.
    pub async fn check(&self, user: &str, answer: &str, holds: impl Fn(&str) -> bool) -> io::Result<Checked> {
        let Some(code) = fold(answer) else { return Ok(Checked::NotACode) };
        let taken = match self.budget.take(user, holds).await? {
            Ok(taken) => taken,
            Err(blocked) => return Ok(Checked::Blocked { retry: blocked.retry }),
        };
        let (batch, once) = {
            let state = self.state.borrow();
            (state.users.get(user).cloned(), state.once.get(user).cloned())
        };
        let is_over = match &once {
            Some(once) => self.budget.is_past(once.ends_at).await? != Past::No,
            None => true,
        };
        // Without codes the same work is done, so that the time does not tell.
        let salted = |batch: Option<Batch>| {
            batch.map_or((String::new(), COST), |b| (b.salt, (b.memory_kib, b.passes)))
        };
        let (salt, cost) = salted(batch);
        let hash = self.hash(vec![code.clone()], salt.clone(), cost).await?;
        let (once_salt, cost) = salted(once.map(|once| once.code));
        let once_hash = self.hash(vec![code], once_salt.clone(), cost).await?;
        let first = |hash: &[Zeroizing<Vec<u8>>]| hash.first().cloned().unwrap_or_default();
        let checked = if let Some(left) = self.use_up(user, &salt, &first(&hash)).await? {
            Checked::Used { left }
        } else if let Some(reason) = self.use_once(user, &once_salt, &first(&once_hash), is_over).await? {
            Checked::Once { reason }
        } else {
            return Ok(Checked::Wrong);
        };
        self.budget.give_back(taken).await?;
        Ok(checked)
    }

    /// Makes one code that is good for some time; an earlier one ends. Also says until when.
    ///
    /// # Errors
    /// When it could not be written down: then an earlier one still holds.
    pub async fn new_once(
        &self,
        user: &str,
        time: Duration,
        reason: &str,
    ) -> io::Result<(Zeroizing<String>, u64)> {
        let now = self.budget.now();
        // From now on no clock stands before this, whoever sets it and restarts us.
        self.budget.is_past(now).await?;
        let (code, batch) = self.batch(1).await?;
        let ends_at = now.saturating_add(time.as_secs());
        let once = Once { reason: reason.to_owned(), ends_at, code: batch };
        let old = self.state.borrow_mut().once.insert(user.to_owned(), once);
        if let Err(error) = self.write().await {
            let once = &mut self.state.borrow_mut().once;
            match old {
                Some(old) => once.insert(user.to_owned(), old),
                None => once.remove(user),
            };
            return Err(error);
        }
        let code = code.first().map(|code| grouped(code)).unwrap_or_default();
        Ok((code, ends_at))
    }

    /// Whether a user has anything that could be guessed.
    #[must_use]
    pub fn holds(&self, user: &str) -> bool {
        let state = self.state.borrow();
        state.users.contains_key(user) || state.once.contains_key(user)
    }

    /// Makes new codes for a user; the old ones end.
    ///
    /// # Errors
    /// When they could not be written down: then the old ones still hold.
    pub async fn new_codes(&self, user: &str, count: u8) -> io::Result<Vec<Zeroizing<String>>> {
        let (codes, batch) = self.batch(count.clamp(1, MAX_CODES)).await?;
        let old = self.state.borrow_mut().users.insert(user.into(), batch);
        if let Err(error) = self.write().await {
            let users = &mut self.state.borrow_mut().users;
            match old {
                Some(old) => users.insert(user.into(), old),
                None => users.remove(user),
            };
            return Err(error);
        }
        Ok(codes.iter().map(|code| grouped(code)).collect())
    }

    async fn batch(&self, count: u8) -> io::Result<(Vec<Zeroizing<String>>, Batch)> {
        let salt = Base64::encode_string(&random::bytes::<16>());
        let codes: Vec<_> = (0..count).map(|_| new_code()).collect();
        let hashes = self.hash(codes.clone(), salt.clone(), COST).await?;
        let kept =
            hashes.iter().map(|hash| Kept { hash: Base64::encode_string(hash), used_at: None }).collect();
        let batch = Batch { made_at: clock::unix(), salt, memory_kib: COST.0, passes: COST.1, codes: kept };
        Ok((codes, batch))
    }

    /// How many codes a user has left.
    #[must_use]
    pub fn left(&self, user: &str) -> u32 {
        self.state.borrow().users.get(user).map_or(0, Batch::left)
    }

    /// Until when the code opens that root has made for a while.
    #[must_use]
    pub fn once_until(&self, user: &str) -> Option<u64> {
        let now = self.budget.now();
        self.state.borrow().once.get(user).map(|once| once.ends_at).filter(|ends_at| now < *ends_at)
    }

    /// Finds the hash among the unused ones of that salt's batch and writes down that it is used.
    async fn use_up(&self, user: &str, salt: &str, hash: &[u8]) -> io::Result<Option<u32>> {
        // In memory first: of equal answers at once one wins, and if the disk fails the code is gone
        // rather than good twice.
        let left = self.state.borrow_mut().users.get_mut(user).and_then(|batch| batch.use_up(salt, hash));
        if left.is_some() {
            self.write().await?;
        }
        Ok(left)
    }

    /// The same with the code that is good for a while; gives why it was made.
    async fn use_once(
        &self,
        user: &str,
        salt: &str,
        hash: &[u8],
        is_over: bool,
    ) -> io::Result<Option<String>> {
        let mut used = None;
        {
            let once = &mut self.state.borrow_mut().once;
            let is_right = once.get_mut(user).is_some_and(|once| once.code.use_up(salt, hash).is_some());
            // One whose time is over is forgotten, right or wrong.
            if (is_right || is_over) && once.get(user).is_some_and(|once| once.code.salt == salt) {
                used = once.remove(user);
            }
        }
        let Some(once) = used else { return Ok(None) };
        self.write().await?;
        Ok((!is_over).then_some(once.reason))
    }

    async fn hash(
        &self,
        codes: Vec<Zeroizing<String>>,
        salt: String,
        cost: (u32, u32),
    ) -> io::Result<Vec<Zeroizing<Vec<u8>>>> {
        let _place = self.hashes.acquire().await.map_err(io::Error::other)?;
        tokio::task::spawn_blocking(move || codes.iter().map(|code| slow_hash(code, &salt, cost)).collect())
            .await
            .map_err(io::Error::other)?
    }

    async fn write(&self) -> io::Result<()> {
        self.store.write(|| serde_json::to_vec(&*self.state.borrow())).await
    }
}

impl Batch {
    fn left(&self) -> u32 {
        self.codes.iter().filter(|kept| kept.used_at.is_none()).count().try_into().unwrap_or(u32::MAX)
    }

    /// Marks the code of that hash as used; `None` when there is none, or the codes are others by now.
    fn use_up(&mut self, salt: &str, hash: &[u8]) -> Option<u32> {
        let mut right = None;
        for (at, kept) in self.codes.iter().enumerate() {
            let known = Base64::decode_vec(&kept.hash).unwrap_or_default();
            if bool::from(known.ct_eq(hash)) && kept.used_at.is_none() {
                right = Some(at);
            }
        }
        let kept = self.codes.get_mut(right.filter(|_| self.salt == salt)?)?;
        kept.used_at = Some(clock::unix());
        Some(self.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("recovery.json")
        }

        /// As after a restart, but with a full budget.
        fn open(&self) -> Recovery {
            let owner = files::Owner(nix::unistd::geteuid().as_raw());
            let _ = std::fs::remove_file(self.0.path().join("budget.json"));
            let budget = Budget::open(&self.0.path().join("budget.json"), owner).unwrap();
            Recovery::open(&self.file(), owner, Rc::new(budget)).unwrap()
        }
    }

    #[tokio::test]
    async fn a_code_opens_once_also_after_a_restart() {
        let place = Place::new();
        let recovery = place.open();
        let codes = recovery.new_codes("alice", 3).await.unwrap();
        assert_eq!(codes.len(), 3);
        assert!(codes.iter().all(|code| code.len() == 19 && code.matches('-').count() == 3));
        assert_eq!(recovery.check("alice", &codes[1], |_| true).await.unwrap(), Checked::Used { left: 2 });
        assert_eq!(recovery.check("alice", &codes[1], |_| true).await.unwrap(), Checked::Wrong);
        assert_eq!(recovery.check("bob", &codes[0], |_| true).await.unwrap(), Checked::Wrong);
        let recovery = place.open();
        assert_eq!(recovery.check("alice", &codes[1], |_| true).await.unwrap(), Checked::Wrong);
        assert_eq!(recovery.check("alice", &codes[2], |_| true).await.unwrap(), Checked::Used { left: 1 });
        assert_eq!(recovery.left("alice"), 1);
    }

    #[tokio::test]
    async fn new_codes_end_the_old_ones_and_the_file_holds_none() {
        let place = Place::new();
        let recovery = place.open();
        let old = recovery.new_codes("alice", 1).await.unwrap();
        let new = recovery.new_codes("alice", 1).await.unwrap();
        let text = std::fs::read_to_string(place.file()).unwrap();
        assert!(!text.contains(new[0].as_str()) && !text.contains(&new[0].replace('-', "")));
        assert_eq!(recovery.check("alice", &old[0], |_| true).await.unwrap(), Checked::Wrong);
        assert_eq!(recovery.check("alice", &new[0], |_| true).await.unwrap(), Checked::Used { left: 0 });
    }

    #[tokio::test]
    async fn of_twenty_equal_answers_at_once_one_wins() {
        let place = Place::new();
        let recovery = Rc::new(place.open());
        let codes = recovery.new_codes("alice", 1).await.unwrap();
        let local = tokio::task::LocalSet::new();
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let (recovery, code) = (Rc::clone(&recovery), codes[0].clone());
            tasks.push(
                local.spawn_local(async move { recovery.check("alice", &code, |_| true).await.unwrap() }),
            );
        }
        let mut won = 0;
        local
            .run_until(async {
                for task in tasks {
                    won += u32::from(matches!(task.await.unwrap(), Checked::Used { .. }));
                }
            })
            .await;
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn a_code_that_cannot_be_written_down_as_used_opens_nothing() {
        let place = Place::new();
        let recovery = place.open();
        let codes = recovery.new_codes("alice", 2).await.unwrap();
        // A directory where the new file has to go: root, too, fails there.
        std::fs::create_dir(files::beside(&place.file(), ".new")).unwrap();
        assert!(recovery.check("alice", &codes[0], |_| true).await.is_err());
        std::fs::remove_dir(files::beside(&place.file(), ".new")).unwrap();
        assert_eq!(recovery.check("alice", &codes[0], |_| true).await.unwrap(), Checked::Wrong);
        // New codes that cannot be kept are not handed out, and the old ones go on.
        std::fs::create_dir(files::beside(&place.file(), ".new")).unwrap();
        assert!(recovery.new_codes("alice", 2).await.is_err());
        std::fs::remove_dir(files::beside(&place.file(), ".new")).unwrap();
        assert_eq!(recovery.check("alice", &codes[1], |_| true).await.unwrap(), Checked::Used { left: 0 });
    }

    #[tokio::test]
    async fn one_for_a_while_opens_once_within_its_time() {
        let place = Place::new();
        let recovery = place.open();
        let hour = Duration::from_secs(3600);
        let printed = recovery.new_codes("alice", 1).await.unwrap();
        let (old, _) = recovery.new_once("alice", hour, "first").await.unwrap();
        let (code, ends_at) = recovery.new_once("alice", hour, "phone lost").await.unwrap();
        assert!(ends_at >= clock::unix() + 3590);
        let recovery = place.open();
        assert_eq!(recovery.check("alice", &old, |_| true).await.unwrap(), Checked::Wrong);
        assert_eq!(recovery.check("bob", &code, |_| true).await.unwrap(), Checked::Wrong);
        let used = Checked::Once { reason: "phone lost".to_owned() };
        assert_eq!(recovery.check("alice", &code, |_| true).await.unwrap(), used);
        for recovery in [recovery, place.open()] {
            assert_eq!(recovery.check("alice", &code, |_| true).await.unwrap(), Checked::Wrong);
        }
        let recovery = place.open();
        let (late, _) = recovery.new_once("alice", Duration::ZERO, "late").await.unwrap();
        assert_eq!(recovery.check("alice", &late, |_| true).await.unwrap(), Checked::Wrong);
        assert!(!std::fs::read_to_string(place.file()).unwrap().contains("late"), "forgotten");
        assert_eq!(recovery.check("alice", &printed[0], |_| true).await.unwrap(), Checked::Used { left: 0 });
    }

    #[tokio::test]
    async fn of_twenty_who_type_the_one_for_a_while_at_once_one_wins() {
        let place = Place::new();
        let recovery = place.open();
        let (code, _) = recovery.new_once("alice", Duration::from_secs(60), "x").await.unwrap();
        let all = (0..20).map(|_| recovery.check("alice", &code, |_| true));
        let all = futures_util::future::join_all(all).await;
        let won = all.iter().filter(|checked| matches!(checked, Ok(Checked::Once { .. }))).count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn guessing_ends_and_other_answers_cost_nothing() {
        let place = Place::new();
        let recovery = place.open();
        let codes = recovery.new_codes("alice", 1).await.unwrap();
        for _ in 0..30 {
            assert_eq!(recovery.check("alice", "123456", |_| true).await.unwrap(), Checked::NotACode);
        }
        for _ in 0..5 {
            assert_eq!(
                recovery.check("alice", "0000-0000-0000-0000", |_| true).await.unwrap(),
                Checked::Wrong
            );
        }
        let blocked = recovery.check("alice", &codes[0], |_| true).await.unwrap();
        assert!(matches!(blocked, Checked::Blocked { retry } if retry > Duration::from_secs(60)));
    }
}
