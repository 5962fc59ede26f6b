use super::*;
use countersign_protocol::login::Begin;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What the daemon does with the next call.
type Turn = Result<Step, Lost>;

/// Calls as the daemon saw them.
type Calls = Rc<RefCell<Vec<Call>>>;

struct FakeDaemon {
    turns: VecDeque<Turn>,
    calls: Calls,
}

impl Daemon for FakeDaemon {
    fn call(&mut self, call: &Call) -> Result<Step, Lost> {
        self.calls.borrow_mut().push(call.clone());
        self.turns.pop_front().unwrap_or(Err(Lost::Silent))
    }
}

struct FakeHost {
    user: &'static str,
    /// PAM_USER once something has been shown or asked.
    user_later: Option<&'static str>,
    root: bool,
    silent: bool,
    /// A set-uid program on a terminal that has told nothing yet.
    tells_by_prompt: bool,
    answer: Option<&'static str>,
    environment: Option<&'static str>,
    connect: Option<Lost>,
    turns: VecDeque<Turn>,
    calls: Calls,
    path: Option<String>,
    shown: Vec<(Style, String)>,
    asked: Vec<String>,
    kept: Option<String>,
    log: RefCell<Vec<String>>,
}

impl FakeHost {
    fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self {
            user: "alice",
            user_later: None,
            root: true,
            silent: false,
            tells_by_prompt: false,
            answer: Some("123456"),
            environment: None,
            connect: None,
            turns: turns.into_iter().collect(),
            calls: Calls::default(),
            path: None,
            shown: vec![],
            asked: vec![],
            kept: None,
            log: RefCell::default(),
        }
    }

    fn begin(&self) -> Begin {
        match &self.calls.borrow()[0] {
            Call::Begin(begin) => begin.as_ref().clone(),
            Call::Continue(_) => panic!("the first call is not Begin"),
        }
    }

    fn continued(&self, index: usize) -> Continue {
        match &self.calls.borrow()[index] {
            Call::Continue(with) => with.clone(),
            Call::Begin(_) => panic!("Begin twice"),
        }
    }
}

impl Host for FakeHost {
    type Daemon = FakeDaemon;

    fn items(&mut self) -> Items {
        Items {
            user: Some(self.user.into()),
            service: Some(b"sshd".into()),
            remote_host: Some(b"192.0.2.7".into()),
            ..Items::default()
        }
    }

    fn user(&self) -> Option<Vec<u8>> {
        let talked = !self.shown.is_empty() || !self.asked.is_empty();
        Some(self.user_later.filter(|_| talked).unwrap_or(self.user).into())
    }

    fn caller(&mut self, _: &str) -> Caller {
        Caller { root: self.root, ..Caller::default() }
    }

    fn connect(&mut self, path: &Path, _: Caller) -> Result<FakeDaemon, Lost> {
        self.path = Some(path.display().to_string());
        match self.connect.take() {
            Some(lost) => Err(lost),
            None => Ok(FakeDaemon { turns: std::mem::take(&mut self.turns), calls: Rc::clone(&self.calls) }),
        }
    }

    fn silent(&self) -> bool {
        self.silent
    }

    fn tells_by_prompt(&mut self) -> bool {
        std::mem::take(&mut self.tells_by_prompt)
    }

    fn say(&mut self, style: Style, text: &str) {
        self.shown.push((style, text.to_owned()));
    }

    fn ask(&mut self, text: &str) -> Option<Zeroizing<String>> {
        self.asked.push(text.to_owned());
        self.answer.map(|answer| Zeroizing::new(answer.to_owned()))
    }

    fn take_token(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        self.environment.take().map(|token| Zeroizing::new(token.into()))
    }

    fn keep_token(&mut self, token: &str) -> bool {
        self.kept = Some(token.to_owned());
        true
    }

    fn log(&self, _: c_int, line: &str) {
        self.log.borrow_mut().push(line.to_owned());
    }
}

fn verdict(outcome: Outcome) -> Turn {
    Ok(Step::Verdict(Verdict { outcome, text: Some("why".to_owned()), token: None }))
}

fn ask() -> Turn {
    Ok(Step::Ask { text: "Code: ".to_owned(), deadline_ms: 1000 })
}

fn say(text: &str) -> Turn {
    Ok(Step::Say { style: Style::Info, text: text.to_owned(), deadline_ms: 1000, always: false })
}

const OUTCOMES: [Outcome; 9] = [
    Outcome::Granted,
    Outcome::Ignored,
    Outcome::Denied,
    Outcome::Expired,
    Outcome::Withdrawn,
    Outcome::Unreachable,
    Outcome::Busy,
    Outcome::Misconfigured,
    Outcome::Fault,
];

#[test]
fn each_outcome_has_its_result() {
    use PamResultCode::*;
    let auth = [
        PAM_SUCCESS,
        PAM_IGNORE,
        PAM_AUTH_ERR,
        PAM_AUTH_ERR,
        PAM_ABORT,
        PAM_AUTHINFO_UNAVAIL,
        PAM_MAXTRIES,
        PAM_AUTHINFO_UNAVAIL,
        PAM_SYSTEM_ERR,
    ];
    for (outcome, expected) in OUTCOMES.into_iter().zip(auth) {
        let mut host = FakeHost::new([verdict(outcome)]);
        assert_eq!(login(&mut host, Stage::Auth, &[]), expected, "{outcome:?}");
        let style = if opens(outcome) { Style::Info } else { Style::Error };
        assert_eq!(host.shown, [(style, "why".to_owned())], "{outcome:?}");
        assert_eq!(host.log.borrow().len(), 1, "{outcome:?}");

        let mut host = FakeHost::new([verdict(outcome)]);
        let expected = if opens(outcome) { expected } else { PAM_SESSION_ERR };
        assert_eq!(login(&mut host, Stage::Session, &[]), expected, "{outcome:?}");
        assert_eq!(host.shown, [(style, "why".to_owned())], "{outcome:?}");
    }
}

#[test]
fn a_line_that_says_passwordless_tells_the_daemon_and_is_never_left_out() {
    let mut host = FakeHost::new([verdict(Outcome::Granted)]);
    login(&mut host, Stage::Auth, &[]);
    assert!(!host.begin().passwordless);
    let mut host = FakeHost::new([verdict(Outcome::Granted)]);
    assert_eq!(login(&mut host, Stage::Auth, &[c"passwordless"]), PamResultCode::PAM_SUCCESS);
    assert!(host.begin().passwordless);

    let mut host = FakeHost::new([]);
    host.connect = Some(Lost::NobodyListens("/run/x.sock".into()));
    let arguments: &[&CStr] = &[c"passwordless", c"daemon_down=ignore"];
    assert_eq!(login(&mut host, Stage::Auth, arguments), PamResultCode::PAM_AUTHINFO_UNAVAIL);
}

#[test]
fn a_code_is_asked_for_and_sent() {
    let mut host = FakeHost::new([
        say("Look at your phone"),
        ask(),
        Ok(Step::Wait { deadline_ms: 1 }),
        verdict(Outcome::Granted),
    ]);
    assert_eq!(login(&mut host, Stage::Auth, &[]), PamResultCode::PAM_SUCCESS);
    assert_eq!(host.path.as_deref(), Some(ROOT_SOCKET));
    let begin = host.begin();
    assert_eq!((begin.user.as_str(), begin.stage, begin.silent), ("alice", Stage::Auth, false));
    assert_eq!(host.continued(1), Continue::default());
    assert_eq!(host.continued(2).answer.unwrap().as_str(), "123456");
    assert_eq!(host.continued(3), Continue::default());
    assert_eq!(host.log.borrow()[0], "granted: user \"alice\" from \"192.0.2.7\": why");
}

#[test]
fn root_others_and_the_administrator_choose_the_socket() {
    let path = |root, arguments: &[&CStr]| {
        let mut host = FakeHost { root, ..FakeHost::new([verdict(Outcome::Denied)]) };
        login(&mut host, Stage::Auth, arguments);
        host.path.unwrap()
    };
    assert_eq!(path(true, &[]), ROOT_SOCKET);
    assert_eq!(path(false, &[]), SELF_SOCKET);
    assert_eq!(path(true, &[c"socket=/run/x.sock"]), "/run/x.sock");
    assert_eq!(path(false, &[c"socket=/run/x.sock"]), "/run/x.sock");
}

#[test]
fn what_cannot_be_asked_is_said_so() {
    let mut host = FakeHost { answer: None, ..FakeHost::new([ask(), verdict(Outcome::Denied)]) };
    assert_eq!(login(&mut host, Stage::Auth, &[]), PamResultCode::PAM_AUTH_ERR);
    assert_eq!(host.continued(1), Continue { answer: None, cannot_ask: true });
}

#[test]
fn the_session_stage_never_prompts() {
    let mut host = FakeHost::new([ask(), verdict(Outcome::Denied)]);
    assert_eq!(login(&mut host, Stage::Session, &[]), PamResultCode::PAM_SESSION_ERR);
    assert!(host.asked.is_empty());
    assert!(host.continued(1).cannot_ask);
}

#[test]
fn a_session_refusal_without_text_is_still_told() {
    let silent_no = || Ok(Step::Verdict(Verdict { outcome: Outcome::Denied, text: None, token: None }));
    let mut host = FakeHost::new([silent_no()]);
    login(&mut host, Stage::Session, &[]);
    assert_eq!(host.shown.len(), 1);
    let mut host = FakeHost::new([silent_no()]);
    login(&mut host, Stage::Auth, &[]);
    assert!(host.shown.is_empty());
}

#[test]
fn silence_hides_all_but_prompts() {
    let turns = [say("a"), ask(), verdict(Outcome::Denied)];
    let mut host = FakeHost { silent: true, ..FakeHost::new(turns) };
    login(&mut host, Stage::Auth, &[]);
    assert!(host.shown.is_empty());
    assert_eq!(host.asked, ["Code: "]);
    assert!(host.begin().silent);
}

#[test]
fn what_is_broken_is_told_by_a_prompt_where_nothing_else_is_seen() {
    let by_prompt = |turns: Vec<Turn>, connect: Option<Lost>, stage| {
        let mut host = FakeHost { silent: true, tells_by_prompt: true, connect, ..FakeHost::new(turns) };
        assert!(!matches!(login(&mut host, stage, &[]), PamResultCode::PAM_SUCCESS));
        // A second try of the same process.
        host.connect = Some(Lost::Silent);
        login(&mut host, stage, &[]);
        assert!(host.shown.is_empty());
        host.asked
    };
    let nobody = || Some(Lost::NobodyListens("/run/x".to_owned()));
    let told = by_prompt(vec![], nobody(), Stage::Auth);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("is not running") && told[0].ends_with(". Press Enter: "), "{told:?}");
    assert_eq!(by_prompt(vec![], nobody(), Stage::Session), [""; 0], "the session stage asks nobody");
    for outcome in [Outcome::Unreachable, Outcome::Misconfigured, Outcome::Fault] {
        assert_eq!(
            by_prompt(vec![verdict(outcome)], None, Stage::Auth),
            ["why. Press Enter: "],
            "{outcome:?}"
        );
        // The daemon has told it; then its second try is told of.
        let asked = by_prompt(vec![ask(), verdict(outcome)], None, Stage::Auth);
        assert_eq!((asked.len(), asked[0].as_str()), (2, "Code: "), "{outcome:?}");
        assert!(asked[1].contains("does not answer"), "{outcome:?}");
    }
    let gone = by_prompt(vec![ask(), Err(Lost::Ended)], None, Stage::Auth);
    assert_eq!((gone.len(), gone[0].as_str()), (2, "Code: "), "the daemon has died after it had asked");
    for outcome in [Outcome::Denied, Outcome::Expired, Outcome::Withdrawn, Outcome::Busy] {
        let mut host = FakeHost { silent: true, tells_by_prompt: true, ..FakeHost::new([verdict(outcome)]) };
        login(&mut host, Stage::Auth, &[]);
        assert_eq!(host.asked, [""; 0], "{outcome:?} is a decision");
    }
}

#[test]
fn every_loss_refuses_and_only_an_absent_daemon_can_be_ignored() {
    let losses: [fn() -> Lost; 9] = [
        || Lost::NobodyListens("/run/x".to_owned()),
        || Lost::Untrusted("x".to_owned()),
        || Lost::Silent,
        || Lost::Ended,
        || Lost::Garbled("x".to_owned()),
        || Lost::Error { name: "x".to_owned(), message: "y".to_owned() },
        || Lost::Withdrawn("x"),
        || Lost::Unsendable(countersign_protocol::frame::FrameError::TooLong),
        || Lost::System("x", nix::errno::Errno::EACCES),
    ];
    for loss in losses {
        let ignorable = matches!(loss(), Lost::NobodyListens(_));
        let ignore: &[&CStr] = &[c"daemon_down=ignore"];
        for arguments in [&[][..], ignore] {
            let expected = match loss() {
                Lost::NobodyListens(_) if arguments == ignore => PamResultCode::PAM_IGNORE,
                Lost::Withdrawn(_) => PamResultCode::PAM_ABORT,
                Lost::Error { .. } | Lost::Unsendable(_) => PamResultCode::PAM_SYSTEM_ERR,
                _ => PamResultCode::PAM_AUTHINFO_UNAVAIL,
            };
            let mut host = FakeHost { connect: Some(loss()), ..FakeHost::new([]) };
            assert_eq!(login(&mut host, Stage::Auth, arguments), expected, "{:?}", loss());
            // The same later on is never ignored.
            let mut host = FakeHost::new([say("a"), Err(loss())]);
            let result = login(&mut host, Stage::Auth, arguments);
            assert!(
                !matches!(result, PamResultCode::PAM_SUCCESS)
                    && (ignorable || !matches!(result, PamResultCode::PAM_IGNORE)),
                "{:?}",
                loss()
            );
        }
    }
    let mut host = FakeHost::new([Err(Lost::NobodyListens(String::new()))]);
    assert_eq!(login(&mut host, Stage::Auth, &[c"daemon_down=ignore"]), PamResultCode::PAM_AUTHINFO_UNAVAIL);
}

#[test]
fn a_changed_user_is_refused() {
    for outcome in [Outcome::Granted, Outcome::Ignored] {
        for stage in [Stage::Auth, Stage::Session] {
            let mut host =
                FakeHost { user_later: Some("root"), ..FakeHost::new([say("a"), verdict(outcome)]) };
            let expected = result(stage, Outcome::Fault);
            assert_eq!(login(&mut host, stage, &[]), expected, "{outcome:?} {stage:?}");
        }
    }
}

#[test]
fn unknown_arguments_refuse_before_anything_is_sent() {
    let mut host = FakeHost { environment: Some("t"), ..FakeHost::new([verdict(Outcome::Granted)]) };
    assert_eq!(login(&mut host, Stage::Session, &[c"failmode=safe"]), PamResultCode::PAM_SESSION_ERR);
    assert!(host.path.is_none() && host.calls.borrow().is_empty());
    assert!(host.environment.is_none(), "the token stays in the environment");
    assert!(host.log.borrow()[0].contains("failmode=safe"));
    let mut host = FakeHost::new([verdict(Outcome::Granted)]);
    assert_eq!(login(&mut host, Stage::Auth, &[c"failmode=safe"]), PamResultCode::PAM_AUTHINFO_UNAVAIL);
}

#[test]
fn too_many_steps_refuse() {
    let steps = |count| std::iter::repeat_with(|| say("a")).take(count).chain([verdict(Outcome::Granted)]);
    let mut host = FakeHost::new(steps(MAX_STEPS - 1));
    assert_eq!(login(&mut host, Stage::Auth, &[]), PamResultCode::PAM_SUCCESS);
    let mut host = FakeHost::new(steps(MAX_STEPS));
    assert_eq!(login(&mut host, Stage::Auth, &[]), PamResultCode::PAM_SYSTEM_ERR);
    assert_eq!(host.calls.borrow().len(), MAX_STEPS);
}

#[test]
fn tokens_go_from_auth_to_session_with_a_grant_only() {
    let with_token = |outcome, token: &str| {
        Ok(Step::Verdict(Verdict { outcome, text: None, token: Some(Zeroizing::new(token.to_owned())) }))
    };
    let kept = |stage, turn| {
        let mut host = FakeHost::new([turn]);
        login(&mut host, stage, &[]);
        host.kept
    };
    assert_eq!(kept(Stage::Auth, with_token(Outcome::Granted, "t0ken")).as_deref(), Some("t0ken"));
    assert_eq!(kept(Stage::Auth, with_token(Outcome::Denied, "t0ken")), None);
    assert_eq!(kept(Stage::Auth, with_token(Outcome::Ignored, "t0ken")), None);
    assert_eq!(kept(Stage::Session, with_token(Outcome::Granted, "t0ken")), None);
    assert_eq!(kept(Stage::Auth, with_token(Outcome::Granted, "two lines\n")), None);

    let mut host = FakeHost { environment: Some("t0ken"), ..FakeHost::new([verdict(Outcome::Granted)]) };
    assert_eq!(login(&mut host, Stage::Session, &[]), PamResultCode::PAM_SUCCESS);
    assert_eq!(host.begin().token.unwrap().as_str(), "t0ken");
}

#[test]
fn texts_cannot_act_on_terminal_or_log() {
    let mut host = FakeHost::new([say("a\x1b[2J\nb"), say(&"x".repeat(2000)), verdict(Outcome::Denied)]);
    host.user = "a\" from \"b\n\u{202e}";
    login(&mut host, Stage::Auth, &[c"debug"]);
    assert_eq!(host.shown[0].1, "a\\u{1b}[2J\\u{a}b");
    assert_eq!(host.shown[1].1.len(), MAX_TEXT);
    let log = host.log.borrow();
    assert_eq!(log.len(), 4);
    assert!(log.iter().all(|line| !line.chars().any(is_active)), "{log:?}");
    assert!(
        log[3].starts_with("denied: user \"a\\\" from \\\"b\\u{a}\\u{202e}\" from \"192.0.2.7\""),
        "{log:?}"
    );
}

#[test]
fn debug_logs_steps_but_no_secrets() {
    let token = Some(Zeroizing::new("t0ken".to_owned()));
    let last = Ok(Step::Verdict(Verdict { outcome: Outcome::Granted, text: None, token }));
    let mut host = FakeHost::new([ask(), last]);
    login(&mut host, Stage::Auth, &[c"debug"]);
    let log = host.log.borrow().join("\n");
    assert!(log.contains("step: ask") && log.contains("step: verdict Granted"), "{log}");
    assert!(!log.contains("t0ken") && !log.contains("123456"), "{log}");
}

#[test]
fn a_panic_refuses() {
    let mut host = FakeHost::new([verdict(Outcome::Granted)]);
    host.calls = Calls::default();
    // The daemon's first call panics: its list of calls is borrowed already.
    let calls = Rc::clone(&host.calls);
    let held = calls.borrow();
    assert_eq!(guarded(&mut host, Stage::Auth, &[]), PamResultCode::PAM_SYSTEM_ERR);
    assert_eq!(guarded(&mut host, Stage::Session, &[]), PamResultCode::PAM_SESSION_ERR);
    drop(held);
    assert!(host.log.borrow().iter().all(|line| line.starts_with("fault: ")));
}

#[test]
fn one_line_turns_a_grant_into_success() {
    let sources = [include_str!("../story.rs"), include_str!("../host.rs"), include_str!("../client.rs")];
    let returned = sources.join("\n").matches("=> PamResultCode::PAM_SUCCESS").count();
    assert_eq!(returned, 1);
}
