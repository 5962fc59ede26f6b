//! The whole list of a request on the screen, a page of it at a time.

use super::inbox::{Inbox, Key, Listed};
use super::screen::{Drawn, Line, Style, View, fold};
use super::words;
use crate::output::minutes;

/// Rows that are no lines of the list: two above, two below.
const FRAME: usize = 4;

/// The page that the person looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    key: Key,
    number: usize,
}

/// The page after this one; the first one of the selected request's list where none is looked at.
#[must_use]
pub(super) fn turn(inbox: &Inbox, leaf: Option<Leaf>) -> Option<Leaf> {
    let key = inbox.selected()?.verified.key();
    let number = leaf.filter(|leaf| leaf.key == key).map_or(0, |leaf| leaf.number + 1);
    Some(Leaf { key, number })
}

/// The page before it, or the request itself.
#[must_use]
pub(super) fn turn_back(leaf: Leaf) -> Option<Leaf> {
    Some(Leaf { number: leaf.number.checked_sub(1)?, ..leaf })
}

/// Draws a page; nothing after the last one, or when another request is selected. No request is approved
/// from here: the list is not all that there is to see of it.
#[must_use]
pub(super) fn draw(inbox: &Inbox, leaf: &Leaf, view: &View) -> Option<Drawn> {
    let width = view.width;
    let item = inbox.selected().filter(|item| item.verified.key() == leaf.key)?;
    let Listed::There(text) = &item.listed else { return None };
    let rows = view.height.checked_sub(FRAME).filter(|rows| *rows > 0)?;
    let folded = || words::list_lines(text).flat_map(|line| fold(&line, width));
    let pages = folded().count().div_ceil(rows);
    if leaf.number >= pages {
        return None;
    }
    let number = leaf.number + 1;
    let plain = |text: String| Line { style: Style::Plain, text };
    let mut lines: Vec<Line> =
        fold(&words::headline(&item.verified), width).into_iter().take(1).map(plain).collect();
    lines.iter_mut().for_each(|line| line.style = Style::Strong);
    lines.push(plain(format!("Page {number} of {pages}, {} left", minutes(item.left(view.now)))));
    lines.extend(folded().skip(leaf.number * rows).take(rows).map(plain));
    lines.resize(FRAME - 2 + rows, plain(String::new()));
    lines.push(plain(String::new()));
    let keys = if number == pages { "[s end]  [up back]  [d deny]" } else { "[s next]  [up back]  [d deny]" };
    lines.push(Line { style: Style::Strong, text: keys.to_owned() });
    Some(Drawn { lines, complete: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approver::inbox::Now;
    use crate::approver::testing::{listed, request, verified};

    const START: Now = Now { ms: 0, unix: 1_000_000 };

    fn shown(inbox: &Inbox, leaf: &Leaf) -> Option<Vec<String>> {
        let view = View { width: 30, height: 14, now: START, time_of: |_| String::new() };
        let drawn = draw(inbox, leaf, &view)?;
        assert!(!drawn.complete && drawn.lines.len() == 14);
        Some(drawn.lines.into_iter().map(|line| line.text).collect())
    }

    #[test]
    fn all_lines_are_shown_one_page_after_the_other_and_nothing_acts() {
        let text: String = (1..=15).map(|n| format!("line {n} {}\x1b[2J\n", "x".repeat(n))).collect();
        let mut inbox = Inbox::default();
        let asked = listed("a", &text);
        inbox.arrive(verified(asked), START);
        let mut leaf = turn(&inbox, None).unwrap();
        assert_eq!(shown(&inbox, &leaf), None, "it has not come");
        let key = inbox.selected().unwrap().verified.key();
        inbox.listed(&key, Ok(text.clone()), START);
        let mut seen = String::new();
        let mut pages = 0;
        while let Some(lines) = shown(&inbox, &leaf) {
            assert!(lines.iter().all(|line| !line.contains('\x1b') && line.chars().count() <= 30));
            seen.extend(lines[2..12].iter().map(String::as_str));
            pages += 1;
            assert!(lines[1].starts_with(&format!("Page {pages} of 2, ")), "{}", lines[1]);
            let next = turn(&inbox, Some(leaf.clone())).unwrap();
            assert_eq!(turn_back(next.clone()), Some(leaf));
            leaf = next;
        }
        assert_eq!(turn_back(turn(&inbox, None).unwrap()), None, "the request is before its list");
        assert_eq!(pages, 2);
        assert_eq!(seen, text.replace('\x1b', "\\u{1b}").replace('\n', ""));
        inbox.arrive(verified(request("b")), START);
        inbox.step(true);
        assert_eq!(shown(&inbox, &Leaf { number: 0, ..leaf }), None, "another request is selected");
    }
}
