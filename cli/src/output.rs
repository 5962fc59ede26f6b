//! What the command prints, and how it ends.

use countersign_protocol::text::{escape, escape_json};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

/// How a command ends; the number is its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Refused, denied, expired, not found.
    Refused = 1,
    /// Wrong usage.
    Usage = 2,
    /// The daemon or the push server cannot be reached.
    Unreachable = 3,
    /// Not permitted.
    NotPermitted = 4,
    /// Something is broken, or a verification failed.
    Broken = 5,
}

/// Why a command did not do what it was asked to: one plain line that says what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The line.
    pub message: String,
}

impl Failure {
    /// Something that went wrong.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Something broke at a named place.
    pub fn broken(place: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self::new(Exit::Broken, format!("{place}: {why}"))
    }
}

/// What a command gives.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Standard output, in words or in JSON.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Whether JSON was asked for.
    pub json: bool,
}

impl Output {
    /// Prints lines for a person. Text from outside is escaped by the caller.
    ///
    /// # Errors
    /// When nobody reads them.
    pub fn lines(self, text: &str) -> Outcome {
        let mut out = std::io::stdout().lock();
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        written(write!(out, "{text}{end}").and_then(|()| out.flush()))
    }

    /// Prints one JSON object on one line.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn object(self, value: &impl Serialize) -> Outcome {
        let text = serde_json::to_string(value).map_err(|e| Failure::broken("cannot write the answer", e))?;
        self.lines(&escape_json(&text))
    }

    /// Prints either the object or the words, whichever was asked for.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn either(self, value: &impl Serialize, words: impl FnOnce() -> String) -> Outcome {
        if self.json { self.object(value) } else { self.lines(&words()) }
    }

    /// Prints a passing remark where a person sees it, and never between the results.
    pub fn remark(self, text: &str) {
        // Nobody can be told that standard error is closed.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Whether standard output is a terminal that a person looks at.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }

    /// Says why a command failed, on standard error.
    #[must_use]
    pub fn fail(self, failure: &Failure) -> ExitCode {
        self.remark(&format!("countersign: {}", failure.message));
        ExitCode::from(failure.exit as u8)
    }
}

fn written(result: std::io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Ok(()),
        // `countersign audit show | head`: the reader has what it wanted.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Broken, "nobody reads the output"))
        }
        Err(e) => Err(Failure::broken("standard output", e)),
    }
}

/// A table of escaped cells, columns aligned by their widest cell.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    use unicode_width::UnicodeWidthStr;
    let rows: Vec<Vec<_>> = rows.iter().map(|r| r.iter().map(|c| escape(c)).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|h| h.width()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 2));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut head.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(|c| c.as_ref()));
    }
    out
}

/// A date and time in the local zone.
#[must_use]
pub fn date(unix: u64) -> String {
    zoned(unix).map_or_else(|| unix.to_string(), |z| z.strftime("%Y-%m-%d %H:%M").to_string())
}

/// A time of day in the local zone.
#[must_use]
pub fn time(unix: u64) -> String {
    zoned(unix).map_or_else(|| unix.to_string(), |z| z.strftime("%H:%M:%S").to_string())
}

fn zoned(unix: u64) -> Option<jiff::Zoned> {
    let timestamp = jiff::Timestamp::from_second(i64::try_from(unix).ok()?).ok()?;
    Some(timestamp.to_zoned(jiff::tz::TimeZone::system()))
}

/// Minutes and seconds, `4:59`.
#[must_use]
pub fn minutes(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// How long something lasts, in its two largest units.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_escape() {
        let rows = [vec!["alice".into(), "Pixel\x1b[2J".into()], vec!["b".into(), "日本".into()]];
        assert_eq!(table(&["USER", "NAME"], &rows), "USER   NAME\nalice  Pixel\\u{1b}[2J\nb      日本\n");
    }

    #[test]
    fn times_too_large_are_shown_as_numbers() {
        assert_eq!(date(u64::MAX), u64::MAX.to_string());
        assert_eq!(minutes(299), "4:59");
        assert_eq!(
            [59, 899, 86_399].map(duration),
            ["59 s", "14 min 59 s", "23 h 59 min"].map(str::to_owned)
        );
    }
}
