use super::*;
use crate::approver::inbox::Key;
use crate::approver::testing::{listed, request, sealed, verified};
use countersign_protocol::message::{ClosedOutcome, Kind, Request, SshKey};
use zeroize::Zeroizing;

const START: Now = Now { ms: 0, unix: 1_000_000 };
const SERVER: &str = "https://push.example.com";

fn view(width: usize, height: usize, ms: u64) -> View {
    let now = Now { ms, unix: START.unix + ms / 1000 };
    View { width, height, now, time_of: |t| format!("T+{}", t - 1_000_000) }
}

fn filled(requests: impl IntoIterator<Item = Request>) -> Inbox {
    let mut inbox = Inbox::default();
    inbox.connected(SERVER, START);
    for request in requests {
        inbox.arrive(verified(request), START);
    }
    inbox
}

/// The screen, without the empty lines that push the keys to its foot.
fn text(drawn: &Drawn) -> String {
    let mut text: String = drawn.lines.iter().map(|l| l.text.trim_end().to_owned() + "\n").collect();
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text
}

fn approved(inbox: &mut Inbox, id: &str) {
    let key = verified(request(id)).key();
    inbox.answer(&key, Answer::Approve);
    inbox.signed(&key, sealed(id), Some(Zeroizing::new("120457".into())), START);
}

#[test]
fn a_request_at_80_columns() {
    let mut sudo = request("a");
    (sudo.kind, sudo.user, sudo.requester) = (Kind::Command, "root".into(), Some("alice".into()));
    (sudo.service, sudo.command) = ("sudo".into(), Some("sudo systemctl restart nginx".into()));
    (sudo.terminal, sudo.remote) = (Some("/dev/pts/3".into()), None);
    let drawn = draw(&filled([sudo]), "laptop", &view(80, 24, 13_000));
    assert!(drawn.complete);
    assert_eq!(drawn.lines.len(), 24);
    assert_eq!(
        text(&drawn),
        "\
Countersign approver - laptop
connected to https://push.example.com

alice wants to act as root by sudo on web1
0:47 left to answer

from      web1 itself, not over the network
service   sudo
command   sudo systemctl restart nginx (command line of the calling process)
terminal  /dev/pts/3
asked at  T+0

[a approve, shows a code]  [d deny]  [r it was not me]  [q quit]
"
    );
}

#[test]
fn two_requests_at_40_columns_say_in_what_they_differ() {
    let mut other = request("b");
    other.remote.as_mut().unwrap().address = "198.51.100.9".into();
    let drawn = draw(&filled([request("a"), other]), "laptop", &view(40, 24, 0));
    assert!(drawn.complete);
    assert_eq!(
        text(&drawn),
        "\
Countersign approver - laptop
connected to https://push.example.com

1 of 2 open (tab: next)
> 1:00 192.0.2.7 alice wants to log i...
  1:00 198.51.100.9 alice wants to lo...

alice wants to log in to web1
1:00 left to answer

from      192.0.2.7 port 50122 (the
          connection itself)
service   sshd
terminal  ssh
asked at  T+0

Careful: alice has more than one request
open. They differ in: from.

[a approve, shows a code]  [d deny]
[r it was not me]  [q quit]
"
    );
}

#[test]
fn the_code_is_large_and_fits_40_columns() {
    let mut inbox = filled([request("a")]);
    approved(&mut inbox, "a");
    let drawn = draw(&inbox, "laptop", &view(40, 24, 0));
    assert_eq!(
        text(&drawn),
        "\
Countersign approver - laptop
connected to https://push.example.com

alice wants to log in to web1
Approved. Type this code at the login
(1:00 left):

   █  ███ ███   █ █ ███ ███
  ██    █ █ █   █ █ █     █
   █  ███ █ █   ███ ███  █
   █  █   █ █     █   █  █
  ███ ███ ███     █ ███  █

  120 457
The server does not have the answer yet;
sending...

from      192.0.2.7 port 50122 (the
          connection itself)
service   sshd
terminal  ssh
asked at  T+0

[d deny]  [r it was not me]  [q quit]
"
    );
}

#[test]
fn an_idle_screen_shows_trouble_alarms_and_what_ended() {
    let mut inbox = filled([request("a")]);
    let digest = verified(request("a")).digest;
    let key = verified(request("a")).key();
    inbox.close(&key, &digest, ClosedOutcome::Withdrawn, "web1", view(80, 24, 5000).now);
    inbox.disconnected(SERVER, "connection refused");
    inbox.alarm("a message of web1 has a wrong signature".into());
    inbox.alarm("a message of web1 has a wrong signature".into());
    let drawn = draw(&inbox, "laptop", &view(80, 14, 6000));
    assert_eq!(
        text(&drawn),
        "\
Countersign approver - laptop
NOT CONNECTED to https://push.example.com: connection refused; trying again
!! ALARM (2 times): a message of web1 has a wrong signature

No request can arrive until the server is back.

Lately:
T+5 alice wants to log in to web1: withdrawn: the other side went away

[q quit]
"
    );
    assert_eq!(drawn.lines[2].style, Style::Alarm);
}

/// Every field filled with what moves cursors, breaks lines, reorders text, or takes room.
fn hostile(evil: &str) -> Request {
    let mut r = request("a");
    let evil = || evil.to_owned();
    (r.user, r.requester, r.service) = (evil(), Some(evil()), evil());
    (r.command, r.action, r.terminal) = (Some(evil()), Some(evil()), Some(evil()));
    r.host.name = evil();
    r.ssh_key = Some(SshKey { fingerprint: evil(), key_type: evil() });
    r.remote.as_mut().unwrap().address = evil();
    r.approvals.from = vec![evil()];
    r
}

#[test]
fn hostile_text_never_acts_and_never_breaks_the_layout() {
    let evils = [
        "\x1b[2J\x1b[1;1H\x1b]0;owned\x07",
        "line\r\n[a approve]\n",
        "\u{202e}toor\u{202c}\u{2066}x\u{2069}",
        "\u{9b}31m\u{90}q\u{85}",
        "日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
        "\u{200b}\u{feff}\u{e0041}\\u{1b}",
        "",
        " ",
    ];
    for evil in evils {
        for kind in [Kind::Login, Kind::Command, Kind::Unlock, Kind::Action] {
            let mut asked = verified(hostile(evil));
            asked.request.kind = kind;
            asked.host_name = evil.to_owned();
            let mut inbox = Inbox::default();
            inbox.arrive(asked, START);
            inbox.disconnected(evil, evil);
            inbox.alarm(evil.to_owned());
            inbox.notice(evil.to_owned());
            for (width, height) in [(80, 24), (40, 24), (30, 14), (10, 3), (1, 1), (0, 0), (200, 60)] {
                let drawn = draw(&inbox, evil, &view(width, height, 0));
                assert!(drawn.lines.len() <= height, "{evil:?} {width}x{height}");
                for line in &drawn.lines {
                    let inert = !line.text.chars().any(countersign_protocol::text::is_active);
                    assert!(inert, "{evil:?}: {line:?}");
                    assert!(line.text.width() <= width.max(2), "{evil:?} {width}: {line:?}");
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_cannot_be_approved_but_denied() {
    let mut long = request("a");
    long.command = Some("x".repeat(1000));
    let inbox = filled([long]);
    let drawn = draw(&inbox, "laptop", &view(40, 24, 0));
    assert!(text(&drawn).contains("... more: make this window larger"));
    assert!(!may_answer(&drawn, Answer::Approve));
    assert!(may_answer(&drawn, Answer::Deny));
    assert!(text(&drawn).ends_with("[r it was not me]  [q quit]\n"), "the keys stay: {}", text(&drawn));
    assert!(may_answer(&draw(&inbox, "laptop", &view(120, 40, 0)), Answer::Approve));
    assert!(!may_answer(&draw(&inbox, "laptop", &view(20, 5, 0)), Answer::Approve));
}

#[test]
fn wrapping_loses_nothing() {
    for (text, width, lines) in [
        ("one two three", 7, vec!["one two", "three"]),
        ("abcdefgh", 3, vec!["abc", "def", "gh"]),
        ("日本語", 4, vec!["日本", "語"]),
        ("", 5, vec![""]),
    ] {
        assert_eq!(wrap(text, width), lines);
    }
}

#[test]
fn a_test_ring_says_what_it_is_and_news_stand_above() {
    use countersign_protocol::message::{DeviceChange, DeviceEvent};
    let mut test = request("a");
    (test.kind, test.confirm, test.service) = (Kind::Test, Confirm::Tap, "countersign".into());
    (test.terminal, test.remote) = (None, None);
    let mut inbox = filled([test]);
    let event = DeviceEvent { what: DeviceChange::Paired, device: "D".into(), name: "tablet".into() };
    let notice = countersign_protocol::notice::fitted("alice", String::new(), Some(event), Vec::new(), 1);
    let key = Key { host: "H".into(), id: notice.id.clone() };
    inbox.hear(&key, &std::sync::Arc::new(notice), "digest", "web1", START);
    let drawn = text(&draw(&inbox, "laptop", &view(80, 24, 0)));
    assert!(drawn.contains("web1 rings this device as a test; nothing opens"), "{drawn}");
    assert!(drawn.contains("[a it rang]"), "{drawn}");
    assert!(drawn.contains("\"tablet\" may approve for alice at web1 from now on"), "{drawn}");
}

#[test]
fn a_list_is_shown_in_short_and_approved_only_when_it_is_there() {
    let packages: String = (1..=500).map(|n| format!("install package-{n}\n")).collect();
    let mut asked = listed("a", &packages);
    asked.detail = Some("install 500 packages".into());
    let mut inbox = filled([asked]);
    let key = inbox.selected().unwrap().verified.key();
    let waits = text(&draw(&inbox, "laptop", &view(80, 24, 0)));
    assert!(waits.contains("Its list is on the way") && !waits.contains("[a approve"), "{waits}");
    assert!(waits.contains("[d deny]"));
    inbox.listed(&key, Err("changed \x1b[2J".into()), START);
    let wrong = text(&draw(&inbox, "laptop", &view(80, 24, 0)));
    assert!(
        wrong.contains("NO LIST: changed \\u{1b}[2J; trying again") && !wrong.contains("[a approve"),
        "{wrong}"
    );
    inbox.tick(Now { ms: 1000, ..START });
    inbox.listed(&key, Ok(packages), START);
    let drawn = draw(&inbox, "laptop", &view(80, 24, 1000));
    assert!(drawn.complete);
    let there = text(&drawn);
    for part in [
        "what      install 500 packages",
        "list      500 lines",
        "| install package-5\n| ... and 495 more (s: show all)",
    ] {
        assert!(there.contains(part), "{part} in {there}");
    }
    assert!(there.contains("[a approve, shows a code]  [s show its list]  [d deny]"), "{there}");
    // Where there is less room its beginning is left out first, and the rest has to be there.
    let low = |height| draw(&inbox, "laptop", &view(80, height, 1000));
    let least = (MIN.1..24).find(|height| low(*height).complete).unwrap();
    assert!(text(&low(least)).contains("| its list has 500 lines (s: show all)"), "{}", text(&low(least)));
    assert!(text(&low(least + 1)).contains("| ... and 499 more (s: show all)"));
}
