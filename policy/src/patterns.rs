//! Lists of names as OpenSSH's: `*` and `?` stand for anything, `!` in front takes away what matches.

use countersign_protocol::pattern;

/// Longest pattern in bytes.
pub(super) const MAX_PATTERN: usize = 256;

/// Some names, less some others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    meant: Vec<String>,
    not: Vec<String>,
}

impl Patterns {
    /// Adds one, as it is written in the configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add(&mut self, text: &str) -> Result<(), String> {
        let (list, name) = match text.strip_prefix('!') {
            Some(name) => (&mut self.not, name),
            None => (&mut self.meant, text),
        };
        if name.is_empty() || name.len() > MAX_PATTERN || name.starts_with('!') {
            return Err(format!("a pattern is 1 to {MAX_PATTERN} bytes, with at most one \"!\" in front"));
        }
        list.push(name.to_owned());
        Ok(())
    }

    /// Whether anything is meant at all.
    pub(super) fn is_empty(&self) -> bool {
        self.meant.is_empty()
    }

    /// Whether a name is one of them.
    #[must_use]
    pub fn match_name(&self, name: &str) -> bool {
        let any = |list: &[String]| list.iter().any(|one| pattern::matches(name.as_bytes(), one.as_bytes()));
        any(&self.meant) && !any(&self.not)
    }

    /// Whether every name is one of them.
    pub(super) fn is_all(&self) -> bool {
        self.not.is_empty() && self.meant.iter().any(|one| one.bytes().all(|byte| byte == b'*'))
    }

    /// What is meant, where that is names alone: no wildcard, nothing taken away.
    #[must_use]
    pub fn names(&self) -> Option<&[String]> {
        let plain = self.not.is_empty() && self.meant.iter().all(|one| !one.contains(['*', '?']));
        plain.then_some(self.meant.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> Patterns {
        let mut patterns = Patterns::default();
        for one in list {
            patterns.add(one).unwrap();
        }
        patterns
    }

    #[test]
    fn what_is_taken_away_wins_wherever_it_stands() {
        let names = patterns(&["!db-9", "db-*", "web?"]);
        for name in ["db-1", "db-", "web1"] {
            assert!(names.match_name(name), "{name}");
        }
        for name in ["db-9", "web", "web12", "", "DB-1"] {
            assert!(!names.match_name(name), "{name}");
        }
        assert!(patterns(&["a", "b"]).names().is_some() && names.names().is_none());
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for bad in ["", "!", "!!a", &"a".repeat(MAX_PATTERN + 1)] {
            assert!(Patterns::default().add(bad).is_err(), "{bad}");
        }
    }
}
