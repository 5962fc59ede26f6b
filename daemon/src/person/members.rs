//! Which of a few users a rule names: those who have approved, about whom the name service is asked anew before anybody
//! is let in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use countersign_policy::Named;
use tokio::sync::Semaphore;

use super::directory::{Directory, Entry, directory};
use super::{LookupError, PLACES, PLACES_OF_USERS, Person, ask};
use crate::clock;

/// A user who may be one of those whom a rule names.
pub struct Candidate {
    /// As their devices were paired.
    pub name: String,
    /// Whether a certificate makes them one, whatever their groups.
    pub is_certified: bool,
}

/// One of those whom a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who that is.
    pub person: Person,
    /// Whether their name or a group of theirs stands in the rule. Else only a certificate makes them one.
    pub by_name: bool,
}

/// Which of these few users are among the named people, by user and group number, as the name service says now; of
/// several names for one number the first.
///
/// # Errors
/// As [`super::lookup`].
pub async fn members(
    users: Vec<Candidate>,
    named: Vec<Named>,
    for_root: bool,
) -> Result<Vec<Member>, LookupError> {
    let directory = directory();
    let question = move || {
        let meant = Meant::look_up(directory.as_ref(), &named)?;
        let mut known = HashMap::new();
        for user in &users {
            known.insert(user.name.clone(), answer(directory.as_ref(), &meant, &user.name)?);
        }
        Ok(meant.choose(&users, |name| known.get(name)).0)
    };
    ask(places(for_root), question).await
}

pub(super) fn places(for_root: bool) -> Arc<Semaphore> {
    if for_root { &PLACES } else { &PLACES_OF_USERS }.with(Arc::clone)
}

/// What the names of a rule mean on this host.
pub(super) struct Meant {
    uids: Vec<u32>,
    gids: Vec<u32>,
    /// Whom the groups' entries list.
    pub(super) listed: HashSet<String>,
}

/// What the name service has said of a user.
pub(super) struct Answer {
    /// `None` where there is no such user.
    pub(super) entry: Option<Entry>,
    /// `None` where that was not asked yet.
    pub(super) groups: Option<Vec<u32>>,
    /// Boot clock.
    pub(super) at: Duration,
}

impl Meant {
    pub(super) fn look_up(directory: &dyn Directory, named: &[Named]) -> nix::Result<Self> {
        let (mut uids, mut gids, mut listed) = (Vec::new(), Vec::new(), HashSet::new());
        for one in named {
            match one {
                Named::User(name) => uids.extend(directory.user(name)?.map(|user| user.uid)),
                Named::Group(name) => {
                    if let Some(group) = directory.group(name)? {
                        gids.push(group.gid);
                        listed.extend(group.members);
                    }
                }
                // The host does not know them: certificates do.
                Named::Principal(_) => {}
            }
        }
        Ok(Self { uids, gids, listed })
    }

    /// Whether a user is named; `None` where the answer does not tell.
    pub(super) fn is_one(&self, name: &str, answer: &Answer) -> Option<bool> {
        // Devices belong to canonical names.
        let Some(entry) = answer.entry.as_ref().filter(|entry| entry.name == name) else {
            return Some(false);
        };
        if self.uids.contains(&entry.uid) || self.gids.contains(&entry.gid) || self.listed.contains(name) {
            return Some(true);
        }
        match &answer.groups {
            _ if self.gids.is_empty() => Some(false),
            Some(groups) => Some(groups.iter().any(|group| self.gids.contains(group))),
            None => None,
        }
    }

    /// Those of the users who are named or certified, and how many are not known.
    pub(super) fn choose<'a>(
        &self,
        users: &[Candidate],
        answer: impl Fn(&str) -> Option<&'a Answer>,
    ) -> (Vec<Member>, usize) {
        let mut members: Vec<Member> = Vec::new();
        let mut unknown = 0;
        for user in users {
            let known = answer(&user.name);
            let by_name = known.and_then(|answer| self.is_one(&user.name, answer));
            unknown += usize::from(by_name.is_none());
            let entry = known.and_then(|answer| answer.entry.as_ref());
            let Some(entry) = entry.filter(|entry| entry.name == user.name) else { continue };
            let is_known = members.iter().any(|member| member.person.uid == entry.uid);
            let by_name = by_name == Some(true);
            if (by_name || user.is_certified) && !is_known {
                let person = Person { name: entry.name.clone(), uid: entry.uid };
                members.push(Member { person, by_name });
            }
        }
        (members, unknown)
    }
}

/// Asks about one user, no more than tells whether they are one.
pub(super) fn answer(directory: &dyn Directory, meant: &Meant, name: &str) -> nix::Result<Answer> {
    // From before it is asked: what is said may be as old as the question.
    let at = clock::boot();
    let mut answer = Answer { entry: directory.user(name)?, groups: None, at };
    if meant.is_one(name, &answer).is_none() {
        answer.groups = answer.entry.as_ref().map(|entry| directory.groups_of(entry)).transpose()?;
    }
    Ok(answer)
}
