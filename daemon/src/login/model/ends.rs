//! The end of a story: what has to be so when everybody has waited long enough.

use std::time::Duration;

use countersign_protocol::audit::{self, Chain, Record};
use countersign_protocol::digest;
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{ClosedOutcome, MessageType};

use super::cast::{CAST, HOLDERS, HOST};
use super::oracle::Known;
use super::peer::{At, MOMENT};
use super::world::{World, is_granted};
use crate::clock;
use crate::testing::Heard;
use countersign_policy::Factor;

/// Longest wait for the next try to connect while nobody waits, and a little.
const RECONNECTED: Duration = Duration::from_secs(65);
/// Longest pause of what is said in the background, for each thing that a story can have left to say.
const ALL_SAID: Duration = Duration::from_secs(600);
/// How long after its time phones wait to hear of a request for which a recovery code may still be looked for, at least.
const SEARCHED: Duration = Duration::from_secs(110);
/// Prompts that a patient person answers with Enter before they wonder.
const PATIENCE: u32 = 20;

impl World {
    /// The end of the story: the server behaves, and everybody waits.
    pub(super) async fn finish(&mut self) {
        let now = clock::boot();
        self.relay.behave();
        self.relay.refused_lists.borrow_mut().clear();
        // What a server has refused, and did not ask to have later, is said again after a reconnect.
        self.relay.cut();
        let last = self.oracle.requests.iter().map(|known| known.deadline.1).max().unwrap_or_default();
        self.wait(last.saturating_sub(now).max(RECONNECTED)).await;
        let open = self.lab.app.logins.waiting();
        assert_eq!(open, 0, "{open} requests are open after their deadlines");
        for login in 0..self.logins.len() {
            for _ in 0..PATIENCE {
                if self.logins[login].is_over() {
                    break;
                }
                self.types(login, "").await;
                self.wait(self.oracle.policy.longest()).await;
            }
            assert!(
                self.logins[login].is_over(),
                "login {login} does not end: {:?}",
                self.logins[login].at()
            );
        }
        self.wait(ALL_SAID).await;
        for login in &self.logins {
            assert!(login.serving.is_finished(), "a login is served that is over");
        }
        self.check_records();
        self.check_ends(now);
        self.check_rings();
    }

    fn check_records(&mut self) {
        self.read_records();
        for (login, peer) in self.logins.iter().enumerate() {
            let record = self.records.get(&login);
            let killed = self.oracle.logins[login].run != self.oracle.run;
            let is_unwritten = self.unwritten.contains_key(&login);
            let is_unasked = self.unasked.contains(&login);
            assert!(
                killed || is_unasked || record.is_some() != is_unwritten,
                "login {login}: {record:?}, {:?}",
                peer.at()
            );
            let granted = record.is_some_and(is_granted);
            assert!(!granted || matches!(peer.at(), At::Over(_)), "login {login} was let in afterwards");
        }
        for record in self.records.values() {
            self.seen.count(record);
        }
        let text = std::fs::read_to_string(self.lab.app.paths.own("audit.jsonl")).unwrap();
        audit::verify(Chain::new(), text.lines()).unwrap();
        for record in text.lines().map(|line| serde_json::from_str::<Record>(line).unwrap()) {
            if let Err(why) = record.evidence(HOST.public_key()) {
                panic!("a record does not hold: {why}: {record:?}");
            }
        }
    }

    /// Whatever was asked is closed on every device, with the end that it had.
    fn check_ends(&mut self, behaved: Duration) {
        let arrived = self.relay.arrived.borrow();
        for known in self.oracle.requests.iter().filter(|known| known.run == self.oracle.run) {
            let id = &known.asked.request.id;
            let of = |kind| {
                arrived.iter().filter(move |post| {
                    post.about.iter().any(|about| about.message_type == kind && about.id == *id)
                })
            };
            // What has ended long before the server came back is of no use to anybody.
            let is_kept = behaved + RECONNECTED < known.deadline.0 + Duration::from_secs(300);
            if !is_kept || !of(MessageType::Request).any(|post| post.reached) {
                continue;
            }
            let end = of(MessageType::Closed).find(|post| post.acknowledged.is_some());
            let end =
                end.unwrap_or_else(|| panic!("the end of a request of login {} was not told", known.login));
            let mut outcomes = Vec::new();
            for to in &known.to {
                let device = &CAST.devices[*to];
                let its = device.key.public_key().id();
                let message = end.about.iter().position(|about| {
                    about.message_type == MessageType::Closed && about.to == its && about.id == *id
                });
                let message = message.unwrap_or_else(|| panic!("{:?} was not told", HOLDERS[*to]));
                let Heard::Closed(closed) = device.hear(&self.lab, &end.post.messages[message]) else {
                    panic!("its envelope lies")
                };
                assert_eq!((&closed.id, &closed.request), (id, &known.asked.digest));
                outcomes.push(closed.outcome);
            }
            assert!(outcomes.windows(2).all(|two| two[0] == two[1]));
            let granted = known.approvals.iter().any(|said| self.oracle.said[*said].has_granted);
            assert_eq!(outcomes[0] == ClosedOutcome::Approved, granted, "phones were told {:?}", outcomes[0]);
            if self.is_recovered(known) {
                assert_eq!(outcomes[0], ClosedOutcome::Otherwise, "a recovery code has opened");
                self.seen.note("recovery told");
            }
            // It would have let somebody in.
            if self
                .unwritten
                .get(&known.login)
                .is_some_and(|record| is_granted(record) && is_about(record, known))
            {
                assert_eq!(outcomes[0], ClosedOutcome::Failed, "nobody was let in");
                self.seen.note("failure told");
            }
            self.seen.note("end told");
        }
    }

    /// Whether a recovery code that may be typed at any time has opened this request soon enough after its time.
    fn is_recovered(&self, known: &Known) -> bool {
        let Some(record) = self.records.get(&known.login) else { return false };
        let ended = self.oracle.logins[known.login].ended;
        is_about(record, known)
            && record.factor.as_deref() == Some("recovery")
            && self.oracle.logins[known.login].rule.codes.contains(&Factor::Recovery)
            && ended.is_some_and(|ended| ended < known.deadline.0 + SEARCHED)
    }

    /// After its end nothing rings for a login; and nothing rings twice that the server has taken.
    fn check_rings(&self) {
        let arrived = self.relay.arrived.borrow();
        for known in &self.oracle.requests {
            let id = &known.asked.request.id;
            let (mut is_closed, mut taken) = (false, None::<Duration>);
            for post in arrived.iter().filter(|post| post.about.iter().any(|about| about.id == *id)) {
                if post.about[0].message_type == MessageType::Request {
                    let ended = self.oracle.logins[known.login].ended;
                    assert!(!is_closed, "a request was posted after its end");
                    assert!(
                        ended.is_none_or(|ended| post.at <= ended + MOMENT),
                        "one of a login that is over"
                    );
                    let is_taken = taken.is_some_and(|taken| taken < post.at);
                    assert!(!(is_taken && post.post.ring), "a request rang twice");
                    taken = taken.into_iter().chain(post.acknowledged).min();
                } else {
                    assert!(!post.post.ring, "an end rings");
                    is_closed = true;
                }
            }
        }
    }
}

/// Whether this request is the record's evidence.
fn is_about(record: &Record, known: &Known) -> bool {
    let digest = record.request.as_deref().map(|bytes| digest::sha256_hex(bytes.as_bytes()));
    digest.as_ref() == Some(&known.asked.digest)
}
