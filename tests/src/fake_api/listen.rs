//! The listening socket and its connections, which a test can break.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use socket2::SockRef;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_rustls::TlsAcceptor;

use super::http::serve;
use super::{Shared, lock};

/// Accepts connections while it is open.
pub(super) struct Listener {
    state: Arc<State>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    refusing: AtomicBool,
    connections: Mutex<Vec<AbortHandle>>,
}

impl Listener {
    /// A listener that does not listen yet.
    pub(super) fn new(shared: Arc<Shared>, tls: Arc<ServerConfig>) -> Self {
        let state = State {
            shared,
            tls: TlsAcceptor::from(tls),
            refusing: AtomicBool::new(false),
            connections: Mutex::default(),
        };
        Self {
            state: Arc::new(state),
            accepting: Mutex::default(),
        }
    }

    /// Listens; says where.
    pub(super) async fn open(&self, address: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let accepting = tokio::spawn(accept(Arc::clone(&self.state), listener));
        *lock(&self.accepting) = Some(accepting);
        address
    }

    /// Stops listening and drops all connections.
    pub(super) fn close(&self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.abort();
            // The port is free once the task is gone.
            while !accepting.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.drop_connections();
    }

    /// Drops all connections.
    pub(super) fn drop_connections(&self) {
        lock(&self.state.connections)
            .drain(..)
            .for_each(|connection| connection.abort());
    }

    /// Whether connections are closed as soon as they are accepted.
    pub(super) fn refuse(&self, refuse: bool) {
        self.state.refusing.store(refuse, Ordering::Relaxed);
    }
}

async fn accept(state: Arc<State>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // Closing means resetting: nobody has to wait for the other side, and the port is free for
        // the next listener.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        if state.refusing.load(Ordering::Relaxed) {
            continue;
        }
        let connection = tokio::spawn(connection(Arc::clone(&state), stream));
        let mut connections = lock(&state.connections);
        connections.retain(|connection| !connection.is_finished());
        connections.push(connection.abort_handle());
    }
}

async fn connection(state: Arc<State>, stream: TcpStream) {
    // A connection that breaks is the client's affair.
    let Ok(stream) = state.tls.accept(stream).await else {
        return;
    };
    let service = service_fn(|request| serve(Arc::clone(&state.shared), request));
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
