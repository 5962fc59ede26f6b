//! `org.countersign.Manage`: what the `countersign` command asks for. What is about pairing is in
//! [`pair`].

mod leases;
mod pair;
mod requests;
mod typed;
mod unblock;
mod watch;

use crate::app::App;
use crate::audit::Durability;
use crate::caller::Caller;
use crate::clock;
use crate::connection::{Connection, ConnectionError};
use crate::devices::Device;
use crate::log::Level;
use crate::login;
use crate::pairing;
use crate::person::{self, Person};
use crate::polkit;
use crate::revoke;
use countersign_protocol::audit::Record;
use countersign_protocol::frame;
use countersign_protocol::login::{self as login_calls, Begin};
use countersign_protocol::manage::{
    self, Acting, Call, Codes, CodesLeft, Devices, Held, Joined, Leases, Noted, Request, Requests, Revoked,
    Status, error,
};
use countersign_relay_client::RelayError;
use pair::Step;
pub(crate) use requests::told_request;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

/// Longest time that joining waits for the connection.
const CONNECT_TIME: Duration = Duration::from_secs(3);
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
            Call::Blocks {} => answer!(self.root_only().map(|()| unblock::held(&self.app, None, None))),
            Call::Unblock { user, source } => {
                answer!(self.unblock(user.as_deref(), source.as_deref()).await)
            }
        }
    }

    fn status(&self) -> Status {
        status(&self.app, self.caller.root_socket)
    }

    async fn requests(&self, user: Option<&str>, after: Option<&str>) -> Answer<Requests> {
        let user = self.whose(user).await?;
        Ok(requests::list(&self.app, user.as_deref(), after))
    }

    async fn cancel_request(&self, id: &str) -> Answer<Request> {
        let user = self.whose(None).await?;
        requests::cancel(&self.app, user.as_deref(), id, &self.by()).await
    }

    /// From now on this connection has the rights of somebody else, or root's at their wish.
    async fn act_for(&mut self, uid: u32, as_administrator: bool) -> Answer<Acting> {
        self.root_only()?;
        if std::mem::replace(&mut self.acts, true) || !matches!(self.step, Step::None) {
            let text = "for whom a connection acts is said once, at its beginning";
            return Err(Refusal(error::BAD_CALL, text.into()));
        }
        // Of its group nothing is known, and nothing is made of it.
        self.caller = Caller { uid, gid: u32::MAX, pid: None, root_socket: as_administrator };
        let user = match as_administrator {
            true => None,
            false => person::by_uid(uid).await.map_err(Refusal::fault)?.map(|person| person.name),
        };
        Ok(Acting { uid, user })
    }

    async fn join(&self, token: &str) -> Answer<Joined> {
        self.root_only()?;
        let config = self.app.config().map_err(Refusal::fault)?;
        let client = self.app.relay.client().ok_or_else(|| pairing::no_server(&self.app))?;
        client.join(token, &self.app.host.name).await.map_err(|error| not_joined(&error))?;
        self.app.relay.reconnect();
        // So that what is asked next does not hear of a connection that is just being made.
        let connected = async {
            while !self.app.relay.is_up() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = timeout(CONNECT_TIME, connected).await;
        let joined = Joined { server: config.server.clone(), host_key: self.app.host.public.fingerprint() };
        let reason = format!("at {} by {}", joined.server, self.by());
        self.record(Record { event: "joined".into(), reason: Some(reason), ..Record::default() }).await?;
        Ok(joined)
    }

    async fn devices(&self, user: Option<&str>) -> Answer<Devices> {
        let devices = match user {
            None if self.caller.root_socket => self.app.devices.all(),
            None => self.app.devices.for_user(&self.caller_itself().await?.name),
            Some(user) => self.app.devices.for_user(&self.permitted(user).await?.name),
        };
        Ok(Devices { devices: devices.iter().map(|device| told(&self.app, device)).collect() })
    }

    async fn revoke(&self, user: &str, wanted: &str) -> Answer<Revoked> {
        let person = self.permitted(user).await?;
        let devices = self.app.devices.for_user(&person.name);
        let mut meant = meant(&devices, wanted);
        let Some(device) = meant.pop() else {
            return Err(Refusal(
                error::NOT_FOUND,
                format!("{} has no such device; see: countersign devices", person.name),
            ));
        };
        if !meant.is_empty() {
            let text = "several devices have that name; give the fingerprint of one (countersign devices)";
            return Err(Refusal(error::BAD_CALL, text.into()));
        }
        let (app, by) = (&self.app, self.by());
        let removed = match self.caller.root_socket {
            true => revoke::revoke(app, device, &by, None).await?,
            false => revoke::take_away(app, &person.name, device, &by, None).await?,
        };
        let still_anothers = revoke::is_anothers(app, &person.name, device);
        Ok(Revoked {
            devices: removed.iter().map(|device| told(&self.app, device)).collect(),
            still_anothers,
        })
    }

    async fn new_codes(&self, user: &str, count: u8) -> Answer<Codes> {
        self.root_only()?;
        if !(1..=crate::recovery::MAX_CODES).contains(&count) {
            let text = format!("1 to {} codes can be made", crate::recovery::MAX_CODES);
            return Err(Refusal(error::BAD_CALL, text));
        }
        let person = known(user).await?;
        self.record(Record {
            event: "recovery-codes".into(),
            user: Some(person.name.clone()),
            reason: Some(format!("{count} new ones by {}; the old ones end", self.by())),
            ..Record::default()
        })
        .await?;
        match self.app.recovery.new_codes(&person.name, count).await {
            Ok(codes) => Ok(Codes { codes }),
            Err(error) => {
                self.record(Record {
                    event: "recovery-codes-failed".into(),
                    user: Some(person.name),
                    reason: Some(format!("no new ones were made, the old ones hold: {error}")),
                    ..Record::default()
                })
                .await?;
                Err(Refusal::fault(error))
            }
        }
    }

    async fn codes_left(&self, user: &str) -> Answer<CodesLeft> {
        let person = self.permitted(user).await?;
        let (app, name) = (&self.app, &person.name);
        Ok(CodesLeft {
            left: app.recovery.left(name),
            totp: app.totp.has(name),
            once_until: app.recovery.once_until(name),
        })
    }

    async fn unblock(&self, user: Option<&str>, source: Option<&str>) -> Answer<Held> {
        self.root_only()?;
        unblock::unblock(&self.app, user, source, &self.by()).await
    }

    /// What polkit's rule says. Anybody else could put words into a stranger's question.
    async fn polkit_asks(&self, subject: &str, action: &str, text: &str) -> Answer<Noted> {
        if !self.caller.root_socket && self.caller_itself().await?.name != polkit::DAEMON {
            return Err(Refusal(error::NOT_PERMITTED, "only polkit's daemon and root may say this".into()));
        }
        let noted = self.app.polkit.note(subject, action, text, clock::boot());
        noted.map(|()| Noted {}).map_err(|why| Refusal(error::BAD_CALL, why.into()))
    }

    async fn leases(&self, user: Option<&str>) -> Answer<Leases> {
        let user = self.whose(user).await?;
        Ok(leases::list(&self.app, user.as_deref()))
    }

    async fn end_leases(&self, user: Option<&str>, id: Option<&str>) -> Answer<Leases> {
        let user = self.whose(user).await?;
        leases::end(&self.app, user.as_deref(), id, &self.by()).await
    }

    /// Whose things a caller may speak of: everybody's, where that is root and names nobody.
    async fn whose(&self, user: Option<&str>) -> Answer<Option<String>> {
        Ok(match user {
            None if self.caller.root_socket => None,
            None => Some(self.caller_itself().await?.name),
            Some(user) => Some(self.permitted(user).await?.name),
        })
    }

    fn root_only(&self) -> Answer<()> {
        if self.caller.root_socket {
            Ok(())
        } else {
            Err(Refusal(error::NOT_PERMITTED, "only root may do this".into()))
        }
    }

    /// The user, if this caller may ask about that one. Whether somebody else exists is not told, nor asked.
    async fn permitted(&self, user: &str) -> Answer<Person> {
        if self.caller.root_socket {
            return known(user).await;
        }
        let own = self.caller_itself().await?;
        match own.is_called(user) {
            true => Ok(own),
            false => Err(Refusal(error::NOT_PERMITTED, "only root may ask about somebody else".into())),
        }
    }

    async fn caller_itself(&self) -> Answer<Person> {
        let found = person::by_uid(self.caller.uid).await.map_err(Refusal::fault)?;
        found.ok_or_else(|| Refusal(error::NOT_FOUND, "you are no user of this host".into()))
    }

    /// Written down before it is done, and on the disk.
    async fn record(&self, record: Record) -> Answer<()> {
        write_record(&self.app, record).await
    }

    fn by(&self) -> String {
        by(&self.caller)
    }
}

/// How the daemon is; in full for root.
fn status(app: &App, for_root: bool) -> Status {
    let connected = app.relay.is_up();
    let shown = |faults: Vec<String>| match faults.len() {
        0 => faults,
        _ if for_root => faults,
        // The lines quote the file, which only administrators may be able to read.
        1 => vec!["1 fault; root sees it with: countersign status".to_owned()],
        number => vec![format!("{number} faults; root sees them with: countersign status")],
    };
    let config_faults = shown(app.config.borrow().faults.clone());
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        host: app.host.name.clone(),
        host_key: app.host.public.fingerprint(),
        server: app.config().map(|config| config.server.clone()).unwrap_or_default(),
        connected,
        trouble: (!connected).then(|| app.relay.trouble().full),
        waiting: app.logins.waiting(),
        devices: u32::try_from(app.devices.all().len()).unwrap_or(u32::MAX),
        config_faults,
        approver_faults: shown(app.approvers.faults()),
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

/// Who called, for the audit.
pub(crate) fn by(caller: &Caller) -> String {
    match (caller.root_socket, caller.uid) {
        (true, 0) => "root".into(),
        (true, uid) => format!("user {uid} as an administrator"),
        (false, uid) => format!("user {uid}"),
    }
}

/// Devices by fingerprint or name. The fingerprint comes first: a device may be named like another's.
fn meant<'a>(devices: &'a [Device], wanted: &str) -> Vec<&'a Device> {
    let by_fingerprint: Vec<_> =
        devices.iter().filter(|device| device.card.key.fingerprint() == wanted).collect();
    match by_fingerprint.is_empty() {
        true => devices.iter().filter(|device| device.card.card.name == wanted).collect(),
        false => by_fingerprint,
    }
}

/// A device as it is told.
pub(crate) fn told(app: &App, device: &Device) -> manage::Device {
    manage::Device {
        user: device.user.clone(),
        name: device.card.card.name.clone(),
        fingerprint: device.card.key.fingerprint(),
        paired_at: device.paired_at,
        last_used_at: device.last_used_at,
        principals: app.approvers.principals_of(&device.user, &device.card.key, app.latest()),
    }
}

async fn known(user: &str) -> Answer<Person> {
    let found = person::lookup(user).await.map_err(Refusal::fault)?;
    found.ok_or_else(|| Refusal(error::NOT_FOUND, "there is no such user on this host".into()))
}

/// A server that says no to the token is there: another token helps, waiting does not.
fn not_joined(error: &RelayError) -> Refusal {
    match error {
        RelayError::Status { status: 400..=499, .. } => Refusal(error::NOT_PERMITTED, error.to_string()),
        _ => Refusal::unreachable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lab, TestDevice};
    use base64ct::{Base64, Encoding};
    use countersign_protocol::api::Problem;
    use countersign_protocol::card;
    use countersign_protocol::keys::{SealKey, Signer, SigningKey};
    use countersign_protocol::message::{Card, VERSION};
    use tokio::net::UnixStream;

    /// A card is no secret: who has paired another's device as their own must not end it for both.
    #[tokio::test]
    async fn a_device_of_several_users_is_ended_for_all_by_root_alone() {
        for root_socket in [false, true] {
            let (lab, device) = (Lab::new(), TestDevice::new());
            lab.pair("root", &device).await;
            lab.pair("admin", &device).await;
            let key = device.key.public_key();
            let (stream, _peer) = UnixStream::pair().unwrap();
            let caller = Caller { uid: 0, gid: 0, pid: None, root_socket };
            let (app, connection) = (Rc::clone(&lab.app), Connection::new(stream));
            let session = Session::new(&app, caller, connection);
            let Ok(revoked) = session.revoke("root", &key.fingerprint()).await else { panic!("refused") };
            assert_eq!(revoked.still_anothers, !root_socket);
            let users: Vec<_> = revoked.devices.iter().map(|device| device.user.as_str()).collect();
            assert_eq!(users, if root_socket { &["root", "admin"][..] } else { &["root"] });
            assert_eq!(lab.app.approvers.is_revoked(key), root_socket);
            assert!(lab.app.devices.for_user("root").is_empty());
            assert_eq!(lab.app.devices.for_user("admin").is_empty(), root_socket);
            let lines = std::fs::read_to_string(lab.app.paths.own("approvers")).unwrap();
            assert_eq!((lines.contains("root "), lines.contains("admin ")), (false, !root_socket));
            let records = lab.audit();
            let told: Vec<_> = records.iter().map(|r| (r.event.as_str(), r.user.as_deref())).collect();
            let revoked = [("revoked", Some("root")), ("revoked", Some("admin"))];
            assert_eq!(told, if root_socket { &revoked[..] } else { &[("unpaired", Some("root"))] });
        }
    }

    #[tokio::test]
    async fn what_polkit_asks_is_polkits_and_roots_to_say() {
        let lab = Lab::new();
        let say = async |uid, root_socket, action: &str| {
            let (stream, _peer) = UnixStream::pair().unwrap();
            let caller = Caller { uid, gid: 0, pid: None, root_socket };
            let session = Session {
                app: Rc::clone(&lab.app),
                caller,
                connection: Connection::new(stream),
                step: Step::None,
                acts: false,
            };
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

    /// The key has ended with its line among the revoked ones, whatever becomes of the rest.
    #[tokio::test]
    async fn what_has_ended_is_not_written_down_as_failed() {
        let (lab, device) = (Lab::new(), TestDevice::new());
        lab.pair("root", &device).await;
        let (stream, _peer) = UnixStream::pair().unwrap();
        let caller = Caller { uid: 0, gid: 0, pid: None, root_socket: true };
        let (app, connection) = (Rc::clone(&lab.app), Connection::new(stream));
        let session = Session::new(&app, caller, connection);
        let key = device.key.public_key();
        let blocked = lab.app.paths.own("devices.json.new");
        std::fs::create_dir(&blocked).unwrap();
        let Err(Refusal(name, why)) = session.revoke("root", &key.fingerprint()).await else {
            panic!("done")
        };
        assert_eq!(name, error::FAULT);
        assert!(why.contains("its key has ended") && why.contains("devices.json"), "{why}");
        assert!(lab.app.approvers.is_revoked(key));
        std::fs::remove_dir(&blocked).unwrap();
        assert!(session.revoke("root", &key.fingerprint()).await.is_ok());
        assert!(lab.app.devices.for_user("root").is_empty());
        let events: Vec<_> = lab.audit().into_iter().map(|record| record.event).collect();
        assert_eq!(events, ["revoked", "revoked"]);

        // And what has not ended is.
        std::fs::create_dir(lab.app.paths.own("revoked.new")).unwrap();
        let other = TestDevice::new();
        lab.pair("root", &other).await;
        assert!(session.revoke("root", &other.key.public_key().fingerprint()).await.is_err());
        assert!(!lab.app.approvers.is_revoked(other.key.public_key()));
        assert_eq!(lab.audit().last().map(|record| record.event.clone()).as_deref(), Some("revoke-failed"));
    }

    #[tokio::test]
    async fn a_device_named_like_anothers_fingerprint_can_be_ended() {
        let lab = Lab::new();
        let keys = [(); 2].map(|()| SigningKey::generate());
        let fingerprints = keys.each_ref().map(|key| key.public_key().fingerprint());
        for (key, name) in keys.iter().zip(fingerprints.iter().rev()) {
            let seal = Base64::encode_string(&SealKey::generate().public());
            let (key_line, name) = (key.public_key().to_line(), name.clone());
            let card = Card { version: VERSION, key: key_line, seal, serial: 1, name };
            let card = card::verify(&card::sign(key, &card).unwrap()).unwrap();
            lab.app.devices.add("root", card).await.unwrap();
        }
        let devices = lab.app.devices.for_user("root");
        for wanted in &fingerprints {
            let found: Vec<_> = meant(&devices, wanted).iter().map(|d| d.card.key.fingerprint()).collect();
            assert_eq!(found, std::slice::from_ref(wanted));
        }
    }

    /// The record of new codes says that the old ones end, and is written before they do.
    #[tokio::test]
    async fn that_no_new_codes_could_be_made_is_written_down() {
        let lab = Lab::new();
        let old = lab.app.recovery.new_codes("root", 2).await.unwrap();
        let file = lab.app.paths.own("recovery.json");
        std::fs::rename(&file, lab.app.paths.own("aside")).unwrap();
        std::fs::create_dir(&file).unwrap();
        let caller = Caller { uid: 0, gid: 0, pid: None, root_socket: true };
        let (stream, _peer) = UnixStream::pair().unwrap();
        let (app, connection) = (Rc::clone(&lab.app), Connection::new(stream));
        let session = Session::new(&app, caller, connection);
        assert!(session.new_codes("root", 3).await.is_err());
        let events: Vec<_> = lab.audit().into_iter().map(|record| record.event).collect();
        assert_eq!(events, ["recovery-codes", "recovery-codes-failed"]);
        assert_eq!(lab.app.recovery.left("root"), u32::try_from(old.len()).unwrap());
    }

    /// Names that a user makes up are not looked up: with a name service that hangs they would keep root's logins
    /// from theirs.
    #[tokio::test]
    async fn a_user_asks_about_nobody_else_and_no_name_is_looked_up_for_that() {
        let lab = Lab::new();
        let _hangs = person::hang(true);
        let caller = Caller { uid: 0, gid: 0, pid: None, root_socket: false };
        let (stream, _peer) = UnixStream::pair().unwrap();
        let (app, connection) = (Rc::clone(&lab.app), Connection::new(stream));
        let session = Session::new(&app, caller, connection);
        for own in ["root", "ROOT"] {
            assert_eq!(session.permitted(own).await.ok().map(|person| person.uid), Some(0));
        }
        for other in ["", "root ", "nobody", "no-such-user"] {
            let Err(Refusal(name, _)) = session.permitted(other).await else { panic!("{other:?}") };
            assert_eq!(name, error::NOT_PERMITTED);
        }
    }

    #[tokio::test]
    async fn status_tells_root_of_a_line_that_is_not_taken() {
        let lab = Lab::new();
        for root_socket in [true, false] {
            let caller = Caller { uid: 0, gid: 0, pid: None, root_socket };
            let (stream, _peer) = UnixStream::pair().unwrap();
            let (app, connection) = (Rc::clone(&lab.app), Connection::new(stream));
            let session = Session::new(&app, caller, connection);
            let file = lab.app.paths.administrator().join("approvers");
            std::fs::write(&file, "").unwrap();
            assert_eq!(session.status().approver_faults, [""; 0]);
            std::fs::write(&file, "alice ssh-ed25519 what\n").unwrap();
            let told = session.status().approver_faults;
            let is_told = told.len() == 1 && told[0].contains("approvers: line 1: ") == root_socket;
            assert!(is_told, "{told:?}");
        }
    }

    #[tokio::test]
    async fn codes_of_every_kind_are_told() {
        let lab = Lab::new();
        let caller = Caller { uid: 0, gid: 0, pid: None, root_socket: true };
        let (stream, _peer) = UnixStream::pair().unwrap();
        let (app, connection) = (Rc::clone(&lab.app), Connection::new(stream));
        let session = Session::new(&app, caller, connection);
        let nothing = CodesLeft { left: 0, totp: false, once_until: None };
        assert_eq!(session.codes_left("root").await.ok(), Some(nothing));
        lab.app.totp.new_secret("root").await.unwrap();
        let (_, ends_at) = lab.app.recovery.new_once("root", Duration::from_secs(600), "test").await.unwrap();
        let both = CodesLeft { left: 0, totp: true, once_until: Some(ends_at) };
        assert_eq!(session.codes_left("root").await.ok(), Some(both));
    }

    #[test]
    fn a_wrong_join_token_is_no_outage() {
        let problem = Problem { code: "token-used".into(), message: "make a new one".into() };
        let Refusal(name, text) = not_joined(&RelayError::Status { status: 403, problem: Some(problem) });
        assert_eq!(name, error::NOT_PERMITTED);
        assert!(text.contains("make a new one"), "{text}");
        let Refusal(name, _) = not_joined(&RelayError::Status { status: 502, problem: None });
        assert_eq!(name, error::UNREACHABLE);
    }

    /// A session of that caller, and its other end.
    fn session(lab: &Lab, uid: u32, root_socket: bool) -> (Session, Connection) {
        let (stream, peer) = UnixStream::pair().unwrap();
        let caller = Caller { uid, gid: uid, pid: None, root_socket };
        (Session::new(&lab.app, caller, Connection::new(stream)), Connection::new(peer))
    }

    #[tokio::test]
    async fn a_request_is_seen_and_ended_by_root_and_by_whom_it_concerns() {
        let (lab, device) = (Lab::new(), TestDevice::new());
        lab.pair("alice", &device).await;
        let request =
            lab.request("alice", countersign_protocol::message::Confirm::Code, Duration::from_secs(60));
        lab.app.logins.keep(&request);
        let (root, _peer) = session(&lab, 0, true);
        let ids = |found: Requests| found.requests.into_iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(root.requests(None, None).await.ok().unwrap()), [request.id.as_str()]);
        assert!(ids(root.requests(Some("root"), None).await.ok().unwrap()).is_empty());
        assert!(ids(root.requests(None, Some(&request.id)).await.ok().unwrap()).is_empty());
        let none = |refused: Answer<Request>| refused.err().map(|Refusal(name, _)| name);
        let cancel = async |user, id: &str| requests::cancel(&lab.app, user, id, "user 1").await;
        assert_eq!(none(cancel(Some("bob"), &request.id).await), Some(error::NOT_FOUND));
        assert_eq!(none(cancel(Some("alice"), &request.id[..3]).await), Some(error::REFUSED));
        assert!(lab.audit().is_empty() && !request.state().is_end());
        assert!(cancel(Some("alice"), &request.id[..8]).await.is_ok());
        assert_eq!(request.state(), login::state::State::Withdrawn);
        assert_eq!(none(cancel(None, &request.id).await), Some(error::NOT_FOUND));
        let records = lab.audit();
        assert_eq!((records.len(), records[0].event.as_str()), (1, "request-cancelled"));
        assert!(ids(root.requests(None, None).await.ok().unwrap()).is_empty());
    }

    #[tokio::test]
    async fn who_acts_for_a_user_has_that_users_rights_and_no_way_back() {
        let lab = Lab::new();
        let refused = |answer: Answer<Acting>| answer.err().map(|Refusal(name, _)| name);
        let (mut user, _peer) = session(&lab, 1000, false);
        assert_eq!(refused(user.act_for(0, true).await), Some(error::NOT_PERMITTED));
        let (mut acting, _peer) = session(&lab, 0, true);
        let of_root = Acting { uid: 0, user: Some("root".into()) };
        assert_eq!(acting.act_for(0, false).await.ok(), Some(of_root));
        assert_eq!(acting.by(), "user 0");
        assert!(acting.devices(Some("nobody")).await.is_err() && acting.new_codes("root", 1).await.is_err());
        assert!(acting.act_for(0, true).await.is_err());
        let (mut administrator, _peer) = session(&lab, 0, true);
        assert!(administrator.act_for(1000, true).await.is_ok());
        assert_eq!(administrator.by(), "user 1000 as an administrator");
        assert!(administrator.devices(None).await.is_ok());
        assert!(administrator.act_for(0, true).await.is_err());
    }

    #[tokio::test]
    async fn a_watcher_hears_of_its_own_things_and_root_of_all() {
        use countersign_protocol::frame::Reply;
        use countersign_protocol::manage::Event;
        use countersign_protocol::message::Confirm;
        let (lab, device) = (Lab::new(), TestDevice::new());
        lab.pair("alice", &device).await;
        let request = lab.request("alice", Confirm::Code, Duration::from_secs(60));
        // As somebody whom nothing concerns, and as root.
        for (root_socket, hears) in [(false, false), (true, true)] {
            let (mut watcher, mut peer) = session(&lab, 0, root_socket);
            let heard = async {
                let mut heard = Vec::new();
                while let Ok(Ok(Some(Reply::Parameters { parameters }))) =
                    timeout(Duration::from_millis(600), peer.recv::<Reply<Event>>()).await
                {
                    if let Event::Status(_) = parameters {
                        // The first one: what follows is heard.
                        lab.app.events.opened(&request);
                        lab.app.events.closed(&request);
                    } else {
                        heard.push(parameters);
                    }
                }
                drop(peer);
                heard
            };
            let (served, heard) = tokio::join!(watcher.watch(), heard);
            served.unwrap();
            assert_eq!(heard.len(), if hears { 2 } else { 0 }, "{heard:?}");
            assert!(!hears || matches!(&heard[0], Event::RequestOpened(opened) if opened.id == request.id));
        }
    }
}
