//! A decision opens only if everything about it is right: each wrong thing has its test.

use std::time::Duration;

use countersign_protocol::keys::Signer;
use countersign_protocol::message::{Answer, Confirm, namespace};
use countersign_protocol::signed::SignedMessage;
use countersign_protocol::sshsig;

use super::decision;
use crate::login::state::{Event, State};
use crate::testing::{Lab, TestDevice};

const WAIT: Duration = Duration::from_secs(60);

async fn alice() -> (Lab, TestDevice) {
    let (lab, device) = (Lab::new(), TestDevice::new());
    lab.pair("alice", &device).await;
    (lab, device)
}

#[tokio::test]
async fn an_honest_answer_is_believed() {
    let (lab, device) = alice().await;
    for answer in [Answer::Approve, Answer::Deny, Answer::Report] {
        let request = lab.request("alice", Confirm::Code, WAIT);
        let verified = decision(&lab.app, &request, &device.answer(&lab, &request, answer)).unwrap();
        assert_eq!(verified.decision.decision, answer);
        assert_eq!(verified.fingerprint, device.key.public_key().fingerprint());
    }
}

#[tokio::test]
async fn an_unpaired_device_is_not_believed() {
    let (lab, _) = alice().await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let stranger = TestDevice::new();
    let why = decision(&lab.app, &request, &stranger.answer(&lab, &request, Answer::Approve)).unwrap_err();
    assert!(why.contains("not asked"), "{why}");
}

#[tokio::test]
async fn another_users_device_is_not_believed() {
    let (lab, _) = alice().await;
    let bobs = TestDevice::new();
    lab.pair("bob", &bobs).await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let why = decision(&lab.app, &request, &bobs.answer(&lab, &request, Answer::Approve)).unwrap_err();
    assert!(why.contains("not asked"), "{why}");
}

/// The relay knows who was asked and may claim that a message is theirs.
#[tokio::test]
async fn a_message_under_somebody_elses_name_does_not_open() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let mut sealed = TestDevice::new().answer(&lab, &request, Answer::Approve);
    let honest = device.answer(&lab, &request, Answer::Approve);
    sealed.envelope.clone_from(&honest.envelope);
    let why = decision(&lab.app, &request, &sealed).unwrap_err();
    assert!(why.contains("cannot be opened"), "{why}");
}

#[tokio::test]
async fn a_decision_signed_by_another_key_inside_is_not_believed() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let forged = TestDevice::new().sign(&TestDevice::decision(&request, Answer::Approve));
    let why = decision(&lab.app, &request, &device.seal(&lab, &request, &forged)).unwrap_err();
    assert!(why.contains("another key"), "{why}");
}

#[tokio::test]
async fn an_unsigned_decision_is_not_believed() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let mut message = device.sign(&TestDevice::decision(&request, Answer::Approve));
    for signature in ["", "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n"] {
        message.signature = signature.to_owned();
        assert!(decision(&lab.app, &request, &device.seal(&lab, &request, &message)).is_err());
    }
}

#[tokio::test]
async fn a_signature_made_for_something_else_is_not_believed() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let bytes = serde_json::to_vec(&TestDevice::decision(&request, Answer::Approve)).unwrap();
    for other in [namespace::AUTH, namespace::CARD, namespace::REQUEST, "file"] {
        let signature = sshsig::sign(&device.key, other, &bytes).unwrap();
        let message = SignedMessage { bytes: bytes.clone(), signature };
        assert!(decision(&lab.app, &request, &device.seal(&lab, &request, &message)).is_err(), "{other}");
    }
}

#[tokio::test]
async fn changed_bytes_are_not_believed() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let mut message = device.sign(&TestDevice::decision(&request, Answer::Deny));
    let text = String::from_utf8(message.bytes).unwrap().replace("deny", "approve");
    message.bytes = text.into_bytes();
    let why = decision(&lab.app, &request, &device.seal(&lab, &request, &message)).unwrap_err();
    assert!(why.contains("signature"), "{why}");
}

#[tokio::test]
async fn an_old_decision_does_not_open_a_new_request() {
    let (lab, device) = alice().await;
    let old = lab.request("alice", Confirm::Tap, WAIT);
    let new = lab.request("alice", Confirm::Tap, WAIT);
    // As the relay would replay it: sealed to the old reply key.
    let replayed = device.answer(&lab, &old, Answer::Approve);
    assert!(decision(&lab.app, &new, &replayed).is_err());
    // As an accomplice on the device's side would: the old signature, sealed to the new reply key.
    let signed = device.sign(&TestDevice::decision(&old, Answer::Approve));
    let why = decision(&lab.app, &new, &device.seal(&lab, &new, &signed)).unwrap_err();
    assert!(why.contains("another request"), "{why}");
}

#[tokio::test]
async fn a_decision_for_another_host_does_not_open_here() {
    let (lab, device) = alice().await;
    let (elsewhere, _) = (Lab::new(), ());
    elsewhere.pair("alice", &device).await;
    let there = elsewhere.request("alice", Confirm::Tap, WAIT);
    let here = lab.request("alice", Confirm::Tap, WAIT);
    assert!(decision(&lab.app, &here, &device.answer(&elsewhere, &there, Answer::Approve)).is_err());
    let signed = device.sign(&TestDevice::decision(&there, Answer::Approve));
    assert!(decision(&lab.app, &here, &device.seal(&lab, &here, &signed)).is_err());
}

#[tokio::test]
async fn a_revoked_device_is_not_believed_from_that_moment_on() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let sealed = device.answer(&lab, &request, Answer::Approve);
    assert!(decision(&lab.app, &request, &sealed).is_ok());

    lab.app.approvers.revoke(device.key.public_key()).await.unwrap();
    let why = decision(&lab.app, &request, &sealed).unwrap_err();
    assert!(why.contains("may not approve"), "{why}");
    lab.app.devices.remove(&device.key.public_key().id()).await.unwrap();
    let why = decision(&lab.app, &request, &sealed).unwrap_err();
    assert!(why.contains("no longer paired"), "{why}");
}

#[tokio::test]
async fn a_device_without_a_line_in_the_approvers_is_not_believed() {
    let (lab, device) = (Lab::new(), TestDevice::new());
    lab.app.devices.add("alice", device.card()).await.unwrap();
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let why = decision(&lab.app, &request, &device.answer(&lab, &request, Answer::Approve)).unwrap_err();
    assert!(why.contains("may not approve"), "{why}");
}

#[tokio::test]
async fn after_the_deadline_nothing_is_believed() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Tap, Duration::from_secs(1));
    let sealed = device.answer(&lab, &request, Answer::Approve);
    assert!(decision(&lab.app, &request, &sealed).is_ok());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let why = decision(&lab.app, &request, &sealed).unwrap_err();
    assert!(why.contains("deadline"), "{why}");
}

#[tokio::test]
async fn an_approval_needs_the_code_that_was_asked_for() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Code, WAIT);
    for code in [None, Some("48291"), Some("4829134"), Some("48291x")] {
        let mut said = TestDevice::decision(&request, Answer::Approve);
        said.code = code.map(str::to_owned);
        let bytes = serde_json::to_vec(&said).unwrap();
        let signature = sshsig::sign(&device.key, namespace::DECISION, &bytes).unwrap();
        let sealed = device.seal(&lab, &request, &SignedMessage { bytes, signature });
        assert!(decision(&lab.app, &request, &sealed).is_err(), "{code:?}");
    }
}

#[tokio::test]
async fn every_flipped_byte_of_a_message_is_noticed() {
    let (lab, device) = alice().await;
    let request = lab.request("alice", Confirm::Tap, WAIT);
    let honest = device.answer(&lab, &request, Answer::Approve);
    for place in (0..honest.sealed.len()).step_by(41) {
        let mut bytes = honest.sealed.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let mut flipped = honest.clone();
        flipped.sealed = String::from_utf8(bytes).unwrap();
        assert!(decision(&lab.app, &request, &flipped).is_err(), "byte {place}");
    }
    for place in 0..honest.envelope.len() {
        let mut bytes = honest.envelope.clone().into_bytes();
        bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
        let Ok(envelope) = String::from_utf8(bytes) else { continue };
        let mut flipped = honest.clone();
        flipped.envelope = envelope;
        assert!(decision(&lab.app, &request, &flipped).is_err(), "envelope byte {place}");
    }
}

#[tokio::test]
async fn a_code_opens_its_own_request_only_and_three_wrong_ones_end_it() {
    let (lab, device) = alice().await;
    let (one, two) = (lab.request("alice", Confirm::Code, WAIT), lab.request("alice", Confirm::Code, WAIT));
    let mut second = TestDevice::decision(&two, Answer::Approve);
    second.code = Some("111111".to_owned());
    let first = device.answer(&lab, &one, Answer::Approve);
    assert!(one.decide(decision(&lab.app, &one, &first).unwrap()));
    let second = device.seal(&lab, &two, &device.sign(&second));
    assert!(two.decide(decision(&lab.app, &two, &second).unwrap()));

    assert!(!two.try_code("482913"), "the other request's code");
    assert!(two.try_code("111111"));
    assert!(!one.try_code("111111") && !one.try_code("000000") && !one.try_code("999999"));
    assert_eq!(one.state(), State::Failed);
    assert!(!one.try_code("482913"), "too late");
    assert!(!one.happens(Event::Confirmed));
}

#[tokio::test]
async fn a_code_before_the_approval_is_worth_nothing() {
    let (lab, _) = alice().await;
    let request = lab.request("alice", Confirm::Code, WAIT);
    for code in ["", "000000", "482913"] {
        assert!(!request.try_code(code));
    }
    assert_eq!(request.state(), State::New);
}
