//! Whom to ask, of everybody who has a device, without a login's time being lost where the name service is slow.
//!
//! What it has said of a user is believed for [`KEPT`], one look-up goes through all users for all logins, and who is
//! not known in time is not asked. Where it hangs, a few of the places are lost to it, and the others are left. None of
//! that lets anybody in: see [`mod@super::members`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_policy::Named;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::directory::{Directory, directory};
use super::members::{Answer, Candidate, Meant, Member, answer, places};
use super::{LookupError, ask};
use crate::clock;

/// How long an answer about a user's groups may decide who is asked.
const KEPT: Duration = Duration::from_secs(120);
/// After so long without any answer a look-up counts as hanging, and another one may begin beside it, as long as there
/// are fewer than [`MOST_WORKERS`].
const HANGS: Duration = Duration::from_secs(10);
/// Look-ups at once that root's logins cause, of the places that all their questions have.
const MOST_WORKERS: usize = 2;
/// The same of everybody else's.
const MOST_OF_USERS: usize = 1;
/// How long a look-up goes on for the next login when none waits for it any more.
const GOES_ON: Duration = Duration::from_secs(10);

/// So long after a login began to wait nobody else is waited for, where enough are known: a post may take two seconds
/// after that, and the module gives up after three.
const SOON: Duration = Duration::from_millis(900);
/// The same where too few are known.
const LATEST: Duration = Duration::from_millis(1500);
/// What it has at least, whatever has come before.
const LEAST: Duration = Duration::from_millis(300);
/// How often it is looked whether enough are known by now.
const LOOKS: Duration = Duration::from_millis(50);

thread_local! {
    static SURVEY: Arc<Survey> = Arc::new(Survey::new(MOST_WORKERS));
    static SURVEY_OF_USERS: Arc<Survey> = Arc::new(Survey::new(MOST_OF_USERS));
}

/// What a login has to know.
pub struct Question {
    /// Whom its rule names.
    pub named: Vec<Named>,
    /// How many people it needs.
    pub needed: usize,
    /// When it began to wait.
    pub waits_since: Instant,
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
pub async fn survey(users: Vec<Candidate>, question: Question, for_root: bool) -> Result<Found, LookupError> {
    let Question { named, needed, waits_since } = question;
    let least = Instant::now() + LEAST;
    let [soon, latest] = [SOON, LATEST].map(|time| least.max(waits_since + time));
    let directory = directory();
    let survey = if for_root { &SURVEY } else { &SURVEY_OF_USERS }.with(Arc::clone);
    let meant = {
        let directory = Arc::clone(&directory);
        let meant = ask(places(for_root), move || Meant::look_up(directory.as_ref(), &named));
        timeout_at(latest, meant).await.map_err(|_| LookupError::Timeout)??
    };
    let meant = Arc::new(meant);
    let _waiting = survey.waits();
    let asked = async {
        // The second time for what another login's rule has left open.
        for _ in 0..2 {
            survey.want(&meant, &users);
            survey.work(&directory, places(for_root)).await;
        }
    };
    let enough = async {
        sleep_until(soon).await;
        while survey.found(&meant, &users).members.len() < needed {
            sleep(LOOKS).await;
        }
    };
    let either = async {
        tokio::select! {
            () = asked => {}
            () = enough => {}
        }
    };
    let _ = timeout_at(latest, either).await;
    Ok(survey.found(&meant, &users))
}

/// What is known of all users who have a device, and what is still to be asked.
struct Survey {
    state: Mutex<State>,
    /// Everything was asked.
    done: Notify,
    /// Most look-ups at once.
    most: usize,
}

/// A login that waits, until it is dropped.
struct Waiting<'a>(&'a Survey);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.logins -= 1;
        state.waited = clock::boot();
    }
}

#[derive(Default)]
struct State {
    known: HashMap<String, Answer>,
    /// Users to ask about, the likely ones first.
    wanted: VecDeque<(String, Arc<Meant>)>,
    waiting: HashSet<String>,
    /// Look-ups that go on.
    workers: usize,
    /// Logins that wait.
    logins: usize,
    /// When the last of them went, by the boot clock.
    waited: Duration,
    /// When the last answer came, by the boot clock.
    progress: Duration,
    /// The last fault since everything was asked.
    fault: Option<nix::Error>,
}

impl Survey {
    fn new(most: usize) -> Self {
        Self { state: Mutex::default(), done: Notify::new(), most }
    }

    fn waits(&self) -> Waiting<'_> {
        self.state().logins += 1;
        Waiting(self)
    }

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
        let hangs = state.workers < self.most && clock::boot() >= state.progress + HANGS;
        !state.wanted.is_empty() && (state.workers == 0 || hangs)
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
            if state.logins == 0 && clock::boot() >= state.waited + GOES_ON {
                state.wanted.clear();
                state.waiting.clear();
            }
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

    fn question(needed: usize) -> Question {
        Question { named: oncall(), needed, waits_since: Instant::now() }
    }

    async fn asked(users: Vec<Candidate>) -> Found {
        survey(users, question(2), true).await.unwrap()
    }

    /// 500 questions of 20 ms are ten seconds, and a login has one.
    #[tokio::test]
    async fn a_slow_name_service_fails_no_login_however_many_have_a_device() {
        let group: &[(&str, &[&str])] = &[("oncall", &["u499", "u250", "not enrolled"])];
        let slow = Duration::from_millis(20);
        let fake = Fake { takes: slow, ..Fake::new(group) }.install();
        let began = Instant::now();
        let found = asked(everybody(500)).await;
        assert!(began.elapsed() < SOON + Duration::from_millis(500), "{:?}", began.elapsed());
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
        assert!(fake.count() < 150, "{SOON:?} of questions");
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

    /// What comes before the survey and after it is a login's time, too.
    #[tokio::test]
    async fn a_login_that_has_waited_already_waits_shortly() {
        let group: &[(&str, &[&str])] = &[("oncall", &["u7"])];
        let slow = Duration::from_millis(20);
        Fake { takes: slow, ..Fake::new(group) }.install();
        // How long the survey took, of how much, and whether the one of the group was found.
        for (waited, needed, takes) in [(0, 1, SOON), (0, 2, LATEST), (700, 1, LEAST), (1_300, 2, LEAST)] {
            let waits_since = Instant::now().checked_sub(Duration::from_millis(waited)).unwrap();
            let began = Instant::now();
            let question = Question { named: oncall(), needed, waits_since };
            let found = survey(everybody(2000), question, true).await.unwrap();
            let took = began.elapsed();
            assert!(
                took >= takes && took < takes + Duration::from_millis(250),
                "{waited} {needed}: {took:?}"
            );
            assert_eq!(names(&found.members), ["u7"]);
            assert!(found.unknown.is_some());
        }
        SURVEY.with(Arc::clone).state().wanted.clear();
    }

    #[tokio::test]
    async fn nobody_is_asked_about_for_long_when_no_login_waits() {
        let slow = Duration::from_millis(20);
        let fake = Fake { takes: slow, ..Fake::new(&[("oncall", &["u1"])]) }.install();
        asked(everybody(2000)).await;
        fake.count();
        let survey = SURVEY.with(Arc::clone);
        assert_eq!(survey.state().logins, 0);
        assert_eq!(survey.state().workers, 1, "it goes on for the next one");
        sleep(Duration::from_millis(200)).await;
        assert!(fake.count() > 0);
        survey.state().waited = clock::boot().checked_sub(GOES_ON).unwrap();
        let waiting = survey.waits();
        sleep(Duration::from_millis(200)).await;
        assert_eq!(survey.state().workers, 1, "one waits");
        drop(waiting);
        survey.state().waited = clock::boot().checked_sub(GOES_ON).unwrap();
        sleep(Duration::from_millis(200)).await;
        let state = survey.state();
        assert_eq!((state.workers, state.wanted.len(), state.waiting.len()), (0, 0, 0));
        assert_eq!(PLACES.with(|places| places.available_permits()), super::super::MOST);
    }

    /// However long a name service takes for each answer.
    #[tokio::test]
    async fn a_survey_takes_few_of_the_places() {
        Fake::new(&[]).install();
        let meant = Arc::new(Meant::look_up(directory().as_ref(), &oncall()).unwrap());
        for (survey, most) in [(&SURVEY, 2), (&SURVEY_OF_USERS, 1)] {
            let survey = survey.with(Arc::clone);
            survey.want(&meant, &everybody(1));
            survey.state().progress = clock::boot().checked_sub(HANGS).unwrap();
            for workers in 0..4 {
                survey.state().workers = workers;
                assert_eq!(survey.needs_worker(), workers < most, "{workers} of {most}");
            }
        }
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
