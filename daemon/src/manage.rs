//! `org.countersign.Manage`: what the `countersign` command asks for. Here are the connection and which call goes where;
//! what comes of the calls is in a module a family, and who may make them in [`rights`].

mod codes;
mod devices;
mod host;
mod leases;
mod pair;
mod requests;
mod rights;
#[cfg(test)]
mod testing;
mod unblock;
mod watch;

pub(crate) use devices::told;
pub(crate) use requests::told_request;
pub(crate) use rights::by;

use crate::app::App;
use crate::audit::Durability;
use crate::caller::Caller;
use crate::clock;
use crate::connection::{Connection, ConnectionError};
use crate::log::Level;
use crate::login;
use crate::polkit;
use countersign_protocol::audit::Record;
use countersign_protocol::frame;
use countersign_protocol::login::{self as login_calls, Begin};
use countersign_protocol::manage::{Call, Noted, error};
use pair::Step;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How long the next call may be away; a person reads a phone between two of them.
const IDLE: Duration = Duration::from_secs(5 * 60 + 30);

/// Why a call was not carried out: a name from [`error`], and one line for a person.
pub(crate) struct Refusal(pub(crate) &'static str, pub(crate) String);

/// What comes of a call.
pub(crate) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    /// Something broke on this host.
    pub(crate) fn fault(error: impl std::fmt::Display) -> Self {
        Self(error::FAULT, error.to_string())
    }

    /// The server cannot be reached or refused.
    pub(crate) fn unreachable(error: impl std::fmt::Display) -> Self {
        Self(error::UNREACHABLE, error.to_string())
    }
}

/// Answers calls until the peer closes.
///
/// # Errors
/// When the connection is of no more use.
pub async fn serve(
    app: &Rc<App>,
    caller: Caller,
    connection: Connection,
    first: &[u8],
) -> Result<(), ConnectionError> {
    let mut session = Session::new(app, caller, connection);
    let served = session.calls(first).await;
    session.give_up().await;
    if let Some(begin) = served? {
        login::serve(Rc::clone(app), session.caller, session.connection, begin).await;
    }
    Ok(())
}

/// One peer; a pairing lives no longer.
struct Session {
    app: Rc<App>,
    caller: Caller,
    connection: Connection,
    step: Step,
    /// The caller answers for somebody else, who is called so here.
    acts: bool,
}

impl Session {
    fn new(app: &Rc<App>, caller: Caller, connection: Connection) -> Self {
        Self { app: Rc::clone(app), caller, connection, step: Step::None, acts: false }
    }

    /// Until the peer closes, or begins a login for whom it acts.
    async fn calls(&mut self, first: &[u8]) -> Result<Option<Begin>, ConnectionError> {
        let mut frame = Zeroizing::new(first.to_vec());
        loop {
            match frame::decode::<Call>(&frame) {
                Ok(call) => self.call(call).await?,
                Err(error) => {
                    if let (true, Ok(login_calls::Call::Begin(begin))) = (self.acts, frame::decode(&frame)) {
                        return Ok(Some(*begin));
                    }
                    self.connection.complain(error::BAD_CALL, error.to_string()).await?;
                }
            }
            let received = tokio::select! {
                received = timeout(IDLE, self.connection.recv_frame()) => received,
                () = self.step.tell_end() => return Ok(None),
            };
            frame = match received {
                Ok(Ok(Some(frame))) => frame,
                Ok(Err(error)) => return Err(error),
                Ok(Ok(None)) | Err(_) => return Ok(None),
            };
        }
    }

    async fn call(&mut self, call: Call) -> Result<(), ConnectionError> {
        macro_rules! answer {
            ($answer:expr) => {
                match $answer {
                    Ok(parameters) => self.connection.reply(parameters).await,
                    Err(Refusal(name, message)) => self.connection.complain(name, message).await,
                }
            };
        }
        match call {
            Call::Status {} => answer!(Ok(self.status())),
            Call::Join { token } => answer!(self.join(&token).await),
            Call::Pair { user } => answer!(self.pair(&user).await),
            Call::PairApprove { code } => answer!(self.pair_approve(&code).await),
            Call::PairWait {} => answer!(self.pair_wait().await),
            Call::PairCode { code } => answer!(self.pair_code(&code).await),
            Call::Ring {} => answer!(self.ring().await),
            Call::Devices { user } => answer!(self.devices(user.as_deref()).await),
            Call::Revoke { user, device } => answer!(self.revoke(&user, &device).await),
            Call::NewCodes { user, count } => answer!(self.new_codes(&user, count).await),
            Call::CodesLeft { user } => answer!(self.codes_left(&user).await),
            Call::NewOnce { user, seconds, reason } => answer!(self.new_once(&user, seconds, &reason).await),
            Call::NewAuthenticator { user } => answer!(self.new_authenticator(&user).await),
            Call::Leases { user } => answer!(self.leases(user.as_deref()).await),
            Call::EndLeases { user, id } => answer!(self.end_leases(user.as_deref(), id.as_deref()).await),
            Call::PolkitAsks { subject, action, text } => {
                answer!(self.polkit_asks(&subject, &action, &text).await)
            }
            Call::Requests { user, after } => {
                answer!(self.requests(user.as_deref(), after.as_deref()).await)
            }
            Call::CancelRequest { id } => answer!(self.cancel_request(&id).await),
            Call::ActFor { uid, as_administrator } => answer!(self.act_for(uid, as_administrator).await),
            Call::Watch {} => self.watch().await,
            Call::Blocks {} => answer!(self.blocks()),
            Call::Unblock { user, source } => {
                answer!(self.unblock(user.as_deref(), source.as_deref()).await)
            }
        }
    }

    /// What polkit's rule says. Anybody else could put words into a stranger's question.
    async fn polkit_asks(&self, subject: &str, action: &str, text: &str) -> Answer<Noted> {
        if !self.caller.root_socket && self.caller_itself().await?.name != polkit::DAEMON {
            return Err(Refusal(error::NOT_PERMITTED, "only polkit's daemon and root may say this".into()));
        }
        let noted = self.app.polkit.note(subject, action, text, clock::boot());
        noted.map(|()| Noted {}).map_err(|why| Refusal(error::BAD_CALL, why.into()))
    }

    /// Written down before it is done, and on the disk.
    async fn record(&self, record: Record) -> Answer<()> {
        write_record(&self.app, record).await
    }
}

/// Writes what is done by a manager's call: to the audit so that the disk holds it, and to the log.
pub(crate) async fn write_record(app: &App, mut record: Record) -> Answer<()> {
    record.host = Some(app.host.name.clone());
    let written = app.audit.append(record.clone(), Durability::Now).await;
    let written = written
        .map_err(|error| Refusal::fault(format!("not done, since the audit cannot be written: {error}")))
        .inspect_err(|Refusal(_, why)| app.log.error(&format!("{}: {why}", record.event)))?;
    let mut pairs = Vec::new();
    for (key, value) in [("user", &record.user), ("device", &record.device), ("reason", &record.reason)] {
        pairs.extend(value.as_deref().map(|value| (key, value)));
    }
    pairs.push(("audit", &written));
    app.log.line(Level::Notice, &record.event, &pairs);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lab;

    #[tokio::test]
    async fn what_polkit_asks_is_polkits_and_roots_to_say() {
        let lab = Lab::new();
        let say = async |uid, root_socket, action: &str| {
            let (session, _peer) = testing::session(&lab, uid, root_socket);
            session.polkit_asks("alice", action, "run id").await.map_err(|Refusal(name, _)| name)
        };
        // Number 0 by the socket for everybody is a user like any other.
        assert_eq!(say(0, false, "a.b").await, Err(error::NOT_PERMITTED));
        assert_eq!(say(4_000_000_000, false, "a.b").await, Err(error::NOT_FOUND));
        assert_eq!(lab.app.polkit.of("alice", clock::boot()), (None, None));
        assert_eq!(say(0, true, "a b").await, Err(error::BAD_CALL));
        assert_eq!(say(0, true, "a.b").await, Ok(Noted {}));
        assert_eq!(lab.app.polkit.of("alice", clock::boot()).0.as_deref(), Some("a.b"));
    }
}
