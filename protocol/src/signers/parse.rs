//! Reading the lines of ALLOWED SIGNERS files.

use super::{Entry, LineFault, MAX_FAULTS, MAX_FILE};
use crate::calendar;
use crate::keys::PublicKey;
use crate::text::{clip, escape};

/// Reads every line that is not blank or a comment.
pub(super) fn lines<T>(
    file: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Vec<LineFault>> {
    if file.len() > MAX_FILE {
        let message = format!("the file is longer than {MAX_FILE} bytes");
        return Err(vec![LineFault { line: 1, message }]);
    }
    let mut values = Vec::new();
    let mut faults = Vec::new();
    for (i, line) in file.lines().enumerate() {
        let line = line.trim_start_matches(SPACE).trim_end_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match inert(line).and_then(&read) {
            Ok(value) => values.push(value),
            Err(message) if faults.len() < MAX_FAULTS => faults.push(LineFault { line: i + 1, message }),
            Err(_) => break,
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

/// A line without what OpenSSH reads as its end, or as a blank.
fn inert(line: &str) -> Result<&str, String> {
    if line.contains(['\0', '\r']) {
        return Err("a carriage return or a NUL byte is in it: save the file as plain text".into());
    }
    Ok(line)
}

/// `PRINCIPALS [OPTIONS] TYPE BASE64 [COMMENT]`
pub(super) fn entry(line: &str) -> Result<Entry, String> {
    let (principals, rest) = principals(line)?;
    let mut entry = Options::default();
    let mut rest = rest;
    let (word, _) = word(rest);
    if !is_key_type(word) {
        let (options, tail) = options(rest)?;
        entry = options;
        rest = tail;
    }
    let key = PublicKey::from_openssh(rest).map_err(|e| format!("{e}"))?;
    if let (Some(after), Some(before)) = (entry.valid_after, entry.valid_before)
        && before <= after
    {
        return Err("valid-before is not later than valid-after".into());
    }
    Ok(Entry {
        principals: principals.to_owned(),
        is_authority: entry.is_authority,
        namespaces: entry.namespaces,
        valid_after: entry.valid_after,
        valid_before: entry.valid_before,
        key,
    })
}

/// The first word, which may stand in quotes.
fn principals(line: &str) -> Result<(&str, &str), String> {
    let (principals, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("the quote before the principals is not closed")?,
        // OpenSSH reads what is in quotes there as if they were not: a pattern would mean something else.
        None => match word(line) {
            (word, _) if word.contains('"') => {
                return Err("a quote is in the principals: put all of them in quotes, or none".into());
            }
            unquoted => unquoted,
        },
    };
    let rest = rest.trim_start_matches(SPACE);
    if principals.is_empty() || rest.is_empty() {
        return Err("expected principals, perhaps options, and a public key".into());
    }
    Ok((principals, rest))
}

const SPACE: [char; 2] = [' ', '\t'];

fn word(text: &str) -> (&str, &str) {
    text.split_once(SPACE).unwrap_or((text, ""))
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-", "webauthn-"].iter().any(|prefix| word.starts_with(prefix))
}

#[derive(Default)]
struct Options {
    is_authority: bool,
    namespaces: Option<String>,
    valid_after: Option<u64>,
    valid_before: Option<u64>,
}

/// `name`, `name="value"`, … up to a blank outside of quotes.
fn options(text: &str) -> Result<(Options, &str), String> {
    let mut options = Options::default();
    let mut rest = text;
    loop {
        let end = rest.find([',', '=', ' ', '\t']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let mut value = None;
        rest = tail;
        if let Some(quoted) = tail.strip_prefix('=') {
            let (read, tail) = quoted_value(quoted, name)?;
            value = Some(read);
            rest = tail;
        }
        set(&mut options, name, value)?;
        match rest.chars().next() {
            Some(',') => rest = rest.get(1..).unwrap_or_default(),
            Some(' ' | '\t') => return Ok((options, rest.trim_start_matches(SPACE))),
            Some(_) => return Err(format!("expected a comma or a blank after option {}", show(name))),
            None => return Err("the line ends after its options: the public key is missing".into()),
        }
    }
}

fn quoted_value<'a>(text: &'a str, name: &str) -> Result<(String, &'a str), String> {
    let fault = || format!("the value of option {} must stand in double quotes", show(name));
    let inside = text.strip_prefix('"').ok_or_else(fault)?;
    let mut value = String::new();
    let mut chars = inside.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((value, inside.get(i + 1..).unwrap_or_default())),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                value.push('"');
            }
            c => value.push(c),
        }
    }
    Err(fault())
}

fn set(options: &mut Options, name: &str, value: Option<String>) -> Result<(), String> {
    // OpenSSH reads their names in any case.
    match (name.to_ascii_lowercase().as_str(), value) {
        ("cert-authority", None) if !options.is_authority => options.is_authority = true,
        ("namespaces", Some(value)) if options.namespaces.is_none() => options.namespaces = Some(value),
        ("valid-after", Some(value)) if options.valid_after.is_none() => {
            options.valid_after = Some(time(name, &value)?);
        }
        ("valid-before", Some(value)) if options.valid_before.is_none() => {
            options.valid_before = Some(time(name, &value)?);
        }
        ("cert-authority" | "namespaces" | "valid-after" | "valid-before", _) => {
            return Err(format!("option {} stands twice or its value is wrong", show(name)));
        }
        _ => {
            return Err(format!(
                "unknown option {}: known are cert-authority, namespaces, valid-after and valid-before",
                show(name)
            ));
        }
    }
    Ok(())
}

fn time(name: &str, value: &str) -> Result<u64, String> {
    calendar::parse(value).filter(|time| *time != 0).ok_or_else(|| {
        format!("the time of {name} must be YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS in UTC, ending in Z")
    })
}

fn show(text: &str) -> String {
    format!("\"{}\"", escape(clip(text, 40)))
}
