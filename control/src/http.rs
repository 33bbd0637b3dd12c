//! `health` and `ready`: the two endpoints that the kubelet's probes ask.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use martlet_engine::index::ClusterIndex;
use tokio::net::TcpListener;

/// An endpoint that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("plugin/{plugin}: cannot listen on {address:?}: {source}")]
pub struct HttpError {
    plugin: &'static str,
    address: String,
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

/// Serves `/health` on `address` until the runtime ends.
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve_health(address: &str) -> Result<(), HttpError> {
    let router = Router::new().route("/health", get(|| async { "OK" }));
    serve("health", address, router).await
}

/// Serves `/ready` on `address` until the runtime ends: 200, or 503 with the names of the plugins
/// that are not ready. `continuous` tells the truth each time, otherwise the first 200 is for ever.
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve_ready(
    address: &str,
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
    serve(
        "ready",
        address,
        Router::new().route("/ready", get(handler)),
    )
    .await
}

async fn serve(plugin: &'static str, address: &str, router: Router) -> Result<(), HttpError> {
    let failed = |source| HttpError {
        plugin,
        address: address.into(),
        source,
    };
    let listener = listen(address).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "plugin/{plugin}: the endpoint stopped");
        }
    });
    Ok(())
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
