//! What listens on SSH_AUTH_SOCK, which may be another machine's.

use countersign_cli::approver::agent::AgentKey;
use countersign_fuzz::{Target, actors, check, input::Input, place::Place};
use countersign_protocol::keys::Signer;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Sender, channel};

pub(crate) const TARGET: Target = Target { name: "agent_answers", run, seeds };

struct Agent {
    place: Place,
    answers: Sender<Vec<u8>>,
}

/// Reads a call, sends what it is given, and closes.
fn agent() -> Agent {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("agent")).expect("a socket");
    let (answers, queue) = channel::<Vec<u8>>();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut length = [0; 4];
            let Ok(answer) = queue.recv() else { return };
            if stream.read_exact(&mut length).is_ok() {
                let mut call = vec![0; u32::from_be_bytes(length) as usize];
                let _ = stream.read_exact(&mut call).and_then(|()| stream.write_all(&answer));
            }
        }
    });
    Agent { place, answers }
}

fn run(data: &[u8]) {
    thread_local!(static AGENT: Agent = agent());
    let mut input = Input::new(data);
    let raw = input.byte() == b'r';
    let answer = |part: &[u8]| {
        let mut answer = Vec::new();
        if raw {
            answer.extend_from_slice(part)
        } else {
            actors::put_string(&mut answer, part)
        }
        answer
    };
    let at = input.below(data.len().max(1));
    let (first, second) = (input.take(at).to_vec(), input.rest());
    AGENT.with(|agent| {
        let socket = agent.place.path("agent");
        let wanted = actors::device().public_key().fingerprint();
        agent.answers.send(answer(&first)).expect("it listens");
        let key = match AgentKey::find(&socket, &wanted) {
            Ok(key) => key,
            Err(failure) => return check::is_inert(&failure.message),
        };
        assert_eq!(key.public_key().fingerprint(), wanted);
        agent.answers.send(answer(second)).expect("it listens");
        match key.sign(b"x") {
            Ok(signature) => assert_eq!(key.public_key().verify(b"x", &signature), Ok(())),
            Err(error) => check::is_inert(&error.to_string()),
        }
    });
}

fn seeds() -> Vec<Vec<u8>> {
    let key = actors::device();
    let mut identities = vec![12, 0, 0, 0, 2];
    for public in [actors::p256().public_key(), key.public_key()] {
        actors::put_string(&mut identities, public.blob());
        actors::put_string(&mut identities, b"comment");
    }
    let mut signature = vec![14];
    actors::put_string(&mut signature, &key.sign(b"x").expect("signed"));
    let at = u16::try_from(identities.len()).expect("short").to_be_bytes();
    vec![
        [&[b'e', at[0], at[1]][..], &identities, &signature].concat(),
        [&[b'e', at[0], at[1]][..], &identities, &[5]].concat(),
        b"r\0\x08\xff\xff\xff\xff\x0c\0\0\0".to_vec(),
        b"e\0\x05\x0c\xff\xff\xff\xff".to_vec(),
    ]
}
