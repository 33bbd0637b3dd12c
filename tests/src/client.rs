//! A DNS client that asks one question at a time and says exactly what came back.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::dns::{Query, Reply, decode};

/// Asks one server.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The server.
    pub server: SocketAddr,
    /// How long to wait for an answer.
    pub patience: Duration,
}

impl Client {
    /// A client that is patient enough for a busy machine.
    pub fn new(server: SocketAddr) -> Self {
        Self {
            server,
            patience: Duration::from_secs(3),
        }
    }

    /// Asks over UDP; panics when nothing comes.
    pub fn ask(&self, name: &str, rtype: &str) -> Reply {
        self.send(&Query::new(name, rtype))
            .unwrap_or_else(|| panic!("{}: no answer to {name} {rtype}", self.server))
    }

    /// Asks over UDP.
    pub fn send(&self, query: &Query) -> Option<Reply> {
        self.send_octets(&query.wire(next_id()))
    }

    /// Sends any octets over UDP. What comes back must have the same ID, if there was one, and come
    /// from the address that was asked.
    pub fn send_octets(&self, octets: &[u8]) -> Option<Reply> {
        let any = if self.server.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any).expect("a free port");
        socket
            .connect(self.server)
            .expect("loopback can be reached");
        socket
            .set_read_timeout(Some(self.patience))
            .expect("patience is more than nothing");
        // A server that is not up yet shows as a refusal of what was sent before.
        socket.send(octets).ok()?;
        let mut buffer = vec![0; 65_535];
        let len = socket.recv(&mut buffer).ok()?;
        assert_eq!(
            buffer[..len].get(..2),
            octets.get(..2),
            "the reply is to something else"
        );
        Some(decode(&buffer[..len], socket.local_addr().ok()?.port()))
    }

    /// Asks over a TCP connection of its own.
    pub fn ask_tcp(&self, name: &str, rtype: &str) -> Reply {
        let mut session = self.connect();
        session
            .send(&Query::new(name, rtype).wire(next_id()))
            .expect("the server reads");
        session.receive().expect("the server answers")
    }

    /// Opens a TCP connection.
    pub fn connect(&self) -> TcpSession {
        let stream = TcpStream::connect(self.server).expect("the server accepts");
        stream
            .set_read_timeout(Some(self.patience))
            .expect("patience is more than nothing");
        stream
            .set_nodelay(true)
            .expect("TCP_NODELAY is always there");
        TcpSession { stream }
    }
}

/// A TCP connection to the server.
pub struct TcpSession {
    /// The connection, for what this type does not offer.
    pub stream: TcpStream,
}

impl TcpSession {
    /// Sends a message with its length in front.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let len = u16::try_from(message.len()).map_err(io::Error::other)?;
        self.stream
            .write_all(&[&len.to_be_bytes(), message].concat())
    }

    /// Reads a message.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let octets = self.receive_octets()?;
        Ok(decode(&octets, self.stream.local_addr()?.port()))
    }

    /// Reads a message and leaves it as it is.
    pub fn receive_octets(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0; 2];
        self.stream.read_exact(&mut len)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        self.stream.read_exact(&mut message)?;
        Ok(message)
    }
}

fn next_id() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
