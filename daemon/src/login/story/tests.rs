//! Whole logins: the module's end of a socket pair, a push server and a phone around the real story.

mod ask;
mod code;
mod ends;
mod factors;
mod fatigue;
mod late;
mod lease;
mod offline;
mod pairing;
mod policy;
mod principals;
mod several;
mod shared;
mod tap;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::frame::Reply;
use countersign_protocol::login::{Begin, Call, Continue, Outcome, Stage, Step, VERSION, Verdict};
use countersign_protocol::message::{Answer, ClosedOutcome};
use countersign_relay_client::{RelayClient, Server};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use crate::caller::Caller;
use crate::connection::Connection;
use crate::login::state::State;
use crate::testing::push::Push;
use crate::testing::{Asked, Heard, Lab, TestDevice};
use crate::{clock, login, relay};
use countersign_policy::{self as config, Loaded, Rule};

/// The one user whom every machine has.
const USER: &str = "root";
const CODE: &str = "482913";
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon with a paired phone.
struct Scene {
    lab: Lab,
    push: Push,
    phone: TestDevice,
}

impl Scene {
    /// Connected to its server.
    async fn new(change: impl FnOnce(&mut Rule)) -> Self {
        let scene = Self::offline(change).await;
        scene.connect().await;
        scene
    }

    /// Without a server until [`Self::connect`].
    async fn offline(change: impl FnOnce(&mut Rule)) -> Self {
        let (lab, push, phone) = (Lab::new(), Push::start().await, TestDevice::new());
        lab.pair(USER, &phone).await;
        let factors = "[default]\ncodes = [\"recovery\"]\noffline = [\"recovery\"]\n";
        let mut config = config::read(&format!("server = \"{}\"\n{factors}", push.origin)).unwrap();
        change(&mut config.default);
        *lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(config)), faults: Vec::new() };
        spawn_local(relay::run(Rc::clone(&lab.app)));
        spawn_local(relay::tell(Rc::clone(&lab.app)));
        Self { lab, push, phone }
    }

    async fn connect(&self) {
        let server = Server { origin: self.push.origin.clone(), ca_pem: None };
        let key = Arc::clone(&self.lab.app.host.key);
        self.lab.app.relay.set_client(Some(Arc::new(RelayClient::new(server, key).unwrap())));
        let up = async {
            while !self.lab.app.relay.is_up() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, up).await.expect("it connects");
    }

    /// One whose server was there, and is gone.
    async fn away(change: impl FnOnce(&mut Rule)) -> Self {
        let scene = Self::new(change).await;
        scene.lab.app.relay.set_client(None);
        while scene.lab.app.logins.away_for().is_none() {
            sleep(Duration::from_millis(5)).await;
        }
        scene
    }

    /// Ends the stream; comes back when that was noticed, a moment before it is opened anew.
    async fn cut(&self) {
        self.push.cut();
        let down = async {
            while self.lab.app.relay.is_up() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, down).await.expect("it is noticed");
    }

    fn call(&self, caller: Caller, begin: Begin) -> Peer {
        call_at(&self.lab, caller, begin)
    }

    /// Begins a login of root's.
    fn login(&self, begin: Begin) -> Peer {
        login_at(&self.lab, begin)
    }

    /// The request that is posted next.
    async fn asked(&mut self) -> Asked {
        match self.phone.hear(&self.lab, &self.push.next().await.messages[0]) {
            Heard::Request(asked) => *asked,
            Heard::Closed(closed) => panic!("a request was expected, and one has ended: {closed:?}"),
            Heard::Notice(told) => panic!("a request was expected, not {:?}", told.notice),
        }
    }

    /// How the request ended whose end is posted next.
    async fn closed(&mut self) -> ClosedOutcome {
        match self.phone.hear(&self.lab, &self.push.next().await.messages[0]) {
            Heard::Closed(closed) => closed.outcome,
            Heard::Request(asked) => panic!("an end was expected, not request {}", asked.request.id),
            Heard::Notice(told) => panic!("an end was expected, not {:?}", told.notice),
        }
    }

    /// The phone answers, and the daemon has understood it.
    async fn answer(&self, asked: &Asked, answer: Answer) {
        let before = self.state(asked);
        self.push.deliver(&self.phone.reply(&self.lab, asked, answer, CODE));
        let taken = async {
            while self.state(asked) == before {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, taken).await.expect("the answer is taken");
    }

    /// An administrator forgets what was held against anybody.
    async fn unblock(&self) {
        self.lab.app.fatigue.forget(None, None).await.unwrap();
    }

    fn state(&self, asked: &Asked) -> State {
        self.lab.app.logins.requests.borrow()[&asked.request.id].state()
    }

    fn audit(&self) -> String {
        std::fs::read_to_string(self.lab.app.paths.own("audit.jsonl")).unwrap()
    }
}

fn call_at(lab: &Lab, caller: Caller, begin: Begin) -> Peer {
    let (here, there) = UnixStream::pair().unwrap();
    let serving = spawn_local(login::serve(Rc::clone(&lab.app), caller, Connection::new(there), begin));
    Peer { connection: Connection::new(here), serving }
}

fn login_at(lab: &Lab, begin: Begin) -> Peer {
    call_at(lab, Caller { uid: 0, gid: 0, pid: None, root_socket: true }, begin)
}

/// The module's end.
struct Peer {
    connection: Connection,
    serving: JoinHandle<()>,
}

impl Peer {
    async fn step(&mut self) -> Step {
        let reply = timeout(PATIENCE, self.connection.recv::<Reply<Step>>()).await.expect("a reply").unwrap();
        match reply.expect("the daemon has closed") {
            Reply::Parameters { parameters } => parameters,
            Reply::Error { error, .. } => panic!("{error}"),
        }
    }

    /// The text of the prompt that comes next.
    async fn prompt(&mut self) -> String {
        match self.step().await {
            Step::Ask { text, .. } => text,
            other => panic!("a prompt was expected: {other:?}"),
        }
    }

    async fn verdict(&mut self) -> Verdict {
        match self.step().await {
            Step::Verdict(verdict) => verdict,
            other => panic!("a verdict was expected: {other:?}"),
        }
    }

    async fn outcome(&mut self) -> Outcome {
        self.verdict().await.outcome
    }

    async fn answer(&mut self, text: &str) {
        let answer = Some(Zeroizing::new(text.to_owned()));
        self.go_on(Continue { answer, cannot_ask: false }).await;
    }

    async fn cannot_ask(&mut self) {
        self.go_on(Continue { answer: None, cannot_ask: true }).await;
    }

    async fn go_on(&mut self, next: Continue) {
        self.connection.send(&Call::Continue(next)).await.unwrap();
    }

    /// Hangs up; comes back when the daemon has written that down.
    async fn hang_up(self) {
        drop(self.connection);
        timeout(PATIENCE, self.serving).await.expect("the login ends").unwrap();
    }
}

fn begin(service: &str, stage: Stage) -> Begin {
    Begin {
        version: VERSION,
        stage,
        service: service.to_owned(),
        user: USER.to_owned(),
        remote_host: None,
        remote_user: None,
        terminal: None,
        ssh_auth_info: None,
        command_line: None,
        peer: None,
        session: None,
        silent: false,
        token: None,
        passwordless: false,
        action: None,
    }
}

fn sshd() -> Begin {
    begin("sshd", Stage::Auth)
}

/// A wait that a test can see the end of.
fn short(rule: &mut Rule) {
    rule.wait = Duration::from_secs(1);
}

async fn play<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}
