//! A daemon in a temporary folder, devices for it, and a push server.

pub(crate) mod authority;
pub(crate) mod hostile;
pub(crate) mod push;
pub(crate) mod qr;
pub(crate) mod simulated;
pub(crate) mod wire;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use countersign_protocol::audit::Record;
use countersign_protocol::card;
use countersign_protocol::digest;
use countersign_protocol::keys::{SealKey, Signer, SigningKey};
use countersign_protocol::login::Stage;
use countersign_protocol::message::{
    Answer, Card, Closed, Confirm, Decision, Envelope, Kind, MessageType, Notice, Removal, Request, Sealed,
    VERSION,
};
use countersign_protocol::phone_code;
use countersign_protocol::seal::{self, Recipient};
use countersign_protocol::signed::{self, SignedMessage};
use nix::unistd::geteuid;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::task::spawn_local;

use crate::app::{App, HostIdentity, Paths};
use crate::approvers::Approvers;
use crate::audit::Audit;
use crate::budget::Budget;
use crate::devices::Devices;
use crate::fatigue::Fatigue;
use crate::files::Owner;
use crate::hook::Hook;
use crate::leases::Leases;
use crate::log::Log;
use crate::login::Logins;
use crate::login::facts::Facts;
use crate::login::panel::Panel;
use crate::login::request::OpenRequest;
use crate::notices::Notices;
use crate::person::Person;
use crate::polkit::Questions;
use crate::recovery::Recovery;
use crate::relay::Relay;
use crate::removal::Refusals;
use countersign_policy::Loaded;

/// The boot of the machine that tests run on.
pub(crate) const BOOT: &str = "a boot of tests";

/// A daemon without sockets and without a server.
pub(crate) struct Lab {
    pub(crate) app: Rc<App>,
    folder: Rc<TempDir>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let log = Log::to(folder.path().join("no-log"), false);
        Self::start(folder, log, Arc::new(SigningKey::generate()), |_| {})
    }

    /// One that is told its folder and host key, and whose files are prepared before it reads them.
    pub(crate) fn start(
        folder: TempDir,
        log: Log,
        key: Arc<SigningKey>,
        prepare: impl FnOnce(&Paths),
    ) -> Self {
        let paths = paths(folder.path());
        std::fs::create_dir(paths.administrator()).unwrap();
        std::fs::create_dir(&paths.state).unwrap();
        prepare(&paths);
        Self { app: Rc::new(app(paths, log, key, BOOT)), folder: Rc::new(folder) }
    }

    /// One for thousands of stories: its files are in memory, and its log is kept for who asks.
    pub(crate) fn quiet(key: Arc<SigningKey>, prepare: impl FnOnce(&Paths)) -> (Self, Said) {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let said = Said::default();
        let syslog = UnixDatagram::bind(folder.path().join("log")).unwrap();
        spawn_local(listen(syslog, Rc::clone(&said)));
        let log = Log::to(folder.path().join("log"), false);
        (Self::start(folder, log, key, prepare), said)
    }

    /// The same host, whose daemon was killed and started again.
    pub(crate) fn restarted(&self) -> Self {
        self.restarted_in(BOOT)
    }

    /// The same in that boot of it.
    pub(crate) fn restarted_in(&self, boot: &str) -> Self {
        let (log, key) = (self.app.log.clone(), Arc::clone(&self.app.host.key));
        let app = app(paths(self.folder.path()), log, key, boot);
        *app.config.borrow_mut() = self.app.config.borrow().clone();
        Self { app: Rc::new(app), folder: Rc::clone(&self.folder) }
    }

    /// Pairs a device as if its code had been typed.
    pub(crate) async fn pair(&self, user: &str, device: &TestDevice) {
        self.app.approvers.add(user, device.key.public_key(), "test").await.unwrap();
        self.app.devices.add(user, device.card()).await.unwrap();
    }

    /// The audit's records so far.
    pub(crate) fn audit(&self) -> Vec<Record> {
        let text = std::fs::read_to_string(self.app.paths.own("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A request to all of a person's devices.
    pub(crate) fn request(&self, user: &str, confirm: Confirm, wait: Duration) -> Rc<OpenRequest> {
        let person = Person { name: user.to_owned(), uid: 1000 };
        let devices = self.app.devices.for_user(user);
        OpenRequest::new(
            &self.app.host,
            &facts(user),
            (&person, user),
            Panel::of_one(user, devices),
            confirm,
            wait,
            None,
        )
        .unwrap()
    }
}

/// What a daemon has written to its log.
pub(crate) type Said = Rc<RefCell<Vec<String>>>;

async fn listen(syslog: UnixDatagram, said: Said) {
    let mut line = [0; 4096];
    while let Ok(length) = syslog.recv(&mut line).await {
        said.borrow_mut().push(String::from_utf8_lossy(&line[..length]).into_owned());
    }
}

fn paths(folder: &Path) -> Paths {
    Paths {
        config: folder.join("etc/countersign.toml"),
        state: folder.join("state"),
        run: folder.join("run"),
    }
}

fn app(paths: Paths, log: Log, key: Arc<SigningKey>, boot: &str) -> App {
    let owner = Owner(geteuid().as_raw());
    let (etc, state) = (paths.administrator(), &paths.state);
    let budget = Rc::new(Budget::open(&state.join("budget.json"), owner).unwrap());
    App {
        approvers: Approvers::new((etc, owner), (state, owner), log.clone()),
        devices: Devices::open(&state.join("devices.json"), owner).unwrap(),
        audit: Audit::open(&state.join("audit.jsonl"), owner, &log).unwrap(),
        fatigue: Fatigue::open(&state.join("fatigue.json"), owner).unwrap(),
        geoip: crate::geoip::Geoip::default(),
        sources: crate::sources::Sources::open(&state.join("sources.json"), owner).unwrap(),
        recovery: Recovery::open(&state.join("recovery.json"), owner, Rc::clone(&budget)).unwrap(),
        totp: crate::totp::Totp::open(&state.join("totp.json"), owner).unwrap(),
        budget,
        config: RefCell::new(Loaded::default()),
        host: HostIdentity { public: key.public_key().clone(), key, name: "lab".to_owned() },
        relay: Relay::new(None),
        logins: Logins::default(),
        leases: Leases::open(&state.join("leases.json"), owner, Some(boot.to_owned()), &log),
        notices: Notices::default(),
        events: crate::events::Events::default(),
        hook: Hook::default(),
        polkit: Questions::default(),
        refusals: Refusals::default(),
        administrator: owner,
        paths,
        log,
    }
}

pub(crate) fn facts(user: &str) -> Facts {
    Facts {
        stage: Stage::Auth,
        service: "sshd".to_owned(),
        user: user.to_owned(),
        requester: None,
        terminal: None,
        remote: None,
        ssh_key: None,
        command: None,
        action: None,
        detail: None,
        origins: Vec::new(),
        list: None,
        context: None,
        session: None,
        kind: Kind::Login,
        silent: false,
        token: None,
        passwordless: false,
        uid: 0,
        by_root: true,
    }
}

/// What a device has opened.
pub(crate) enum Heard {
    Request(Box<Asked>),
    Closed(Closed),
    Notice(Box<Told>),
}

/// A notice as its device knows it.
pub(crate) struct Told {
    pub(crate) notice: Notice,
    pub(crate) digest: String,
}

/// A request as its device knows it.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) digest: String,
}

/// A device that does whatever a test wants.
pub(crate) struct TestDevice {
    pub(crate) key: SigningKey,
    seal_key: SealKey,
    card: card::VerifiedCard,
}

impl TestDevice {
    pub(crate) fn new() -> Self {
        let (key, seal_key) = (SigningKey::generate(), SealKey::generate());
        let card = Card {
            version: VERSION,
            key: key.public_key().to_line(),
            seal: Base64::encode_string(&seal_key.public()),
            serial: 1,
            name: "test".to_owned(),
        };
        let card = card::verify(&card::sign(&key, &card).unwrap()).unwrap();
        Self { key, seal_key, card }
    }

    pub(crate) fn card(&self) -> card::VerifiedCard {
        self.card.clone()
    }

    /// The key that requests are sealed to, which makes phone codes.
    pub(crate) fn seal_key(&self) -> &SealKey {
        &self.seal_key
    }

    /// The eight digits of a request that it has approved and cannot answer.
    pub(crate) fn request_code(&self, lab: &Lab, asked: &Asked) -> zeroize::Zeroizing<String> {
        let mut reply_key = [0; 32];
        Base64::decode(&asked.request.reply_key, &mut reply_key).unwrap();
        let (key, card, host) = (&self.seal_key, &self.card.hash, &lab.app.host.public);
        phone_code::of_request_at_device(key, card, host, reply_key, &asked.digest).unwrap()
    }

    /// Opens a message of the host and verifies it.
    pub(crate) fn hear(&self, lab: &Lab, sealed: &Sealed) -> Heard {
        let host = &lab.app.host.public;
        let kind = seal::peek(sealed).unwrap().message_type;
        let opened = seal::open(kind, &self.seal_key, self.card.hash, host, sealed).unwrap();
        let (body, signature) = (&opened.body, &opened.signature);
        if kind == MessageType::Closed {
            return Heard::Closed(signed::verify_message(body, signature, host).unwrap().message);
        }
        if kind == MessageType::Notice {
            let notice = signed::verify_message(body, signature, host).unwrap().message;
            return Heard::Notice(Box::new(Told { notice, digest: digest::sha256_hex(body) }));
        }
        let request = signed::verify_message(body, signature, host).unwrap().message;
        Heard::Request(Box::new(Asked { request, digest: digest::sha256_hex(body) }))
    }

    /// Answers what it has opened, with this code where it approves and one is wanted.
    pub(crate) fn reply(&self, lab: &Lab, asked: &Asked, answer: Answer, code: &str) -> Sealed {
        let wanted = answer == Answer::Approve && asked.request.confirm == Confirm::Code;
        let message = self.sign(&Decision {
            version: VERSION,
            request: asked.digest.clone(),
            decision: answer,
            code: wanted.then(|| code.to_owned()),
            lease: None,
            decided_at: 1,
            counter: 1,
        });
        let mut reply_key = [0; 32];
        Base64::decode(&asked.request.reply_key, &mut reply_key).unwrap();
        self.seal_to(lab, &asked.request.id, reply_key, &message)
    }

    /// What an honest device would say.
    pub(crate) fn decision(request: &OpenRequest, answer: Answer) -> Decision {
        let code =
            (answer == Answer::Approve && request.confirm == Confirm::Code).then(|| "482913".to_owned());
        Decision {
            version: VERSION,
            request: request.digest.clone(),
            decision: answer,
            code,
            lease: None,
            decided_at: 1,
            counter: 1,
        }
    }

    /// Takes a device away as an honest device does.
    pub(crate) fn remove(&self, lab: &Lab, told: &Told, device: &TestDevice) -> Sealed {
        self.send_removal(lab, told, &self.sign_removal(&told.digest, device))
    }

    /// What an honest device would sign.
    pub(crate) fn sign_removal(&self, notice: &str, device: &TestDevice) -> SignedMessage {
        let (notice, device) = (notice.to_owned(), device.key.public_key().id());
        let removal = Removal { version: VERSION, notice, device, decided_at: 1, counter: 1 };
        signed::sign_message(&self.key, &removal).unwrap()
    }

    /// Anything, sealed as a removal that answers a notice.
    pub(crate) fn send_removal(&self, lab: &Lab, told: &Told, message: &SignedMessage) -> Sealed {
        let mut reply_key = [0; 32];
        Base64::decode(&told.notice.reply_key, &mut reply_key).unwrap();
        self.seal_as(lab, MessageType::Removal, &told.notice.id, reply_key, message)
    }

    pub(crate) fn sign(&self, decision: &Decision) -> SignedMessage {
        signed::sign_message(&self.key, decision).unwrap()
    }

    /// An honest answer, sealed.
    pub(crate) fn answer(&self, lab: &Lab, request: &OpenRequest, answer: Answer) -> Sealed {
        self.seal(lab, request, &self.sign(&Self::decision(request, answer)))
    }

    /// Anything, sealed as a decision about a request.
    pub(crate) fn seal(&self, lab: &Lab, request: &OpenRequest, message: &SignedMessage) -> Sealed {
        self.seal_to(lab, &request.id, request.reply.public(), message)
    }

    fn seal_to(&self, lab: &Lab, id: &str, reply_key: [u8; 32], message: &SignedMessage) -> Sealed {
        self.seal_as(lab, MessageType::Decision, id, reply_key, message)
    }

    /// Anything, sealed as anything to anybody.
    pub(crate) fn seal_as(
        &self,
        lab: &Lab,
        message_type: MessageType,
        id: &str,
        reply_key: [u8; 32],
        message: &SignedMessage,
    ) -> Sealed {
        let envelope = Envelope {
            version: VERSION,
            message_type,
            from: self.key.public_key().id(),
            to: lab.app.host.public.id(),
            id: id.to_owned(),
        };
        let recipient = Recipient::reply_key(reply_key);
        seal::seal(
            message_type,
            self.key.public_key(),
            &recipient,
            &envelope,
            &message.bytes,
            &message.signature,
        )
        .unwrap()
    }
}
