//! Asks polkit whether a caller may do something.

use super::fault::{Fault, NO_AUTHORITY, NOT_AUTHORIZED};
use countersign_protocol::text::{clip, escape};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use zbus::{Connection, Variant};

const NAME: &str = "org.freedesktop.PolicyKit1";
const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";
const INTERFACE: &str = "org.freedesktop.PolicyKit1.Authority";
/// What all our actions begin with.
const ACTIONS: &str = "org.countersign.Countersign1";
/// How long a person may take to type a password.
const PATIENCE: Duration = Duration::from_secs(300);
/// polkit may ask the person.
const ALLOW_INTERACTION: u32 = 1;
/// Longest name that is shown to who authenticates, in bytes.
const MAX_NAME: usize = 64;

/// Numbers the questions, so that one can be taken back.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Whether polkit lets this connection do it; `user` is whose things it is about.
///
/// # Errors
/// [`NOT_AUTHORIZED`], or [`NO_AUTHORITY`] when polkit cannot be asked: both refuse.
pub(super) async fn authorize(
    connection: &Connection,
    sender: &str,
    action: &str,
    user: &str,
    interactive: bool,
) -> Result<(), Fault> {
    let id = format!("{ACTIONS}.{action}");
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(sender))]));
    let user = escape(user);
    let details = HashMap::from([("user", clip(&user, MAX_NAME))]);
    let flags = if interactive { ALLOW_INTERACTION } else { 0 };
    let cancel = Cancel::new(connection);
    let question = (subject, id.as_str(), details, flags, cancel.id.as_str());
    let asked = connection.call_method(Some(NAME), PATH, Some(INTERFACE), "CheckAuthorization", &question);
    let answer = match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let text = format!("polkit cannot be asked ({error}): see systemctl status polkit");
            return Err(Fault::new(NO_AUTHORITY, text));
        }
        Err(_) => return Err(Fault::new(NOT_AUTHORIZED, "nobody has authenticated in time; try again")),
    };
    cancel.answered();
    let body = answer.body();
    type Result3 = (bool, bool, HashMap<String, String>);
    let ((is_authorized, is_challenge, _),): (Result3,) = body
        .deserialize()
        .map_err(|error| Fault::new(NO_AUTHORITY, format!("polkit's answer is not understood: {error}")))?;
    match (is_authorized, is_challenge) {
        (true, _) => Ok(()),
        (false, true) if !interactive => {
            let text =
                format!("{id} needs somebody to authenticate: allow interactive authorization in the call");
            Err(Fault::new(NOT_AUTHORIZED, text))
        }
        (false, true) => {
            let text = format!(
                "{id} needs somebody to authenticate, and there is no agent to ask: pkttyagent is one"
            );
            Err(Fault::new(NOT_AUTHORIZED, text))
        }
        (false, false) => Err(Fault::new(NOT_AUTHORIZED, format!("polkit does not authorize {id}"))),
    }
}

/// Takes the question back when the caller is gone, so that nobody is asked for a password for nothing.
struct Cancel {
    connection: Connection,
    id: String,
    is_open: bool,
}

impl Cancel {
    fn new(connection: &Connection) -> Self {
        let id = format!("countersign-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { connection: connection.clone(), id, is_open: true }
    }

    fn answered(mut self) {
        self.is_open = false;
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_open, Handle::try_current()) {
            let (connection, id) = (self.connection.clone(), std::mem::take(&mut self.id));
            runtime.spawn(async move {
                let method = "CancelCheckAuthorization";
                let call = connection.call_method(Some(NAME), PATH, Some(INTERFACE), method, &id);
                // Where it was answered meanwhile there is nothing to take back.
                let _ = timeout(Duration::from_secs(5), call).await;
            });
        }
    }
}
