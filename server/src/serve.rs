//! Starting, serving, stopping.

use crate::app::{App, Shared};
use crate::config::Config;
use crate::gate::{Gate, HEADERS};
use crate::registry::Registry;
use crate::store::StoreError;
use crate::tls::{self, TlsError};
use crate::{config::TlsFiles, routes};
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use std::io;
use std::net::{SocketAddr, TcpListener};
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
/// Longest headers in bytes.
const MAX_HEADERS: usize = 16 * 1024;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot serve: {0}")]
    Io(#[from] io::Error),
}

/// Runs the server until SIGTERM or SIGINT.
pub(crate) fn run(config: &Config) -> Result<(), ServeError> {
    let tls = match &config.tls {
        Some(files) => Some((RustlsConfig::from_config(tls::load(files)?), files.clone())),
        None => None,
    };
    raise_file_limit(config.limits.connections);
    let limits = &config.limits;
    let (registry, thread) =
        Registry::open(&config.database, limits.devices_per_host, limits.hosts_per_device)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(config, tls, registry));
    // Ends the handlers that are left, and with them the last user of the database.
    runtime.shutdown_timeout(Duration::from_secs(1));
    thread.join();
    served
}

async fn serve(
    config: &Config,
    tls: Option<(RustlsConfig, TlsFiles)>,
    registry: Registry,
) -> Result<(), ServeError> {
    let at = |error| ServeError::Listen(config.listen, error);
    let signals = Signals::new()?;
    let listener = TcpListener::bind(config.listen).map_err(at)?;
    listener.set_nonblocking(true).map_err(at)?;
    let bound = listener.local_addr().map_err(at)?;
    let origin = config.origin_for(bound);
    let (stop, stopping) = watch::channel(false);
    let app: Shared = Arc::new(App::new(config, origin.clone(), registry, stopping));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (hosts, devices, links) = app.registry.counts();
    tracing::info!(
        "listening on {scheme}://{bound} as {origin}: {hosts} hosts, {devices} devices, {links} links"
    );

    let sweeper = tokio::spawn(sweep(Arc::clone(&app)));
    let handle = Handle::new();
    let service = routes::router(app, config).into_make_service_with_connect_info::<SocketAddr>();
    let server = bounded(axum_server::from_tcp(listener)?).handle(handle.clone());
    let gate = (&config.limits, config.behind_proxy);
    let serving = match &tls {
        Some((rustls, _)) => {
            let gate = Gate::new(RustlsAcceptor::new(rustls.clone()), gate.0, gate.1);
            tokio::spawn(server.acceptor(gate).serve(service))
        }
        None => {
            let gate = Gate::new(DefaultAcceptor::new(), gate.0, gate.1);
            tokio::spawn(server.acceptor(gate).serve(service))
        }
    };
    notify(NotifyState::Ready);
    signals
        .until_stop(|| {
            if let Some((rustls, files)) = &tls {
                tls::reload(rustls, files);
            }
        })
        .await;
    tracing::info!("stopping");
    notify(NotifyState::Stopping);
    // Streams and polls end at once; other requests may finish.
    stop.send_replace(true);
    handle.graceful_shutdown(Some(GRACE));
    let served = serving.await.map_err(io::Error::other)?;
    sweeper.abort();
    tracing::info!("stopped");
    Ok(served?)
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
