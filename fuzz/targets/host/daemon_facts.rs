//! What a caller on the host says of a login, up to the request that a phone gets.

use countersign_fuzz::{Target, actors, check, input::Input};
use countersign_protocol::frame;
use countersign_protocol::keys::Signer;
use countersign_protocol::login::{Action, Begin, Call, MAX_NAME, Peer, Session, Stage, VERSION};
use countersign_protocol::message::{Confirm, MAX_BODY};
use countersignd::app::HostIdentity;
use countersignd::caller::Caller;
use countersignd::fuzzing::Facts;
use countersignd::fuzzing::Panel;
use countersignd::login::request::OpenRequest;
use countersignd::person::Person;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const TARGET: Target = Target { name: "daemon_facts", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let root_socket = input.byte() == b'r';
    let Ok(Call::Begin(begin)) = frame::decode::<Call>(input.rest()) else { return };
    let caller = Caller { uid: if root_socket { 0 } else { 1000 }, gid: 0, pid: Some(1), root_socket };
    let facts = match Facts::new(*begin, &caller) {
        Ok(facts) => facts,
        Err(why) => return check::is_inert(&why),
    };
    assert!((1..=MAX_NAME).contains(&facts.user.len()) && (1..=MAX_NAME).contains(&facts.service.len()));
    if !root_socket {
        assert!(facts.remote.is_none() && facts.ssh_key.is_none() && facts.token.is_none());
        assert!(facts.requester.is_none() && !facts.is_sshd());
    }
    // Texts of control characters alone may be too long for a request; then it is refused.
    let key = Arc::new(actors::host());
    let identity = HostIdentity { name: "h".repeat(64), public: key.public_key().clone(), key };
    let person = Person { name: facts.user.clone(), uid: 1000 };
    let request = OpenRequest::new(
        &identity,
        &facts,
        (&person, &facts.user),
        Panel::of_one(&facts.user, Vec::new()),
        Confirm::Code,
        Duration::from_secs(60),
        None,
    );
    match request {
        Ok(request) => assert!(request.signed.bytes.len() <= MAX_BODY),
        Err(why) => check::is_inert(&why),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let begin = Begin {
        version: VERSION,
        stage: Stage::Auth,
        service: "sshd".into(),
        user: "alice".into(),
        remote_host: Some("evil.example".into()),
        remote_user: Some("bob".into()),
        terminal: Some("ssh".into()),
        ssh_auth_info: Some(format!("password\npublickey {}\n", actors::device().public_key().to_line())),
        command_line: Some("sudo \u{1b}[31m \"x\"".into()),
        peer: Some(Peer { address: [192, 0, 2, 7].into(), port: 2222 }),
        session: Some(Session { leader: 7, started: 1 }),
        silent: false,
        token: Some("t".to_owned().into()),
        passwordless: false,
        action: None,
    };
    let long = Begin { command_line: Some("\u{1}".repeat(1024)), service: "sudo".into(), ..begin.clone() };
    let odd = Begin { stage: Stage::Session, peer: None, service: "polkit-1".into(), ..begin.clone() };
    let action = Action {
        name: "deploy.web".into(),
        detail: Some("\u{1}".repeat(300)),
        origins: vec!["Debian".into()],
        list: Some(9),
    };
    let ask = Begin { service: "ask".into(), action: Some(action), peer: None, ..long.clone() };
    let seed = |kind: &[u8], begin: Begin| {
        let mut json = frame::encode(&Call::Begin(Box::new(begin))).expect("short");
        json.pop();
        [kind, &json].concat()
    };
    vec![seed(b"r", begin.clone()), seed(b"s", begin), seed(b"r", long), seed(b"r", odd), seed(b"s", ask)]
}
