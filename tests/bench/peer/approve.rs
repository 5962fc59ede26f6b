//! A paired device that approves every request as soon as it has believed it, and its list where it has one; or only
//! tells what comes.

use crate::{Outcome, clock, say};
use countersign_cli::approver::inbox::Verified;
use countersign_cli::approver::letter::{self, Letter, Saying};
use countersign_cli::approver::store::{Device, PinnedHost, Store};
use countersign_protocol::list;
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
                let Some(verified) = read(&sealed, &device, store.hosts(), &entry.origin, answers)? else {
                    continue;
                };
                if let Some(list) = &verified.request.list {
                    let id = &verified.request.id;
                    list::open(list, id, &client.list(&verified.host, id).await?)?;
                }
                counter += 1;
                let saying = Saying { answer: Answer::Approve, lease: None, counter, now: now() };
                let (answer, _) = letter::decide(&verified, &saying, &device)?;
                client.post_decision(&answer).await?;
            }
            Event::Decision(_) | Event::KeepAlive => {}
        }
    }
}

/// A request that is to be answered; tells what came where it is not.
fn read(
    sealed: &Sealed,
    device: &Device,
    hosts: &[PinnedHost],
    server: &str,
    answers: bool,
) -> Outcome<Option<Box<Verified>>> {
    match letter::read(sealed, device, hosts, server)? {
        Letter::Request(verified) if answers => return Ok(Some(verified)),
        Letter::Request(verified) => {
            say(&json!({"event": "request", "id": verified.request.id, "at": clock::monotonic()}));
        }
        Letter::Closed { key, .. } if !answers => {
            say(&json!({"event": "closed", "id": key.id, "at": clock::monotonic()}));
        }
        Letter::Closed { .. } | Letter::Notice { .. } | Letter::Unknown => {}
    }
    Ok(None)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
