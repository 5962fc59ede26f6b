//! A popup in the words of org.freedesktop.Notifications.

use super::popup::Popup;
use countersign_protocol::message::Answer;

/// What a notification service can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skills {
    /// It reads the body as markup.
    pub(super) markup: bool,
    /// It has buttons.
    pub(super) buttons: bool,
}

/// The button that stands for the popup itself: it answers nothing, and keeps what may be gone otherwise.
pub(super) const SHOW: &str = "default";

/// The name of a button on the bus.
pub(super) fn name(answer: Answer) -> &'static str {
    match answer {
        Answer::Approve => "approve",
        Answer::Deny => "deny",
        Answer::Report => "report",
    }
}

/// Names and words of the buttons, in turns.
pub(super) fn buttons(popup: &Popup) -> Vec<&'static str> {
    let own = popup.buttons.iter().flat_map(|(answer, words)| [name(*answer), *words]);
    own.chain([SHOW, "Keep showing"]).collect()
}

/// The lines as the service wants them: where it reads markup, nothing in them is any.
pub(super) fn body(popup: &Popup, skills: Skills) -> String {
    let mut text: String = popup.lines.join("\n");
    if !skills.buttons && !popup.buttons.is_empty() {
        text.push_str("\nThis desktop's notifications have no buttons: answer in a terminal.");
    }
    let text = unlinked(&text);
    if !skills.markup {
        return text;
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Many services make what looks like a link into one. What a host says must not be something to press.
pub(super) fn unlinked(text: &str) -> String {
    // Drawn as nothing, and no part of a link.
    const JOINER: char = '\u{2060}';
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        // ://, www. and mailto:
        if matches!((before, c), (':', '/') | ('w' | 'W', '.') | ('o' | 'O', ':')) {
            out.push(JOINER);
        }
        out.push(c);
        before = c;
    }
    out
}
