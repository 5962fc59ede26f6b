//! From text to lines and words, as libpam cuts them.

/// A line that may have been written over several ones of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// Its first line in the file, from 1.
    pub(crate) first: usize,
    /// Its last one.
    pub(crate) last: usize,
    pub(crate) text: String,
}

/// What separates words.
const BLANKS: [char; 3] = [' ', '\t', '\n'];

/// The lines that say something. A comment reaches to the end of its line, also within brackets. What begins with a
/// backslash at its end goes on, over lines of comment and empty ones.
pub(crate) fn lines(text: &str) -> Vec<Written> {
    let mut found = Vec::new();
    let mut open: Option<Written> = None;
    for (number, line) in text.split('\n').enumerate().map(|(index, line)| (index + 1, line)) {
        let said = line.trim_start_matches(BLANKS);
        if said.is_empty() || said.starts_with('#') {
            continue;
        }
        let (said, has_comment) = match said.split_once('#') {
            Some((before, _)) => (before, true),
            None => (said, false),
        };
        // A backslash before a comment is not at the line's end.
        let more = if has_comment { None } else { said.trim_end_matches(BLANKS).strip_suffix('\\') };
        let mut written =
            open.take().unwrap_or_else(|| Written { first: number, last: number, text: String::new() });
        written.last = number;
        written.text.push_str(more.unwrap_or(said));
        if more.is_some() {
            written.text.push(' ');
            open = Some(written);
        } else {
            found.push(written);
        }
    }
    // libpam takes a file that ends within a line for broken; `Service` says so.
    found.extend(open.map(|written| Written { text: format!("{}\\", written.text), ..written }));
    found
}

/// The next word and what follows it. `[a b]` is one, without its brackets; `\]` in it is a `]`.
pub(crate) fn word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches(BLANKS);
    let Some(within) = text.strip_prefix('[') else {
        if text.is_empty() {
            return None;
        }
        let end = text.find(BLANKS).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return Some((word.to_owned(), rest));
    };
    let mut word = String::new();
    let mut chars = within.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            ']' => return Some((word, within.get(at + 1..).unwrap_or_default())),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == ']') => {
                chars.next();
                word.push(']');
            }
            c => word.push(c),
        }
    }
    Some((word, ""))
}

/// All words.
pub(crate) fn words(mut text: &str) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((next, rest)) = word(text) {
        found.push(next);
        text = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_hold_words_together() {
        assert_eq!(words(" a\t[b c]  d [e\\] [f]g"), ["a", "b c", "d", "e] [f", "g"]);
        assert_eq!(words("[open"), ["open"]);
        assert_eq!(words("a[b c]"), ["a[b", "c]"]);
        assert_eq!(words(" \t"), Vec::<String>::new());
    }

    #[test]
    fn lines_go_on_after_a_backslash() {
        let text = "# x\n\nauth a \\\n # between\n\n  b # rest \\\nauth c\\ \nd";
        let found: Vec<(usize, usize, String)> =
            lines(text).into_iter().map(|line| (line.first, line.last, line.text)).collect();
        assert_eq!(found, [(3, 6, "auth a  b ".to_owned()), (7, 8, "auth c d".to_owned())]);
    }
}
