//! A real server, a host that speaks through the real client, and the real approver.

use base64ct::{Base64, Encoding};
use countersign_protocol::api::Post;
use countersign_protocol::card::VerifiedCard;
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{
    Approvals, Closed, ClosedOutcome, Confirm, Decision, Envelope, Host, Kind, MessageType, Remote,
    RemoteSource, Request, Sealed, VERSION,
};
use countersign_protocol::pairing::HostPairing;
use countersign_protocol::seal::{self, Recipient};
use countersign_protocol::signed::{SignedMessage, sign_message, verify_message};
use countersign_protocol::{digest, random};
use countersign_relay_client::{Event, Events, RelayClient, Server as Relay, Slot};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest wait for something that must happen.
const SOON: Duration = Duration::from_secs(20);

/// The server's program, built if need be: it is another package's.
fn server_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built =
            Command::new(env!("CARGO")).args(["build", "-q", "-p", "countersign-server"]).status().unwrap();
        assert!(built.success());
        Path::new(env!("CARGO_BIN_EXE_countersign")).with_file_name("countersign-server")
    })
}

/// A directory that goes away with it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let name = format!("countersign-e2e-{}", digest::hex(&random::bytes::<8>()));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on loopback.
pub(crate) struct Server {
    pub(crate) dir: Dir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { dir: Dir::new(), port, child: None };
        server.up();
        server
    }

    pub(crate) fn up(&mut self) {
        let child = Command::new(server_program())
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{}", self.port), "--origin", &self.origin(), "--database"])
            .arg(self.dir.path().join("server.db"))
            .stderr(std::fs::File::create(self.dir.path().join("server.log")).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let end = Instant::now() + SOON;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn token(&self) -> String {
        let out = Command::new(server_program())
            .args(["token", "--database"])
            .arg(self.dir.path().join("server.db"))
            .output()
            .unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

/// An open request at the host.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) message: SignedMessage,
    reply_key: SealKey,
}

/// A host, as far as the approver can see.
pub(crate) struct FakeHost {
    key: Arc<SigningKey>,
    name: String,
    client: Arc<RelayClient>,
    origin: String,
    card: Option<VerifiedCard>,
}

impl FakeHost {
    pub(crate) async fn new(server: &Server, name: &str) -> Self {
        let key = Arc::new(SigningKey::generate());
        let relay = Relay { origin: server.origin(), ca_pem: None };
        let client = Arc::new(RelayClient::new(relay, key.clone()).unwrap());
        client.join(&server.token(), name).await.unwrap();
        Self { key, name: name.into(), client, origin: server.origin(), card: None }
    }

    fn host(&self) -> Host {
        Host { name: self.name.clone(), key: self.key.public_key().to_line() }
    }

    /// The daemon's part of a pairing up to its answer; `start` gets the link and gives the approver.
    pub(crate) async fn meet(&mut self, start: impl FnOnce(&str) -> Approver) -> (HostPairing, Approver) {
        let mut pairing = HostPairing::new(&self.origin, self.host(), "alice").unwrap();
        let mailbox = pairing.mailbox();
        self.client.open_mailbox(&mailbox).await.unwrap();
        let approver = start(&pairing.ticket().link());
        let end = Instant::now() + SOON;
        let first = loop {
            if let Some(mail) = self.client.mails(&mailbox, Slot::First, 0, 5).await.unwrap().pop() {
                break mail;
            }
            assert!(Instant::now() < end, "no device came: {}", approver.said());
        };
        let second = pairing.receive(&first).unwrap();
        self.client.put_mail(&mailbox, Slot::Second, &second).await.unwrap();
        (pairing, approver)
    }

    /// All of a pairing.
    pub(crate) async fn pair(&mut self, start: impl FnOnce(&str) -> Approver) -> Approver {
        let (mut pairing, mut approver) = self.meet(start).await;
        let code = approver.wait("pairing-code")["code"].as_str().unwrap().to_owned();
        self.card = Some(pairing.check(&code).unwrap());
        let receipt = pairing.receipt(&*self.key, now()).unwrap();
        self.client.put_mail(&pairing.mailbox(), Slot::Third, &receipt).await.unwrap();
        approver
    }

    pub(crate) fn request(&self) -> (Request, SealKey) {
        let reply_key = SealKey::generate();
        let request = Request {
            version: VERSION,
            id: digest::hex(&random::bytes::<16>()),
            reply_key: Base64::encode_string(&reply_key.public()),
            host: self.host(),
            user: "alice".into(),
            uid: 1000,
            requester: None,
            service: "sshd".into(),
            kind: Kind::Login,
            command: None,
            action: None,
            terminal: Some("ssh".into()),
            remote: Some(Remote { address: "192.0.2.7".into(), port: None, source: RemoteSource::Kernel }),
            ssh_key: None,
            issued_at: now(),
            expires_in: 60,
            confirm: Confirm::Code,
            lease_max: None,
            approvals: Approvals { needed: 1, from: vec!["alice".into()] },
        };
        (request, reply_key)
    }

    pub(crate) async fn ask(&self) -> Asked {
        let (request, reply_key) = self.request();
        let message = sign_message(&*self.key, &request).unwrap();
        let asked = Asked { request, message, reply_key };
        self.post_request(&asked).await;
        asked
    }

    pub(crate) async fn post_request(&self, asked: &Asked) {
        self.post(MessageType::Request, &asked.request.id, &asked.message).await;
    }

    /// Posts a message whose signature is another key's, in this host's envelope.
    pub(crate) async fn ask_forged(&self) {
        let (request, _) = self.request();
        let message = sign_message(&SigningKey::generate(), &request).unwrap();
        self.post(MessageType::Request, &request.id, &message).await;
    }

    pub(crate) async fn close(&self, asked: &Asked, outcome: ClosedOutcome) {
        let id = asked.request.id.clone();
        let closed =
            Closed { version: VERSION, id, request: asked.message.digest(), outcome, closed_at: now() };
        let message = sign_message(&*self.key, &closed).unwrap();
        self.post(MessageType::Closed, &asked.request.id, &message).await;
    }

    async fn post(&self, message_type: MessageType, id: &str, message: &SignedMessage) {
        let card = self.card.as_ref().unwrap();
        let key = self.key.public_key();
        let envelope =
            Envelope { version: VERSION, message_type, from: key.id(), to: card.key.id(), id: id.into() };
        let sealed =
            seal::seal(message_type, key, &card.recipient(), &envelope, &message.bytes, &message.signature)
                .unwrap();
        let post = Post { messages: vec![sealed], ttl: 120, ring: true };
        let posted = self.client.post(&post).await.unwrap();
        assert!(posted.unknown.is_empty(), "{posted:?}");
    }

    pub(crate) async fn events(&self) -> Events {
        let end = Instant::now() + SOON;
        loop {
            match self.client.events().await {
                Ok(events) => return events,
                Err(e) => assert!(Instant::now() < end, "{e}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The next decision on that request, verified as the daemon would.
    pub(crate) async fn decision(&self, events: &mut Events, asked: &Asked) -> Decision {
        let device = self.card.as_ref().unwrap().key.clone();
        let hash = Recipient::reply_key(asked.reply_key.public()).hash;
        let next = async {
            loop {
                let Event::Decision(sealed) = events.next().await.unwrap() else { continue };
                if id_of(&sealed) == asked.request.id {
                    return sealed;
                }
            }
        };
        let sealed = tokio::time::timeout(SOON, next).await.expect("a decision comes");
        let opened = seal::open(MessageType::Decision, &asked.reply_key, hash, &device, &sealed).unwrap();
        let decision: Decision = verify_message(&opened.body, &opened.signature, &device).unwrap().message;
        assert_eq!(decision.request, asked.message.digest());
        decision
    }
}

fn id_of(sealed: &Sealed) -> String {
    seal::peek(sealed).unwrap().id
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// OpenSSH's agent with a new key.
pub(crate) struct Agent {
    child: Child,
    pub(crate) socket: PathBuf,
    pub(crate) key: PathBuf,
}

impl Agent {
    pub(crate) fn start(dir: &Path) -> Self {
        let (socket, key) = (dir.join("agent"), dir.join("agent_key"));
        let child =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + SOON;
        while !socket.exists() {
            assert!(Instant::now() < end, "ssh-agent does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let agent = Self { child, socket, key };
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&agent.key).status();
        assert!(made.unwrap().success());
        let added =
            Command::new("ssh-add").arg("-q").arg(&agent.key).env("SSH_AUTH_SOCK", &agent.socket).status();
        assert!(added.unwrap().success());
        std::fs::remove_file(&agent.key).unwrap();
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `countersign approve` on a terminal of 80 by 24, with `script` holding its far end.
pub(crate) struct Screen {
    child: Child,
    stdin: ChildStdin,
    bytes: Receiver<Vec<u8>>,
    pub(crate) seen: String,
}

impl Screen {
    pub(crate) fn start(home: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_countersign");
        let line = format!("stty rows 24 cols 80; exec '{program}' approve --home '{}'", home.display());
        let mut child = Command::new("script")
            .args(["-qfec", &line, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, bytes) = channel();
        let mut stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                let _ = tell.send(buffer[..n].to_vec());
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, bytes, seen: String::new() }
    }

    /// Waits until a text was drawn; what came before it is forgotten.
    pub(crate) fn wait(&mut self, text: &str) {
        let end = Instant::now() + SOON;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at);
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} was not drawn:\n{:?}", self.seen),
            }
        }
    }

    pub(crate) fn press(&mut self, key: &str) {
        self.stdin.write_all(key.as_bytes()).unwrap();
        self.stdin.flush().unwrap();
    }

    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The built `countersign approve --plain --json`.
pub(crate) struct Approver {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    seen: Vec<Value>,
    /// How many of them were waited for.
    taken: usize,
}

impl Approver {
    pub(crate) fn start(home: &Path, args: &[&str]) -> Self {
        Self::start_with(home, args, None)
    }

    pub(crate) fn start_with(home: &Path, args: &[&str], agent: Option<&Agent>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["approve", "--plain", "--json", "--home"])
            .arg(home)
            .args(args)
            .env_remove("SSH_AUTH_SOCK")
            .envs(agent.map(|agent| ("SSH_AUTH_SOCK", &agent.socket)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let _ = tell.send(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, seen: Vec::new(), taken: 0 }
    }

    pub(crate) fn said(&self) -> String {
        self.seen.iter().map(|v| format!("{v}\n")).collect()
    }

    /// The next event of that kind, after the last that was waited for.
    pub(crate) fn wait(&mut self, kind: &str) -> Value {
        let end = Instant::now() + SOON;
        loop {
            if let Some(at) = self.seen.iter().skip(self.taken).position(|v| v["event"] == kind) {
                self.taken += at + 1;
                return self.seen[self.taken - 1].clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(value) => self.seen.push(value),
                Err(_) => panic!("no {kind} came:\n{}", self.said()),
            }
        }
    }

    /// Whether an event of that kind ever came, up to now.
    pub(crate) fn saw(&mut self, kind: &str) -> bool {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().any(|v| v["event"] == kind)
    }

    pub(crate) fn line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end; gives its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Approver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
