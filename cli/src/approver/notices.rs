//! What is said beside the requests: alarms, which stay, news of devices, which stay a while, and the last
//! notice, which goes away.

use super::words;
use countersign_protocol::message::DeviceEvent;
use std::collections::VecDeque;

/// Alarms that are kept to be shown.
const MAX_ALARMS: usize = 3;
/// A notice goes away after this time.
const NOTICE_MS: u64 = 10_000;
/// News that are kept to be shown.
const MAX_NEWS: usize = 3;
/// They go away after this time: a person has looked at the screen by then, or has the history.
const NEWS_MS: u64 = 10 * 60_000;

/// Alarms and the last notice.
#[derive(Debug, Default)]
pub(super) struct Notices {
    alarms: VecDeque<(String, u32)>,
    /// The last notice, and since when it has stood, known from the first tick on.
    last: Option<(String, Option<u64>)>,
    /// News of devices, and since when they have stood.
    news: VecDeque<(String, u64)>,
}

impl Notices {
    /// Alarms and how often each came, newest first.
    pub(super) fn alarms(&self) -> impl Iterator<Item = (&str, u32)> {
        self.alarms.iter().map(|(text, n)| (text.as_str(), *n))
    }

    /// An alarm; the same one again is counted.
    pub(super) fn alarm(&mut self, text: String) {
        let known = self.alarms.iter().position(|(t, _)| *t == text);
        let (text, n) = known.and_then(|at| self.alarms.remove(at)).unwrap_or((text, 0));
        self.alarms.push_front((text, n.saturating_add(1)));
        self.alarms.truncate(MAX_ALARMS);
    }

    /// News of devices, newest first.
    pub(super) fn news(&self) -> impl Iterator<Item = &str> {
        self.news.iter().map(|(text, _)| text.as_str())
    }

    /// Devices of a user came or went.
    pub(super) fn tell(&mut self, host: &str, user: &str, changes: &[DeviceEvent], ms: u64) {
        let texts = changes.iter().map(|change| words::news(host, user, change));
        // A device that is not shown any more must not be one that nobody looks for.
        let many = (changes.len() > MAX_NEWS).then(|| words::many_news(host, user, changes.len()));
        for text in texts.chain(many) {
            self.news.push_front((text, ms));
        }
        self.news.truncate(MAX_NEWS);
    }

    /// The notice that stands now.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_ref().map(|(text, _)| text.as_str())
    }

    /// Another notice takes its place.
    pub(super) fn say(&mut self, text: String) {
        self.last = Some((text, None));
    }

    /// The notice is of no more use.
    pub(super) fn clear(&mut self) {
        self.last = None;
    }

    /// Time passes.
    pub(super) fn tick(&mut self, ms: u64) {
        self.news.retain(|(_, since)| *since + NEWS_MS > ms);
        if let Some((_, since)) = &mut self.last
            && *since.get_or_insert(ms) + NOTICE_MS <= ms
        {
            self.last = None;
        }
    }
}
