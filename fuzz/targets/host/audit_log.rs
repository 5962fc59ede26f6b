//! `countersign audit` on a log that somebody has changed, or that is none.

use countersign_cli::fuzzing::{audit_shown, audit_verified};
use countersign_fuzz::{Target, actors, check, input::Input, place::Place};
use countersign_protocol::audit::{Chain, Record};
use countersign_protocol::keys::Signer;
use std::sync::OnceLock;

pub(crate) const TARGET: Target = Target { name: "audit_log", run, seeds };

fn run(data: &[u8]) {
    thread_local!(static PLACE: Place = Place::new());
    let mut input = Input::new(data);
    let log = if input.byte() == b'c' { changed(&mut input) } else { input.rest().to_vec() };
    PLACE.with(|place| {
        let file = place.write("audit.jsonl", &log);
        let approvers = [place.write("approvers", actors::approvers().as_bytes())];
        match audit_verified(&file, &approvers) {
            Ok(head) => {
                check::is_inert(&head);
                // To the byte: only the last line may be another, and then its digest is, too.
                let (lines, known) = (split(&log), split(original()));
                if known.first() == lines.first() && lines.len() > 1 {
                    let sure = lines.len() - 1;
                    assert!(lines[..sure] == known[..sure.min(known.len())], "a change that does not show");
                    assert!(head != whole() || lines == known, "a digest of something else");
                }
            }
            Err(failure) => check::is_inert(&failure.message),
        }
        match audit_shown(&file, &approvers) {
            Ok(texts) => texts.iter().for_each(|text| check::are_inert_of_any_length(text)),
            Err(failure) => check::is_inert(&failure.message),
        }
    });
}

fn split(log: &[u8]) -> Vec<&[u8]> {
    log.strip_suffix(b"\n").unwrap_or(log).split(|byte| *byte == b'\n').collect()
}

/// The log with single bytes replaced, by as many as come.
fn changed(input: &mut Input<'_>) -> Vec<u8> {
    let mut log = original().to_vec();
    while !input.is_empty() {
        let (at, length) = (input.below(log.len()), usize::from(input.byte() % 8));
        let end = (at + length).min(log.len());
        let count = usize::from(input.byte() % 8);
        let new = input.take(count).to_vec();
        log.splice(at..end, new);
        if log.is_empty() {
            break;
        }
    }
    log
}

fn whole() -> &'static str {
    static HEAD: OnceLock<String> = OnceLock::new();
    HEAD.get_or_init(|| {
        let last = *split(original()).last().expect("lines");
        Chain::after(std::str::from_utf8(last).expect("text")).expect("a record").head().to_owned()
    })
}

/// A login that was approved; one of a user whose name was no text.
fn original() -> &'static [u8] {
    static LOG: OnceLock<Vec<u8>> = OnceLock::new();
    LOG.get_or_init(|| {
        let (request, decision) = (actors::signed_request(), actors::signed_decision());
        let text = |bytes: Vec<u8>| Some(String::from_utf8(bytes).expect("text"));
        let device = Some(actors::device().public_key().fingerprint());
        let login = Record {
            at_ms: actors::NOW * 1000,
            event: "login".into(),
            user: Some("alice".into()),
            service: Some("sudo".into()),
            device,
            request: text(request.bytes),
            request_signature: Some(request.signature),
            decision: text(decision.bytes),
            decision_signature: Some(decision.signature),
            ..Record::default()
        };
        let odd = Record {
            at_ms: u64::MAX,
            event: "login".into(),
            user: Some("b\u{fffd}b".into()),
            remote: Some("\u{1b}[2J".into()),
            ..Record::default()
        };
        let end = Record { event: "stopped".into(), ..Record::default() };
        let mut chain = Chain::new();
        [login, odd, end].map(|record| chain.append(record).expect("short") + "\n").concat().into_bytes()
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let log = original();
    let at = log.windows(3).position(|window| window == "\u{fffd}".as_bytes()).expect("it is there");
    let at = u16::try_from(at).expect("short").to_be_bytes();
    vec![
        [b"r", log].concat(),
        [b"r", &log[..log.len() - 1]].concat(),
        b"c".to_vec(),
        vec![b'c', 0, 40, 1, 1, b'x'],
        // The sign for what is no text, and something that is none.
        vec![b'c', at[0], at[1], 3, 1, 0xff],
        b"r{\"version\":1,\"seq\":1,\"previous\":\"\",\"at_ms\":1,\"event\":\"x\"}\n\n".to_vec(),
    ]
}
