//! The screen as a pure function of the inbox: lines with a style, none wider than the window.

use super::inbox::{Inbox, Item, Listed, Now, Phase};
use super::{digits, words};
use crate::output::minutes;
use countersign_protocol::message::{Answer, Confirm, Kind};
use countersign_protocol::text::escape;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Below this nothing can be read well enough to be approved.
const MIN: (usize, usize) = (30, 14);
/// Open requests that the list names.
const MAX_LISTED: usize = 4;
/// Lines of a request's list that stand beside it.
const FIRST_LINES: usize = 5;
/// Columns of a label.
const LABEL: usize = 10;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// What the eye shall find first.
    Strong,
    /// Of no weight.
    Faint,
    /// Something is wrong.
    Alarm,
}

/// A line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its look.
    pub style: Style,
    /// Its text; nothing in it acts on a terminal.
    pub text: String,
}

/// What the screen depends on beside the inbox.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The time.
    pub now: Now,
    /// Writes a time of day.
    pub time_of: fn(u64) -> String,
}

/// A drawn screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// Its lines, at most as many as the window has rows.
    pub lines: Vec<Line>,
    /// Whether all of the selected request is on it: nobody approves what they cannot see.
    pub complete: bool,
}

/// Draws the inbox.
#[must_use]
pub fn draw(inbox: &Inbox, name: &str, view: &View) -> Drawn {
    let mut page = Page { lines: Vec::new(), width: view.width };
    if view.width < MIN.0 || view.height < MIN.1 {
        let n = inbox.items().len();
        page.wrapped(Style::Alarm, &format!("{n} open. Make this window larger to see and answer."));
        page.lines.truncate(view.height);
        return Drawn { lines: page.lines, complete: false };
    }
    page.head(inbox, name);
    let foot = foot(inbox, view.width);
    let mut complete = true;
    if let Some(item) = inbox.selected() {
        page.list(inbox, item, view.now);
        let room = view.height.saturating_sub(page.lines.len() + foot.len());
        // The beginning of a list gives way: all of that is behind a key, and the rest has to be seen.
        let mut bodies = (0..=FIRST_LINES).rev().map(|first| body(inbox, item, view, first));
        let body = bodies.find(|lines| lines.len() <= room).unwrap_or_else(|| body(inbox, item, view, 0));
        complete = body.len() <= room;
        page.lines.extend(body.into_iter().take(if complete { room } else { room.saturating_sub(1) }));
        if !complete {
            page.clipped(Style::Alarm, "... more: make this window larger to see all, then answer");
        }
    } else {
        page.clipped(Style::Plain, "");
        page.wrapped(Style::Plain, idle(inbox));
    }
    let room = view.height.saturating_sub(page.lines.len() + foot.len());
    page.recent(inbox, view, room);
    let blank = view.height.saturating_sub(page.lines.len() + foot.len());
    page.lines.extend(std::iter::repeat_n(Line { style: Style::Plain, text: String::new() }, blank));
    page.lines.extend(foot);
    Drawn { lines: page.lines, complete }
}

/// What is said while nothing is open.
fn idle(inbox: &Inbox) -> &'static str {
    let mut links = inbox.links().peekable();
    if links.peek().is_none() {
        "Connecting..."
    } else if links.any(|(_, trouble)| trouble.is_none()) {
        "Nothing to approve. Waiting for requests..."
    } else {
        "No request can arrive until the server is back."
    }
}

/// Lines that fit.
struct Page {
    lines: Vec<Line>,
    width: usize,
}

impl Page {
    fn clipped(&mut self, style: Style, text: &str) {
        self.lines.push(Line { style, text: clip(text, self.width) });
    }

    fn wrapped(&mut self, style: Style, text: &str) {
        let lines = wrap(text, self.width).into_iter().map(|text| Line { style, text });
        self.lines.extend(lines);
    }

    /// Words that are not broken.
    fn groups(&mut self, style: Style, groups: &[&str]) {
        let mut line = String::new();
        for group in groups {
            if !line.is_empty() && line.width() + 2 + group.width() > self.width {
                self.clipped(style, &line);
                line.clear();
            }
            line.push_str(if line.is_empty() { "" } else { "  " });
            line.push_str(group);
        }
        self.clipped(style, &line);
    }

    /// Whose approver, how it is connected, and what is wrong.
    fn head(&mut self, inbox: &Inbox, name: &str) {
        self.clipped(Style::Strong, &format!("Countersign approver - {}", escape(name)));
        for (origin, trouble) in inbox.links() {
            match trouble {
                None => self.clipped(Style::Faint, &format!("connected to {}", escape(origin))),
                Some(why) => {
                    // Most reasons name the server themselves.
                    let to =
                        if why.contains(origin) { String::new() } else { format!(" to {}", escape(origin)) };
                    self.at_most_two(
                        Style::Alarm,
                        &format!("NOT CONNECTED{to}: {}; trying again", escape(why)),
                    );
                }
            }
        }
        for (text, n) in inbox.alarms() {
            let times = if n > 1 { format!(" ({n} times)") } else { String::new() };
            self.at_most_two(Style::Alarm, &format!("!! ALARM{times}: {}", escape(text)));
        }
        for text in inbox.news() {
            self.at_most_two(Style::Strong, text);
        }
    }

    /// What is wrong must be seen, and must not push the request away.
    fn at_most_two(&mut self, style: Style, text: &str) {
        let lines = wrap(text, self.width).into_iter().take(2);
        self.lines.extend(lines.map(|text| Line { style, text }));
    }

    /// What else is open.
    fn list(&mut self, inbox: &Inbox, selected: &Item, now: Now) {
        let items = inbox.items();
        self.clipped(Style::Plain, "");
        if items.len() < 2 {
            return;
        }
        let at = items.iter().position(|i| i == selected).unwrap_or(0);
        let first = at.saturating_sub(MAX_LISTED - 1);
        self.clipped(Style::Plain, &format!("{} of {} open (tab: next)", at + 1, items.len()));
        for (n, item) in items.iter().enumerate().skip(first).take(MAX_LISTED) {
            let mark = if n == at { '>' } else { ' ' };
            // The address first: it tells two logins of one person apart, and the end may be cut off.
            let from = item.verified.request.remote.as_ref();
            let from = from.map(|remote| format!("{} ", escape(&remote.address))).unwrap_or_default();
            let text =
                format!("{mark} {} {from}{}", minutes(item.left(now)), words::headline(&item.verified));
            self.clipped(if n == at { Style::Strong } else { Style::Faint }, &text);
        }
        self.clipped(Style::Plain, "");
    }

    /// The first lines of a request's list, or why it is not here.
    fn list_of(&mut self, item: &Item, first: usize) {
        match &item.listed {
            Listed::There(text) => {
                self.clipped(Style::Plain, "");
                for line in words::list_lines(text).take(first) {
                    self.clipped(Style::Plain, &format!("| {line}"));
                }
                let lines = item.verified.request.list.as_ref().map_or(0, |list| list.lines as usize);
                let left = match (lines.saturating_sub(first), first) {
                    (0, _) => return,
                    (1, 0) => "its list has 1 line".to_owned(),
                    (left, 0) => format!("its list has {left} lines"),
                    (left, _) => format!("... and {left} more"),
                };
                self.clipped(Style::Plain, &format!("| {left} (s: show all)"));
            }
            Listed::Coming(_) if item.phase == Phase::Asking => {
                self.wrapped(Style::Plain, "Its list is on the way; nothing is approved without it.");
            }
            Listed::Missing { why, .. } if item.phase == Phase::Asking => {
                let text = format!("NO LIST: {}; trying again. Nothing is approved without it.", escape(why));
                self.wrapped(Style::Alarm, &text);
            }
            Listed::None | Listed::Coming(_) | Listed::Missing { .. } => (),
        }
    }

    /// What ended lately, where there is room.
    fn recent(&mut self, inbox: &Inbox, view: &View, room: usize) {
        let ended: Vec<_> = inbox.recent().take(room.saturating_sub(2)).collect();
        if ended.is_empty() {
            return;
        }
        self.clipped(Style::Plain, "");
        self.clipped(Style::Faint, "Lately:");
        for e in ended {
            self.clipped(Style::Faint, &format!("{} {}", (view.time_of)(e.at), words::ending(e)));
        }
    }
}

/// The selected request, with so many lines of its list.
fn body(inbox: &Inbox, item: &Item, view: &View, first: usize) -> Vec<Line> {
    let mut page = Page { lines: Vec::new(), width: view.width };
    page.wrapped(Style::Strong, &words::headline(&item.verified));
    let left = minutes(item.left(view.now));
    match &item.phase {
        Phase::Asking => page.wrapped(Style::Plain, &format!("{left} left to answer")),
        Phase::Signing(_) => {
            page.wrapped(Style::Plain, "Signing... (a key may want to be touched or unlocked)")
        }
        Phase::Decided { answer, code, delivered, .. } => {
            if let Some(code) = code {
                page.wrapped(
                    Style::Strong,
                    &format!("Approved. {} ({left} left):", words::about_code(&item.verified)),
                );
                page.clipped(Style::Plain, "");
                for row in digits::draw(code, view.width.saturating_sub(2)) {
                    page.clipped(Style::Strong, &format!("  {row}"));
                }
                page.clipped(Style::Plain, "");
                page.clipped(Style::Plain, &format!("  {}", grouped(code)));
            } else {
                page.wrapped(Style::Strong, &format!("You {} it.", words::answered(*answer)));
            }
            if !delivered {
                page.wrapped(Style::Faint, "The server does not have the answer yet; sending...");
            }
        }
    }
    page.clipped(Style::Plain, "");
    for (label, value) in words::details(&item.verified, view.time_of) {
        let lines = wrap(&value, view.width.saturating_sub(LABEL));
        for (n, line) in lines.into_iter().enumerate() {
            let label = if n == 0 { label } else { "" };
            page.clipped(Style::Plain, &format!("{label:<LABEL$}{line}"));
        }
    }
    page.list_of(item, first);
    if let Some(seconds) = item.clock_apart {
        let how = if seconds > 0 { "ahead of" } else { "behind" };
        let text = format!("The machine's clock is {} s {how} this one's.", seconds.unsigned_abs());
        page.wrapped(Style::Alarm, &text);
    }
    let conflicts = inbox.conflicts(item);
    if item.phase == Phase::Asking && !conflicts.is_empty() {
        let text = format!(
            "Careful: {} has more than one request open. They differ in: {}.",
            escape(&item.verified.request.user),
            conflicts.join(", ")
        );
        page.clipped(Style::Plain, "");
        page.wrapped(Style::Alarm, &text);
    }
    page.lines
}

/// The notice and the keys; always on the screen.
fn foot(inbox: &Inbox, width: usize) -> Vec<Line> {
    let mut page = Page { lines: Vec::new(), width };
    page.clipped(Style::Faint, &inbox.last_notice().map(|n| escape(n).into_owned()).unwrap_or_default());
    let asking = inbox.selected().filter(|i| i.phase == Phase::Asking);
    let is_else = inbox.selected().is_some_and(|item| item.verified.somebody_else().is_some());
    let report = if is_else { "[r report: it is not them]" } else { "[r it was not me]" };
    match asking.map(|i| (i.verified.request.kind, i.verified.request.confirm)) {
        Some((kind, confirm)) => {
            let approve = match confirm {
                Confirm::Tap if kind == Kind::Test => "[a it rang]",
                Confirm::Tap => "[a approve]",
                Confirm::Code => "[a approve, shows a code]",
            };
            let lease = asking.filter(|item| item.verified.request.lease_max.is_some());
            let lease = lease.map(|item| match item.lease {
                0 => "[l lease: none]".to_owned(),
                seconds => format!("[l lease: {}]", words::length(seconds)),
            });
            let item = asking.filter(|item| item.is_listed());
            let list = item.filter(|item| item.listed != Listed::None).map(|_| "[s show its list]");
            let keys = item.map(|_| approve).into_iter().chain(lease.as_deref()).chain(list);
            let keys: Vec<&str> = keys.chain(["[d deny]", report, "[q quit]"]).collect();
            page.groups(Style::Strong, &keys);
        }
        None if inbox.selected().is_some_and(|item| item.takes(Answer::Deny)) => {
            page.groups(Style::Faint, &["[d deny]", report, "[q quit]"]);
        }
        None => page.wrapped(Style::Faint, "[q quit]"),
    }
    page.lines
}

/// `123 456`.
#[must_use]
pub fn grouped(code: &str) -> String {
    let (a, b) = code.split_at_checked(code.len() / 2).unwrap_or((code, ""));
    format!("{a} {b}")
}

/// Whether a key may answer what is on the screen. A denial needs less to be seen than an approval.
#[must_use]
pub fn may_answer(drawn: &Drawn, answer: Answer) -> bool {
    drawn.complete || answer != Answer::Approve
}

/// Cuts a text to the columns that there are and marks that it was cut.
fn clip(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 3;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out + "..."
}

/// Breaks a text into lines as wide as there is room, wherever that is. Loses nothing.
pub(crate) fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if used + columns > width {
            lines.push(String::new());
            used = 0;
        }
        used += columns;
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
    lines
}

/// Breaks a text into lines, at spaces where there are some. Loses no character that is drawn.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(2);
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.width() > width {
        let mut used = 0;
        let mut space = None;
        let mut end = rest.len();
        for (at, c) in rest.char_indices() {
            used += c.width().unwrap_or(0);
            if used > width {
                end = at;
                break;
            }
            if c == ' ' && at > 0 {
                space = Some(at);
            }
        }
        // A space right after the last character that fits is a place to break as well.
        let (_, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let cut = if after.starts_with(' ') { end } else { space.unwrap_or(end) };
        let (line, after) = rest.split_at_checked(cut).unwrap_or((rest, ""));
        lines.push(line.to_owned());
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    lines.push(rest.to_owned());
    lines
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
