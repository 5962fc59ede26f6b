//! The approver's state, and all that is shown of it: requests of a host that writes what it likes, in any order, while the
//! person answers and time passes.

use countersign_cli::approver::inbox::{Inbox, Item, Now, Order, Phase, Verified};
use countersign_cli::approver::screen::{self, View};
use countersign_cli::approver::{plain, words};
use countersign_cli::fuzzing::popups;
use countersign_fuzz::actors::{self, ORIGIN};
use countersign_fuzz::{Target, check, input::Input};
use countersign_protocol::digest;
use countersign_protocol::keys::Signer;
use countersign_protocol::message::{
    Answer, ClosedOutcome, MessageType, Notice, NoticeDevice, Request, Sealed,
};
use countersign_protocol::notice;
use countersign_protocol::signed::Message;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use unicode_width::UnicodeWidthStr;

pub(crate) const TARGET: Target = Target { name: "approver_inbox", run, seeds };

const ANSWERS: [Answer; 3] = [Answer::Approve, Answer::Deny, Answer::Report];
/// Most open requests of one host, and most steps of an input.
const MOST: usize = 16;
const STEPS: usize = 64;

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut inbox = Inbox::default();
    let mut now = Now { ms: 0, unix: actors::NOW };
    let mut wanted: BTreeSet<(String, u8)> = BTreeSet::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let step = input.byte();
        let answer = ANSWERS[usize::from(step / 16) % 3];
        match step % 16 {
            0..=3 => arrive(&mut inbox, &mut input, now),
            4 => close(&mut inbox, &mut input, now),
            5 => hear(&mut inbox, &mut input, now),
            6 | 7 => {
                if let Some(item) = inbox.selected() {
                    wanted.insert((item.verified.request.id.clone(), answer as u8));
                }
                inbox.answer_selected(answer, now);
            }
            8 => typed(&mut inbox, &mut input, &mut wanted),
            9 => inbox.connected(ORIGIN, now),
            10 => inbox.disconnected(ORIGIN, &input.line()),
            11 => inbox.step(step & 16 == 0),
            12 => inbox.alarm(input.line()),
            13 => inbox.unknown(),
            _ => {
                let ms = u64::from(input.byte()) * u64::from(input.byte());
                now = Now { ms: now.ms + ms, unix: now.unix + ms / 1000 };
                inbox.tick(now);
            }
        }
        obey(&mut inbox, &wanted, step, now);
        shown(&mut inbox, (usize::from(step) * 2, usize::from(step / 4)), now);
        assert!(inbox.items().len() <= MOST);
    }
}

/// What the loop has to do follows from what the person did, and from nothing else.
fn obey(inbox: &mut Inbox, wanted: &BTreeSet<(String, u8)>, step: u8, now: Now) {
    for order in inbox.take_orders() {
        match order {
            Order::Fetch(key) => {
                let is_asking = |item: &Item| item.phase == Phase::Asking && !item.is_listed();
                assert!(inbox.get(&key).is_none_or(is_asking), "nobody needs it");
                let list = if step & 8 == 0 {
                    Ok("one\u{1b}\ntwo\u{202e}".to_owned())
                } else {
                    Err("gone\r".to_owned())
                };
                inbox.listed(&key, list, now);
            }
            Order::Sign(key, answer) => {
                let is_listed = inbox.get(&key).is_none_or(Item::is_listed);
                assert!(answer != Answer::Approve || is_listed, "an approval of what was not seen");
                assert!(wanted.contains(&(key.id.clone(), answer as u8)), "nobody answered that");
                if step & 64 == 0 {
                    inbox.signed(&key, sealed(), Some("120457".to_owned().into()), now);
                } else {
                    inbox.not_signed(&key, "the agent\u{1b} is gone");
                }
            }
            Order::Send(key, server, _) => {
                assert_eq!(server, ORIGIN);
                assert!(wanted.iter().any(|(id, _)| *id == key.id), "nobody answered that");
                inbox.sent(&key, if step & 32 == 0 { Ok(()) } else { Err("no\nway".into()) });
            }
        }
    }
}

/// Everything that a person sees is inert and fits.
fn shown(inbox: &mut Inbox, (width, height): (usize, usize), now: Now) {
    let view = View { width, height, now, time_of: |unix| unix.to_string() };
    let drawn = screen::draw(inbox, "phone\u{202e}", &view);
    assert!(drawn.lines.len() <= height);
    for line in &drawn.lines {
        check::is_inert(&line.text);
        assert!(line.text.width() <= width, "{} of {width} columns: {:?}", line.text.width(), line.text);
    }
    for popup in popups(inbox, now) {
        check::is_inert(&unjoined(&popup.summary));
        check::are_inert(&unjoined(&popup.text));
        assert!(!popup.markup.contains(['<', '>']), "{}", popup.markup);
    }
    for event in inbox.take_events() {
        for line in plain::words_of(&event, inbox, now, |unix| unix.to_string()) {
            check::is_inert(&line);
        }
        let object = plain::object_of(&event, inbox, now);
        assert!(object.is_none_or(|object| object["event"].is_string()));
    }
    inbox.items().iter().for_each(|item| check::is_inert(&words::headline(&item.verified)));
}

/// Popups hold joiners, so that nothing in them looks like a link.
fn unjoined(text: &str) -> String {
    text.replace('\u{2060}', "")
}

fn arrive(inbox: &mut Inbox, input: &mut Input<'_>, now: Now) {
    let json = input.until(0);
    let Ok(request) = serde_json::from_slice::<Request>(json) else { return };
    // Others are not believed.
    if request.check().is_err() {
        return;
    }
    inbox.arrive(
        Verified {
            digest: digest::sha256_hex(json),
            request,
            host: "HOST".into(),
            host_name: "db-1\u{9b}".into(),
            server: ORIGIN.into(),
            users: vec!["alice".into()],
        },
        now,
    );
}

fn close(inbox: &mut Inbox, input: &mut Input<'_>, now: Now) {
    const OUTCOMES: [ClosedOutcome; 8] = [
        ClosedOutcome::Approved,
        ClosedOutcome::Denied,
        ClosedOutcome::Reported,
        ClosedOutcome::Expired,
        ClosedOutcome::Withdrawn,
        ClosedOutcome::Failed,
        ClosedOutcome::Replaced,
        ClosedOutcome::Otherwise,
    ];
    let outcome = OUTCOMES[usize::from(input.byte()) % OUTCOMES.len()];
    let Some(verified) =
        inbox.items().get(usize::from(input.byte()) % MOST).map(|item| item.verified.clone())
    else {
        return;
    };
    let digest = if input.byte() == b'x' { "other".to_owned() } else { verified.digest.clone() };
    inbox.close(&verified.key(), &digest, outcome, &verified.host_name, now);
}

fn hear(inbox: &mut Inbox, input: &mut Input<'_>, now: Now) {
    let json = input.until(0);
    let Ok(notice) = serde_json::from_slice::<Notice>(json) else { return };
    if notice.check().is_err() {
        return;
    }
    let key = countersign_cli::approver::inbox::Key { host: "HOST".into(), id: notice.id.clone() };
    inbox.hear(&key, &Arc::new(notice), &digest::sha256_hex(json), "db-1\u{9b}", now);
}

fn typed(inbox: &mut Inbox, input: &mut Input<'_>, wanted: &mut BTreeSet<(String, u8)>) {
    let line = input.line();
    let (answer, id) = match plain::parse(&line) {
        plain::Typed::Answer(answer, id) => (answer, id),
        plain::Typed::List(id) => {
            return plain::find(inbox, id)
                .map_or_else(|why| check::is_inert(&why), |key| inbox.show_list(&key));
        }
        _ => return,
    };
    match plain::find(inbox, id) {
        Ok(key) => {
            assert!(key.id.starts_with(id));
            wanted.insert((key.id.clone(), answer as u8));
            inbox.answer(&key, answer);
        }
        Err(why) => check::is_inert(&why),
    }
}

fn sealed() -> Sealed {
    static SEALED: OnceLock<Sealed> = OnceLock::new();
    let make = || actors::sealed(MessageType::Decision, actors::ID, b"{}", "").expect("it fits");
    SEALED.get_or_init(make).clone()
}

fn seeds() -> Vec<Vec<u8>> {
    let request = |id: &str| {
        let request = Request { id: id.into(), ..actors::request() };
        [&[0], serde_json::to_vec(&request).expect("JSON").as_slice(), &[0]].concat()
    };
    let (one, other) = (request(actors::ID), request("ffeeddccbbaa99887766554433221100"));
    let devices = vec![NoticeDevice {
        id: actors::host().public_key().id(),
        name: "tablet\u{1b}".into(),
        paired_at: 1,
        last_used_at: None,
    }];
    let heard = notice::fitted("alice", actors::request().reply_key, None, devices, actors::NOW);
    let heard = [&[5], serde_json::to_vec(&heard).expect("JSON").as_slice(), &[0]].concat();
    let seed = |parts: &[&[u8]]| parts.concat();
    vec![
        seed(&[&one, &[14, 255, 255, 6, 14, 255, 4, 4, 0, 0, 0]]),
        seed(&[&one, &other, &[14, 255, 255, 11, 6, 22, 4, 5, 1, b'x', 9]]),
        seed(&[&one, b"\x08a 0011\n", &[14, 255, 255, 14, 255, 255]]),
        seed(&[&heard, &[10], b"no route\n", &[12], b"alarm <b>\n", &[13, 9]]),
        seed(&[&one, &[102, 22, 14, 40, 40, 9]]),
        seed(&[&one, &[14, 255, 255, 6, 14, 255, 255], b"\x08l 0011\n", &[6]]),
    ]
}
