use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::*;
use crate::chain::{Block, Listener, Protocol, Stage};
use crate::log::LogSink;
use crate::metrics::{Metrics, Scope};
use crate::net::io::Io;

/// A plan that panics at names under `panic`, under `early` as soon as it reads them, and, on the slow
/// path, under `slow`.
fn plan(address: SocketAddr) -> Plan {
    let metrics = Arc::new(Metrics::new(1));
    let listener = Listener {
        addresses: vec![address],
        protocol: Protocol::Dns,
        blocks: vec![Block::new(
            [0].into(),
            [Stage::Panic, Stage::Whoami].into(),
            Scope::NONE,
        )],
        timeouts: crate::plugins::timeouts::Timeouts::default(),
        other_classes: false,
        scope: metrics.scope("dns://:53", "dropped", true),
    };
    Plan {
        listeners: vec![Arc::new(listener)],
        log: LogSink::new().0,
        metrics,
    }
}

fn query(id: u8, label: &str) -> Vec<u8> {
    let mut query = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, label.len() as u8];
    query.extend(label.bytes());
    query.extend([0, 0, 1, 0, 1]);
    query
}

fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// TCP is listened on last, so that who can connect may ask over UDP: where both are taken it is
/// UDP that fails.
#[test]
fn a_server_that_accepts_is_up() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let _taken = UdpSocket::bind(address).unwrap();
    let error = Server::start(plan(address), NonZeroUsize::MIN, IoChoice::Auto);
    let error = error.err().expect("nothing is free").to_string();
    assert!(error.starts_with("cannot listen on udp://"), "{error}");
}

/// One query in a batch makes us panic: it is answered with SERVFAIL, and the others are answered by
/// the same worker.
#[test]
fn a_panic_costs_one_query() {
    const SERVFAIL: u8 = 2;
    let labels = ["good", "panic", "fine", "slow", "early", "well"];
    let codes = [0, SERVFAIL, 0, SERVFAIL, SERVFAIL, 0];
    for io in [Io::Recvmmsg, Io::IoUring] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let address = free_address();
        let metrics = plan(address);
        let counts = Arc::clone(&metrics.metrics);
        let server = match Server::start(metrics, NonZeroUsize::MIN, IoChoice::Only(io)) {
            Ok(server) => server,
            // Not every kernel has io_uring.
            Err(StartError::Io(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        let patience = Some(Duration::from_secs(5));
        socket.set_read_timeout(patience).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(patience).unwrap();
        for round in 0..2 {
            for (id, label) in labels.iter().enumerate() {
                let query = query(id as u8, label);
                socket.send(&query).unwrap();
                let prefix = (query.len() as u16).to_be_bytes();
                stream.write_all(&[&prefix, &*query].concat()).unwrap();
            }
            let (mut datagrams, mut messages) = ([9; 6], [9; 6]);
            for _ in labels {
                let mut reply = [0; 512];
                socket.recv(&mut reply).unwrap();
                datagrams[usize::from(reply[1])] = reply[3] & 0xf;
                let mut len = [0; 2];
                stream.read_exact(&mut len).unwrap();
                let reply = &mut reply[..usize::from(u16::from_be_bytes(len))];
                stream.read_exact(reply).unwrap();
                messages[usize::from(reply[1])] = reply[3] & 0xf;
            }
            assert_eq!(datagrams, codes, "{io:?}, round {round}");
            assert_eq!(messages, codes, "TCP, {io:?}, round {round}");
        }
        drop(stream);
        runtime.block_on(server.stop());
        let counted = &counts.totals()[0].1;
        let counted = counted.responses().map(|(.., count)| count);
        assert_eq!(counted.sum::<u64>(), 12, "failures, {io:?}");
    }
}
