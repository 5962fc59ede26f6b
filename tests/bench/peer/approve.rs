//! A paired device that approves every request as soon as it has believed it, or only tells what comes.

use crate::{Outcome, clock, say};
use countersign_cli::approver::letter::{self, Letter, Saying};
use countersign_cli::approver::store::{Device, PinnedHost, Store};
use countersign_protocol::message::{Answer, Sealed};
use countersign_relay_client::{Event, RelayClient, Server};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Answers with the device of `countersign approve --home HOME`, which must not run meanwhile.
pub(crate) async fn run(home: &str, answers: bool) -> Outcome {
    let store = Store::open(Path::new(home)).map_err(|failure| failure.message)?;
    let no_passphrase = |place: &str| panic!("{place} has a passphrase");
    let device = store.device(None, &no_passphrase).map_err(|failure| failure.message)?;
    let device = device.ok_or("no device in that directory")?;
    let entry = store.servers().first().ok_or("the device is not paired")?;
    let ca_pem = entry.ca.clone().map(String::into_bytes);
    let server = Server { origin: entry.origin.clone(), ca_pem };
    let client = Arc::new(RelayClient::new(server, device.signer.clone())?);
    let mut events = client.events().await?;
    // Above all that the command has used.
    let mut counter = now() * 1000;
    loop {
        match events.next().await? {
            Event::Hello(_) => say(&json!({"event": "connected"})),
            Event::Message(sealed) => {
                counter += 1;
                let answer = read(&sealed, &device, store.hosts(), &entry.origin, answers, counter)?;
                if let Some(answer) = answer {
                    client.post_decision(&answer).await?;
                }
            }
            Event::Decision(_) | Event::KeepAlive => {}
        }
    }
}

/// Tells what came, and the answer to a request.
fn read(
    sealed: &Sealed,
    device: &Device,
    hosts: &[PinnedHost],
    server: &str,
    answers: bool,
    counter: u64,
) -> Outcome<Option<Sealed>> {
    match letter::read(sealed, device, hosts, server)? {
        Letter::Request(verified) => {
            let answer = answers
                .then(|| {
                    let saying = Saying { answer: Answer::Approve, lease: None, counter, now: now() };
                    letter::decide(&verified, &saying, device)
                })
                .transpose()?;
            if !answers {
                say(&json!({"event": "request", "id": verified.request.id, "at": clock::monotonic()}));
            }
            Ok(answer.map(|(sealed, _)| sealed))
        }
        Letter::Closed { key, .. } => {
            if !answers {
                say(&json!({"event": "closed", "id": key.id, "at": clock::monotonic()}));
            }
            Ok(None)
        }
        Letter::Notice { .. } | Letter::Unknown => Ok(None),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
