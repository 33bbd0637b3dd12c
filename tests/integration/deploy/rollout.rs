//! An old server makes place for a new one on the same address, under a steady load.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use martlet_tests::load::{Load, Outcome};
use martlet_tests::ways::{each_way, with_io};
use martlet_tests::{Martlet, Setup, Upstream, wait_until};

use crate::fixtures::status;

/// Questions a second of all clients together; a debug build has other things to do.
const RATE: u32 = if cfg!(debug_assertions) {
    4_000
} else {
    20_000
};
/// Sockets that ask; the kernel spreads them over the sockets of both servers.
const CLIENTS: u32 = 8;
/// Changes of servers in the time of the load.
const ROUNDS: usize = 3;

#[test]
fn a_new_server_takes_over_without_a_lost_query() {
    each_way(|io| rehearse(io, "bind 127.0.0.1", Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn so_it_does_on_other_addresses() {
    rehearse("auto", "bind ::1", Ipv6Addr::LOCALHOST.into());
    rehearse("auto", "", Ipv4Addr::LOCALHOST.into());
}

fn rehearse(io: &str, bind: &str, address: IpAddr) {
    let upstream = Upstream::start("a");
    let corefile = |port: &str, health: &str, ready: &str| {
        format!(
            ".:{port} {{\n    {bind}\n    health 127.0.0.1:{health} {{\n        \
             lameduck 500ms\n    }}\n    ready 127.0.0.1:{ready}\n    forward . {}\n    cache\n}}\n",
            upstream.address()
        )
    };
    // All ports are drawn at once, two for each server.
    let reserve: String = (4..10).map(|n| format!("#{{PORT{n}}}")).collect();
    let first = corefile("{PORT}", "{PORT2}", "{PORT3}") + &reserve;
    let mut old = with_io(Setup::new(&first), io).at_once().start();
    let ports: Vec<_> = (1..10).map(|n| old.nth_port(n)).collect();
    await_ready(&old, ports[2]);
    let server = SocketAddr::new(address, ports[0]);

    let load = Load {
        server,
        rate: RATE / CLIENTS,
        time: Duration::from_secs(8),
        new_every: 1_000_000,
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| thread::spawn(move || load.run()))
        .collect();
    for round in 1..=ROUNDS {
        thread::sleep(Duration::from_millis(500));
        let [port, health, ready] = [ports[0], ports[2 * round + 1], ports[2 * round + 2]];
        let [port_text, health, ready_text] = [port, health, ready].map(|port| port.to_string());
        let new = corefile(&port_text, &health, &ready_text);
        let new = with_io(Setup::new(&new), io).port(port).at_once().start();
        await_ready(&new, ready);
        assert!(old.stop().success(), "{}", old.log());
        old = new;
    }
    let mut sent = 0;
    for client in clients {
        let outcome: Outcome = client.join().expect("clients do not panic");
        println!("{io} {bind} {address}: {}", outcome.summary());
        assert!(outcome.adds_up(), "{}", outcome.summary());
        assert_eq!(outcome.shed, 0, "{}", outcome.summary());
        sent += outcome.sent;
    }
    assert!(
        sent >= RATE as usize * 7,
        "the load was not kept up: {sent}"
    );
}

fn await_ready(server: &Martlet, port: u16) {
    let up = wait_until(Duration::from_secs(20), || {
        TcpStream::connect(("127.0.0.1", port)).ok()?;
        (status(port, "/ready") == "200").then_some(())
    });
    assert!(up.is_some(), "{}", server.log());
}
