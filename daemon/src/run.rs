//! Start, reload and end.

use crate::app::{App, HostIdentity, Paths};
use crate::approvers::{self, Approvers};
use crate::args::{self, Args, Command, HELP};
use crate::audit::Audit;
use crate::budget::Budget;
use crate::devices::Devices;
use crate::events::Events;
use crate::fatigue::Fatigue;
use crate::files::Owner;
use crate::geoip::Geoip;
use crate::hook::{self, Hook};
use crate::leases::{self, Leases};
use crate::log::Log;
use crate::login::Logins;
use crate::notices::Notices;
use crate::polkit::Questions;
use crate::recovery::Recovery;
use crate::relay::{self, Relay};
use crate::removal::Refusals;
use crate::sockets::{self, Sockets};
use crate::sources::Sources;
use crate::totp::Totp;
use crate::{host_key, listen, privileges, service_manager};
use countersign_policy::{self as config, Config, Loaded};
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_relay_client::{RelayClient, RelayError, Server};
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::{Uid, User, chown, geteuid};
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};

/// Threads for syncs, slow hashes and user look-ups; they end when they have nothing to do.
const THREADS: usize = 16;
/// How long such work may go on when the daemon ends.
const LAST_WORK: Duration = Duration::from_millis(500);
/// Longest certificate file in bytes.
const MAX_CERTIFICATES: usize = 1024 * 1024;
/// Longest host name that the system may give, in bytes.
const MAX_NAME: usize = 64;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("countersignd: {error}; see countersignd --help");
            return ExitCode::from(2);
        }
    };
    match command {
        Command::Help => print!("{HELP}"),
        Command::Version => println!("countersignd {}", env!("CARGO_PKG_VERSION")),
        Command::Check(args) => return check(&args),
        Command::Run(args) => {
            let log = Log::open();
            if let Err(error) = run(args, &log) {
                log.error(&error.to_string());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn check(args: &Args) -> ExitCode {
    let administrator = administrator(&args.paths.config, false, geteuid());
    let faults = match config::load(&args.paths.config, administrator) {
        // The host's key is not needed to see whether a connection can be made.
        Ok(config) => {
            let client = client(&config, &Arc::new(SigningKey::generate()), administrator);
            client.err().into_iter().chain(hook::fault(&config, administrator)).collect()
        }
        Err(faults) => faults.drawings,
    };
    let folder = args.paths.config.parent().unwrap_or(Path::new("/"));
    let faults: Vec<String> = faults.into_iter().chain(approvers::faults(folder, administrator)).collect();
    // Of these there is time to think: they keep no policy from being taken.
    for line in faults.iter().chain(&approvers::warnings(folder, administrator)) {
        eprintln!("{line}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts, serves and ends.
///
/// # Errors
/// Why there is no daemon, and what to do.
pub fn run(args: Args, log: &Log) -> io::Result<()> {
    let started_by = geteuid();
    let user = args.user.as_deref().map(privileges::find).transpose()?;
    let sockets = sockets::open(&args.paths.run)?;
    let administrator = administrator(&args.paths.config, sockets.by_systemd, started_by);
    make_state(&args.paths.state, user.as_ref())?;
    match &user {
        Some(user) if geteuid().is_root() => privileges::become_user(user)?,
        Some(user) if geteuid() != user.uid => {
            return Err(io::Error::other("--user needs a start as root"));
        }
        None if geteuid().is_root() => log.warning("running as root, which is not needed: see --user"),
        _ => {}
    }
    privileges::harden()?;
    privileges::raise_file_limit()?;
    let _lock = lock(&args.paths.state)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(Duration::from_secs(2))
        .build()?;
    let served = LocalSet::new().block_on(&runtime, async {
        // Whoever reloads it while it still starts must not end it.
        let signals = Signals::new()?;
        let app = Rc::new(open(args.paths, administrator, log.clone())?);
        serve(app, sockets, signals).await
    });
    runtime.shutdown_timeout(LAST_WORK);
    served
}

/// Who may own the administrator's files beside root. Nobody where this is a service: its user must not make its
/// own policy. Who starts one by hand, on a policy of their own, is their own administrator.
fn administrator(config: &Path, by_systemd: bool, started_by: Uid) -> Owner {
    if by_systemd || config == Path::new(args::CONFIG) { Owner(0) } else { Owner(started_by.as_raw()) }
}

/// The daemon's own folder: made when missing, and nobody else's to write.
fn make_state(state: &Path, user: Option<&User>) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", state.display()));
    match std::fs::DirBuilder::new().mode(0o700).create(state) {
        Ok(()) => {
            if let Some(user) = user.filter(|_| geteuid().is_root()) {
                chown(state, Some(user.uid), Some(user.gid)).map_err(|error| named(error.into()))?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(named(error)),
    }
    let data = std::fs::symlink_metadata(state).map_err(named)?;
    let owner = user.map_or(geteuid(), |user| user.uid);
    if !data.is_dir() || Uid::from_raw(data.uid()) != owner || data.mode() & 0o022 != 0 {
        return Err(named(io::Error::other(format!(
            "it has to be a directory of user {owner} that nobody else can write (chown {owner}, chmod 700)"
        ))));
    }
    Ok(())
}

/// Two daemons on one state would tear the audit's chain.
fn lock(state: &Path) -> io::Result<Flock<File>> {
    let path = state.join("lock");
    // Without blocking: a pipe in the file's place must not stop the daemon.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(&path);
    let file =
        opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| io::Error::other(format!("{}: another countersignd runs on it", path.display())))
}

fn open(paths: Paths, administrator: Owner, log: Log) -> io::Result<App> {
    let own = Owner(geteuid().as_raw());
    let mut loaded = Loaded::default();
    let config = reload(&mut loaded, &paths, administrator, &log);

    let name = host_name(config.as_deref());
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let key = match host_key::credential(credentials.as_deref().map(Path::new), own)? {
        Some(key) => key,
        None => host_key::load_or_create(&paths.own("host_key"), own, &name)?,
    };
    let key = Arc::new(key);
    let public = key.public_key().clone();
    log.notice(&format!("this host is {name}, its key {}", public.fingerprint()));

    let audit = paths.own("audit");
    match std::fs::DirBuilder::new().mode(0o700).create(&audit) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io::Error::new(error.kind(), format!("{}: {error}", audit.display())));
        }
        _ => {}
    }
    let client = config
        .as_deref()
        .and_then(|config| client(config, &key, administrator).map_err(|why| log.error(&why)).ok());
    // Logins do not depend on it.
    config.as_deref().and_then(|config| hook::fault(config, administrator)).inspect(|why| log.error(why));
    let geoip = Geoip::default();
    take_places(&geoip, config.as_deref(), administrator, &log);
    let budget = Rc::new(Budget::open(&paths.own("budget.json"), own)?);
    Ok(App {
        approvers: Approvers::new((paths.administrator(), administrator), (&paths.state, own), log.clone()),
        devices: Devices::open(&paths.own("devices.json"), own)?,
        audit: Audit::open(&audit.join("audit.jsonl"), own, &log)?,
        recovery: Recovery::open(&paths.own("recovery.json"), own, Rc::clone(&budget))?,
        totp: Totp::open(&paths.own("totp.json"), own)?,
        budget,
        fatigue: Fatigue::open(&paths.own("fatigue.json"), own)?,
        geoip,
        sources: Sources::open(&paths.own("sources.json"), own)?,
        config: RefCell::new(loaded),
        host: HostIdentity { key, name, public },
        relay: Relay::new(client),
        logins: Logins::default(),
        leases: Leases::open(&paths.own("leases.json"), own, leases::boot_id(), &log),
        notices: Notices::default(),
        events: Events::default(),
        hook: Hook::default(),
        polkit: Questions::default(),
        refusals: Refusals::default(),
        administrator,
        paths,
        log,
    })
}

/// What the daemon is told by signals.
struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
    leave: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            leave: signal(SignalKind::user_defined2())?,
        })
    }
}

async fn serve(app: Rc<App>, sockets: Sockets, signals: Signals) -> io::Result<()> {
    let Signals { mut hang_up, mut terminate, mut interrupt, mut leave } = signals;
    // None of these comes back by itself.
    let mut parts = JoinSet::new();
    parts.spawn_local(relay::run(Rc::clone(&app)));
    parts.spawn_local(relay::tell(Rc::clone(&app)));
    let keeper = Rc::clone(&app);
    parts.spawn_local(async move { service_manager::watchdog(|| keeper.relay.heard()).await });
    let keeper = Rc::clone(&app);
    parts.spawn_local(async move { keeper.audit.keep_synced(&keeper.log).await });
    let keeper = Rc::clone(&app);
    parts.spawn_local(async move { keeper.devices.keep_uses(&keeper.log).await });
    let keeper = Rc::clone(&app);
    parts.spawn_local(async move { keeper.fatigue.keep(&keeper.log).await });
    parts.spawn_local(hook::run(Rc::clone(&app)));
    let reloader = Rc::clone(&app);
    parts.spawn_local(async move {
        while hang_up.recv().await.is_some() {
            service_manager::reloading();
            read_again(&reloader);
            reloader.events.state();
            tell_state(&reloader);
        }
    });
    tell_state(&app);

    let mut broken = Ok(());
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            Some(ended) = parts.join_next() => {
                // Without it logins would be refused for ever: better to be started again.
                let why = ended.err().map_or("it ended".into(), |error| error.to_string());
                broken = Err(io::Error::other(format!("a part of countersignd broke: {why}")));
            }
        }
        service_manager::stopping();
        app.log.notice("ending: waiting logins are refused");
    };
    // An upgrade: whoever waits keeps waiting, and the daemon that systemd starts next is the new one.
    let leave = async {
        leave.recv().await;
        app.log.notice("a newer one is to take over: ending as soon as no login waits");
        service_manager::status("ends as soon as no login waits, for a newer one to take over");
    };
    listen::serve(Rc::clone(&app), sockets, stop, leave).await?;
    app.audit.sync_rest().await?;
    app.devices.write_uses().await?;
    app.fatigue.save().await?;
    broken
}

fn tell_state(app: &App) {
    match app.config() {
        Ok(_) => service_manager::status("asking for approvals"),
        Err(_) => service_manager::status("refusing all logins: the configuration is faulty"),
    }
    service_manager::ready();
}

/// Reads the policy; a faulty one is told with all its places, and the one in force stays.
fn reload(loaded: &mut Loaded, paths: &Paths, administrator: Owner, log: &Log) -> Option<Rc<Config>> {
    match loaded.reload(&paths.config, administrator) {
        Ok(config) => Some(config),
        Err(faults) => {
            for line in faults.lines {
                log.error(&line);
            }
            log.error(&format!("{} is faulty: {}", paths.config.display(), consequence(loaded)));
            log.drawing(&faults.drawings);
            None
        }
    }
}

/// What a fault means for logins.
fn consequence(loaded: &Loaded) -> &'static str {
    match loaded.good {
        Some(_) => "the policy that was read before stays in force",
        None => "every login is refused until it is repaired and read again (SIGHUP)",
    }
}

fn read_again(app: &App) {
    let before = app.config().ok();
    let mut loaded = app.config.borrow().clone();
    let read = reload(&mut loaded, &app.paths, app.administrator, &app.log);
    if read.is_none() {
        refused(app, &loaded.faults);
    }
    if let Some(why) = read.as_deref().and_then(|config| hook::fault(config, app.administrator)) {
        match before {
            Some(_) => return keep(app, why),
            None => app.log.error(&why),
        }
    }
    // Also for the same names: the certificates in the file may be others.
    let renewed = read.as_ref().filter(|config| {
        before.as_ref().is_none_or(|before| before.server != config.server || config.server_ca.is_some())
    });
    match renewed.map(|config| client(config, &app.host.key, app.administrator)).transpose() {
        Ok(Some(client)) => app.relay.set_client(Some(client)),
        Ok(None) => {}
        // Of what was in force, its connection is a part.
        Err(why) if before.is_some() => return keep(app, why),
        // As at a start: without a connection what is typed at the prompt opens all the same.
        Err(why) => {
            app.log.error(&why);
            app.relay.set_client(None);
        }
    }
    *app.config.borrow_mut() = loaded;
    let Some(config) = read else { return };
    app.log.notice("the policy was read again and is in force");
    take_places(&app.geoip, Some(&config), app.administrator, &app.log);
    if host_name(Some(&config)) != app.host.name {
        app.log.warning("host_name has changed: phones see the new one after a restart of countersignd");
    }
}

/// Leaves the policy in force as it is, for a fault that the file alone does not show.
fn keep(app: &App, why: String) {
    app.log.error(&format!("{why}; {}", consequence(&app.config.borrow())));
    app.config.borrow_mut().faults = vec![why];
    refused(app, &app.config.borrow().faults);
}

/// Tells the hook of the policy that stays in force.
fn refused(app: &App, faults: &[String]) {
    let event = hook::Event { reason: Some(faults.join("; ")), ..hook::Event::default() };
    app.hook.tell(app, hook::What::ConfigRefused, event);
}

/// Opens the table of places, anew after each reading: it may be another one by then. No login fails for want of it.
fn take_places(geoip: &Geoip, config: Option<&Config>, administrator: Owner, log: &Log) {
    let path = config.and_then(|config| config.geoip.as_deref());
    if let Err(why) = geoip.open(path, administrator) {
        log.warning(&why);
    }
}

fn host_name(config: Option<&Config>) -> String {
    let given = config.and_then(|config| config.host_name.clone());
    let name = given.or_else(|| nix::unistd::gethostname().ok()?.into_string().ok()).unwrap_or_default();
    let name = countersign_protocol::text::clip(&name, MAX_NAME);
    if name.is_empty() { "a host without a name".into() } else { name.into() }
}

/// The client of the server's interface.
fn client(config: &Config, key: &Arc<SigningKey>, administrator: Owner) -> Result<Arc<RelayClient>, String> {
    let ca_pem = match &config.server_ca {
        None => None,
        Some(path) => {
            let text = crate::files::read_trusted(path, administrator, MAX_CERTIFICATES)
                .map_err(|fault| format!("server_ca: {}: {fault}", path.display()))?;
            Some(text.into_bytes())
        }
    };
    let server = Server { origin: config.server.clone(), ca_pem };
    let signer = Arc::clone(key) as Arc<dyn Signer>;
    let client =
        RelayClient::new_calm(server, signer).map_err(|error| match (&error, &config.server_ca) {
            (RelayError::Ca(_), Some(path)) => format!("server_ca: {}: {error}", path.display()),
            _ => format!("no connection to {} is possible: {error}", config.server),
        })?;
    Ok(Arc::new(client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hook_that_is_not_there_keeps_the_policy_and_the_daemon() {
        let lab = crate::testing::Lab::new();
        let app = &lab.app;
        let good = "server = \"http://127.0.0.1:1\"\n";
        crate::files::replace(&app.paths.config, good.as_bytes()).unwrap();
        read_again(app);
        let before = app.config().unwrap();
        let bad = format!("{good}hook = [\"/no/such/program\"]\n");
        crate::files::replace(&app.paths.config, bad.as_bytes()).unwrap();
        read_again(app);
        assert_eq!(app.config().unwrap(), before);
        assert!(app.config.borrow().faults[0].contains("/no/such/program"));
    }

    #[test]
    fn a_service_does_not_own_its_policy() {
        let (user, elsewhere) = (Uid::from_raw(990), Path::new("/home/me/countersign.toml"));
        assert_eq!(administrator(Path::new(args::CONFIG), false, user), Owner(0));
        assert_eq!(administrator(elsewhere, true, user), Owner(0));
        assert_eq!(administrator(elsewhere, false, user), Owner(990));
        assert_eq!(administrator(elsewhere, false, Uid::from_raw(0)), Owner(0));
    }
}
