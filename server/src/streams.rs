//! Event streams (`text/event-stream`): hello, then all that is held, then what comes.

use crate::app::Shared;
use crate::directory::Peer;
use crate::messages::Next;
use axum::body::Body;
use bytes::Bytes;
use countersign_protocol::api::{Hello, event};
use futures_util::{Stream, stream};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How often a stream shows that it is alive.
const IDLE: Duration = Duration::from_secs(20);
/// Longest that a reader may ask for instead.
const LONGEST_IDLE: Duration = Duration::from_secs(45);
/// The same while the host has requests open.
const BUSY: Duration = Duration::from_secs(1);
/// An empty comment.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Opens the one stream of a recipient, who may want that many seconds between comments.
pub(crate) fn open(app: Shared, peer: Peer, comments: Option<u32>) -> Body {
    let (number, wake) = app.messages().open_stream(peer);
    let stopping = app.stopping.clone();
    let place = Place { app, peer, number };
    let idle = comments.map_or(IDLE, |seconds| Duration::from_secs(seconds.into()).clamp(BUSY, LONGEST_IDLE));
    Body::from_stream(events(Reader { place, wake, stopping, idle, after: 0, last: None, is_over: false }))
}

/// A recipient's open stream. Given back when the connection ends.
struct Place {
    app: Shared,
    peer: Peer,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.app.messages().close_stream(self.peer, self.number);
    }
}

struct Reader {
    place: Place,
    wake: Arc<Notify>,
    stopping: watch::Receiver<bool>,
    /// How often it shows that it is alive.
    idle: Duration,
    after: u64,
    /// When something was sent last.
    last: Option<Instant>,
    /// Nothing follows what was sent last.
    is_over: bool,
}

fn events(reader: Reader) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(reader, |mut reader| async move {
        let bytes = next(&mut reader).await?;
        reader.last = Some(Instant::now());
        Some((Ok(bytes), reader))
    })
}

async fn next(reader: &mut Reader) -> Option<Bytes> {
    let Reader { place, wake, stopping, idle, after, last, is_over } = reader;
    let Some(last) = *last else { return Some(hello(&place.app)) };
    if *is_over {
        return None;
    }
    loop {
        let woken = wake.notified();
        tokio::pin!(woken);
        // From here on no wake-up is missed.
        woken.as_mut().enable();
        let busy = match place.app.messages().next(place.peer, place.number, *after) {
            // Mostly to a connection that is dead. Who does read it shares its key with somebody.
            Next::Replaced => {
                *is_over = true;
                return Some(Bytes::from(format!("event: {}\ndata: {{}}\n\n", event::REPLACED)));
            }
            Next::Frame(seq, frame) => {
                *after = seq;
                return Some(frame.bytes());
            }
            Next::Nothing { busy } => busy,
        };
        let comment_at = last + if busy { BUSY } else { *idle };
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep_until(comment_at) => return Some(COMMENT),
            _ = stopping.wait_for(|stop| *stop) => return None,
        }
    }
}

fn hello(app: &Shared) -> Bytes {
    let hello = Hello { server: env!("CARGO_PKG_VERSION").to_owned(), epoch: app.epoch.clone() };
    let data = serde_json::to_string(&hello).unwrap_or_default();
    Bytes::from(format!("event: {}\ndata: {data}\n\n", event::HELLO))
}
