//! HTTP endpoints: `health` and `ready`, which the kubelet's probes ask, and what others need.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use martlet_engine::index::ClusterIndex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::corefile::Position;
use crate::metrics::own::OWN;

/// How often we ask for our own health; a reply that takes longer is told of.
const HEALTH_PAUSE: Duration = Duration::from_secs(1);
/// How long we wait for it.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a plugin wants to be asked over HTTP, and the directive that says so.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `HOST:PORT` or `:PORT`.
    pub address: String,
    /// The directive's place; the first one's, if several name the same address.
    pub position: Position,
}

/// An endpoint that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: {plugin}: cannot listen on {}: {source}", endpoint.position, endpoint.address)]
pub struct HttpError {
    plugin: &'static str,
    endpoint: Endpoint,
    source: std::io::Error,
}

/// What has to be ready before the server is: the indexes of all `kubernetes` plugins.
#[derive(Clone, Default)]
pub struct Readiness {
    indexes: Vec<Arc<ClusterIndex>>,
    /// Set when the server begins to shut down.
    leaving: Arc<AtomicBool>,
    /// Once ready, ready for ever (`monitor until-ready`).
    was_ready: Arc<AtomicBool>,
}

impl Readiness {
    /// Ready as soon as each index is synced.
    pub fn new(indexes: Vec<Arc<ClusterIndex>>) -> Self {
        Self {
            indexes,
            ..Self::default()
        }
    }

    /// Turns unready for good.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    fn is_ready(&self, continuous: bool) -> bool {
        if self.leaving.load(Ordering::Relaxed) {
            return false;
        }
        if self.was_ready.load(Ordering::Relaxed) && !continuous {
            return true;
        }
        let ready = self.indexes.iter().all(|index| index.is_synced());
        self.was_ready.fetch_or(ready, Ordering::Relaxed);
        ready
    }
}

/// Serves `/health` until the runtime ends.
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve_health(endpoint: &Endpoint) -> Result<(), HttpError> {
    tokio::spawn(watch_health(endpoint.address.clone()));
    let router = Router::new().route("/health", get(|| async { "OK" }));
    Opened::new("health", endpoint).await?.serve(router);
    Ok(())
}

/// Asks for our own health once a second and counts how long that takes, as CoreDNS does: a server
/// that is slow there is overloaded.
async fn watch_health(address: String) {
    // Of all addresses one has to do.
    let asked = match address.strip_prefix(':') {
        Some(port) => format!("localhost:{port}"),
        None => address,
    };
    loop {
        sleep(HEALTH_PAUSE).await;
        let begin = Instant::now();
        let result = timeout(HEALTH_TIMEOUT, ask_health(&asked)).await;
        let took = begin.elapsed();
        OWN.health_duration.observe(took.as_secs_f64());
        let error = match result {
            Ok(Ok(())) if took <= HEALTH_PAUSE => continue,
            Ok(Ok(())) => {
                tracing::warn!("plugin/health: Local health request to {asked} took {took:?}");
                continue;
            }
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        OWN.health_failures.inc();
        tracing::warn!("plugin/health: Local health request to {asked} failed: {error}");
    }
}

async fn ask_health(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    match reply.starts_with(b"HTTP/1.1 ") {
        true => Ok(()),
        false => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// Serves `/ready` until the runtime ends: 200, or 503 with the names of the plugins
/// that are not ready. `continuous` tells the truth each time, otherwise the first 200 is for ever.
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve_ready(
    endpoint: &Endpoint,
    readiness: Readiness,
    continuous: bool,
) -> Result<(), HttpError> {
    let handler = move || async move {
        if readiness.is_ready(continuous) {
            (StatusCode::OK, "OK")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "kubernetes")
        }
    };
    let router = Router::new().route("/ready", get(handler));
    Opened::new("ready", endpoint).await?.serve(router);
    Ok(())
}

/// An endpoint that is open, so that connections wait there.
pub(crate) struct Opened {
    plugin: &'static str,
    listener: TcpListener,
}

impl Opened {
    /// Listens for a plugin.
    pub(crate) async fn new(plugin: &'static str, endpoint: &Endpoint) -> Result<Self, HttpError> {
        let failed = |source| HttpError {
            plugin,
            endpoint: endpoint.clone(),
            source,
        };
        let listener = listen(&endpoint.address).await.map_err(failed)?;
        Ok(Self { plugin, listener })
    }

    /// Serves until the runtime ends.
    pub(crate) fn serve(self, router: Router) {
        tokio::spawn(async move {
            if let Err(error) = axum::serve(self.listener, router).await {
                tracing::error!(%error, "plugin/{}: the endpoint stopped", self.plugin);
            }
        });
    }
}

/// Listens on `HOST:PORT` or `:PORT`, which stands for all addresses of both families.
async fn listen(address: &str) -> std::io::Result<TcpListener> {
    match address.strip_prefix(':') {
        None => TcpListener::bind(address).await,
        Some(port) => {
            let port = port.parse().map_err(std::io::Error::other)?;
            match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
                Ok(listener) => Ok(listener),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
                Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
            }
        }
    }
}
