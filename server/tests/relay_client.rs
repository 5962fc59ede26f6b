//! The built server and the real client: a host joins, pairs a device, asks and is answered.

use countersign_protocol::api::{Post, SignedCard};
use countersign_protocol::card::{self, VerifiedCard};
use countersign_protocol::digest;
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{Card, Envelope, Host, MessageType, Sealed};
use countersign_protocol::pairing::{HostPairing, PhonePairing, Ticket};
use countersign_protocol::seal::{self, Recipient};
use countersign_relay_client::{Event, Events, RelayClient, RelayError, Server, Slot};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const ID: &str = "00112233445566778899aabbccddeeff";

struct Running {
    child: Child,
    origin: String,
    database: PathBuf,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("server.db");
        let mut child = server(&database, "serve")
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out: Box<dyn std::io::Read + Send> =
            Box::new(std::io::Read::chain(child.stderr.take().unwrap(), child.stdout.take().unwrap()));
        let mut lines = BufReader::new(out).lines();
        let origin = loop {
            let line = lines.next().expect("it says where it listens").unwrap();
            if let Some((_, origin)) = line.split_once(" as ") {
                break origin.split(": ").next().unwrap().to_owned();
            }
        };
        // Whatever it says later must find a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, origin, database, _folder: folder }
    }

    fn token(&self) -> String {
        let output = server(&self.database, "token").arg("--quiet").output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn client(&self, key: &Arc<SigningKey>) -> Arc<RelayClient> {
        let server = Server { origin: self.origin.clone(), ca_pem: None };
        Arc::new(RelayClient::new(server, key.clone()).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(database: &Path, command: &str) -> Command {
    let mut server = Command::new(env!("CARGO_BIN_EXE_countersign-server"));
    server.arg(command).arg("--database").arg(database);
    server
}

fn signed_card(key: &SigningKey, seal: &SealKey) -> SignedCard {
    use base64ct::{Base64, Encoding};
    let card = Card {
        version: 1,
        key: key.public_key().to_line(),
        seal: Base64::encode_string(&seal.public()),
        serial: 1,
        name: "phone".into(),
    };
    card::sign(key, &card).unwrap()
}

async fn sealed_event(events: &mut Events) -> Sealed {
    let next = async {
        loop {
            match events.next().await.unwrap() {
                Event::Message(sealed) | Event::Decision(sealed) => return sealed,
                Event::Hello(_) | Event::KeepAlive => {}
            }
        }
    };
    timeout(Duration::from_secs(5), next).await.expect("the event comes")
}

fn message(kind: MessageType, from: &SigningKey, to: &str, recipient: &Recipient, body: &[u8]) -> Sealed {
    let envelope = Envelope {
        version: 1,
        message_type: kind,
        from: from.public_key().id(),
        to: to.into(),
        id: ID.into(),
    };
    seal::seal(kind, from.public_key(), recipient, &envelope, body, "").unwrap()
}

/// Pairs through the mailbox, and gives the card that the host has from then on.
async fn pair(
    host: (&RelayClient, &SigningKey),
    device: (&RelayClient, &SignedCard, &SealKey),
    origin: &str,
) -> VerifiedCard {
    let named = Host { name: "db-1".into(), key: host.1.public_key().to_line() };
    let mut here = HostPairing::new(origin, named, "alice").unwrap();
    let mailbox = here.mailbox();
    let refused = device.0.register(&mailbox, device.1).await.unwrap_err();
    assert!(matches!(refused, RelayError::Status { status: 403, .. }), "nobody has opened it: {refused}");
    host.0.open_mailbox(&mailbox).await.unwrap();
    let ticket = Ticket::parse(&here.ticket().link()).unwrap();
    let mut there = PhonePairing::new(ticket, device.1).unwrap();
    device.0.register(&mailbox, device.1).await.unwrap();
    device.0.post_first(&mailbox, there.first()).await.unwrap();
    let first = host.0.mails(&mailbox, Slot::First, 0, 5).await.unwrap();
    let second = here.receive(&first[0]).unwrap();
    host.0.put_mail(&mailbox, Slot::Second, &second).await.unwrap();
    let second = device.0.mails(&mailbox, Slot::Second, 0, 5).await.unwrap();
    let shown = there.reveal(&second[0]).unwrap();
    let card = here.check(&shown.code).unwrap();
    host.0.put_mail(&mailbox, Slot::Third, &here.receipt(host.1, 1).unwrap()).await.unwrap();
    let third = device.0.mails(&mailbox, Slot::Third, 0, 5).await.unwrap();
    assert_eq!(there.receipt(device.2, &third[0]).unwrap().host_key, *host.1.public_key());
    host.0.close_mailbox(&mailbox).await.unwrap();
    card
}

#[tokio::test]
async fn a_request_goes_out_and_its_decision_comes_back() {
    let running = Running::start();
    let (host_key, device_key) = (Arc::new(SigningKey::generate()), Arc::new(SigningKey::generate()));
    let (seal_key, reply_key) = (SealKey::generate(), SealKey::generate());
    let (host, device) = (running.client(&host_key), running.client(&device_key));

    let stranger = host.directory().await.unwrap_err();
    assert!(matches!(stranger, RelayError::Status { status: 403, .. }), "{stranger}");
    assert!(host.join("not a token", "db-1").await.is_err());
    let token = running.token();
    host.join(&token, "db-1").await.unwrap();
    host.join(&token, "db-1").await.unwrap();
    let other = running.client(&Arc::new(SigningKey::generate()));
    assert_eq!(other.join(&token, "evil").await.unwrap_err().code(), Some("token-used"));

    let card = signed_card(&device_key, &seal_key);
    let card = pair((&host, &host_key), (&device, &card, &seal_key), &running.origin).await;
    let directory = host.directory().await.unwrap();
    assert_eq!(card::verify(&directory.devices[0]).unwrap(), card);
    assert_eq!(device.hosts().await.unwrap().hosts[0].name, "db-1");

    let (mut at_host, mut at_device) = (host.events().await.unwrap(), device.events().await.unwrap());
    assert!(!at_host.is_polling() && !at_device.is_polling());
    let request = message(MessageType::Request, &host_key, &card.key.id(), &card.recipient(), b"{}");
    let posted = host.post(&Post { messages: vec![request.clone()], ttl: 60, ring: true }).await.unwrap();
    assert_eq!((posted.listening, posted.unknown.len()), (1, 0));
    let came = sealed_event(&mut at_device).await;
    assert_eq!(came, request);
    let opened =
        seal::open(MessageType::Request, &seal_key, card.hash, host_key.public_key(), &came).unwrap();
    assert_eq!(opened.body, b"{}");

    let recipient = Recipient::reply_key(reply_key.public());
    let decision =
        message(MessageType::Decision, &device_key, &host_key.public_key().id(), &recipient, b"[]");
    device.post_decision(&decision).await.unwrap();
    let came = sealed_event(&mut at_host).await;
    let hash = digest::sha256(&reply_key.public());
    let opened = seal::open(MessageType::Decision, &reply_key, hash, device_key.public_key(), &came).unwrap();
    assert_eq!(opened.body, b"[]");

    host.unlink(&card.key.id()).await.unwrap();
    let posted = host.post(&Post { messages: vec![request], ttl: 60, ring: true }).await.unwrap();
    assert_eq!(posted.unknown, [card.key.id()]);
}

#[tokio::test]
async fn a_server_that_stops_is_noticed_and_found_again_refusing() {
    let running = Running::start();
    let key = Arc::new(SigningKey::generate());
    let host = running.client(&key);
    host.join(&running.token(), "db-1").await.unwrap();
    let mut events = host.events().await.unwrap();
    assert!(matches!(events.next().await, Ok(Event::Hello(_))));
    drop(running);
    let ended = timeout(Duration::from_secs(1), events.next()).await.expect("the end is noticed at once");
    assert!(ended.unwrap_err().is_outage());
    assert!(matches!(host.events().await.unwrap_err(), RelayError::Refused { .. }));
}

/// Two machines that were made from one image.
#[tokio::test]
async fn who_shares_a_key_is_told_when_the_other_takes_the_stream() {
    let running = Running::start();
    let key = Arc::new(SigningKey::generate());
    let (one, other) = (running.client(&key), running.client(&key));
    one.join(&running.token(), "web1").await.unwrap();
    let mut first = one.events().await.unwrap();
    assert!(matches!(first.next().await, Ok(Event::Hello(_))));
    let mut second = other.events().await.unwrap();
    assert!(matches!(second.next().await, Ok(Event::Hello(_))));
    let told = timeout(Duration::from_secs(5), first.next()).await.expect("it hears at once");
    assert_eq!(told.unwrap_err(), RelayError::Replaced { origin: running.origin.clone() });
}
