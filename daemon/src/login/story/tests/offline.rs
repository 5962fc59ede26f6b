//! What is typed while the server is away: phone codes, authenticators, nothing at all.

use super::*;
use crate::login::facts::Facts;
use crate::login::prompts;
use crate::testing::qr;
use crate::totp;
use countersign_policy::Factor;
use countersign_protocol::keys::Signer;
use countersign_protocol::phone_code::{self, Challenge};

fn with(codes: &'static [Factor], offline: &'static [Factor]) -> impl FnOnce(&mut Rule) {
    move |rule| (rule.codes, rule.offline) = (codes.to_vec(), offline.to_vec())
}

const ALL: &[Factor] = &[Factor::PhoneCode, Factor::Totp, Factor::Recovery];

/// The rows that come before the next prompt, and that prompt.
async fn drawn(peer: &mut Peer) -> (Vec<String>, String) {
    let mut rows = Vec::new();
    loop {
        match peer.step().await {
            Step::Say { text, always, .. } => {
                assert!(always, "also where nothing but prompts may be shown");
                rows.push(text);
                peer.go_on(Continue::default()).await;
            }
            Step::Ask { text, .. } => return (rows, text),
            other => panic!("{other:?}"),
        }
    }
}

impl Scene {
    /// One whose server was there, and is gone.
    async fn away(change: impl FnOnce(&mut Rule)) -> Self {
        let scene = Self::new(change).await;
        scene.lab.app.relay.set_client(None);
        while scene.lab.app.logins.away_for().is_none() {
            sleep(Duration::from_millis(5)).await;
        }
        scene
    }

    fn phone_code(&self, challenge: &Challenge) -> Zeroizing<String> {
        let (device, host) = (&self.phone, &self.lab.app.host.public);
        phone_code::at_device(device.seal_key(), &device.card().hash, host, challenge).unwrap()
    }
}

#[tokio::test]
async fn the_terminals_code_scanned_and_typed_opens_once() {
    play(async {
        let scene = Scene::offline(with(&[], ALL)).await;
        let mut peer = scene.login(sshd());
        let (rows, prompt) = drawn(&mut peer).await;
        assert_eq!(rows[0], prompts::ABOVE_QR_OFFLINE);
        assert_eq!(
            prompt,
            "Type its eight digits, an authenticator code, a recovery code, or Enter to try again: "
        );
        let challenge = qr::scan(&rows[1..]);
        assert_eq!((challenge.user.as_str(), challenge.service.as_str()), (USER, "sshd"));
        let code = scene.phone_code(&challenge);
        // In another login it is nothing, and each login has a challenge of its own.
        let mut other = scene.login(sshd());
        let (rows, _) = drawn(&mut other).await;
        assert_ne!(qr::scan(&rows[1..]), challenge);
        other.answer(&code).await;
        assert!(other.prompt().await.starts_with("That is not the code, 2 tries left."));
        peer.answer(&format!("{} {}", &code[..4], &code[4..])).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        other.answer(&code).await;
        assert!(other.prompt().await.starts_with("That is not the code, 1 try left."));
        let record = scene.lab.audit().into_iter().find(|record| record.factor.is_some()).unwrap();
        assert_eq!(record.factor.as_deref(), Some("phone-code"));
        assert_eq!(record.device, Some(scene.phone.key.public_key().fingerprint()));
    })
    .await;
}

#[tokio::test]
async fn a_device_that_has_ended_and_a_code_that_is_over_open_nothing() {
    play(async {
        let scene = Scene::offline(with(&[], &[Factor::PhoneCode])).await;
        let mut peer = scene.login(sshd());
        let code = scene.phone_code(&qr::scan(&drawn(&mut peer).await.0[1..]));
        scene.lab.app.approvers.revoke(scene.phone.key.public_key()).await.unwrap();
        peer.answer(&code).await;
        assert!(peer.prompt().await.contains("not the code"));
    })
    .await;
}

/// Five guesses of any kind, and there are no more for a quarter of an hour.
#[tokio::test]
async fn typed_factors_share_one_budget_counted_before_comparing() {
    play(async {
        let scene = Scene::offline(with(&[], ALL)).await;
        for round in 0..2 {
            let mut peer = scene.login(sshd());
            let (rows, _) = drawn(&mut peer).await;
            let code = scene.phone_code(&qr::scan(&rows[1..]));
            for (number, wrong) in ["00000000", "000000", "0000-0000-0000-0000"].into_iter().enumerate() {
                peer.answer(if round == 1 && number == 2 { &code } else { wrong }).await;
                if round == 1 && number == 2 {
                    assert_eq!(peer.outcome().await, Outcome::Busy);
                } else if number == 2 {
                    assert_eq!(peer.outcome().await, Outcome::Denied);
                } else {
                    assert!(peer.prompt().await.contains("not the code"));
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_unknown_user_is_shown_a_code_that_nobody_can_make() {
    play(async {
        let scene = Scene::away(with(&[], ALL)).await;
        let (mut known, mut unknown) =
            (scene.login(sshd()), scene.login(Begin { user: "nobody-here".to_owned(), ..sshd() }));
        let ((rows, prompt), (other_rows, other_prompt)) =
            (drawn(&mut known).await, drawn(&mut unknown).await);
        assert_eq!((rows.len(), prompt, &rows[0]), (other_rows.len(), other_prompt, &other_rows[0]));
        assert_eq!(qr::scan(&other_rows[1..]).user, "nobody-here");
        for typed in ["12345678", "123456", "0000-0000-0000-0000"] {
            known.answer(typed).await;
            unknown.answer(typed).await;
            let text = |step| match step {
                Step::Ask { text, .. } => text,
                Step::Verdict(verdict) => verdict.text.unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(text(known.step().await), text(unknown.step().await));
        }
    })
    .await;
}

#[tokio::test]
async fn windows_get_no_rows_and_six_digits_are_one_guess() {
    play(async {
        let scene = Scene::offline(with(&[], ALL)).await;
        let secret = scene.lab.app.totp.new_secret(USER).await.unwrap();
        let mut peer = scene.login(begin("gdm-password", Stage::Auth));
        let prompt = peer.prompt().await;
        assert!(prompt.contains("Authenticator code or recovery code, or Enter"), "{prompt}");
        let code = totp::tests_code(&secret, totp::now());
        peer.answer(&code).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        let mut peer = scene.login(begin("gdm-password", Stage::Auth));
        peer.prompt().await;
        peer.answer(&code).await;
        assert!(peer.prompt().await.contains("not the code"), "it was used");
        assert!(scene.audit().contains("\"factor\":\"totp\""));
    })
    .await;
}

/// While an approval stands six digits are its code, else the authenticator's: never both.
#[tokio::test]
async fn six_digits_are_the_phones_once_it_has_approved() {
    play(async {
        let mut scene = Scene::new(with(&[Factor::Totp], &[])).await;
        let secret = scene.lab.app.totp.new_secret(USER).await.unwrap();
        let code = totp::tests_code(&secret, totp::now());
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        peer.answer(CODE).await;
        assert!(peer.prompt().await.contains("2 tries left"), "nobody has approved yet");
        scene.answer(&asked, Answer::Approve).await;
        peer.answer(&code).await;
        assert!(peer.prompt().await.contains("1 try left"), "an approval stands");
        peer.answer(CODE).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert!(scene.audit().contains("\"factor\":\"device\""));
    })
    .await;
}

/// A rule that takes authenticators' codes keeps nobody from typing their phone's early.
#[tokio::test]
async fn who_has_no_authenticator_types_before_the_approval_and_it_costs_nothing() {
    play(async {
        let mut scene = Scene::new(with(&[Factor::Totp], &[])).await;
        for _ in 0..7 {
            let mut peer = scene.login(sshd());
            peer.prompt().await;
            let asked = scene.asked().await;
            peer.answer(CODE).await;
            sleep(Duration::from_millis(30)).await;
            scene.answer(&asked, Answer::Approve).await;
            assert_eq!(peer.outcome().await, Outcome::Granted);
            scene.closed().await;
        }
        assert!(scene.lab.app.leave_to_guess(USER).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn guesses_at_an_authenticator_keep_nobody_from_their_phone() {
    play(async {
        let mut scene = Scene::new(with(&[Factor::Totp], &[])).await;
        let secret = scene.lab.app.totp.new_secret(USER).await.unwrap();
        while scene.lab.app.leave_to_guess(USER).await.unwrap().is_some() {}
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        peer.answer(CODE).await;
        sleep(Duration::from_millis(30)).await;
        scene.answer(&asked, Answer::Approve).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        scene.closed().await;
        // The authenticator's own code opens nothing meanwhile.
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        peer.answer(&totp::tests_code(&secret, totp::now())).await;
        scene.answer(&asked, Answer::Approve).await;
        assert!(peer.prompt().await.contains("2 tries left"));
    })
    .await;
}

#[tokio::test]
async fn the_qr_code_comes_when_it_is_asked_for_and_may_be() {
    play(async {
        let mut scene = Scene::new(with(&[Factor::PhoneCode], &[])).await;
        let mut peer = scene.login(Begin { silent: true, ..begin("sudo", Stage::Auth) });
        peer.prompt().await;
        scene.asked().await;
        peer.answer("QR").await;
        let (rows, prompt) = drawn(&mut peer).await;
        assert_eq!((rows[0].as_str(), prompt.as_str()), (prompts::ABOVE_QR, prompts::BELOW_QR));
        peer.answer(&scene.phone_code(&qr::scan(&rows[1..]))).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(scene.closed().await, ClosedOutcome::Otherwise);
    })
    .await;
    play(async {
        let scene = Scene::new(with(&[], ALL)).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        peer.answer("qr").await;
        assert!(peer.prompt().await.contains("not the code"), "the server is there");
    })
    .await;
}

/// The request arrived and the answer cannot get back: the phone makes eight digits of the request itself.
#[tokio::test]
async fn a_phone_that_cannot_send_its_yes_has_eight_digits_for_it() {
    play(async {
        let mut scene = Scene::new(with(&[Factor::PhoneCode], &[])).await;
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        let asked = scene.asked().await;
        let code = scene.phone.request_code(&scene.lab, &asked);
        peer.answer(&code).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert!(scene.audit().contains("\"factor\":\"phone-code\""));
        let mut peer = scene.login(sshd());
        peer.prompt().await;
        peer.answer(&code).await;
        assert!(peer.prompt().await.contains("not the code"), "another request");
    })
    .await;
}

#[tokio::test]
async fn a_login_that_began_offline_rings_when_the_server_is_back_and_what_was_typed_counts() {
    play(async {
        let mut scene = Scene::offline(with(&[], ALL)).await;
        let mut peer = scene.login(sshd());
        let code = scene.phone_code(&qr::scan(&drawn(&mut peer).await.0[1..]));
        scene.connect().await;
        let asked = scene.asked().await;
        while scene.state(&asked) != State::Posted {
            sleep(Duration::from_millis(5)).await;
        }
        peer.answer(&code).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
        assert_eq!(scene.closed().await, ClosedOutcome::Otherwise);
        // The next prompt says what holds now, and what is for offline only is over with it.
        let mut peer = scene.login(sshd());
        assert_eq!(peer.prompt().await, prompts::APPROVE);
        peer.answer("12345678").await;
        assert_eq!(peer.prompt().await, prompts::wrong(2));
    })
    .await;
}

#[tokio::test]
async fn an_empty_line_shows_what_holds_now() {
    play(async {
        let mut scene = Scene::offline(with(&[], &[Factor::Recovery])).await;
        let mut peer = scene.login(sshd());
        assert!(peer.prompt().await.contains("cannot be reached"));
        scene.connect().await;
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        peer.answer("").await;
        assert_eq!(peer.prompt().await, prompts::APPROVED);
        peer.answer(CODE).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_a_tap_turns_into_a_prompt_when_the_server_goes() {
    play(async {
        let mut scene = Scene::new(|rule| {
            with(&[], &[Factor::Recovery])(rule);
            rule.confirm = countersign_policy::Confirm::Tap;
        })
        .await;
        let mut peer = scene.login(begin("sudo", Stage::Auth));
        let Step::Say { always: false, .. } = peer.step().await else { panic!("a line") };
        peer.go_on(Continue::default()).await;
        scene.asked().await;
        scene.lab.app.relay.set_client(None);
        assert!(peer.prompt().await.contains("cannot be reached"));
        let codes = scene.lab.app.recovery.new_codes(USER, 1).await.unwrap();
        peer.answer(&codes[0]).await;
        assert_eq!(peer.outcome().await, Outcome::Granted);
    })
    .await;
}

/// A rule that lets root in at the console, as the configuration has it.
fn allows(scene: &Scene, until: &str) {
    let good = scene.lab.app.config().unwrap();
    let text = format!(
        "server = \"{}\"\n[[rule]]\nname = \"console\"\nthen = \"approve\"\nwhen = {{ user = \"{USER}\", remote = false \
         }}\ncodes = []\noffline = [{{ allow_until = {until} }}]\n[default]\ncodes = []\n",
        good.server
    );
    let good = Some(Rc::new(config::read(&text).unwrap()));
    *scene.lab.app.config.borrow_mut() = Loaded { good, faults: Vec::new() };
}

#[tokio::test]
async fn nobody_is_let_in_unasked_but_named_local_users_in_an_outage_until_the_day() {
    play(async {
        let scene = Scene::away(|_| {}).await;
        allows(&scene, "2100-01-01");
        let login = || begin("login", Stage::Auth);
        let minute = |seconds| {
            let since = clock::boot().saturating_sub(Duration::from_secs(seconds));
            scene.lab.app.logins.away_since.set(Some(since));
        };
        assert_eq!(scene.login(login()).outcome().await, Outcome::Unreachable, "gone just now");
        minute(50);
        assert_eq!(scene.login(login()).outcome().await, Outcome::Unreachable, "away for a moment");
        minute(61);
        for other in [
            sshd(),
            begin("sudo", Stage::Auth),
            begin("login", Stage::Session),
            Begin { user: "nobody-here".to_owned(), ..login() },
            Begin { remote_host: Some("192.0.2.7".to_owned()), ..login() },
        ] {
            let said = format!("{other:?}");
            assert_eq!(scene.login(other).outcome().await, Outcome::Unreachable, "{said}");
        }
        assert_eq!(scene.login(login()).outcome().await, Outcome::Granted);
        let record = scene.lab.audit().pop().unwrap();
        assert_eq!(record.factor.as_deref(), Some("allow"));
        // Whoever has no device is nobody whom the server would have let in.
        scene.lab.app.devices.remove(&scene.phone.key.public_key().id()).await.unwrap();
        assert_eq!(scene.login(login()).outcome().await, Outcome::Unreachable);
        scene.lab.pair(USER, &scene.phone).await;
        allows(&scene, "2020-01-01");
        assert_eq!(scene.login(login()).outcome().await, Outcome::Unreachable, "over");
        allows(&scene, "2100-01-01");
        scene.connect().await;
        let mut peer = scene.login(login());
        assert_eq!(peer.prompt().await, prompts::APPROVE);
        assert!(scene.lab.app.logins.away_for().is_none());
    })
    .await;
}

#[test]
fn rows_are_for_terminals() {
    let caller = Caller { uid: 0, gid: 0, pid: None, root_socket: true };
    for (service, shows) in [
        ("sshd", true),
        ("sudo", true),
        ("su", true),
        ("login", true),
        ("gdm-password", false),
        ("swaylock", false),
        ("polkit-1", false),
    ] {
        assert_eq!(
            Facts::new(begin(service, Stage::Auth), &caller).unwrap().shows_rows(),
            shows,
            "{service}"
        );
    }
}
