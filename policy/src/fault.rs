//! A fault of the configuration and how it is shown.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use countersign_protocol::text::{clip, escape, is_active};
use std::ops::Range;

/// Longest line of the configuration that is shown.
const MAX_SHOWN: usize = 200;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the text; `None` when the file as a whole is meant.
    pub span: Option<Range<usize>>,
    /// What is wrong and what to do, one line.
    pub text: String,
}

impl Fault {
    /// A fault at a place.
    pub(super) fn at(span: Range<usize>, text: impl Into<String>) -> Self {
        Self { span: Some(span), text: text.into() }
    }

    /// A fault of the whole file.
    pub(super) fn whole(text: impl Into<String>) -> Self {
        Self { span: None, text: text.into() }
    }

    /// `path:line:column: text`.
    #[must_use]
    pub fn line(&self, path: &str, source: &str) -> String {
        let text = escape(&self.text);
        match &self.span {
            Some(span) => {
                let (line, column) = place(source, span.start);
                format!("{path}:{line}:{column}: {text}")
            }
            None => format!("{path}: {text}"),
        }
    }

    /// The same with the line it is in and a caret below, in several lines.
    #[must_use]
    pub fn drawing(&self, path: &str, source: &str) -> String {
        let Some(span) = &self.span else { return self.line(path, source) };
        let (number, _) = place(source, span.start);
        let start = source.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let rest = source.get(start..).unwrap_or_default();
        let shown = clip(rest.lines().next().unwrap_or_default(), MAX_SHOWN);
        // An escape sequence in the file must not act on the terminal it is shown on. Replaced and
        // not escaped, or the caret would stand in the wrong place.
        let mut inert = String::with_capacity(shown.len());
        for c in shown.chars() {
            if is_active(c) && c != '\t' {
                inert.extend(std::iter::repeat_n('?', c.len_utf8()));
            } else {
                inert.push(c);
            }
        }
        let shown = inert;
        let from = span.start.saturating_sub(start).min(shown.len());
        let to = span.end.saturating_sub(start).clamp(from, shown.len());
        let (from, to) = (floor(&shown, from), floor(&shown, to));
        let text = escape(&self.text);
        let report = [Level::ERROR.primary_title(&*text).element(
            Snippet::source(shown.as_str())
                .path(path)
                .line_start(number)
                .annotation(AnnotationKind::Primary.span(from..to)),
        )];
        Renderer::plain().decor_style(DecorStyle::Ascii).render(&report)
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Line and column of a byte, both from 1; columns count characters.
fn place(source: &str, at: usize) -> (usize, usize) {
    let before = clip(source, at);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "server = \"x\"\n# é\n[default]\nthem = \"approve\"\n";

    #[test]
    fn places_count_lines_and_characters() {
        assert_eq!(place(SOURCE, 0), (1, 1));
        assert_eq!(place(SOURCE, 9), (1, 10));
        assert_eq!(place(SOURCE, 17), (2, 4));
        assert_eq!(place(SOURCE, 10_000), (5, 1));
    }

    #[test]
    fn a_drawing_has_the_line_and_a_caret_below_the_place() {
        let at = SOURCE.find("them").unwrap();
        let drawing = Fault::at(at..at + 4, "no key \"them\"").drawing("c.toml", SOURCE);
        assert!(drawing.contains("c.toml:4:1"), "{drawing}");
        assert!(drawing.contains("4 | them = \"approve\""), "{drawing}");
        assert!(drawing.contains("| ^^^^"), "{drawing}");
    }

    #[test]
    fn a_hostile_file_does_not_reach_the_terminal_or_panic() {
        let source = "\u{1b}[31mé = \u{202e}1\n";
        for start in 0..=source.len() + 2 {
            let fault = Fault::at(start..start + 3, "bad \u{1b}[0m");
            let drawing = fault.drawing("p", source);
            assert!(!drawing.contains('\u{1b}') && !drawing.contains('\u{202e}'), "{drawing:?}");
            assert!(!fault.line("p", source).contains('\u{1b}'));
        }
    }
}
