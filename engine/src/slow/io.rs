//! The seam between the slow path and the system: io_uring where the kernel and the container's
//! seccomp profile allow it, epoll otherwise. Everything above it is the same.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket};

use tokio::task::LocalSet;

/// How sockets to upstreams are driven.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// tokio-uring.
    IoUring,
    /// tokio.
    Epoll,
}

impl Backend {
    /// The name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }

    /// The first of these that works here, and why the others do not.
    pub fn choose(preferred: &[Self]) -> (Self, Option<io::Error>) {
        let mut reason = None;
        for &backend in preferred {
            match backend {
                Self::Epoll => break,
                Self::IoUring => match try_io_uring() {
                    Ok(()) => return (backend, None),
                    Err(error) => reason = Some(error),
                },
            }
        }
        (Self::Epoll, reason)
    }

    /// Runs a future, and the local tasks that it spawns, on this thread.
    ///
    /// # Errors
    ///
    /// If the system does not give what the runtime needs.
    pub fn block_on<F: Future>(self, future: F) -> io::Result<F::Output> {
        match self {
            Self::IoUring => {
                let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
                Ok(runtime.block_on(future))
            }
            Self::Epoll => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(LocalSet::new().block_on(&runtime, future))
            }
        }
    }
}

/// Sets up a ring and throws it away; on a thread of its own, because a runtime cannot end inside
/// of another.
fn try_io_uring() -> io::Result<()> {
    let attempt = || tokio_uring::Runtime::new(&tokio_uring::builder()).map(drop);
    let thread = std::thread::Builder::new().spawn(attempt)?;
    let panicked = |_| Err(io::Error::other("its runtime panicked"));
    thread.join().unwrap_or_else(panicked)
}

/// A UDP socket connected to an upstream.
pub(crate) struct Socket {
    kind: Kind,
    closed: Cell<bool>,
}

enum Kind {
    IoUring(tokio_uring::net::UdpSocket),
    Epoll(tokio::net::UdpSocket, tokio::sync::Notify),
}

impl Socket {
    /// Opens a socket on a port that the kernel draws.
    pub(crate) fn connect(
        backend: Backend,
        address: SocketAddr,
        source: Option<IpAddr>,
    ) -> io::Result<Self> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((source.unwrap_or(any), 0))?;
        socket.connect(address)?;
        let kind = match backend {
            // io_uring waits itself; a non-blocking socket would only say "not now".
            Backend::IoUring => Kind::IoUring(tokio_uring::net::UdpSocket::from_std(socket)),
            Backend::Epoll => {
                socket.set_nonblocking(true)?;
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                Kind::Epoll(socket, tokio::sync::Notify::new())
            }
        };
        Ok(Self {
            kind,
            closed: Cell::new(false),
        })
    }

    pub(crate) async fn send(&self, message: Vec<u8>) -> io::Result<()> {
        match &self.kind {
            Kind::IoUring(socket) => socket.send(message).await.0.map(drop),
            Kind::Epoll(socket, _) => socket.send(&message).await.map(drop),
        }
    }

    /// Receives one datagram into the spare room of `buf`. A closed socket returns at once.
    pub(crate) async fn receive(&self, mut buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match &self.kind {
            Kind::IoUring(socket) => {
                let (result, buf) = socket.read(buf).await;
                (result.map(drop), buf)
            }
            Kind::Epoll(socket, closing) => {
                let result = tokio::select! {
                    result = socket.recv_buf(&mut buf) => result.map(drop),
                    () = closing.notified() => Ok(()),
                };
                (result, buf)
            }
        }
    }

    /// Ends the [`Self::receive`] that waits, if one does.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        match &self.kind {
            // The kernel holds on to a socket that it reads from until there is something to read.
            Kind::IoUring(socket) => {
                let _ = socket.shutdown(Shutdown::Both);
            }
            Kind::Epoll(_, closing) => closing.notify_one(),
        }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use std::time::Duration;

    const BOTH: [Backend; 2] = [Backend::IoUring, Backend::Epoll];

    /// Runs `test` on every backend that this machine has.
    fn on_each<F: Future<Output = ()>>(test: impl Fn(Backend) -> F) {
        for backend in BOTH {
            if Backend::choose(&[backend]).0 == backend {
                backend.block_on(test(backend)).unwrap();
            }
        }
    }

    #[test]
    fn datagrams_go_and_come() {
        on_each(|backend| async move {
            let server = UdpSocket::bind("127.0.0.1:0").unwrap();
            let socket = Socket::connect(backend, server.local_addr().unwrap(), None).unwrap();
            socket.send(b"question".to_vec()).await.unwrap();
            let mut buf = [0; 16];
            let (len, client) = server.recv_from(&mut buf).unwrap();
            assert_eq!(&buf[..len], b"question");
            server.send_to(b"answer", client).unwrap();
            let (result, buf) = socket.receive(Vec::with_capacity(64)).await;
            result.unwrap();
            assert_eq!(buf, b"answer");
        });
    }

    #[test]
    fn a_port_without_a_listener_is_an_error() {
        on_each(|backend| async move {
            let gone = UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let socket = Socket::connect(backend, gone, None).unwrap();
            socket.send(b"question".to_vec()).await.unwrap();
            let (result, _) = socket.receive(Vec::with_capacity(64)).await;
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn closing_ends_a_receive_and_gives_the_descriptor_back() {
        on_each(|backend| async move {
            let server = UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..20 {
                let socket = Socket::connect(backend, server.local_addr().unwrap(), None);
                let socket = Rc::new(socket.unwrap());
                socket.send(b"question".to_vec()).await.unwrap();
                let (_, port_of_socket) = server.recv_from(&mut [0; 16]).unwrap();
                let reading = Rc::clone(&socket);
                let task = tokio::task::spawn_local(async move {
                    let _ = reading.receive(Vec::with_capacity(64)).await;
                    assert!(reading.is_closed());
                });
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                UdpSocket::bind(port_of_socket).expect_err("the socket has the port");
                socket.close();
                drop(socket);
                task.await.unwrap();
                // A ring gives its descriptors back a turn later.
                let free = async {
                    while UdpSocket::bind(port_of_socket).is_err() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                let in_time = tokio::time::timeout(Duration::from_secs(5), free).await;
                in_time.expect("the descriptor stays open");
            }
        });
    }
}
