//! The upstream's sockets and threads: one for datagrams, one that accepts, one a connection, and
//! one for each reply that waits.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::fault::Sent;
use super::{Reaction, Shared, Transport, lock};

/// Sockets that are served until this is dropped.
pub(super) struct Sockets {
    stop: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sockets {
    pub(super) fn open(address: SocketAddr, shared: &Arc<Shared>) -> io::Result<Self> {
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of an earlier life may linger on the same port.
        listener.set_reuse_address(true)?;
        listener.bind(&address.into())?;
        listener.listen(1024)?;
        let listener = TcpListener::from(listener);
        let datagrams = UdpSocket::bind(address)?;
        SockRef::from(&datagrams).set_recv_buffer_size(RECEIVE_BUFFER)?;
        datagrams.set_read_timeout(Some(LOOK_UP))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Arc::default();
        let udp = {
            let (stop, shared) = (Arc::clone(&stop), Arc::clone(shared));
            thread::spawn(move || read_datagrams(&datagrams, &shared, &stop))
        };
        let tcp = {
            let (stop, shared) = (Arc::clone(&stop), Arc::clone(shared));
            let connections = Arc::clone(&connections);
            thread::spawn(move || accept(&listener, &shared, &stop, &connections))
        };
        Ok(Self {
            stop,
            connections,
            threads: vec![udp, tcp],
        })
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for connection in lock(&self.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn read_datagrams(socket: &UdpSocket, shared: &Arc<Shared>, stop: &AtomicBool) {
    let elsewhere = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    let mut buffer = vec![0; 65_535];
    while !stop.load(Ordering::Relaxed) {
        // A time-out, or the complaint of a client that is gone.
        let Ok((len, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Some(reaction) = shared.handle(&buffer[..len], Transport::Udp, peer) else {
            continue;
        };
        let (to, elsewhere) = (socket.try_clone(), Arc::clone(&elsewhere));
        let Ok(to) = to else { continue };
        later(reaction, move |reaction| {
            for sent in reaction.sent(Transport::Udp) {
                // Whoever does not listen any more does not want it.
                let _ = match sent {
                    Sent::Message(octets) | Sent::Cut(octets, _) => to.send_to(&octets, peer),
                    Sent::Elsewhere(octets) => elsewhere.send_to(&octets, peer),
                };
            }
        });
    }
}

fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    stop: &AtomicBool,
    connections: &Mutex<Vec<TcpStream>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, peer)) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let prepared = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_nodelay(true))
            .and_then(|()| stream.try_clone());
        let Ok(copy) = prepared else { continue };
        let mut connections = lock(connections);
        connections.retain(|known| known.peer_addr().is_ok());
        connections.push(copy);
        drop(connections);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // The end of a connection, whichever way it comes.
            let _ = converse(&stream, peer, &shared);
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
}

fn converse(stream: &TcpStream, peer: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    let mut reader = stream;
    loop {
        let mut len = [0; 2];
        reader.read_exact(&mut len)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        reader.read_exact(&mut query)?;
        // Silence over TCP ends the connection, as it does in the server that was recorded with.
        let Some(reaction) = shared.handle(&query, Transport::Tcp, peer) else {
            return Ok(());
        };
        let writer = Arc::clone(&writer);
        later(reaction, move |reaction| {
            let mut writer = lock(&writer);
            for sent in reaction.sent(Transport::Tcp) {
                // The other side may be gone; then so is this connection.
                let _ = match sent {
                    Sent::Message(octets) => write(&mut writer, &octets, octets.len()),
                    Sent::Cut(octets, len) => write(&mut writer, &octets, len)
                        .and_then(|()| writer.shutdown(Shutdown::Both)),
                    Sent::Elsewhere(_) => Ok(()),
                };
            }
        });
    }
}

fn write(stream: &mut TcpStream, octets: &[u8], len: usize) -> io::Result<()> {
    let len = u16::try_from(len).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), octets].concat())
}

/// Does it now, or on a thread of its own once the time has come.
fn later(reaction: Reaction, act: impl FnOnce(&Reaction) + Send + 'static) {
    let pause = reaction.pause();
    if pause.is_zero() {
        return act(&reaction);
    }
    thread::spawn(move || {
        thread::sleep(pause);
        act(&reaction);
    });
}

/// How long an end may go unnoticed.
const LOOK_UP: Duration = Duration::from_millis(20);
const ACCEPT_PAUSE: Duration = Duration::from_millis(2);

/// Room for a burst of queries.
const RECEIVE_BUFFER: usize = 4 << 20;
