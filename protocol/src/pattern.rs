//! OpenSSH's pattern lists: commas, `*`, `?`, and `!` which wins over every match.

/// Longest pattern in bytes. To OpenSSH a list with a longer one matches nothing.
const MAX_PATTERN: usize = 1022;

/// Whether a comma-separated list of patterns matches.
#[must_use]
pub fn in_list(text: &str, list: &str) -> bool {
    let mut matched = false;
    for item in list.split(',') {
        let (negated, pattern) = match item.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, item),
        };
        let matches = matches(text.as_bytes(), pattern.as_bytes());
        if pattern.len() > MAX_PATTERN || (negated && matches) {
            return false;
        }
        matched |= matches;
    }
    matched
}

/// Whether one pattern matches all of the text. Goes back to the last star only, so that no pattern
/// takes more than length times length steps.
#[must_use]
pub fn matches(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || c == byte => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((star_p, star_t)) => {
                    *star_t += 1;
                    (p, t) = (*star_p + 1, *star_t);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_match_as_in_openssh() {
        for (text, list) in [
            ("alice", "alice"),
            ("alice", "bob,alice"),
            ("alice", "*"),
            ("alice", "a?ice"),
            ("alice", "a*e"),
            ("alice", "*a*l*i*c*e*"),
            ("alice", "*,!bob"),
            ("", "*"),
            ("aab", "*ab"),
        ] {
            assert!(in_list(text, list), "{text} {list}");
        }
        for (text, list) in [
            ("alice", ""),
            ("alice", "alic"),
            ("alice", "alice?"),
            ("alice", "!bob"),
            ("alice", "*,!alice"),
            ("alice", "!a*,alice"),
            ("alice", "Alice"),
            ("alice", "alice "),
            ("a", "?b"),
        ] {
            assert!(!in_list(text, list), "{text} {list}");
        }
    }

    #[test]
    fn a_list_with_too_long_a_pattern_matches_nothing() {
        assert!(in_list("alice", &format!("alice,{}", "*".repeat(MAX_PATTERN))));
        assert!(!in_list("alice", &format!("alice,{}", "*".repeat(MAX_PATTERN + 1))));
    }

    #[test]
    fn hostile_patterns_take_no_time() {
        let text = "a".repeat(250);
        assert!(!in_list(&text, &format!("{}b", "a*".repeat(120))));
    }
}
