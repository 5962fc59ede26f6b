use super::*;
use crate::approver::testing::{listed, request, sealed, verified};
use countersign_protocol::message::NoticeDevice;
use countersign_protocol::notice;

fn at(ms: u64) -> Now {
    Now { ms, unix: 1_000_000 + ms / 1000 }
}

fn filled(ids: &[&str]) -> Inbox {
    let mut inbox = Inbox::default();
    for id in ids {
        inbox.arrive(verified(request(id)), at(0));
    }
    inbox.take_events();
    inbox
}

fn key(id: &str) -> Key {
    verified(request(id)).key()
}

fn sends(inbox: &mut Inbox) -> usize {
    inbox.take_orders().iter().filter(|o| matches!(o, Order::Send(..))).count()
}

#[test]
fn a_decision_is_sent_again_until_the_host_closes() {
    let mut inbox = filled(&["a"]);
    inbox.answer_selected(Answer::Approve, at(1000));
    assert_eq!(inbox.take_orders(), [Order::Sign(key("a"), Answer::Approve)]);
    inbox.signed(&key("a"), sealed("a"), Some(Zeroizing::new("123456".into())), at(1100));
    assert_eq!(sends(&mut inbox), 1);
    inbox.sent(&key("a"), Err("503".into()));
    inbox.tick(at(1500));
    assert_eq!(sends(&mut inbox), 0);
    inbox.tick(at(2100));
    assert_eq!(sends(&mut inbox), 1);
    // The server has it, forgets it and comes back: it is sent at once.
    inbox.sent(&key("a"), Ok(()));
    inbox.connected("https://push.example.com", at(2200));
    assert_eq!(sends(&mut inbox), 1);
    inbox.close(&key("a"), &verified(request("a")).digest, ClosedOutcome::Approved, "web1", at(3000));
    inbox.tick(at(60_000));
    assert_eq!(sends(&mut inbox), 0);
    let ended = inbox.recent().next().unwrap();
    assert_eq!((ended.answer, ended.outcome), (Some(Answer::Approve), Some(ClosedOutcome::Approved)));
}

#[test]
fn a_decision_is_taken_up_by_the_next_run_while_its_request_lives() {
    let mut inbox = filled(&["a", "b"]);
    inbox.answer(&key("a"), Answer::Approve);
    inbox.signed(&key("a"), sealed("a"), Some(Zeroizing::new("123456".into())), at(1000));
    let decided: Vec<_> = inbox.decided().collect();
    assert_eq!(decided.len(), 1, "b is undecided");

    let mut next = Inbox::new(BTreeMap::new(), Devices::default());
    next.restore(decided[0].clone(), at(20_000));
    assert_eq!(next.selected().unwrap().left(at(20_000)), 40);
    next.tick(at(20_000));
    assert_eq!(sends(&mut next), 1);
    // The relay brings the request again: it stays decided.
    next.arrive(verified(request("a")), at(21_000));
    next.answer(&key("a"), Answer::Approve);
    assert_eq!(next.decided().collect::<Vec<_>>(), decided);

    let mut late = Inbox::new(BTreeMap::new(), Devices::default());
    late.restore(decided[0].clone(), at(60_000));
    assert!(late.items().is_empty());
    let mut closed = Inbox::new(BTreeMap::from([(key("a"), u64::MAX)]), Devices::default());
    closed.restore(decided[0].clone(), at(20_000));
    assert!(closed.items().is_empty());
}

#[test]
fn an_approval_is_taken_back_once_the_no_is_signed() {
    let mut inbox = filled(&["a"]);
    inbox.answer(&key("a"), Answer::Approve);
    inbox.signed(&key("a"), sealed("a"), Some(Zeroizing::new("123456".into())), at(0));
    let approved: Vec<_> = inbox.decided().collect();
    inbox.take_orders();
    // Until then it stands, also for the next run; and a key that does not sign takes nothing back.
    inbox.answer(&key("a"), Answer::Deny);
    assert_eq!(inbox.take_orders(), [Order::Sign(key("a"), Answer::Deny)]);
    assert_eq!(inbox.decided().collect::<Vec<_>>(), approved);
    inbox.not_signed(&key("a"), "the key is gone");
    assert_eq!(inbox.decided().collect::<Vec<_>>(), approved);

    inbox.answer(&key("a"), Answer::Report);
    inbox.signed(&key("a"), sealed("b"), None, at(1000));
    assert_eq!(sends(&mut inbox), 1);
    let decided: Vec<_> = inbox.decided().collect();
    assert_eq!((decided.len(), decided[0].answer, &decided[0].code), (1, Answer::Report, &None));
    // A no is not taken back.
    for answer in [Answer::Approve, Answer::Deny] {
        inbox.answer(&key("a"), answer);
    }
    assert_eq!(sends(&mut inbox), 0);
    assert_eq!(inbox.decided().collect::<Vec<_>>(), decided);
}

#[test]
fn what_was_closed_does_not_come_back_and_is_forgotten_in_the_end() {
    let mut inbox = filled(&["a"]);
    inbox.close(&key("a"), &verified(request("a")).digest, ClosedOutcome::Withdrawn, "web1", at(1000));
    inbox.arrive(verified(request("a")), at(2000));
    // A closed that overtook its request.
    inbox.close(&key("b"), "whatever", ClosedOutcome::Withdrawn, "web1", at(2000));
    inbox.arrive(verified(request("b")), at(3000));
    assert!(inbox.items().is_empty());
    // Another run that was told of them.
    let mut later = Inbox::new(inbox.closed().clone(), Devices::default());
    later.arrive(verified(request("a")), at(4000));
    assert!(later.items().is_empty());
    inbox.tick(at(1_000_000));
    assert!(inbox.closed().is_empty());
}

#[test]
fn a_request_ends_by_itself_and_a_late_one_is_said_not_shown() {
    let mut inbox = filled(&["a"]);
    inbox.tick(at(59_999));
    assert_eq!(inbox.items().len(), 1);
    inbox.tick(at(60_000));
    assert!(inbox.items().is_empty(), "the prompt is gone");
    assert_eq!(inbox.recent().count(), 0, "the host may still say how it ended");
    inbox.tick(at(63_000));
    assert_eq!(inbox.recent().next().unwrap().outcome, None);
    inbox.arrive(verified(request("b")), at(64_000));
    assert!(inbox.items().is_empty());
    assert!(inbox.last_notice().unwrap().contains("after its end"));
}

#[test]
fn the_hosts_last_word_is_heard_after_the_end() {
    let mut inbox = filled(&["a"]);
    inbox.tick(at(60_000));
    inbox.close(&key("a"), &verified(request("a")).digest, ClosedOutcome::Expired, "web1", at(60_500));
    assert_eq!(inbox.recent().next().unwrap().outcome, Some(ClosedOutcome::Expired));
    inbox.tick(at(70_000));
    assert_eq!(inbox.recent().count(), 1);
}

#[test]
fn a_host_whose_clock_is_ahead_gets_no_longer_life() {
    let mut inbox = Inbox::default();
    let mut ahead = request("a");
    ahead.issued_at += 3600;
    inbox.arrive(verified(ahead), at(0));
    assert_eq!(inbox.items()[0].left(at(0)), 60);
    assert_eq!(inbox.items()[0].clock_apart, Some(3600));
}

#[test]
fn no_answer_reaches_a_request_that_nobody_can_have_read() {
    let mut inbox = filled(&["a", "b"]);
    inbox.answer_selected(Answer::Approve, at(300));
    assert!(inbox.take_orders().is_empty(), "a came 300 ms ago");
    // The selected one ends just as the person presses: b is selected now and must not take it.
    inbox.close(&key("a"), &verified(request("a")).digest, ClosedOutcome::Withdrawn, "web1", at(5000));
    inbox.answer_selected(Answer::Approve, at(5100));
    assert!(inbox.take_orders().is_empty());
    inbox.answer_selected(Answer::Approve, at(5800));
    assert_eq!(inbox.take_orders(), [Order::Sign(key("b"), Answer::Approve)]);
}

#[test]
fn one_answer_a_request() {
    let mut inbox = filled(&["a"]);
    inbox.answer(&key("a"), Answer::Approve);
    inbox.answer(&key("a"), Answer::Deny);
    assert_eq!(inbox.take_orders().len(), 1);
    assert!(inbox.last_notice().unwrap().contains("answered already"));
    inbox.not_signed(&key("a"), "the agent is gone");
    inbox.answer(&key("a"), Answer::Deny);
    assert_eq!(inbox.take_orders(), [Order::Sign(key("a"), Answer::Deny)]);
}

#[test]
fn two_requests_with_one_id_and_a_foreign_closed_raise_alarms() {
    let mut inbox = filled(&["a"]);
    let mut other = verified(request("a"));
    other.digest = "ff".repeat(32);
    inbox.arrive(other, at(100));
    inbox.close(&key("a"), &"ee".repeat(32), ClosedOutcome::Approved, "web1", at(200));
    assert_eq!(inbox.items().len(), 1);
    assert_eq!(inbox.alarms().count(), 2);
    // The same again is counted, not stacked.
    inbox.close(&key("a"), &"ee".repeat(32), ClosedOutcome::Approved, "web1", at(300));
    assert_eq!(inbox.alarms().next().unwrap().1, 2);
    assert_eq!(inbox.alarms().count(), 2);
}

#[test]
fn a_flood_of_one_host_is_cut_off() {
    let mut inbox = Inbox::default();
    for n in 0..100 {
        inbox.arrive(verified(request(&n.to_string())), at(0));
    }
    assert_eq!(inbox.items().len(), MAX_OPEN_PER_HOST);
    assert!(inbox.alarms().next().unwrap().0.contains("too much"));
}

#[test]
fn requests_of_the_same_user_say_in_what_they_differ() {
    let mut inbox = filled(&["a"]);
    assert!(inbox.conflicts(&inbox.items()[0]).is_empty());
    let mut second = request("b");
    second.remote.as_mut().unwrap().address = "198.51.100.9".into();
    second.terminal = Some("pts/9".into());
    inbox.arrive(verified(second), at(0));
    assert_eq!(inbox.conflicts(&inbox.items()[0]), ["from", "terminal"]);
    let mut other_user = request("c");
    other_user.user = "bob".into();
    inbox.arrive(verified(other_user), at(0));
    assert!(inbox.conflicts(&inbox.items()[2]).is_empty());
}

#[test]
fn a_notice_goes_away() {
    let mut inbox = Inbox::default();
    inbox.notice("x".into());
    inbox.tick(at(1000));
    inbox.tick(at(10_900));
    assert_eq!(inbox.last_notice(), Some("x"));
    inbox.tick(at(11_000));
    assert_eq!(inbox.last_notice(), None);
}

#[test]
fn stepping_goes_round() {
    let mut inbox = filled(&["a", "b", "c"]);
    let mut seen = Vec::new();
    for forward in [true, true, true, false] {
        inbox.step(forward);
        seen.push(inbox.selected().unwrap().verified.request.id.clone());
    }
    assert_eq!(seen, ["b", "c", "a", "c"]);
}

#[test]
fn connections_are_told_when_they_change() {
    let mut inbox = Inbox::default();
    inbox.connected("s", at(0));
    inbox.connected("s", at(1));
    inbox.disconnected("s", "gone");
    inbox.disconnected("s", "gone");
    assert_eq!(inbox.take_events().len(), 2);
}

#[test]
fn news_of_devices_are_shown_for_a_while_and_all_are_events() {
    let mut inbox = Inbox::default();
    let now = Now { ms: 0, unix: 1_000_000 };
    let key = Key { host: "HOSTKEYID".into(), id: notice::id("alice") };
    let mut hears = |issued_at: u64, names: &[&str]| {
        let device = |name: &&str| NoticeDevice {
            id: (*name).into(),
            name: (*name).into(),
            paired_at: issued_at,
            last_used_at: None,
        };
        let listed = names.iter().map(device).collect();
        let notice = Arc::new(notice::fitted("alice", String::new(), None, listed, issued_at));
        assert!(inbox.hear(&key, &notice, &issued_at.to_string(), "web1", now));
        assert!(!inbox.hear(&key, &notice, &issued_at.to_string(), "web1", now));
        (inbox.take_events().len(), inbox.news().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(hears(10, &["phone"]), (0, Vec::new()));
    let (events, news) = hears(20, &["phone", "a\ntablet"]);
    assert_eq!((events, news.len()), (2, 2), "the phone was paired anew");
    assert!(news[0].contains("tablet") && news[0].contains("web1") && !news[0].contains('\n'), "{news:?}");
    let (events, news) = hears(30, &["a", "b", "c", "d"]);
    assert_eq!(events, 6);
    assert!(news.len() == 3 && news[0].contains("6 devices of alice at web1"), "{news:?}");
    assert!(news[1].contains("may approve"), "who came stands above who went: {news:?}");
    inbox.tick(Now { ms: 11 * 60_000, ..now });
    assert_eq!(inbox.news().count(), 0);
}

#[test]
fn what_a_later_version_sends_is_said_once() {
    let mut inbox = Inbox::default();
    inbox.unknown();
    inbox.unknown();
    assert!(
        matches!(inbox.take_events().make_contiguous(), [Event::Notice(text)] if text.contains("update"))
    );
    assert_eq!(inbox.alarms().count(), 0);
}

#[test]
fn a_lease_goes_with_an_approval_never_beyond_what_may_be_granted() {
    let mut leasable = request("a");
    leasable.lease_max = Some(7200);
    let mut inbox = Inbox::default();
    inbox.arrive(verified(leasable), at(0));
    let lease = |inbox: &Inbox| inbox.items()[0].lease;
    let chosen: Vec<u32> = (0..4)
        .map(|_| {
            inbox.next_lease();
            lease(&inbox)
        })
        .collect();
    assert_eq!(chosen, [900, 3600, 7200, 0]);
    inbox.lease(&key("a"), 28_800);
    assert_eq!(lease(&inbox), 7200);
    inbox.answer(&key("a"), Answer::Approve);
    // Once it is being signed nothing changes any more.
    inbox.lease(&key("a"), 60);
    let item = &inbox.items()[0];
    assert_eq!((item.lease_of(Answer::Approve), item.lease_of(Answer::Deny)), (Some(7200), None));

    let mut inbox = filled(&["a"]);
    inbox.lease(&key("a"), 3600);
    inbox.next_lease();
    assert_eq!(lease(&inbox), 0);
}

#[test]
fn nothing_is_approved_before_its_list_is_here_and_that_is_tried_until_the_end() {
    let mut inbox = Inbox::default();
    let asked = verified(listed("a", "install hello\n"));
    let key = asked.key();
    inbox.arrive(asked, at(0));
    assert_eq!(inbox.take_orders(), [Order::Fetch(key.clone())]);
    inbox.answer(&key, Answer::Approve);
    assert!(inbox.last_notice().unwrap().contains("nothing is approved without it"));
    assert!(inbox.take_orders().is_empty() && inbox.items()[0].phase == Phase::Asking);

    inbox.listed(&key, Err("not there".into()), at(100));
    inbox.tick(at(1_000));
    assert!(inbox.take_orders().is_empty(), "not yet");
    inbox.tick(at(1_200));
    assert_eq!(inbox.take_orders(), [Order::Fetch(key.clone())]);
    inbox.tick(at(9_000));
    assert!(inbox.take_orders().is_empty(), "one at a time");
    inbox.answer(&key, Answer::Approve);
    assert!(inbox.take_orders().is_empty());

    inbox.take_events();
    inbox.listed(&key, Ok("install hello\n".into()), at(9_500));
    assert_eq!(inbox.take_events(), [Event::Listed(key.clone(), Extent::Beginning)]);
    inbox.listed(&key, Err("late".into()), at(9_600));
    inbox.listed(&key, Ok("another\n".into()), at(9_600));
    assert_eq!(inbox.items()[0].listed, Listed::There("install hello\n".into()), "what is there stays");
    inbox.show_list(&key);
    assert_eq!(inbox.take_events(), [Event::Listed(key.clone(), Extent::Whole)]);
    inbox.answer(&key, Answer::Approve);
    assert_eq!(inbox.take_orders(), [Order::Sign(key.clone(), Answer::Approve)]);
}

#[test]
fn a_request_whose_list_is_not_here_is_denied_at_once() {
    let mut inbox = Inbox::default();
    let asked = verified(listed("a", "install hello\n"));
    let key = asked.key();
    inbox.arrive(asked, at(0));
    inbox.take_orders();
    inbox.answer(&key, Answer::Deny);
    assert_eq!(inbox.take_orders(), [Order::Sign(key.clone(), Answer::Deny)]);
    inbox.listed(&key, Err("not there".into()), at(100));
    inbox.tick(at(5_000));
    assert!(inbox.take_orders().is_empty(), "it is not needed any more");
}
