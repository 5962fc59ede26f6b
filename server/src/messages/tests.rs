use super::*;
use crate::envelope::tests::frame;
use countersign_protocol::message::MessageType;

const LIFE: Duration = Duration::from_secs(60);

fn peer(number: u32) -> Peer {
    Peer::for_test(number)
}

fn key(id: u8) -> Key {
    Key { host: peer(1), device: peer(2), kind: Kind::Request, id: [id; 16] }
}

fn store() -> Messages {
    Messages::new(Bounds { bytes: 1 << 20, per_host: 100, per_device: 100 })
}

fn request(id: u8, fill: u8) -> Frame {
    frame(MessageType::Request, id, fill)
}

fn closed(id: u8, fill: u8) -> Frame {
    frame(MessageType::Closed, id, fill)
}

fn decision(id: u8, fill: u8) -> Frame {
    frame(MessageType::Decision, id, fill)
}

fn held(messages: &Messages, number: u32) -> Vec<Frame> {
    messages.poll(peer(number), 0, 1000).0
}

/// Nothing may be left in the books of an empty store.
fn assert_empty(messages: &Messages) {
    assert_eq!((messages.held, messages.bytes), (0, 0));
    assert!(messages.registers.is_empty() && messages.expiry.is_empty() && messages.closed.is_empty());
    for inbox in messages.inboxes.values() {
        assert_eq!((inbox.len(), inbox.registers, inbox.open, inbox.orphans), (0, 0, 0, 0));
        assert!(inbox.closed.is_empty());
    }
}

#[test]
fn a_register_keeps_the_higher_version() {
    let (mut messages, now) = (store(), Instant::now());
    messages.put(key(1), Version::Request, &request(1, 1), now + LIFE).unwrap();
    assert_eq!(held(&messages, 2), [request(1, 1)]);
    messages.put(key(1), Version::Closed, &closed(1, 2), now + LIFE).unwrap();
    messages.put(key(1), Version::Request, &request(1, 3), now + LIFE).unwrap();
    assert_eq!(held(&messages, 2), [closed(1, 2)]);
    messages.sweep(now + LIFE);
    assert_empty(&messages);
}

#[test]
fn posting_the_same_again_delivers_nothing_new_and_lengthens_its_life() {
    let (mut messages, now) = (store(), Instant::now());
    messages.put(key(1), Version::Request, &request(1, 1), now + LIFE).unwrap();
    let (_, cursor) = messages.poll(peer(2), 0, 10);
    messages.put(key(1), Version::Request, &request(1, 1), now + LIFE * 2).unwrap();
    assert_eq!(messages.poll(peer(2), cursor, 10).0, []);
    messages.sweep(now + LIFE);
    assert_eq!(held(&messages, 2), [request(1, 1)]);
    // Sealed anew, for a device with a new card: the device has to see it.
    messages.put(key(1), Version::Request, &request(1, 9), now + LIFE).unwrap();
    assert_eq!(messages.poll(peer(2), cursor, 10).0, [request(1, 9)]);
    assert_eq!(held(&messages, 2).len(), 1);
    messages.sweep(now + LIFE * 2);
    assert_empty(&messages);
}

#[test]
fn decisions_are_kept_until_closed_comes() {
    let (mut messages, now) = (store(), Instant::now());
    messages.put(key(1), Version::Request, &request(1, 1), now + LIFE).unwrap();
    for _ in 0..3 {
        messages.put_decision(key(1), &decision(1, 1), now).unwrap();
    }
    assert_eq!(held(&messages, 1), [decision(1, 1)]);
    // The request again, after a reconnect: the decision stays.
    messages.put(key(1), Version::Request, &request(1, 1), now + LIFE).unwrap();
    assert_eq!(held(&messages, 1), [decision(1, 1)]);
    messages.put(key(1), Version::Closed, &closed(1, 1), now + LIFE).unwrap();
    assert_eq!(held(&messages, 1), []);
    // A late report still reaches the host, and posting `closed` again does not lose it.
    messages.put_decision(key(1), &decision(1, 7), now).unwrap();
    messages.put(key(1), Version::Closed, &closed(1, 1), now + LIFE).unwrap();
    assert_eq!(held(&messages, 1), [decision(1, 7)]);
    messages.sweep(now + LIFE);
    assert_empty(&messages);
}

#[test]
fn a_server_that_has_forgotten_the_request_keeps_the_decision() {
    let (mut messages, now) = (store(), Instant::now());
    messages.put_decision(key(1), &decision(1, 1), now).unwrap();
    messages.put(key(1), Version::Request, &request(1, 1), now + LIFE).unwrap();
    assert_eq!(held(&messages, 1), [decision(1, 1)]);
    assert_eq!(held(&messages, 2), [request(1, 1)]);
    messages.sweep(now + LIFE);
    assert_empty(&messages);
    for id in 0..64 {
        messages.put_decision(key(id), &decision(id, 1), now).unwrap();
    }
    assert_eq!(messages.put_decision(key(64), &decision(64, 1), now), Err(Full::Device));
    messages.put(key(64), Version::Request, &request(64, 1), now + LIFE).unwrap();
    assert_eq!(messages.put_decision(key(64), &decision(64, 1), now), Ok(()));
    messages.sweep(now + ORPHAN_LIFE);
    assert_empty(&messages);
}

#[test]
fn of_notices_the_newest_is_held_and_nobody_waits_for_one() {
    let (mut messages, now) = (store(), Instant::now());
    let about = Key { kind: Kind::Notice, ..key(1) };
    let notice = |fill| frame(MessageType::Notice, 1, fill);
    let removal = frame(MessageType::Removal, 1, 9);
    let (stream, _) = messages.open_stream(peer(1));
    assert_eq!(messages.put(about, Version::Notice, &notice(2), now + LIFE), Ok(true));
    assert_eq!(messages.put(about, Version::Notice, &notice(1), now + LIFE), Ok(true));
    assert_eq!(held(&messages, 2), [notice(1)]);
    assert!(matches!(messages.next(peer(1), stream, 0), Next::Nothing { busy: false }));
    // A request of the same id is another register.
    messages.put(key(1), Version::Closed, &closed(1, 1), now + LIFE).unwrap();
    assert_eq!(messages.put(key(1), Version::Request, &request(1, 1), now + LIFE), Ok(false));
    assert_eq!(held(&messages, 2), [notice(1), closed(1, 1)]);
    // A removal stays over the next notice, and longer than the one that it was made from.
    messages.put_decision(about, &removal, now + LIFE / 2).unwrap();
    messages.put(about, Version::Notice, &notice(3), now + LIFE * 2).unwrap();
    assert_eq!(held(&messages, 1), [removal]);
    messages.sweep(now + LIFE * 2);
    assert_empty(&messages);
    messages.put_decision(about, &frame(MessageType::Removal, 1, 9), now).unwrap();
    messages.sweep(now + ORPHAN_LIFE - LIFE);
    assert_eq!(held(&messages, 1).len(), 1);
    messages.sweep(now + ORPHAN_LIFE);
    assert_empty(&messages);
}

#[test]
fn notices_make_room_for_requests() {
    let now = Instant::now();
    let mut messages = Messages::new(Bounds { bytes: 1 << 20, per_host: 3, per_device: 3 });
    for id in 0..9 {
        let about = Key { kind: Kind::Notice, ..key(id) };
        messages.put(about, Version::Notice, &frame(MessageType::Notice, id, 1), now + LIFE).unwrap();
    }
    for id in 0..3 {
        messages.put(key(id), Version::Request, &request(id, 1), now + LIFE).unwrap();
    }
    assert_eq!(held(&messages, 2), [request(0, 1), request(1, 1), request(2, 1)]);
    messages.sweep(now + LIFE);
    assert_empty(&messages);
}

#[test]
fn a_device_cannot_pile_up_decisions() {
    let (mut messages, now) = (store(), Instant::now());
    for fill in 0..20 {
        messages.put_decision(key(1), &decision(1, fill), now).unwrap();
    }
    assert_eq!(held(&messages, 1), [decision(1, 17), decision(1, 18), decision(1, 19)]);
    messages.sweep(now + ORPHAN_LIFE);
    assert_empty(&messages);
}

#[test]
fn a_full_store_gives_up_what_is_closed_and_nothing_else() {
    let now = Instant::now();
    let size = request(0, 0).len() + OVERHEAD;
    let full = |bounds: Bounds, expected: Full| {
        let mut messages = Messages::new(bounds);
        for id in 0..3 {
            messages.put(key(id), Version::Request, &request(id, 0), now + LIFE).unwrap();
        }
        let put = |messages: &mut Messages, id| {
            messages.put(key(id), Version::Request, &request(id, 0), now + LIFE)
        };
        assert_eq!(put(&mut messages, 3), Err(expected));
        // What is held may always be closed, and posted again.
        messages.put(key(1), Version::Closed, &closed(1, 0), now + LIFE).unwrap();
        put(&mut messages, 2).unwrap();
        put(&mut messages, 3).unwrap();
        assert_eq!(held(&messages, 2), [request(0, 0), request(2, 0), request(3, 0)]);
        messages.sweep(now + LIFE);
        assert_empty(&messages);
    };
    full(Bounds { bytes: 3 * size + 8, per_host: 9, per_device: 9 }, Full::Server);
    full(Bounds { bytes: 9 * size, per_host: 3, per_device: 9 }, Full::Host);
    full(Bounds { bytes: 9 * size, per_host: 9, per_device: 3 }, Full::Device);
}

#[test]
fn the_newest_stream_is_the_one() {
    let (mut messages, now) = (store(), Instant::now());
    let (first, _) = messages.open_stream(peer(2));
    let (second, _) = messages.open_stream(peer(2));
    assert!(matches!(messages.next(peer(2), first, 0), Next::Replaced));
    messages.close_stream(peer(2), first);
    assert!(messages.listens(peer(2)));
    messages.put(key(1), Version::Request, &request(1, 1), now + LIFE).unwrap();
    let Next::Frame(seq, sent) = messages.next(peer(2), second, 0) else { panic!() };
    assert_eq!(sent, request(1, 1));
    assert!(matches!(messages.next(peer(2), second, seq), Next::Nothing { busy: false }));
    messages.close_stream(peer(2), second);
    assert!(!messages.listens(peer(2)));
    assert_eq!(messages.counts().0, 0);
}

#[test]
fn a_host_is_busy_while_requests_are_open() {
    let (mut messages, now) = (store(), Instant::now());
    let (stream, _) = messages.open_stream(peer(1));
    let busy = |messages: &Messages| match messages.next(peer(1), stream, 1000) {
        Next::Nothing { busy } => busy,
        other => panic!("{other:?}"),
    };
    assert!(!busy(&messages));
    messages.put(key(1), Version::Request, &request(1, 1), now + LIFE).unwrap();
    messages.put(key(2), Version::Request, &request(2, 1), now + LIFE).unwrap();
    messages.put(key(1), Version::Closed, &closed(1, 1), now + LIFE).unwrap();
    assert!(busy(&messages));
    messages.sweep(now + LIFE);
    assert!(!busy(&messages));
}

#[test]
fn polls_go_on_from_their_cursor_and_are_few() {
    let (mut messages, now) = (store(), Instant::now());
    for id in 0..5 {
        messages.put(key(id), Version::Request, &request(id, 0), now + LIFE).unwrap();
    }
    let (frames, cursor) = messages.poll(peer(2), 0, 2);
    assert_eq!(frames, [request(0, 0), request(1, 0)]);
    let (frames, cursor) = messages.poll(peer(2), cursor, 10);
    assert_eq!((frames.len(), cursor), (3, 5));
    assert_eq!(messages.poll(peer(2), cursor, 10), (Vec::new(), 5));
    assert_eq!(messages.poll(peer(2), 1000, 10).0.len(), 5, "a cursor that was never given");
    for _ in 0..MAX_POLLS {
        assert!(messages.begin_poll(peer(2)).is_some());
    }
    assert!(messages.begin_poll(peer(2)).is_none());
    messages.end_poll(peer(2));
    assert!(messages.begin_poll(peer(2)).is_some());
}

#[test]
fn unlinking_drops_all_between_the_two_and_nothing_else() {
    let (mut messages, now) = (store(), Instant::now());
    let other = Key { device: peer(3), ..key(1) };
    for key in [key(1), other] {
        messages.put(key, Version::Request, &request(1, 1), now + LIFE).unwrap();
        messages.put_decision(key, &decision(1, 1), now).unwrap();
    }
    messages.put(key(2), Version::Closed, &closed(2, 1), now + LIFE).unwrap();
    messages.put_decision(key(3), &decision(3, 1), now).unwrap();
    messages.unlink(peer(1), peer(2));
    assert_eq!(held(&messages, 2), []);
    assert_eq!(held(&messages, 3), [request(1, 1)]);
    assert_eq!(held(&messages, 1), [decision(1, 1)]);
    messages.unlink(peer(1), peer(3));
    assert_empty(&messages);
}

#[test]
fn the_books_balance_after_anything() {
    // A cheap generator: the same sequence at every run, all operations mixed.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let size = request(0, 0).len() + OVERHEAD;
    let mut messages = Messages::new(Bounds { bytes: 12 * size, per_host: 8, per_device: 8 });
    let mut now = Instant::now();
    for _ in 0..4_000 {
        let id = random(6) as u8;
        let (host, device) = (peer(random(2) as u32), peer(10 + random(3) as u32));
        let key = Key { host, device, kind: Kind::Request, id: [id; 16] };
        let about = Key { kind: Kind::Notice, ..key };
        let fill = random(3) as u8;
        match random(12) {
            10 => {
                drop(messages.put(about, Version::Notice, &frame(MessageType::Notice, id, fill), now + LIFE))
            }
            11 => drop(messages.put_decision(about, &frame(MessageType::Removal, id, fill), now)),
            0..4 => drop(messages.put(key, Version::Request, &request(id, fill), now + LIFE)),
            4..6 => drop(messages.put(key, Version::Closed, &closed(id, fill), now + LIFE)),
            6..8 => drop(messages.put_decision(key, &decision(id, fill), now)),
            8 => messages.unlink(key.host, key.device),
            _ => now += Duration::from_secs(random(30)),
        }
        messages.sweep(now);
        let open = messages.registers.values().filter(|r| matches!(r.message, Some((Version::Request, _))));
        assert_eq!(open.count(), messages.inboxes.values().map(|i| i.open as usize).sum::<usize>());
        assert_eq!(messages.held, messages.inboxes.values().map(Inbox::len).sum::<usize>());
        assert_eq!(messages.expiry.len(), messages.registers.len());
        assert!(messages.bytes <= 12 * size);
    }
    messages.sweep(now + ORPHAN_LIFE + LIFE);
    assert_empty(&messages);
}
