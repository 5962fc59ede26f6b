//! Whom to ask, of everybody who has a device, without a login's time being lost where the name service is slow.
//!
//! What it has said of a user is believed for [`KEPT`], one look-up goes through all users for all logins, and who is
//! not known in time is not asked. None of that lets anybody in: see [`super::members`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_policy::Named;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::directory::{Directory, directory};
use super::members::{Answer, Candidate, Meant, Member, answer, places};
use super::{LIMIT, LookupError, ask};
use crate::clock;

/// How long an answer about a user's groups may decide who is asked.
const KEPT: Duration = Duration::from_secs(120);
/// After so long without any answer a look-up counts as hanging, and another one may begin beside it.
const HANGS: Duration = Duration::from_secs(10);

thread_local! {
    static SURVEY: Arc<Survey> = Arc::default();
    static SURVEY_OF_USERS: Arc<Survey> = Arc::default();
}

/// Whom a rule names, as far as that is known.
#[derive(Debug)]
pub struct Found {
    /// Each person once.
    pub members: Vec<Member>,
    /// Why nothing is known of some users yet, and of how many.
    pub unknown: Option<(LookupError, usize)>,
}

/// Which of these users, who are everybody with a device, are among the named people; of several names for one number
/// the first.
///
/// # Errors
/// When the name service does not say who is named. Of some users it may say nothing in time: see [`Found`].
pub async fn survey(users: Vec<Candidate>, named: Vec<Named>, for_root: bool) -> Result<Found, LookupError> {
    let until = Instant::now() + LIMIT;
    let directory = directory();
    let survey = if for_root { &SURVEY } else { &SURVEY_OF_USERS }.with(Arc::clone);
    let meant = {
        let directory = Arc::clone(&directory);
        ask(places(for_root), move || Meant::look_up(directory.as_ref(), &named)).await?
    };
    let meant = Arc::new(meant);
    let asked = async {
        // The second time for what another login's rule has left open.
        for _ in 0..2 {
            survey.want(&meant, &users);
            survey.work(&directory, places(for_root)).await;
        }
    };
    let _ = timeout_at(until, asked).await;
    Ok(survey.found(&meant, &users))
}

/// What is known of all users who have a device, and what is still to be asked.
#[derive(Default)]
struct Survey {
    state: Mutex<State>,
    /// Everything was asked.
    done: Notify,
}

#[derive(Default)]
struct State {
    known: HashMap<String, Answer>,
    /// Users to ask about, the likely ones first.
    wanted: VecDeque<(String, Arc<Meant>)>,
    waiting: HashSet<String>,
    /// Look-ups that go on.
    workers: usize,
    /// When the last answer came, by the boot clock.
    progress: Duration,
    /// The last fault since everything was asked.
    fault: Option<nix::Error>,
}

impl Survey {
    fn state(&self) -> MutexGuard<'_, State> {
        // A look-up that broke off has changed nothing by halves.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whom nothing is known of.
    fn want(&self, meant: &Arc<Meant>, users: &[Candidate]) {
        let now = clock::boot();
        let mut state = self.state();
        state.known.retain(|_, answer| now < answer.at + KEPT);
        if state.workers > 0 && now >= state.progress + HANGS {
            // What hangs is asked once more.
            state.waiting = state.wanted.iter().map(|(name, _)| name.clone()).collect();
        }
        for user in users {
            let known = state.known.get(&user.name);
            if known.is_some_and(|answer| meant.is_one(&user.name, answer).is_some()) {
                continue;
            }
            let is_likely = user.is_certified || meant.listed.contains(&user.name);
            let is_new = state.waiting.insert(user.name.clone());
            let one = (user.name.clone(), Arc::clone(meant));
            match (is_likely, is_new) {
                (true, true) => state.wanted.push_front(one),
                (true, false) => {
                    state.wanted.retain(|(name, _)| *name != user.name);
                    state.wanted.push_front(one);
                }
                (false, true) => state.wanted.push_back(one),
                (false, false) => {}
            }
        }
    }

    /// Asks until everything is known. Dropping the future leaves that to go on.
    async fn work(self: &Arc<Self>, directory: &Arc<dyn Directory>, places: Arc<Semaphore>) {
        loop {
            let done = self.done.notified();
            if self.state().waiting.is_empty() {
                return;
            }
            if self.needs_worker() {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                if self.needs_worker() {
                    self.start(Arc::clone(directory), place);
                }
            }
            let _ = tokio::time::timeout(HANGS, done).await;
        }
    }

    fn needs_worker(&self) -> bool {
        let state = self.state();
        !state.wanted.is_empty() && (state.workers == 0 || clock::boot() >= state.progress + HANGS)
    }

    fn start(self: &Arc<Self>, directory: Arc<dyn Directory>, place: OwnedSemaphorePermit) {
        let mut state = self.state();
        state.workers += 1;
        state.progress = clock::boot();
        state.fault = None;
        drop(state);
        let survey = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            survey.ask_all(directory.as_ref());
            drop(place);
        });
    }

    fn ask_all(&self, directory: &dyn Directory) {
        loop {
            let mut state = self.state();
            let Some((name, meant)) = state.wanted.pop_front() else {
                state.workers -= 1;
                break;
            };
            drop(state);
            let answer = answer(directory, &meant, &name);
            let mut state = self.state();
            state.waiting.remove(&name);
            state.progress = clock::boot();
            match answer {
                Ok(answer) => drop(state.known.insert(name, answer)),
                Err(fault) => state.fault = Some(fault),
            }
        }
        self.done.notify_waiters();
    }

    fn found(&self, meant: &Meant, users: &[Candidate]) -> Found {
        let state = self.state();
        let (members, unknown) = meant.choose(users, |name| state.known.get(name));
        let why = || state.fault.map_or(LookupError::Timeout, LookupError::Failed);
        Found { members, unknown: (unknown > 0).then(|| (why(), unknown)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PLACES;
    use super::super::members::members;
    use super::super::testing::Fake;
    use super::*;
    use std::time::Instant;

    fn everybody(number: usize) -> Vec<Candidate> {
        (0..number).map(|at| candidate(&format!("u{at}"))).collect()
    }

    fn candidate(name: &str) -> Candidate {
        Candidate { name: name.to_owned(), is_certified: false }
    }

    fn oncall() -> Vec<Named> {
        vec![Named::Group("oncall".into())]
    }

    fn names(members: &[Member]) -> Vec<&str> {
        members.iter().map(|member| member.person.name.as_str()).collect()
    }

    async fn asked(users: Vec<Candidate>) -> Found {
        survey(users, oncall(), true).await.unwrap()
    }

    /// 500 questions of 20 ms are ten seconds, and a login has two.
    #[tokio::test]
    async fn a_slow_name_service_fails_no_login_however_many_have_a_device() {
        let group: &[(&str, &[&str])] = &[("oncall", &["u499", "u250", "not enrolled"])];
        let slow = Duration::from_millis(20);
        let fake = Fake { takes: slow, ..Fake::new(group) }.install();
        let began = Instant::now();
        let found = asked(everybody(500)).await;
        assert!(began.elapsed() < LIMIT + Duration::from_millis(500), "{:?}", began.elapsed());
        assert_eq!(
            names(&found.members),
            ["u250", "u499"],
            "whom the group's entry lists is asked about first"
        );
        let (why, unknown) = found.unknown.unwrap();
        assert!(matches!(why, LookupError::Timeout) && (300..498).contains(&unknown), "{unknown}");

        // Many at once do not ask more, nor take more than one place.
        fake.count();
        let (a, b, c) = tokio::join!(asked(everybody(500)), asked(everybody(500)), asked(everybody(500)));
        assert!([a, b, c].iter().all(|found| names(&found.members) == ["u250", "u499"]));
        assert!(fake.count() < 150, "{:?} of questions", LIMIT);
        assert!(PLACES.with(|places| places.available_permits()) >= 7);
        // The few who have approved are asked about anew, and that is not kept waiting.
        let began = Instant::now();
        let users = vec![candidate("u250"), candidate("u3")];
        assert_eq!(names(&members(users, oncall(), true).await.unwrap()), ["u250"]);
        assert!(began.elapsed() < Duration::from_millis(500));
        SURVEY.with(Arc::clone).state().wanted.clear();
    }

    #[tokio::test]
    async fn who_is_known_is_not_asked_about_again_before_the_time_is_over() {
        let group: &[(&str, &[&str])] = &[("oncall", &["u1", "u2"])];
        // As directories are that list nobody in a group's entry.
        let fake = Fake { lists: false, ..Fake::new(group) }.install();
        assert_eq!(names(&asked(everybody(40)).await.members), ["u1", "u2"]);
        assert_eq!(fake.count(), 80);
        assert_eq!(names(&asked(everybody(41)).await.members), ["u1", "u2"]);
        assert_eq!(fake.count(), 2, "the new one");

        // Out of the group: asked for that long, and counts for nothing from now on.
        let fake = Fake { lists: false, ..Fake::new(&[("oncall", &["u1"])]) }.install();
        assert_eq!(names(&asked(everybody(41)).await.members), ["u1", "u2"]);
        let approved = vec![candidate("u1"), candidate("u2")];
        assert_eq!(names(&members(approved, oncall(), true).await.unwrap()), ["u1"]);
        fake.count();
        let survey = SURVEY.with(Arc::clone);
        for answer in survey.state().known.values_mut() {
            answer.at = answer.at.checked_sub(KEPT).unwrap_or_default();
        }
        assert_eq!(names(&asked(everybody(41)).await.members), ["u1"]);
        assert_eq!(fake.count(), 82);
        assert_eq!(survey.state().known.len(), 41);
    }

    #[tokio::test]
    async fn who_is_taken_off_a_groups_list_is_asked_no_more() {
        Fake::new(&[("oncall", &["u1", "u2"])]).install();
        assert_eq!(names(&asked(everybody(5)).await.members), ["u1", "u2"]);
        Fake::new(&[("oncall", &["u2"])]).install();
        assert_eq!(names(&asked(everybody(5)).await.members), ["u2"]);
    }

    #[tokio::test]
    async fn a_fault_about_one_user_is_nobody_elses() {
        let fake = Fake { fails: vec!["u2".into()], ..Fake::new(&[("oncall", &["u1", "u2"])]) };
        fake.install();
        let found = asked(everybody(5)).await;
        assert_eq!(names(&found.members), ["u1"]);
        assert!(matches!(found.unknown, Some((LookupError::Failed(_), 1))), "{:?}", found.unknown);
        // Of those who have approved it has to be known.
        assert!(members(vec![candidate("u2")], oncall(), true).await.is_err());
    }

    #[tokio::test]
    async fn certificates_name_somebody_whatever_the_groups_and_one_number_is_one_person() {
        Fake::new(&[("oncall", &["u1"])]).install();
        let certified = |name: &str| Candidate { name: name.into(), is_certified: true };
        let found = asked(vec![certified("u0"), certified("u1"), candidate("u2")]).await.members;
        let by_name: Vec<_> = found.iter().map(|one| (one.person.name.as_str(), one.by_name)).collect();
        assert_eq!(by_name, [("u0", false), ("u1", true)]);
        let twice = vec![certified("u0"), certified("u0")];
        assert_eq!(members(twice, oncall(), true).await.unwrap().len(), 1);
    }

    /// One user about whom a question never ends costs the others nothing for long.
    #[tokio::test]
    async fn a_look_up_that_hangs_gives_way_to_another() {
        Fake::new(&[("oncall", &["u1"])]).install();
        let survey = SURVEY.with(Arc::clone);
        let meant = Arc::new(Meant::look_up(directory().as_ref(), &oncall()).unwrap());
        survey.want(&meant, &everybody(1));
        {
            let mut state = survey.state();
            state.wanted.clear();
            (state.workers, state.progress) = (1, clock::boot());
        }
        let found = asked(everybody(3)).await;
        assert_eq!((found.members.len(), found.unknown.unwrap().1), (0, 3), "it may still come");
        survey.state().progress = clock::boot().checked_sub(HANGS).unwrap_or_default();
        let found = asked(everybody(3)).await;
        assert_eq!(names(&found.members), ["u1"]);
        assert!(found.unknown.is_none());
    }
}
