//! An upstream for measuring: it knows every name, or is silent.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use martlet_engine::wire::FoldedName;
use martlet_perf::external;

/// How it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// TTL of its records, in seconds.
    pub ttl: u32,
    /// The pause before each reply; queries are answered one after the other.
    pub delay: Duration,
    /// It never replies.
    pub silent: bool,
}

/// Answers A and AAAA with one record made from the name, everything else with NODATA, for ever.
///
/// # Errors
///
/// If the socket cannot be had or breaks.
pub fn serve(address: SocketAddr, behaviour: Behaviour) -> io::Result<()> {
    serve_on(&UdpSocket::bind(address)?, behaviour)
}

/// As [`serve`], on a socket that is there already.
///
/// # Errors
///
/// If the socket breaks.
pub fn serve_on(socket: &UdpSocket, behaviour: Behaviour) -> io::Result<()> {
    let mut name = FoldedName::default();
    let (mut message, mut buf) = ([0; 4_096], [0; 4_096]);
    loop {
        let (len, client) = socket.recv_from(&mut message)?;
        if behaviour.silent {
            continue;
        }
        if !behaviour.delay.is_zero() {
            std::thread::sleep(behaviour.delay);
        }
        let Some(len) = external::reply(&message[..len], behaviour.ttl, &mut name, &mut buf) else {
            continue;
        };
        socket.send_to(&buf[..len], client)?;
    }
}
