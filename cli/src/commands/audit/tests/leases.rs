//! Logins that a lease let in.

use super::*;
use countersign_protocol::message::{Lease, Request};

/// A record of a login that the log's device has granted with a lease.
fn granted(log: &Log, change: impl FnOnce(&mut Request, &mut Decision)) -> Record {
    let mut asked = request("00112233445566778899aabbccddeeff");
    asked.host.key = log.host.public_key().to_line();
    asked.reply_key = Base64::encode_string(&SealKey::generate().public());
    (asked.issued_at, asked.lease_max, asked.lease_uses) = (AT, Some(600), Some(2));
    let mut decision = Decision {
        version: VERSION,
        request: String::new(),
        decision: Answer::Approve,
        code: Some("123456".into()),
        lease: Some(Lease { until: AT + 600, scope: asked.service.clone() }),
        decided_at: AT,
        counter: 1,
    };
    change(&mut asked, &mut decision);
    let remote = asked.remote.as_ref().map(|remote| remote.address.clone());
    let service = asked.service.clone();
    let asked = sign_message(&log.host, &asked).unwrap();
    decision.request = asked.digest();
    let decision = sign_message(&log.device, &decision).unwrap();
    Record {
        event: "login".into(),
        user: Some("alice".into()),
        service: Some(service),
        remote,
        outcome: Some("granted".into()),
        factor: Some("device".into()),
        approver: Some("alice".into()),
        device: Some(log.device.public_key().fingerprint()),
        request: Some(String::from_utf8(asked.bytes).unwrap()),
        request_signature: Some(asked.signature),
        decision: Some(String::from_utf8(decision.bytes).unwrap()),
        decision_signature: Some(decision.signature),
        ..Record::default()
    }
}

fn used(record: &Record) -> Record {
    Record { factor: Some("lease".into()), ..record.clone() }
}

#[test]
fn uses_are_valid_after_their_grant_and_no_more_often_than_was_said() {
    let mut log = Log::new();
    let first = granted(&log, |_, _| ());
    for record in [first.clone(), used(&first), used(&first)] {
        log.add(record);
        log.verify().unwrap();
    }
    log.add(used(&first));
    assert!(log.verify().unwrap_err().contains("good for 2 logins"));
}

#[test]
fn what_no_lease_covers_is_found() {
    let refused = |change: fn(&mut Request, &mut Decision), use_it: fn(&mut Record), with_grant: bool| {
        let mut log = Log::new();
        let first = granted(&log, change);
        if with_grant {
            log.add(first.clone());
        }
        let mut use_of = used(&first);
        use_it(&mut use_of);
        let at = use_of.at_ms;
        log.text.push_str(&log.chain.append(Record { at_ms: AT * 1000 + at, ..use_of }).unwrap());
        log.text.push('\n');
        log.verify().unwrap_err()
    };
    let same = |_: &mut Request, _: &mut Decision| ();
    assert!(refused(same, |_| (), false).contains("no record before it"));
    assert!(
        refused(same, |record| record.remote = Some("192.0.2.99".into()), true).contains("from elsewhere")
    );
    assert!(refused(same, |record| record.service = Some("sudo".into()), true).contains("another service"));
    assert!(refused(same, |record| record.at_ms = 700_000, true).contains("had ended"));
    assert!(refused(|_, decision| decision.lease = None, |_| (), true).contains("grants no lease"));
    let long = |_: &mut Request, decision: &mut Decision| {
        decision.lease = Some(Lease { until: u64::MAX, scope: "sshd".into() });
    };
    assert!(refused(long, |record| record.at_ms = 700_000, true).contains("had ended"));
    let unasked =
        |request: &mut Request, _: &mut Decision| (request.lease_max, request.lease_uses) = (None, None);
    assert!(refused(unasked, |_| (), true).contains("no lease was offered"));
    let bare = |record: &mut Record| {
        (record.request, record.request_signature) = (None, None);
        (record.decision, record.decision_signature) = (None, None);
    };
    assert!(refused(same, bare, true).contains("missing"));
}
