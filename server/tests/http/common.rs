//! A running server, and callers with keys.

use countersign_protocol::api::{
    Challenge, ChallengeFor, Join, Mail, Problem, Proof, Register, SignedCard, Token, event,
};
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::message::{Card, Envelope, MessageType, PADDED, Sealed};
use countersign_protocol::{auth, card, digest, random};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign-server");
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is killed when the test ends.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    dir: Arc<TempDir>,
    /// For example `http://127.0.0.1:12345`.
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(Arc::new(tempfile::tempdir().unwrap()), "127.0.0.1:0", &[], "")
    }

    pub(crate) fn with_config(toml: &str) -> Self {
        Self::start_with(Arc::new(tempfile::tempdir().unwrap()), "127.0.0.1:0", &[], toml)
    }

    pub(crate) fn start_with(dir: Arc<TempDir>, listen: &str, options: &[&str], toml: &str) -> Self {
        std::fs::write(dir.path().join("server.toml"), toml).unwrap();
        let mut child = Command::new(PROGRAM)
            .arg("--config")
            .arg(dir.path().join("server.toml"))
            .args(["serve", "--listen", listen, "--database"])
            .arg(dir.path().join("server.db"))
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let writer = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writer.lock().unwrap().push(line);
            }
        });
        let mut server = Self { child, log, reader: Some(reader), dir, url: String::new() };
        let line = server.wait_for_log("listening on ");
        server.url = line.split("listening on ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        server
    }

    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            assert!(Instant::now() < until, "no {text:?} in {:?}", self.log());
            assert!(self.child.try_wait().unwrap().is_none(), "ended: {:?}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the log has a line with all these words.
    pub(crate) async fn wait_until_said(&self, words: &[&str]) {
        let until = Instant::now() + PATIENCE;
        while !self.log().iter().any(|line| words.iter().all(|word| line.contains(word))) {
            assert!(Instant::now() < until, "no {words:?} in {:?}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("server.db")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM");
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last lines may still be on the way.
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(Instant::now() < until, "does not stop: {:?}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it, and starts another on the same port and database.
    pub(crate) fn restart(mut self) -> Self {
        assert!(self.stop().success());
        self.restart_stopped()
    }

    pub(crate) fn restart_stopped(self) -> Self {
        self.restart_stopped_with("")
    }

    /// The same with other settings.
    pub(crate) fn restart_with(mut self, toml: &str) -> Self {
        assert!(self.stop().success());
        self.restart_stopped_with(toml)
    }

    pub(crate) fn restart_stopped_with(self, toml: &str) -> Self {
        let listen = self.url.rsplit('/').next().unwrap();
        Self::start_with(Arc::clone(&self.dir), listen, &[], toml)
    }

    pub(crate) fn join_token(&self, options: &[&str]) -> String {
        let output = Command::new(PROGRAM)
            .args(["token", "--quiet", "--database"])
            .arg(self.database())
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A host that has joined and has a token.
    pub(crate) async fn host(&self) -> Caller {
        let mut host = Caller::new(self);
        let status = host.join(&self.join_token(&[]), "db-1").await.unwrap();
        assert_eq!(status, StatusCode::CREATED);
        host.authenticate().await.unwrap();
        host
    }

    /// A device that is linked to a host and has a token.
    pub(crate) async fn device(&self, host: &Caller) -> Caller {
        let mut device = Caller::new(self);
        device.link(host).await;
        device.authenticate().await.unwrap();
        device
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// HTTP/1.1 by default.
pub(crate) fn http() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// Somebody with a key.
pub(crate) struct Caller {
    pub(crate) key: SigningKey,
    pub(crate) seal: SealKey,
    pub(crate) http: Client,
    pub(crate) url: String,
    pub(crate) origin: String,
    pub(crate) token: String,
}

pub(crate) type Refused = (StatusCode, Problem);

impl Caller {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            key: SigningKey::generate(),
            seal: SealKey::generate(),
            http: http(),
            url: server.url.clone(),
            origin: server.url.clone(),
            token: String::new(),
        }
    }

    pub(crate) fn id(&self) -> String {
        self.key.public_key().id()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    pub(crate) async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<Response, Refused> {
        check(self.request(method, path).json(body).send().await.unwrap()).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        let response = check(self.request(Method::GET, path).send().await.unwrap()).await?;
        Ok(response.json().await.unwrap())
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<StatusCode, Refused> {
        Ok(check(self.request(Method::DELETE, path).send().await.unwrap()).await?.status())
    }

    pub(crate) async fn challenge(&self) -> Challenge {
        let body = ChallengeFor { key: self.key.public_key().to_line() };
        let response = self.send(Method::POST, "/v1/auth/challenge", &body).await.unwrap();
        response.json().await.unwrap()
    }

    pub(crate) async fn proof(&self) -> Proof {
        auth::prove(&self.key, &self.origin, &self.challenge().await).unwrap()
    }

    pub(crate) async fn earn(&self, proof: &Proof) -> Result<Token, Refused> {
        Ok(self.send(Method::POST, "/v1/auth/token", proof).await?.json().await.unwrap())
    }

    pub(crate) async fn authenticate(&mut self) -> Result<(), Refused> {
        self.token = self.earn(&self.proof().await).await?.token;
        Ok(())
    }

    pub(crate) async fn join(&self, token: &str, name: &str) -> Result<StatusCode, Refused> {
        let join = Join { token: token.to_owned(), name: name.to_owned(), proof: self.proof().await };
        Ok(self.send(Method::POST, "/v1/hosts", &join).await?.status())
    }

    pub(crate) fn card(&self, serial: u64) -> SignedCard {
        let card = Card {
            version: 1,
            key: self.key.public_key().to_line(),
            seal: base64(&self.seal.public()),
            serial,
            name: "phone".to_owned(),
        };
        card::sign(&self.key, &card).unwrap()
    }

    pub(crate) async fn register(&self, mailbox: &str, card: SignedCard) -> Result<StatusCode, Refused> {
        let register = Register { mailbox: mailbox.to_owned(), card };
        Ok(self.send(Method::POST, "/v1/devices", &register).await?.status())
    }

    /// Opens a mailbox.
    pub(crate) async fn mailbox(&self) -> String {
        let id = digest::hex(&random::bytes::<16>());
        self.send(Method::PUT, &format!("/v1/mailboxes/{id}"), &()).await.unwrap();
        id
    }

    /// Registers at a host's mailbox.
    pub(crate) async fn link(&self, host: &Self) {
        assert_eq!(self.register(&host.mailbox().await, self.card(1)).await.unwrap(), StatusCode::CREATED);
    }

    pub(crate) fn sealed(&self, message_type: MessageType, to: &Self, id: u8, fill: u8) -> Sealed {
        let envelope = Envelope {
            version: 1,
            message_type,
            from: self.id(),
            to: to.id(),
            id: format!("{id:02x}").repeat(16),
        };
        Sealed {
            envelope: serde_json::to_string(&envelope).unwrap(),
            sealed: base64(&[fill; 32 + PADDED + 16]),
        }
    }

    pub(crate) async fn post(
        &self,
        messages: Vec<Sealed>,
        ttl: u32,
    ) -> Result<countersign_protocol::api::Posted, Refused> {
        let post = countersign_protocol::api::Post { messages, ttl, ring: true };
        let response = self.send(Method::POST, "/v1/messages", &post).await?;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        Ok(response.json().await.unwrap())
    }

    pub(crate) async fn decide(&self, decision: Sealed) -> Result<StatusCode, Refused> {
        let body = countersign_protocol::api::PostDecision { decision };
        Ok(self.send(Method::POST, "/v1/decisions", &body).await?.status())
    }

    pub(crate) async fn put_mail(
        &self,
        method: Method,
        slot: &str,
        data: &str,
    ) -> Result<StatusCode, Refused> {
        let mail = Mail { data: data.to_owned() };
        Ok(self.send(method, &format!("/v1/mailboxes/{slot}"), &mail).await?.status())
    }

    pub(crate) async fn stream(&self) -> Stream {
        let response = check(self.request(Method::GET, "/v1/stream").send().await.unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Stream { response, buffer: String::new() };
        let (name, _) = stream.event().await.unwrap();
        assert_eq!(name, event::HELLO);
        stream
    }
}

pub(crate) async fn check(response: Response) -> Result<Response, Refused> {
    let status = response.status();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["cache-control"], "no-store");
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap();
    let problem: Problem = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{status} {e}: {text}"));
    assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
    Err((status, problem))
}

/// Who is refused, with which code.
#[track_caller]
pub(crate) fn assert_refused<T>(result: Result<T, Refused>, status: u16, code: &str) -> Problem {
    let Err((got, problem)) = result else { panic!("not refused: {code}") };
    assert_eq!((got.as_u16(), problem.code.as_str()), (status, code), "{}", problem.message);
    problem
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(bytes)
}

/// An open event stream.
pub(crate) struct Stream {
    response: Response,
    buffer: String,
}

impl Stream {
    /// The next block: an event, or a comment as an empty name. None at the end.
    pub(crate) async fn block(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let line = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
                };
                let event = (line("event: "), line("data: "));
                self.buffer = rest.to_owned();
                return Some(event);
            }
            let chunk =
                tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("no event in time");
            self.buffer.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Option<(String, String)> {
        loop {
            match self.block().await? {
                (name, _) if name.is_empty() => {}
                event => return Some(event),
            }
        }
    }

    pub(crate) async fn sealed(&mut self) -> (String, Sealed) {
        let (name, data) = self.event().await.expect("the stream has ended");
        (name, serde_json::from_str(&data).unwrap())
    }
}

/// As the app's list names a file's content.
pub(crate) fn first_of_sha256(content: &[u8]) -> String {
    digest::sha256_hex(content).chars().take(16).collect()
}
