//! A log of a dozen records, and everything that somebody may do to its bytes and lines.

use super::*;
use crate::args::Mark;
use crate::commands::audit::verify::check;

/// A log with and without signed messages, and who approves by it.
fn a_dozen() -> Log {
    let mut log = Log::new();
    let device = SigningKey::from_openssh(&log.device.to_openssh("").unwrap(), None).unwrap();
    let plain = |event: &str, reason: &str| Record {
        event: event.into(),
        user: Some("bob".into()),
        outcome: Some("denied".into()),
        reason: Some(reason.into()),
        ..Record::default()
    };
    log.about_device("paired", device.public_key());
    log.add(plain("login", "nobody answered"));
    log.login(&device);
    log.add(plain("recovery-codes", "10 new ones by root; caf\u{e9} \u{fffd} \u{202e}"));
    log.add(plain("login", "wrong code"));
    log.login(&device);
    for number in 0..6 {
        log.add(plain("login", &format!("number {number}")));
    }
    log
}

/// What verification says of these bytes in place of the log's: its new end, or why it is none.
fn judged(log: &Log, bytes: &[u8]) -> Result<String, String> {
    let path = log.dir.path().join("tampered.jsonl");
    std::fs::write(&path, bytes).unwrap();
    check(&path, None, &[log.approvers()], None).map(|checked| checked.head).map_err(|failure| {
        assert_eq!(failure.exit, Exit::Broken);
        assert!(failure.message.contains("tampered.jsonl: line "), "{}", failure.message);
        failure.message
    })
}

fn joined(lines: &[&str]) -> String {
    lines.concat()
}

/// Where each record begins, and the end.
fn bounds(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// Follows lines as the command does, and gives the new end.
fn follow(mut chain: Chain, bytes: &[u8]) -> Option<String> {
    for line in bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n') {
        chain.follow(std::str::from_utf8(line).ok()?).ok()?;
    }
    Some(chain.head().to_owned())
}

/// A change of one byte to two others, its removal, and a byte more, at every place: found by the next
/// record, and in the last one by the digest that was kept elsewhere.
#[test]
fn no_byte_can_be_changed_removed_or_added() {
    let log = a_dozen();
    let (text, bounds) = (log.text.as_str(), bounds(&log.text));
    let head = follow(Chain::new(), text.as_bytes()).unwrap();
    let mut chain = Chain::new();
    let mut tried = 0;
    for record in bounds.windows(2) {
        // All before is in order. The record itself and the one after it have to show what was done.
        let (from, to) = (record[0], record[1]);
        let next = bounds.iter().find(|at| **at > to).copied();
        let whole = &text.as_bytes()[from..next.unwrap_or(to)];
        for at in 0..to - from {
            let (before, byte, after) = (&whole[..at], whole[at], &whole[at + 1..]);
            for change in [&[byte ^ 1][..], &[byte.wrapping_add(1 + (at % 250) as u8)], &[], &[b' ', byte]] {
                if change.is_empty() && from + at + 1 == text.len() {
                    continue; // The newline at the very end, without which every record is the same.
                }
                let told = follow(chain.clone(), &[before, change, after].concat());
                match next {
                    Some(_) => assert_eq!(told, None, "byte {} became {change:?}", from + at),
                    None => assert_ne!(told.as_ref(), Some(&head), "byte {} became {change:?}", from + at),
                }
                tried += 1;
            }
        }
        chain.follow(text[from..to].trim_end_matches('\n')).unwrap();
    }
    assert!(tried > 10_000, "{tried}");
}

/// The same by the command itself, at some of the places; where the last record was changed into
/// another one, its digest shows it.
#[test]
fn the_command_names_the_line_whatever_was_changed() {
    let log = a_dozen();
    let text = log.text.as_bytes();
    let head = judged(&log, text).unwrap();
    let last = bounds(&log.text)[11];
    for at in (0..text.len()).step_by(97).chain([0, last - 1, last, text.len() - 2, text.len() - 1]) {
        let mut changed = text.to_vec();
        changed[at] = if changed[at] == b'\xff' { b'x' } else { !changed[at] };
        assert!(judged(&log, &changed).is_err(), "byte {at}");
        changed[at] = if text[at] == b'7' { b'8' } else { b'7' };
        assert_ne!(judged(&log, &changed).as_ref(), Ok(&head), "byte {at}");
    }
}

#[test]
fn no_record_can_be_removed_doubled_moved_or_exchanged() {
    let log = a_dozen();
    let lines: Vec<&str> = log.text.split_inclusive('\n').collect();
    let head = judged(&log, log.text.as_bytes()).unwrap();
    let count = lines.len();
    assert_eq!(count, 12);
    let mut tried = 0;
    let mut is_found = |lines: &[&str], what: String| {
        assert!(judged(&log, joined(lines).as_bytes()).is_err(), "{what}");
        tried += 1;
    };
    let other = a_dozen();
    let others: Vec<&str> = other.text.split_inclusive('\n').collect();
    for one in 0..count {
        let mut changed = lines.clone();
        changed.remove(one);
        if one + 1 < count {
            is_found(&changed, format!("{one} removed"));
        }
        // Of another log of the same shape: the same number, and another chain.
        let mut changed = lines.clone();
        changed[one] = others[one];
        if one + 1 < count {
            is_found(&changed, format!("{one} exchanged for another log's"));
        }
        for two in 0..count {
            let mut changed = lines.clone();
            changed.insert(two, lines[one]);
            is_found(&changed, format!("{one} doubled at {two}"));
            if one < two {
                changed = lines.clone();
                changed.swap(one, two);
                is_found(&changed, format!("{one} and {two} swapped"));
            }
            if one.abs_diff(two) > 1 {
                changed = lines.clone();
                let moved = changed.remove(one);
                changed.insert(two, moved);
                is_found(&changed, format!("{one} moved to {two}"));
            }
        }
    }
    // A beginning that is cut off, an empty line, a line of something else.
    for one in 0..count {
        if one > 0 {
            is_found(&lines[one..], format!("begins at {one}"));
        }
        for strange in ["\n", "{}\n", " \n", "null\n", "\u{feff}\n"] {
            let mut changed = lines.clone();
            changed.insert(one, strange);
            is_found(&changed, format!("{strange:?} at {one}"));
        }
    }
    assert!(tried > 300, "{tried}");
    // An end that is cut off at a record is a shorter log in order, as the documentation says: what shows
    // it is the digest of the last line, which the system log has.
    for keep in 1..count {
        let cut = judged(&log, joined(&lines[..keep]).as_bytes()).unwrap();
        assert_ne!(cut, head);
        assert!(log.text.contains(&format!("\"previous\":\"{cut}\"")), "the next record holds it");
    }
}

/// Cut anywhere else, it ends in what is no record, but for the newline after the last one.
#[test]
fn an_end_that_is_cut_inside_a_record_is_named() {
    let log = a_dozen();
    let (text, bounds) = (log.text.as_bytes(), bounds(&log.text));
    let last = bounds[11];
    for length in (last + 1..text.len() - 1).chain((1..last).step_by(211)) {
        let is_whole = bounds.contains(&length) || bounds.contains(&(length + 1));
        assert_eq!(judged(&log, &text[..length]).is_ok(), is_whole, "{length}");
    }
    assert_eq!(judged(&log, &text[..text.len() - 1]), judged(&log, text));
}

/// Whoever keeps the daemon's lines of the system's log elsewhere has each record's number and digest.
#[test]
fn a_cut_is_found_by_a_line_of_the_system_log() {
    let log = a_dozen();
    let bounds = bounds(&log.text);
    let path = log.dir.path().join("cut.jsonl");
    let judge = |text: &str, mark: &Mark| {
        std::fs::write(&path, text).unwrap();
        check(&path, None, &[log.approvers()], Some(mark)).map(drop).map_err(|failure| {
            assert_eq!(failure.exit, Exit::Broken);
            failure.message
        })
    };
    for cut in 1..bounds.len() {
        let left = &log.text[..bounds[cut]];
        let mark = Mark { seq: cut as u64, digest: follow(Chain::new(), left.as_bytes()).unwrap() };
        // It is there at the end and further in.
        assert_eq!(judge(left, &mark), Ok(()));
        assert_eq!(judge(&log.text, &mark), Ok(()));
        // Cut off, and cut off with others written in its place.
        let before = &log.text[..bounds[cut - 1]];
        let gone = judge(before, &mark).unwrap_err();
        assert!(
            gone.contains(&format!("record {cut} was written and is gone: the last one here is {}", cut - 1))
        );
        let mut chain = Chain::new();
        before.lines().for_each(|line| drop(chain.follow(line).unwrap()));
        let other = chain.append(Record { event: "stopped".into(), ..Record::default() }).unwrap();
        let another = judge(&format!("{before}{other}\n"), &mark).unwrap_err();
        assert!(another.contains(&format!("line {cut}: record {cut} is another one than was written")));
    }
}
