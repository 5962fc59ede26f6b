//! A file of the administrator's or the daemon's own that is looked at whenever somebody decides.

use crate::clock;
use crate::files::{self, FileFault, Owner, Version};
use crate::log::Log;
use countersign_protocol::signers::{LineFault, MAX_FILE};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// How long the same fault of a file is not said again.
const SAID_FOR: Duration = Duration::from_secs(60);

/// A line about a file as it was then.
struct Said {
    text: String,
    /// `None` where that could not be seen.
    version: Option<Version>,
    at: Duration,
}

/// A file that is read again whenever it has changed.
pub(super) struct Watched<T> {
    pub(super) path: PathBuf,
    pub(super) owner: Owner,
    parse: fn(&str) -> Result<T, Vec<LineFault>>,
    /// What a fault in it means.
    then: &'static str,
    /// What to warn of in a file of so many bytes that can be used.
    warns: Option<fn(&T, usize) -> Option<String>>,
    seen: RefCell<Option<Seen<T>>>,
    /// What was said last to be wrong, and when.
    said: RefCell<Option<Said>>,
}

/// What was in a file: its content, or that it must not be used.
pub(super) type Content<T> = Result<Rc<T>, ()>;

struct Seen<T> {
    version: Option<Version>,
    content: Content<T>,
}

impl<T: Default> Watched<T> {
    /// A file, who may own it beside root, how it is read, and what a fault in it means.
    pub(super) fn new(
        path: PathBuf,
        owner: Owner,
        parse: fn(&str) -> Result<T, Vec<LineFault>>,
        then: &'static str,
    ) -> Self {
        Self { path, owner, parse, then, warns: None, seen: RefCell::new(None), said: RefCell::new(None) }
    }

    /// The same with something to warn of whenever the file has changed.
    pub(super) fn warning(self, warns: fn(&T, usize) -> Option<String>) -> Self {
        Self { warns: Some(warns), ..self }
    }

    /// The file's content as it is now. A missing file is an empty one.
    pub(super) fn content(&self, log: &Log) -> Content<T> {
        // Before reading: a change in between is seen the next time. Where it cannot be seen whether there is
        // a file, what was known before says nothing.
        let Ok(version) = files::version(&self.path) else { return self.read(log, None).0 };
        let mut seen = self.seen.borrow_mut();
        if let Some(seen) = seen.as_ref()
            && seen.version == version
        {
            return seen.content.clone();
        }
        let (content, lasts) = self.read(log, version);
        *seen = lasts.then(|| Seen { version, content: content.clone() });
        content
    }

    /// Says what is wrong; the same of the same file once a minute at most, since each decision that comes looks
    /// again.
    fn say(&self, log: &Log, text: String, version: Option<Version>) {
        let at = clock::boot();
        let mut said = self.said.borrow_mut();
        let is_same = |said: &Said| said.text == text && said.version == version && at < said.at + SAID_FOR;
        if !said.as_ref().is_some_and(is_same) {
            log.error(&text);
            *said = Some(Said { text, version, at });
        }
    }

    /// What is in the file, and whether that stays so for as long as the file is the same.
    fn read(&self, log: &Log, version: Option<Version>) -> (Content<T>, bool) {
        let path = self.path.display();
        let text = match files::read_trusted(&self.path, self.owner, MAX_FILE) {
            Ok(text) => text,
            Err(FileFault::Missing) => return (Ok(Rc::new(T::default())), true),
            Err(fault) => {
                self.say(log, format!("{path}: {fault}; {}", self.then), version);
                // Out of descriptors or memory, or a folder's mode: over while the file stays as it is.
                return (Err(()), !matches!(fault, FileFault::Io(_) | FileFault::Unreadable(_)));
            }
        };
        let content = (self.parse)(&text).map(Rc::new).map_err(|faults| {
            for fault in faults {
                log.error(&format!("{path}: {fault}; {}", self.then));
            }
        });
        let warning = content.iter().zip(self.warns).find_map(|(content, warns)| warns(content, text.len()));
        if let Some(warning) = warning {
            log.warning(&format!("{path}: {warning}"));
        }
        (content, true)
    }
}
