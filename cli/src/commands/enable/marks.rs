//! The lines that `enable` writes, and how they are known again.
//!
//! They stand between two lines of comment. What else somebody wrote between these stays when ours go; where ours took
//! another line's place, that line stands in a comment among them and comes back.

/// What the first line of a block begins with.
pub(super) const BEGIN: &str = "# countersign: begin";
/// The last line of a block.
pub(super) const END: &str = "# countersign: end";
/// What stands before a line whose place ours took.
const WAS: &str = "# countersign: was: ";
/// Whoever is in this group is not asked, whatever becomes of the daemon and its settings.
const BREAK_GLASS: &str =
    "[success=1 default=ignore] pam_succeed_if.so quiet user ingroup countersign-breakglass";
/// The same for su, where the user is whoever is entered: it looks at who types.
const BREAK_GLASS_OF_CALLER: &str =
    "[success=1 default=ignore] pam_succeed_if.so quiet use_uid user ingroup countersign-breakglass";
/// Our module.
pub(super) const MODULE: &str = "pam_countersign.so";
/// Most lines between the first and the last one of a block.
const MAX_BLOCK: usize = 32;

/// A line that ours take the place of, and what stands there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instead {
    /// As it is written, without its end.
    pub(super) was: String,
    /// What does the same and lets ours be reached.
    pub(super) now: String,
}

/// The lines for one stage of a service.
pub(super) fn block(stage: &str, service: &str, module: &str, instead: Option<&Instead>) -> Vec<String> {
    let mut lines = vec![format!("{BEGIN} (countersign disable {service} takes these lines out)")];
    if let Some(Instead { was, now }) = instead {
        lines.push(format!("{WAS}{was}"));
        lines.push(now.clone());
    }
    let glass = if matches!(service, "su" | "su-l") { BREAK_GLASS_OF_CALLER } else { BREAK_GLASS };
    lines.push(format!("{stage:<7} {glass}"));
    // Whoever is refused is to have none of what follows: a keyring that the password opens, a mounted home.
    lines.push(format!("{stage:<7} requisite {module}"));
    lines.push(END.to_owned());
    lines
}

/// The text with these lines behind line `after` (from 1; 0: before all others), in whose place they stand if `replace`.
/// Nothing else changes, not by a byte.
pub(super) fn put(text: &[u8], after: usize, replace: bool, lines: &[String]) -> Vec<u8> {
    let mut all = split(text);
    let after = after.min(all.len());
    let end = match all.get(after.saturating_sub(1)) {
        Some(line) if line.ends_with(b"\r\n") => "\r\n",
        _ => "\n",
    };
    let mut added = lines.iter().flat_map(|line| [line.as_str(), end]).collect::<String>().into_bytes();
    // A file without an end of its last line keeps that.
    let is_open = after > 0 && all.get(after - 1).is_some_and(|line| !line.ends_with(b"\n"));
    if is_open {
        added.truncate(added.len() - end.len());
    }
    let rest = all.split_off(after);
    if replace {
        all.pop();
    }
    let mut out = all.concat();
    if is_open && !replace {
        out.extend(end.bytes());
    }
    out.extend(added);
    out.extend(rest.concat());
    out
}

/// A text without our lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stripped {
    pub(super) text: Vec<u8>,
    /// How many of our lines were there; none: the text is as it was.
    pub(super) taken: usize,
    /// Lines of somebody else between our marks: they stayed.
    pub(super) kept: Vec<String>,
}

/// Takes out what stands between our marks and is ours.
pub(super) fn strip(text: &[u8]) -> Stripped {
    let lines = split(text);
    let mut out = Stripped::default();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let said = bare(line);
        if said == END {
            // One that lost its beginning.
            out.taken += 1;
        } else if is_begin(&said) {
            out.taken += 1;
            at += within(lines.get(at..).unwrap_or_default(), &mut out);
        } else {
            out.text.extend_from_slice(line);
            continue;
        }
        // Ours were the last lines, and the one before them had no end.
        let before = lines.get(at.saturating_sub(1)).copied().unwrap_or_default();
        if at == lines.len() && !before.ends_with(b"\n") && bare(before) == END {
            let end = if out.text.ends_with(b"\r\n") { 2 } else { usize::from(out.text.ends_with(b"\n")) };
            out.text.truncate(out.text.len() - end);
        }
    }
    out
}

/// Goes through a block behind its first line; says how many lines belong to it.
fn within(lines: &[&[u8]], out: &mut Stripped) -> usize {
    let said: Vec<String> = lines.iter().take(MAX_BLOCK).map(|line| bare(line)).collect();
    let end = said.iter().position(|line| line == END);
    let end = end.filter(|end| !said.iter().take(*end).any(|line| is_begin(line)));
    let mut in_place_of: Option<String> = None;
    for (index, (line, said)) in lines.iter().zip(&said).enumerate() {
        if end == Some(index) {
            out.taken += 1;
            return index + 1;
        }
        if let Some(was) = said.strip_prefix(WAS) {
            out.taken += 1;
            let start = line.len().saturating_sub(line.trim_ascii_start().len()) + WAS.len();
            out.text.extend_from_slice(line.get(start..).unwrap_or_default());
            in_place_of = Some(as_substack(was).trim().to_owned());
        } else if is_ours(said) || in_place_of.take().is_some_and(|now| now == *said) {
            out.taken += 1;
        } else if end.is_none() {
            // Without an end nobody knows what belongs to it: only what is ours beyond doubt.
            return index;
        } else {
            out.kept.push(said.clone());
            out.text.extend_from_slice(line);
        }
    }
    lines.len().min(MAX_BLOCK)
}

/// An `include` as a `substack`: what ends the other file's lines no longer ends all of the service's.
pub(super) fn as_substack(line: &str) -> String {
    line.replacen("include", "substack", 1)
}

/// Whether a block for this stage is there, whole.
pub(super) fn has(text: &[u8], stage: &str) -> bool {
    let lines: Vec<String> = split(text).into_iter().map(bare).collect();
    let begins = lines.iter().enumerate().filter(|(_, line)| is_begin(line));
    begins.into_iter().any(|(begin, _)| {
        let rest = lines.iter().skip(begin + 1).take(MAX_BLOCK);
        let block: Vec<&String> = rest.take_while(|line| *line != END && !is_begin(line)).collect();
        let is_closed = lines.get(begin + 1 + block.len()).is_some_and(|line| line == END);
        is_closed && block.iter().any(|line| words(line).first() == Some(&stage) && calls_us(line))
    })
}

/// The numbers of the lines that call our module and stand outside of our marks: somebody wrote them by hand.
pub(super) fn by_hand(text: &[u8]) -> Vec<usize> {
    let (mut found, mut open) = (Vec::new(), 0_usize);
    for (number, line) in split(text).into_iter().map(bare).enumerate().map(|(index, line)| (index + 1, line))
    {
        match line.as_str() {
            END => open = 0,
            line if is_begin(line) => open = MAX_BLOCK,
            line if open == 0 && calls_us(line) => found.push(number),
            _ => open = open.saturating_sub(1),
        }
    }
    found
}

fn is_begin(said: &str) -> bool {
    said.strip_prefix(BEGIN).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn is_ours(said: &str) -> bool {
    let words = words(said);
    let is_glass = words.split_first().is_some_and(|(stage, rest)| {
        matches!(*stage, "auth" | "session")
            && [BREAK_GLASS, BREAK_GLASS_OF_CALLER].contains(&rest.join(" ").as_str())
    });
    is_glass || calls_us(said)
}

/// Whether a line that is no comment calls our module.
fn calls_us(said: &str) -> bool {
    !said.starts_with('#')
        && words(said).iter().skip(2).any(|word| *word == MODULE || word.ends_with("/pam_countersign.so"))
}

fn words(said: &str) -> Vec<&str> {
    said.split_ascii_whitespace().collect()
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// A line without its end and what is blank around it.
fn bare(line: &[u8]) -> String {
    String::from_utf8_lossy(line.trim_ascii()).into_owned()
}

#[cfg(test)]
#[path = "marks_tests.rs"]
mod tests;
