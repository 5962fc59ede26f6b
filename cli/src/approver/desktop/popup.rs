//! What has to be on the desktop, as a pure function of the inbox.

use super::Note;
use crate::approver::inbox::{Ended, Inbox, Item, Key, Listed, Now, Phase};
use crate::approver::screen::grouped;
use crate::approver::words;
use countersign_protocol::message::{Answer, ClosedOutcome, Kind};
use countersign_protocol::text::{clip, escape};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Open requests of one host that have a popup. The others follow as these end, so that no host covers another's.
const MAX_PER_HOST: usize = 3;
/// Longest summary in bytes; notification daemons draw it on one or two lines.
const MAX_SUMMARY: usize = 160;
/// Most lines and bytes of a body that are sure to be seen whole.
const MAX_LINES: usize = 14;
const MAX_BODY: usize = 900;
/// Seconds that the end of a request stands where the person should know of it.
const LAST_WORD: u32 = 10;
/// Seconds that it stands where others let in what was denied here.
const OVERRULED: u32 = 600;
/// Alarms, and news, that are named.
const MAX_TOLD: usize = 3;
/// An answer that the server does not have after so many tries is said to be under way.
const TRIES: usize = 2;

/// What a popup is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// A request: asking, its code, its end.
    Request(Key),
    /// What must not happen.
    Alarms,
    /// Devices that came or went.
    News,
}

/// How much it presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Worth a look.
    Normal = 1,
    /// Stays until it is answered.
    Critical = 2,
}

/// How long it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Until this time of the monotonic clock in milliseconds.
    Until(u64),
    /// So many seconds.
    Seconds(u32),
    /// Until the person takes it away.
    Endless,
}

/// A popup. Two that are equal say the same and take the same answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Popup {
    /// What it is about; there is one popup about one thing.
    pub(super) about: About,
    /// Its head. Plain text.
    pub(super) summary: String,
    /// Its lines. Plain text in which nothing acts.
    pub(super) lines: Vec<String>,
    /// How much it presses.
    pub(super) urgency: Urgency,
    /// Its buttons.
    pub(super) buttons: Vec<(Answer, &'static str)>,
    /// How long it stands.
    pub(super) life: Life,
    /// Raised again when it rises.
    round: u32,
}

impl Popup {
    /// The request that it is about.
    pub(super) fn request(&self) -> Option<&Key> {
        match &self.about {
            About::Request(key) => Some(key),
            About::Alarms | About::News => None,
        }
    }
}

/// All popups that have to stand now.
pub(super) fn wanted(
    inbox: &Inbox,
    notes: &BTreeMap<Key, Note>,
    now: Now,
    time_of: fn(u64) -> String,
) -> Vec<Popup> {
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    let mut popups: Vec<Popup> = inbox
        .items()
        .iter()
        .filter_map(|item| {
            let n = shown.entry(&item.verified.host).or_default();
            *n += 1;
            if *n > MAX_PER_HOST {
                return None;
            }
            let note = notes.get(&item.verified.key());
            match &item.phase {
                Phase::Asking => Some(asking(inbox, item, note, time_of)),
                Phase::Signing(_) => Some(signing(item)),
                Phase::Decided { code: Some(code), .. } => Some(typing(item, code)),
                Phase::Decided { delivered: false, sent, .. } if *sent > TRIES => Some(sending(item)),
                Phase::Decided { .. } => None,
            }
        })
        .collect();
    let stands = |e: &&Ended| e.at + u64::from(last_word(e)) > now.unix;
    popups.extend(inbox.recent().filter(stands).map(ended));
    popups.extend(told(About::Alarms, "Countersign: ALARM", inbox.alarms().map(|(text, _)| escape(text))));
    popups.extend(told(About::News, "Countersign: your devices", inbox.news().map(Cow::Borrowed)));
    popups
}

/// A request that waits for the person.
fn asking(inbox: &Inbox, item: &Item, note: Option<&Note>, time_of: fn(u64) -> String) -> Popup {
    let verified = &item.verified;
    let conflicts = inbox.conflicts(item);
    let mut lines: Vec<String> = note.map(|n| n.text.clone()).into_iter().collect();
    if !conflicts.is_empty() {
        lines.push(format!(
            "Careful: {} has more than one request open. They differ in: {}.",
            escape(&verified.request.user),
            conflicts.join(", ")
        ));
    }
    if let Some(seconds) = item.clock_apart {
        let how = if seconds > 0 { "ahead of" } else { "behind" };
        lines.push(format!("The machine's clock is {} s {how} this one's.", seconds.unsigned_abs()));
    }
    lines.extend(
        words::details(verified, time_of).into_iter().map(|(label, value)| format!("{label}: {value}")),
    );
    let list = of_list(item);
    let is_short = list.len() <= MAX_LINES;
    lines.extend(list.into_iter().take(MAX_LINES));
    lines.push(format!("answer within: {} s", verified.request.expires_in));
    let report = if verified.somebody_else().is_some() { "Report: not them" } else { "It wasn't me" };
    let mut buttons = match verified.request.kind {
        Kind::Test => vec![(Answer::Approve, "It rang")],
        _ => {
            vec![(Answer::Approve, "Approve"), (Answer::Deny, "Deny"), (Answer::Report, report)]
        }
    };
    let is_whole = fits(&mut lines, &words::headline(verified)) && is_short;
    if !item.is_listed() {
        buttons.retain(|(answer, _)| *answer != Answer::Approve);
        lines.insert(0, "Its list is not here yet, and nothing is approved without it.".into());
    } else if !is_whole {
        buttons.retain(|(answer, _)| *answer != Answer::Approve);
        lines.insert(
            0,
            "Too long to be seen whole here: approve it in a terminal (countersign approve).".into(),
        );
    }
    let urgency = if verified.request.kind == Kind::Test { Urgency::Normal } else { Urgency::Critical };
    let round = note.map_or(0, |n| n.round);
    Popup { lines, buttons, urgency, round, ..bare(item, &words::headline(verified)) }
}

/// The lines of a request's list, as many as tell whether all of them can be seen here.
fn of_list(item: &Item) -> Vec<String> {
    match &item.listed {
        Listed::There(text) => {
            words::list_lines(text).take(MAX_LINES + 1).map(|line| format!("| {line}")).collect()
        }
        Listed::None | Listed::Coming(_) | Listed::Missing { .. } => Vec::new(),
    }
}

/// An approval whose code is to be typed.
fn typing(item: &Item, code: &str) -> Popup {
    let lines = vec![format!("You approved: {}", words::headline(&item.verified))];
    let summary = match item.verified.somebody_else() {
        None => format!("Type {} at the terminal", grouped(code)),
        Some(who) => format!("Tell {} the code {}", escape(who), grouped(code)),
    };
    Popup { lines, urgency: Urgency::Critical, ..bare(item, &summary) }
}

fn signing(item: &Item) -> Popup {
    let lines = vec!["Signing... (a key may want to be touched or unlocked)".into()];
    Popup { lines, ..bare(item, &words::headline(&item.verified)) }
}

fn sending(item: &Item) -> Popup {
    let lines = vec!["Answered. The server does not have the answer yet; sending...".into()];
    Popup { lines, ..bare(item, &words::headline(&item.verified)) }
}

/// How many seconds the end of a request stands: what went as the person wanted goes without a word.
fn last_word(ended: &Ended) -> u32 {
    match (ended.outcome, ended.answer) {
        (Some(ClosedOutcome::Approved), Some(Answer::Deny | Answer::Report)) => OVERRULED,
        (Some(ClosedOutcome::Approved), None) if ended.verified.request.kind != Kind::Test => LAST_WORD,
        (Some(ClosedOutcome::Failed), _) => LAST_WORD,
        _ => 0,
    }
}

fn ended(ended: &Ended) -> Popup {
    let seconds = last_word(ended);
    Popup {
        about: About::Request(ended.verified.key()),
        summary: clip(&words::ending(ended), MAX_SUMMARY).to_owned(),
        lines: ended.answer.map(|a| format!("You {} it here.", words::answered(a))).into_iter().collect(),
        urgency: if seconds == OVERRULED { Urgency::Critical } else { Urgency::Normal },
        buttons: Vec::new(),
        life: Life::Seconds(seconds),
        round: 0,
    }
}

/// One popup for all alarms, one for all news: without a button, and a flood of them makes no flood of popups.
fn told<'a>(about: About, summary: &str, texts: impl Iterator<Item = Cow<'a, str>>) -> Option<Popup> {
    let lines: Vec<String> =
        texts.take(MAX_TOLD).map(|text| clip(&text, MAX_BODY / MAX_TOLD).to_owned()).collect();
    (!lines.is_empty()).then(|| Popup {
        about,
        summary: summary.to_owned(),
        lines,
        urgency: Urgency::Critical,
        buttons: Vec::new(),
        life: Life::Endless,
        round: 0,
    })
}

fn bare(item: &Item, summary: &str) -> Popup {
    Popup {
        about: About::Request(item.verified.key()),
        summary: clip(summary, MAX_SUMMARY).to_owned(),
        lines: Vec::new(),
        urgency: Urgency::Normal,
        buttons: Vec::new(),
        life: Life::Until(item.ends_at),
        round: 0,
    }
}

/// Whether all of it will be seen; cuts what is too long. Nobody approves what they cannot see.
fn fits(lines: &mut Vec<String>, summary: &str) -> bool {
    let mut room = MAX_BODY;
    let mut whole = summary.len() <= MAX_SUMMARY && lines.len() <= MAX_LINES;
    lines.truncate(MAX_LINES);
    for line in lines.iter_mut() {
        if line.len() > room {
            whole = false;
            *line = format!("{}...", clip(line, room));
        }
        room = room.saturating_sub(line.len());
    }
    lines.retain(|line| line != "...");
    whole
}

#[cfg(test)]
#[path = "popup_tests.rs"]
mod tests;
