//! What answers the command where the daemon should listen.

use countersign_cli::manage_client::ManageClient;
use countersign_fuzz::{Target, check, input::Input, place::Place};
use countersign_protocol::frame::END;
use countersign_protocol::manage::{Call, CodesLeft, Devices, PairingAnswered, PairingStep, Status};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

pub(crate) const TARGET: Target = Target { name: "manage_answers", run, seeds };

struct Daemon {
    place: Place,
    answers: Sender<Vec<u8>>,
}

/// Reads a call, sends what it is given, and closes.
fn daemon() -> Daemon {
    let place = Place::new();
    let name = if nix::unistd::geteuid().is_root() { "pam.sock" } else { "self.sock" };
    let listener = UnixListener::bind(place.path(name)).expect("a socket");
    let (answers, queue) = channel::<Vec<u8>>();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            let Ok(answer) = queue.recv() else { return };
            let mut call = Vec::new();
            let _ = BufReader::new(&stream).read_until(END, &mut call);
            let _ = (&stream).write_all(&answer).and_then(|()| stream.shutdown(Shutdown::Both));
        }
    });
    Daemon { place, answers }
}

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() {
        b's' => ask::<Status>(input),
        b'd' => ask::<Devices>(input),
        b'p' => ask::<PairingStep>(input),
        b'a' => ask::<PairingAnswered>(input),
        _ => ask::<CodesLeft>(input),
    }
}

fn ask<T: DeserializeOwned + Debug>(mut input: Input<'_>) {
    thread_local!(static DAEMON: Daemon = daemon());
    let repeat = usize::from(input.byte()) % 4 * 6000;
    let answer = [&vec![b' '; repeat], input.rest()].concat();
    DAEMON.with(|daemon| {
        daemon.answers.send(answer).expect("it listens");
        let mut client = ManageClient::connect(&daemon.place.path("")).expect("it listens");
        if let Err(failure) = client.call::<T>(&Call::Status {}, Duration::from_secs(10)) {
            check::is_inert(&failure.message);
        }
    });
}

fn seeds() -> Vec<Vec<u8>> {
    let status = "{\"parameters\":{\"version\":\"1\",\"host\":\"h\",\"host_key\":\"k\",\"server\":\"s\",\"connected\":true,\
                  \"waiting\":0,\"devices\":1,\"config_faults\":[\"x\"]}}\0";
    [
        format!("s\0{status}"),
        format!("s\x03{status}"),
        "d\0{\"error\":\"org.countersign.Manage.NotFound\",\"parameters\":{\"message\":\"\\u001b[2J\\n\"}}\0".into(),
        "p\0{\"parameters\":{\"step\":\"opened\",\"link\":\"l\",\"ticket\":\"t\",\"expires_in\":300}}\0more\0".into(),
        "a\x01{\"parameters\":".into(),
        "c\0{\"parameters\":{\"left\":3}}\0".into(),
    ]
    .map(String::into_bytes)
    .into()
}
