//! Users of this host, as the name service knows them.

mod directory;
mod members;
mod survey;
#[cfg(test)]
mod testing;

pub use members::{Candidate, Member, members};
pub use survey::{Found, Question, survey};
#[cfg(test)]
pub(crate) use testing::groups_for_tests;

use countersign_policy::Membership;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Longest time for one question to the name service.
const LIMIT: Duration = Duration::from_secs(2);

/// Questions at once that root's programs cause. One that hangs keeps its place until the name service
/// answers, so that a broken directory server costs at most this many threads.
const MOST: usize = 8;

/// The same that everybody else causes: they must not take the places of root's.
const MOST_OF_USERS: usize = 2;

thread_local! {
    /// The daemon has one thread that asks; each test has its own.
    static PLACES: Arc<Semaphore> = Arc::new(Semaphore::new(MOST));
    static PLACES_OF_USERS: Arc<Semaphore> = Arc::new(Semaphore::new(MOST_OF_USERS));
    static PLACES_OF_STRANGERS: Arc<Semaphore> = Arc::new(Semaphore::new(MOST_OF_USERS));
}

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The canonical name (`pw_name`), which may differ from what was typed.
    pub name: String,
    /// The user's number.
    pub uid: u32,
}

impl Person {
    /// Whether a name means this user, without asking the name service, which may not know case.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Why nobody knows whether there is such a user.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No answer in time.
    #[error("the name service did not answer in time")]
    Timeout,
    /// It answered with an error.
    #[error("the name service failed: {0}")]
    Failed(#[from] nix::Error),
    /// The look-up itself broke.
    #[error("a look-up in the name service broke off")]
    Broken,
}

/// The user of that name, in whatever spelling the name service accepts. For root's programs alone: what
/// others make up must not keep a slow name service busy.
///
/// # Errors
/// [`LookupError`] when the name service does not say: then nobody is let in.
pub async fn lookup(name: &str) -> Result<Option<Person>, LookupError> {
    // getpwnam ends at a NUL, and would find another name.
    if name.is_empty() || name.len() > countersign_protocol::login::MAX_NAME || name.contains('\0') {
        return Ok(None);
    }
    let name = name.to_owned();
    let user = ask(PLACES.with(Arc::clone), move || User::from_name(&name)).await?;
    Ok(user.map(known))
}

/// The user of that number, who calls and is not root.
///
/// # Errors
/// As [`lookup`].
pub async fn by_uid(uid: u32) -> Result<Option<Person>, LookupError> {
    let user = ask(PLACES_OF_USERS.with(Arc::clone), move || User::from_uid(Uid::from_raw(uid))).await?;
    Ok(user.map(known))
}

/// Whether there is a user of that number, of whom nothing is known yet: whoever may be anybody waits beside
/// those who are known.
///
/// # Errors
/// As [`lookup`].
pub async fn exists(uid: u32) -> Result<bool, LookupError> {
    let question = move || User::from_uid(Uid::from_raw(uid));
    Ok(ask(PLACES_OF_STRANGERS.with(Arc::clone), question).await?.is_some())
}

/// The groups of the user of that number, and what the named groups are. A group that does not exist has no
/// members.
///
/// # Errors
/// As [`lookup`].
pub async fn membership(uid: u32, groups: Vec<String>, for_root: bool) -> Result<Membership, LookupError> {
    if groups.is_empty() {
        return Ok(Membership::default());
    }
    let places = if for_root { &PLACES } else { &PLACES_OF_USERS }.with(Arc::clone);
    let question = move || {
        let Some(user) = User::from_uid(Uid::from_raw(uid))? else { return Ok(Membership::default()) };
        let name = CString::new(user.name).map_err(|_| nix::Error::EINVAL)?;
        let of_user = getgrouplist(&name, user.gid)?.into_iter().map(Gid::as_raw).collect();
        let mut named = HashMap::new();
        for group in groups {
            if let Some(known) = Group::from_name(&group)? {
                named.insert(group, known.gid.as_raw());
            }
        }
        Ok(Membership { of_user, named })
    };
    ask(places, question).await
}

async fn ask<T: Send + 'static>(
    places: Arc<Semaphore>,
    question: impl FnOnce() -> nix::Result<T> + Send + 'static,
) -> Result<T, LookupError> {
    let answer = async {
        let place = places.acquire_owned().await.map_err(|_| LookupError::Broken)?;
        let task = tokio::task::spawn_blocking(move || {
            let answer = question();
            drop(place);
            answer
        });
        task.await.map_err(|_| LookupError::Broken)?.map_err(LookupError::Failed)
    };
    tokio::time::timeout(LIMIT, answer).await.map_err(|_| LookupError::Timeout)?
}

fn known(user: User) -> Person {
    Person { name: user.name, uid: user.uid.as_raw() }
}

/// What this thread asks for root hangs, or what it asks for users, until this is dropped.
#[cfg(test)]
pub(crate) fn hang(for_root: bool) -> impl Drop {
    take_all(if for_root { &PLACES } else { &PLACES_OF_USERS })
}

/// What this thread asks about strangers hangs until this is dropped.
#[cfg(test)]
pub(crate) fn hang_strangers() -> impl Drop {
    take_all(&PLACES_OF_STRANGERS)
}

#[cfg(test)]
fn take_all(places: &'static std::thread::LocalKey<Arc<Semaphore>>) -> impl Drop {
    let places = places.with(Arc::clone);
    let all = u32::try_from(places.available_permits()).unwrap();
    places.try_acquire_many_owned(all).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn root_is_known_by_name_and_number() {
        let root = lookup("root").await.unwrap().unwrap();
        assert_eq!(root, Person { name: "root".into(), uid: 0 });
        assert_eq!(by_uid(0).await.unwrap().unwrap().name, "root");
    }

    #[tokio::test]
    async fn groups_are_known_by_their_numbers() {
        let groups = vec!["root".to_owned(), "no such group here".to_owned()];
        let root = membership(0, groups.clone(), true).await.unwrap();
        assert!(root.of_user.contains(&0));
        assert_eq!(root.named, HashMap::from([("root".to_owned(), 0)]));
        assert_eq!(membership(3_999_999_999, groups, true).await.unwrap(), Membership::default());
    }

    #[tokio::test]
    async fn names_that_no_user_can_have_are_unknown() {
        for name in ["", "root\0x", "no such user here", &"a".repeat(5000)] {
            assert_eq!(lookup(name).await.unwrap(), None, "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_hanging_name_service_is_given_up() {
        let before = std::time::Instant::now();
        let answer = ask(PLACES.with(Arc::clone), || {
            std::thread::sleep(LIMIT + Duration::from_millis(300));
            Ok(())
        })
        .await;
        assert!(matches!(answer, Err(LookupError::Timeout)));
        assert!(before.elapsed() < LIMIT + Duration::from_millis(250));
    }

    #[tokio::test]
    async fn what_users_ask_does_not_keep_roots_questions_waiting() {
        let slow = || {
            std::thread::sleep(LIMIT + Duration::from_millis(100));
            Ok(())
        };
        let users = || ask(PLACES_OF_USERS.with(Arc::clone), slow);
        let (a, b, c, root) = tokio::join!(users(), users(), users(), lookup("root"));
        assert!([a, b, c].iter().all(|answer| matches!(answer, Err(LookupError::Timeout))));
        assert_eq!(root.unwrap().unwrap().uid, 0);
    }
}
