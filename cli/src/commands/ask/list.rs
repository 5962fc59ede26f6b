//! The list that goes along with an action.

use crate::output::{Exit, Failure, Outcome};
use countersign_protocol::frame::MAX_FRAME;
use countersign_protocol::message::MAX_LIST;
use countersign_protocol::text::escape;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

/// Longest part as JSON: what stands around it in a frame is shorter than the rest.
const MAX_PART: usize = MAX_FRAME - 512;

/// Reads it from a file, or from standard input for `-`.
///
/// # Errors
/// When it cannot be read, is empty, too long or no text.
pub(super) fn read(path: &Path) -> Outcome<String> {
    let is_stdin = path.as_os_str() == "-";
    let name = match is_stdin {
        true => "standard input".to_owned(),
        false => escape(&path.to_string_lossy()).into_owned(),
    };
    let mut bytes = Vec::new();
    let most = MAX_LIST as u64 + 1;
    let read = match is_stdin {
        true => stdin().lock().take(most).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Failure::broken(&name, error))?;
    let wrong = |what: &str| Failure::new(Exit::Usage, format!("{name}: {what}"));
    if bytes.len() > MAX_LIST {
        return Err(wrong(&format!("a list has at most {} KiB; ask for less at once", MAX_LIST / 1024)));
    }
    if bytes.is_empty() {
        return Err(wrong("the list is empty; leave --file away where there is none"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("the list is not UTF-8 text"))
}

/// A text in parts that fit into a frame each.
pub(super) struct Parts<'a> {
    rest: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut room = MAX_PART;
        let fits = |c: &char| match room.checked_sub(written(*c)) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let end = self.rest.chars().take_while(fits).map(char::len_utf8).sum();
        let (part, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!part.is_empty()).then_some(part)
    }
}

/// Bytes of a character in JSON.
fn written(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        c if c.is_ascii_control() => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::frame;
    use countersign_protocol::login::{Call, Continue};

    #[test]
    fn every_part_fits_into_a_frame_and_nothing_is_lost() {
        for one in ["x", "é", "\u{1}", "\n", "\"", "\u{1f512}", "a\u{7f}é\t"] {
            let text = one.repeat(MAX_LIST / one.len());
            let parts: Vec<&str> = Parts::of(&text).collect();
            assert_eq!(parts.concat(), text);
            for part in &parts {
                let next = Continue { answer: Some((*part).to_owned().into()), cannot_ask: false };
                assert!(frame::encode(&Call::Continue(next)).is_ok(), "{one:?}");
            }
        }
        assert_eq!(Parts::of("").count(), 0);
    }

    #[test]
    fn only_a_text_of_some_length_is_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let exit = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).map(|text| text.len()).map_err(|failure| failure.exit)
        };
        assert_eq!(exit(b"hello 2.10-3\n"), Ok(13));
        assert_eq!(exit(&vec![b'a'; MAX_LIST]), Ok(MAX_LIST));
        for bad in [&b""[..], &vec![b'a'; MAX_LIST + 1], b"\xff"] {
            assert_eq!(exit(bad), Err(Exit::Usage));
        }
        assert_eq!(read(&folder.path().join("no such file")).unwrap_err().exit, Exit::Broken);
    }
}
