//! A stand-in for a push service: HTTPS on loopback, and it misbehaves as it is told.

use crate::common::{Caller, Server};
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use countersign_protocol::api::Subscription;
use countersign_protocol::message::Sealed;
use countersign_protocol::random;
use hkdf::Hkdf;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey, ecdh};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Method, StatusCode};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use sha2::Sha256;
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the service does with one push.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers with a status and headers, after a while.
    Answers(u16, &'static str, Duration),
    /// Never answers.
    Hangs,
    /// Ends the connection in the middle of its answer.
    Breaks,
}

/// A push as it came.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

#[derive(Default)]
struct State {
    pushed: Vec<Pushed>,
    /// By path, in order; then it answers 201.
    plan: HashMap<String, VecDeque<Does>>,
}

/// A running service.
pub(crate) struct PushService {
    state: Arc<Mutex<State>>,
    /// For example `https://127.0.0.1:12345`.
    pub(crate) origin: String,
    ca: String,
    ca_file: tempfile::NamedTempFile,
}

impl PushService {
    pub(crate) fn start() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("https://{}", listener.local_addr().unwrap());
        let (config, state) = (Arc::new(config), Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, state) = (Arc::clone(&config), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, config, &state));
            }
        });
        let ca_file = tempfile::NamedTempFile::new().unwrap();
        let ca = authority.pem();
        std::fs::write(ca_file.path(), &ca).unwrap();
        Self { state, origin, ca, ca_file }
    }

    /// Settings of a server that may use it.
    pub(crate) fn config(&self) -> String {
        assert!(self.ca.starts_with("-----BEGIN CERTIFICATE"));
        let ca = self.ca_file.path().display();
        format!(
            "log = 'debug'\n[push]\nprivate_networks = true\nca = '{ca}'\ncontact = 'mailto:a@b.example'\n"
        )
    }

    /// What it does with the next pushes to a path.
    pub(crate) fn plan(&self, path: &str, does: &[Does]) {
        self.state.lock().unwrap().plan.insert(path.to_owned(), does.to_vec().into());
    }

    /// Pushes to a path so far.
    pub(crate) fn pushed(&self, path: &str) -> Vec<Pushed> {
        let state = self.state.lock().unwrap();
        state.pushed.iter().filter(|pushed| pushed.path == path).cloned().collect()
    }

    /// Waits until so many pushes have come to a path.
    pub(crate) async fn wait_for(&self, path: &str, count: usize) -> Vec<Pushed> {
        let until = Instant::now() + PATIENCE;
        loop {
            let pushed = self.pushed(path);
            if pushed.len() >= count {
                return pushed;
            }
            assert!(Instant::now() < until, "{} pushes to {path}, not {count}", pushed.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A browser that has subscribed here, at a path.
    pub(crate) fn browser(&self, path: &str) -> Browser {
        Browser { key: secret(), auth: random::bytes(), endpoint: format!("{}{path}", self.origin) }
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>) -> Option<()> {
    let connection = ServerConnection::new(config).ok()?;
    let mut stream = StreamOwned::new(connection, stream);
    loop {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            read_some(&mut stream, &mut bytes)?;
        };
        let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
        let mut lines = text.lines();
        let path = lines.next()?.strip_prefix("POST ")?.split(' ').next()?.to_owned();
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers.get("content-length")?.parse().ok()?;
        while bytes.len() < head + length {
            read_some(&mut stream, &mut bytes)?;
        }
        let body = bytes[head..head + length].to_vec();
        let does = {
            let mut state = state.lock().unwrap();
            state.pushed.push(Pushed { path: path.clone(), headers, body, at: Instant::now() });
            state.plan.get_mut(&path).and_then(VecDeque::pop_front)
        };
        match does.unwrap_or(Does::Answers(201, "", Duration::ZERO)) {
            Does::Answers(status, headers, after) => {
                std::thread::sleep(after);
                write!(stream, "HTTP/1.1 {status} Such\r\ncontent-length: 0\r\n{headers}\r\n").ok()?;
                stream.flush().ok()?;
            }
            Does::Hangs => {
                // Until the other side gives up.
                let mut byte = [0];
                let _ = stream.read(&mut byte);
                return None;
            }
            Does::Breaks => {
                write!(stream, "HTTP/1.1 2").ok()?;
                stream.flush().ok()?;
                stream.sock.shutdown(std::net::Shutdown::Both).ok()?;
                return None;
            }
        }
    }
}

fn read_some(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 8192];
    let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
    bytes.extend_from_slice(&buffer[..n]);
    Some(())
}

fn secret() -> SecretKey {
    SecretKey::from_slice(&random::bytes::<32>()).unwrap()
}

/// What a device's browser holds of its subscription.
pub(crate) struct Browser {
    key: SecretKey,
    auth: [u8; 16],
    pub(crate) endpoint: String,
}

impl Browser {
    pub(crate) fn subscription(&self) -> Subscription {
        Subscription {
            endpoint: self.endpoint.clone(),
            p256dh: Base64UrlUnpadded::encode_string(self.key.public_key().to_sec1_point(false).as_bytes()),
            auth: Base64UrlUnpadded::encode_string(&self.auth),
        }
    }

    /// Opens a push's body (RFC 8188, 8291), and reads what the server puts into it.
    pub(crate) fn open(&self, body: &[u8]) -> Sealed {
        assert_eq!(body.len(), 4096);
        let (salt, rest) = body.split_at(16);
        assert_eq!(rest[..5], [0, 0, 16, 0, 65]);
        let (sender, record) = rest[5..].split_at(65);
        let sender_key = PublicKey::from_sec1_bytes(sender).unwrap();
        let shared = ecdh::diffie_hellman(self.key.to_nonzero_scalar(), sender_key.as_affine());
        let own = self.key.public_key().to_sec1_point(false);
        let derive = |salt: &[u8], input: &[u8], info: &[u8], out: &mut [u8]| {
            Hkdf::<Sha256>::new(Some(salt), input).expand(info, out).unwrap();
        };
        let (mut input, mut key, mut nonce) = ([0u8; 32], [0u8; 16], [0u8; 12]);
        let info = [b"WebPush: info\0", own.as_bytes(), sender].concat();
        derive(&self.auth, shared.raw_secret_bytes(), &info, &mut input);
        derive(salt, &input, b"Content-Encoding: aes128gcm\0", &mut key);
        derive(salt, &input, b"Content-Encoding: nonce\0", &mut nonce);
        let padded = Aes128Gcm::new((&key).into()).decrypt(&Nonce::from(nonce), record).unwrap();
        let end = padded.iter().rposition(|byte| *byte != 0).unwrap();
        assert_eq!(padded[end], 2);
        let plain = &padded[..end];
        assert_eq!(plain[0], 1);
        let length = usize::from(u16::from_be_bytes([plain[1], plain[2]]));
        let (envelope, sealed) = plain[3..].split_at(length);
        Sealed {
            envelope: String::from_utf8(envelope.to_vec()).unwrap(),
            sealed: Base64::encode_string(sealed),
        }
    }
}

/// Checks a push's `Authorization` as RFC 8292 has it; gives the key and what the token says.
pub(crate) fn check_vapid(pushed: &Pushed) -> (String, Value) {
    let header = &pushed.headers["authorization"];
    let (token, key) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    let bytes = |text: &str| Base64UrlUnpadded::decode_vec(text).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    VerifyingKey::from_sec1_bytes(&bytes(key))
        .unwrap()
        .verify(signed.as_bytes(), &Signature::from_slice(&bytes(signature)).unwrap())
        .unwrap();
    let (_, claims) = signed.split_once('.').unwrap();
    (key.to_owned(), serde_json::from_slice(&bytes(claims)).unwrap())
}

/// A server, a host, and a device that has subscribed at a path of the service.
pub(crate) async fn rung(service: &PushService, path: &str) -> (Server, Caller, Caller, Browser) {
    let server = Server::with_config(&service.config());
    let host = server.host().await;
    let device = server.device(&host).await;
    let browser = service.browser(path);
    subscribe(&device, &browser).await;
    (server, host, device, browser)
}

pub(crate) async fn subscribe(device: &Caller, browser: &Browser) {
    let response = device.send(Method::PUT, "/v1/devices/self/push", &browser.subscription()).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
}
