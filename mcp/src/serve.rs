//! The running server: three listeners, a graceful stop, and what systemd and starters are told.

mod connection;
mod crowd;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use compliance_daemon::{files, systemd};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, Clock, OpenError, Random};
use crate::appliance;
use crate::config::Config;
use crate::console::{self, Extension, Links};
use crate::operator::{self, Shared};
use crate::tls::{Tls, TlsError};

use connection::{Doorway, Entrance};
use crowd::Crowd;

/// How long requests in flight may take to end after a stop was asked for.
const STOP_TIME: Duration = Duration::from_secs(30);

/// How often it is written down when sites were last heard of.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(30);

/// The file in the data folder that says where the server listens.
pub const LISTENING_FILE: &str = "listening.json";

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Keys or store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {who}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// For whom.
        who: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A file in the data folder cannot be written.
    #[error("cannot write {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Where the server listens; `listening.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Listening {
    /// For appliances.
    pub appliance: SocketAddr,
    /// For operators.
    pub operator: SocketAddr,
    /// For a browser.
    pub console: SocketAddr,
}

/// Serves as `config` says until `stop` is over; then finishes what is in flight. The control plane's own
/// binary gives no `extension` of the console.
pub async fn run(
    config: &Config,
    now: Clock,
    random: Random,
    stop: impl Future<Output = ()>,
    extension: Option<Extension>,
) -> Result<(), ServeError> {
    let tls = Tls::new(&config.tls, Arc::clone(&now))?;
    let app = Arc::new(App::open(config, now, random)?);
    let file = config.data_dir.join(LISTENING_FILE);
    forget(&file)?;
    let appliances = bind(config.listen, "appliances").await?;
    let operators = bind(config.operator.listen, "operators").await?;
    let browsers = bind(config.console.listen, "the console").await?;
    let listening =
        Listening { appliance: appliances.1, operator: operators.1, console: browsers.1 };
    let links = Links::new(config.console.public_url.as_deref(), listening.console);
    let shared = Shared { app: Arc::clone(&app), tls: tls.clone(), links: links.clone() };

    let (closing, closed) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut open = |listener: TcpListener, entrance: Entrance, routes| {
        let doorway =
            Doorway { entrance, routes, now: Arc::clone(&app.now), crowd: Crowd::default() };
        tasks.spawn(connection::accept(listener, Arc::new(doorway), closed.clone()));
    };
    let tenant = config.tenant.clone();
    let with_tls = || Entrance::Certificate { tls: tls.clone(), tenant: tenant.clone() };
    open(appliances.0, with_tls(), appliance::routes(Arc::clone(&app)));
    open(operators.0, with_tls(), operator::routes(shared));
    open(browsers.0, Entrance::Plain, console::routes(Arc::clone(&app), links, extension));
    tasks.spawn(write_down_presence(Arc::clone(&app), closed));

    announce(&file, listening)?;
    stop.await;
    systemd::stopping();
    tracing::info!("stopping; requests in flight are finished");
    app.store.changes().end();
    let _ = closing.send(true);
    finish(&app, tasks).await;
    forget(&file)
}

/// Ends at SIGTERM or SIGINT.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

/// Waits for requests in flight, and closes the store after what they wrote.
async fn finish(app: &App, tasks: JoinSet<()>) {
    if tokio::time::timeout(STOP_TIME, tasks.join_all()).await.is_err() {
        tracing::warn!("some requests did not end in time and were broken off");
    }
    if let Err(error) = app.presence.write_down(&app.store).await {
        tracing::warn!(%error, "it was not written down when sites were last heard of");
    }
    app.store.close();
}

async fn bind(
    address: SocketAddr,
    who: &'static str,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, who, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Says where the server listens, and that it does.
fn announce(file: &Path, listening: Listening) -> Result<(), ServeError> {
    let failed = |source| ServeError::File { path: file.to_owned(), source };
    let json = serde_json::to_vec(&listening).map_err(|error| failed(error.into()))?;
    files::replace(file, &json, 0o644).map_err(failed)?;
    let Listening { appliance, operator, console } = listening;
    tracing::info!(%appliance, %operator, %console, "ready");
    systemd::ready();
    Ok(())
}

fn forget(file: &Path) -> Result<(), ServeError> {
    match std::fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ServeError::File { path: file.to_owned(), source })
        }
        _ => Ok(()),
    }
}

async fn write_down_presence(app: Arc<App>, mut closed: watch::Receiver<bool>) {
    while tokio::time::timeout(PRESENCE_INTERVAL, closed.wait_for(|closed| *closed)).await.is_err()
    {
        if let Err(error) = app.presence.write_down(&app.store).await {
            tracing::warn!(%error, "it was not written down when sites were last heard of");
        }
    }
}
