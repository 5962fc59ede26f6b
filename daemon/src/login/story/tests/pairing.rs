//! What the `countersign` command asks a person about: whether one more device may be paired, and
//! whether it rings; and what the devices hear of each other.

use super::*;
use crate::manage;
use base64ct::{Base64, Encoding};
use countersign_protocol::api::{Post, SignedCard};
use countersign_protocol::frame;
use countersign_protocol::keys::Signer;
use countersign_protocol::manage::{
    Call as Manage, PairingAnswered, PairingChecked, PairingStep, RingAnswer, Rung,
};
use countersign_protocol::message::{Confirm, DeviceChange, Kind};
use countersign_protocol::pairing::{PhonePairing, Ticket};
use serde::de::DeserializeOwned;

/// The command's end.
struct Command {
    connection: Connection,
    serving: Option<JoinHandle<()>>,
    there: Option<UnixStream>,
    caller: Caller,
}

impl Command {
    /// Root by the socket that is root's, or as any user.
    fn new(root_socket: bool) -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        let caller = Caller { uid: 0, gid: 0, pid: None, root_socket };
        Self { connection: Connection::new(here), serving: None, there: Some(there), caller }
    }

    async fn send(&mut self, scene: &Scene, call: &Manage) {
        let Some(there) = self.there.take() else { return self.connection.send(call).await.unwrap() };
        let mut first = frame::encode(call).unwrap();
        first.pop();
        let (app, caller) = (Rc::clone(&scene.lab.app), self.caller);
        self.serving = Some(spawn_local(async move {
            let _ = manage::serve(&app, caller, Connection::new(there), &first).await;
        }));
    }

    async fn answer<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let reply = timeout(PATIENCE, self.connection.recv::<Reply<T>>()).await.expect("a reply").unwrap();
        match reply.expect("the daemon has closed") {
            Reply::Parameters { parameters } => Ok(parameters),
            Reply::Error { parameters, .. } => Err(parameters.message),
        }
    }

    async fn call<T: DeserializeOwned>(&mut self, scene: &Scene, call: &Manage) -> Result<T, String> {
        self.send(scene, call).await;
        self.answer().await
    }

    /// Hangs up; comes back when the daemon has noticed.
    async fn hang_up(self) {
        drop(self.connection);
        timeout(PATIENCE, self.serving.unwrap()).await.expect("it ends").unwrap();
    }
}

fn pair() -> Manage {
    Manage::Pair { user: USER.to_owned() }
}

fn typed(code: &str) -> Manage {
    Manage::PairApprove { code: code.to_owned().into() }
}

fn signed_card(device: &TestDevice) -> SignedCard {
    let card = device.card();
    SignedCard { card: String::from_utf8(card.bytes).unwrap(), signature: card.signature }
}

/// A device goes through the pairing that a link opens; its receipt, and what it has to say.
async fn answer_link(
    scene: &Scene,
    command: &mut Command,
    link: &str,
    device: &TestDevice,
) -> Result<(), String> {
    let ticket = Ticket::parse(link).unwrap();
    let mailbox = ticket.mailbox();
    let mut phone = PhonePairing::new(ticket, &signed_card(device)).unwrap();
    scene.push.mail(&mailbox, "m1", phone.first());
    command.call::<PairingAnswered>(scene, &Manage::PairWait {}).await?;
    let shown = phone.reveal(&scene.push.mailed(&mailbox, "m2").await).unwrap();
    let code = Manage::PairCode { code: shown.code.to_string().into() };
    let checked = command.call::<PairingChecked>(scene, &code).await?;
    assert!(matches!(checked, PairingChecked::Paired(_)));
    scene.push.mailed(&mailbox, "m3").await;
    Ok(())
}

fn told(scene: &Scene, device: &TestDevice, post: &Post) -> Vec<crate::testing::Told> {
    let id = device.key.public_key().id();
    let mine = post.messages.iter().filter(|sealed| sealed.envelope.contains(&format!("\"to\":\"{id}\"")));
    let heard = mine.map(|sealed| device.hear(&scene.lab, sealed));
    heard.filter_map(|heard| if let Heard::Notice(told) = heard { Some(*told) } else { None }).collect()
}

#[tokio::test]
async fn a_user_pairs_one_more_device_with_the_code_of_a_paired_one() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut command = Command::new(false);
        let step = command.call(&scene, &pair()).await.unwrap();
        assert!(matches!(step, PairingStep::Approve { tries: 3, expires_in: 1..=60 }), "{step:?}");
        let asked = scene.asked().await;
        assert_eq!((asked.request.confirm, asked.request.kind), (Confirm::Code, Kind::Action));
        // Nothing typed waits; something wrong costs a try, and a wrong device's code is wrong.
        command.send(&scene, &typed("")).await;
        scene.answer(&asked, Answer::Approve).await;
        assert!(matches!(command.answer().await.unwrap(), PairingStep::Approve { tries: 3, .. }));
        let step = command.call(&scene, &typed("000000")).await.unwrap();
        assert!(matches!(step, PairingStep::Approve { tries: 2, .. }));
        let PairingStep::Opened(opened) = command.call(&scene, &typed(CODE)).await.unwrap() else {
            panic!("it is approved")
        };
        assert_eq!(scene.closed().await, ClosedOutcome::Approved);
        let record = scene.lab.audit().pop().unwrap();
        assert_eq!((record.event.as_str(), record.outcome.as_deref()), ("pairing", Some("granted")));
        let evidence = record.evidence(&scene.lab.app.host.public).unwrap();
        assert_eq!(evidence.decision.unwrap().signed.key, *scene.phone.key.public_key());

        let tablet = TestDevice::new();
        answer_link(&scene, &mut command, &opened.link, &tablet).await.unwrap();
        assert_eq!(scene.lab.app.devices.for_user(USER).len(), 2);
        let reason = scene.lab.audit().pop().unwrap().reason.unwrap();
        let phone = scene.phone.key.public_key().fingerprint();
        assert!(reason.ends_with(&format!("approved with {phone}")), "{reason}");
        // The phone is rung with the news; the tablet knows it.
        let post = scene.push.next().await;
        assert!(post.ring && told(&scene, &tablet, &post).is_empty());
        let event = told(&scene, &scene.phone, &post)[0].notice.event.clone().unwrap();
        assert_eq!((event.what, event.device), (DeviceChange::Paired, tablet.key.public_key().id()));
    })
    .await;
}

/// Otherwise whoever holds the phone for a moment could pair it a second time under another name.
#[tokio::test]
async fn the_device_that_approves_is_not_the_new_one() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut command = Command::new(false);
        let _: PairingStep = command.call(&scene, &pair()).await.unwrap();
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        let PairingStep::Opened(opened) = command.call(&scene, &typed(CODE)).await.unwrap() else {
            panic!("it is approved")
        };
        let refused = answer_link(&scene, &mut command, &opened.link, &scene.phone).await.unwrap_err();
        assert!(refused.contains("the device that has approved"), "{refused}");
        let paired_at = scene.lab.app.devices.for_user(USER)[0].paired_at;
        assert!(!scene.lab.audit().iter().any(|record| record.event == "paired"), "{paired_at}");
    })
    .await;
}

/// Otherwise a stolen phone that is taken away could leave another one behind.
#[tokio::test]
async fn a_device_that_is_removed_meanwhile_has_approved_nothing() {
    for revoked_before_it_answers in [true, false] {
        play(async {
            let mut scene = Scene::new(|_| {}).await;
            let mut command = Command::new(false);
            let _: PairingStep = command.call(&scene, &pair()).await.unwrap();
            let asked = scene.asked().await;
            scene.answer(&asked, Answer::Approve).await;
            let PairingStep::Opened(opened) = command.call(&scene, &typed(CODE)).await.unwrap() else {
                panic!("it is approved")
            };
            let ticket = Ticket::parse(&opened.link).unwrap();
            let mailbox = ticket.mailbox();
            let mut tablet = PhonePairing::new(ticket, &signed_card(&TestDevice::new())).unwrap();
            scene.push.mail(&mailbox, "m1", tablet.first());
            let refused = if revoked_before_it_answers {
                revoke(&scene).await;
                command.call::<PairingAnswered>(&scene, &Manage::PairWait {}).await.unwrap_err()
            } else {
                // By the administrator's file, which leaves it among the devices.
                let _: PairingAnswered = command.call(&scene, &Manage::PairWait {}).await.unwrap();
                let shown = tablet.reveal(&scene.push.mailed(&mailbox, "m2").await).unwrap();
                let line = format!("{}\n", scene.phone.key.public_key().to_line());
                let file = scene.lab.app.paths.administrator().join("revoked");
                crate::files::replace(&file, line.as_bytes()).unwrap();
                let code = Manage::PairCode { code: shown.code.to_string().into() };
                command.call::<PairingChecked>(&scene, &code).await.unwrap_err()
            };
            assert!(refused.contains("was removed meanwhile"), "{refused}");
            assert!(!scene.lab.audit().iter().any(|record| record.event == "paired"));
        })
        .await;
    }
}

/// The same while its code is typed.
#[tokio::test]
async fn a_device_that_is_removed_before_its_code_is_typed_has_approved_nothing() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut command = Command::new(false);
        let _: PairingStep = command.call(&scene, &pair()).await.unwrap();
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        revoke(&scene).await;
        assert!(command.call::<PairingStep>(&scene, &typed(CODE)).await.unwrap_err().contains("Denied"));
        let record = scene.lab.audit().pop().unwrap();
        assert_eq!((record.event.as_str(), record.outcome.as_deref()), ("pairing", Some("denied")));
        assert!(record.reason.unwrap().contains("no longer paired"));
    })
    .await;
}

/// Takes the phone away, as root does.
async fn revoke(scene: &Scene) {
    let device = scene.phone.key.public_key().fingerprint();
    let call = Manage::Revoke { user: USER.to_owned(), device };
    let _: countersign_protocol::manage::Devices = Command::new(true).call(scene, &call).await.unwrap();
}

/// The mailbox opens only with a record of who has approved that, and phones hear no more than that.
#[tokio::test]
async fn an_approval_that_cannot_be_written_down_opens_no_pairing() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut command = Command::new(false);
        let _: PairingStep = command.call(&scene, &pair()).await.unwrap();
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        scene.lab.app.audit.breaks_for_tests();
        let refused = command.call::<PairingStep>(&scene, &typed(CODE)).await.unwrap_err();
        assert!(refused.contains("audit"), "{refused}");
        assert_eq!(scene.closed().await, ClosedOutcome::Failed);
        assert!(command.call::<PairingAnswered>(&scene, &Manage::PairWait {}).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn without_the_code_nothing_is_opened_and_every_end_is_written_down() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        // Three wrong ones.
        let mut command = Command::new(false);
        let _: PairingStep = command.call(&scene, &pair()).await.unwrap();
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Approve).await;
        for _ in 0..2 {
            let _: PairingStep = command.call(&scene, &typed("000000")).await.unwrap();
        }
        assert!(
            command.call::<PairingStep>(&scene, &typed("000000")).await.unwrap_err().contains("Too many")
        );
        assert_eq!(scene.closed().await, ClosedOutcome::Failed);
        assert!(command.call::<PairingStep>(&scene, &typed(CODE)).await.is_err());
        assert!(command.call::<PairingAnswered>(&scene, &Manage::PairWait {}).await.is_err());

        // Denied, while nobody calls: the other phones hear of it at once.
        let _: PairingStep = command.call(&scene, &pair()).await.unwrap();
        let asked = scene.asked().await;
        scene.answer(&asked, Answer::Deny).await;
        assert_eq!(scene.closed().await, ClosedOutcome::Denied);
        assert!(command.call::<PairingStep>(&scene, &typed(CODE)).await.unwrap_err().contains("Denied"));

        // Broken off, also while a call is out.
        for out in [false, true] {
            let _: PairingStep = command.call(&scene, &pair()).await.unwrap();
            scene.asked().await;
            if out {
                command.send(&scene, &typed("")).await;
                sleep(Duration::from_millis(50)).await;
            }
            std::mem::replace(&mut command, Command::new(false)).hang_up().await;
            assert_eq!(scene.closed().await, ClosedOutcome::Withdrawn);
        }
        let outcomes: Vec<_> = scene.lab.audit().into_iter().filter_map(|record| record.outcome).collect();
        assert_eq!(outcomes, ["denied", "denied", "withdrawn", "withdrawn"]);
    })
    .await;
}

#[tokio::test]
async fn a_new_device_is_rung_once_and_nothing_opens() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for (answer, rung) in [(Answer::Approve, RingAnswer::Rang), (Answer::Report, RingAnswer::Denied)] {
            let mut command = Command::new(true);
            assert!(command.call::<Rung>(&scene, &Manage::Ring {}).await.is_err(), "nothing is paired");
            let PairingStep::Opened(opened) = command.call(&scene, &pair()).await.unwrap() else {
                panic!("root asks nobody")
            };
            let tablet = TestDevice::new();
            answer_link(&scene, &mut command, &opened.link, &tablet).await.unwrap();
            // The others hear of it meanwhile.
            let news = scene.push.next().await;
            assert!(told(&scene, &scene.phone, &news)[0].notice.event.is_some());
            command.send(&scene, &Manage::Ring {}).await;
            let post = scene.push.next().await;
            assert!(post.ring);
            assert_eq!(post.messages.len(), 1, "only the new one");
            let Heard::Request(asked) = tablet.hear(&scene.lab, &post.messages[0]) else {
                panic!("a request")
            };
            assert_eq!((asked.request.kind, asked.request.confirm), (Kind::Test, Confirm::Tap));
            scene.push.deliver(&tablet.reply(&scene.lab, &asked, answer, CODE));
            assert_eq!(command.answer::<Rung>().await.unwrap().answer, Some(rung));
            // Its end brings the new device the list of all.
            let post = scene.push.next().await;
            assert!(matches!(tablet.hear(&scene.lab, &post.messages[0]), Heard::Closed(_)));
            let listed = told(&scene, &tablet, &post).remove(0).notice;
            assert_eq!(listed.devices.len(), scene.lab.app.devices.for_user(USER).len());
            assert!(command.call::<Rung>(&scene, &Manage::Ring {}).await.is_err(), "once");
        }
        // Nothing was opened; what was reported is proven.
        let mut ended = scene.lab.audit();
        ended.retain(|record| record.outcome.is_some());
        let record = ended.pop().unwrap();
        assert_eq!((record.event.as_str(), record.outcome.as_deref()), ("test-ring", Some("denied")));
        assert!(record.reason.as_deref().unwrap().contains("reported"));
        assert!(record.evidence(&scene.lab.app.host.public).unwrap().decision.is_some() && ended.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_ring_that_is_not_waited_for_is_withdrawn() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let mut command = Command::new(true);
        let PairingStep::Opened(opened) = command.call(&scene, &pair()).await.unwrap() else {
            panic!("root")
        };
        let tablet = TestDevice::new();
        answer_link(&scene, &mut command, &opened.link, &tablet).await.unwrap();
        scene.push.next().await;
        command.send(&scene, &Manage::Ring {}).await;
        scene.push.next().await;
        command.hang_up().await;
        let post = scene.push.next().await;
        let Heard::Closed(closed) = tablet.hear(&scene.lab, &post.messages[0]) else { panic!("its end") };
        assert_eq!(closed.outcome, ClosedOutcome::Withdrawn);
    })
    .await;
}

#[tokio::test]
async fn devices_hear_of_each_other_once_a_day_beside_an_end() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        for notices in [1, 0] {
            let mut peer = scene.login(sshd());
            peer.prompt().await;
            let asked = scene.asked().await;
            scene.answer(&asked, Answer::Deny).await;
            let post = scene.push.next().await;
            assert_eq!((post.messages.len(), post.ring), (1 + notices, false));
            assert!(matches!(scene.phone.hear(&scene.lab, &post.messages[0]), Heard::Closed(_)));
            let told = told(&scene, &scene.phone, &post);
            assert!(told.iter().all(|told| told.notice.event.is_none() && told.notice.user == USER));
            peer.hang_up().await;
            scene.unblock().await;
        }
    })
    .await;
}

/// By root, and by another device: the remaining ones are rung, those of another user are not.
#[tokio::test]
async fn the_remaining_devices_hear_of_a_removal() {
    play(async {
        let mut scene = Scene::new(|_| {}).await;
        let (tablet, watch, bobs) = (TestDevice::new(), TestDevice::new(), TestDevice::new());
        scene.lab.pair(USER, &tablet).await;
        scene.lab.pair(USER, &watch).await;
        scene.lab.pair("bob", &bobs).await;
        let device = tablet.key.public_key().fingerprint();
        let revoke = Manage::Revoke { user: USER.to_owned(), device };
        let _: countersign_protocol::manage::Devices =
            Command::new(true).call(&scene, &revoke).await.unwrap();
        let post = scene.push.next().await;
        assert!(post.ring);
        assert_eq!(post.messages.len(), 2);
        let heard = told(&scene, &scene.phone, &post).remove(0);
        let event = heard.notice.event.clone().unwrap();
        assert_eq!((event.what, event.device), (DeviceChange::Removed, tablet.key.public_key().id()));
        assert_eq!((heard.notice.devices.len(), told(&scene, &watch, &post).len()), (2, 1));

        scene.push.deliver(&scene.phone.remove(&scene.lab, &heard, &watch));
        let post = scene.push.next().await;
        let heard = told(&scene, &scene.phone, &post).remove(0);
        assert_eq!(heard.notice.event.unwrap().device, watch.key.public_key().id());
        assert_eq!(heard.notice.devices.len(), 1);
        assert_eq!(Base64::decode_vec(&heard.notice.reply_key).unwrap().len(), 32);
        assert_eq!(scene.lab.app.devices.for_user(USER).len(), 1);
        assert_eq!(scene.lab.app.devices.for_user("bob").len(), 1);
    })
    .await;
}

/// A server that was away hears the news when it is back.
#[tokio::test]
async fn news_wait_for_the_server() {
    play(async {
        let mut scene = Scene::offline(|_| {}).await;
        let tablet = TestDevice::new();
        scene.lab.pair(USER, &tablet).await;
        let device = tablet.key.public_key().fingerprint();
        let revoke = Manage::Revoke { user: USER.to_owned(), device };
        let _: countersign_protocol::manage::Devices =
            Command::new(true).call(&scene, &revoke).await.unwrap();
        scene.connect().await;
        let post = scene.push.next().await;
        assert!(post.ring);
        assert_eq!(told(&scene, &scene.phone, &post).len(), 1);
        scene.cut().await;
        scene.connect().await;
        scene.push.is_quiet().await;
    })
    .await;
}
