//! Addresses and ports: as many as the Corefile names, and replies from the one that was asked.

use std::net::SocketAddr;

use martlet_tests::{Client, Setup};

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
