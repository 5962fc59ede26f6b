//! Long polls: the same as a stream, for networks that hold streams back.

use crate::app::Shared;
use crate::directory::Peer;
use crate::envelope::Frame;
use crate::problem::Fault;
use countersign_protocol::api::MAX_POLL;
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::Instant;

/// Most messages in one answer.
const MOST: usize = 64;

/// A `Polled` whose messages are written as they stand.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    cursor: String,
    events: Vec<Event>,
}

#[derive(Debug, Serialize)]
struct Event {
    event: &'static str,
    data: Box<RawValue>,
}

/// A poll that counts while it waits.
struct Waiting {
    app: Shared,
    peer: Peer,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.app.messages().end_poll(self.peer);
    }
}

/// Waits until something is there after `cursor`, at most `wait` seconds.
pub(crate) async fn poll(app: Shared, peer: Peer, cursor: &str, wait: u32) -> Result<Answer, Fault> {
    let after = parse(cursor, &app.epoch);
    let until = Instant::now() + Duration::from_secs(u64::from(wait.min(MAX_POLL)));
    let begun = app.messages().begin_poll(peer);
    let wake = begun.ok_or_else(|| {
        Fault::limit("too many polls of this key wait already; use one at a time", Duration::from_secs(1))
    })?;
    let waiting = Waiting { app, peer };
    let mut stopping = waiting.app.stopping.clone();
    loop {
        let woken = wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let (frames, seq) = waiting.app.messages().poll(peer, after, MOST);
        if !frames.is_empty() || Instant::now() >= until || *stopping.borrow() {
            let cursor = format!("{}-{seq}", waiting.app.epoch);
            return Ok(Answer { cursor, events: frames.iter().filter_map(event).collect() });
        }
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep_until(until) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }
}

fn event(frame: &Frame) -> Option<Event> {
    let data = RawValue::from_string(frame.data()?.to_owned()).ok()?;
    Some(Event { event: frame.event(), data })
}

/// The number in a cursor of this epoch; any other begins at the beginning.
fn parse(cursor: &str, epoch: &str) -> u64 {
    let number = cursor.strip_prefix(epoch).and_then(|rest| rest.strip_prefix('-'));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cursor_of_this_epoch_counts() {
        assert_eq!(parse("abcd-17", "abcd"), 17);
        for other in ["", "abcd", "abcd-", "abce-17", "abcd-x", "abcd--1", "abcd-99999999999999999999", "17"]
        {
            assert_eq!(parse(other, "abcd"), 0, "{other}");
        }
    }
}
