//! The built module under the real libpam, with a fake daemon: what each ending of a login becomes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod lab;

use countersign_protocol::frame::MAX_FRAME;
use countersign_protocol::login::{Call, MAX_TEXT, Outcome, Stage, Step, TOKEN_VARIABLE, Verdict};
use lab::{Act, Lab, ask, report, say, verdict, wait};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;
use zeroize::Zeroizing;

const SUCCESS: i32 = 0;
const SYSTEM_ERR: i32 = 4;
/// What libpam makes of a stack in which everybody says PAM_IGNORE.
const ALL_IGNORED: i32 = 6;
const AUTH_ERR: i32 = 7;
const AUTHINFO_UNAVAIL: i32 = 9;
const MAXTRIES: i32 = 11;
const SESSION_ERR: i32 = 14;
const ABORT: i32 = 26;

const ECHO_ON: &str = "shown 2 ";
const ERROR: &str = "shown 3 ";
const INFO: &str = "shown 4 ";

/// A lab whose service `lab` is the module alone.
fn lab(arguments: &str) -> Lab {
    let lab = Lab::new();
    lab.service("lab", arguments);
    lab
}

#[test]
fn a_code_opens() {
    let lab = lab("");
    lab.daemon([say(), ask(), wait(2000), verdict(Outcome::Granted)]);
    let report = lab.run(
        "auth,setcred",
        &["rhost=192.0.2.7", "ruser=bob", "tty=pts/3", "env=SSH_AUTH_INFO_0=publickey x"],
    );
    assert_eq!((report.result("auth"), report.result("setcred")), (SUCCESS, SUCCESS));
    assert_eq!(report.with(ECHO_ON), ["Code: "]);
    assert_eq!(report.with(INFO), ["Look at your phone", "Granted!"]);
    let begin = lab.begin();
    assert_eq!((begin.user.as_str(), begin.service.as_str(), begin.stage), ("alice", "lab", Stage::Auth));
    assert_eq!(begin.remote_host.as_deref(), Some("192.0.2.7"));
    assert_eq!(begin.remote_user.as_deref(), Some("bob"));
    assert_eq!(begin.terminal.as_deref(), Some("pts/3"));
    assert_eq!(begin.ssh_auth_info.as_deref(), Some("publickey x"));
    // The driver is neither sshd nor set-uid.
    assert_eq!((begin.peer, begin.command_line, begin.token), (None, None, None));
    let answer = lab.calls().iter().find_map(|call| match call {
        Call::Continue(with) => with.answer.clone(),
        Call::Begin(_) => None,
    });
    assert_eq!(answer.unwrap().as_str(), "123456");
    assert_eq!(report.with("log ").len(), 1);
    // LOG_AUTHPRIV | LOG_INFO.
    assert!(
        report.logged().starts_with("86 libpam_countersign(lab:auth): granted: user \"alice\""),
        "{report:?}"
    );
}

#[test]
fn each_outcome_has_its_result() {
    let expected = [
        (Outcome::Granted, SUCCESS, SUCCESS),
        (Outcome::Ignored, ALL_IGNORED, ALL_IGNORED),
        (Outcome::Denied, AUTH_ERR, SESSION_ERR),
        (Outcome::Expired, AUTH_ERR, SESSION_ERR),
        (Outcome::Withdrawn, ABORT, SESSION_ERR),
        (Outcome::Unreachable, AUTHINFO_UNAVAIL, SESSION_ERR),
        (Outcome::Busy, MAXTRIES, SESSION_ERR),
        (Outcome::Misconfigured, AUTHINFO_UNAVAIL, SESSION_ERR),
        (Outcome::Fault, SYSTEM_ERR, SESSION_ERR),
    ];
    for (outcome, auth, session) in expected {
        let lab = lab("");
        lab.daemon([verdict(outcome)]);
        let report = lab.run("auth", &[]);
        assert_eq!(report.result("auth"), auth, "{outcome:?}");
        let report = lab.run("open", &[]);
        assert_eq!(report.result("open"), session, "{outcome:?}");
        let style = if matches!(outcome, Outcome::Granted | Outcome::Ignored) { INFO } else { ERROR };
        assert_eq!(report.with("shown ").len(), 1, "{outcome:?}");
        assert_eq!(report.with(style), [format!("{outcome:?}!")]);
    }
}

#[test]
fn ignored_leaves_the_decision_to_the_rest_of_the_stack() {
    for (outcome, next, expected) in [
        (Outcome::Ignored, "pam_permit.so", SUCCESS),
        (Outcome::Ignored, "pam_deny.so", AUTH_ERR),
        (Outcome::Granted, "pam_deny.so", SUCCESS),
        (Outcome::Denied, "pam_deny.so", AUTH_ERR),
    ] {
        let lab = Lab::new();
        let (module, socket) = (lab::module(), lab.socket());
        let ours = format!("auth sufficient {} socket={}", module.display(), socket.display());
        lab.stack("lab", &format!("{ours}\nauth required {next}\n"));
        lab.daemon([verdict(outcome)]);
        assert_eq!(lab.run("auth", &[]).result("auth"), expected, "{outcome:?} {next}");
    }
}

#[test]
fn the_other_functions_decide_nothing() {
    let lab = lab("");
    let report = lab.run("setcred,acct,close,chauthtok", &[]);
    assert_eq!(report.result("setcred"), SUCCESS);
    assert_eq!(report.result("acct"), ALL_IGNORED);
    assert_eq!(report.result("close"), SUCCESS);
    assert_ne!(report.result("chauthtok"), SUCCESS);
    assert!(report.logged().contains("password stack"), "{report:?}");
}

#[test]
fn nobody_listens() {
    // Not there at all, and there but left behind by a daemon that died.
    for stale in [false, true] {
        let lab = lab("");
        if stale {
            drop(UnixListener::bind(lab.socket()).unwrap());
        }
        let report = lab.run("auth,open", &[]);
        assert_eq!((report.result("auth"), report.result("open")), (AUTHINFO_UNAVAIL, SESSION_ERR));
        assert!(report.with(ERROR).iter().all(|line| line.contains("systemctl status countersignd")));
        assert_eq!(report.with(ERROR).len(), 2);
        assert!(report.took < Duration::from_secs(1));

        lab.service("lab", "daemon_down=ignore");
        let report = lab.run("auth,open", &[]);
        assert_eq!((report.result("auth"), report.result("open")), (ALL_IGNORED, ALL_IGNORED));
        assert_eq!(report.with("shown ").len(), 0);
        assert!(report.logged().contains("ignored: user \"alice\": nobody listens"), "{report:?}");
    }
    // The directory is not there either.
    let lab = lab("");
    std::fs::remove_dir(lab.path("run")).unwrap();
    assert_eq!(lab.run("auth", &[]).result("auth"), AUTHINFO_UNAVAIL);
}

#[test]
fn a_broken_daemon_refuses_and_is_never_ignored() {
    let step = |bytes: &[u8]| Act::Raw(bytes.to_vec());
    let granted = br#"{"parameters":{"step":"verdict","outcome":"granted"}}"#;
    let with_nul = [&granted[..], b"\0"].concat();
    let oversized = [&b"{\"parameters\":"[..], &[b' '; MAX_FRAME], b"1}\0"].concat();
    let faults: [(&str, Vec<Act>); 9] = [
        ("closes at once", vec![Act::Close]),
        ("dies after a step", vec![say(), Act::Close]),
        ("dies at the prompt", vec![ask(), Act::Close]),
        ("garbage", vec![step(b"\xff\xfegarbage\0")]),
        ("no JSON", vec![step(b"granted\0")]),
        ("unknown outcome", vec![step(b"{\"parameters\":{\"step\":\"verdict\",\"outcome\":\"welcome\"}}\0")]),
        ("oversized", vec![Act::Raw(oversized)]),
        ("endless", vec![step(&[b'x'; 4 * MAX_FRAME])]),
        ("two verdicts", vec![step(&[&with_nul[..], &with_nul[..]].concat())]),
    ];
    for (name, acts) in faults {
        let lab = lab("daemon_down=ignore");
        lab.daemon(acts);
        let report = lab.run("auth,open", &[]);
        assert_eq!((report.result("auth"), report.result("open")), (AUTHINFO_UNAVAIL, SESSION_ERR), "{name}");
        assert_eq!(report.with(ERROR).len(), 2, "{name}: {report:?}");
        assert!(report.took < Duration::from_secs(2), "{name}");
        assert_eq!(report.with("log ").len(), 2, "{name}");
    }
}

#[test]
fn a_reply_as_long_as_a_frame_may_be_is_read() {
    let (head, tail) = (&b"{\"parameters\":{\"step\":\"verdict\","[..], &b"\"outcome\":\"granted\"}}"[..]);
    for (length, granted) in [(1_023, true), (1_024, true), (MAX_FRAME, true), (MAX_FRAME + 1, false)] {
        let blanks = vec![b' '; length - head.len() - tail.len()];
        let lab = lab("");
        lab.daemon([Act::Raw([head, &blanks, tail, b"\0"].concat())]);
        let expected = if granted { SUCCESS } else { AUTHINFO_UNAVAIL };
        assert_eq!(lab.run("auth", &[]).result("auth"), expected, "{length}");
    }
}

#[test]
fn an_error_reply_refuses() {
    let lab = lab("daemon_down=ignore");
    let error = br#"{"error":"org.countersign.Login.BadCall","parameters":{"message":"countersign: newer"}}"#;
    lab.daemon([Act::Raw([&error[..], b"\0"].concat())]);
    let report = lab.run("auth", &[]);
    assert_eq!(report.result("auth"), SYSTEM_ERR);
    assert_eq!(report.with(ERROR), ["countersign: newer"]);
    assert!(report.logged().contains("org.countersign.Login.BadCall"));
}

#[test]
fn a_silent_daemon_is_given_up() {
    // From the start: the first reply has its own limit.
    let lab1 = lab("daemon_down=ignore");
    lab1.daemon([Act::Hang]);
    let report = lab1.run("auth", &[]);
    assert_eq!(report.result("auth"), AUTHINFO_UNAVAIL);
    assert!((2.9..4.0).contains(&report.took.as_secs_f32()), "{report:?}");
    // Later: the limit of the last step.
    for act in [wait(300), Act::Reply(Step::Ask { text: "Code: ".to_owned(), deadline_ms: 300 })] {
        let lab = lab("daemon_down=ignore");
        lab.daemon([act, Act::Hang]);
        let report = lab.run("auth", &[]);
        assert_eq!(report.result("auth"), AUTHINFO_UNAVAIL);
        assert!((0.3..1.5).contains(&report.took.as_secs_f32()), "{report:?}");
    }
    // It never accepts: the connection is made by the kernel, and nothing comes.
    let lab = lab("daemon_down=ignore");
    let _listener = UnixListener::bind(lab.socket()).unwrap();
    let report = lab.run("auth", &[]);
    assert_eq!(report.result("auth"), AUTHINFO_UNAVAIL);
    assert!(report.took < Duration::from_secs(4));
}

#[test]
fn a_full_queue_is_given_up() {
    let lab = lab("daemon_down=ignore");
    let listener = UnixListener::bind(lab.socket()).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(lab.socket()).unwrap();
    let report = lab.run("auth", &[]);
    assert_eq!(report.result("auth"), AUTHINFO_UNAVAIL);
    assert!((2.9..4.0).contains(&report.took.as_secs_f32()), "{report:?}");
}

#[test]
fn a_conversation_that_cannot_ask_is_told_to_the_daemon() {
    for conversation in ["conv=fail", "conv=null", "conv=noanswer"] {
        let lab = lab("");
        lab.daemon([say(), ask(), verdict(Outcome::Denied)]);
        let report = lab.run("auth", &[conversation]);
        assert_eq!(report.result("auth"), AUTH_ERR, "{conversation}");
        let last = lab.last_continue();
        assert!(last.cannot_ask && last.answer.is_none(), "{conversation}: {last:?}");
    }
}

/// Else whoever types could have a tap asked for in place of a code.
#[test]
fn an_answer_that_is_no_short_text_is_still_an_answer() {
    for conversation in ["conv=latin1", "conv=long"] {
        let lab = lab("");
        lab.daemon([ask(), verdict(Outcome::Denied)]);
        let report = lab.run("auth", &[conversation]);
        assert_eq!(report.result("auth"), AUTH_ERR, "{conversation}");
        let last = lab.last_continue();
        let answer = last.answer.expect("what was typed");
        assert!(!last.cannot_ask && !answer.is_empty() && answer.len() <= MAX_TEXT, "{conversation}");
    }
}

#[test]
fn silence_hides_all_but_prompts() {
    let lab = lab("");
    lab.daemon([say(), ask(), verdict(Outcome::Granted)]);
    let report = lab.run("auth", &["silent"]);
    assert_eq!(report.result("auth"), SUCCESS);
    assert_eq!(report.with("shown "), ["2 Code: "]);
    assert!(lab.begin().silent);
}

#[test]
fn an_item_that_is_no_text_is_named_and_refused() {
    let lab = lab("daemon_down=ignore");
    lab.daemon([verdict(Outcome::Granted)]);
    let mut command = lab.command("lab", "alice", "auth,open", &[]);
    command.arg(OsStr::from_bytes(b"tty=pts/\xff"));
    let refused = report(command);
    assert_eq!((refused.result("auth"), refused.result("open")), (SYSTEM_ERR, SESSION_ERR));
    assert!(refused.logged().contains("PAM_TTY is not UTF-8"), "{refused:?}");

    let refused = lab.run("auth", &[&format!("rhost={}", "x".repeat(300))]);
    assert_eq!(refused.result("auth"), SYSTEM_ERR);
    assert!(refused.logged().contains("PAM_RHOST is longer than 256 bytes"), "{refused:?}");
    assert!(lab.calls().is_empty(), "nothing of it is sent");
}

#[test]
fn a_user_that_is_no_text_is_refused() {
    let lab = lab("");
    lab.daemon([verdict(Outcome::Granted)]);
    let report = report(lab.command("lab", OsStr::from_bytes(b"al\xe9"), "auth", &[]));
    assert_eq!(report.result("auth"), SYSTEM_ERR);
    assert!(report.logged().contains("PAM_USER is not UTF-8"), "{report:?}");
    assert!(lab.calls().is_empty());
}

#[test]
fn no_user_is_asked_for_and_none_is_refused() {
    let lab = lab("");
    lab.daemon([verdict(Outcome::Denied)]);
    let asked = report(lab.command("lab", "", "auth", &["answer=carol"]));
    assert_eq!(asked.result("auth"), AUTH_ERR);
    assert_eq!(lab.begin().user, "carol");
    let refused = report(lab.command("lab", "", "auth", &["conv=fail"]));
    assert_eq!(refused.result("auth"), SYSTEM_ERR);
    assert!(refused.logged().contains("PAM_USER is not set"), "{refused:?}");
}

#[test]
fn an_unknown_argument_refuses() {
    let lab = lab("failmode=safe");
    lab.daemon([verdict(Outcome::Granted)]);
    let report = lab.run("auth,open", &[]);
    assert_eq!((report.result("auth"), report.result("open")), (AUTHINFO_UNAVAIL, SESSION_ERR));
    assert!(report.logged().contains("failmode=safe"), "{report:?}");
    assert!(lab.calls().is_empty());
}

#[test]
fn a_user_changed_during_the_wait_is_refused() {
    for (outcome, auth) in [(Outcome::Granted, SYSTEM_ERR), (Outcome::Ignored, SYSTEM_ERR)] {
        let lab = lab("");
        lab.daemon([say(), verdict(outcome)]);
        assert_eq!(lab.run("auth", &["rename=root"]).result("auth"), auth);
        assert_eq!(lab.run("open", &["rename=root"]).result("open"), SESSION_ERR);
    }
}

#[test]
fn a_token_goes_from_auth_to_session_and_is_gone_then() {
    let token = Some(Zeroizing::new("t0ken".to_owned()));
    let lab = lab("");
    lab.daemon([Act::Reply(Step::Verdict(Verdict { outcome: Outcome::Granted, text: None, token }))]);
    assert_eq!(lab.run("auth", &[]).with("token "), ["t0ken"]);
    let report = lab.run("auth,open", &[]);
    assert_eq!((report.result("open"), report.with("token ")), (SUCCESS, vec!["-"]));
    let last = match lab.calls().pop() {
        Some(Call::Begin(begin)) => begin.token,
        other => panic!("no Begin, but {other:?}"),
    };
    assert_eq!(last.as_deref().map(String::as_str), Some("t0ken"));

    // Gone even if the login cannot be asked about.
    for arguments in ["", "unknown"] {
        lab.service("gone", arguments);
        let token = format!("env={TOKEN_VARIABLE}=t0ken");
        std::fs::remove_file(lab.socket()).ok();
        let report = lab::report(lab.command("gone", "alice", "open", &[&token]));
        assert_eq!((report.result("open"), report.with("token ")), (SESSION_ERR, vec!["-"]));
    }
}

#[test]
fn debug_logs_steps_without_answers() {
    let lab = lab("debug");
    lab.daemon([ask(), verdict(Outcome::Granted)]);
    let report = lab.run("auth", &["answer=987654"]);
    assert!(report.logged().contains("step: ask \"Code: \""), "{report:?}");
    assert!(!report.logged().contains("987654"), "{report:?}");
}
