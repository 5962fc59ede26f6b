//! What module, command and daemon say to each other: one JSON object in a frame.

use countersign_fuzz::{Target, check, input::Input};
use countersign_protocol::frame::{self, Complaint, END, MAX_FRAME, Reply};
use countersign_protocol::login::{
    self, Action, Begin, Continue, Outcome, Peer, Stage, Step, Style, Verdict,
};
use countersign_protocol::manage;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

pub(crate) const TARGET: Target = Target { name: "socket_messages", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let json = input.rest();
    match kind {
        b'l' => read::<login::Call>(json),
        b's' => read_step(json),
        b'm' => read::<manage::Call>(json),
        b't' => read::<Reply<manage::Status>>(json),
        b'j' => read::<Reply<manage::Joined>>(json),
        b'p' => read::<Reply<manage::PairingStep>>(json),
        b'a' => read::<Reply<manage::PairingAnswered>>(json),
        b'c' => read::<Reply<manage::PairingChecked>>(json),
        b'r' => read::<Reply<manage::Rung>>(json),
        b'd' => read::<Reply<manage::Devices>>(json),
        b'n' => read::<Reply<manage::Codes>>(json),
        _ => read::<Reply<manage::CodesLeft>>(json),
    }
}

fn read_step(json: &[u8]) {
    // A reply with an error never is a verdict.
    if let Ok(Reply::Parameters { parameters: Step::Verdict(_) }) = frame::decode::<Reply<Step>>(json) {
        let object: serde_json::Value = serde_json::from_slice(json).expect("it was read");
        assert!(object.get("error").is_none());
    }
    read::<Reply<Step>>(json);
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) {
    match frame::decode::<T>(json) {
        Ok(message) => {
            assert!(json.len() <= MAX_FRAME);
            let Ok(mut again) = frame::encode(&message) else { return };
            assert_eq!(again.pop(), Some(END));
            assert!(!again.contains(&END), "a frame has one end");
            assert_eq!(frame::decode::<T>(&again).expect("its own"), message);
        }
        // The parser may quote what it was given; whoever shows it escapes it.
        Err(error) => check::is_inert(&countersign_protocol::text::escape(&error.to_string())),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let begin = Begin {
        version: login::VERSION,
        stage: Stage::Auth,
        service: "sshd".into(),
        user: "alice".into(),
        remote_host: Some("192.0.2.1".into()),
        remote_user: Some("bob".into()),
        terminal: Some("ssh".into()),
        ssh_auth_info: Some("publickey ssh-ed25519 AAAA\n".into()),
        command_line: Some("sudo id".into()),
        peer: Some(Peer { address: [192, 0, 2, 1].into(), port: 22 }),
        session: None,
        silent: true,
        token: Some("t".to_owned().into()),
        passwordless: false,
        action: None,
    };
    let action = Action {
        name: "deploy.web".into(),
        detail: Some("release 42".into()),
        origins: vec!["Debian".into()],
        list: Some(9),
    };
    let ask = Begin { service: login::ASK_SERVICE.into(), action: Some(action), ..begin.clone() };
    let go_on = Continue { answer: Some("123456".to_owned().into()), cannot_ask: false };
    let verdict =
        Verdict { outcome: Outcome::Granted, text: Some("in".into()), token: Some("t".to_owned().into()) };
    let user = || "alice".to_owned();
    let device = manage::Device {
        user: user(),
        name: "phone".into(),
        fingerprint: "SHA256:x".into(),
        paired_at: 1,
        last_used_at: Some(2),
        principals: vec!["oncall".into()],
    };
    let mut seeds = vec![
        seed(b"l", &login::Call::Begin(Box::new(begin))),
        seed(b"l", &login::Call::Begin(Box::new(ask))),
        seed(b"l", &login::Call::Continue(go_on)),
        seed(b"c", &reply(manage::PairingChecked::Wrong { tries: 2 })),
        seed(b"c", &reply(manage::PairingChecked::Paired(device.clone()))),
        seed(b"d", &reply(manage::Devices { devices: vec![device] })),
        seed(b"r", &reply(manage::Rung { answer: Some(manage::RingAnswer::Rang) })),
        seed(b"p", &reply(manage::PairingStep::Approve { tries: 3, expires_in: 60 })),
        seed(b"x", &reply(manage::CodesLeft { left: 3, totp: true, once_until: Some(1_800_000_000) })),
        seed(b"n", &reply(manage::Codes { codes: vec!["a-b".to_owned().into()] })),
        seed(b"m", &manage::Call::Revoke { user: user(), device: "phone".into() }),
        seed(b"m", &manage::Call::NewCodes { user: user(), count: 10 }),
        seed(b"m", &manage::Call::Devices { user: None }),
        seed(b"m", &manage::Call::Status {}),
    ];
    for step in [
        Step::Say { style: Style::Error, text: "no".into(), deadline_ms: 1, always: false },
        Step::Ask { text: "code:".into(), deadline_ms: u64::MAX },
        Step::Wait { deadline_ms: 0 },
        Step::Verdict(verdict),
    ] {
        seeds.push(seed(b"s", &reply(step)));
    }
    let complaint = Complaint { message: "no such user".into() };
    seeds.push(seed(b"s", &Reply::<Step>::Error { error: "org.x.Y".into(), parameters: complaint }));
    seeds
}

fn reply<T>(parameters: T) -> Reply<T> {
    Reply::Parameters { parameters }
}

fn seed(kind: &[u8], message: &impl Serialize) -> Vec<u8> {
    let mut json = frame::encode(message).expect("short");
    json.pop();
    [kind, &json].concat()
}
