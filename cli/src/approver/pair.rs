//! Pairing with a host, by the link or the ticket that it shows.

use super::digits;
use super::screen::grouped;
use super::store::{Device, PinnedHost, ServerEntry, Store};
use crate::output::{Exit, Failure, Outcome, Output};
use countersign_protocol::api::{MAILBOX_LIFE, MAX_POLL};
use countersign_protocol::keys::PublicKey;
use countersign_protocol::pairing::{
    PhonePairing, Pinned, Revealed, Ticket, TicketError, TypedTicket, is_origin,
};
use countersign_protocol::text::escape;
use countersign_relay_client::{RelayClient, RelayError, Server, Slot};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two tries while the server is out of reach.
const PAUSE: Duration = Duration::from_secs(1);

/// How the person is spoken to.
pub struct Face<'a> {
    /// Where lines and objects go.
    pub out: Output,
    /// Whether somebody looks at a terminal.
    pub is_terminal: bool,
    /// Asks a question; anything but a plain yes is a no.
    pub agrees: &'a dyn Fn(&str) -> Outcome<bool>,
}

/// What the person has brought from the host's terminal.
pub struct Invitation<'a> {
    /// Its link or ticket.
    pub text: &'a str,
    /// The server of a ticket.
    pub server: Option<&'a str>,
    /// Certificates to trust for it.
    pub ca: Option<String>,
}

/// Pairs, shows the code, and trusts the host only when its receipt is there.
///
/// # Errors
/// Why the host is not trusted.
pub async fn pair(
    store: &mut Store,
    device: &Device,
    invitation: Invitation<'_>,
    face: &Face<'_>,
) -> Outcome {
    let (given, origin) = read(&invitation, store)?;
    // A server that is known already keeps its certificates.
    let known = store.servers().iter().find(|s| s.origin == origin);
    let ca = invitation.ca.or_else(|| known.and_then(|s| s.ca.clone()));
    let server = ServerEntry { origin, ca };
    let client = connect(&server, device)?;
    let ticket = match given {
        Given::Link(ticket) => ticket,
        Given::Typed(typed) => {
            let host = client.mailbox_host(&typed.mailbox()).await.map_err(|e| at_mailbox(&e))?;
            typed.of_host(&server.origin, &host).map_err(refused)?
        }
    };
    let mailbox = ticket.mailbox();
    let mut phone = PhonePairing::new(ticket, &device.signed_card).map_err(refused)?;
    let begun = Instant::now();

    client.register(&mailbox, &device.signed_card).await.map_err(|e| at_mailbox(&e))?;
    client.post_first(&mailbox, phone.first()).await.map_err(|e| at_mailbox(&e))?;
    let second = wait(&client, &mailbox, Slot::Second, begun).await?;
    let revealed = phone.reveal(&second).map_err(refused)?;
    if !is_expected(store, &revealed, face)? {
        // Only the relay's own list; nothing here depends on it.
        let host = PublicKey::from_line(&revealed.host.key).map_err(refused)?;
        let _ = client.unlink_host(&host.id()).await;
        return Err(Failure::new(Exit::Refused, "nothing was paired"));
    }
    show_code(&revealed, face)?;
    let third = wait(&client, &mailbox, Slot::Third, begun).await?;
    let pinned = phone.receipt(&device.seal_key, &third).map_err(refused)?;
    keep(store, &pinned, server, face)
}

enum Given {
    Link(Ticket),
    Typed(TypedTicket),
}

/// Reads a link or a ticket, and says of which server it is.
fn read(invitation: &Invitation<'_>, store: &Store) -> Outcome<(Given, String)> {
    let usage = |why: &str| Failure::new(Exit::Usage, why);
    if invitation.text.contains('/') {
        let ticket = Ticket::parse(invitation.text).map_err(|e| usage(&e.to_string()))?;
        let origin = ticket.origin().to_owned();
        if invitation.server.is_some_and(|server| server != origin) {
            return Err(usage("the link names its server itself: leave --server away"));
        }
        return Ok((Given::Link(ticket), origin));
    }
    let typed = TypedTicket::parse(invitation.text).map_err(|e| usage(&e.to_string()))?;
    let origin = match (invitation.server, store.servers()) {
        (Some(server), _) if is_origin(server) => server.to_owned(),
        (Some(_), _) => return Err(usage(&TicketError::Origin.to_string())),
        (None, [known]) => known.origin.clone(),
        (None, _) => return Err(usage("a ticket does not say of which server it is: add --server URL")),
    };
    Ok((Given::Typed(typed), origin))
}

/// A client of a server, as this device.
///
/// # Errors
/// When its address or certificates cannot be used.
pub fn connect(server: &ServerEntry, device: &Device) -> Outcome<RelayClient> {
    let ca_pem = server.ca.as_ref().map(|pem| pem.clone().into_bytes());
    RelayClient::new(Server { origin: server.origin.clone(), ca_pem }, device.signer.clone())
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()))
}

/// Waits for a message of the host; a server that is gone for a moment is asked again.
async fn wait(client: &RelayClient, mailbox: &str, slot: Slot, begun: Instant) -> Outcome<String> {
    let end = begun + Duration::from_secs(MAILBOX_LIFE.into());
    loop {
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        if left == 0 {
            let text = "the host did not answer in time: start again with countersign pair";
            return Err(Failure::new(Exit::Refused, text));
        }
        let seconds = u32::try_from(left).unwrap_or(MAX_POLL).min(MAX_POLL);
        match client.mails(mailbox, slot, 0, seconds).await {
            Ok(mails) => {
                if let Some(mail) = mails.into_iter().next() {
                    return Ok(mail);
                }
            }
            Err(e) if e.is_outage() || matches!(e, RelayError::Limited { .. }) => sleep(PAUSE).await,
            Err(e) => return Err(at_mailbox(&e)),
        }
    }
}

fn at_mailbox(error: &RelayError) -> Failure {
    match error {
        RelayError::Status { status: 403 | 404 | 410, .. } => Failure::new(
            Exit::Refused,
            "this pairing is over: the link is old, or the code was wrong; start again with countersign pair",
        ),
        RelayError::Status { status: 409, .. } => Failure::new(
            Exit::Refused,
            "another device has used this link already; if that was not you, tell the administrator",
        ),
        _ if error.is_outage() => Failure::new(Exit::Unreachable, error.to_string()),
        _ => Failure::new(Exit::Refused, error.to_string()),
    }
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Refused, error.to_string())
}

/// A second key under a known name is a new installation, or somebody who wants to be taken for it.
fn is_expected(store: &Store, revealed: &Revealed, face: &Face<'_>) -> Outcome<bool> {
    let other = store.hosts().iter().find(|h| h.name == revealed.host.name && h.key != revealed.host.key);
    let Some(other) = other else { return Ok(true) };
    let print =
        |line: &str| PublicKey::from_line(line).map_or_else(|_| "damaged".to_owned(), |k| k.fingerprint());
    (face.agrees)(&format!(
        "You are paired with {0} already, under another key ({1}). This one has {2}. \
         Unless {0} was installed anew, somebody may want to be taken for it. Pair all the same?",
        escape(&revealed.host.name),
        print(&other.key),
        print(&revealed.host.key),
    ))
}

fn show_code(revealed: &Revealed, face: &Face<'_>) -> Outcome {
    let (user, host) = (escape(&revealed.user), escape(&revealed.host.name));
    if face.out.json {
        return face.out.object(&json!({
            "event": "pairing-code", "code": *revealed.code, "host": revealed.host.name, "user": revealed.user,
        }));
    }
    if !face.is_terminal {
        return face.out.lines(&format!(
            "pairing {user} at {host}: type this code at its terminal\npairing-code {}",
            *revealed.code
        ));
    }
    let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
    let mut text =
        format!("\nTo approve the logins of {user} at {host}, type this pairing code at its terminal:\n\n");
    for row in digits::draw(&revealed.code, width.saturating_sub(2)) {
        text.push_str(&format!("  {row}\n"));
    }
    text.push_str(&format!("\n  {}\n\nWaiting for {host}...", grouped(&revealed.code)));
    face.out.lines(&text)
}

fn keep(store: &mut Store, pinned: &Pinned, server: ServerEntry, face: &Face<'_>) -> Outcome {
    let host = PinnedHost {
        name: pinned.host.name.clone(),
        key: pinned.host_key.to_line(),
        user: pinned.user.clone(),
        server: server.origin.clone(),
        paired_at: pinned.paired_at,
    };
    let (name, user, fingerprint) = (host.name.clone(), host.user.clone(), pinned.host_key.fingerprint());
    let event = json!({
        "event": "paired", "host": name, "host_key": fingerprint, "user": user, "server": server.origin,
    });
    store.pin(host, server)?;
    face.out.either(&event, || {
        format!("paired: approves for {} at {} ({fingerprint})", escape(&user), escape(&name))
    })
}
