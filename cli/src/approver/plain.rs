//! The plain mode: a line an event, for scripts, tests and screen readers; commands as lines.

use super::inbox::{DeviceNews, Event, Extent, Inbox, Item, Key, Listed, Now, Phase};
use super::words;
use countersign_protocol::message::Answer;
use countersign_protocol::text::{clip, escape};
use serde_json::{Value, json};

/// Characters of a request's id that name it here.
const HANDLE: usize = 8;

/// Lines of a list that are told when it comes.
const FIRST_LINES: usize = 10;

/// A line that was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed<'a> {
    /// An answer to the request whose id begins so.
    Answer(Answer, &'a str),
    /// An approval, with a lease of so many seconds.
    Lease(&'a str, u32),
    /// The whole list of the request whose id begins so.
    List(&'a str),
    /// The end.
    Quit,
    /// Nothing.
    Empty,
    /// Something else.
    Unknown,
}

/// Reads `a ID`, `a ID TIME`, `d ID`, `r ID`, `l ID`, `q`.
#[must_use]
pub fn parse(line: &str) -> Typed<'_> {
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Typed::Empty,
        (Some("q"), None, _) => Typed::Quit,
        (Some("a"), Some(id), Some(time)) if words.next().is_none() => {
            seconds(time).map_or(Typed::Unknown, |seconds| Typed::Lease(id, seconds))
        }
        (Some("a"), Some(id), None) => Typed::Answer(Answer::Approve, id),
        (Some("d"), Some(id), None) => Typed::Answer(Answer::Deny, id),
        (Some("r"), Some(id), None) => Typed::Answer(Answer::Report, id),
        (Some("l"), Some(id), None) => Typed::List(id),
        _ => Typed::Unknown,
    }
}

/// A lease's time: `90m`, `8h`.
fn seconds(text: &str) -> Option<u32> {
    let times =
        |digits: &str, factor: u32| digits.parse::<u32>().ok()?.checked_mul(factor).filter(|n| *n > 0);
    match (text.strip_suffix('m'), text.strip_suffix('h')) {
        (Some(digits), _) => times(digits, 60),
        (_, Some(digits)) => times(digits, 3600),
        _ => None,
    }
}

/// The one open request whose id begins so.
///
/// # Errors
/// What to type instead.
pub fn find(inbox: &Inbox, id: &str) -> Result<Key, String> {
    let mut found = inbox.items().iter().map(|i| i.verified.key()).filter(|k| k.id.starts_with(id));
    match (found.next(), found.next()) {
        (Some(key), None) if id.len() >= 4 => Ok(key),
        (Some(_), _) => Err("type more of the request's id".into()),
        (None, _) => Err(format!("no open request {}", escape(id))),
    }
}

/// An event as lines for people.
#[must_use]
pub fn words_of(event: &Event, inbox: &Inbox, now: Now, time_of: fn(u64) -> String) -> Vec<String> {
    match event {
        Event::Connected(server) => vec![format!("connected {}", escape(server))],
        Event::Disconnected(server, why) => {
            vec![format!("disconnected {}: {}; trying again", escape(server), escape(why))]
        }
        Event::Request(key) => inbox.get(key).map(|i| asked(i, inbox, now, time_of)).into_iter().collect(),
        Event::Decided(key) => {
            let Some((answer, code)) = inbox.get(key).and_then(decided) else { return Vec::new() };
            let handle = handle(key);
            let mut lines = vec![format!("decided {handle} {}", words::answered(answer))];
            if let Some(seconds) = inbox.get(key).and_then(|item| item.lease_of(answer)) {
                lines.push(format!("lease {handle} {}", words::length(seconds)));
            }
            lines.extend(code.map(|code| format!("code {handle} {code}")));
            lines
        }
        Event::Listed(key, extent) => inbox.get(key).map(|item| list_of(item, *extent)).unwrap_or_default(),
        Event::Closed(ended) => {
            vec![format!("closed {} {}", handle(&ended.verified.key()), words::ending(ended))]
        }
        Event::Alarm(text) => vec![format!("!! ALARM {}", escape(text))],
        Event::Device(news) => vec![format!("device {}", of_device(news))],
        Event::Notice(text) => vec![format!("notice {}", escape(text))],
    }
}

/// An event as an object for programs, and for the history.
#[must_use]
pub fn object_of(event: &Event, inbox: &Inbox, now: Now) -> Option<Value> {
    Some(match event {
        Event::Connected(server) => json!({ "event": "connected", "server": server }),
        Event::Disconnected(server, why) => {
            json!({ "event": "disconnected", "server": server, "reason": why })
        }
        Event::Request(key) => {
            let item = inbox.get(key)?;
            // The request's own fields, and what is known here beside them.
            let mut object = serde_json::to_value(&item.verified.request).ok()?;
            // Opens a list that anybody may have seen pass by.
            if let Some(list) = object.get_mut("list").and_then(Value::as_object_mut) {
                list.remove("key");
            }
            let extra = json!({
                "event": "request",
                "host": item.verified.host_name,
                "text": words::headline(&item.verified),
                "left": item.left(now),
                "differs": inbox.conflicts(item),
            });
            object.as_object_mut()?.extend(extra.as_object()?.clone());
            object
        }
        Event::Decided(key) => {
            let item = inbox.get(key)?;
            let (answer, code) = decided(item)?;
            let host = &item.verified.host_name;
            let lease = item.lease_of(answer);
            json!({
                "event": "decided", "id": key.id, "host": host, "decision": answer, "code": code, "lease": lease,
            })
        }
        Event::Listed(key, _) => {
            let item = inbox.get(key)?;
            let Listed::There(text) = &item.listed else { return None };
            let (host, list) = (&item.verified.host_name, item.verified.request.list.as_ref()?);
            json!({
                "event": "list", "id": key.id, "host": host, "lines": list.lines, "sha256": list.sha256,
                "text": **text,
            })
        }
        Event::Closed(ended) => json!({
            "event": "closed",
            "id": ended.verified.request.id,
            "host": ended.verified.host_name,
            "user": ended.verified.request.user,
            "service": ended.verified.request.service,
            "decision": ended.answer,
            "outcome": ended.outcome,
        }),
        Event::Alarm(text) => json!({ "event": "alarm", "message": text }),
        Event::Device(news) => json!({
            "event": "device",
            "host": news.host,
            "user": news.notice.user,
            "change": news.change,
            "devices": news.notice.devices,
            "issued_at": news.notice.issued_at,
            "text": of_device(news),
        }),
        Event::Notice(text) => json!({ "event": "notice", "message": text }),
    })
}

fn of_device(news: &DeviceNews) -> String {
    words::news(&news.host, &news.notice.user, &news.change)
}

fn handle(key: &Key) -> &str {
    clip(&key.id, HANDLE)
}

fn decided(item: &Item) -> Option<(Answer, Option<&str>)> {
    match &item.phase {
        Phase::Decided { answer, code, .. } => Some((*answer, code.as_ref().map(|c| c.as_str()))),
        Phase::Asking | Phase::Signing(_) => None,
    }
}

/// A list: how long it is, its lines, and how to see the rest.
fn list_of(item: &Item, extent: Extent) -> Vec<String> {
    let (Listed::There(text), Some(list)) = (&item.listed, &item.verified.request.list) else {
        return Vec::new();
    };
    let key = item.verified.key();
    let most = if extent == Extent::Whole { usize::MAX } else { FIRST_LINES };
    let mut lines = vec![format!("list {} {}", handle(&key), words::lines(list.lines))];
    lines.extend(words::list_lines(text).take(most).map(|line| format!("| {line}")));
    let more = (list.lines as usize).saturating_sub(most);
    if more > 0 {
        lines.push(format!("| ... and {more} more; to see all: l {}", handle(&key)));
    }
    lines
}

fn asked(item: &Item, inbox: &Inbox, now: Now, time_of: fn(u64) -> String) -> String {
    let mut line = format!("request {} {}", handle(&item.verified.key()), words::headline(&item.verified));
    for (label, value) in words::details(&item.verified, time_of) {
        line.push_str(&format!("; {label} {value}"));
    }
    line.push_str(&format!("; {} s left", item.left(now)));
    let conflicts = inbox.conflicts(item);
    if !conflicts.is_empty() {
        line.push_str(&format!("; CAREFUL: more than one is open, they differ in: {}", conflicts.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approver::testing::{listed, request, sealed, verified};
    use zeroize::Zeroizing;

    const NOW: Now = Now { ms: 0, unix: 1_000_000 };
    const ID: &str = "00112233445566778899aabbccddeeff";

    fn time(t: u64) -> String {
        t.to_string()
    }

    #[test]
    fn commands_are_one_letter_and_an_id() {
        assert_eq!(parse(" a  0011 "), Typed::Answer(Answer::Approve, "0011"));
        assert_eq!(parse("r x"), Typed::Answer(Answer::Report, "x"));
        assert_eq!(parse("l 0011"), Typed::List("0011"));
        assert_eq!((parse("q"), parse("")), (Typed::Quit, Typed::Empty));
        assert_eq!((parse("a x 8h"), parse("a x 90m")), (Typed::Lease("x", 28_800), Typed::Lease("x", 5400)));
        for line in
            ["a", "a 1 2", "a 1 0h", "a 1 h", "a 1 99999999h", "a 1 8h 8h", "d 1 8h", "approve 1", "q now"]
        {
            assert_eq!(parse(line), Typed::Unknown, "{line}");
        }
    }

    #[test]
    fn an_id_must_name_one_request() {
        let mut inbox = Inbox::default();
        inbox.arrive(verified(request(ID)), NOW);
        inbox.arrive(verified(request("00112233ffffffffffffffffffffffff")), NOW);
        assert_eq!(find(&inbox, "001122334").unwrap().id, ID);
        assert!(find(&inbox, "00112233").is_err(), "two begin so");
        assert!(find(&inbox, "").is_err());
        assert!(find(&inbox, "ff").is_err());
    }

    #[test]
    fn a_code_comes_as_a_line_and_in_the_object() {
        let mut inbox = Inbox::default();
        inbox.arrive(verified(request(ID)), NOW);
        let key = verified(request(ID)).key();
        inbox.answer(&key, Answer::Approve);
        inbox.signed(&key, sealed(ID), Some(Zeroizing::new("120457".into())), NOW);
        let events: Vec<_> = inbox.take_events().into();
        let lines: Vec<_> = events.iter().flat_map(|e| words_of(e, &inbox, NOW, time)).collect();
        assert_eq!(
            lines,
            [
                "request 00112233 alice wants to log in to web1; from 192.0.2.7 port 50122 (the connection \
                 itself); service sshd; terminal ssh; asked at 1000000; 60 s left",
                "decided 00112233 approved",
                "code 00112233 120457",
            ]
        );
        let object = object_of(&events[1], &inbox, NOW).unwrap();
        assert_eq!(object["code"], "120457");
        assert_eq!(object["decision"], "approve");
        let asked = object_of(&events[0], &inbox, NOW).unwrap();
        assert_eq!((&asked["user"], &asked["host"]), (&json!("alice"), &json!("web1")));
    }

    #[test]
    fn hostile_text_stays_on_its_line() {
        let mut evil = request(ID);
        evil.command = Some("x\ncode 00112233 000000\x1b[2J".into());
        let mut inbox = Inbox::default();
        inbox.arrive(verified(evil), NOW);
        inbox.alarm("a\nb".into());
        for event in inbox.take_events() {
            for line in words_of(&event, &inbox, NOW, time) {
                assert!(!line.contains(['\n', '\x1b']), "{line:?}");
            }
        }
    }

    #[test]
    fn a_list_comes_in_short_and_whole_when_it_is_asked_for() {
        let packages: String = (1..=12).map(|n| format!("install {n}\x1b\n")).collect();
        let mut inbox = Inbox::default();
        let asked = verified(listed(ID, &packages));
        let key = asked.key();
        inbox.arrive(asked, NOW);
        inbox.listed(&key, Ok(packages.clone()), NOW);
        inbox.show_list(&key);
        let events: Vec<_> = inbox.take_events().into();
        let [request, short, whole] = events.as_slice() else { panic!("{events:?}") };
        let lines = words_of(short, &inbox, NOW, time);
        assert_eq!((lines[0].as_str(), lines[1].as_str()), ("list 00112233 12 lines", "| install 1\\u{1b}"));
        assert_eq!(lines[11..], ["| ... and 2 more; to see all: l 00112233"]);
        assert_eq!(words_of(whole, &inbox, NOW, time).len(), 13);
        let object = object_of(short, &inbox, NOW).unwrap();
        assert_eq!((&object["text"], &object["lines"]), (&json!(packages), &json!(12)));
        let asked = object_of(request, &inbox, NOW).unwrap();
        assert_eq!(asked["list"]["lines"], 12);
        assert_eq!(asked["list"].get("key"), None, "nothing that opens it is written down");
    }
}
