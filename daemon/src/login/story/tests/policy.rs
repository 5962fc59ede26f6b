//! What the policy decides without asking anybody.

use countersign_protocol::keys::Signer;

use super::*;
use countersign_policy::{Then, Unenrolled};

const DAY: u64 = 24 * 60 * 60;

fn until(date: u64) -> impl FnOnce(&mut Rule) {
    move |rule| rule.unenrolled = Unenrolled::SkipUntil(date)
}

fn tomorrow(rule: &mut Rule) {
    until(clock::unix() + DAY)(rule);
}

/// A daemon with a policy, and without a server or a device.
fn unpaired(change: impl FnOnce(&mut Rule)) -> Lab {
    let lab = Lab::new();
    let mut config = config::read("server = \"http://127.0.0.1:1\"\n").unwrap();
    change(&mut config.default);
    *lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
    lab
}

/// What a login begins with: its verdict, or none when it asks.
async fn first(lab: &Lab, begin: Begin) -> Option<Outcome> {
    match login_at(lab, begin).step().await {
        Step::Verdict(verdict) => Some(verdict.outcome),
        _ => None,
    }
}

/// Root's account as another enters it.
fn su(caller: &str) -> Begin {
    Begin { remote_user: Some(caller.to_owned()), ..begin("su", Stage::Auth) }
}

#[tokio::test]
async fn a_rule_that_skips_or_denies_asks_nobody_whoever_has_a_device() {
    play(async {
        for (then, outcome) in [(Then::Skip, Outcome::Ignored), (Then::Deny, Outcome::Denied)] {
            let mut scene = Scene::new(|rule| rule.then = then).await;
            assert_eq!(scene.login(sshd()).outcome().await, outcome);
            let nobody = Begin { user: "no such user here".to_owned(), ..sshd() };
            assert_eq!(scene.login(nobody).outcome().await, outcome);
            scene.push.is_quiet().await;
            assert_eq!(scene.lab.audit().len(), 2, "both are written down");
        }
    })
    .await;
}

#[tokio::test]
async fn until_a_date_who_never_had_a_device_is_let_pass_and_nobody_else() {
    play(async {
        let lab = unpaired(tomorrow);
        assert_eq!(first(&lab, sshd()).await, Some(Outcome::Ignored));
        assert!(lab.audit().iter().any(|record| record.outcome.as_deref() == Some("ignored")));
        let nobody = Begin { user: "no such user here".to_owned(), ..sshd() };
        assert_ne!(
            first(&lab, nobody).await,
            Some(Outcome::Ignored),
            "an invented name is nobody who is new"
        );

        let phone = TestDevice::new();
        lab.pair(USER, &phone).await;
        assert_ne!(first(&lab, sshd()).await, Some(Outcome::Ignored));
        let id = phone.key.public_key().id();
        lab.app.devices.remove(&id).await.unwrap();
        for lab in [&lab, &lab.restarted()] {
            assert_ne!(
                first(lab, sshd()).await,
                Some(Outcome::Ignored),
                "taking the last device away spares nobody"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn without_such_a_date_or_after_it_nobody_is_let_pass() {
    play(async {
        assert_ne!(first(&unpaired(|_| {}), sshd()).await, Some(Outcome::Ignored));
        let lab = unpaired(until(clock::unix() - 1));
        assert_ne!(first(&lab, sshd()).await, Some(Outcome::Ignored));
    })
    .await;
}

/// Time comes from a network, which is trusted for nothing.
#[tokio::test]
async fn a_clock_that_is_set_back_does_not_bring_the_date_back() {
    play(async {
        let lab = unpaired(tomorrow);
        // As a daemon has written it whose clock stood later.
        let seen = format!("{{\"high_water\":{},\"users\":{{}}}}", clock::unix() + 2 * DAY);
        crate::files::replace(&lab.app.paths.own("budget.json"), seen.as_bytes()).unwrap();
        assert_ne!(first(&lab.restarted(), sshd()).await, Some(Outcome::Ignored));
    })
    .await;
}

#[tokio::test]
async fn an_enrolled_account_is_not_entered_unasked_by_a_caller_without_a_device() {
    play(async {
        let lab = unpaired(tomorrow);
        assert_eq!(first(&lab, su("somebody")).await, Some(Outcome::Ignored));
        lab.pair("somebody", &TestDevice::new()).await;
        assert_ne!(first(&lab, su("somebody")).await, Some(Outcome::Ignored));
        assert_eq!(first(&lab, su("another")).await, Some(Outcome::Ignored));
        lab.pair(USER, &TestDevice::new()).await;
        assert_ne!(first(&lab, su("another")).await, Some(Outcome::Ignored));
    })
    .await;
}

/// A policy of rules, on a daemon that has no server.
fn ruled(rules: &str) -> Lab {
    let lab = Lab::new();
    let config = config::read(&format!("server = \"http://127.0.0.1:1\"\n{rules}")).unwrap();
    *lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
    lab
}

#[tokio::test]
async fn the_first_rule_that_a_login_meets_decides_and_is_written_down() {
    play(async {
        let lab = ruled(
            "[default]\nthen = \"deny\"\n\
             [[rule]]\nname = \"no su\"\nwhen = { service = \"su\" }\nthen = \"deny\"\n\
             [[rule]]\nname = \"wheel\"\nwhen = { group = \"root\" }\nthen = \"skip\"\n\
             [[rule]]\nname = \"never\"\nthen = \"deny\"\n",
        );
        for (begin, outcome, rule) in [
            (su("alice"), Outcome::Denied, "no su"),
            (sshd(), Outcome::Ignored, "wheel"),
            (Begin { user: "no such user here".to_owned(), ..sshd() }, Outcome::Denied, "never"),
        ] {
            assert_eq!(first(&lab, begin).await, Some(outcome), "{rule}");
            assert_eq!(lab.audit().last().unwrap().rule.as_deref(), Some(rule));
        }
    })
    .await;
}

#[tokio::test]
async fn who_cannot_be_looked_up_is_let_in_by_no_rule_about_who_it_is() {
    play(async {
        let by_name = "[default]\nthen = \"skip\"\n[[rule]]\nname = \"x\"\nwhen = { user = \"bob\" }\nthen = \"deny\"\n";
        let _hangs = crate::person::hang(true);
        assert_eq!(first(&ruled(by_name), sshd()).await, Some(Outcome::Fault));
        let by_service = by_name.replace("user", "service");
        assert_eq!(first(&ruled(&by_service), sshd()).await, Some(Outcome::Ignored));
    })
    .await;
}

#[tokio::test]
async fn a_place_is_new_until_somebody_was_let_in_from_there() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let text = "[[rule]]\nname = \"known\"\nwhen = { new_source = false }\nthen = \"skip\"\n";
        let mut config = (*scene.lab.app.config().unwrap()).clone();
        config.rules = config::read(&format!("server = \"http://127.0.0.1:1\"\n{text}")).unwrap().rules;
        scene.lab.app.config.borrow_mut().good = Some(Rc::new(config));
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        peer.answer(CODE).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(scene.closed().await, ClosedOutcome::Approved);
        assert_eq!(first(&scene.lab, sshd()).await, Some(Outcome::Ignored));
        let elsewhere = Begin { remote_host: Some("198.51.100.9".to_owned()), ..sshd() };
        assert_eq!(first(&scene.lab, elsewhere).await, None);
    })
    .await;
}
