//! The calls, one function each.

use crate::RelayError;
use crate::call::{self, Octets};
use crate::events::{self, Events};
use crate::transport::{Pace, Server, Transport};
use countersign_protocol::api::{
    Challenge, ChallengeFor, Directory, Hosts, Join, MAX_POLL, MAX_TTL, Mail, MailboxInfo, Mails, Post,
    PostDecision, Posted, Proof, Register, SignedCard, TOKEN_LIFE, Token,
};
use countersign_protocol::auth;
use countersign_protocol::keys::Signer;
use countersign_protocol::message::Sealed;
use reqwest::Method;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Longest time of a short call.
const SHORT: Duration = Duration::from_secs(5);
/// Longest time in which a list comes or goes, on a slow line.
const LIST: Duration = Duration::from_secs(15);
/// Longest time of each call that earns a token; signing between them may take a person's time.
const EARNING: Duration = Duration::from_secs(3);
/// A token is renewed this much before its end.
const EARLY: Duration = Duration::from_secs(30);
/// Where a challenge is to be had.
const CHALLENGE: &str = "/v1/auth/challenge";
/// Longest token in bytes.
const MAX_TOKEN: usize = 512;

/// A slot of a pairing mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `m1`: devices append.
    First,
    /// `m2`: the host's answer.
    Second,
    /// `m3`: the host's receipt.
    Third,
}

impl Slot {
    fn as_str(self) -> &'static str {
        match self {
            Self::First => "m1",
            Self::Second => "m2",
            Self::Third => "m3",
        }
    }
}

/// A host or a device, to the server. Cheap calls share one connection and one token.
pub struct RelayClient {
    transport: Arc<Transport>,
    signer: Arc<dyn Signer>,
    token: Mutex<Option<Held>>,
    pace: Pace,
}

#[derive(Clone)]
struct Held {
    value: String,
    until: Instant,
}

impl RelayClient {
    /// A client that is not connected yet.
    ///
    /// # Errors
    /// [`RelayError::Origin`] or [`RelayError::Ca`] when the configuration cannot work.
    pub fn new(server: Server, signer: Arc<dyn Signer>) -> Result<Self, RelayError> {
        Self::with_pace(server, signer, Pace::Lively)
    }

    /// The same for a program that is to sleep while nothing happens: it is woken half as often, and
    /// notices only after a minute and a half that its stream is dead, unless it asks.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn new_calm(server: Server, signer: Arc<dyn Signer>) -> Result<Self, RelayError> {
        Self::with_pace(server, signer, Pace::Calm)
    }

    fn with_pace(server: Server, signer: Arc<dyn Signer>, pace: Pace) -> Result<Self, RelayError> {
        let transport = Arc::new(Transport::new(server, pace)?);
        Ok(Self { transport, signer, token: Mutex::new(None), pace })
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// The server's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.transport.origin()
    }

    /// Joins as a host, with a one-time token. Good again for a host that is known already.
    ///
    /// # Errors
    /// 403 when the token is wrong, used or old.
    pub async fn join(&self, token: &str, name: &str) -> Result<(), RelayError> {
        let proof = self.prove().await?;
        let join = Join { token: token.to_owned(), name: name.to_owned(), proof };
        self.open_call(Method::POST, "/v1/hosts", Some(&join)).await.map(drop)
    }

    /// Makes a device known through a mailbox that a host has open for it.
    ///
    /// # Errors
    /// 403 when the mailbox is not open.
    pub async fn register(&self, mailbox: &str, card: &SignedCard) -> Result<(), RelayError> {
        let register = Register { mailbox: mailbox.to_owned(), card: card.clone() };
        self.open_call(Method::POST, "/v1/devices", Some(&register)).await.map(drop)
    }

    /// Puts a device's later card.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn put_card(&self, card: &SignedCard) -> Result<(), RelayError> {
        self.call(Method::PUT, "/v1/devices/self", Some(card)).await.map(drop)
    }

    /// Posts a host's messages; once more on another connection when the one that there is does not answer. The
    /// server keeps a message once.
    ///
    /// # Errors
    /// Whatever the call meets: unless it is `Ok`, the server does not hold them for sure.
    pub async fn post(&self, post: &Post) -> Result<Posted, RelayError> {
        let post_with = async |token: &str| {
            let path = "/v1/messages";
            call::whole_or_again(&self.transport, SHORT, Method::POST, path, Some(token), Some(post)).await
        };
        let token = self.token().await?;
        let bytes = match post_with(&token).await {
            Err(RelayError::Status { status: 401, .. }) => {
                self.drop_token(&token).await;
                post_with(&self.token().await?).await?
            }
            result => result?,
        };
        call::parse(&self.transport, &bytes)
    }

    /// Asks the server for something small that needs no token; once more on another connection when the one that
    /// there is does not answer. For a caller who wants to know whether the server is there.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn greet(&self) -> Result<(), RelayError> {
        self.challenge().await.map(drop)
    }

    /// Gives the server the encrypted list of a request, to keep for `ttl` seconds: within 15 s, once, and on a
    /// connection of its own, since it would hold up what comes behind it on a slow line.
    ///
    /// # Errors
    /// Whatever the call meets; 404 from a server that knows no lists.
    pub async fn put_list(&self, id: &str, sealed: &[u8], ttl: u32) -> Result<(), RelayError> {
        let path = format!("/v1/lists/{}?ttl={}", part(id)?, ttl.clamp(1, MAX_TTL));
        let body = Octets(sealed);
        let put_with = async |token: &str| {
            call::whole_apart(&self.transport, LIST, Method::PUT, &path, Some(token), Some(&body)).await
        };
        let token = self.token().await?;
        match put_with(&token).await {
            Err(RelayError::Status { status: 401, .. }) => {
                self.drop_token(&token).await;
                put_with(&self.token().await?).await.map(drop)
            }
            result => result.map(drop),
        }
    }

    /// The encrypted list of a host's request. What it is worth shows when it is opened.
    ///
    /// # Errors
    /// 404 when the server does not hold it (any more).
    pub async fn list(&self, host: &str, id: &str) -> Result<Vec<u8>, RelayError> {
        let path = format!("/v1/lists/{}/{}", part(host)?, part(id)?);
        self.call_within::<()>(LIST, Method::GET, &path, None).await
    }

    /// Posts a device's decision.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn post_decision(&self, decision: &Sealed) -> Result<(), RelayError> {
        let body = PostDecision { decision: decision.clone() };
        self.call(Method::POST, "/v1/decisions", Some(&body)).await.map(drop)
    }

    /// The cards of the devices that this host is linked to, unverified.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn directory(&self) -> Result<Directory, RelayError> {
        let bytes = self.call::<()>(Method::GET, "/v1/devices", None).await?;
        call::parse(&self.transport, &bytes)
    }

    /// The hosts that this device is linked to, as the server knows them.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn hosts(&self) -> Result<Hosts, RelayError> {
        let bytes = self.call::<()>(Method::GET, "/v1/hosts", None).await?;
        call::parse(&self.transport, &bytes)
    }

    /// Ends this host's link to a device.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn unlink(&self, device: &str) -> Result<(), RelayError> {
        self.call::<()>(Method::DELETE, &format!("/v1/devices/{}", part(device)?), None).await.map(drop)
    }

    /// Ends this device's link to a host.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn unlink_host(&self, host: &str) -> Result<(), RelayError> {
        self.call::<()>(Method::DELETE, &format!("/v1/hosts/{}", part(host)?), None).await.map(drop)
    }

    /// Opens a pairing mailbox.
    ///
    /// # Errors
    /// 409 when it is another host's.
    pub async fn open_mailbox(&self, mailbox: &str) -> Result<(), RelayError> {
        self.call::<()>(Method::PUT, &format!("/v1/mailboxes/{}", part(mailbox)?), None).await.map(drop)
    }

    /// Closes a pairing mailbox.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn close_mailbox(&self, mailbox: &str) -> Result<(), RelayError> {
        self.call::<()>(Method::DELETE, &format!("/v1/mailboxes/{}", part(mailbox)?), None).await.map(drop)
    }

    /// Puts the host's message into slot `m2` or `m3`.
    ///
    /// # Errors
    /// Whatever the call meets.
    pub async fn put_mail(&self, mailbox: &str, slot: Slot, data: &str) -> Result<(), RelayError> {
        let mail = Mail { data: data.to_owned() };
        self.call(Method::PUT, &slot_path(mailbox, slot)?, Some(&mail)).await.map(drop)
    }

    /// Appends a device's message to slot `m1`. Needs no token: the device is not known yet.
    ///
    /// # Errors
    /// 409 when another device was answered first.
    pub async fn post_first(&self, mailbox: &str, data: &str) -> Result<(), RelayError> {
        let mail = Mail { data: data.to_owned() };
        self.open_call(Method::POST, &slot_path(mailbox, Slot::First)?, Some(&mail)).await.map(drop)
    }

    /// Key id of the host that a mailbox is of, as the server says. Needs no token.
    ///
    /// # Errors
    /// 404 when the mailbox is not open.
    pub async fn mailbox_host(&self, mailbox: &str) -> Result<String, RelayError> {
        let path = format!("/v1/mailboxes/{}", part(mailbox)?);
        let bytes = self.open_call::<()>(Method::GET, &path, None).await?;
        call::parse::<MailboxInfo>(&self.transport, &bytes).map(|info| info.host)
    }

    /// What is in a slot from number `after` on; waits up to `wait` seconds until there is something.
    ///
    /// # Errors
    /// 404 when the mailbox is not open (any more).
    pub async fn mails(
        &self,
        mailbox: &str,
        slot: Slot,
        after: usize,
        wait: u32,
    ) -> Result<Vec<String>, RelayError> {
        let wait = wait.min(MAX_POLL);
        let path = format!("{}?after={after}&wait={wait}", slot_path(mailbox, slot)?);
        let limit = SHORT + Duration::from_secs(wait.into());
        let bytes = call::whole::<()>(&self.transport, limit, Method::GET, &path, None, None).await?;
        call::parse::<Mails>(&self.transport, &bytes).map(|mails| mails.mails)
    }

    /// Opens the event stream. Comes back with the first event at hand, so that a stream that a proxy
    /// holds back is noticed; then events come by long poll.
    ///
    /// # Errors
    /// Why no events will come.
    pub async fn events(self: &Arc<Self>) -> Result<Events, RelayError> {
        events::open(self).await
    }

    /// Forgets the connection: the next call makes another one. For a caller who has reason to think that it
    /// is dead, since a call on it would wait in vain.
    pub fn forget_connection(&self) {
        self.transport.reset();
    }

    /// The number of the connection that the next call takes: another one once a connection was given up.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.transport.http().number
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// A short call with a token, made anew once when the server does not know it any more.
    pub(crate) async fn call<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Vec<u8>, RelayError> {
        self.call_within(SHORT, method, path, body).await
    }

    pub(crate) async fn call_within<B: Serialize>(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Vec<u8>, RelayError> {
        let token = self.token().await?;
        match call::whole(&self.transport, limit, method.clone(), path, Some(&token), body).await {
            Err(RelayError::Status { status: 401, .. }) => {
                self.drop_token(&token).await;
                let token = self.token().await?;
                call::whole(&self.transport, limit, method, path, Some(&token), body).await
            }
            result => result,
        }
    }

    /// A short call without a token.
    async fn open_call<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Vec<u8>, RelayError> {
        call::whole(&self.transport, SHORT, method, path, None, body).await
    }

    /// The token, earned by signing a challenge when there is none. One caller earns, others wait.
    pub(crate) async fn token(&self) -> Result<String, RelayError> {
        let mut held = self.token.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Instant::now() < held.until) {
            return Ok(held.value.clone());
        }
        let proof = self.prove().await?;
        let bytes = self.earning_call("/v1/auth/token", &proof).await?;
        let token: Token = call::parse(&self.transport, &bytes)?;
        // One that no call can carry would be kept until its end, and nothing would work until then.
        if !is_token(&token.token) {
            return Err(call::garbage(&self.transport, "a token that is none"));
        }
        let life = Duration::from_secs(token.expires_in.min(TOKEN_LIFE).into());
        let until = Instant::now() + life.saturating_sub(EARLY);
        *held = Some(Held { value: token.token.clone(), until });
        Ok(token.token)
    }

    /// Forgets a token that the server refused, unless another caller has a newer one already.
    pub(crate) async fn drop_token(&self, refused: &str) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|held| held.value == refused) {
            *held = None;
        }
    }

    async fn challenge(&self) -> Result<Challenge, RelayError> {
        let (path, body) = (CHALLENGE, ChallengeFor { key: self.signer.public_key().to_line() });
        let bytes =
            call::whole_or_again(&self.transport, EARNING, Method::POST, path, None, Some(&body)).await?;
        call::parse(&self.transport, &bytes)
    }

    async fn prove(&self) -> Result<Proof, RelayError> {
        let challenge = self.challenge().await?;
        if challenge.nonce.len() > auth::MAX_NONCE {
            return Err(call::garbage(&self.transport, "too long a challenge"));
        }
        let (signer, origin) = (self.signer.clone(), self.transport.origin().to_owned());
        // A key in an agent may want a passphrase or a touch first; nobody else stands still for that.
        tokio::task::spawn_blocking(move || auth::prove(signer.as_ref(), &origin, &challenge))
            .await
            .map_err(|e| RelayError::Sign(e.to_string()))?
            .map_err(|e| RelayError::Sign(e.to_string()))
    }

    async fn earning_call<B: Serialize>(&self, path: &str, body: &B) -> Result<Vec<u8>, RelayError> {
        call::whole(&self.transport, EARNING, Method::POST, path, None, Some(body)).await
    }
}

impl fmt::Debug for RelayClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayClient({})", self.origin())
    }
}

fn slot_path(mailbox: &str, slot: Slot) -> Result<String, RelayError> {
    Ok(format!("/v1/mailboxes/{}/{}", part(mailbox)?, slot.as_str()))
}

fn is_token(token: &str) -> bool {
    (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
}

/// A key id or mailbox id as part of a path: its own alphabet needs no escaping, and nothing else
/// may change which path it is.
fn part(id: &str) -> Result<&str, RelayError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !id.is_empty() && id.len() <= 64 && id.bytes().all(plain) {
        Ok(id)
    } else {
        Err(RelayError::Status { status: 404, problem: None })
    }
}
