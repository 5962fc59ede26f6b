//! Text from outside, made inert before it meets a terminal, a log or a page.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes what could move a cursor, end a line or reorder text: C0, DEL and C1 controls, line and
/// paragraph separators, bidirectional controls, zero-width characters, tags and the byte order
/// mark become `\u{…}`; a backslash becomes `\\` so that the result is unambiguous.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c == '\\' || is_active(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c == '\\' {
            out.push_str("\\\\");
        } else if is_active(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// JSON of one line that means the same, in which no character acts on a terminal or ends a line. JSON itself
/// escapes C0 only.
#[must_use]
pub fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_active) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_active(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a character acts on its surroundings instead of being drawn.
#[must_use]
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c as u32,
            0x00ad | 0x034f | 0x061c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f
            | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x13430..=0x1343f | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

/// Cuts a text to at most `max` bytes at a character's edge.
#[must_use]
pub fn clip(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether a user name may stand as a principal in an ALLOWED SIGNERS file, where `*`, `!` and
/// commas are patterns: `[A-Za-z0-9_][A-Za-z0-9._@$-]*`, at most 256 bytes.
#[must_use]
pub fn is_principal(name: &str) -> bool {
    let tail = |b: u8| b.is_ascii_alphanumeric() || b"_.@$-".contains(&b);
    let head = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.len() <= crate::login::MAX_NAME && name.bytes().next().is_some_and(head) && name.bytes().all(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_characters_become_inert() {
        assert_eq!(escape("alice"), "alice");
        assert_eq!(escape("a\x1b[31m\n"), "a\\u{1b}[31m\\u{a}");
        assert_eq!(escape("\u{202e}evil\u{9b}"), "\\u{202e}evil\\u{9b}");
        assert_eq!(escape("back\\slash"), "back\\\\slash");
    }

    #[test]
    fn json_stays_the_same_json_and_becomes_inert() {
        let evil = "a\u{1b}\n\u{9b}\u{202e}\u{2028}\u{7f}\u{e0041}\\";
        let json = serde_json::to_string(evil).unwrap();
        let escaped = escape_json(&json);
        assert!(json.chars().any(is_active) && !escaped.chars().any(is_active), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), evil);
        assert!(matches!(escape_json("{\"a\":\"\u{e9}\"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn all_that_unicode_calls_ignorable_or_a_layout_control_is_active() {
        // DerivedCoreProperties.txt, Default_Ignorable_Code_Point, and the hieroglyphs' joiners.
        let ranges = [
            0xad..=0xad,
            0x34f..=0x34f,
            0x61c..=0x61c,
            0x115f..=0x1160,
            0x17b4..=0x17b5,
            0x180b..=0x180f,
            0x200b..=0x200f,
            0x202a..=0x202e,
            0x2060..=0x206f,
            0x3164..=0x3164,
            0xfe00..=0xfe0f,
            0xfeff..=0xfeff,
            0xffa0..=0xffa0,
            0xfff0..=0xfff8,
            0x13430..=0x1343f,
            0x1bca0..=0x1bca3,
            0x1d173..=0x1d17a,
            0xe0000..=0xe0fff,
        ];
        for code in ranges.into_iter().flatten() {
            assert!(is_active(char::from_u32(code).unwrap()), "U+{code:04X}");
        }
    }

    #[test]
    fn names_that_are_patterns_are_no_principals() {
        for bad in
            ["", "*", "a,root", "!root", "-x", "a b", "a\tb", "root\n", "a*", "a?", "\"a\"", ".a", "@a", "é"]
        {
            assert!(!is_principal(bad), "{bad:?}");
        }
        for good in ["root", "alice", "_svc", "host$", "a.b@example.com", "x-1"] {
            assert!(is_principal(good), "{good:?}");
        }
    }

    #[test]
    fn clipping_keeps_characters_whole() {
        assert_eq!(clip("abc", 10), "abc");
        assert_eq!(clip("aé", 2), "a");
    }
}
