//! The built command against a daemon that says what the test wants.

use countersign_protocol::frame;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// As long as real ones are.
const LINK: &str =
    "https://push.example.com/pair#1.AAECAwQFBgcICQoLDA0ODw.47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

/// What the daemon answers to a call of this method, as raw bytes or as JSON.
enum Answer {
    Reply(Value),
    Raw(Vec<u8>),
    /// Never.
    Silence,
}

/// Sockets with a daemon that plays a script of one connection, and gives the calls that it got.
struct Daemon {
    run: PathBuf,
    play: Option<JoinHandle<Vec<Value>>>,
}

fn call(stream: &mut UnixStream) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).ok()? == 1 {
        if byte[0] == frame::END {
            return Some(serde_json::from_slice(&bytes).unwrap());
        }
        bytes.push(byte[0]);
    }
    None
}

impl Daemon {
    fn new(script: Vec<Answer>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let run = std::env::temp_dir().join(format!("countersign-cmd-{}-{n}", std::process::id()));
        std::fs::create_dir(&run).unwrap();
        let name = if nix::unistd::geteuid().is_root() { "pam.sock" } else { "self.sock" };
        let listener = UnixListener::bind(run.join(name)).unwrap();
        let play = std::thread::spawn(move || {
            let mut calls = Vec::new();
            if script.is_empty() {
                return calls;
            }
            let (mut stream, _) = listener.accept().unwrap();
            for answer in script {
                let Some(got) = call(&mut stream) else { break };
                calls.push(got);
                match answer {
                    Answer::Reply(value) => stream.write_all(&frame::encode(&value).unwrap()).unwrap(),
                    // The command hangs up in the middle of what is too long.
                    Answer::Raw(bytes) => drop(stream.write_all(&bytes)),
                    Answer::Silence => drop(call(&mut stream)),
                }
            }
            calls
        });
        Self { run, play: Some(play) }
    }

    fn answering(replies: &[Value]) -> Self {
        Self::new(replies.iter().map(|r| Answer::Reply(json!({ "parameters": r }))).collect())
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        command(&self.run, args, input)
    }

    fn calls(mut self) -> Vec<Value> {
        self.play.take().unwrap().join().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.run);
    }
}

fn command(run: &std::path::Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("--run")
        .arg(run)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input has ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    out(output).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn status(connected: bool, faults: &[&str]) -> Value {
    json!({
        "version": "0.1.0", "host": "web1", "host_key": "SHA256:abc", "server": "https://push.example.com",
        "connected": connected, "waiting": 0, "devices": 1, "config_faults": faults,
    })
}

#[test]
fn status_says_by_its_exit_code_what_is_wrong() {
    for (answer, code) in
        [(status(true, &[]), 0), (status(false, &[]), 3), (status(false, &["countersign.toml:1:1: no"]), 5)]
    {
        let daemon = Daemon::answering(&[answer]);
        assert_eq!(daemon.run(&["status"], "").status.code(), Some(code));
        assert_eq!(daemon.calls()[0]["method"], "org.countersign.Manage.Status");
    }
}

#[test]
fn without_a_daemon_the_next_step_is_said() {
    let output = command(std::path::Path::new("/nonexistent/run"), &["status"], "");
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("systemctl start countersignd"), "{}", err(&output));
    assert_eq!(err(&output).lines().count(), 1);
}

#[test]
fn errors_have_their_exit_codes_and_are_inert() {
    for (name, code) in
        [("NotPermitted", 4), ("Refused", 1), ("NotFound", 1), ("Unreachable", 3), ("Fault", 5), ("New", 5)]
    {
        let reply = json!({ "error": format!("org.countersign.Manage.{name}"), "parameters": { "message": "no\u{1b}[2J" } });
        let daemon = Daemon::new(vec![Answer::Reply(reply)]);
        let output = daemon.run(&["devices"], "");
        assert_eq!(output.status.code(), Some(code), "{name}");
        assert_eq!(err(&output), "countersign: no\\u{1b}[2J\n");
    }
}

#[test]
fn garbage_and_endless_answers_are_refused() {
    for raw in [b"garbage\0".to_vec(), b"{\"parameters\":{}}\0".to_vec(), vec![b'x'; 100_000]] {
        let daemon = Daemon::new(vec![Answer::Raw(raw)]);
        assert_eq!(daemon.run(&["status"], "").status.code(), Some(5));
    }
    let daemon = Daemon::new(vec![Answer::Raw(Vec::new())]);
    assert_eq!(daemon.run(&["status"], "").status.code(), Some(3), "it hung up");
}

const TICKET: &str = "00082-03g40-81041-8g70g-2c1s7r";

fn opened() -> Value {
    json!({ "step": "opened", "link": LINK, "ticket": TICKET, "expires_in": 300 })
}

fn rang() -> Value {
    json!({ "answer": "rang" })
}

/// The methods of calls, without what they all begin with.
fn methods(calls: &[Value]) -> Vec<&str> {
    calls.iter().map(|c| c["method"].as_str().unwrap().rsplit('.').next().unwrap()).collect()
}

fn answered() -> Value {
    json!({ "name": "phone\u{1b}[1m", "fingerprint": "SHA256:dev", "tries": 3 })
}

fn paired() -> Value {
    json!({ "result": "paired", "user": "alice", "name": "phone", "fingerprint": "SHA256:dev", "paired_at": 1 })
}

#[test]
fn pairing_without_a_terminal_prints_the_link_first_and_reads_codes() {
    let wrong = json!({ "result": "wrong", "tries": 2 });
    let daemon = Daemon::answering(&[opened(), answered(), wrong, paired(), rang()]);
    // A slip that is no code at all costs no try.
    let output = daemon.run(&["pair", "alice"], "12345\n111111\n222 222\n");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    assert_eq!(text.lines().next(), Some(LINK));
    assert!(text.contains(TICKET) && text.contains("We just rang this phone"), "{text}");
    assert!(text.contains("It rang.\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains("countersign codes alice --recovery"), "{text}");
    let calls = daemon.calls();
    assert_eq!(methods(&calls), ["Pair", "PairWait", "PairCode", "PairCode", "Ring"]);
    assert_eq!(calls[3]["parameters"]["code"], "222222");
}

#[test]
fn pairing_tells_programs_every_step() {
    let approve = |tries| json!({ "step": "approve", "tries": tries, "expires_in": 60 });
    let script = [approve(3), approve(3), approve(2), opened(), answered(), paired(), json!({})];
    let daemon = Daemon::answering(&script);
    // An empty line only waits for the decision.
    let output = daemon.run(&["pair", "alice", "--json"], "\n111111\n222222\n123456\n");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let said = objects(&output);
    let events: Vec<_> = said.iter().map(|o| o["event"].as_str().unwrap()).collect();
    let expected = ["approve", "approve", "approve", "opened", "answered", "paired", "ringing", "rung"];
    assert_eq!(events, expected);
    assert_eq!(said[3]["ticket"], TICKET);
    assert_eq!((&said[7]["answered"], &said[7]["skipped"]), (&json!(false), &json!(false)));
    let calls = daemon.calls();
    assert_eq!(calls[1]["parameters"]["code"], "");
    assert_eq!(calls[3]["parameters"]["code"], "222222");
}

/// The device is paired, whether it rings or not.
#[test]
fn what_came_of_the_ring_is_said_and_changes_nothing() {
    let fault = json!({ "error": "org.countersign.Manage.Unreachable", "parameters": { "message": "gone" } });
    for (answer, words) in [
        (
            Answer::Reply(json!({ "parameters": { "answer": "denied" } })),
            "make sure that it is the right phone",
        ),
        (Answer::Reply(json!({ "parameters": {} })), "may show notifications"),
        (Answer::Reply(fault), "could not be rung: gone"),
        (Answer::Raw(Vec::new()), "could not be rung"),
    ] {
        let reply = |value: Value| Answer::Reply(json!({ "parameters": value }));
        let daemon = Daemon::new(vec![reply(opened()), reply(answered()), reply(paired()), answer]);
        let output = daemon.run(&["pair", "alice"], "123456\n");
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(out(&output).contains(words), "{}", out(&output));
        assert!(out(&output).contains("countersign codes alice --recovery"));
    }
    let daemon = Daemon::answering(&[opened(), answered(), paired()]);
    let output = daemon.run(&["pair", "alice", "--no-ring"], "123456\n");
    assert_eq!(output.status.code(), Some(0));
    assert!(!out(&output).contains("rang"));
    assert_eq!(methods(&daemon.calls()), ["Pair", "PairWait", "PairCode"]);
}

#[test]
fn three_wrong_codes_or_none_end_a_pairing() {
    let wrong = |tries| json!({ "result": "wrong", "tries": tries });
    let daemon = Daemon::answering(&[opened(), answered(), wrong(2), wrong(1), wrong(0)]);
    let output = daemon.run(&["pair", "alice"], "111111\n222222\n333333\n444444\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(daemon.calls().len(), 5);
    let daemon = Daemon::answering(&[opened(), answered()]);
    let output = daemon.run(&["pair", "alice"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("nothing was paired"));
}

#[test]
fn recovery_codes_are_printed_once_with_what_to_do() {
    let daemon = Daemon::answering(&[json!({ "codes": ["aaaa-bbbb-cccc-dddd", "eeee-ffff-gggg-hhhh"] })]);
    let output = daemon.run(&["codes", "alice", "--recovery", "--count", "2"], "");
    let text = out(&output);
    assert!(text.contains("    aaaa-bbbb-cccc-dddd\n") && text.contains("earlier ones have ended"), "{text}");
    assert_eq!(daemon.calls()[0]["parameters"]["count"], 2);
    let daemon = Daemon::answering(&[]);
    for args in [["codes", "alice", "--count", "2"], ["codes", "alice", "--recovery", "--count=21"]] {
        assert_eq!(daemon.run(&args, "").status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_token_can_stay_off_the_command_line() {
    let daemon =
        Daemon::answering(&[json!({ "server": "https://push.example.com", "host_key": "SHA256:abc" })]);
    let output = daemon.run(&["join", "--token", "-"], "join-secret\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(daemon.calls()[0]["parameters"]["token"], "join-secret");
    assert_eq!(
        command(std::path::Path::new("/nonexistent"), &["join", "--token", "-"], "").status.code(),
        Some(2)
    );
}

#[test]
fn revoking_nothing_is_a_refusal() {
    let daemon = Daemon::answering(&[json!({ "devices": [] })]);
    assert_eq!(daemon.run(&["revoke", "alice", "phone"], "").status.code(), Some(1));
}

fn verdict(outcome: &str) -> Value {
    json!({ "step": "verdict", "outcome": outcome, "text": "as it is", "token": "secret" })
}

#[test]
fn a_test_login_does_what_the_module_would() {
    let ask = json!({ "step": "ask", "text": "Type its code: ", "deadline_ms": 5000 });
    let say = json!({ "step": "say", "style": "info", "text": "one\u{1b}moment", "deadline_ms": 5000 });
    let wait = json!({ "step": "wait", "deadline_ms": 5000 });
    let daemon = Daemon::answering(&[say, ask, wait, verdict("granted")]);
    let output = daemon.run(&["test-login", "alice", "--service", "sshd"], "123456\n");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(err(&output).contains("one\\u{1b}moment") && err(&output).contains("Type its code: "));
    assert!(!out(&output).contains("secret"), "the token is the session's");
    let calls = daemon.calls();
    let begin = &calls[0]["parameters"];
    assert_eq!(calls[0]["method"], "org.countersign.Login.Begin");
    assert_eq!((&begin["user"], &begin["service"]), (&json!("alice"), &json!("sshd")));
    assert_eq!(calls[2]["parameters"]["answer"], "123456");
}

#[test]
fn the_exit_code_of_a_test_login_is_its_outcome() {
    for (outcome, code) in [
        ("ignored", 0),
        ("denied", 1),
        ("expired", 1),
        ("withdrawn", 1),
        ("busy", 1),
        ("unreachable", 3),
        ("misconfigured", 5),
        ("fault", 5),
        ("a-new-one", 5),
    ] {
        let daemon = Daemon::answering(&[verdict(outcome)]);
        let output = daemon.run(&["test-login", "alice", "--service", "sshd", "--json"], "");
        assert_eq!(output.status.code(), Some(code), "{outcome}");
    }
}

#[test]
fn an_interrupted_test_login_says_how_it_ended() {
    let ask = json!({ "step": "ask", "text": "Code: ", "deadline_ms": 5000 });
    let daemon = Daemon::answering(&[ask, verdict("granted")]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("--run")
        .arg(&daemon.run)
        .args(["test-login", "alice", "--service", "sshd"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut prompt = [0; 6];
    child.stderr.as_mut().unwrap().read_exact(&mut prompt).unwrap();
    assert_eq!(&prompt, b"Code: ");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    // Its standard input stays open: nothing but the signal ends it.
    let _input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "Login withdrawn.\n");
    assert_eq!(daemon.calls().len(), 1, "the connection's end withdraws it");
}

#[test]
fn a_test_login_without_input_says_so_and_a_hung_daemon_ends_it() {
    let ask = json!({ "step": "ask", "text": "Code: ", "deadline_ms": 5000 });
    let daemon = Daemon::answering(&[ask, verdict("denied")]);
    assert_eq!(daemon.run(&["test-login", "alice", "--service", "sshd"], "").status.code(), Some(1));
    assert_eq!(daemon.calls()[1]["parameters"]["cannot_ask"], true);
    let daemon = Daemon::new(vec![Answer::Silence]);
    let begun = std::time::Instant::now();
    let output = daemon.run(&["test-login", "alice", "--service", "sshd"], "");
    assert_eq!(output.status.code(), Some(3));
    assert!(begun.elapsed().as_secs() < 6);
}

#[test]
fn every_help_tells_the_exit_codes_it_needs() {
    let daemon = Daemon::answering(&[]);
    for args in [&["--help"][..], &["pair", "--help"], &["approve", "--help"], &["test-login", "--help"]] {
        let output = daemon.run(args, "");
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("Exit codes:"), "{args:?}");
    }
}

/// Runs the command on a terminal of that size, with `script` holding its far end.
fn on_terminal(daemon: &Daemon, rows: u16, columns: u16, args: &str, input: &str) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_countersign");
    let line =
        format!("stty rows {rows} cols {columns}; exec '{program}' --run '{}' {args}", daemon.run.display());
    let mut child = Command::new("script")
        .args(["-qfec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), out(&output))
}

#[test]
fn on_a_terminal_pairing_draws_a_code_where_it_fits() {
    for (rows, columns, drawn) in [(60, 120, true), (24, 80, true), (24, 40, false)] {
        let daemon = Daemon::answering(&[opened(), answered(), paired(), rang()]);
        let (code, text) = on_terminal(&daemon, rows, columns, "pair alice", "123456\n");
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(text.contains("\u{1b}[30;47;107m"), drawn, "{columns}x{rows}: {text}");
        assert!(
            text.contains("/pair#1.AAEC") && text.contains(TICKET) && text.contains("waiting 4:59"),
            "{text}"
        );
        assert!(!text.contains("phone\u{1b}[1m"), "the name is the phone's word: {text}");
    }
}
