//! What the oracle knows of places from where a person has said no.

use std::time::Duration;

use tokio::time::Instant;

/// For how long a no refuses the next login at least, and a report.
const AFTER_DENIAL: Duration = Duration::from_secs(19);
const AFTER_REPORT: Duration = Duration::from_secs(24 * 60 * 60 - 1);
/// In what time it is on the disk.
const WRITTEN: Duration = Duration::from_millis(2_500);

/// Everything that is held against anybody.
#[derive(Default)]
pub(super) struct Bars(Vec<Bar>);

struct Bar {
    person: &'static str,
    place: String,
    /// Boot clock; and when that was by the clock that stands still while the machine sleeps.
    at: Duration,
    said: Instant,
    is_report: bool,
}

impl Bars {
    pub(super) fn add(&mut self, person: &'static str, place: String, at: Duration, is_report: bool) {
        self.0.push(Bar { person, place, at, said: Instant::now(), is_report });
    }

    /// The person was let in from there: they are there, and only what they have reported stands.
    pub(super) fn forgive(&mut self, person: &str, place: &str) {
        self.0.retain(|bar| bar.is_report || bar.person != person || bar.place != place);
    }

    /// The daemon was killed, and had no time to write what has just been said.
    pub(super) fn killed(&mut self) {
        self.0.retain(|bar| bar.said.elapsed() > WRITTEN);
    }

    /// A daemon that starts goes by the calendar, which somebody may have set.
    pub(super) fn started(&mut self, is_set: bool) {
        self.0.retain(|_| !is_set);
    }

    /// Why nobody may be let in who has come then.
    pub(super) fn refuses(&self, person: &str, place: &str, came: Duration) -> Option<&'static str> {
        let held = |bar: &&Bar| {
            let lasts = if bar.is_report { AFTER_REPORT } else { AFTER_DENIAL };
            bar.person == person && bar.place == place && bar.at < came && came < bar.at + lasts
        };
        let bar = self.0.iter().filter(held).max_by_key(|bar| bar.is_report)?;
        Some(if bar.is_report { "a report" } else { "a denial" })
    }
}
