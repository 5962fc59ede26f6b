//! One thing that is wrong.

use std::collections::BTreeSet;

use crate::Place;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Somebody gets in who should not.
    WouldOpen,
    /// Somebody does not get in who should.
    WouldLockOut,
    /// Worth thinking about.
    Advice,
    /// It could not be looked at.
    NotSeen,
}

impl Severity {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::WouldOpen => "would open",
            Self::WouldLockOut => "would lock out",
            Self::Advice => "advice",
            Self::NotSeen => "not looked at",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A short name that stays the same, for programs.
    pub kind: &'static str,
    /// Which services it is about.
    pub services: BTreeSet<String>,
    /// One plain sentence.
    pub text: String,
    /// The file, and its line where there is one.
    pub at: Option<String>,
    /// What to do next.
    pub next: String,
}

impl Finding {
    /// Something that is found.
    #[must_use]
    pub fn new(
        severity: Severity,
        kind: &'static str,
        text: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { severity, kind, services: BTreeSet::new(), text: text.into(), at: None, next: next.into() }
    }

    /// Where.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.at = Some(place.to_string());
        self
    }

    /// In which file.
    #[must_use]
    pub fn in_file(mut self, file: impl std::fmt::Display) -> Self {
        self.at = Some(file.to_string());
        self
    }

    /// Of which service.
    #[must_use]
    pub fn of(mut self, service: &str) -> Self {
        self.services.insert(service.to_owned());
        self
    }
}

/// The same line is found once for each service that includes it: that is one finding. The worst come first.
pub(super) fn merge(found: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for one in found {
        let same = merged.iter_mut().find(|other| {
            // A module is missing once, however many lines call it.
            let same_place = other.at == one.at && one.at.is_some() || one.kind == "module-missing";
            (other.kind, &other.text) == (one.kind, &one.text) && same_place
        });
        match same {
            Some(other) => other.services.extend(one.services),
            None => merged.push(one),
        }
    }
    merged.sort_by_key(|one| one.severity);
    merged
}
