//! Doors to what is private, for the fuzz targets in `fuzz/`.

use crate::events;
use crate::sse::{Item, Parser};
use countersign_protocol::api::Polled;

/// Whether a long poll can be gone on from.
#[must_use]
pub fn is_sound(polled: &Polled) -> bool {
    events::is_sound(polled)
}

/// What an event stream says that comes in these chunks: names and data of its events, nothing for a comment; and whether it
/// broke.
pub fn stream<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Option<(String, String)>>, bool) {
    let (mut parser, mut said) = (Parser::default(), Vec::new());
    for chunk in chunks {
        parser.push(chunk);
        loop {
            match parser.next() {
                Ok(Some(Item::Comment)) => said.push(None),
                Ok(Some(Item::Event { name, data })) => said.push(Some((name, data))),
                Ok(None) => break,
                Err(_) => return (said, true),
            }
        }
    }
    (said, false)
}
