//! From where a person's logins are refused, because that person has said no.

use super::quiet::FIRST;
use super::{AFTER_DENIAL, AFTER_REPORT, Held, What};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Places that are remembered of one person; what would end first goes first.
const MOST: usize = 64;

/// One person's places.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Bars(BTreeMap<String, Bar>);

/// Ends of what follows from a no, in seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bar {
    /// Refused after a denial.
    denied: u64,
    /// Refused after a report.
    reported: u64,
    /// Asked in silence.
    silent: u64,
}

/// Why a login is refused unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// One from there was denied a moment ago.
    Denied,
    /// One from there was reported.
    Reported,
}

impl Bar {
    fn end(&self) -> u64 {
        self.denied.max(self.reported).max(self.silent)
    }
}

impl Bars {
    pub(super) fn denied(&mut self, place: &str, now: u64) {
        let bar = self.at(place, now);
        bar.denied = now.saturating_add(AFTER_DENIAL);
        bar.silent = now.saturating_add(FIRST);
    }

    pub(super) fn reported(&mut self, place: &str, now: u64) {
        self.at(place, now).reported = now.saturating_add(AFTER_REPORT);
    }

    fn at(&mut self, place: &str, now: u64) -> &mut Bar {
        if self.0.len() >= MOST && !self.0.contains_key(place) {
            self.tidy(now);
            let first = self.0.iter().min_by_key(|(_, bar)| bar.end()).map(|(name, _)| name.clone());
            first.filter(|_| self.0.len() >= MOST).map(|name| self.0.remove(&name));
        }
        self.0.entry(place.to_owned()).or_default()
    }

    pub(super) fn refuses(&self, place: &str, now: u64) -> Option<Refused> {
        let bar = self.0.get(place)?;
        if now < bar.reported {
            return Some(Refused::Reported);
        }
        (now < bar.denied).then_some(Refused::Denied)
    }

    pub(super) fn silence(&self, place: &str, now: u64) -> bool {
        self.0.get(place).is_some_and(|bar| now < bar.silent)
    }

    /// The person was let in from there: denials are forgotten, a report is not.
    pub(super) fn forgive(&mut self, place: &str) {
        if let Some(bar) = self.0.get_mut(place) {
            *bar = Bar { reported: bar.reported, ..Bar::default() };
        }
    }

    pub(super) fn forget(&mut self, place: &str) {
        self.0.remove(place);
    }

    /// Drops what is over; whether anything is left.
    pub(super) fn tidy(&mut self, now: u64) -> bool {
        self.0.retain(|_, bar| now < bar.end());
        !self.0.is_empty()
    }

    /// When the last of it ends.
    pub(super) fn last_end(&self) -> u64 {
        self.0.values().map(Bar::end).max().unwrap_or_default()
    }

    pub(super) fn held(&self, user: &str, now: u64) -> Vec<Held> {
        let bars = self.0.iter().filter(|(_, bar)| now < bar.end());
        let held = bars.map(|(place, bar)| {
            let (what, end) = match now < bar.reported {
                true => (What::Reported, bar.reported),
                false => (What::Denied, bar.end()),
            };
            Held { what, user: Some(user.to_owned()), source: Some(place.clone()), left: end - now }
        });
        held.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_denial_refuses_for_a_moment_and_silences_for_longer_there_alone() {
        let mut bars = Bars::default();
        bars.denied("192.0.2.1", NOW);
        assert_eq!(bars.refuses("192.0.2.1", NOW + AFTER_DENIAL - 1), Some(Refused::Denied));
        assert_eq!(bars.refuses("192.0.2.1", NOW + AFTER_DENIAL), None);
        assert!(bars.silence("192.0.2.1", NOW + FIRST - 1) && !bars.silence("192.0.2.1", NOW + FIRST));
        assert!(bars.refuses("192.0.2.2", NOW).is_none() && !bars.silence("192.0.2.2", NOW));
        bars.forgive("192.0.2.1");
        assert!(bars.refuses("192.0.2.1", NOW).is_none() && !bars.silence("192.0.2.1", NOW));
        assert!(!bars.tidy(NOW));
    }

    #[test]
    fn a_report_refuses_for_a_day_whatever_comes_later() {
        let mut bars = Bars::default();
        bars.reported("192.0.2.1", NOW);
        bars.denied("192.0.2.1", NOW + 5);
        bars.forgive("192.0.2.1");
        assert_eq!(bars.refuses("192.0.2.1", NOW + AFTER_REPORT - 1), Some(Refused::Reported));
        assert_eq!(bars.refuses("192.0.2.1", NOW + AFTER_REPORT), None);
    }

    #[test]
    fn many_places_do_not_pile_up_nor_push_a_report_out() {
        let mut bars = Bars::default();
        bars.reported("192.0.2.1", NOW);
        for number in 0..MOST * 3 {
            bars.denied(&number.to_string(), NOW + 1);
        }
        assert_eq!(bars.0.len(), MOST);
        assert_eq!(bars.refuses("192.0.2.1", NOW + 2), Some(Refused::Reported));
    }
}
