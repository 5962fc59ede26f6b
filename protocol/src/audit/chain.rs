//! The chain: each line holds the digest of the one before.

use super::{MAX_LINE, Record, VERSION};
use crate::digest;
use crate::text;

/// What the first record has as its previous digest.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Over [`MAX_LINE`].
    #[error("it is longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not a record.
    #[error("it is not a record: {0}")]
    Malformed(String),
    /// Of another version.
    #[error("it is of version {0}")]
    Version(u32),
    /// Records before the first line are gone.
    #[error("the file begins at record {0}: earlier ones are in another file, or were removed")]
    Start(u64),
    /// Records are missing, doubled or out of order.
    #[error("it is record {found} where {expected} belongs: lines were removed, doubled or moved")]
    Sequence {
        /// The number that belongs here.
        expected: u64,
        /// The number that stands here.
        found: u64,
    },
    /// The record before has the highest number that there is.
    #[error("nothing can follow the highest record number")]
    Last,
    /// The next line holds another digest of it.
    #[error("it was changed after it was written: the line after it has its digest")]
    Changed,
    /// The first line does not follow what it should follow.
    #[error("it does not follow the record that should be before it")]
    Unlinked,
}

/// Where a file stops being believable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: ChainFault,
}

/// The end of a chain: what the next record has to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    last: u64,
    head: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self { last: 0, head: NOTHING.into() }
    }
}

impl Chain {
    /// Before the first record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// After a given line: to go on where a file ends, or to verify one that follows another.
    ///
    /// # Errors
    /// [`ChainFault`] when the line is not a record.
    pub fn after(line: &str) -> Result<Self, ChainFault> {
        let record = read(line)?;
        Ok(Self { last: record.seq, head: digest::sha256_hex(line.as_bytes()) })
    }

    /// Number of the last record.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Digest of the last line in hex.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Numbers and links a record, and gives its line without a newline.
    ///
    /// # Errors
    /// [`ChainFault::TooLong`] or [`ChainFault::Last`]; the chain is then as before.
    pub fn append(&mut self, mut record: Record) -> Result<String, ChainFault> {
        record.version = VERSION;
        record.seq = self.last.checked_add(1).ok_or(ChainFault::Last)?;
        record.previous.clone_from(&self.head);
        let line = serde_json::to_string(&record).map_err(|e| ChainFault::Malformed(e.to_string()))?;
        // The file is looked at with other tools, too.
        let line = text::escape_json(&line).into_owned();
        if line.len() > MAX_LINE {
            return Err(ChainFault::TooLong);
        }
        self.last = record.seq;
        self.head = digest::sha256_hex(line.as_bytes());
        Ok(line)
    }

    /// Takes the next line if it follows.
    ///
    /// # Errors
    /// [`ChainFault`]; the chain is then as before. [`ChainFault::Changed`] speaks of the line
    /// before this one.
    pub fn follow(&mut self, line: &str) -> Result<Record, ChainFault> {
        let record = read(line)?;
        let expected = self.last.checked_add(1).ok_or(ChainFault::Last)?;
        if record.seq != expected {
            return Err(if self.last == 0 {
                ChainFault::Start(record.seq)
            } else {
                ChainFault::Sequence { expected, found: record.seq }
            });
        }
        if record.previous != self.head {
            return Err(if self.last == 0 { ChainFault::Unlinked } else { ChainFault::Changed });
        }
        self.last = record.seq;
        self.head = digest::sha256_hex(line.as_bytes());
        Ok(record)
    }
}

/// Verifies lines that follow `chain`, and gives the chain's new end.
///
/// # Errors
/// The first bad line.
pub fn verify<'a>(chain: Chain, lines: impl IntoIterator<Item = &'a str>) -> Result<Chain, BadLine> {
    let mut chain = chain;
    for (i, line) in lines.into_iter().enumerate() {
        if let Err(fault) = chain.follow(line) {
            return Err(match (fault, i) {
                (ChainFault::Changed, 0) => BadLine { line: 1, fault: ChainFault::Unlinked },
                (ChainFault::Changed, _) => BadLine { line: i, fault: ChainFault::Changed },
                (fault, _) => BadLine { line: i + 1, fault },
            });
        }
    }
    Ok(chain)
}

fn read(line: &str) -> Result<Record, ChainFault> {
    if line.len() > MAX_LINE {
        return Err(ChainFault::TooLong);
    }
    let record: Record = serde_json::from_str(line)
        .map_err(|e| ChainFault::Malformed(text::escape(&e.to_string()).into_owned()))?;
    if record.version == VERSION { Ok(record) } else { Err(ChainFault::Version(record.version)) }
}
