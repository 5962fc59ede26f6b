//! Starting, serving, stopping.

use crate::acme::{AcmeError, Keeper};
use crate::app::{App, Shared};
use crate::config::Config;
use crate::gate::{Gate, HEADERS};
use crate::push::{Push, PushError, Pusher};
use crate::registry::Registry;
use crate::store::StoreError;
use crate::tls::{self, TlsError};
use crate::{config::TlsFiles, routes};
use crate::{invite, keeper};
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long requests may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// How often expired messages are dropped.
const SWEEP: Duration = Duration::from_secs(1);
/// How often everything else that has expired is forgotten.
const TIDY: Duration = Duration::from_secs(10);
/// Open files beside the connections.
const OTHER_FILES: u64 = 64;
/// Most calls of one HTTP/2 connection at a time.
const CALLS: u32 = 200;
/// How much of a body may be under way, in bytes: a long one shares its sender's slow line with logins, and what it has sent
/// ahead they have to wait for.
const WINDOW: u32 = 32 * 1024;
/// Longest headers in bytes.
const MAX_HEADERS: usize = 16 * 1024;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Acme(#[from] AcmeError),
    #[error("cannot listen on {0}: {1}{hint}", hint = listen_hint(.1))]
    Listen(SocketAddr, io::Error),
    #[error("cannot serve: {0}")]
    Io(#[from] io::Error),
}

/// Runs the server until SIGTERM or SIGINT.
pub(crate) fn run(config: &Config) -> Result<(), ServeError> {
    // For calls to others; there is one provider only, so nothing is lost if it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    keeper::make_place(&config.database)?;
    // What only root may: listen on any port, and read the key. The rest is for the user that keeps the database.
    let keeper = keeper::of(&config.database);
    let at = |error| ServeError::Listen(config.listen, error);
    let listener = keeper.as_ref().map(|_| listen(config.listen).map_err(at)).transpose()?;
    let given = Tls::given(config)?;
    if let Some(keeper) = keeper {
        keeper.become_it()?;
    }
    let tls = match given {
        Some(tls) => Some(tls),
        None => Tls::acme(config)?,
    };
    raise_file_limit(config.limits.connections);
    let limits = &config.limits;
    let (registry, thread, secret) = Registry::open(
        &config.database,
        limits.devices_per_host,
        limits.hosts_per_device,
        config.push.private_networks,
    )?;
    let push = Push::new(&config.push, &config.origin_for(config.listen), &secret)?;
    drop(secret);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(config, listener, tls, registry, push));
    // Ends the handlers that are left, and with them the last user of the database.
    runtime.shutdown_timeout(Duration::from_secs(1));
    thread.join();
    served
}

/// Where the certificate comes from.
enum Source {
    Files(TlsFiles),
    Acme(Arc<Keeper>),
}

/// TLS with a certificate that may change.
struct Tls {
    rustls: RustlsConfig,
    source: Source,
}

impl Tls {
    fn given(config: &Config) -> Result<Option<Self>, ServeError> {
        let Some(files) = &config.tls else { return Ok(None) };
        let rustls = RustlsConfig::from_config(tls::load(files)?);
        Ok(Some(Self { rustls, source: Source::Files(files.clone()) }))
    }

    fn acme(config: &Config) -> Result<Option<Self>, ServeError> {
        let Some(acme) = &config.acme else { return Ok(None) };
        let keeper = Keeper::open(acme, config.state())?;
        Ok(Some(Self { rustls: RustlsConfig::from_config(keeper.tls()?), source: Source::Acme(keeper) }))
    }

    /// What SIGHUP asks for.
    fn reload(&self) {
        match &self.source {
            Source::Files(files) => tls::reload(&self.rustls, files),
            Source::Acme(keeper) => keeper.wake(),
        }
    }
}

async fn serve(
    config: &Config,
    listener: Option<TcpListener>,
    tls: Option<Tls>,
    registry: Registry,
    push: Push,
) -> Result<(), ServeError> {
    let at = |error| ServeError::Listen(config.listen, error);
    let signals = Signals::new()?;
    let listener = match listener {
        Some(listener) => listener,
        None => listen(config.listen).map_err(at)?,
    };
    listener.set_nonblocking(true).map_err(at)?;
    let bound = listener.local_addr().map_err(at)?;
    let origin = config.origin_for(bound);
    let (stop, stopping) = watch::channel(false);
    invite::keep_origin(config, &origin);
    let app: Shared = Arc::new(App::new(config, origin.clone(), registry, push, stopping));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (hosts, devices, links) = app.registry.counts();
    tracing::info!(
        "listening on {scheme}://{bound} as {origin}: {hosts} hosts, {devices} devices, {links} links"
    );

    let sweeper = tokio::spawn(sweep(Arc::clone(&app)));
    let pusher = Pusher::start(Arc::clone(&app));
    let handle = Handle::new();
    let invited = Arc::clone(&app);
    let service = routes::router(app, config).into_make_service_with_connect_info::<SocketAddr>();
    let server = bounded(axum_server::from_tcp(listener)?).handle(handle.clone());
    let gate = (&config.limits, config.behind_proxy);
    let serving = match &tls {
        Some(tls) => {
            let gate = Gate::new(RustlsAcceptor::new(tls.rustls.clone()), gate.0, gate.1);
            tokio::spawn(server.acceptor(gate).serve(service))
        }
        None => {
            let gate = Gate::new(DefaultAcceptor::new(), gate.0, gate.1);
            tokio::spawn(server.acceptor(gate).serve(service))
        }
    };
    let keeping = match &tls {
        Some(Tls { source: Source::Acme(keeper), .. }) => Some(tokio::spawn(Arc::clone(keeper).keep())),
        _ => None,
    };
    notify(NotifyState::Ready);
    invite::first_host(config, &origin, &invited.registry).await;
    drop(invited);
    signals
        .until_stop(|| {
            if let Some(tls) = &tls {
                tls.reload();
            }
        })
        .await;
    tracing::info!("stopping");
    notify(NotifyState::Stopping);
    // Streams and polls end at once; other requests may finish.
    stop.send_replace(true);
    handle.graceful_shutdown(Some(GRACE));
    let served = serving.await.map_err(io::Error::other)?;
    pusher.finish().await;
    sweeper.abort();
    if let Some(keeping) = keeping {
        keeping.abort();
    }
    tracing::info!("stopped");
    Ok(served?)
}

/// Listens; where the kernel has no IPv6, all addresses are those of IPv4.
fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(at) {
        Err(error)
            if at.ip() == Ipv6Addr::UNSPECIFIED
                && error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, at.port()))
        }
        bound => bound,
    }
}

/// What helps against the commonest faults.
fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE, which the packaged unit gives"
        }
        io::ErrorKind::AddrInUse => "; another program listens there",
        _ => "",
    }
}

/// Bounds what a connection may do to the HTTP machinery.
fn bounded(mut server: Server<SocketAddr>) -> Server<SocketAddr> {
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEADERS)
        .max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS)
        .initial_stream_window_size(WINDOW)
        .max_header_list_size(MAX_HEADERS as u32)
        .max_send_buf_size(64 * 1024);
    server
}

async fn sweep(app: Shared) {
    let mut ticks = tokio::time::interval(SWEEP);
    // Half the time that systemd allows; it restarts a server whose runtime stands still.
    let watchdog = sd_notify::watchdog_enabled().map(|allowed| (allowed / 2).min(TIDY));
    let (mut tidied, mut shown) = (Instant::now(), Instant::now());
    loop {
        ticks.tick().await;
        app.sweep();
        if tidied.elapsed() >= TIDY {
            tidied = Instant::now();
            app.tidy();
        }
        if watchdog.is_some_and(|every| shown.elapsed() >= every) {
            shown = Instant::now();
            notify(NotifyState::Watchdog);
        }
    }
}

/// The signals that the server listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a reason to stop; calls `reload` for each SIGHUP.
    async fn until_stop(mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => reload(),
            }
        }
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}

/// Every connection is an open file; the usual soft limit is 1024.
fn raise_file_limit(connections: u32) {
    let wanted = u64::from(connections) + OTHER_FILES;
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let to = wanted.min(hard).max(soft);
        if to > soft {
            setrlimit(Resource::RLIMIT_NOFILE, to, hard)?;
        }
        Ok(to)
    });
    match raised {
        Ok(files) if files >= wanted => {}
        Ok(files) => {
            tracing::warn!(
                "only {files} files may be open, fewer than limits.connections needs; raise LimitNOFILE"
            );
        }
        Err(error) => tracing::warn!("the limit of open files cannot be raised: {error}"),
    }
}
