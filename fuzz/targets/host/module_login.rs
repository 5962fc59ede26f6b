//! A login through the PAM module: what the application tells, and a daemon that replies what it likes.

use countersign_fuzz::{Target, check, input::Input};
use countersign_protocol::login::MAX_TEXT;
use pam_countersign::fuzzing::{Told, is_understood, login};
use serde_json::Value;
use std::collections::VecDeque;
use std::ffi::CString;

pub(crate) const TARGET: Target = Target { name: "module_login", run, seeds };

/// PAM_SUCCESS and PAM_IGNORE.
const LETS_IN: [i32; 2] = [0, 25];

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let mut line = || Some(input.until(b'\n').to_vec()).filter(|text| text != b"-");
    let arguments = line().unwrap_or_default();
    let user = line();
    let told = Told {
        users: [user.clone(), if flags & 2 == 0 { user } else { Some(b"root".to_vec()) }],
        service: line(),
        remote_host: line(),
        remote_user: line(),
        terminal: line(),
        ssh_auth_info: line(),
        command_line: line().unwrap_or_default(),
        token: line(),
        answer: line(),
        replies: VecDeque::new(),
    };
    // Each reply up to 0xff, and its NUL is a part of it.
    let replies: VecDeque<Vec<u8>> = input.rest().split(|byte| *byte == 0xff).map(<[u8]>::to_vec).collect();
    let arguments: Vec<CString> =
        arguments.split(|byte| *byte == b' ').filter_map(|word| CString::new(word).ok()).collect();
    let arguments: Vec<_> = arguments.iter().map(CString::as_c_str).collect();
    let grants = replies.iter().any(|reply| says(reply, "granted"));
    let ignores = replies.iter().any(|reply| says(reply, "ignored"));
    let (users, session) = (told.users.clone(), flags & 1 != 0);
    let seen = login(session, &arguments, Told { replies, ..told });

    assert!(seen.result != LETS_IN[0] || grants, "success without a grant");
    assert!(seen.result != LETS_IN[1] || ignores, "stood aside without being told to");
    if LETS_IN.contains(&seen.result) {
        assert!(is_understood(&arguments), "an argument that is not understood refuses");
        assert_eq!(users[0], users[1], "another user than was asked about");
    }
    for text in &seen.shown {
        check::is_inert(text);
        assert!(text.len() <= MAX_TEXT);
    }
    seen.logged.iter().for_each(|line| check::is_inert(line));
    assert!(!seen.logged.is_empty(), "every login leaves a line");
    if let Some(token) = seen.kept {
        assert!(!session && grants && token.bytes().all(|b| b.is_ascii_graphic()));
    }
}

/// Whether a reply is a verdict of this outcome, by another parser than the module's.
fn says(reply: &[u8], outcome: &str) -> bool {
    let json = reply.split(|byte| *byte == 0).next().unwrap_or_default();
    let Ok(value) = serde_json::from_slice::<Value>(json) else { return false };
    let step = &value["parameters"];
    value.get("error").is_none() && step["step"] == "verdict" && step["outcome"] == outcome
}

fn seeds() -> Vec<Vec<u8>> {
    let items =
        "debug\nalice\nsshd\n192.0.2.1\nbob\nssh\npublickey ssh-ed25519 AAAA\nsudo id\ntoken\n123456\n";
    let ask = "{\"parameters\":{\"step\":\"ask\",\"text\":\"code: \",\"deadline_ms\":1000}}\0";
    let say = "{\"parameters\":{\"step\":\"say\",\"style\":\"info\",\"text\":\"\\u001b[2J\\u202e\",\"deadline_ms\":1000}}\0";
    let wait = "{\"parameters\":{\"step\":\"wait\",\"deadline_ms\":1000}}\0";
    let granted =
        "{\"parameters\":{\"step\":\"verdict\",\"outcome\":\"granted\",\"text\":\"in\",\"token\":\"abc\"}}\0";
    let ignored = "{\"parameters\":{\"step\":\"verdict\",\"outcome\":\"ignored\"}}\0";
    let error = "{\"error\":\"org.x.Y\",\"parameters\":{\"message\":\"no\\n\"}}\0";
    let with = |flags: u8, items: &str, replies: &[&str]| {
        let replies: Vec<&[u8]> = replies.iter().map(|reply| reply.as_bytes()).collect();
        [&[flags], items.as_bytes(), &replies.join(&0xff)].concat()
    };
    vec![
        with(0, items, &[ask, say, wait, granted]),
        with(1, items, &[granted]),
        with(2, items, &[granted]),
        with(0, &items.replace("debug", "socket=/run/x daemon_down=ignore"), &[ignored]),
        with(0, &items.replace("debug", "failmode=safe"), &[granted]),
        with(0, &items.replace("alice", "-"), &[granted]),
        with(0, &items.replace("123456", "-"), &[ask, error]),
        with(0, items, &[granted, &format!("{granted}x"), "{\"parameters\":"]),
    ]
}
