//! An upstream for measuring: it knows every name, or is silent.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use martlet_engine::wire::query::HEADER_LEN;
use martlet_engine::wire::reply::Owner;
use martlet_engine::wire::{FoldedName, Query, RType, Reply, Section};

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
    let socket = UdpSocket::bind(address)?;
    let mut name = FoldedName::default();
    let (mut message, mut buf) = ([0; 4_096], [0; 4_096]);
    loop {
        let (len, client) = socket.recv_from(&mut message)?;
        if behaviour.silent || len < HEADER_LEN {
            continue;
        }
        if !behaviour.delay.is_zero() {
            std::thread::sleep(behaviour.delay);
        }
        let Ok(query) = Query::parse(&message[..len], &mut name) else {
            continue;
        };
        let mut reply = Reply::new(&mut buf, &query, false);
        let last = name.wire().len() as u8;
        let rdata: &[u8] = match query.qtype {
            RType::A => &[192, 0, 2, last],
            RType::AAAA => &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last],
            _ => &[],
        };
        if !rdata.is_empty() {
            let (qtype, ttl) = (query.qtype, behaviour.ttl);
            reply.record(Section::Answer, Owner::Question, qtype, ttl, rdata);
        }
        let len = reply.finish(query.edns.as_ref());
        socket.send_to(&buf[..len], client)?;
    }
}
