//! Bodies of the HTTP interface, in both directions.

use countersign_fuzz::{Target, actors, input::Input};
use countersign_protocol::api::*;
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{MessageType, Sealed};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

pub(crate) const TARGET: Target = Target { name: "api", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let json = input.rest();
    match kind {
        b'a' => read::<ChallengeFor>(json),
        b'b' => read::<Challenge>(json),
        b'c' => read::<AuthStatement>(json),
        b'd' => read::<Proof>(json),
        b'e' => read::<Token>(json),
        b'f' => read::<Join>(json),
        b'g' => read::<SignedCard>(json),
        b'h' => read::<Register>(json),
        b'i' => read::<AppInfo>(json),
        b'j' => read::<Subscription>(json),
        b'k' => read::<Directory>(json),
        b'l' => read::<Hosts>(json),
        b'm' => read::<Post>(json),
        b'n' => read::<Posted>(json),
        b'o' => read::<PostDecision>(json),
        b'p' => read::<Hello>(json),
        b'q' => read::<Polled>(json),
        b'r' => read::<MailboxInfo>(json),
        b's' => read::<Mail>(json),
        b't' => read::<Mails>(json),
        _ => read::<Problem>(json),
    }
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) {
    let Ok(body) = serde_json::from_slice::<T>(json) else { return };
    let written = serde_json::to_vec(&body).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("its own"), body);
}

fn seeds() -> Vec<Vec<u8>> {
    let text = || "x".to_owned();
    let request = actors::signed_request();
    let sealed: Sealed = actors::sealed(MessageType::Request, actors::ID, &request.bytes, &request.signature)
        .expect("it fits");
    let proof = Proof { statement: text(), signature: request.signature };
    let key = actors::device().public_key().to_line();
    let host = KnownHost { id: actors::host().public_key().id(), name: "db-1".into() };
    vec![
        seed(b"a", &ChallengeFor { key: key.clone() }),
        seed(b"b", &Challenge { nonce: text(), expires_at: u64::MAX }),
        seed(b"c", &AuthStatement { origin: text(), key, nonce: text(), expires_at: 1 }),
        seed(b"d", &proof),
        seed(b"e", &Token { token: text(), expires_in: 600 }),
        seed(b"f", &Join { token: text(), name: text(), proof }),
        seed(b"g", &actors::signed_card()),
        seed(b"h", &Register { mailbox: actors::ID.into(), card: actors::signed_card() }),
        seed(b"i", &AppInfo { server: text(), vapid: text() }),
        seed(b"j", &Subscription { endpoint: text(), p256dh: text(), auth: text() }),
        seed(b"k", &Directory { devices: vec![actors::signed_card()] }),
        seed(b"l", &Hosts { hosts: vec![host] }),
        seed(b"m", &Post { messages: vec![sealed.clone()], ttl: 60, ring: true }),
        seed(b"n", &Posted { listening: 1, unknown: vec![text()] }),
        seed(b"o", &PostDecision { decision: sealed.clone() }),
        seed(b"p", &Hello { server: text(), epoch: text() }),
        seed(b"q", &Polled { cursor: text(), events: vec![PolledEvent { event: text(), data: sealed }] }),
        seed(b"r", &MailboxInfo { host: text() }),
        seed(b"s", &Mail { data: text() }),
        seed(b"t", &Mails { mails: vec![text()] }),
        seed(b"u", &Problem { code: text(), message: text() }),
    ]
}

fn seed(kind: &[u8], body: &impl Serialize) -> Vec<u8> {
    [kind, &serde_json::to_vec(body).expect("JSON")].concat()
}
