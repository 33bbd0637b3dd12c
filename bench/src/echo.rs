//! The ceiling: a server that moves datagrams and does nothing else.
//!
//! It sets the QR bit, so that the generator takes what comes back for an answer, and leaves every
//! other byte alone. Its sockets have the options of a worker's, so what it reaches on one core is what
//! the kernel allows a server that receives and sends batches over such sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use martlet_engine::sys::send::allow_fragments;
use socket2::{Domain, Protocol, Socket, Type};

use crate::pin::{PinError, pin};
use crate::sys::{Batch, DATAGRAM_LEN_MAX, Peers, Wait};

/// How datagrams are moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// `recvmmsg` and `sendmmsg`, up to 64 a call.
    Batched,
    /// `recvfrom` and `sendto`.
    OneByOne,
}

/// Why an echo server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// No socket on that address.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// No such core.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The socket broke.
    #[error("cannot receive")]
    Receive(#[source] io::Error),
}

/// A running echo server: one thread, one socket. Dropping it stops it.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), EchoError>>>,
}

impl Echo {
    /// Starts serving `address` (port 0 for any) on a thread pinned to `core`.
    pub fn start(address: SocketAddr, mode: Mode, core: Option<usize>) -> Result<Self, EchoError> {
        let fail = |source| EchoError::Bind { address, source };
        let socket = listen(address).map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            pin(core)?;
            match mode {
                Mode::Batched => serve_batched(&socket, &stopped),
                Mode::OneByOne => serve_one_by_one(&socket, &stopped),
            }
            .map_err(EchoError::Receive)
        });
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the socket breaks, which is to say for ever.
    pub fn join(mut self) -> Result<(), EchoError> {
        let thread = self.thread.take().expect("taken here and in drop only");
        thread.join().expect("the echo loop does not panic")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The socket's timeout ends its wait; how it ended is of no interest any more.
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // The kernel grants what net.core.rmem_max allows and says nothing about the rest.
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_read_timeout(Some(STOP_CHECK))?;
    socket.bind(&address.into())?;
    if address.is_ipv4() {
        allow_fragments(socket.as_fd(), false)?;
    }
    Ok(socket.into())
}

fn serve_batched(socket: &UdpSocket, stop: &AtomicBool) -> io::Result<()> {
    let mut batch = Batch::new(Peers::Each);
    while !stop.load(Ordering::Relaxed) {
        let received = batch.receive(socket.as_fd(), Wait::ForOne)?;
        for at in 0..received {
            set_response(batch.datagram_mut(at));
        }
        // A reply that the kernel refuses is lost, as any datagram may be.
        let _ = batch.send(socket.as_fd(), received);
    }
    Ok(())
}

fn serve_one_by_one(socket: &UdpSocket, stop: &AtomicBool) -> io::Result<()> {
    let mut buffer = [0; DATAGRAM_LEN_MAX];
    while !stop.load(Ordering::Relaxed) {
        let (length, peer) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        set_response(&mut buffer[..length]);
        let _ = socket.send_to(&buffer[..length], peer);
    }
    Ok(())
}

fn set_response(datagram: &mut [u8]) {
    if let Some(flags) = datagram.get_mut(2) {
        *flags |= QR;
    }
}

/// QR, in the third byte of a DNS header (RFC 1035 §4.1.1).
const QR: u8 = 0x80;
const SOCKET_BUFFER: usize = 4 << 20;
const STOP_CHECK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_response_bit_changes() {
        for mode in [Mode::Batched, Mode::OneByOne] {
            let echo = Echo::start("127.0.0.1:0".parse().unwrap(), mode, None).unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            client.connect(echo.address()).unwrap();
            for datagram in [&[7u8, 8, 1, 0, 9][..], &[1, 2]] {
                client.send(datagram).unwrap();
                let mut expected = datagram.to_vec();
                set_response(&mut expected);
                let mut buffer = [0; 16];
                let length = client.recv(&mut buffer).unwrap();
                assert_eq!(buffer[..length], expected, "{mode:?}");
            }
        }
    }
}
