//! Records of logins that several people have approved.

use super::*;

/// Two approvals of one request, by those people and keys.
fn record(log: &Log, people: [(&str, &SigningKey); 2], needed: u8) -> Record {
    let mut request = request("00112233445566778899aabbccddeeff");
    request.host.key = log.host.public_key().to_line();
    request.reply_key = Base64::encode_string(&SealKey::generate().public());
    request.approvals.needed = needed;
    let request = sign_message(&log.host, &request).unwrap();
    let sign = |key: &SigningKey, counter| {
        let decision = Decision {
            version: VERSION,
            request: request.digest(),
            decision: Answer::Approve,
            code: Some("123456".into()),
            lease: None,
            decided_at: AT,
            counter,
        };
        let signed = sign_message(key, &decision).unwrap();
        (String::from_utf8(signed.bytes).unwrap(), signed.signature)
    };
    let [(name, key), (other, others)] = people;
    let (first, second) = (sign(key, 1), sign(others, 2));
    Record {
        event: "login".into(),
        user: Some("alice".into()),
        service: Some("sshd".into()),
        outcome: Some("granted".into()),
        factor: Some("device".into()),
        approver: Some(name.into()),
        device: Some(key.public_key().fingerprint()),
        request: Some(String::from_utf8(request.bytes).unwrap()),
        request_signature: Some(request.signature),
        decision: Some(first.0),
        decision_signature: Some(first.1),
        further: vec![Further {
            approver: other.into(),
            device: others.public_key().fingerprint(),
            decision: second.0,
            decision_signature: second.1,
        }],
        ..Record::default()
    }
}

fn judged(
    people: [(&str, &SigningKey); 2],
    needed: u8,
    change: impl FnOnce(&mut Record),
) -> Result<(), String> {
    let mut log = Log::new();
    for (user, key) in people {
        log.add(Record {
            event: "paired".into(),
            user: Some(user.into()),
            device: Some(key.public_key().fingerprint()),
            ..Record::default()
        });
    }
    let mut record = record(&log, people, needed);
    change(&mut record);
    log.add(record);
    log.verify()
}

#[test]
fn every_signature_of_a_record_is_checked_and_that_they_are_different_peoples() {
    let (one, two, none) = (SigningKey::generate(), SigningKey::generate(), |_: &mut Record| {});
    let (bob, carol) = (("bob", &one), ("carol", &two));
    assert_eq!(judged([bob, carol], 2, none), Ok(()));
    let fails = |judged: Result<(), String>, why: &str| {
        let said = judged.unwrap_err();
        assert!(said.contains(why), "{said}");
    };
    fails(judged([bob, ("bob", &two)], 2, none), "one person's decisions");
    fails(judged([bob, ("carol", &one)], 2, none), "one person's decisions");
    fails(judged([bob, carol], 3, none), "by 2 approvals, and its request needs 3");
    fails(
        judged([bob, carol], 2, |record| record.further.clear()),
        "by 1 approvals, and its request needs 2",
    );
    fails(judged([bob, carol], 2, |record| record.further[0].approver = "dora".into()), "for dora");
    fails(judged([bob, carol], 2, |record| record.further[0].decision.push(' ')), "the decision: ");
    fails(judged([bob, carol], 2, |record| record.further[0].device.push(' ')), "another device");
    let other = record(&Log::new(), [bob, carol], 2);
    fails(judged([bob, carol], 2, |record| record.further = other.further), "another request");
    fails(
        judged([bob, carol], 2, |record| (record.decision, record.decision_signature) = (None, None)),
        "incomplete",
    );
}

#[test]
fn a_real_ssh_keygen_checks_each_of_them() {
    let mut log = Log::new();
    let (bob, carol) = (SigningKey::generate(), SigningKey::generate());
    log.add(record(&log, [("bob", &bob), ("carol", &carol)], 2));
    let approvers = log.dir.path().join("approvers");
    let line = |name: &str, key: &SigningKey| format!("{name} {}\n", key.public_key().to_line());
    std::fs::write(&approvers, line("bob", &bob) + &line("carol", &carol)).unwrap();
    let (file, into) = (log.file(), log.dir.path().join("into"));
    let wanted = Wanted { seq: Some(1), last: None, user: None };
    show(&file, &wanted, Some(&into), std::slice::from_ref(&approvers), QUIET).unwrap();
    let record: Record = serde_json::from_str(log.text.trim()).unwrap();
    let lines = extract::commands(&record, &into, &[approvers]).unwrap().unwrap();
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        let done = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(done.status.success(), "{line}\n{}", String::from_utf8_lossy(&done.stderr));
    }
}
