//! A table of addresses in `MaxMind`'s DB format, version 2: a binary tree over the bits of an address, and data that
//! its leaves lead to.
//!
//! Read a little at a time: such a table is larger than the whole daemon may be. It is not mapped into memory, because a
//! table that somebody shortens in place would then end the daemon, and every login with it. What it says is not
//! trusted: places beyond its end, data that leads in circles and numbers that cannot be are errors.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;

/// What stands before the table's description, at its end.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// Longest description that is looked for, in bytes.
const MOST_DESCRIPTION: u64 = 128 * 1024;
/// Between tree and data.
const GAP: u64 = 16;
/// Longest text that is read, in bytes.
const MOST_TEXT: usize = 256;
/// Most values that are looked at for one answer.
const MOST_STEPS: u32 = 5_000;
/// Bytes that are read at once.
const PIECE: usize = 1024;

/// A table, open.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    length: u64,
    nodes: u64,
    /// Bits of each of a node's two records.
    record: u64,
    /// Bits of an address of the tree.
    bits: u32,
    /// Where the data begins.
    data: u64,
}

/// A value's type and size, as its first bytes say.
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: Kind,
    /// Bytes, or entries; of a pointer where it leads.
    size: u64,
    /// Where what follows the head begins.
    body: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pointer,
    Text,
    Map,
    Array,
    Number,
    /// Its value is its size.
    Flag,
    Other,
}

/// One answer: what has been read of the file, and how much may still be looked at.
struct Look<'t> {
    table: &'t Table,
    piece: [u8; PIECE],
    at: u64,
    held: usize,
    steps: u32,
}

impl Table {
    pub(super) fn read(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let description = length.saturating_sub(MOST_DESCRIPTION);
        let mut end = vec![0; usize::try_from(length - description).map_err(|_| broken("length"))?];
        file.read_exact_at(&mut end, description)?;
        let found = end.windows(MARKER.len()).rposition(|piece| piece == MARKER);
        let found = found.ok_or_else(|| broken("end: it is no MaxMind DB"))?;
        let start = description + u64::try_from(found + MARKER.len()).map_err(|_| broken("length"))?;
        // Where pointers of the description lead from; there are none in it.
        let mut table = Self { file, length, nodes: 0, record: 0, bits: 0, data: start };
        let number = |name| {
            let mut look = Look::new(&table);
            look.entry(start, name)?.map_or(Err(broken("description")), |at| look.number(at))
        };
        let (version, nodes) = (number("binary_format_major_version")?, number("node_count")?);
        let (record, ip) = (number("record_size")?, number("ip_version")?);
        if version != 2 {
            return Err(broken("version: it is not 2"));
        }
        let bits = match ip {
            4 => 32,
            6 => 128,
            _ => return Err(broken("description: its addresses are neither IPv4 nor IPv6")),
        };
        if !matches!(record, 24 | 28 | 32) || nodes == 0 {
            return Err(broken("description: it has no such tree"));
        }
        let tree = nodes.checked_mul(record / 4);
        let data = tree.and_then(|tree| tree.checked_add(GAP)).filter(|data| *data <= length);
        (table.nodes, table.record, table.bits) = (nodes, record, bits);
        table.data = data.ok_or_else(|| broken("tree: it is longer than the file"))?;
        Ok(table)
    }

    /// The texts at the ends of these paths, for an address; `None` where there is none.
    pub(super) fn texts<const N: usize>(
        &self,
        address: IpAddr,
        paths: [&[&str]; N],
    ) -> io::Result<[Option<String>; N]> {
        let mut look = Look::new(self);
        let mut texts = [const { None }; N];
        if let Some(root) = look.leaf(address)? {
            for (path, text) in paths.iter().zip(&mut texts) {
                *text = look.text_at(root, path)?;
            }
        }
        Ok(texts)
    }
}

impl<'t> Look<'t> {
    fn new(table: &'t Table) -> Self {
        Self { table, piece: [0; PIECE], at: 0, held: 0, steps: MOST_STEPS }
    }

    /// Where an address's data is.
    fn leaf(&mut self, address: IpAddr) -> io::Result<Option<u64>> {
        let (value, width) = match address.to_canonical() {
            IpAddr::V4(address) if self.table.bits == 32 => (u128::from(u32::from(address)), 32),
            // In a tree of IPv6 they lie below ninety-six zeros.
            IpAddr::V4(address) => (u128::from(u32::from(address)), 128),
            IpAddr::V6(_) if self.table.bits == 32 => return Ok(None),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let mut node = 0;
        for bit in (0..width).rev() {
            node = self.record(node, value >> bit & 1 == 1)?;
            if node >= self.table.nodes {
                break;
            }
        }
        let Some(beyond) = node.checked_sub(self.table.nodes) else {
            return Err(broken("tree: it has no end"));
        };
        match beyond {
            0 => Ok(None),
            _ => beyond
                .checked_sub(GAP)
                .and_then(|at| at.checked_add(self.table.data))
                .map(Some)
                .ok_or_else(|| broken("tree")),
        }
    }

    /// One of the two records of a node.
    fn record(&mut self, node: u64, right: bool) -> io::Result<u64> {
        let size = self.table.record / 4;
        let mut bytes = [0; 8];
        let bytes = bytes.get_mut(..usize::try_from(size).unwrap_or(8)).unwrap_or_default();
        self.bytes(node * size, bytes)?;
        let whole = bytes.iter().fold(0_u64, |whole, byte| whole << 8 | u64::from(*byte));
        Ok(match (self.table.record, right) {
            (24, false) => whole >> 24,
            (24, true) => whole & 0xff_ffff,
            // The middle byte has the upper four bits of both.
            (28, false) => whole >> 32 | (whole >> 28 & 0xf) << 24,
            (28, true) => whole & 0xfff_ffff,
            (_, false) => whole >> 32,
            (_, true) => whole & 0xffff_ffff,
        })
    }

    /// The text at the end of a path of names, from a value on.
    fn text_at(&mut self, from: u64, path: &[&str]) -> io::Result<Option<String>> {
        let mut at = from;
        for name in path {
            match self.entry(at, name)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        let head = self.direct(at)?;
        if head.kind == Kind::Text { self.text(head).map(Some) } else { Ok(None) }
    }

    /// Where the value of that name is, in a map.
    fn entry(&mut self, at: u64, name: &str) -> io::Result<Option<u64>> {
        let map = self.direct(at)?;
        if map.kind != Kind::Map {
            return Ok(None);
        }
        let mut at = map.body;
        for _ in 0..map.size {
            let head = self.head(at)?;
            let key = if head.kind == Kind::Pointer { self.direct(at)? } else { head };
            let value = self.after(head)?;
            if key.kind == Kind::Text && self.text(key)? == name {
                return Ok(Some(value));
            }
            at = self.skip(value)?;
        }
        Ok(None)
    }

    fn number(&mut self, at: u64) -> io::Result<u64> {
        let head = self.direct(at)?;
        let mut bytes = [0; 8];
        let bytes = usize::try_from(head.size).ok().and_then(|size| bytes.get_mut(..size));
        let (Kind::Number, Some(bytes)) = (head.kind, bytes) else { return Err(broken("number")) };
        self.bytes(head.body, bytes)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self, head: Head) -> io::Result<String> {
        let size = usize::try_from(head.size).ok().filter(|size| *size <= MOST_TEXT);
        let mut bytes = vec![0; size.ok_or_else(|| broken("text: it is too long"))?];
        self.bytes(head.body, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| broken("text: it is not UTF-8"))
    }

    /// A value, or the one that a pointer leads to. A pointer does not lead to another one.
    fn direct(&mut self, at: u64) -> io::Result<Head> {
        let head = self.head(at)?;
        if head.kind != Kind::Pointer {
            return Ok(head);
        }
        let there = self.table.data.checked_add(head.size).ok_or_else(|| broken("pointer"))?;
        let head = self.head(there)?;
        if head.kind == Kind::Pointer { Err(broken("pointer: it leads to another one")) } else { Ok(head) }
    }

    /// Where the next value begins.
    fn skip(&mut self, at: u64) -> io::Result<u64> {
        let (mut at, mut left) = (at, 1_u64);
        while left > 0 {
            let head = self.head(at)?;
            left -= 1;
            left = left.saturating_add(match head.kind {
                Kind::Map => head.size.saturating_mul(2),
                Kind::Array => head.size,
                _ => 0,
            });
            at = self.after(head)?;
        }
        Ok(at)
    }

    /// Where a value ends, or, of a map or list, its first entry begins.
    fn after(&self, head: Head) -> io::Result<u64> {
        let size = match head.kind {
            Kind::Pointer | Kind::Flag | Kind::Map | Kind::Array => 0,
            Kind::Text | Kind::Number | Kind::Other => head.size,
        };
        head.body
            .checked_add(size)
            .filter(|end| *end <= self.table.length)
            .ok_or_else(|| broken("value: beyond the end"))
    }

    fn head(&mut self, at: u64) -> io::Result<Head> {
        self.steps = self.steps.checked_sub(1).ok_or_else(|| broken("data: it has no end"))?;
        let first = self.byte(at)?;
        let mut body = at + 1;
        let low = u64::from(first & 0x1f);
        let kind = match first >> 5 {
            1 => return self.pointer(first, body),
            2 => Kind::Text,
            5 | 6 => Kind::Number,
            7 => Kind::Map,
            0 => {
                body += 1;
                match self.byte(at + 1)? {
                    // Signed ones, and longer ones.
                    1..=3 => Kind::Number,
                    4 => Kind::Array,
                    7 => Kind::Flag,
                    _ => Kind::Other,
                }
            }
            _ => Kind::Other,
        };
        let size = match low {
            29 => 29 + self.big_endian(&mut body, 1)?,
            30 => 285 + self.big_endian(&mut body, 2)?,
            31 => 65_821 + self.big_endian(&mut body, 3)?,
            size => size,
        };
        Ok(Head { kind, size, body })
    }

    fn pointer(&mut self, first: u8, mut body: u64) -> io::Result<Head> {
        let high = u64::from(first & 7);
        let to = match first >> 3 & 3 {
            0 => high << 8 | self.big_endian(&mut body, 1)?,
            1 => (high << 16 | self.big_endian(&mut body, 2)?) + 2_048,
            2 => (high << 24 | self.big_endian(&mut body, 3)?) + 526_336,
            _ => self.big_endian(&mut body, 4)?,
        };
        Ok(Head { kind: Kind::Pointer, size: to, body })
    }

    fn big_endian(&mut self, at: &mut u64, bytes: u64) -> io::Result<u64> {
        let mut number = 0;
        for _ in 0..bytes {
            number = number << 8 | u64::from(self.byte(*at)?);
            *at += 1;
        }
        Ok(number)
    }

    fn byte(&mut self, at: u64) -> io::Result<u8> {
        let mut byte = [0];
        self.bytes(at, &mut byte)?;
        Ok(byte[0])
    }

    /// Bytes from a place on, of the piece that was read last where they are in it.
    fn bytes(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let start = |look: &Self| {
            let start = usize::try_from(at.checked_sub(look.at)?).ok()?;
            (start.checked_add(into.len())? <= look.held).then_some(start)
        };
        let start = match start(self) {
            Some(start) => start,
            None => {
                (self.at, self.held) = (at, 0);
                self.held = self.table.file.read_at(&mut self.piece, at)?;
                start(self).ok_or_else(|| broken("place: beyond the end"))?
            }
        };
        let bytes = self.piece.get(start..).and_then(|piece| piece.get(..into.len()));
        into.copy_from_slice(bytes.ok_or_else(|| broken("place"))?);
        Ok(())
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("its {what}"))
}
