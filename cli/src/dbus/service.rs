//! The service on the bus: takes in calls, answers them, and leaves when it is of no more use.

use super::clients::{Call, Clients};
use super::fault::{
    BROKEN, Fault, INVALID_ARGS, READ_ONLY, UNKNOWN_INTERFACE, UNKNOWN_METHOD, UNKNOWN_OBJECT,
    UNKNOWN_PROPERTY,
};
use super::link::{Link, SHORT};
use super::{INTROSPECTION, NAME, PATH, methods, signals, values};
use crate::bus;
use countersign_protocol::manage;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use zbus::connection::Builder;
use zbus::message::{Flags, Type};
use zbus::{Connection, Message, MessageStream, OwnedVariant, Variant};

const DBUS: &str = "org.freedesktop.DBus";
const DBUS_PATH: &str = "/org/freedesktop/DBus";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const PEER: &str = "org.freedesktop.DBus.Peer";
/// Does not wait for the name where another one has it.
const DO_NOT_QUEUE: u32 = 4;
/// The name is ours.
const PRIMARY_OWNER: u32 = 1;
/// Messages that may wait to be read here; more wait on the bus's side.
const MAX_QUEUED: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Longest parameters of a call in bytes.
const MAX_BODY: usize = 4096;
/// Calls that may wait for their answer, those that are refused for their number included. Whoever makes more gets none.
const MAX_ANSWERS: usize = 512;
/// Longest time for the bus to take an answer.
const SEND_TIME: Duration = Duration::from_secs(10);

/// What all calls share. One thread, so no locks.
pub(super) struct Service {
    pub(super) connection: Connection,
    /// The directory of the daemon's sockets.
    pub(super) run: PathBuf,
    pub(super) clients: Rc<Clients>,
    /// Somebody has subscribed.
    pub(super) subscribed: Notify,
    /// Whether the daemon's events are being heard.
    pub(super) heard: watch::Sender<bool>,
}

/// Serves until nobody has used it for so long.
///
/// # Errors
/// Why there is no service: the bus is not there, or does not give it the name.
pub(super) async fn serve(run: &Path, idle: Duration) -> Result<(), String> {
    let connection = bus::connect(None, Builder::system)
        .await
        .map_err(|error| format!("the system bus cannot be reached: {error}"))?;
    let mut stream = MessageStream::from(&connection);
    stream.set_max_queued(MAX_QUEUED);
    let service = Rc::new(Service {
        connection,
        run: run.to_owned(),
        clients: Rc::default(),
        subscribed: Notify::new(),
        heard: watch::Sender::new(false),
    });
    let mut inbox = Inbox { service: Rc::clone(&service), stream, calls: JoinSet::new() };
    let left = format!("type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg2=''");
    inbox.ask_bus("AddMatch", &left).await?.map_err(broken)?;
    inbox.own_name().await?;
    tokio::task::spawn_local(signals::run(service));
    let mut used = Instant::now();
    loop {
        let is_unused = inbox.is_unused();
        tokio::select! {
            message = bus::next(&mut inbox.stream) => {
                inbox.take(message)?;
                // What was no call of anybody's, and no farewell, is no use of it.
                if !(is_unused && inbox.is_unused()) {
                    used = Instant::now();
                }
            }
            Some(_) = inbox.calls.join_next() => used = Instant::now(),
            () = sleep_until(used + idle), if is_unused => {
                // Whoever calls from here on starts another one, or is in the stream already.
                inbox.ask_bus("ReleaseName", &NAME).await?.map_err(broken)?;
                while let Ok(message) = timeout(Duration::ZERO, bus::next(&mut inbox.stream)).await {
                    inbox.take(message)?;
                }
                if inbox.is_unused() {
                    return Ok(());
                }
                inbox.own_name().await?;
                used = Instant::now();
            }
        }
    }
}

fn broken(error: impl std::fmt::Display) -> String {
    format!("the system bus: {error}")
}

/// What comes from the bus, and the calls that are being answered.
struct Inbox {
    service: Rc<Service>,
    stream: MessageStream,
    calls: JoinSet<()>,
}

impl Inbox {
    /// Whether nobody has a call open or may come back.
    fn is_unused(&self) -> bool {
        self.calls.is_empty() && self.service.clients.is_empty()
    }

    /// Asks the bus itself, and takes in what comes meanwhile: where nobody empties the stream, its answer waits behind what
    /// others have sent.
    ///
    /// # Errors
    /// When the bus is gone; its answer may be an error of its own.
    async fn ask_bus(
        &mut self,
        method: &str,
        body: &(impl serde::Serialize + zbus::DynamicType),
    ) -> Result<zbus::Result<Message>, String> {
        let connection = self.service.connection.clone();
        let mut answer = pin!(bus::call(&connection, DBUS, DBUS_PATH, DBUS, method, body));
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer),
                message = bus::next(&mut self.stream) => self.take(message)?,
            }
        }
    }

    async fn own_name(&mut self) -> Result<(), String> {
        let reply = self.ask_bus("RequestName", &(NAME, DO_NOT_QUEUE)).await?.map_err(|error| {
            format!("the bus does not give {NAME} to this user ({error}); it is started by the bus, as root")
        })?;
        match reply.body().deserialize() {
            Ok(PRIMARY_OWNER) => Ok(()),
            _ => Err(format!("{NAME} is there already: another one runs")),
        }
    }

    /// Takes a message from the bus.
    ///
    /// # Errors
    /// When there is no bus any more.
    fn take(&mut self, message: Option<zbus::Result<Message>>) -> Result<(), String> {
        let message = message.ok_or("the system bus is gone")?.map_err(broken)?;
        take(&self.service, message, &mut self.calls);
        Ok(())
    }
}

/// Takes a message from the bus.
fn take(service: &Rc<Service>, message: Message, calls: &mut JoinSet<()>) {
    let header = message.header();
    match message.message_type() {
        Type::Signal => {
            let ours = header.sender().is_some_and(|sender| sender.as_str() == DBUS)
                && header.member().is_some_and(|member| member.as_str() == "NameOwnerChanged");
            if ours
                && let Ok((name, _, owner)) = message.body().deserialize::<(String, String, String)>()
                && owner.is_empty()
            {
                service.clients.left(&name);
            }
        }
        Type::MethodCall => {
            let Some(sender) = header.sender().map(|sender| sender.as_str().to_owned()) else { return };
            let service = Rc::clone(service);
            match service.clients.enter(&sender) {
                Ok(call) => drop(calls.spawn_local(serve_call(service, message.clone(), call))),
                Err(_) if calls.len() >= MAX_ANSWERS => {}
                Err(fault) => drop(calls.spawn_local({
                    let message = message.clone();
                    async move { send(&service, &message, Err(fault)).await }
                })),
            }
        }
        _ => {}
    }
}

/// Answers a call, unless the caller leaves before.
async fn serve_call(service: Rc<Service>, message: Message, call: Call) {
    tokio::select! {
        biased;
        answer = answer(&service, &message, &call) => send(&service, &message, answer).await,
        () = call.client.gone() => {}
    }
}

async fn send(service: &Service, message: &Message, answer: Result<Message, Fault>) {
    let header = message.header();
    if header.primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
        return;
    }
    let answer = match answer {
        Ok(answer) => Ok(answer),
        Err(Fault { name, text }) => Message::error(&header, name).build(&text),
    };
    // A caller that is gone, or a bus that takes nothing more, needs no answer.
    if let Ok(answer) = answer {
        let _ = timeout(SEND_TIME, service.connection.send(&answer)).await;
    }
}

/// What comes of a call.
async fn answer(service: &Rc<Service>, message: &Message, call: &Call) -> Result<Message, Fault> {
    let header = message.header();
    let (path, member) = match (header.path(), header.member()) {
        (Some(path), Some(member)) => (path.as_str(), member.as_str()),
        _ => return Err(Fault::new(UNKNOWN_METHOD, "a call names its object and its method")),
    };
    if message.body().len() > MAX_BODY {
        return Err(Fault::new(INVALID_ARGS, format!("the parameters are over {MAX_BODY} bytes")));
    }
    let interface = match header.interface() {
        Some(interface) => interface.as_str(),
        // It may be left out; ours have no names in common.
        None => match member {
            "Introspect" => INTROSPECTABLE,
            "Ping" | "GetMachineId" => PEER,
            "Get" | "GetAll" | "Set" => PROPERTIES,
            _ => NAME,
        },
    };
    let uid = caller(service, call).await?;
    let unknown = || Fault::new(UNKNOWN_METHOD, format!("{interface} has no method {member}"));
    match (interface, member) {
        (INTROSPECTABLE, "Introspect") => reply(message, &introspection(path)?),
        (PEER, "Ping") => reply(message, &()),
        (PEER, "GetMachineId") => reply(message, &machine_id()?),
        _ if path != PATH => Err(Fault::new(UNKNOWN_OBJECT, format!("there is only {PATH}"))),
        (PROPERTIES, "Get" | "GetAll" | "Set") => property(service, message, uid, member).await,
        (NAME, _) => methods::call(service, message, &call.client, uid).await?.ok_or_else(unknown),
        (INTROSPECTABLE | PEER | PROPERTIES, _) => Err(unknown()),
        _ => Err(Fault::new(UNKNOWN_INTERFACE, format!("there is no interface {interface}"))),
    }
}

/// The reply with these results.
pub(super) fn reply(
    message: &Message,
    results: &(impl serde::Serialize + zbus::DynamicType),
) -> Result<Message, Fault> {
    Message::method_return(&message.header())
        .build(results)
        .map_err(|error| Fault::new(BROKEN, error.to_string()))
}

/// The parameters of a call.
pub(super) fn parameters<T>(message: &Message) -> Result<T, Fault>
where
    T: for<'a> zbus::wire::DynamicDeserialize<'a>,
{
    let wrong =
        |error: zbus::Error| Fault::new(INVALID_ARGS, format!("other parameters are wanted: {error}"));
    message.body().deserialize().map_err(wrong)
}

/// Whose the calling program is: the bus knows it, the program is not asked.
async fn caller(service: &Service, call: &Call) -> Result<u32, Fault> {
    if let Some(uid) = call.client.uid.get() {
        service.clients.is_of(&call.client, uid)?;
        return Ok(uid);
    }
    let unknown = |why: String| Fault::new(BROKEN, format!("the bus does not say who calls: {why}"));
    let name = call.client.name.as_str();
    let answer = bus::call(&service.connection, DBUS, DBUS_PATH, DBUS, "GetConnectionCredentials", &name)
        .await
        .map_err(|error| unknown(error.to_string()))?;
    let body = answer.body();
    let mut credentials: HashMap<String, OwnedVariant> =
        body.deserialize().map_err(|error| unknown(error.to_string()))?;
    let uid = credentials.remove("UnixUserID").and_then(|uid| u32::try_from(&*uid).ok());
    let uid = uid.ok_or_else(|| unknown("it has no user".into()))?;
    service.clients.is_of(&call.client, uid)?;
    Ok(uid)
}

/// Reads properties. They are how the daemon is, which everybody may know.
async fn property(service: &Service, message: &Message, uid: u32, method: &str) -> Result<Message, Fault> {
    let no_interface = |name: &str| Fault::new(UNKNOWN_INTERFACE, format!("{name} has no properties"));
    let wanted = match method {
        "GetAll" => {
            let interface: String = parameters(message)?;
            if interface != NAME && !interface.is_empty() {
                return Err(no_interface(&interface));
            }
            None
        }
        "Get" => {
            let (interface, name): (String, String) = parameters(message)?;
            if interface != NAME && !interface.is_empty() {
                return Err(no_interface(&interface));
            }
            if !INTROSPECTION.contains(&format!("<property name=\"{name}\" ")) {
                return Err(Fault::new(UNKNOWN_PROPERTY, format!("there is no property {name}")));
            }
            Some(name)
        }
        _ => return Err(Fault::new(READ_ONLY, "all properties can be read only")),
    };
    let (mut link, _) = Link::open_for(&service.run, uid, false).await?;
    let status: manage::Status = link.call(&manage::Call::Status {}, SHORT).await?;
    let all = values::properties(&status);
    let Some(wanted) = wanted else {
        return reply(message, &all.into_iter().collect::<HashMap<&str, Variant<'_>>>());
    };
    match all.into_iter().find(|(name, _)| *name == wanted) {
        Some((_, value)) => reply(message, &value),
        None => Err(Fault::new(UNKNOWN_PROPERTY, format!("there is no property {wanted}"))),
    }
}

/// The object, or the way to it.
fn introspection(path: &str) -> Result<String, Fault> {
    if path == PATH {
        return Ok(INTROSPECTION.to_owned());
    }
    let below = if path == "/" {
        PATH.strip_prefix('/')
    } else {
        PATH.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'))
    };
    match below.and_then(|rest| rest.split('/').next()) {
        Some(next) => Ok(format!("<node><node name=\"{next}\"/></node>\n")),
        None => Err(Fault::new(UNKNOWN_OBJECT, format!("there is only {PATH}"))),
    }
}

/// The machine's id, as every program on a bus tells it.
fn machine_id() -> Result<String, Fault> {
    for file in ["/etc/machine-id", "/var/lib/dbus/machine-id"] {
        if let Ok(text) = std::fs::read_to_string(file) {
            return Ok(text.trim().to_owned());
        }
    }
    Err(Fault::new(BROKEN, "this machine has no id: see machine-id(5)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_object_is_described_and_nothing_else() {
        assert!(introspection("/").unwrap().contains("\"org\""));
        assert!(introspection("/org").unwrap().contains("\"countersign\""));
        assert!(introspection("/org/countersign").unwrap().contains("\"Countersign1\""));
        assert_eq!(introspection(PATH).unwrap(), INTROSPECTION);
        for path in ["/or", "/org/countersign/Countersign1/x", "/x"] {
            assert_eq!(introspection(path).unwrap_err().name, UNKNOWN_OBJECT, "{path}");
        }
    }
}
