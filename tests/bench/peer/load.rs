//! Whole round trips through a server: a host's request, a device's decision, the host's end. What is sent is sealed in
//! form only: a server cannot tell, and this program is not to be slower than the server.

use crate::{Outcome, clock, say};
use base64ct::{Base64, Encoding};
use countersign_protocol::api::Post;
use countersign_protocol::card;
use countersign_protocol::digest::hex;
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{Card, Envelope, MessageType, Sealed, VERSION};
use countersign_protocol::random;
use countersign_relay_client::{Event, RelayClient, Server};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::sleep;

/// Key, padded plaintext and tag.
const SEALED: usize = 32 + 3072 + 16;
/// Before it counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// One host with one device.
struct Pair {
    host: Arc<RelayClient>,
    device: Arc<RelayClient>,
    host_id: String,
    device_id: String,
}

/// What is measured.
struct Trips {
    counting: Cell<bool>,
    over: Cell<bool>,
    nanoseconds: RefCell<Vec<i64>>,
    under_way: Semaphore,
}

/// Makes pairs, each with a join token of that file, and lets `at_once` of them in turn do a trip.
pub(crate) async fn run(origin: &str, tokens: &str, at_once: &str, seconds: &str) -> Outcome {
    let seconds = Duration::from_secs(seconds.parse()?);
    let trips = Rc::new(Trips {
        counting: Cell::new(false),
        over: Cell::new(false),
        nanoseconds: RefCell::default(),
        under_way: Semaphore::new(at_once.parse()?),
    });
    let mut pairs = Vec::new();
    for token in std::fs::read_to_string(tokens)?.lines() {
        pairs.push(pair(origin, token).await?);
    }
    LocalSet::new().run_until(measure(pairs, trips, seconds)).await
}

async fn measure(pairs: Vec<Pair>, trips: Rc<Trips>, seconds: Duration) -> Outcome {
    let mut tasks = tokio::task::JoinSet::new();
    for pair in pairs {
        let (device, device_id, host_id) =
            (Arc::clone(&pair.device), pair.device_id.clone(), pair.host_id.clone());
        tasks.spawn_local(async move { said(answer(device, device_id, host_id).await) });
        let trips = Rc::clone(&trips);
        tasks.spawn_local(async move { said(ask(pair, trips).await) });
    }
    sleep(WARM_UP).await;
    say(&json!({"event": "begin"}));
    trips.counting.set(true);
    sleep(seconds).await;
    trips.counting.set(false);
    let mut times = trips.nanoseconds.take();
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| *time as f64 / 1e6);
    say(
        &json!({"event": "end", "trips": times.len(), "seconds": seconds.as_secs(), "p50": at(50), "p99": at(99)}),
    );
    trips.over.set(true);
    // The trips under way end first; devices wait for ever.
    sleep(Duration::from_millis(300)).await;
    tasks.shutdown().await;
    Ok(())
}

fn said(result: Outcome) {
    if let Err(error) = result {
        eprintln!("bench-peer: {error}");
    }
}

/// A host that joins and a device that it links.
async fn pair(origin: &str, token: &str) -> Outcome<Pair> {
    let (host_key, device_key) = (SigningKey::generate(), SigningKey::generate());
    let (host_id, device_id) = (host_key.public_key().id(), device_key.public_key().id());
    let signed = signed_card(&device_key)?;
    let host = client(origin, host_key)?;
    host.join(token, "bench").await?;
    let mailbox = hex(&random::bytes::<16>());
    host.open_mailbox(&mailbox).await?;
    let device = client(origin, device_key)?;
    device.register(&mailbox, &signed).await?;
    host.close_mailbox(&mailbox).await?;
    Ok(Pair { host, device, host_id, device_id })
}

pub(crate) fn client(origin: &str, key: SigningKey) -> Outcome<Arc<RelayClient>> {
    let server = Server { origin: origin.to_owned(), ca_pem: None };
    Ok(Arc::new(RelayClient::new(server, Arc::new(key))?))
}

/// A device's card.
pub(crate) fn signed_card(key: &SigningKey) -> Outcome<countersign_protocol::api::SignedCard> {
    let card = Card {
        version: VERSION,
        key: key.public_key().to_line(),
        seal: Base64::encode_string(&SealKey::generate().public()),
        serial: 1,
        name: "bench".to_owned(),
    };
    Ok(card::sign(key, &card)?)
}

/// The host's side, again and again.
async fn ask(pair: Pair, trips: Rc<Trips>) -> Outcome {
    let mut events = pair.host.events().await?;
    while !trips.over.get() {
        let turn = trips.under_way.acquire().await?;
        let id = hex(&random::bytes::<16>());
        let began = clock::monotonic();
        post(&pair, MessageType::Request, &id).await?;
        loop {
            if let Event::Decision(sealed) = events.next().await?
                && envelope(&sealed)?.id == id
            {
                break;
            }
        }
        if trips.counting.get() {
            trips.nanoseconds.borrow_mut().push(clock::monotonic() - began);
        }
        post(&pair, MessageType::Closed, &id).await?;
        drop(turn);
    }
    Ok(())
}

async fn post(pair: &Pair, kind: MessageType, id: &str) -> Outcome {
    let message = sealed(kind, &pair.host_id, &pair.device_id, id)?;
    let post = Post { messages: vec![message], ttl: 60, ring: kind == MessageType::Request };
    pair.host.post(&post).await?;
    Ok(())
}

/// The device's side.
async fn answer(device: Arc<RelayClient>, device_id: String, host_id: String) -> Outcome {
    let mut events = device.events().await?;
    loop {
        let Event::Message(message) = events.next().await? else { continue };
        let about = envelope(&message)?;
        if about.message_type == MessageType::Request {
            device.post_decision(&sealed(MessageType::Decision, &device_id, &host_id, &about.id)?).await?;
        }
    }
}

fn sealed(kind: MessageType, from: &str, to: &str, id: &str) -> Outcome<Sealed> {
    let envelope = Envelope {
        version: VERSION,
        message_type: kind,
        from: from.to_owned(),
        to: to.to_owned(),
        id: id.to_owned(),
    };
    Ok(Sealed { envelope: serde_json::to_string(&envelope)?, sealed: Base64::encode_string(&[0x5a; SEALED]) })
}

fn envelope(sealed: &Sealed) -> Outcome<Envelope> {
    Ok(serde_json::from_str(&sealed.envelope)?)
}
