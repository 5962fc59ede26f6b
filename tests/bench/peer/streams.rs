//! Very many devices, each with its event stream open: plain HTTP/1.1, as a proxy in front of the server speaks it.

use crate::load::{client, signed_card};
use crate::{Outcome, say};
use countersign_protocol::api::{Challenge, ChallengeFor, Token};
use countersign_protocol::auth;
use countersign_protocol::digest::hex;
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_protocol::random;
use countersign_relay_client::RelayClient;
use serde::Serialize;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Connections from one address of loopback; a port each.
const EACH_ADDRESS: usize = 10_000;
/// How many open theirs at a time.
const AT_ONCE: usize = 64;
/// Devices that register through one mailbox: fewer than the server lets.
const EACH_MAILBOX: usize = 8;
/// How long a number of streams stands before more are opened.
const PAUSE: Duration = Duration::from_secs(8);

/// Opens streams up to each of the counts, and keeps them.
pub(crate) async fn run(origin: &str, token: &str, counts: &[&str]) -> Outcome {
    let host = client(origin, SigningKey::generate())?;
    host.join(token, "bench").await?;
    let mut held = JoinSet::new();
    let mut open = 0;
    for count in counts {
        let count: usize = count.parse()?;
        while open < count {
            let until = count.min(open + AT_ONCE);
            more(&host, origin, open..until, &mut held).await?;
            open = until;
        }
        say(&json!({"event": "open", "count": open}));
        sleep(PAUSE).await;
    }
    match held.join_next().await {
        Some(Ok(Err(error))) => Err(error.into()),
        _ => Err("a stream ended".into()),
    }
}

type Ended = Result<(), String>;

async fn more(host: &RelayClient, origin: &str, numbers: Range<usize>, held: &mut JoinSet<Ended>) -> Outcome {
    let mut opening = JoinSet::new();
    let mut mailboxes = Vec::new();
    for (place, number) in numbers.enumerate() {
        if place.is_multiple_of(EACH_MAILBOX) {
            let mailbox: Arc<str> = hex(&random::bytes::<16>()).into();
            host.open_mailbox(&mailbox).await?;
            mailboxes.push(mailbox);
        }
        let mailbox = mailboxes.last().map(Arc::clone).ok_or("no mailbox")?;
        let origin = origin.to_owned();
        opening.spawn(async move { open(&origin, &mailbox, number).await.map_err(|e| e.to_string()) });
    }
    while let Some(opened) = opening.join_next().await {
        hold(opened??, held);
    }
    for mailbox in mailboxes {
        host.close_mailbox(&mailbox).await?;
    }
    Ok(())
}

/// Reads a stream to its end, which must not come.
fn hold(mut stream: BufReader<TcpStream>, held: &mut JoinSet<Ended>) {
    held.spawn(async move {
        let mut bytes = [0; 256];
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) => return Err("a stream was closed".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    });
}

/// Registers a device, earns its token and opens its stream, all on one connection.
async fn open(origin: &str, mailbox: &str, number: usize) -> Outcome<BufReader<TcpStream>> {
    let key = SigningKey::generate();
    let server: SocketAddr = origin.strip_prefix("http://").ok_or("not plain HTTP")?.parse()?;
    let last = u8::try_from(1 + number / EACH_ADDRESS)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    let mut stream = BufReader::with_capacity(512, socket.connect(server).await?);
    let card = json!({"mailbox": mailbox, "card": signed_card(&key)?});
    call(&mut stream, "/v1/devices", &card).await?;
    let asked = ChallengeFor { key: key.public_key().to_line() };
    let challenge: Challenge =
        serde_json::from_slice(&call(&mut stream, "/v1/auth/challenge", &asked).await?)?;
    let proof = auth::prove(&key, origin, &challenge)?;
    let token: Token = serde_json::from_slice(&call(&mut stream, "/v1/auth/token", &proof).await?)?;
    let request =
        format!("GET /v1/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n", token.token);
    stream.write_all(request.as_bytes()).await?;
    head(&mut stream).await?;
    Ok(stream)
}

/// A POST and its answer's body.
async fn call(stream: &mut BufReader<TcpStream>, path: &str, body: &impl Serialize) -> Outcome<Vec<u8>> {
    let body = serde_json::to_string(body)?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; head(stream).await?];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Reads an answer's head, which has to be good; the length of its body.
async fn head(stream: &mut BufReader<TcpStream>) -> Outcome<usize> {
    let (mut length, mut line) = (0, String::new());
    stream.read_line(&mut line).await?;
    if !line.starts_with("HTTP/1.1 2") {
        return Err(line.into());
    }
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
            Some(_) => {}
            None => return Ok(length),
        }
    }
}
