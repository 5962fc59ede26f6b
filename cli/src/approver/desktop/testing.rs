//! A bus of the tests' own, and services on it that do what a test wants.

use crate::approver::testing::Dir;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use zbus::connection::Builder;
use zbus::{Connection, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

/// `dbus-daemon` in a directory of its own, which knows no service of the machine.
pub(super) struct Bus {
    child: Child,
    pub(super) address: String,
    _dir: Dir,
}

impl Bus {
    pub(super) fn start() -> Self {
        let dir = Dir::new();
        let config = dir.path().join("bus.conf");
        let listen = dir.path().join("bus");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            listen.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            // It cannot raise its limit of files in a container, and says so.
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon (package dbus-daemon)");
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned(), _dir: dir }
    }

    pub(super) async fn join(&self) -> Connection {
        Builder::address(self.address.as_str()).build().await.unwrap()
    }

    pub(super) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A notification as the service got it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) id: u32,
    pub(super) replaces: u32,
    pub(super) summary: String,
    pub(super) body: String,
    pub(super) buttons: Vec<String>,
    pub(super) urgency: u8,
    pub(super) expire: i32,
}

#[derive(Default)]
struct Log {
    shown: Vec<Shown>,
    closed: Vec<u32>,
}

/// A notification service.
pub(super) struct Service {
    connection: Connection,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

pub(super) const NAME: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
type Notify = (String, u32, String, String, String, Vec<String>, HashMap<String, OwnedVariant>, i32);

impl Service {
    pub(super) async fn start(bus: &Bus, skills: &'static [&'static str]) -> Self {
        let connection = bus.join().await;
        let log = Arc::new(Mutex::new(Log::default()));
        let stream = MessageStream::from(&connection);
        let task = tokio::spawn(serve(connection.clone(), stream, log.clone(), skills));
        connection.request_name(NAME).await.unwrap();
        Self { connection, log, task }
    }

    /// The nth notification since the start, from 1.
    pub(super) async fn shown(&self, n: usize) -> Shown {
        for _ in 0..400 {
            if let Some(shown) = self.log.lock().unwrap().shown.get(n - 1) {
                return shown.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {} were shown", self.count());
    }

    pub(super) fn count(&self) -> usize {
        self.log.lock().unwrap().shown.len()
    }

    pub(super) async fn closed(&self, id: u32) {
        for _ in 0..400 {
            if self.log.lock().unwrap().closed.contains(&id) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{id} was not closed");
    }

    pub(super) async fn press(&self, id: u32, button: &str) {
        press(&self.connection, id, button).await;
    }

    /// As if the person had taken it away.
    pub(super) async fn dismiss(&self, id: u32) {
        signal(&self.connection, "NotificationClosed", &(id, 2u32)).await;
    }

    /// Dies as a crashed one does.
    pub(super) async fn die(self) {
        self.task.abort();
        self.connection.close().await.unwrap();
    }

    /// Keeps its name and answers nothing.
    pub(super) fn hang(&self) {
        self.task.abort();
    }
}

pub(super) async fn press(connection: &Connection, id: u32, button: &str) {
    signal(connection, "ActionInvoked", &(id, button)).await;
}

async fn signal(connection: &Connection, name: &str, body: &(impl serde::Serialize + zbus::DynamicType)) {
    connection.emit_signal(None::<&str>, PATH, NAME, name, body).await.unwrap();
}

async fn serve(
    connection: Connection,
    mut stream: MessageStream,
    log: Arc<Mutex<Log>>,
    skills: &'static [&'static str],
) {
    let mut last = 0;
    while let Some(Ok(message)) = crate::bus::next(&mut stream).await {
        let header = message.header();
        if message.message_type() != zbus::message::Type::MethodCall {
            continue;
        }
        match header.member().unwrap().as_str() {
            "GetCapabilities" => connection.reply(&header, &skills).await.unwrap(),
            "Notify" => {
                let (_, replaces, _, summary, body, buttons, hints, expire): Notify =
                    message.body().deserialize().unwrap();
                let urgency = u8::try_from(&*hints["urgency"]).unwrap();
                if replaces == 0 {
                    last += 1;
                }
                let id = if replaces == 0 { last } else { replaces };
                log.lock().unwrap().shown.push(Shown {
                    id,
                    replaces,
                    summary,
                    body,
                    buttons,
                    urgency,
                    expire,
                });
                connection.reply(&header, &id).await.unwrap();
            }
            "CloseNotification" => {
                let id: u32 = message.body().deserialize().unwrap();
                log.lock().unwrap().closed.push(id);
                connection.reply(&header, &()).await.unwrap();
                signal(&connection, "NotificationClosed", &(id, 3u32)).await;
            }
            _ => (),
        }
    }
}

/// A logind with one session of this user, locked or not; with `None` it answers nothing about it.
pub(super) async fn logind(bus: &Bus, locked: Option<bool>) -> JoinHandle<()> {
    let connection = bus.join().await;
    let mut stream = MessageStream::from(&connection);
    connection.request_name("org.freedesktop.login1").await.unwrap();
    tokio::spawn(async move {
        while let Some(Ok(message)) = crate::bus::next(&mut stream).await {
            answer_as_logind(&connection, &message, locked).await;
        }
    })
}

async fn answer_as_logind(connection: &Connection, message: &Message, locked: Option<bool>) {
    let header = message.header();
    if message.message_type() != zbus::message::Type::MethodCall {
        return;
    }
    let session = |id: &str, uid: u32| {
        let path = OwnedObjectPath::try_from(format!("/org/freedesktop/login1/session/{id}")).unwrap();
        (id.to_owned(), uid, "somebody".to_owned(), "seat0".to_owned(), path)
    };
    let own = nix::unistd::getuid().as_raw();
    match (header.member().unwrap().as_str(), header.path().unwrap().as_str(), locked) {
        ("ListSessions", ..) => {
            let all = vec![session("other", own + 1), session("own", own)];
            connection.reply(&header, &all).await.unwrap();
        }
        // Another person's screen is of no interest.
        ("Get", path, _) if path.ends_with("other") => {
            connection.reply(&header, &Variant::Bool(true)).await.unwrap();
        }
        ("Get", _, Some(locked)) => connection.reply(&header, &Variant::Bool(locked)).await.unwrap(),
        _ => (),
    }
}
