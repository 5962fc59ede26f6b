//! Text that is made inert before anybody sees it.

use countersign_fuzz::actors;
use countersign_fuzz::{Target, check, input::Input};
use countersign_protocol::keys::Signer;
use countersign_protocol::signers::Line;
use countersign_protocol::text;

pub(crate) const TARGET: Target = Target { name: "text", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let most = usize::from(input.byte());
    let given = String::from_utf8_lossy(input.rest());

    let escaped = text::escape(&given);
    check::is_inert_of_any_length(&escaped);
    assert_eq!(unescape(&escaped).as_deref(), Some(&*given), "nothing is lost, nothing is ambiguous");

    let clipped = text::clip(&given, most);
    assert!(given.starts_with(clipped) && clipped.len() <= most);
    assert!(clipped.len() + 4 > most.min(given.len()), "no more is cut than one character");

    // What may be a principal is one word of a line, and no pattern.
    let line = Line::new(&given, actors::host().public_key().clone(), &given);
    assert_eq!(line.is_ok(), text::is_principal(&given));
    if let Ok(line) = line {
        check::is_inert(&line.to_string());
        assert!(!given.contains([' ', '\t', '"', ',', '*', '?', '!', '#']));
    }
}

/// The inverse of `escape`.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('\\') {
            out.push('\\');
            rest = after;
        } else {
            let (number, after) = after.strip_prefix("u{")?.split_once('}')?;
            out.push(char::from_u32(u32::from_str_radix(number, 16).ok()?)?);
            rest = after;
        }
    }
    out.push_str(rest);
    Some(out)
}

fn seeds() -> Vec<Vec<u8>> {
    ["\u{5}alice", "\0a\u{1b}[31m\n\u{202e}\\u{9b}\u{feff}", "\u{3}_svc-1.x@y$", "\u{ff}\\\\\\é"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}
