use super::*;
use crate::approver::testing::{listed, request, sealed, verified};
use countersign_protocol::message::Confirm;
use zeroize::Zeroizing;

const NOW: Now = Now { ms: 0, unix: 1_000_000 };

fn at(ms: u64) -> Now {
    Now { ms, unix: 1_000_000 + ms / 1000 }
}

fn key(id: &str) -> Key {
    verified(request(id)).key()
}

fn filled(ids: &[&str]) -> Inbox {
    let mut inbox = Inbox::default();
    for id in ids {
        inbox.arrive(verified(request(id)), NOW);
    }
    inbox
}

fn all(inbox: &Inbox, now: Now) -> Vec<Popup> {
    wanted(inbox, &BTreeMap::new(), now, |t| t.to_string())
}

fn approves(popup: &Popup) -> bool {
    popup.buttons.iter().any(|(answer, _)| *answer == Answer::Approve)
}

#[test]
fn an_approval_shows_its_code_until_the_host_closes() {
    let mut inbox = filled(&["a"]);
    assert!(approves(&all(&inbox, NOW)[0]));
    inbox.answer(&key("a"), Answer::Approve);
    assert!(all(&inbox, NOW)[0].buttons.is_empty(), "one answer is enough");
    inbox.signed(&key("a"), sealed("a"), Some(Zeroizing::new("120457".into())), NOW);
    let shown = all(&inbox, at(30_000));
    assert_eq!(shown[0].summary, "Type 120 457 at the terminal");
    assert_eq!(shown[0].about, About::Request(key("a")), "in the place of the question");
    assert_eq!((shown[0].life, shown[0].buttons.len()), (Life::Until(60_000), 0));
    inbox.close(&key("a"), &verified(request("a")).digest, ClosedOutcome::Approved, "web1", at(31_000));
    assert!(all(&inbox, at(31_000)).is_empty());
}

#[test]
fn an_answer_without_a_code_takes_the_popup_away_unless_it_is_stuck() {
    let mut inbox = filled(&["a"]);
    inbox.answer(&key("a"), Answer::Deny);
    inbox.signed(&key("a"), sealed("a"), None, NOW);
    assert!(all(&inbox, NOW).is_empty());
    inbox.tick(at(1_000));
    inbox.tick(at(3_000));
    assert!(all(&inbox, at(3_000))[0].lines[0].contains("does not have the answer yet"));
    inbox.sent(&key("a"), Ok(()));
    assert!(all(&inbox, at(3_100)).is_empty());
}

#[test]
fn popups_are_the_same_until_something_happens() {
    let inbox = filled(&["a", "b"]);
    // Time alone must not raise them again.
    assert_eq!(all(&inbox, NOW), all(&inbox, at(59_000)));
}

#[test]
fn what_ended_otherwise_than_the_person_wanted_is_told_for_a_while() {
    for (answer, outcome, said, stays) in [
        (None, ClosedOutcome::Withdrawn, None, 0),
        (None, ClosedOutcome::Denied, None, 0),
        (Some(Answer::Approve), ClosedOutcome::Failed, Some("wrong codes"), 0),
        (None, ClosedOutcome::Approved, Some("another device"), 0),
        (Some(Answer::Deny), ClosedOutcome::Approved, Some("let in"), 60),
    ] {
        let mut inbox = filled(&["a"]);
        if let Some(answer) = answer {
            inbox.answer(&key("a"), answer);
            inbox.signed(&key("a"), sealed("a"), None, NOW);
        }
        inbox.close(&key("a"), &verified(request("a")).digest, outcome, "web1", NOW);
        let shown = all(&inbox, at(1_000));
        assert_eq!(shown.len(), usize::from(said.is_some()), "{outcome:?}");
        if let Some(said) = said {
            assert!(shown[0].summary.contains(said) && shown[0].buttons.is_empty(), "{shown:?}");
        }
        assert_eq!(all(&inbox, at(60_000)).len(), usize::from(stays == 60), "{answer:?} {outcome:?}");
    }
}

#[test]
fn what_cannot_be_seen_whole_cannot_be_approved() {
    for long in ["x".repeat(3000), "x".repeat(MAX_BODY)] {
        let mut big = request("a");
        big.command = Some(long);
        let mut inbox = Inbox::default();
        inbox.arrive(verified(big), NOW);
        let popup = &all(&inbox, NOW)[0];
        assert!(!approves(popup) && popup.buttons.len() == 2, "{popup:?}");
        assert!(popup.lines[0].starts_with("Too long"), "{popup:?}");
        assert!(popup.lines.iter().map(String::len).sum::<usize>() < 2 * MAX_BODY);
    }
    let mut named = verified(request("a"));
    named.host_name = "h".repeat(MAX_SUMMARY);
    let mut inbox = Inbox::default();
    inbox.arrive(named, NOW);
    assert!(!approves(&all(&inbox, NOW)[0]));
}

#[test]
fn one_host_does_not_fill_the_desktop() {
    let mut inbox = filled(&["a", "b", "c", "d", "e"]);
    let mut other = verified(request("f"));
    other.host = "OTHERHOST".into();
    inbox.arrive(other, NOW);
    let shown = all(&inbox, NOW);
    assert_eq!(shown.len(), MAX_PER_HOST + 1);
    assert_eq!(shown[MAX_PER_HOST].request().unwrap().host, "OTHERHOST");
    inbox.close(&key("a"), &verified(request("a")).digest, ClosedOutcome::Withdrawn, "web1", NOW);
    assert!(all(&inbox, NOW).iter().any(|p| p.about == About::Request(key("d"))), "the next one comes up");
}

#[test]
fn a_test_ring_does_not_press() {
    let mut test = request("a");
    (test.kind, test.confirm) = (Kind::Test, Confirm::Tap);
    let mut inbox = Inbox::default();
    inbox.arrive(verified(test), NOW);
    let popup = &all(&inbox, NOW)[0];
    assert_eq!(popup.urgency, Urgency::Normal);
    assert_eq!(popup.buttons, [(Answer::Approve, "It rang")]);
}

#[test]
fn a_note_raises_the_popup_again_even_with_the_same_words() {
    let inbox = filled(&["a"]);
    let noted = |round| {
        let note = Note { text: "look again".into(), round };
        wanted(&inbox, &BTreeMap::from([(key("a"), note)]), NOW, |t| t.to_string())
    };
    assert_eq!(noted(1)[0].lines[0], "look again");
    assert_ne!(noted(1), noted(2));
}

#[test]
fn alarms_and_news_of_devices_have_a_popup_without_buttons_each() {
    use countersign_protocol::message::{DeviceChange, DeviceEvent};
    let mut inbox = filled(&[]);
    for n in 0..5 {
        inbox.alarm(format!("alarm {n}\u{202e}"));
    }
    let event = DeviceEvent { what: DeviceChange::Paired, device: "KEY".into(), name: "tablet".into() };
    let notice = countersign_protocol::notice::fitted("alice", String::new(), Some(event), Vec::new(), 1);
    inbox.hear(&key("n"), &std::sync::Arc::new(notice), "digest", "web1", NOW);
    let shown = all(&inbox, NOW);
    assert_eq!([&shown[0].about, &shown[1].about], [&About::Alarms, &About::News]);
    assert_eq!(shown[0].lines, ["alarm 4\\u{202e}", "alarm 3\\u{202e}", "alarm 2\\u{202e}"]);
    assert!(shown[1].lines[0].contains("tablet"), "{shown:?}");
    assert!(shown.iter().all(|p| p.buttons.is_empty() && p.urgency == Urgency::Critical));
}

#[test]
fn a_list_has_to_be_here_and_whole_on_the_popup_to_be_approved_there() {
    let of = |text: &str, comes: bool| {
        let mut inbox = Inbox::default();
        let asked = verified(listed("a", text));
        let key = asked.key();
        inbox.arrive(asked, NOW);
        if comes {
            inbox.listed(&key, Ok(text.into()), NOW);
        }
        all(&inbox, NOW).remove(0)
    };
    let long = "install x\n".repeat(500);
    let waits = of("install hello\nremove \x1b[2J\n", false);
    assert!(!approves(&waits) && waits.lines[0].contains("not here yet"));
    assert!(waits.lines.contains(&"list: 2 lines".to_owned()));
    let short = of("install hello\nremove \x1b[2J\n", true);
    assert!(approves(&short));
    assert!(short.lines.contains(&"| install hello".to_owned()));
    assert!(short.lines.contains(&"| remove \\u{1b}[2J".to_owned()));
    for (text, comes) in [(&long, false), (&long, true), (&"x".repeat(2000), true)] {
        let popup = of(text, comes);
        assert!(!approves(&popup), "{popup:?}");
        assert_eq!(popup.buttons.len(), 2, "it may be denied");
    }
    assert!(of(&long, true).lines.contains(&"list: 500 lines".to_owned()));
}
