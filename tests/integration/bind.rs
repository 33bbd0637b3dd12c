//! Addresses and ports: as many as the Corefile names, and replies from the one that was asked.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use martlet_tests::{Client, Setup};
use socket2::{Domain, Socket, Type};

/// Asks `whoami` over UDP and TCP at this address. The client's sockets are connected, so that a
/// reply from any other address would not be seen.
fn reachable(address: &str, port: u16) {
    let server = SocketAddr::new(address.parse().expect("an address"), port);
    let client = Client::new(server);
    let rtype = if server.is_ipv4() { "A" } else { "AAAA" };
    for reply in [
        client.ask("x.example.org.", rtype),
        client.ask_tcp("x.example.org.", rtype),
    ] {
        assert_eq!(reply.rcode, "NOERROR", "{server}: {reply:?}");
        assert_eq!(
            reply
                .ar
                .iter()
                .filter(|record| record.rtype() == rtype)
                .count(),
            1
        );
    }
}

fn unreachable(address: &str, port: u16) {
    let server = SocketAddr::new(address.parse().expect("an address"), port);
    assert!(
        std::net::TcpStream::connect(server).is_err(),
        "{server} should not be served"
    );
}

#[test]
fn a_wildcard_answers_from_the_address_that_was_asked() {
    let martlet = Setup::new("example.org:{PORT} {\n    whoami\n}\n").start();
    for address in ["127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"] {
        reachable(address, martlet.port());
    }
}

/// IPv4 addresses with a UDP socket on this port, in this network namespace.
fn addresses_with_sockets(port: u16) -> BTreeSet<Ipv4Addr> {
    let table = std::fs::read_to_string("/proc/self/net/udp").expect("Linux has it");
    let of_row = |row: &str| {
        let (address, row_port) = row.split_whitespace().nth(1)?.split_once(':')?;
        let address = u32::from_str_radix(address, 16).ok()?;
        let is_ours = u16::from_str_radix(row_port, 16).ok()? == port;
        is_ours.then(|| Ipv4Addr::from(address.to_ne_bytes()))
    };
    table.lines().skip(1).filter_map(of_row).collect()
}

#[test]
fn addresses_of_the_machine_have_sockets_of_their_own() {
    let martlet = Setup::new("example.org:{PORT} {\n    whoami\n}\n").start();
    let found = addresses_with_sockets(martlet.port());
    for address in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST] {
        assert!(found.contains(&address), "{address}: {found:?}");
    }
}

#[test]
fn an_address_that_somebody_serves_is_left_to_them() {
    // As another DNS server of the same user opens it, a node-local cache for example.
    let theirs = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    theirs.set_reuse_port(true).expect("Linux has it");
    let localhost = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    theirs.bind(&localhost.into()).expect("a port is free");
    let theirs = UdpSocket::from(theirs);
    theirs
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("more than zero");
    let address = theirs.local_addr().expect("it is bound");
    let corefile = format!("example.org:{} {{\n    whoami\n}}\n", address.port());
    let _martlet = Setup::new(&corefile).port(address.port()).at_once().start();
    for _ in 0..500 {
        if addresses_with_sockets(address.port()).contains(&Ipv4Addr::UNSPECIFIED) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let found = addresses_with_sockets(address.port());
    assert!(found.contains(&Ipv4Addr::UNSPECIFIED), "{found:?}");
    for number in 0..32 {
        // From another port each time: the kernel would spread them over the sockets.
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
        client.send_to(&[number], address).expect("it is local");
        let mut buf = [0; 16];
        let len = theirs.recv(&mut buf).expect("it is theirs");
        assert_eq!(buf[..len], [number]);
    }
}

#[test]
fn bind_takes_just_the_addresses_it_names() {
    let corefile = "example.org:{PORT} {\n    bind 127.0.0.1 127.0.0.2 ::1\n    whoami\n}\n";
    let martlet = Setup::new(corefile).start();
    for address in ["127.0.0.1", "127.0.0.2", "::1"] {
        reachable(address, martlet.port());
    }
    unreachable("127.0.0.3", martlet.port());
}

#[test]
fn bind_knows_interfaces() {
    let martlet = Setup::new("example.org:{PORT} {\n    bind lo\n    whoami\n}\n").start();
    reachable("127.0.0.1", martlet.port());
    unreachable("127.0.0.3", martlet.port());
}

#[test]
fn blocks_have_their_own_ports_and_zones() {
    let corefile = "\
example.org:{PORT} example.org:{PORT2} {
    bind 127.0.0.1
    whoami
}
example.net:{PORT3} {
    bind 127.0.0.1
    whoami
}
sub.example.org:{PORT} {
    bind 127.0.0.1
    local
}
";
    let martlet = Setup::new(corefile).start();
    reachable("127.0.0.1", martlet.nth_port(1));
    reachable("127.0.0.1", martlet.nth_port(2));
    let third = Client::new(SocketAddr::from(([127, 0, 0, 1], martlet.nth_port(3))));
    assert_eq!(third.ask("x.example.net.", "A").rcode, "NOERROR");
    assert_eq!(third.ask("x.example.org.", "A").rcode, "REFUSED");
    let first = martlet.client();
    assert_eq!(first.ask("x.example.net.", "A").rcode, "REFUSED");
    assert!(
        first.ask("y.sub.example.org.", "A").ar.is_empty(),
        "the longer zone has no whoami"
    );
}
