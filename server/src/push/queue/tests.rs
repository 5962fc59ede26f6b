use super::*;
use crate::envelope::tests::frame;
use crate::messages::Kind;
use countersign_protocol::message::MessageType;

const LIFE: Duration = Duration::from_secs(60);
const REFUSED: Ended = Ended::Again { after: None, maybe: false, down: true };
const LOST: Ended = Ended::Again { after: None, maybe: true, down: true };

fn peer(number: u32) -> Peer {
    Peer::for_test(number)
}

fn key(device: u32, id: u8) -> Key {
    Key { host: peer(1), device: peer(100 + device), kind: Kind::Request, id: [id; 16] }
}

fn service(name: &str) -> Arc<str> {
    name.into()
}

/// A queue, and the time as the test has it.
struct Bench {
    queue: Queue,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { queue: Queue::new(Results::default()), now: Instant::now() }
    }

    fn offer_at(&mut self, name: &str, key: Key, version: Version, fill: u8) {
        let kind = match version {
            Version::Request => MessageType::Request,
            Version::Closed => MessageType::Closed,
            Version::Notice => MessageType::Notice,
        };
        let message = Message { version, frame: frame(kind, key.id[0], fill), until: self.now + LIFE };
        self.queue.offer(key, message, &service(name));
    }

    fn offer(&mut self, key: Key, version: Version, fill: u8) {
        self.offer_at("a", key, version, fill);
    }

    fn take(&mut self) -> Option<(Key, Version)> {
        self.queue.take(self.now).map(|attempt| (attempt.key, attempt.message.version))
    }

    fn done(&mut self, key: Key, ended: Ended) -> bool {
        self.queue.done(key, ended, self.now)
    }

    /// Waits as long as the queue says; gives for how long.
    fn wait(&mut self) -> Duration {
        let at = self.queue.next_wake().unwrap();
        let waited = at.duration_since(self.now);
        self.now = at;
        waited
    }

    fn count(&self, result: &'static str) -> u64 {
        self.queue.results.of(result)
    }

    #[track_caller]
    fn assert_empty(&self) {
        let queue = &self.queue;
        assert!(queue.jobs.is_empty() && queue.later.is_empty() && queue.counts.is_empty());
        assert_eq!(queue.services.counts().0, 0);
        assert!(queue.is_idle());
    }
}

#[test]
fn a_request_is_pushed_then_its_end() {
    let (mut bench, key) = (Bench::new(), key(1, 1));
    bench.offer(key, Version::Request, 1);
    assert_eq!(bench.take(), Some((key, Version::Request)));
    assert_eq!(bench.take(), None);
    assert!(!bench.done(key, Ended::Delivered));
    bench.assert_empty();
    bench.offer(key, Version::Closed, 2);
    assert_eq!(bench.take(), Some((key, Version::Closed)));
    bench.done(key, Ended::Delivered);
    // The host posts it again after a reconnect: the device knows.
    bench.offer(key, Version::Closed, 2);
    assert_eq!(bench.take(), None);
    bench.assert_empty();
}

#[test]
fn the_end_of_a_request_that_nobody_heard_of_is_not_pushed() {
    let (mut bench, key) = (Bench::new(), key(1, 1));
    bench.offer(key, Version::Closed, 2);
    assert_eq!(bench.take(), None);
    // It waits, never tried.
    bench.offer(key, Version::Request, 1);
    bench.offer(key, Version::Closed, 2);
    assert_eq!(bench.take(), None);
    assert_eq!(bench.count("superseded"), 1);
    // It waits for another try; the push service had refused it.
    bench.offer(key, Version::Request, 1);
    bench.take().unwrap();
    assert!(bench.done(key, REFUSED));
    bench.offer(key, Version::Closed, 2);
    assert_eq!(bench.count("superseded"), 2);
    // It is under way, and then refused.
    for ended in [REFUSED, Ended::Failed] {
        bench.offer(key, Version::Request, 1);
        bench.take().unwrap();
        bench.offer(key, Version::Closed, 2);
        assert!(!bench.done(key, ended));
    }
    assert_eq!(bench.count("superseded"), 4);
    assert_eq!(bench.take(), None);
    bench.assert_empty();
}

#[test]
fn the_end_is_pushed_where_the_request_may_have_come_through() {
    let (mut bench, key) = (Bench::new(), key(1, 1));
    // Under way when the end came, and then delivered.
    bench.offer(key, Version::Request, 1);
    bench.take().unwrap();
    bench.offer(key, Version::Closed, 2);
    assert!(bench.done(key, Ended::Delivered));
    assert_eq!(bench.take(), Some((key, Version::Closed)));
    bench.done(key, Ended::Delivered);
    bench.assert_empty();
    // The connection was lost before the answer; the end came before the next try.
    bench.offer(key, Version::Request, 1);
    bench.take().unwrap();
    assert!(bench.done(key, LOST));
    bench.offer(key, Version::Closed, 2);
    bench.wait();
    assert_eq!(bench.take(), Some((key, Version::Closed)));
    bench.done(key, Ended::Delivered);
    bench.assert_empty();
    // Lost until its time was over.
    bench.offer(key, Version::Request, 1);
    while bench.take().is_some() {
        if bench.done(key, LOST) {
            bench.wait();
        }
    }
    assert_eq!(bench.count("expired"), 1);
    bench.offer(key, Version::Closed, 2);
    assert_eq!(bench.take(), Some((key, Version::Closed)));
}

#[test]
fn a_request_has_one_end_whatever_its_host_posts() {
    let (mut bench, key) = (Bench::new(), key(1, 1));
    let end = frame(MessageType::Closed, 1, 2);
    // It comes while the request is under way, and others after it.
    bench.offer(key, Version::Request, 1);
    bench.take().unwrap();
    bench.offer(key, Version::Closed, 2);
    bench.offer(key, Version::Closed, 3);
    assert!(bench.done(key, Ended::Delivered));
    // While it is to be tried, under way, and waits for another try.
    bench.offer(key, Version::Closed, 4);
    assert_eq!(bench.queue.take(bench.now).unwrap().message.frame, end);
    bench.offer(key, Version::Closed, 5);
    assert!(bench.done(key, REFUSED));
    bench.offer(key, Version::Closed, 6);
    bench.wait();
    assert_eq!(bench.queue.take(bench.now).unwrap().message.frame, end);
    bench.offer(key, Version::Closed, 7);
    assert!(!bench.done(key, Ended::Delivered));
    bench.offer(key, Version::Closed, 8);
    assert_eq!(bench.take(), None);
    bench.assert_empty();
}

#[test]
fn pauses_grow_and_end_with_the_messages_life() {
    let (mut bench, key) = (Bench::new(), key(1, 1));
    let start = bench.now;
    bench.offer(key, Version::Request, 1);
    let mut pauses = Vec::new();
    loop {
        bench.take().unwrap();
        if !bench.done(key, REFUSED) {
            break;
        }
        assert_eq!(bench.take(), None);
        pauses.push(bench.wait());
    }
    assert!(pauses.is_sorted_by(|a, b| *a * 13 / 10 < *b) && (5..10).contains(&pauses.len()), "{pauses:?}");
    assert!(pauses[0] >= PAUSE * 8 / 10 && pauses[0] <= PAUSE * 12 / 10);
    assert!(bench.now < start + LIFE);
    assert_eq!(bench.count("expired"), 1);
    bench.assert_empty();
}

#[test]
fn a_service_is_left_alone_as_long_as_it_wants() {
    let mut bench = Bench::new();
    let after =
        |seconds| Ended::Again { after: Some(Duration::from_secs(seconds)), maybe: false, down: false };
    bench.offer(key(1, 1), Version::Request, 1);
    bench.take().unwrap();
    assert!(bench.done(key(1, 1), after(20)));
    // What else comes for the device waits as well; other devices do not.
    bench.offer(key(1, 2), Version::Request, 1);
    bench.offer(key(2, 3), Version::Request, 1);
    assert_eq!(bench.take().unwrap().0, key(2, 3));
    assert_eq!(bench.take(), None);
    assert_eq!(bench.wait(), Duration::from_secs(20));
    assert!(bench.take().is_some() && bench.take().is_some());
    // Longer than the message lives: given up at once.
    assert!(!bench.done(key(1, 1), after(60)));
    assert!(!bench.done(key(1, 2), after(u64::MAX)));
    bench.done(key(2, 3), Ended::Delivered);
    assert_eq!(bench.count("expired"), 2);
    bench.assert_empty();
}

#[test]
fn what_has_waited_too_long_is_not_tried() {
    let mut bench = Bench::new();
    bench.offer(key(1, 1), Version::Request, 1);
    bench.now += LIFE;
    assert_eq!(bench.take(), None);
    assert_eq!(bench.count("expired"), 1);
    bench.assert_empty();
}

#[test]
fn of_a_register_the_newest_message_is_pushed_once() {
    let (mut bench, key) = (Bench::new(), Key { kind: Kind::Notice, ..key(1, 1) });
    bench.offer(key, Version::Notice, 1);
    bench.offer(key, Version::Notice, 2);
    let attempt = bench.queue.take(bench.now).unwrap();
    assert_eq!(attempt.message.frame, frame(MessageType::Notice, 1, 2));
    // The same again while it is under way, and a newer one.
    bench.offer(key, Version::Notice, 2);
    assert!(!bench.done(key, Ended::Delivered));
    bench.offer(key, Version::Notice, 3);
    bench.take().unwrap();
    bench.offer(key, Version::Notice, 4);
    assert!(bench.done(key, Ended::Delivered));
    let attempt = bench.queue.take(bench.now).unwrap();
    assert_eq!(attempt.message.frame, frame(MessageType::Notice, 1, 4));
    bench.done(key, Ended::Delivered);
    bench.assert_empty();
}

#[test]
fn services_take_turns_and_a_silent_one_holds_up_nobody() {
    let mut bench = Bench::new();
    // Forty devices at a service that hangs, then ten at one that works.
    for device in 0..40 {
        bench.offer_at("hangs", key(device, 1), Version::Request, 1);
    }
    let mut silent = Vec::new();
    while let Some((key, _)) = bench.take() {
        silent.push(key);
    }
    assert_eq!(silent.len(), 32);
    for device in 40..50 {
        bench.offer_at("works", key(device, 1), Version::Request, 1);
        let (taken, _) = bench.take().unwrap();
        assert_eq!(taken, key(device, 1));
        bench.done(taken, Ended::Delivered);
    }
    // When it is known to be down, it is only asked now and then.
    for key in silent {
        bench.done(key, LOST);
    }
    let mut asked = 0;
    while bench.take().is_some() {
        asked += 1;
    }
    assert_eq!(asked, 2);
}

#[test]
fn attempts_are_bounded_over_all_services() {
    let mut bench = Bench::new();
    for device in 0..200 {
        bench.offer_at(&format!("{}", device % 20), key(device, 1), Version::Request, 1);
    }
    let mut taken = Vec::new();
    while let Some((key, _)) = bench.take() {
        taken.push(key);
    }
    assert_eq!(taken.len(), 128);
    bench.done(taken[0], Ended::Delivered);
    assert!(bench.take().is_some());
}

#[test]
fn what_waits_is_bounded_for_a_device_a_host_a_service_and_in_all() {
    let mut bench = Bench::new();
    let id = |n: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        id
    };
    let fill =
        |bench: &mut Bench, range: std::ops::Range<u32>, host: u32, device: fn(u32) -> u32, at: &str| {
            let before = bench.queue.len();
            for n in range {
                let key = Key { host: peer(host), device: peer(100_000 + device(n)), id: id(n), ..key(0, 0) };
                bench.offer_at(at, key, Version::Request, 1);
            }
            bench.queue.len() - before
        };
    assert_eq!(fill(&mut bench, 0..100, 1, |_| 1, "a"), MAX_PER_DEVICE);
    assert_eq!(fill(&mut bench, 100..1500, 1, |n| n, "a"), MAX_PER_HOST - MAX_PER_DEVICE);
    assert_eq!(fill(&mut bench, 1500..2500, 2, |n| n, "a"), 1000);
    assert_eq!(fill(&mut bench, 2500..3000, 3, |n| n, "a"), 2048 - MAX_PER_HOST - 1000);
    assert_eq!(fill(&mut bench, 3000..4000, 4, |n| n, "b"), 1000);
    assert_eq!(fill(&mut bench, 4000..5000, 5, |n| n, "b"), 1000);
    assert_eq!(fill(&mut bench, 5000..6000, 6, |n| n, "c"), MAX_JOBS - 2048 - 2000);
    assert!(bench.count("full") > 0);
    bench.queue.cancel(peer(100_001), None);
    assert_eq!(bench.queue.len(), MAX_JOBS - MAX_PER_DEVICE);
}

#[test]
fn what_nobody_wants_any_more_is_dropped() {
    let mut bench = Bench::new();
    let other_host = Key { host: peer(2), ..key(1, 9) };
    for key in [key(1, 1), key(1, 2), key(1, 3), other_host, key(2, 1)] {
        bench.offer(key, Version::Request, 1);
    }
    assert_eq!(bench.take().unwrap().0, key(1, 1));
    assert_eq!(bench.take().unwrap().0, key(1, 2));
    bench.done(key(1, 2), REFUSED);
    bench.queue.cancel(peer(101), Some(peer(1)));
    assert_eq!(bench.take().unwrap().0, other_host);
    assert!(!bench.done(key(1, 1), REFUSED), "under way: it ends, and is not tried again");
    bench.queue.cancel(peer(101), None);
    assert!(!bench.done(other_host, REFUSED));
    assert_eq!(bench.take().unwrap().0, key(2, 1));
    bench.done(key(2, 1), Ended::Delivered);
    bench.assert_empty();
}

#[test]
fn a_device_that_has_changed_to_another_service_is_rung_there() {
    let mut bench = Bench::new();
    bench.offer_at("old", key(1, 1), Version::Request, 1);
    bench.take().unwrap();
    bench.queue.reroute(&key(1, 1), &service("new"));
    let attempt = bench.queue.take(bench.now).unwrap();
    assert_eq!(&*attempt.service, "new");
    bench.done(key(1, 1), Ended::Delivered);
    bench.assert_empty();
    assert_eq!(bench.queue.services.counts(), (0, 0));
}

#[test]
fn what_is_remembered_of_rung_devices_is_bounded_and_forgotten() {
    let mut bench = Bench::new();
    bench.offer(key(1, 1), Version::Request, 1);
    bench.take().unwrap();
    bench.done(key(1, 1), Ended::Delivered);
    assert_eq!((bench.queue.rung.len(), bench.queue.forgotten.len()), (1, 1));
    bench.now += LIFE + REMEMBER;
    assert_eq!(bench.take(), None);
    assert_eq!((bench.queue.rung.len(), bench.queue.forgotten.len()), (0, 0));
    for n in 0..MAX_RUNG as u32 + 10 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        bench.queue.remember_rung(Key { id, ..key(1, 1) }, bench.now + LIFE);
    }
    bench.take();
    assert_eq!((bench.queue.rung.len(), bench.queue.forgotten.len()), (MAX_RUNG, MAX_RUNG));
}

#[test]
fn the_books_balance_after_anything() {
    // A cheap generator: the same sequence at every run, all operations mixed.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut bench = Bench::new();
    let mut under_way = Vec::new();
    for _ in 0..20_000 {
        let (device, id, fill) = (random(4) as u32, random(4) as u8, random(3) as u8);
        let name = ["a", "b", "c"][random(3) as usize];
        match random(10) {
            0..2 => bench.offer_at(name, key(device, id), Version::Request, fill),
            2..4 => bench.offer_at(name, key(device, id), Version::Closed, fill),
            4 => bench.offer_at(name, Key { kind: Kind::Notice, ..key(device, id) }, Version::Notice, fill),
            5..7 => under_way.extend(bench.queue.take(bench.now).map(|attempt| attempt.key)),
            7..9 if !under_way.is_empty() => {
                let key = under_way.swap_remove(random(under_way.len() as u64) as usize);
                let after = (random(3) == 0).then(|| Duration::from_secs(random(90)));
                match random(5) {
                    0 => drop(bench.done(key, Ended::Failed)),
                    1 => drop(bench.done(key, Ended::Delivered)),
                    2 => {
                        bench.queue.reroute(&key, &service(name));
                    }
                    n => drop(bench.done(key, Ended::Again { after, maybe: n == 3, down: random(2) == 0 })),
                }
            }
            9 if random(20) == 0 => bench.queue.cancel(peer(100 + device), None),
            _ => bench.now += Duration::from_millis(random(900)),
        }
        let queue = &bench.queue;
        let active = queue.jobs.values().filter(|job| job.state == State::Active).count();
        assert_eq!((active, queue.services.counts().0), (under_way.len(), under_way.len()));
        let later = queue.jobs.values().filter(|job| matches!(job.state, State::Later(_))).count();
        assert_eq!(later, queue.later.len());
        assert_eq!(queue.counts.values().sum::<usize>(), 2 * queue.jobs.len());
        assert_eq!(queue.rung.len(), queue.forgotten.len());
    }
    for key in under_way {
        bench.done(key, Ended::Failed);
    }
    for device in 0..4 {
        bench.queue.cancel(peer(100 + device), None);
    }
    bench.assert_empty();
}
