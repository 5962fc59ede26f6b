//! The push server's HTTP interface: bodies, limits and paths. All bodies are JSON.
//!
//! Hosts and devices are named by *key id*: base64url without padding of SHA-256 over the OpenSSH
//! public key blob, which is `ssh-keygen -lf`'s fingerprint in the other alphabet.

use crate::message::Sealed;
use serde::{Deserialize, Serialize};

/// Longest request body in bytes, for every call but [`Post`].
pub const MAX_BODY: usize = 16 * 1024;
/// Longest body of a [`Post`] in bytes.
pub const MAX_POST: usize = 128 * 1024;
/// Most messages in a [`Post`].
pub const MAX_MESSAGES: usize = 20;
/// Longest time that a message is kept, in seconds.
pub const MAX_TTL: u32 = 900;
/// Seconds that a token is good for.
pub const TOKEN_LIFE: u32 = 600;
/// Longest wait of a long poll in seconds.
pub const MAX_POLL: u32 = 25;
/// Seconds that a pairing mailbox is open.
pub const MAILBOX_LIFE: u32 = 300;
/// Longest message in a mailbox in bytes of base64.
pub const MAX_MAIL: usize = 8 * 1024;

/// `POST /v1/auth/challenge`, answered with a [`Challenge`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChallengeFor {
    /// The public key that will sign, one OpenSSH line without comment.
    pub key: String,
}

/// A nonce to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Challenge {
    /// Random; good once and for a minute.
    pub nonce: String,
    /// When it ends, seconds since 1970 by the server's clock: to be copied into the statement.
    pub expires_at: u64,
}

/// What is signed in `auth@countersign.org`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AuthStatement {
    /// Origin of the server as the client knows it, for example `https://push.example.com`: a
    /// statement made for one server is worth nothing at another.
    pub origin: String,
    /// The signing key, one OpenSSH line without comment.
    pub key: String,
    /// From the [`Challenge`].
    pub nonce: String,
    /// From the [`Challenge`].
    pub expires_at: u64,
}

/// A signed [`AuthStatement`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The JSON text that was signed.
    pub statement: String,
    /// Armored SSHSIG over it.
    pub signature: String,
}

/// `POST /v1/auth/token` takes a [`Proof`] and gives this; 403 when the key is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// For `Authorization: Bearer`.
    pub token: String,
    /// Seconds, at most [`TOKEN_LIFE`].
    pub expires_in: u32,
}

/// `POST /v1/hosts`: a host joins. 201, or 200 when it is known already and the token was this
/// host's; 403 when the token is wrong, used or old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// One-time token from `countersign-server token`.
    pub token: String,
    /// The host's name.
    pub name: String,
    /// That it holds the key.
    pub proof: Proof,
}

/// A device card with its signature, as JSON text and armored SSHSIG in `device@countersign.org`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedCard {
    /// The JSON text of a [`crate::message::Card`], exactly as signed.
    pub card: String,
    /// Armored SSHSIG over it.
    pub signature: String,
}

/// `POST /v1/devices`: a device becomes known because a host has opened a mailbox for it; links it
/// to that host. 201, or 200 when nothing changed; 403 when the mailbox is not open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The mailbox's id in hex.
    pub mailbox: String,
    /// The device's card. `PUT /v1/devices/self` takes a later one.
    pub card: SignedCard,
}

/// `GET /v1/app`, for anybody: what the web app has to know about the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppInfo {
    /// The server's version.
    pub server: String,
    /// The server's key for Web Push (RFC 8292): an uncompressed P-256 point in base64url without
    /// padding.
    pub vapid: String,
}

/// `PUT /v1/devices/self/push` by a device: 204. Where it wants to be rung (RFC 8030, RFC 8291); one
/// a device, a later one takes its place. `DELETE /v1/devices/self/push` ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The push service's address for this device, at most [`MAX_ENDPOINT`] bytes.
    pub endpoint: String,
    /// The device's P-256 point (65 bytes) in base64url without padding.
    pub p256dh: String,
    /// 16 secret bytes in base64url without padding.
    pub auth: String,
}

/// Longest endpoint of a [`Subscription`] in bytes.
pub const MAX_ENDPOINT: usize = 1024;

/// `GET /v1/devices` by a host: the cards of the devices that it is linked to.
/// `DELETE /v1/devices/{id}` ends the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Directory {
    /// The cards; the host verifies each before use.
    pub devices: Vec<SignedCard>,
}

/// `GET /v1/hosts` by a device: the hosts that it is linked to. `DELETE /v1/hosts/{id}` ends a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hosts {
    /// Key ids and names.
    pub hosts: Vec<KnownHost>,
}

/// A host in [`Hosts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KnownHost {
    /// Its key id.
    pub id: String,
    /// The name it joined with.
    pub name: String,
}

/// `POST /v1/messages` by a host: 202 and [`Posted`]. A `request` is version 0 of the register
/// (host, request id, device), a `closed` version 1; the server keeps the higher. A `notice` is a
/// register of its own kind, whose latest message is kept; it does not count as waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Post {
    /// One for each device.
    pub messages: Vec<Sealed>,
    /// Seconds to keep them, at most [`MAX_TTL`].
    pub ttl: u32,
    /// Whether devices may be rung: false when the host posts the same again.
    pub ring: bool,
}

/// The server holds the messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Posted {
    /// Devices that have a stream open now.
    pub listening: u32,
    /// Key ids of recipients that are not linked to this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// `POST /v1/decisions` by a device: 202. The message is a `decision` or a `removal`. Kept for the host until it posts `closed` or the request
/// has expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PostDecision {
    /// The decision.
    pub decision: Sealed,
}

/// What belongs to `PUT /v1/lists/{id}` by a host, in the address: 204. The body is a request's encrypted list
/// ([`crate::list::seal`]), as bytes. It is kept until the host posts `closed`, and no longer than `ttl`.
/// `GET /v1/lists/{host}/{id}` by a device that is linked to the host gives the same bytes; 404 when the server has
/// not got them (any more).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutList {
    /// Seconds to keep it, at most [`MAX_TTL`].
    pub ttl: u32,
}

/// Names of the events on `GET /v1/stream` (`text/event-stream`). Data is JSON.
pub mod event {
    /// First, at once: [`super::Hello`]. Then all that the server holds, then live.
    pub const HELLO: &str = "hello";
    /// A [`super::Sealed`] request or closed, for a device.
    pub const MESSAGE: &str = "message";
    /// A [`super::Sealed`] decision, for a host.
    pub const DECISION: &str = "decision";
    /// The last one: a stream that was opened later with the same key has taken this one's place.
    pub const REPLACED: &str = "replaced";
}

/// The first event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hello {
    /// The server's version.
    pub server: String,
    /// Changes when the server forgot everything.
    pub epoch: String,
}

/// `GET /v1/poll?after=CURSOR&wait=SECONDS`: what a stream would have carried since then. Without
/// `after`, or with one of another epoch, all that the server holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Polled {
    /// For the next call.
    pub cursor: String,
    /// What came.
    pub events: Vec<PolledEvent>,
}

/// One event of a [`Polled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PolledEvent {
    /// A name from [`event`].
    pub event: String,
    /// The message.
    pub data: Sealed,
}

/// `GET /v1/mailboxes/{id}` by anybody: whose it is. For a ticket that was typed and holds no key;
/// what the host reveals later proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MailboxInfo {
    /// Key id of the host, which is SHA-256 of its key in base64url.
    pub host: String,
}

/// What a one-time token begins with that lets a host join.
pub const JOIN_TOKEN: &str = "join-";

/// Mailboxes, for pairing. `PUT /v1/mailboxes/{id}` by a host opens one (409 when it is another
/// host's), `DELETE` closes it. Slots are `m1` (anybody appends, at most [`MAX_FIRST`], each at most
/// [`MAX_MAIL`]; after `m2` is there only the same bytes again, else 409), `m2` and `m3` (the host
/// puts them). `GET /v1/mailboxes/{id}/{slot}?after=N&wait=SECONDS` by anybody gives [`Mails`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Base64, or for `m3` the JSON text of a [`Sealed`].
    pub data: String,
}

/// Most different messages in slot `m1`.
pub const MAX_FIRST: usize = 8;

/// What is in a slot, from number `after` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mails {
    /// The messages in order.
    pub mails: Vec<String>,
}

/// Every error of the server. `code` is stable, `message` is for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// For programs, for example `unknown-key`, `token-used`, `limit`, `not-found`.
    pub code: String,
    /// One line, what happened and what to do.
    pub message: String,
}
