use super::*;

fn from(person: &str, place: &str) -> Asking {
    let place = Place { name: place.to_owned(), may_block: true };
    Asking { person: person.to_owned(), others: Vec::new(), place, caller: None }
}

struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("fatigue.json")
    }

    /// The daemon starts.
    fn start(&self) -> Fatigue {
        Fatigue::open(&self.path(), files::Owner::own()).unwrap()
    }
}

/// Logins one after the other; how many ring.
fn logins(fatigue: &Fatigue, asking: &Asking, number: usize) -> usize {
    (0..number).filter(|_| fatigue.begin(asking.clone(), true).rings).count()
}

#[tokio::test]
async fn fifty_logins_ring_three_times_also_across_restarts() {
    let (host, alice) = (Host::new(), from("alice", "192.0.2.1"));
    let mut rang = 0;
    for _ in 0..5 {
        let fatigue = host.start();
        rang += logins(&fatigue, &alice, 10);
        fatigue.save().await.unwrap();
    }
    assert_eq!(rang, 3);
    let fatigue = host.start();
    assert_eq!(logins(&fatigue, &from("bob", "192.0.2.1"), 1), 1, "others are rung for");
    assert_eq!(fatigue.held(Some("alice"), None)[0].what, What::Quiet);
    fatigue.succeeded(&alice);
    assert_eq!(logins(&fatigue, &alice, 50), 3);
}

#[tokio::test]
async fn a_login_that_is_let_in_at_once_costs_no_disk() {
    let (host, alice) = (Host::new(), from("alice", "192.0.2.1"));
    let fatigue = host.start();
    for _ in 0..20 {
        let counted = fatigue.begin(alice.clone(), true);
        assert!(counted.rings);
        fatigue.succeeded(&alice);
        fatigue.save().await.unwrap();
    }
    assert!(!host.path().exists());
}

#[test]
fn beside_another_from_the_same_place_none_rings_and_both_are_open() {
    let fatigue = Host::new().start();
    let first = fatigue.begin(from("alice", "192.0.2.1"), true);
    assert!(first.rings && !fatigue.begin(from("alice", "192.0.2.1"), true).rings);
    assert!(fatigue.begin(from("bob", "192.0.2.1"), true).rings);
    drop(first);
    assert!(fatigue.begin(from("alice", "192.0.2.1"), true).rings);
    assert!(fatigue.open.borrow().is_empty());
}

#[test]
fn who_asks_about_many_is_silenced_for_all_of_them() {
    let fatigue = Host::new().start();
    let by_mallory = |person: &str| Asking { caller: Some("mallory".into()), ..from(person, "user mallory") };
    let people: Vec<String> = (0..50).map(|number| format!("person{number}")).collect();
    let rang = people.iter().filter(|person| fatigue.begin(by_mallory(person), true).rings).count();
    assert_eq!(rang, 3);
    assert!(fatigue.begin(from("person9", "192.0.2.1"), true).rings, "by themselves they are rung for");
}

#[test]
fn those_who_approve_for_others_are_rung_no_more_than_for_themselves() {
    let fatigue = Host::new().start();
    let asks =
        |person: &str| Asking { others: vec!["alice".into(), "bob".into()], ..from(person, "192.0.2.1") };
    for number in 0..5 {
        let counted = fatigue.begin(asks(&format!("sent nowhere {number}")), true);
        fatigue.give_back(&counted);
        assert!(counted.rings);
    }
    let rang = (0..32).filter(|number| fatigue.begin(asks(&format!("person{}", number % 8)), true).rings);
    assert_eq!(rang.count(), 3);
    assert!(!fatigue.begin(from("bob", "198.51.100.1"), true).rings, "it is the same phone");
    assert!(fatigue.begin(from("person9", "198.51.100.1"), true).rings, "others are rung for");
    fatigue.succeeded(&asks("person1"));
    assert!(fatigue.begin(from("bob", "198.51.100.1"), true).rings);
    assert!(fatigue.begin(asks("person1"), true).rings);
}

#[tokio::test]
async fn a_denial_and_a_report_hold_across_restarts_for_one_person_and_place() {
    let host = Host::new();
    let (near, far) = (from("alice", "192.0.2.1"), from("alice", "198.51.100.1"));
    let fatigue = host.start();
    fatigue.denied(&near);
    assert!(fatigue.reported(&far));
    fatigue.save().await.unwrap();
    let fatigue = host.start();
    assert_eq!(fatigue.refuses("alice", &near.place), Some(Refused::Denied));
    assert_eq!(fatigue.refuses("alice", &far.place), Some(Refused::Reported));
    assert_eq!(fatigue.refuses("bob", &far.place), None);
    assert_eq!(fatigue.refuses("alice", &from("alice", "203.0.113.1").place), None);
}

#[test]
fn a_place_for_which_nobody_vouches_is_not_blocked() {
    let fatigue = Host::new().start();
    let mut asking = from("alice", "terminal tty1");
    asking.place.may_block = false;
    assert!(!fatigue.reported(&asking));
    assert_eq!(fatigue.refuses("alice", &asking.place), Some(Refused::Denied), "for a moment");
}

#[tokio::test]
async fn forgetting_ends_what_is_meant_and_stays_so() {
    let host = Host::new();
    let fatigue = host.start();
    let (near, far) = (from("alice", "192.0.2.1"), from("alice", "198.51.100.1"));
    logins(&fatigue, &near, 5);
    logins(&fatigue, &from("bob", "192.0.2.1"), 5);
    assert!(fatigue.reported(&near) && fatigue.reported(&far));
    assert_eq!(fatigue.held(None, None).len(), 4);
    assert_eq!(fatigue.held(None, Some("192.0.2.1")).len(), 1);

    fatigue.forget(None, Some("192.0.2.1")).await.unwrap();
    assert_eq!(fatigue.refuses("alice", &near.place), None);
    assert!(fatigue.refuses("alice", &far.place).is_some());
    fatigue.forget(Some("alice"), None).await.unwrap();
    let fatigue = host.start();
    assert_eq!(fatigue.refuses("alice", &far.place), None);
    let left: Vec<_> = fatigue.held(None, None).into_iter().map(|held| held.user).collect();
    assert_eq!(left, [Some("bob".to_owned())]);
    fatigue.forget(None, None).await.unwrap();
    assert!(host.start().held(None, None).is_empty());
}

#[tokio::test]
async fn setting_the_clock_back_ends_nothing() {
    let (host, alice) = (Host::new(), from("alice", "192.0.2.1"));
    // Written by a clock that stood an hour ahead and was then set right.
    let ahead = crate::clock::unix() + 3600;
    let mut state = State { high_water: ahead, ..State::default() };
    for _ in 0..3 {
        assert!(count(&mut state.people, "alice", ahead));
    }
    state.bars_of("alice", ahead).reported("192.0.2.1", ahead);
    files::replace(&host.path(), &serde_json::to_vec(&state).unwrap()).unwrap();
    let fatigue = host.start();
    assert_eq!(logins(&fatigue, &alice, 10), 0);
    let left = fatigue.held(None, Some("192.0.2.1"))[0].left;
    assert!((AFTER_REPORT - 5..=AFTER_REPORT).contains(&left), "{left}");
}

#[test]
fn people_and_callers_are_bounded_and_the_calmest_goes() {
    let mut state = State::default();
    for number in 0..MOST as u64 * 2 {
        count(&mut state.people, &number.to_string(), 1_000_000 + number);
        state.bars_of(&number.to_string(), 1_000_000).reported("x", 1_000_000 + number);
    }
    assert_eq!((state.people.len(), state.bars.len()), (MOST, MOST));
    assert!(!state.people.contains_key("0") && !state.bars.contains_key("0"));
}

#[test]
fn a_broken_file_is_not_an_empty_one() {
    let host = Host::new();
    files::replace(&host.path(), b"{").unwrap();
    let error = Fatigue::open(&host.path(), files::Owner::own()).err().unwrap().to_string();
    assert!(error.contains("fatigue.json"), "{error}");
}
