//! `forward`: who is asked, over what, and what becomes of replies, good and bad.

mod faults;
mod options;
mod transport;
mod upstreams;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use martlet_tests::dns::{Query, Reply, decode};
use martlet_tests::{Client, Martlet, Upstream, wild_address};

use crate::fixtures::{forward, resolver};

/// A server that forwards everything to these, with these options.
fn serve(upstreams: &[&Upstream], options: &str) -> Martlet {
    let to: Vec<_> = upstreams
        .iter()
        .map(|upstream| upstream.address())
        .collect();
    resolver(&forward(&to, options)).start()
}

/// A client that outwaits the time that the server gives its upstreams.
fn patient(martlet: &Martlet) -> Client {
    Client {
        patience: Duration::from_secs(8),
        ..martlet.client()
    }
}

/// True when the reply is the answer of `wild.test.` to this name.
fn is_right(reply: &Reply, name: &str) -> bool {
    reply.rcode == "NOERROR" && reply.addresses() == [wild_address(name)]
}

/// Sends all the questions at once, each from a socket of its own, and waits for all the replies.
fn at_once(server: SocketAddr, queries: &[Query]) -> Vec<Option<Reply>> {
    let sockets: Vec<_> = queries
        .iter()
        .map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    for ((socket, query), id) in sockets.iter().zip(queries).zip(1..) {
        socket
            .set_read_timeout(Some(Duration::from_secs(8)))
            .expect("more than nothing");
        socket
            .send_to(&query.wire(id), server)
            .expect("loopback takes it");
    }
    let mut buffer = [0; 4096];
    let mut receive = |socket: &UdpSocket| {
        let len = socket.recv(&mut buffer).ok()?;
        Some(decode(&buffer[..len], 0))
    };
    sockets.iter().map(&mut receive).collect()
}
