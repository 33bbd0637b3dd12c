//! HTTP endpoints: `health` and `ready`, which the kubelet's probes ask, and `prometheus`.
//!
//! An address is opened once and stays open as long as some plugin wants it; what is told there is
//! swapped with the plan.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use martlet_engine::index::ClusterIndex;
use martlet_engine::server::Gauges;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::corefile::Position;
use crate::metrics::own::OWN;
use crate::metrics::{self, Monitored};
use crate::task::Task;

/// How often we ask for our own health; a reply that takes longer is told of.
const HEALTH_PAUSE: Duration = Duration::from_secs(1);
/// How long we wait for it.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Data that has not been followed for longer than this makes a server unready that is asked
/// continuously. An API server that starts anew, or a watch that was cut off, is back before.
const AGE_MAX: Duration = Duration::from_secs(300);

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
    source: io::Error,
}

/// What has to be ready before the server is: its sockets, and the indexes of all `kubernetes`
/// plugins.
#[derive(Clone, Default)]
pub struct Readiness {
    indexes: Vec<Arc<ClusterIndex>>,
    /// Set when the server's sockets are open.
    open: Arc<AtomicBool>,
    /// Set when the server begins to shut down.
    leaving: Arc<AtomicBool>,
    /// Once ready, ready for ever (`monitor until-ready`).
    was_ready: Arc<AtomicBool>,
}

impl Readiness {
    /// The same for other indexes; what was said before stays said.
    #[must_use]
    pub fn with(&self, indexes: Vec<Arc<ClusterIndex>>) -> Self {
        Self {
            indexes,
            ..self.clone()
        }
    }

    /// Says that the server takes queries: before, it is not ready.
    pub fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Turns unready for good.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    fn is_ready(&self, continuous: bool) -> bool {
        if self.leaving.load(Ordering::Relaxed) || !self.open.load(Ordering::Relaxed) {
            return false;
        }
        if self.was_ready.load(Ordering::Relaxed) && !continuous {
            return true;
        }
        let current = |index: &ClusterIndex| index.is_synced() && index.age() <= AGE_MAX;
        let ready = self.indexes.iter().all(|index| current(index));
        self.was_ready.fetch_or(ready, Ordering::Relaxed);
        ready
    }
}

/// What is told at an address.
pub enum Role {
    /// `/health`: that we are there.
    Health,
    /// `/ready`: 200, or 503 with the names of the plugins that are not ready. With `true` that is
    /// the truth each time, otherwise the first 200 is for ever.
    Ready(Readiness, bool),
    /// `/metrics`, and the status page at `/`; over TLS, if there is such.
    Prometheus(Arc<Monitored>, Gauges, Option<Arc<ServerConfig>>),
}

impl Role {
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        match self {
            Self::Health | Self::Ready(..) => None,
            Self::Prometheus(_, _, tls) => tls.clone(),
        }
    }

    fn answer(&self, path: &str) -> Response {
        match (self, path) {
            (Self::Health, "/health") => "OK".into_response(),
            (Self::Ready(readiness, continuous), "/ready") => {
                if readiness.is_ready(*continuous) {
                    "OK".into_response()
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "kubernetes").into_response()
                }
            }
            (Self::Prometheus(monitored, gauges, _), "/metrics") => {
                metrics::answer(monitored, gauges).into_response()
            }
            (Self::Prometheus(..), "/") => metrics::status_page().into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

/// The addresses that are served.
#[derive(Default)]
pub struct Endpoints(Vec<Served>);

struct Served {
    address: String,
    role: Arc<ArcSwap<Role>>,
    tasks: Vec<Task>,
}

/// An address that is open, so that connections wait there.
pub struct Opened {
    address: String,
    listener: TcpListener,
}

impl Endpoints {
    /// Opens those of the addresses that are not open yet.
    ///
    /// # Errors
    ///
    /// If an address cannot be listened on, or two plugins want the same.
    pub async fn open(
        &self,
        wanted: &[(&'static str, &Endpoint)],
    ) -> Result<Vec<Opened>, HttpError> {
        let mut opened = Vec::new();
        for (place, (plugin, endpoint)) in wanted.iter().enumerate() {
            let failed = |source| HttpError {
                plugin,
                endpoint: (*endpoint).clone(),
                source,
            };
            let address = &endpoint.address;
            if wanted[..place].iter().any(|(_, it)| it.address == *address) {
                return Err(failed(io::ErrorKind::AddrInUse.into()));
            }
            if !self.0.iter().any(|served| served.address == *address) {
                let listener = listen(address).await.map_err(failed)?;
                opened.push(Opened {
                    address: address.clone(),
                    listener,
                });
            }
        }
        Ok(opened)
    }

    /// Tells something at an address from now on. It must be served, or be one of `opened`, from
    /// which it is taken.
    pub fn serve(&mut self, endpoint: &Endpoint, role: Role, opened: &mut Vec<Opened>) {
        let address = &endpoint.address;
        let health = matches!(role, Role::Health);
        let role = Arc::new(role);
        let found = self.0.iter().position(|it| it.address == *address);
        let served = if let Some(found) = found {
            self.0[found].role.store(role);
            &mut self.0[found]
        } else {
            let found = opened.iter().position(|it| it.address == *address);
            let opened = opened.swap_remove(found.expect("it was opened before"));
            let role = Arc::new(ArcSwap::new(role));
            let task = Task::spawn(serve(opened.listener, Arc::clone(&role)));
            self.0.push(Served {
                address: opened.address,
                role,
                tasks: vec![task],
            });
            self.0.last_mut().expect("just pushed")
        };
        // The first task serves, the second asks.
        if !health {
            served.tasks.truncate(1);
        } else if served.tasks.len() < 2 {
            let task = Task::spawn(watch_health(address.clone()));
            served.tasks.push(task);
        }
    }

    /// Closes all addresses but these.
    pub fn retain(&mut self, wanted: &[(&'static str, &Endpoint)]) {
        let is_wanted = |served: &Served| {
            let mut wanted = wanted.iter();
            wanted.any(|(_, endpoint)| endpoint.address == served.address)
        };
        self.0.retain(is_wanted);
    }
}

/// Connections that are open at an address. Another one ends the oldest: a probe finds room whoever
/// else is there.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may last: for TLS, one request and its response.
const CONNECTION_MAX: Duration = Duration::from_secs(10);

/// Accepts connections. What is told on each is the role of that moment.
async fn serve(mut listener: TcpListener, role: Arc<ArcSwap<Role>>) {
    let mut connections = Connections::default();
    loop {
        // This tells what goes wrong, and tries again.
        let (stream, _) = axum::serve::Listener::accept(&mut listener).await;
        connections.add(Task::spawn(converse(stream, Arc::clone(&role))));
    }
}

/// Those that are open, the oldest first.
#[derive(Default)]
struct Connections(VecDeque<Task>);

impl Connections {
    /// Adds one, in place of the oldest if there are too many.
    fn add(&mut self, connection: Task) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() == CONNECTIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(connection);
    }
}

/// Answers one request. What fails here is the client's to tell.
async fn converse(stream: impl AsyncRead + AsyncWrite + Send + Unpin, role: Arc<ArcSwap<Role>>) {
    let talk = async {
        let Some(tls) = role.load().tls() else {
            return answer(stream, &role).await;
        };
        if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
            answer(stream, &role).await;
        }
    };
    let _ = timeout(CONNECTION_MAX, talk).await;
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, role: &ArcSwap<Role>) {
    let told = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(role.load().answer(request.uri().path()))
    });
    let mut http = http1::Builder::new();
    let serving = http
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), told);
    let _ = serving.await;
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

async fn ask_health(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    match reply.starts_with(b"HTTP/1.1 ") {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Listens on `HOST:PORT` or `:PORT`, which stands for all addresses of both families.
async fn listen(address: &str) -> io::Result<TcpListener> {
    match address.strip_prefix(':') {
        None => TcpListener::bind(address).await,
        Some(port) => {
            let port = port.parse().map_err(io::Error::other)?;
            match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
                Ok(listener) => Ok(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
                Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::duplex;
    use tokio::task::yield_now;

    use super::*;

    #[test]
    fn readiness_follows_the_data_if_asked_to() {
        let index = Arc::new(ClusterIndex::default());
        let readiness = Readiness::default().with(vec![Arc::clone(&index)]);
        let is_ready = |readiness: &Readiness| [false, true].map(|it| readiness.is_ready(it));
        readiness.open();
        assert_eq!(is_ready(&readiness), [false, false], "nothing is listed");
        index.set_synced();
        assert_eq!(is_ready(&readiness), [true, true]);
        let now = std::time::Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds));
        index.set_lost(1, ago(10));
        assert_eq!(is_ready(&readiness), [true, true], "a short outage");
        index.set_lost(2, ago(301));
        assert_eq!(is_ready(&readiness), [true, false], "a long one");
        index.set_lost(2, None);
        assert_eq!(is_ready(&readiness), [true, true], "that is over");
        // A reload does not make it forget that it was ready.
        let next = readiness.with(vec![Arc::default()]);
        assert_eq!(is_ready(&next), [true, false]);
        readiness.leave();
        assert_eq!(is_ready(&next), [false, false]);
    }

    #[test]
    fn nobody_is_ready_before_the_sockets_are_open() {
        let index = Arc::new(ClusterIndex::default());
        let readiness = Readiness::default().with(vec![Arc::clone(&index)]);
        index.set_synced();
        assert!(
            ![false, true]
                .map(|it| readiness.is_ready(it))
                .contains(&true)
        );
        readiness.open();
        assert!(readiness.is_ready(false) && readiness.with(vec![index]).is_ready(true));
    }

    fn health() -> Arc<ArcSwap<Role>> {
        Arc::new(ArcSwap::from_pointee(Role::Health))
    }

    /// Who says nothing, or half of something, and who does not read, all lose their connection.
    #[tokio::test(start_paused = true)]
    async fn a_connection_does_not_last() {
        let request = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
        for (sent, expected) in [("", ""), (&request[..20], ""), (request, "HTTP/1.1 200 OK")] {
            let (ours, mut theirs) = duplex(1_024);
            let before = Instant::now();
            theirs.write_all(sent.as_bytes()).await.unwrap();
            converse(ours, health()).await;
            let late = before.elapsed() >= CONNECTION_MAX;
            assert_eq!(late, expected.is_empty(), "{sent}");
            let mut reply = String::new();
            theirs.read_to_string(&mut reply).await.unwrap();
            assert!(reply.starts_with(expected), "{reply}");
            assert_eq!(reply.is_empty(), expected.is_empty(), "{reply}");
        }
        let (ours, mut theirs) = duplex(64);
        theirs.write_all(request.as_bytes()).await.unwrap();
        converse(ours, health()).await;
    }

    #[tokio::test]
    async fn another_connection_ends_the_oldest() {
        let mut connections = Connections::default();
        let open = |held: &Arc<()>| {
            let held = Arc::clone(held);
            Task::spawn(async move {
                pending::<()>().await;
                drop(held);
            })
        };
        let held = Vec::from_iter((0..=CONNECTIONS_MAX).map(|_| Arc::new(())));
        held.iter().for_each(|held| connections.add(open(held)));
        // What was ended goes when it is its turn.
        yield_now().await;
        let counts = held.iter().map(Arc::strong_count);
        let mut expected = [2; CONNECTIONS_MAX + 1];
        expected[0] = 1;
        assert_eq!(Vec::from_iter(counts), expected);
        // Who is gone by himself takes no room.
        connections.add(Task::spawn(async {}));
        yield_now().await;
        connections.add(open(&held[0]));
        yield_now().await;
        let counts = held[1..4].iter().map(Arc::strong_count);
        assert_eq!(Vec::from_iter(counts), [1, 2, 2]);
    }

    #[tokio::test]
    async fn a_probe_is_answered_whoever_else_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _serving = Task::spawn(serve(listener, health()));
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        ask_health(&address.to_string()).await.unwrap();
    }
}
