//! An audit file that somebody has changed: every change shows, but for the end of the file.

use countersign_fuzz::{Target, check, input::Input};
use countersign_protocol::audit::{self, Chain, Record};
use std::sync::OnceLock;

pub(crate) const TARGET: Target = Target { name: "audit_chain", run, seeds };

fn run(data: &[u8]) {
    let mut text = original().clone();
    let mut input = Input::new(data);
    while !input.is_empty() {
        change(&mut text, &mut input);
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(&text).split('\n').collect();
    let original = std::str::from_utf8(original()).expect("text").lines();
    match audit::verify(Chain::new(), lines.iter().copied()) {
        Ok(chain) => {
            // Only the last line may be another, since no line after it holds its digest.
            let known: Vec<&str> = original.collect();
            let sure = lines.len().saturating_sub(1);
            assert_eq!(lines.get(..sure), known.get(..sure), "a change that does not show");
            assert_eq!(chain.last(), lines.len() as u64);
            // And that one shows in the digest that is kept elsewhere.
            let whole = audit::verify(Chain::new(), known.iter().copied()).expect("not changed");
            assert_eq!(chain.head() == whole.head(), lines == known);
        }
        Err(bad) => {
            check::is_inert(&bad.to_string());
            assert!((1..=lines.len()).contains(&bad.line));
        }
    }
    // A file that goes on from another one, or from whatever its last line says.
    for line in lines.iter().rev().take(2) {
        if let Ok(mut chain) = Chain::after(line) {
            let before = chain.clone();
            if chain.append(Record::default()).is_err() || chain.follow(line).is_err() {
                assert!(chain.last() >= before.last());
            }
        }
    }
}

/// Overwrites, inserts, removes, doubles or moves a part.
fn change(text: &mut Vec<u8>, input: &mut Input<'_>) {
    let (what, at, length) = (input.byte() % 6, input.below(text.len() + 1), input.below(600));
    let end = (at + length).min(text.len());
    match what {
        0 => {
            let new = input.take(length.min(16));
            text.splice(at..(at + new.len()).min(text.len()), new.iter().copied());
        }
        1 => drop(text.splice(at..at, input.take(length.min(16)).iter().copied())),
        2 => drop(text.drain(at..end)),
        3 => {
            let part = text.get(at..end).unwrap_or_default().to_vec();
            let to = input.below(text.len() + 1);
            text.splice(to..to, part);
        }
        4 => {
            // A whole line goes to another place.
            let mut lines: Vec<Vec<u8>> = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            if !lines.is_empty() {
                let line = lines.remove(length % lines.len());
                lines.insert(at % (lines.len() + 1), line);
            }
            *text = lines.concat();
        }
        _ => text.truncate(at),
    }
    // Doubling must not fill the memory.
    text.truncate(64 * 1024);
}

fn original() -> &'static Vec<u8> {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut chain = Chain::new();
        let mut text = String::new();
        for (event, user) in
            [("started", None), ("login", Some("alice")), ("login", Some("bob")), ("stopped", None)]
        {
            let record =
                Record { at_ms: 1, event: event.into(), user: user.map(str::to_owned), ..Record::default() };
            text.push_str(&chain.append(record).expect("short"));
            text.push('\n');
        }
        text.into_bytes()
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let largest =
        "{\"version\":1,\"seq\":18446744073709551615,\"previous\":\"\",\"at_ms\":1,\"event\":\"x\"}";
    let mut whole = vec![5, 0, 0, 0, 0];
    for (number, part) in largest.as_bytes().chunks(16).enumerate() {
        let at = u16::try_from(number * 16).expect("short").to_be_bytes();
        whole.extend_from_slice(&[1, at[0], at[1], 0, 16]);
        whole.extend_from_slice(part);
    }
    vec![
        whole,
        vec![0, 0, 40, 0, 1, b'x'],
        vec![1, 0, 0, 0, 1, b'\n'],
        vec![2, 0, 0, 0, 120],
        vec![3, 0, 0, 0, 200, 0, 0],
        vec![4, 0, 1, 0, 2],
        vec![5, 1, 0, 0, 0],
    ]
}
