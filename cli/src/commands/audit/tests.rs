mod leases;
mod several;
mod tampering;

use super::*;
use crate::approver::testing::{Dir, request};
use crate::output::Output;
use base64ct::{Base64, Encoding};
use countersign_protocol::audit::{Chain, Further, Record};
use countersign_protocol::keys::{PublicKey, SealKey, Signer, SigningKey};
use countersign_protocol::message::{Answer, Decision, Removal, VERSION};
use countersign_protocol::signed::sign_message;
use std::process::Command;

const AT: u64 = 1_750_000_000;
const QUIET: Output = Output { json: true };

struct Log {
    dir: Dir,
    host: SigningKey,
    device: SigningKey,
    chain: Chain,
    text: String,
}

impl Log {
    fn new() -> Self {
        let (host, device) = (SigningKey::generate(), SigningKey::generate());
        Self { dir: Dir::new(), host, device, chain: Chain::new(), text: String::new() }
    }

    fn add(&mut self, record: Record) {
        self.text.push_str(&self.chain.append(Record { at_ms: AT * 1000, ..record }).unwrap());
        self.text.push('\n');
    }

    /// A login of alice that `device` decided.
    fn login(&mut self, device: &SigningKey) {
        self.login_ended(device, "granted", "device");
    }

    /// A login of alice that `device` approved, and how it ended.
    fn login_ended(&mut self, device: &SigningKey, outcome: &str, factor: &str) {
        let mut request = request("00112233445566778899aabbccddeeff");
        request.host.key = self.host.public_key().to_line();
        request.reply_key = Base64::encode_string(&SealKey::generate().public());
        let request = sign_message(&self.host, &request).unwrap();
        let decision = Decision {
            version: VERSION,
            request: request.digest(),
            decision: Answer::Approve,
            code: Some("123456".into()),
            lease: None,
            decided_at: AT,
            counter: 1,
        };
        let decision = sign_message(device, &decision).unwrap();
        self.add(Record {
            event: "login".into(),
            user: Some("alice".into()),
            service: Some("sshd".into()),
            outcome: Some(outcome.into()),
            factor: Some(factor.into()).filter(|_| outcome == "granted"),
            approver: Some("alice".into()),
            device: Some(device.public_key().fingerprint()),
            request: Some(String::from_utf8(request.bytes).unwrap()),
            request_signature: Some(request.signature),
            decision: Some(String::from_utf8(decision.bytes).unwrap()),
            decision_signature: Some(decision.signature),
            ..Record::default()
        });
    }

    fn about_device(&mut self, event: &str, device: &PublicKey) {
        self.add(Record {
            event: event.into(),
            user: Some("alice".into()),
            device: Some(device.fingerprint()),
            ..Record::default()
        });
    }

    fn file(&self) -> PathBuf {
        let path = self.dir.path().join("audit.jsonl");
        std::fs::write(&path, &self.text).unwrap();
        path
    }

    fn approvers(&self) -> PathBuf {
        let path = self.dir.path().join("approvers");
        let key = self.device.public_key().to_line();
        std::fs::write(&path, format!("alice namespaces=\"decision@countersign.org\" {key}\n")).unwrap();
        path
    }

    fn verify(&self) -> Result<(), String> {
        let checked = verify(&self.file(), None, &[self.approvers()], None, QUIET);
        checked.map(drop).map_err(|f| {
            assert_eq!(f.exit, Exit::Broken);
            f.message
        })
    }
}

#[test]
fn a_real_ssh_keygen_accepts_what_is_extracted_with_the_printed_line() {
    let mut log = Log::new();
    let device = SigningKey::from_openssh(&log.device.to_openssh("").unwrap(), None).unwrap();
    log.login(&device);
    let into = log.dir.path().join("it's here");
    let file = log.file();
    let wanted = Wanted { seq: Some(1), last: None, user: None };
    show(&file, &wanted, Some(&into), &[log.approvers()], QUIET).unwrap();
    let record: Record = serde_json::from_str(log.text.trim()).unwrap();
    let line = extract::command(&record, &into, &[log.approvers()]).unwrap().unwrap();
    let run = |line: &str| Command::new("sh").args(["-c", line]).output().unwrap();
    let done = run(&line);
    assert!(done.status.success(), "{line}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(!run(&line.replace("-I alice", "-I bob")).status.success());

    let again = show(&file, &wanted, Some(&into), &[log.approvers()], QUIET).unwrap_err();
    assert!(again.message.contains("empty directory"), "nothing is overwritten: {again:?}");
    let missing = Wanted { seq: Some(7), last: None, user: None };
    assert_eq!(show(&file, &missing, None, &[], QUIET).unwrap_err().exit, Exit::Refused);
}

/// A device may be removed by another one or by itself, and by nobody else's.
#[test]
fn removals_are_verified_like_decisions() {
    let removal = |by: &SigningKey, gone: &PublicKey, named: &PublicKey| {
        let message = Removal {
            version: VERSION,
            notice: "0".repeat(64),
            device: gone.id(),
            decided_at: AT,
            counter: 1,
        };
        let message = sign_message(by, &message).unwrap();
        Record {
            event: "revoked".into(),
            user: Some("alice".into()),
            device: Some(named.fingerprint()),
            removal: Some(String::from_utf8(message.bytes).unwrap()),
            removal_signature: Some(message.signature),
            ..Record::default()
        }
    };
    let (old, stranger) = (SigningKey::generate(), SigningKey::generate());
    let log = || {
        let mut log = Log::new();
        log.about_device("paired", old.public_key());
        log
    };
    let mut good = log();
    good.add(removal(&old, old.public_key(), old.public_key()));
    assert_eq!(good.verify(), Ok(()), "by itself");
    good.add(removal(&old, stranger.public_key(), stranger.public_key()));
    assert!(good.verify().unwrap_err().contains("its removal is by"), "it was gone then");
    let mut other = log();
    other.add(removal(&stranger, old.public_key(), old.public_key()));
    assert!(other.verify().unwrap_err().contains("its removal is by"));
    let mut swapped = log();
    swapped.add(removal(&old, old.public_key(), stranger.public_key()));
    assert!(swapped.verify().unwrap_err().contains("another device"));
}

#[test]
fn a_good_log_is_valid_and_every_forgery_is_named_with_its_line() {
    let mut log = Log::new();
    let device = SigningKey::from_openssh(&log.device.to_openssh("").unwrap(), None).unwrap();
    log.about_device("paired", device.public_key());
    log.login(&device);
    log.login(&device);
    log.verify().unwrap();

    let good = log.text.clone();
    log.text = good.replacen("granted", "denied!", 1);
    let why = log.verify().unwrap_err();
    assert!(why.contains("line 2:") && why.contains("changed"), "{why}");
    log.text = good.lines().enumerate().filter(|(n, _)| *n != 1).map(|(_, l)| format!("{l}\n")).collect();
    assert!(log.verify().unwrap_err().contains("line 2:"));
    log.text = format!("{good}{{\"torn");
    assert!(log.verify().unwrap_err().contains("line 4:"));
    log.text = format!("{good}{}\n", "x".repeat(MAX_LINE + 100));
    assert!(log.verify().unwrap_err().contains("line 4:"));
}

#[test]
fn bytes_that_are_no_text_do_not_pass_for_the_sign_that_stands_for_them() {
    let mut log = Log::new();
    log.add(Record { event: "login".into(), user: Some("b\u{fffd}b".into()), ..Record::default() });
    log.add(Record { event: "stopped".into(), ..Record::default() });
    assert_eq!(log.verify(), Ok(()));
    let file = log.file();
    let at = log.text.find('\u{fffd}').unwrap();
    let changed = [&log.text.as_bytes()[..at], b"\xff", &log.text.as_bytes()[at + 3..]].concat();
    std::fs::write(&file, changed).unwrap();
    let refused = verify(&file, None, &[log.approvers()], None, QUIET).unwrap_err();
    assert!(refused.exit == Exit::Broken && refused.message.contains("line 1: "), "{}", refused.message);
}

#[test]
fn a_stranger_who_rewrites_the_whole_chain_is_found_by_the_signatures() {
    let mut log = Log::new();
    let stranger = SigningKey::generate();
    log.login(&stranger);
    assert!(log.verify().unwrap_err().contains("no approvers file lists"));

    let mut log = Log::new();
    let device = SigningKey::from_openssh(&log.device.to_openssh("").unwrap(), None).unwrap();
    log.login(&device);
    log.host = SigningKey::generate();
    log.login(&device);
    let why = log.verify().unwrap_err();
    assert!(why.contains("line 2:") && why.contains("request"), "another host key in one log: {why}");
}

#[test]
fn a_device_that_was_revoked_later_was_good_before_and_not_after() {
    for end in ["revoked", "unpaired"] {
        let mut log = Log::new();
        let old = SigningKey::generate();
        log.about_device("paired", old.public_key());
        log.login(&old);
        log.about_device(end, old.public_key());
        log.verify().unwrap();
        log.login(&old);
        assert!(log.verify().unwrap_err().contains("line 4:"));
    }
}

/// It was revoked while its code was typed: the login was refused, and nobody has touched the log.
#[test]
fn what_a_device_had_approved_before_its_end_is_evidence_where_it_opened_nothing() {
    let old = SigningKey::generate();
    let log = || {
        let mut log = Log::new();
        log.about_device("paired", old.public_key());
        log.about_device("revoked", old.public_key());
        log
    };
    for (outcome, factor) in
        [("denied", ""), ("expired", ""), ("withdrawn", ""), ("granted", "recovery"), ("granted", "totp")]
    {
        let mut log = log();
        log.login_ended(&old, outcome, factor);
        assert_eq!(log.verify(), Ok(()), "{outcome} {factor}");
    }
    let mut opened = log();
    opened.login(&old);
    assert!(opened.verify().unwrap_err().contains("no approvers file lists"));
    let mut stranger = log();
    stranger.login_ended(&SigningKey::generate(), "denied", "");
    assert!(stranger.verify().unwrap_err().contains("no approvers file lists"));
}

#[test]
fn a_device_whose_removal_failed_is_good_as_before() {
    let (old, stranger) = (SigningKey::generate(), SigningKey::generate());
    let mut log = Log::new();
    log.about_device("paired", old.public_key());
    log.about_device("revoked", old.public_key());
    log.about_device("revoke-failed", old.public_key());
    log.login(&old);
    assert_eq!(log.verify(), Ok(()));
    // Who never was paired does not become so by a removal that failed.
    log.about_device("revoke-failed", stranger.public_key());
    log.login(&stranger);
    assert!(log.verify().unwrap_err().contains("no approvers file lists"));
}

#[test]
fn the_host_key_can_be_given() {
    let mut log = Log::new();
    let device = SigningKey::from_openssh(&log.device.to_openssh("").unwrap(), None).unwrap();
    log.login(&device);
    let key = log.dir.path().join("host.pub");
    std::fs::write(&key, log.host.public_key().to_line() + " web1\n").unwrap();
    verify(&log.file(), Some(&key), &[log.approvers()], None, QUIET).unwrap();
    std::fs::write(&key, SigningKey::generate().public_key().to_line()).unwrap();
    assert_eq!(
        verify(&log.file(), Some(&key), &[log.approvers()], None, QUIET).unwrap_err().exit,
        Exit::Broken
    );
}

/// Whoever runs it as root names the files, and others may own the folders.
#[test]
fn what_is_no_file_of_a_key_is_neither_waited_for_nor_read_without_end() {
    let mut log = Log::new();
    let device = SigningKey::from_openssh(&log.device.to_openssh("").unwrap(), None).unwrap();
    log.login(&device);
    let (file, good) = (log.file(), log.approvers());
    let path = |name: &str| log.dir.path().join(name);
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    File::create(path("huge")).unwrap().set_len(1 << 40).unwrap();
    std::fs::write(path("no text"), b"\xff\xfe").unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("link")).unwrap();
    for name in ["pipe", "folder", "huge", "no text", "link", "/dev/zero"] {
        let bad = path(name);
        for (host_key, approvers) in [(Some(bad.as_path()), &good), (None, &bad)] {
            let failure = verify(&file, host_key, std::slice::from_ref(approvers), None, QUIET).unwrap_err();
            assert_eq!(failure.exit, Exit::Broken, "{name}: {}", failure.message);
            assert!(failure.message.starts_with(&bad.display().to_string()), "{}", failure.message);
        }
    }
    let missing = verify(&file, Some(&path("none")), &[good], None, QUIET).unwrap_err();
    assert_eq!(missing.exit, Exit::Refused);
}
