//! TLS in front of an upstream (RFC 7858): what comes in is passed on to its TCP port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::Upstream;
use crate::identity::Identity;

/// The TLS side of an upstream. It ends when dropped.
pub struct TlsFront {
    address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    /// Its tasks end with it.
    _runtime: Runtime,
}

impl TlsFront {
    /// Listens on a free port of 127.0.0.1 and shows this certificate.
    pub fn start(identity: &Identity, upstream: &Upstream) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads can be started");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let acceptor = TlsAcceptor::from(identity.server_config());
        let handshakes = Arc::new(AtomicUsize::new(0));
        let (count, to) = (Arc::clone(&handshakes), upstream.address());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    // Clients that do not like the certificate leave here.
                    let Ok(mut front) = acceptor.accept(stream).await else {
                        return;
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    if let Ok(mut back) = TcpStream::connect(to).await {
                        // Either side may end it, in any way.
                        let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
                    }
                });
            }
        });
        Self {
            address,
            handshakes,
            _runtime: runtime,
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections came so far as to talk.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
    }
}
