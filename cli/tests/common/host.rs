//! A host, played by the test through the real client.

use super::{Approver, SOON, Server};
use base64ct::{Base64, Encoding};
use countersign_protocol::api::Post;
use countersign_protocol::card::VerifiedCard;
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{
    Approvals, Closed, ClosedOutcome, Confirm, Decision, Envelope, Host, Kind, MessageType, Remote,
    RemoteSource, Request, Sealed, VERSION,
};
use countersign_protocol::pairing::HostPairing;
use countersign_protocol::seal::{self, Recipient};
use countersign_protocol::signed::{SignedMessage, sign_message, verify_message};
use countersign_protocol::{digest, random};
use countersign_relay_client::{Event, Events, RelayClient, Server as Relay, Slot};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An open request at the host.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) message: SignedMessage,
    reply_key: SealKey,
}

/// A host, as far as the approver can see.
pub(crate) struct FakeHost {
    key: Arc<SigningKey>,
    name: String,
    client: Arc<RelayClient>,
    origin: String,
    card: Option<VerifiedCard>,
}

impl FakeHost {
    pub(crate) async fn new(server: &Server, name: &str) -> Self {
        let key = Arc::new(SigningKey::generate());
        let relay = Relay { origin: server.origin(), ca_pem: None };
        let client = Arc::new(RelayClient::new(relay, key.clone()).unwrap());
        client.join(&server.token(), name).await.unwrap();
        Self { key, name: name.into(), client, origin: server.origin(), card: None }
    }

    fn host(&self) -> Host {
        Host { name: self.name.clone(), key: self.key.public_key().to_line() }
    }

    /// The daemon's part of a pairing up to its answer; `start` gets the link and gives the approver.
    pub(crate) async fn meet(&mut self, start: impl FnOnce(&str) -> Approver) -> (HostPairing, Approver) {
        let mut pairing = HostPairing::new(&self.origin, self.host(), "alice").unwrap();
        let mailbox = pairing.mailbox();
        self.client.open_mailbox(&mailbox).await.unwrap();
        let approver = start(&pairing.ticket().link());
        let end = Instant::now() + SOON;
        let first = loop {
            if let Some(mail) = self.client.mails(&mailbox, Slot::First, 0, 5).await.unwrap().pop() {
                break mail;
            }
            assert!(Instant::now() < end, "no device came: {}", approver.said());
        };
        let second = pairing.receive(&first).unwrap();
        self.client.put_mail(&mailbox, Slot::Second, &second).await.unwrap();
        (pairing, approver)
    }

    /// All of a pairing.
    pub(crate) async fn pair(&mut self, start: impl FnOnce(&str) -> Approver) -> Approver {
        let (mut pairing, mut approver) = self.meet(start).await;
        let code = approver.wait("pairing-code")["code"].as_str().unwrap().to_owned();
        self.card = Some(pairing.check(&code).unwrap());
        let receipt = pairing.receipt(&*self.key, now()).unwrap();
        self.client.put_mail(&pairing.mailbox(), Slot::Third, &receipt).await.unwrap();
        approver
    }

    pub(crate) fn request(&self) -> (Request, SealKey) {
        let reply_key = SealKey::generate();
        let request = Request {
            version: VERSION,
            id: digest::hex(&random::bytes::<16>()),
            reply_key: Base64::encode_string(&reply_key.public()),
            host: self.host(),
            user: "alice".into(),
            uid: 1000,
            requester: None,
            service: "sshd".into(),
            kind: Kind::Login,
            command: None,
            action: None,
            detail: None,
            list: None,
            terminal: Some("ssh".into()),
            remote: Some(Remote { address: "192.0.2.7".into(), port: None, source: RemoteSource::Kernel }),
            ssh_key: None,
            context: None,
            issued_at: now(),
            expires_in: 60,
            confirm: Confirm::Code,
            lease_max: None,
            lease_uses: None,
            approvals: Approvals { needed: 1, from: vec!["alice".into()] },
        };
        (request, reply_key)
    }

    pub(crate) async fn ask(&self) -> Asked {
        let (request, reply_key) = self.request();
        let message = sign_message(&*self.key, &request).unwrap();
        let asked = Asked { request, message, reply_key };
        self.post_request(&asked).await;
        asked
    }

    pub(crate) async fn post_request(&self, asked: &Asked) {
        self.post(MessageType::Request, &asked.request.id, &asked.message).await;
    }

    /// Posts a message whose signature is another key's, in this host's envelope.
    pub(crate) async fn ask_forged(&self) {
        let (request, _) = self.request();
        let message = sign_message(&SigningKey::generate(), &request).unwrap();
        self.post(MessageType::Request, &request.id, &message).await;
    }

    pub(crate) async fn close(&self, asked: &Asked, outcome: ClosedOutcome) {
        let id = asked.request.id.clone();
        let closed =
            Closed { version: VERSION, id, request: asked.message.digest(), outcome, closed_at: now() };
        let message = sign_message(&*self.key, &closed).unwrap();
        self.post(MessageType::Closed, &asked.request.id, &message).await;
    }

    async fn post(&self, message_type: MessageType, id: &str, message: &SignedMessage) {
        let card = self.card.as_ref().unwrap();
        let key = self.key.public_key();
        let envelope =
            Envelope { version: VERSION, message_type, from: key.id(), to: card.key.id(), id: id.into() };
        let sealed =
            seal::seal(message_type, key, &card.recipient(), &envelope, &message.bytes, &message.signature)
                .unwrap();
        let post = Post { messages: vec![sealed], ttl: 120, ring: true };
        let posted = self.client.post(&post).await.unwrap();
        assert!(posted.unknown.is_empty(), "{posted:?}");
    }

    pub(crate) async fn events(&self) -> Events {
        let end = Instant::now() + SOON;
        loop {
            match self.client.events().await {
                Ok(events) => return events,
                Err(e) => assert!(Instant::now() < end, "{e}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The next decision on that request, verified as the daemon would.
    pub(crate) async fn decision(&self, events: &mut Events, asked: &Asked) -> Decision {
        let device = self.card.as_ref().unwrap().key.clone();
        let hash = Recipient::reply_key(asked.reply_key.public()).hash;
        let next = async {
            loop {
                let Event::Decision(sealed) = events.next().await.unwrap() else { continue };
                if id_of(&sealed) == asked.request.id {
                    return sealed;
                }
            }
        };
        let sealed = tokio::time::timeout(SOON, next).await.expect("a decision comes");
        let opened = seal::open(MessageType::Decision, &asked.reply_key, hash, &device, &sealed).unwrap();
        let decision: Decision = verify_message(&opened.body, &opened.signature, &device).unwrap().message;
        assert_eq!(decision.request, asked.message.digest());
        decision
    }
}

fn id_of(sealed: &Sealed) -> String {
    seal::peek(sealed).unwrap().id
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
