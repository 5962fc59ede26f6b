//! The ticket on the terminal: QR code, link, and what can be typed, so that the last of them is still in
//! sight when a low window has scrolled the first away; and what to do with them, once more below the code where
//! there is room.

use crate::approver::screen::wrap;
use crate::output::{Outcome, Output, minutes};
use crate::qr;
use countersign_protocol::manage::PairingOpened;
use countersign_protocol::text::escape;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

/// The line that says what is waited for, where a person looks.
pub(super) struct Status {
    /// Nothing where nobody looks.
    text: Option<String>,
}

impl Status {
    /// Draws it over itself.
    pub(super) fn draw(&self, left: Duration) {
        if let Some(text) = &self.text {
            let mut stdout = std::io::stdout().lock();
            // A countdown that cannot be drawn harms nobody.
            let _ = write!(stdout, "\r{text}{} ", minutes(left.as_secs()));
            let _ = stdout.flush();
        }
    }

    /// Takes it away.
    pub(super) fn clear(&self, out: Output) -> Outcome {
        if self.text.is_some() { out.lines("\r\x1b[K") } else { Ok(()) }
    }
}

/// Shows how a device gets to the pairing.
pub(super) fn ticket(user: &str, opened: &PairingOpened, out: Output) -> Outcome<Status> {
    let PairingOpened { link, ticket, expires_in } = opened;
    if out.json {
        let event = json!({ "event": "opened", "link": link, "ticket": ticket, "expires_in": expires_in });
        out.object(&event)?;
        return Ok(Status { text: None });
    }
    if !out.is_terminal() {
        out.lines(&format!("{}\nor type this in the app: {}", escape(link), escape(ticket)))?;
        return Ok(Status { text: None });
    }
    let (columns, rows) = crossterm::terminal::size().unwrap_or((0, 0));
    let page = page(user, link, ticket, columns.into(), rows.into());
    out.lines(&page.text)?;
    Ok(Status { text: Some(page.status) })
}

struct Page {
    /// What is printed once.
    text: String,
    /// The beginning of the last line; the time that is left follows.
    status: String,
}

fn page(user: &str, link: &str, ticket: &str, columns: usize, rows: usize) -> Page {
    let (user, ticket) = (escape(user), escape(ticket));
    let width = if columns == 0 { usize::MAX } else { columns };
    let prose = |text: &str| wrap(text, width).join("\n") + "\n";
    let lines = |text: &str| text.lines().map(|line| line.chars().count().div_ceil(width)).sum::<usize>();
    // What stands below a code, and the last line.
    let ends = |typed: &str| {
        // Alone in its line, from the first column on: so it can be selected as a whole even where the terminal
        // has to break it, and nothing of ours gets into it.
        let below = format!("{}\n", escape(link));
        // A line that is drawn over itself must not wrap.
        if format!("{typed} {ticket}   waiting 5:00 ").len() < columns {
            (below, format!("{typed} {ticket}   waiting "))
        } else {
            (format!("{below}{}{ticket}\n", prose(typed)), "waiting ".to_owned())
        }
    };
    let (below, status) = ends("or type this in the app:");
    let elsewhere = "On a computer: countersign approve --pair LINK";
    let scan = prose(&format!(
        "To approve {user}'s logins, scan this code on a phone, or open the link there. {elsewhere}"
    ));
    let again = prose("Scan this with the phone's camera, or open the link on the phone:");
    if let Some(code) = qr::draw(link, columns, rows.saturating_sub(lines(&again) + lines(&below) + 1)) {
        return Page { text: format!("{scan}{code}{again}{below}"), status };
    }
    // A code that leaves no room for what is above it, nor for a line more.
    let (short, told) = ends("Scan on a phone, or type there:");
    if let Some(code) = qr::draw(link, columns, rows.saturating_sub(lines(&short) + 1)) {
        return Page { text: format!("{scan}{code}{short}"), status: told };
    }
    let text = if let Some(code) = qr::draw(link, columns, rows.saturating_sub(1)) {
        // Too low for all of it: the code and what can be typed stay in sight.
        format!("{scan}{below}{code}")
    } else {
        let open = prose(&format!("To approve {user}'s logins, open this link on a phone. {elsewhere}"));
        format!("{open}{below}{}", prose("(A larger window shows a QR code as well.)"))
    };
    Page { text, status }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://push.example.com/pair#1.AAECAwQFBgcICQoLDA0ODw.\
                        47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    const TICKET: &str = "01234-56789-abcde-fghjk-mnpqrr";

    /// What of a page is in sight once its status line is drawn.
    fn in_sight(page: &Page, columns: usize, rows: usize) -> Vec<String> {
        let all = format!("{}{}5:00 ", page.text, page.status);
        let mut lines = Vec::new();
        for line in all.lines() {
            let cells: Vec<char> =
                line.replace("\x1b[30;47;107m", "").replace("\x1b[0m", "").chars().collect();
            lines.extend(cells.chunks(columns).map(|row| row.iter().collect::<String>()));
        }
        lines.split_off(lines.len().saturating_sub(rows))
    }

    fn code_rows(lines: &[String]) -> usize {
        lines.iter().filter(|line| line.contains(['█', '▀', '▄'])).count()
    }

    #[test]
    fn a_plain_terminal_shows_the_whole_code_the_link_and_the_ticket() {
        let page = page("alice", LINK, TICKET, 80, 24);
        let seen = in_sight(&page, 80, 24);
        // 37 modules, two a row.
        assert_eq!(code_rows(&seen), 19, "{seen:#?}");
        assert!(seen.last().unwrap().contains(TICKET));
        assert!(seen.concat().contains(LINK));
        assert!(seen.last().unwrap().starts_with("Scan on a phone, or type there: "), "{seen:#?}");
    }

    #[test]
    fn with_a_line_more_what_to_do_stands_below_the_code() {
        let page = page("alice", LINK, TICKET, 80, 25);
        let seen = in_sight(&page, 80, 25);
        assert_eq!(code_rows(&seen), 19, "{seen:#?}");
        let told = seen.iter().position(|line| line.starts_with("Scan this with the phone's camera"));
        let link = seen.iter().position(|line| line.starts_with("https://"));
        assert!(told.is_some() && told.map(|at| at + 1) == link, "{seen:#?}");
        assert!(seen.last().unwrap().starts_with("or type this in the app: "), "{seen:#?}");
    }

    #[test]
    fn a_longer_link_keeps_the_code_and_the_ticket_in_sight() {
        let link = format!("{LINK}.https://push.example.com");
        let page = page("alice", &link, TICKET, 80, 24);
        let seen = in_sight(&page, 80, 24);
        assert_eq!(code_rows(&seen), 21, "{seen:#?}");
        assert!(seen.last().unwrap().contains(TICKET));
    }

    #[test]
    fn without_room_for_a_code_there_are_link_and_ticket_and_nothing_wraps_over_itself() {
        for (columns, rows) in [(40, 50), (80, 20), (0, 0)] {
            let page = page("alice", LINK, TICKET, columns, rows);
            assert!(page.text.contains(LINK) && page.text.contains("larger window"));
            assert!(format!("{}{}", page.text, page.status).contains(TICKET));
            assert!(columns == 0 || page.status.len() + 6 < columns, "{columns}");
        }
    }

    /// Whoever copies it, or clicks on it, gets the link and nothing but the link.
    #[test]
    fn the_link_has_a_line_of_its_own_in_every_window() {
        for (columns, rows) in [(0, 0), (20, 10), (40, 24), (80, 20), (80, 24), (80, 60), (200, 24)] {
            let page = page("alice", LINK, TICKET, columns, rows);
            assert_eq!(page.text.lines().filter(|line| *line == LINK).count(), 1, "{columns}x{rows}");
            assert_eq!(page.text.matches("https://").count(), 1, "{columns}x{rows}");
        }
    }

    #[test]
    fn a_narrow_window_breaks_neither_words_nor_the_ticket() {
        let page = page("alice", LINK, TICKET, 40, 24);
        let lines: Vec<&str> = page.text.lines().filter(|line| *line != LINK).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:#?}");
        assert!(lines.contains(&TICKET), "{lines:#?}");
        assert!(in_sight(&page, 40, 24).concat().contains(LINK));
    }

    #[test]
    fn a_hostile_name_does_not_act() {
        let page = page("a\x1b[2J", LINK, TICKET, 80, 50);
        assert!(!page.text.contains("\x1b[2J"));
    }
}
