//! What must hold of every output, whatever came in.

/// Longest line that is made of an input.
const MAX_LINE: usize = 16 * 1024;

/// Characters that end a line, hide or reorder what stands around them (Unicode's Bidi_Control, separators,
/// zero-width ones). On purpose not the product's own list.
const HIDDEN: [char; 20] = [
    '\u{61c}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}',
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2067}',
    '\u{2068}', '\u{2069}', '\u{feff}', '\u{fffb}',
];

/// A text for a person: it neither moves a cursor nor reorders what stands around it, and is one line.
///
/// # Panics
/// When it is not.
pub fn is_inert(text: &str) {
    is_inert_of_any_length(text);
    assert!(text.len() <= MAX_LINE, "a line of {} bytes", text.len());
}

/// The same of a text that is as long as what it was made of.
///
/// # Panics
/// When it is not.
pub fn is_inert_of_any_length(text: &str) {
    if let Some(c) = text.chars().find(|c| c.is_control() || HIDDEN.contains(c)) {
        panic!("{c:?} in {text:?}");
    }
}

/// The same of several lines.
///
/// # Panics
/// When they are not.
pub fn are_inert(text: &str) {
    text.split('\n').for_each(is_inert);
}

/// The same of lines that are as long as what they were made of.
///
/// # Panics
/// When they are not.
pub fn are_inert_of_any_length(text: &str) {
    text.split('\n').for_each(is_inert_of_any_length);
}
