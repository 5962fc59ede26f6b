//! What the server has to tell: one event stream, or long polls where a proxy holds streams back.

use crate::RelayError;
use crate::call;
use crate::client::RelayClient;
use crate::sse::{Item, Parser};
use crate::transport::Pace;
use countersign_protocol::api::{Hello, MAX_POLL, Polled, event};
use countersign_protocol::message::Sealed;
use reqwest::{Method, Response};
use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The first event has to come within this time.
const FIRST: Duration = Duration::from_secs(3);
/// A stream that brings no byte for this long is dead: comments come every 20 s.
const SILENCE: Duration = Duration::from_secs(50);
/// The same of a calm client, and the seconds between comments that it asks for: two may be missed. A server of an earlier version does
/// not heed that.
const CALM_SILENCE: Duration = Duration::from_secs(90);
const CALM_COMMENTS: u32 = 40;
/// Beyond the wait itself, a long poll has this long.
const SLACK: Duration = Duration::from_secs(5);
/// Long polls that bring nothing and do not wait either are not asked for more often.
const POLL_PAUSE: Duration = Duration::from_millis(500);
/// Who polls tries the stream again after this long: what held it back may have been a moment's.
const STREAM_AGAIN: Duration = Duration::from_secs(300);
/// Most events in one long poll.
const MAX_EVENTS: usize = 1000;

/// What the server tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Connected: the server holds what follows, and may have forgotten all else.
    Hello(Hello),
    /// A sealed request or closed, for a device.
    Message(Sealed),
    /// A sealed decision, for a host.
    Decision(Sealed),
    /// Still connected.
    KeepAlive,
}

/// Events as they come.
pub struct Events {
    client: Arc<RelayClient>,
    source: Source,
    ready: VecDeque<Event>,
}

enum Source {
    Stream {
        response: Response,
        parser: Parser,
    },
    Poll {
        cursor: String,
        asked: Instant,
        /// When a stream was tried last.
        tried: Instant,
    },
}

pub(crate) async fn open(client: &Arc<RelayClient>) -> Result<Events, RelayError> {
    // Whoever does not even give a token is not reached by long poll either.
    let token = client.token().await?;
    match open_with(client, &token).await {
        Err(RelayError::Status { status: 401, .. }) => {
            client.drop_token(&token).await;
            let token = client.token().await?;
            open_with(client, &token).await
        }
        result => result,
    }
}

async fn open_with(client: &Arc<RelayClient>, token: &str) -> Result<Events, RelayError> {
    match timeout(FIRST, open_stream(client, token)).await {
        Ok(result) => result,
        Err(_) => {
            // A stream that is held back, or a connection that is dead: neither is to be used again.
            client.transport().reset();
            open_poll(client).await
        }
    }
}

async fn open_stream(client: &Arc<RelayClient>, token: &str) -> Result<Events, RelayError> {
    let transport = client.transport();
    let path = match client.pace() {
        Pace::Lively => "/v1/stream".to_owned(),
        Pace::Calm => format!("/v1/stream?comments={CALM_COMMENTS}"),
    };
    let response = call::send::<()>(transport, Method::GET, &path, Some(token), None).await?;
    let mut events = Events {
        client: client.clone(),
        source: Source::Stream { response, parser: Parser::default() },
        ready: VecDeque::new(),
    };
    let first = loop {
        if let Some(first) = events.ready.pop_front() {
            break first;
        }
        events.read().await?;
    };
    if !matches!(first, Event::Hello(_)) {
        return Err(call::garbage(transport, "a stream that does not begin with hello"));
    }
    events.ready.push_front(first);
    Ok(events)
}

/// Comes back with a stream once there is one; tried once, and beside a poll, so that nothing waits for it.
async fn stream_again(client: &Arc<RelayClient>) -> Events {
    let opening = async { open_stream(client, &client.token().await?).await };
    match timeout(FIRST, opening).await {
        Ok(Ok(events)) => events,
        _ => pending().await,
    }
}

async fn open_poll(client: &Arc<RelayClient>) -> Result<Events, RelayError> {
    let polled = poll(client, None).await?;
    let mut events = Events {
        client: client.clone(),
        source: Source::Poll { cursor: String::new(), asked: Instant::now(), tried: Instant::now() },
        ready: VecDeque::new(),
    };
    events.ready.push_back(Event::Hello(Hello { server: "(by long poll)".into(), epoch: String::new() }));
    events.take(polled)?;
    Ok(events)
}

async fn poll(client: &RelayClient, after: Option<&str>) -> Result<Polled, RelayError> {
    let (wait, query) = match after {
        None => (0, String::new()),
        Some(cursor) => (MAX_POLL, format!("&after={cursor}")),
    };
    let path = format!("/v1/poll?wait={wait}{query}");
    let limit = SLACK + Duration::from_secs(wait.into());
    let bytes = client.call_within::<()>(limit, Method::GET, &path, None).await?;
    call::parse(client.transport(), &bytes)
}

impl Events {
    /// The next event. Safe to drop and call again.
    ///
    /// # Errors
    /// Why no more will come: open the events anew.
    pub async fn next(&mut self) -> Result<Event, RelayError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            match &mut self.source {
                Source::Stream { .. } => self.read().await?,
                Source::Poll { cursor, asked, tried } => {
                    if asked.elapsed() < POLL_PAUSE {
                        sleep(POLL_PAUSE).await;
                    }
                    let again = tried.elapsed() >= STREAM_AGAIN;
                    if again {
                        *tried = Instant::now();
                    }
                    let (client, cursor, began) = (self.client.clone(), cursor.clone(), Instant::now());
                    let polled = tokio::select! {
                        stream = stream_again(&client), if again => {
                            *self = stream;
                            continue;
                        }
                        polled = poll(&client, Some(&cursor)) => polled?,
                    };
                    if let Source::Poll { asked, .. } = &mut self.source {
                        *asked = began;
                    }
                    self.take(polled)?;
                    if self.ready.is_empty() {
                        self.ready.push_back(Event::KeepAlive);
                    }
                }
            }
        }
    }

    /// Whether events come by long poll.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        matches!(self.source, Source::Poll { .. })
    }

    /// Reads one chunk of the stream.
    async fn read(&mut self) -> Result<(), RelayError> {
        let transport = self.client.transport();
        let Source::Stream { response, parser } = &mut self.source else { return Ok(()) };
        let silence = match self.client.pace() {
            Pace::Lively => SILENCE,
            Pace::Calm => CALM_SILENCE,
        };
        let chunk = match timeout(silence, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => {
                let detail = "the server closed the stream".to_owned();
                return Err(RelayError::Connection { origin: transport.origin().to_owned(), detail });
            }
            Ok(Err(error)) => return Err(RelayError::from_http(transport.origin(), &error)),
            Err(_) => {
                transport.reset();
                return Err(RelayError::Timeout { origin: transport.origin().to_owned() });
            }
        };
        parser.push(&chunk);
        let broken = |_| call::garbage(transport, "a broken event stream");
        while let Some(item) = parser.next().map_err(broken)? {
            let event = match item {
                Item::Comment => Event::KeepAlive,
                Item::Event { name, data } if name == event::HELLO => {
                    Event::Hello(call::parse(transport, data.as_bytes())?)
                }
                Item::Event { name, data } if name == event::MESSAGE => {
                    Event::Message(call::parse(transport, data.as_bytes())?)
                }
                Item::Event { name, data } if name == event::DECISION => {
                    Event::Decision(call::parse(transport, data.as_bytes())?)
                }
                Item::Event { name, .. } if name == event::REPLACED => {
                    return Err(RelayError::Replaced { origin: transport.origin().to_owned() });
                }
                // Events of a later server.
                Item::Event { .. } => Event::KeepAlive,
            };
            self.ready.push_back(event);
        }
        Ok(())
    }

    fn take(&mut self, polled: Polled) -> Result<(), RelayError> {
        if !is_sound(&polled) {
            return Err(call::garbage(self.client.transport(), "an unusable long poll"));
        }
        if let Source::Poll { cursor, .. } = &mut self.source {
            *cursor = polled.cursor;
        }
        self.ready.extend(polled.events.into_iter().map(|polled| match polled.event.as_str() {
            event::MESSAGE => Event::Message(polled.data),
            event::DECISION => Event::Decision(polled.data),
            _ => Event::KeepAlive,
        }));
        Ok(())
    }
}

/// Whether a poll can be gone on from: its cursor becomes a part of the next one's address.
pub(crate) fn is_sound(polled: &Polled) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    polled.cursor.len() <= 128 && polled.cursor.bytes().all(plain) && polled.events.len() <= MAX_EVENTS
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({:?}, polling: {})", self.client, self.is_polling())
    }
}
