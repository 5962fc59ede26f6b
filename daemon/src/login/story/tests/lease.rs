//! Leases: one approval, and then nobody is asked.

use super::*;
use countersign_policy::{Approvals, Factor, Lease as Ceiling, Named, Then, WithoutPrompt};
use countersign_protocol::audit::Record;
use countersign_protocol::login::{Peer as Address, Session};
use countersign_protocol::message::{Confirm, Decision, Lease, MessageType};

/// Leases are for people, and root is none from elsewhere.
const PERSON: &str = "nobody";
const ADDRESS: &str = "192.0.2.7";
const KEY: &str =
    "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKmTIlKjhHcJR5+/Ggv6+Pw1D8yvuHbHs+1DXh7YWnK";
const OTHER_KEY: &str =
    "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn an_hour(rule: &mut Rule) {
    rule.lease = Some(Ceiling { up_to: Duration::from_secs(3600), uses: None });
}

async fn scene(change: impl FnOnce(&mut Rule)) -> Scene {
    let scene = Scene::new(|rule| {
        an_hour(rule);
        change(rule);
    })
    .await;
    scene.lab.pair(PERSON, &scene.phone).await;
    scene
}

fn ssh() -> Begin {
    Begin {
        user: PERSON.to_owned(),
        peer: Some(Address { address: ADDRESS.parse().unwrap(), port: 50_000 }),
        ssh_auth_info: Some(KEY.to_owned()),
        ..begin("sshd", Stage::Session)
    }
}

fn sudo() -> Begin {
    Begin {
        user: PERSON.to_owned(),
        remote_user: Some(PERSON.to_owned()),
        terminal: Some("/dev/pts/3".to_owned()),
        session: Some(Session { leader: 700, started: 9 }),
        ..begin("sudo", Stage::Auth)
    }
}

/// The phone approves, and grants a lease of so many seconds if any.
async fn approve(scene: &Scene, asked: &Asked, seconds: Option<u64>) {
    let code = (asked.request.confirm == Confirm::Code).then(|| CODE.to_owned());
    let decision = Decision {
        version: 1,
        request: asked.digest.clone(),
        decision: Answer::Approve,
        code,
        lease: seconds.map(|s| Lease { until: clock::unix() + s, scope: asked.request.service.clone() }),
        decided_at: 1,
        counter: 1,
    };
    let mut reply_key = [0; 32];
    base64ct::Decoder::<base64ct::Base64>::new(asked.request.reply_key.as_bytes())
        .and_then(|mut text| text.decode(&mut reply_key).map(drop))
        .unwrap();
    let message = scene.phone.sign(&decision);
    let id = &asked.request.id;
    scene.push.deliver(&scene.phone.seal_as(&scene.lab, MessageType::Decision, id, reply_key, &message));
}

/// A login that the phone is asked about, and grants with a lease.
async fn granted(scene: &mut Scene, begin: Begin, seconds: Option<u64>) -> Asked {
    let mut peer = scene.login(begin);
    let first = peer.step().await;
    let asked = scene.asked().await;
    match first {
        Step::Ask { .. } => {
            approve(scene, &asked, seconds).await;
            peer.answer(CODE).await;
        }
        _ => {
            peer.go_on(Continue::default()).await;
            approve(scene, &asked, seconds).await;
        }
    }
    assert_eq!(peer.outcome().await, Outcome::Granted);
    scene.closed().await;
    asked
}

/// Whether a login is let in unasked. One that is not hangs up, once it was asked.
async fn is_let_in(scene: &mut Scene, begin: Begin) -> bool {
    let mut peer = scene.login(begin);
    match peer.step().await {
        Step::Verdict(verdict) => {
            assert_eq!(verdict.outcome, Outcome::Granted);
            scene.push.is_quiet().await;
            true
        }
        _ => {
            scene.asked().await;
            peer.hang_up().await;
            scene.closed().await;
            false
        }
    }
}

#[tokio::test]
async fn one_approval_is_enough_for_those_that_follow_and_each_has_its_record() {
    play(async {
        let mut scene = scene(|_| {}).await;
        let asked = granted(&mut scene, ssh(), Some(600)).await;
        assert_eq!((asked.request.lease_max, asked.request.lease_uses), (Some(3600), None));
        for port in 0..3 {
            let peer = Some(Address { address: ADDRESS.parse().unwrap(), port: 50_001 + port });
            assert!(is_let_in(&mut scene, Begin { peer, ..ssh() }).await);
        }
        let records = scene.lab.audit();
        let leased: Vec<&Record> =
            records.iter().filter(|record| record.factor.as_deref() == Some("lease")).collect();
        assert_eq!(leased.len(), 3);
        for record in leased {
            let evidence = record.evidence(&scene.lab.app.host.public).unwrap();
            assert_eq!(record.approver.as_deref(), Some(PERSON));
            let decision = evidence.decision.expect("the decision");
            assert_eq!(decision.message.request, asked.digest);
            assert_eq!(record.device.clone(), Some(decision.signed.key.fingerprint()));
        }
        // Another address, another key, none: as if there were no lease.
        let elsewhere = Some(Address { address: "192.0.2.8".parse().unwrap(), port: 50_000 });
        assert!(!is_let_in(&mut scene, Begin { peer: elsewhere, ..ssh() }).await);
        assert!(!is_let_in(&mut scene, Begin { ssh_auth_info: Some(OTHER_KEY.to_owned()), ..ssh() }).await);
        assert!(!is_let_in(&mut scene, Begin { ssh_auth_info: None, ..ssh() }).await);
        // What the application says of the address is not believed.
        let said = Begin { peer: None, remote_host: Some(ADDRESS.to_owned()), ..ssh() };
        assert!(!is_let_in(&mut scene, said).await);
    })
    .await;
}

#[tokio::test]
async fn without_a_word_of_the_phone_or_the_policy_there_is_none() {
    play(async {
        let mut scene = scene(|_| {}).await;
        granted(&mut scene, ssh(), None).await;
        assert!(!is_let_in(&mut scene, ssh()).await);
        // The rule says nothing of leases: what the phone says of one is not heard.
        let with_none = |rule: &mut Rule| rule.lease = None;
        let mut scene = self::scene(with_none).await;
        let asked = granted(&mut scene, ssh(), Some(600)).await;
        assert_eq!(asked.request.lease_max, None);
        assert!(!is_let_in(&mut scene, ssh()).await);
    })
    .await;
}

#[tokio::test]
async fn sudo_is_leased_in_its_session_and_root_from_elsewhere_never() {
    play(async {
        let mut scene = scene(|_| {}).await;
        granted(&mut scene, sudo(), Some(600)).await;
        let other = Begin { command_line: Some("sudo -i".to_owned()), ..sudo() };
        assert!(is_let_in(&mut scene, other).await, "the command is no part of it");
        for other in [
            Begin { session: Some(Session { leader: 701, started: 9 }), ..sudo() },
            Begin { session: Some(Session { leader: 700, started: 8 }), ..sudo() },
            Begin { session: None, ..sudo() },
            Begin { terminal: Some("/dev/pts/4".to_owned()), ..sudo() },
            Begin { terminal: None, ..sudo() },
            Begin { service: "su".to_owned(), ..sudo() },
            Begin { remote_user: Some("daemon".to_owned()), ..sudo() },
        ] {
            assert!(!is_let_in(&mut scene, other).await);
        }
        let root = Begin { user: USER.to_owned(), ..ssh() };
        let asked = granted(&mut scene, root.clone(), Some(600)).await;
        assert_eq!(asked.request.lease_max, None);
        assert!(!is_let_in(&mut scene, root).await);
        // To become root at one's own terminal is what it is for; the one who typed it is asked.
        let su = Begin { user: USER.to_owned(), service: "su".to_owned(), ..sudo() };
        granted(&mut scene, su.clone(), Some(600)).await;
        assert!(is_let_in(&mut scene, su).await);
    })
    .await;
}

#[tokio::test]
async fn who_is_not_root_neither_makes_nor_uses_one() {
    play(async {
        let mut scene = scene(|rule| rule.confirm = Confirm::Tap).await;
        let caller = Caller { uid: 0, gid: 0, pid: None, root_socket: false };
        let own = Begin { user: USER.to_owned(), remote_user: None, ..sudo() };
        granted(&mut scene, own.clone(), Some(600)).await;
        assert!(is_let_in(&mut scene, own.clone()).await);
        let mut peer = scene.call(caller, own);
        assert!(!matches!(peer.step().await, Step::Verdict(_)));
        let asked = scene.asked().await;
        assert_eq!(asked.request.lease_max, None);
        peer.go_on(Continue::default()).await;
        approve(&scene, &asked, Some(600)).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(scene.lab.app.leases.all().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_lease_of_a_tap_does_not_stand_in_for_a_code() {
    play(async {
        let mut scene = scene(|_| {}).await;
        let auth = Begin { stage: Stage::Auth, ..ssh() };
        granted(&mut scene, ssh(), Some(600)).await;
        assert!(is_let_in(&mut scene, ssh()).await);
        assert!(!is_let_in(&mut scene, auth.clone()).await);
        granted(&mut scene, auth.clone(), Some(600)).await;
        assert!(is_let_in(&mut scene, auth).await && is_let_in(&mut scene, ssh()).await);
    })
    .await;
}

/// Where the rule wants no login on a tap alone, one that was granted with a code is enough for the session stage.
#[tokio::test]
async fn where_nothing_can_be_asked_a_lease_of_a_code_is_enough() {
    play(async {
        let mut scene = scene(|rule| rule.without_prompt = WithoutPrompt::Refuse).await;
        assert_eq!(scene.login(ssh()).outcome().await, Outcome::Denied);
        granted(&mut scene, Begin { stage: Stage::Auth, ..ssh() }, Some(600)).await;
        assert!(is_let_in(&mut scene, ssh()).await);
        scene.lab.app.leases.end(|_| true);
        assert_eq!(scene.login(ssh()).outcome().await, Outcome::Denied);
    })
    .await;
}

/// Whom the rule names is asked each time.
#[tokio::test]
async fn a_rule_of_several_people_neither_offers_nor_takes_one() {
    play(async {
        let mut scene = scene(|_| {}).await;
        granted(&mut scene, ssh(), Some(600)).await;
        let loaded = scene.lab.app.config().unwrap();
        let mut config = (*loaded).clone();
        let from = vec![Named::User(PERSON.to_owned())];
        config.default.approvals = Some(Approvals { from, needed: 1 });
        *scene.lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
        let asked = granted(&mut scene, ssh(), Some(600)).await;
        assert_eq!(asked.request.lease_max, None);
        assert!(!is_let_in(&mut scene, ssh()).await);
    })
    .await;
}

/// The rule of the moment decides: a lease opens nothing that it denies or leaves out, and is there when it is meant again.
#[tokio::test]
async fn while_the_policy_wants_none_it_lets_nobody_in_and_it_is_not_ended_by_that() {
    play(async {
        let mut scene = scene(|_| {}).await;
        granted(&mut scene, ssh(), Some(600)).await;
        let before = scene.lab.app.config().unwrap();
        let put = |scene: &Scene, change: &dyn Fn(&mut Rule)| {
            let mut config = (*before).clone();
            change(&mut config.default);
            *scene.lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
        };
        put(&scene, &|rule| rule.then = Then::Deny);
        assert_eq!(scene.login(ssh()).outcome().await, Outcome::Denied);
        put(&scene, &|rule| rule.lease = None);
        assert!(!is_let_in(&mut scene, ssh()).await);
        put(&scene, &|_| {});
        assert!(is_let_in(&mut scene, ssh()).await);
    })
    .await;
}

#[tokio::test]
async fn while_the_server_is_away_it_is_taken_only_where_the_rule_says_so() {
    play(async {
        for listed in [false, true] {
            let mut scene = scene(|rule| {
                if listed {
                    rule.offline.push(Factor::Lease);
                }
            })
            .await;
            granted(&mut scene, ssh(), Some(600)).await;
            let app = &scene.lab.app;
            app.relay.set_client(None);
            let down = async {
                while app.relay.is_up() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(PATIENCE, down).await.expect("it is noticed");
            let outcome = scene.login(ssh()).outcome().await;
            assert_eq!(outcome, if listed { Outcome::Granted } else { Outcome::Unreachable });
        }
    })
    .await;
}

#[tokio::test]
async fn a_no_that_comes_later_ends_all_that_the_person_has_granted() {
    play(async {
        for answer in [Answer::Deny, Answer::Report] {
            let mut scene = scene(|_| {}).await;
            granted(&mut scene, ssh(), Some(600)).await;
            granted(&mut scene, sudo(), Some(600)).await;
            let mut other = scene.login(Begin { service: "login".to_owned(), ..sudo() });
            other.step().await;
            let asked = scene.asked().await;
            scene.answer(&asked, answer).await;
            scene.closed().await;
            other.hang_up().await;
            assert!(!is_let_in(&mut scene, ssh()).await && !is_let_in(&mut scene, sudo()).await);
            let ended = || scene.lab.audit().iter().filter(|record| record.event == "lease-ended").count();
            let written = async {
                while ended() < 2 {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(PATIENCE, written).await.expect("it is written down");
            assert!(scene.lab.restarted().app.leases.all().is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_let_in() {
    play(async {
        let mut scene = scene(|_| {}).await;
        granted(&mut scene, ssh(), Some(600)).await;
        scene.lab.app.audit.breaks_for_tests();
        assert_eq!(scene.login(ssh()).outcome().await, Outcome::Fault);
    })
    .await;
}
