//! A removal takes a device away only if everything about it is right: each wrong thing has its test.

use super::*;
use crate::audit::Durability;
use crate::files;
use crate::testing::{Heard, Lab, TestDevice, Told};
use crate::verify;
use countersign_protocol::audit::Record;
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{Answer, Confirm, VERSION, namespace};
use countersign_protocol::sshsig;
use tokio::task::LocalSet;

/// Alice with two devices.
struct Scene {
    lab: Lab,
    phone: TestDevice,
    tablet: TestDevice,
}

impl Scene {
    async fn new() -> Self {
        let (lab, phone, tablet) = (Lab::new(), TestDevice::new(), TestDevice::new());
        lab.pair("alice", &phone).await;
        lab.pair("alice", &tablet).await;
        Self { lab, phone, tablet }
    }

    /// What a device is told of a user's devices now.
    fn tell(&self, user: &str, device: &TestDevice) -> Told {
        let mut to = self.lab.app.devices.for_user(user);
        to.retain(|other| other.id() == device.key.public_key().id());
        let (host, devices) = (&self.lab.app.host, &self.lab.app.devices);
        let batch = notices::make(host, devices, user, None, &to).unwrap().unwrap();
        self.lab.app.notices.note(&batch);
        match device.hear(&self.lab, &batch.messages[0]) {
            Heard::Notice(told) => *told,
            _ => panic!("a notice was expected"),
        }
    }

    async fn receive(&self, sealed: &Sealed) {
        LocalSet::new().run_until(receive(&self.lab.app, &seal::peek(sealed).unwrap(), sealed)).await;
    }

    fn judge(&self, sealed: &Sealed) -> Result<Believed, Disbelief> {
        judge(&self.lab.app, &seal::peek(sealed).unwrap(), sealed)
    }

    /// It is refused for this reason, written down, and nobody is gone.
    async fn is_refused(&self, sealed: &Sealed, why: &str) {
        let before = self.lab.app.devices.all().len();
        let disbelief = self.judge(sealed).unwrap_err();
        assert!(disbelief.why.contains(why), "{}", disbelief.why);
        self.receive(sealed).await;
        assert_eq!(self.lab.app.devices.all().len(), before);
        let last = self.lab.audit().pop().unwrap();
        assert_eq!(last.event, "removal-refused");
        assert!(last.reason.unwrap().contains(why));
    }

    fn events(&self) -> Vec<String> {
        self.lab.audit().into_iter().map(|record| record.event).collect()
    }
}

#[tokio::test]
async fn an_honest_removal_ends_the_device_for_good_and_is_proven_in_the_audit() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.tablet);
    assert_eq!(told.notice.devices.len(), 2);
    let sealed = scene.tablet.remove(&scene.lab, &told, &scene.phone);
    scene.receive(&sealed).await;
    let left = scene.lab.app.devices.for_user("alice");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].card.key, *scene.tablet.key.public_key());
    assert!(scene.lab.app.approvers.is_revoked(scene.phone.key.public_key()));
    let record = scene.lab.audit().pop().unwrap();
    assert_eq!((record.event.as_str(), record.user.as_deref()), ("revoked", Some("alice")));
    let removal = record.removal_evidence().unwrap().unwrap();
    assert_eq!(removal.signed.key, *scene.tablet.key.public_key());
    assert_eq!(removal.message.notice, told.digest);

    // The phone says it until it hears of it: nothing more comes of that.
    scene.receive(&sealed).await;
    scene.receive(&sealed).await;
    assert_eq!(scene.events(), ["revoked"]);
    // The tablet was told anew, so that what it signed before is worth nothing.
    let again = scene.tablet.remove(&scene.lab, &told, &scene.tablet);
    scene.is_refused(&again, "not made for the last").await;
}

#[tokio::test]
async fn a_device_takes_itself_away() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.phone);
    scene.receive(&scene.phone.remove(&scene.lab, &told, &scene.phone)).await;
    assert!(scene.lab.app.approvers.is_revoked(scene.phone.key.public_key()));
    assert_eq!(scene.lab.app.devices.for_user("alice").len(), 1);
}

#[tokio::test]
async fn a_revoked_key_takes_nobody_away() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.phone);
    let sealed = scene.phone.remove(&scene.lab, &told, &scene.tablet);
    // By the administrator's file, which leaves it among the devices.
    let line = scene.phone.key.public_key().to_line();
    let revoked = scene.lab.app.paths.administrator().join("revoked");
    files::replace(&revoked, format!("{line}\n").as_bytes()).unwrap();
    scene.is_refused(&sealed, "the key is revoked").await;
    files::replace(&revoked, b"").unwrap();
    // And by the daemon itself.
    let phone = scene.lab.app.devices.for_user("alice").remove(0);
    let revoking = revoke::revoke(&scene.lab.app, &phone, "root", None);
    assert!(LocalSet::new().run_until(revoking).await.is_ok());
    let later = scene.phone.remove(&scene.lab, &told, &scene.tablet);
    scene.is_refused(&later, "a device that is not paired").await;
}

#[tokio::test]
async fn a_key_that_the_approvers_do_not_list_takes_nobody_away() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.phone);
    files::replace(&scene.lab.app.paths.own("approvers"), b"").unwrap();
    let sealed = scene.phone.remove(&scene.lab, &told, &scene.tablet);
    scene.is_refused(&sealed, "may not decide for this user").await;
}

#[tokio::test]
async fn another_users_device_is_not_taken_away() {
    let scene = Scene::new().await;
    let bobs = TestDevice::new();
    scene.lab.pair("bob", &bobs).await;
    let told = scene.tell("alice", &scene.phone);
    let sealed = scene.phone.remove(&scene.lab, &told, &bobs);
    scene.is_refused(&sealed, "no device of this user").await;
    // Nor may bob's device answer what alice's was told.
    let sealed = bobs.remove(&scene.lab, &told, &scene.tablet);
    scene.is_refused(&sealed, "answers no notice").await;
}

/// Each user has their own say over a device that they share, and over that alone.
#[tokio::test]
async fn a_device_of_two_users_is_taken_from_the_one_who_wants_it() {
    let scene = Scene::new().await;
    scene.lab.pair("root", &scene.tablet).await;
    let roots = scene.tell("root", &scene.tablet);
    let told = scene.tell("alice", &scene.phone);
    let tablet = scene.tablet.key.public_key();
    let alices = scene.tell("alice", &scene.tablet);
    scene.receive(&scene.phone.remove(&scene.lab, &told, &scene.tablet)).await;
    let users: Vec<_> = scene.lab.app.devices.all().into_iter().map(|device| device.user).collect();
    assert_eq!(users, ["alice", "root"]);
    assert!(!scene.lab.app.approvers.is_revoked(tablet));
    let lines = std::fs::read_to_string(scene.lab.app.paths.own("approvers")).unwrap();
    let mut of: Vec<_> = lines.lines().filter(|line| line.contains(&tablet.to_line())).collect();
    assert!(of.pop().unwrap().starts_with("root ") && of.is_empty());
    let record = scene.lab.audit().pop().unwrap();
    assert_eq!((record.event.as_str(), record.user.as_deref()), ("unpaired", Some("alice")));
    assert!(record.removal_evidence().unwrap().is_some());
    // The phone has heard of it, the tablet may no longer speak for alice.
    let id = &told.notice.id;
    let phone = scene.phone.key.public_key().id();
    assert_ne!(scene.lab.app.notices.last(&phone, id).unwrap().digest, told.digest);
    scene.is_refused(&scene.tablet.remove(&scene.lab, &alices, &scene.phone), "answers no notice").await;

    // For root it goes on: it decides, and it may be taken away by itself. That ends its key.
    let request = scene.lab.request("root", Confirm::Tap, Duration::from_secs(60));
    let approval = scene.tablet.answer(&scene.lab, &request, Answer::Approve);
    assert!(verify::decision(&scene.lab.app, &request, &approval).is_ok());
    scene.receive(&scene.tablet.remove(&scene.lab, &roots, &scene.tablet)).await;
    assert!(scene.lab.app.approvers.is_revoked(tablet));
    assert_eq!(scene.lab.audit().pop().unwrap().event, "revoked");
}

/// What it has approved for the one before counts no more, and for the other it does.
#[tokio::test]
async fn an_approval_of_a_device_that_was_taken_from_its_user_counts_for_nothing() {
    let scene = Scene::new().await;
    scene.lab.pair("root", &scene.tablet).await;
    let approved = |user: &str| {
        let request = scene.lab.request(user, Confirm::Tap, Duration::from_secs(60));
        let approval = scene.tablet.answer(&scene.lab, &request, Answer::Approve);
        assert!(request.decide(verify::decision(&scene.lab.app, &request, &approval).unwrap()));
        request
    };
    let (alices, roots) = (approved("alice"), approved("root"));
    let told = scene.tell("alice", &scene.phone);
    scene.receive(&scene.phone.remove(&scene.lab, &told, &scene.tablet)).await;
    assert!(verify::still_counts(&scene.lab.app, &alices, &[]).unwrap_err().contains("no longer paired"));
    assert_eq!(verify::still_counts(&scene.lab.app, &roots, &[]), Ok(()));
}

#[tokio::test]
async fn a_removal_names_the_last_notice_and_no_other() {
    let scene = Scene::new().await;
    let old = scene.tell("alice", &scene.phone);
    let told = scene.tell("alice", &scene.phone);
    let wrong = scene.phone.sign_removal(&"0".repeat(64), &scene.tablet);
    scene.is_refused(&scene.phone.send_removal(&scene.lab, &told, &wrong), "about another notice").await;
    // The old one's reply key is gone, and its digest under the new key does not help.
    let signed = scene.phone.sign_removal(&old.digest, &scene.tablet);
    scene.is_refused(&scene.phone.send_removal(&scene.lab, &old, &signed), "not made for the last").await;
    scene.is_refused(&scene.phone.send_removal(&scene.lab, &told, &signed), "about another notice").await;
    scene.receive(&scene.phone.remove(&scene.lab, &told, &scene.tablet)).await;
    assert_eq!(scene.lab.app.devices.all().len(), 1, "the control");
}

#[tokio::test]
async fn after_a_restart_a_device_is_told_anew() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.phone);
    scene.lab.app.notices.forget("alice", &scene.phone.key.public_key().id());
    let sealed = scene.phone.remove(&scene.lab, &told, &scene.tablet);
    scene.is_refused(&sealed, "answers no notice").await;
    let phone = scene.phone.key.public_key().id();
    let fresh = scene.lab.app.notices.last(&phone, &told.notice.id).expect("it was sent one");
    assert_ne!(fresh.digest, told.digest);
    // Not for each message that somebody makes up.
    scene.receive(&scene.phone.remove(&scene.lab, &told, &scene.tablet)).await;
    assert!(Rc::ptr_eq(&fresh, &scene.lab.app.notices.last(&phone, &told.notice.id).unwrap()));
}

#[tokio::test]
async fn only_the_devices_own_signature_in_this_namespace_counts() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.phone);
    let honest = scene.phone.sign_removal(&told.digest, &scene.tablet);
    let stranger = TestDevice::new().sign_removal(&told.digest, &scene.tablet);
    scene.is_refused(&scene.phone.send_removal(&scene.lab, &told, &stranger), "another key").await;
    let elsewhere = sshsig::sign(&scene.phone.key, namespace::DECISION, &honest.bytes).unwrap();
    let elsewhere = SignedMessage { bytes: honest.bytes.clone(), signature: elsewhere };
    scene.is_refused(&scene.phone.send_removal(&scene.lab, &told, &elsewhere), "another purpose").await;
    let unsigned = SignedMessage { bytes: honest.bytes.clone(), signature: String::new() };
    assert!(scene.judge(&scene.phone.send_removal(&scene.lab, &told, &unsigned)).is_err());
    let mut changed = honest.clone();
    changed.bytes =
        String::from_utf8(honest.bytes).unwrap().replace("\"counter\":1", "\"counter\":2").into_bytes();
    assert!(scene.judge(&scene.phone.send_removal(&scene.lab, &told, &changed)).is_err());
    // The relay knows who was told and may claim that a message is theirs.
    let mut forged = scene.tablet.remove(&scene.lab, &told, &scene.phone);
    forged.envelope = scene.phone.remove(&scene.lab, &told, &scene.phone).envelope;
    scene.is_refused(&forged, "not made for the last notice").await;
    let version = Removal {
        version: VERSION + 1,
        notice: told.digest.clone(),
        device: scene.tablet.key.public_key().id(),
        decided_at: 1,
        counter: 1,
    };
    assert!(signed::sign_message(&scene.phone.key, &version).is_err());
}

#[tokio::test]
async fn refusals_do_not_fill_the_audit() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.phone);
    scene
        .lab
        .app
        .audit
        .append(Record { event: "first".into(), ..Record::default() }, Durability::Later)
        .await
        .unwrap();
    for _ in 0..MOST_REFUSALS * 2 {
        scene.receive(&TestDevice::new().remove(&scene.lab, &told, &scene.phone)).await;
    }
    assert_eq!(scene.lab.audit().len(), 1 + MOST_REFUSALS as usize);
}

/// One user's device must not use up what is written down of another's, nor keep it from being helped.
#[tokio::test]
async fn one_devices_refusals_do_not_hide_anothers() {
    let scene = Scene::new().await;
    let bobs = TestDevice::new();
    scene.lab.pair("bob", &bobs).await;
    let bob = scene.tell("bob", &bobs);
    for _ in 0..MOST_REFUSALS * 2 {
        let wrong = bobs.sign_removal(&"0".repeat(64), &scene.phone);
        scene.receive(&bobs.send_removal(&scene.lab, &bob, &wrong)).await;
    }
    assert_eq!(scene.lab.audit().len(), MOST_REFUSALS as usize);
    let told = scene.tell("alice", &scene.phone);
    let wrong = scene.phone.sign_removal(&"0".repeat(64), &scene.tablet);
    scene.is_refused(&scene.phone.send_removal(&scene.lab, &told, &wrong), "about another notice").await;

    // Over its own budget, too, a device is told anew.
    scene.lab.app.notices.forget("bob", &bobs.key.public_key().id());
    scene.receive(&bobs.remove(&scene.lab, &bob, &bobs)).await;
    assert!(scene.lab.app.notices.last(&bobs.key.public_key().id(), &bob.notice.id).is_some());
    assert_eq!(scene.lab.audit().len(), MOST_REFUSALS as usize + 1);
}

#[test]
fn refusals_are_counted_for_so_many_devices_and_so_long() {
    let (refusals, start) = (Refusals::default(), Duration::from_secs(5));
    let device = |number: usize| Some(format!("device {number}"));
    let written = |device: Option<String>, at| {
        (0..MOST_REFUSALS * 2).filter(|_| refusals.is_to_be_written(device.clone(), at)).count()
    };
    for number in 0..MOST_COUNTED {
        assert_eq!(written(device(number), start), MOST_REFUSALS as usize);
    }
    // The rest shares what is left.
    assert_eq!(written(device(MOST_COUNTED), start), MOST_REFUSALS as usize);
    assert_eq!(written(device(MOST_COUNTED + 1), start), 0);
    assert_eq!(written(None, start), 0);
    assert_eq!(refusals.0.borrow().len(), MOST_COUNTED + 1);
    assert_eq!(written(device(0), start + SPAN), MOST_REFUSALS as usize);
    assert_eq!(refusals.0.borrow().len(), 1);
}

/// A device says it again until it hears of it; once this host can, it is done.
#[tokio::test]
async fn what_this_host_could_not_do_is_tried_again() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.phone);
    let sealed = scene.phone.remove(&scene.lab, &told, &scene.tablet);
    // First it cannot know who is revoked.
    let revoked = scene.lab.app.paths.administrator().join("revoked");
    files::replace(&revoked, b"this is no key\n").unwrap();
    scene.is_refused(&sealed, "nobody may approve").await;
    files::replace(&revoked, b"").unwrap();
    // Then it cannot end the key. That it would was written down before.
    let blocked = scene.lab.app.paths.own("revoked.new");
    std::fs::create_dir(&blocked).unwrap();
    scene.receive(&sealed).await;
    std::fs::remove_dir(&blocked).unwrap();
    let last = scene.lab.audit().pop().unwrap();
    assert_eq!((last.event.as_str(), last.user.as_deref()), ("revoke-failed", Some("alice")));
    assert_eq!(last.device, Some(scene.tablet.key.public_key().fingerprint()));
    assert!(!scene.lab.app.approvers.is_revoked(scene.tablet.key.public_key()));
    // Then it cannot write the list of devices: a folder stands in its place.
    let (list, aside) = (scene.lab.app.paths.own("devices.json"), scene.lab.app.paths.own("aside"));
    std::fs::rename(&list, &aside).unwrap();
    std::fs::create_dir(&list).unwrap();
    scene.receive(&sealed).await;
    assert_eq!(scene.lab.app.devices.all().len(), 2);
    // The key has ended all the same.
    assert_eq!(scene.lab.audit().pop().unwrap().event, "revoked");
    assert!(scene.lab.app.approvers.is_revoked(scene.tablet.key.public_key()));
    std::fs::remove_dir(&list).unwrap();
    std::fs::rename(&aside, &list).unwrap();
    scene.receive(&sealed).await;
    assert_eq!(scene.lab.app.devices.all().len(), 1);
    let before = scene.events();
    scene.receive(&sealed).await;
    assert_eq!(scene.events(), before, "and once");
}

/// Its end is in the audit before it is done: a login that was let in between would make the audit contradict itself.
#[tokio::test]
async fn what_a_device_approved_counts_no_more_once_its_end_is_written_down() {
    let scene = Scene::new().await;
    let app = &scene.lab.app;
    let request = scene.lab.request("alice", Confirm::Tap, Duration::from_secs(60));
    let decision =
        verify::decision(app, &request, &scene.phone.answer(&scene.lab, &request, Answer::Approve));
    assert!(request.decide(decision.unwrap()));
    let device = app.devices.for_user("alice").remove(0);
    let (mut at_once, local) = (None, LocalSet::new());
    local
        .run_until(async {
            tokio::join!(
                async { assert!(revoke::revoke(app, &device, "root", None).await.is_ok()) },
                // Its turn comes when the record waits for the disk.
                async { at_once = Some((scene.events(), verify::still_counts(app, &request, &[]))) }
            )
        })
        .await;
    let (events, counts) = at_once.unwrap();
    assert_eq!(events, ["revoked"]);
    assert!(counts.unwrap_err().contains("being revoked"));
    assert!(verify::still_counts(app, &request, &[]).is_err());
}

/// What cannot be written down is not done.
#[tokio::test]
async fn without_an_audit_nobody_is_taken_away() {
    let scene = Scene::new().await;
    let told = scene.tell("alice", &scene.phone);
    let sealed = scene.phone.remove(&scene.lab, &told, &scene.tablet);
    scene.lab.app.audit.breaks_for_tests();
    scene.receive(&sealed).await;
    assert!(!scene.lab.app.notices.knows(&sealed), "it may come again");
    assert_eq!(scene.lab.app.devices.all().len(), 2);
    assert!(!scene.lab.app.approvers.is_revoked(scene.tablet.key.public_key()));
}
