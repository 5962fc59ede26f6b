//! `text/event-stream`, read from chunks (HTML standard, server-sent events). Events are small here,
//! so that a server cannot make the reader hold much.

/// Longest event in bytes, its field names included.
const MAX_EVENT: usize = 32 * 1024;

/// Something that a stream brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A comment: the stream is alive.
    Comment,
    /// An event.
    Event {
        /// Its name; `message` when it has none.
        name: String,
        /// Its data.
        data: String,
    },
}

/// Not an event stream, or one of too long events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

#[derive(Debug, Default)]
pub(crate) struct Parser {
    buffer: Vec<u8>,
    /// Where in it the next line begins.
    start: usize,
    name: String,
    data: Option<String>,
}

impl Parser {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        // Once a chunk and not once a line: a stream of empty lines would cost the square of its length.
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The next item, if it is complete.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Broken> {
        while let Some((line, next)) = self.take_line()? {
            self.start = next;
            if let Some(item) = self.line(&line)? {
                return Ok(Some(item));
            }
        }
        if self.buffer.len() - self.start > MAX_EVENT { Err(Broken) } else { Ok(None) }
    }

    /// The next whole line without its end, and where the one after it begins.
    fn take_line(&self) -> Result<Option<(String, usize)>, Broken> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some(end) = rest.iter().position(|b| *b == b'\n') else { return Ok(None) };
        let line = rest.get(..end).unwrap_or_default();
        let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).map_err(|_| Broken)?;
        Ok(Some((line.to_owned(), self.start + end + 1)))
    }

    fn line(&mut self, line: &str) -> Result<Option<Item>, Broken> {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            // An event without data is none.
            return Ok(self.data.take().map(|data| Item::Event {
                name: if name.is_empty() { "message".into() } else { name },
                data,
            }));
        }
        if line.starts_with(':') {
            return Ok(Some(Item::Comment));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // Ids, retry times and fields to come.
            _ => {}
        }
        let size = self.name.len() + self.data.as_ref().map_or(0, String::len);
        if size > MAX_EVENT { Err(Broken) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chunks: &[&str]) -> Vec<Item> {
        let mut parser = Parser::default();
        let mut items = Vec::new();
        for chunk in chunks {
            parser.push(chunk.as_bytes());
            while let Some(item) = parser.next().unwrap() {
                items.push(item);
            }
        }
        items
    }

    fn event(name: &str, data: &str) -> Item {
        Item::Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn events_and_comments_in_any_chunks() {
        let text = "event: hello\ndata: {}\n\n: alive\n\nid: 3\ndata:a\ndata: b\n\nevent: x\n\ndata\n\n";
        let expected =
            vec![event("hello", "{}"), Item::Comment, event("message", "a\nb"), event("message", "")];
        assert_eq!(all(&[text]), expected);
        let bytes: Vec<&str> = text.split_inclusive(|_| true).collect();
        assert_eq!(all(&bytes), expected);
        assert_eq!(all(&[&text.replace('\n', "\r\n")]), expected);
        assert_eq!(all(&["data: cut"]), vec![]);
    }

    #[test]
    fn a_chunk_of_empty_lines_takes_no_time() {
        let mut parser = Parser::default();
        let begun = std::time::Instant::now();
        // 16 MiB moved once a line would be hours.
        parser.push(&vec![b'\n'; 1 << 24]);
        assert_eq!(parser.next(), Ok(None));
        parser.push(b": alive\n");
        assert_eq!(parser.next(), Ok(Some(Item::Comment)));
        assert!(begun.elapsed().as_secs() < 60);
    }

    #[test]
    fn endless_and_binary_streams_are_broken() {
        let mut parser = Parser::default();
        parser.push(&vec![b'a'; MAX_EVENT + 1]);
        assert_eq!(parser.next(), Err(Broken));
        let mut parser = Parser::default();
        parser.push(&b"data: aaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(MAX_EVENT / 16));
        assert_eq!(parser.next(), Err(Broken));
        let mut parser = Parser::default();
        parser.push(b"data: \xff\n");
        assert_eq!(parser.next(), Err(Broken));
    }
}
