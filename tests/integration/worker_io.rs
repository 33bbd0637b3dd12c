//! Whichever way workers move datagrams, clients see the same.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use martlet_tests::dns::{Edns, Query, decode};
use martlet_tests::ways::{WAYS, WHOAMI, each_way, with_io};
use martlet_tests::{Client, Martlet, Scrape, Setup, Upstream, run_binary, wild_address};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::fixtures::{COREFILE, big_service, cluster, manifest};

/// The octets of a question about a name of its own.
fn question(number: u16) -> Vec<u8> {
    Query::new(&format!("x{number}.example.org."), "A").wire(number)
}

/// A socket that hears from `server` alone.
fn connected(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).expect("a free port");
    socket.connect(server).expect("loopback can be reached");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("more than nothing");
    socket
}

/// Reads replies until those to all these numbers were seen; each may come once.
fn read_all(socket: &UdpSocket, mut open: HashSet<u16>, what: &str) {
    let mut buffer = [0; 4_096];
    while !open.is_empty() {
        let len = socket.recv(&mut buffer).unwrap_or_else(|error| {
            panic!("{what}: {} are unanswered: {error}", open.len());
        });
        let id = u16::from_be_bytes([buffer[0], buffer[1]]);
        assert!(open.remove(&id), "{what}: {id} was answered before");
        let reply = decode(&buffer[..len], 0);
        assert_eq!(reply.rcode, "NOERROR", "{what}: {reply:?}");
    }
}

/// Asks, while the server stands still, `count` questions at each of these addresses, each from a
/// socket of its own.
fn ask_frozen(martlet: &Martlet, addresses: &[SocketAddr], count: u16) -> Vec<UdpSocket> {
    martlet.process.signal(Signal::STOP);
    let ask = |&address| {
        let socket = connected(address);
        for number in 0..count {
            socket.send(&question(number)).expect("loopback takes it");
        }
        socket
    };
    addresses.iter().map(ask).collect()
}

#[test]
fn what_is_used_is_said() {
    each_way(|io| {
        let corefile = "example.org:{PORT} {\n    whoami\n    prometheus 127.0.0.1:{PORT2}\n}\n";
        let martlet = with_io(Setup::new(corefile), io).start();
        let said = format!("workers move datagrams through {io}\n");
        martlet.says_again(&said, 0);
        let scrape = Scrape::of(martlet.nth_port(2));
        for way in WAYS {
            let found = scrape.sum("martlet_worker_io", &[("io", way)]);
            assert_eq!(found, f64::from(u8::from(way == io)), "{way} of {io}");
        }
    });
    let dir = TempDir::new().expect("the temporary directory is writable");
    let finished = run_binary(dir.path(), &["-io", "pigeons"]);
    assert_eq!(finished.code, Some(2));
    for word in ["pigeons", "auto"].iter().chain(&WAYS) {
        assert!(finished.stderr.contains(word), "{}", finished.stderr);
    }
}

#[test]
fn every_address_answers_for_itself() {
    each_way(|io| {
        let second = WHOAMI.replace("{PORT}", "{PORT2}");
        let third = "example.net:{PORT3} {\n    bind 127.0.0.1 127.0.0.2\n    local\n}\n";
        let corefile = format!("{WHOAMI}{second}{third}");
        let martlet = with_io(Setup::new(&corefile), io).start();
        for round in 0..4 {
            for (port, address) in [
                (1, "127.0.0.1"),
                (1, "127.0.0.9"),
                (1, "::1"),
                (2, "127.0.0.1"),
                (2, "127.8.8.8"),
                (2, "::1"),
            ] {
                let address = address.parse::<IpAddr>().expect("an address");
                let server = SocketAddr::new(address, martlet.nth_port(port));
                let rtype = if server.is_ipv4() { "A" } else { "AAAA" };
                // The client hears nobody but whom it asked.
                let reply = Client::new(server).ask("x.example.org.", rtype);
                let is_own = |record: &&martlet_tests::dns::Record| record.rtype() == rtype;
                assert_eq!(
                    reply.ar.iter().filter(is_own).count(),
                    1,
                    "{io}, {round}: {server}: {reply:?}"
                );
            }
            let other = SocketAddr::new(IpAddr::from([127, 0, 0, 2]), martlet.nth_port(3));
            let reply = Client::new(other).ask("x.example.org.", "A");
            assert_eq!(reply.rcode, "REFUSED", "the listener is the socket's: {io}");
        }
    });
}

#[test]
fn thousands_are_answered() {
    each_way(|io| {
        let martlet = with_io(Setup::new(WHOAMI), io).start();
        let socket = connected(martlet.client().server);
        // As many at once as any socket has room for.
        for start in (0..5_000).step_by(100) {
            let numbers = start..start + 100;
            for number in numbers.clone() {
                socket.send(&question(number)).expect("loopback takes it");
            }
            read_all(&socket, numbers.collect(), io);
        }
    });
}

/// Each worker has 512 buffers at most, and no socket may hold more than 200 or so; thus there are
/// many sockets.
#[test]
fn more_can_wait_than_there_are_buffers() {
    each_way(|io| {
        let hosts = (1..=16).map(|host| IpAddr::from([127, 0, 0, host]));
        let hosts = hosts.collect::<Vec<_>>();
        let bind = hosts.iter().map(IpAddr::to_string).collect::<Vec<_>>();
        let bind = bind.join(" ");
        let corefile = format!("example.org:{{PORT}} {{\n    bind {bind}\n    whoami\n}}\n");
        let martlet = with_io(Setup::new(&corefile), io).start();
        let address = |host: &IpAddr| SocketAddr::new(*host, martlet.port());
        let addresses = hosts.iter().map(address).collect::<Vec<_>>();
        for _ in 0..3 {
            let sockets = ask_frozen(&martlet, &addresses, 150);
            martlet.process.signal(Signal::CONT);
            for socket in &sockets {
                read_all(socket, (0..150).collect(), io);
            }
        }
    });
}

#[test]
fn what_has_arrived_before_the_end_is_answered() {
    each_way(|io| {
        let upstream = Upstream::start("up");
        let corefile = format!(
            "example.org:{{PORT}} {{\n    whoami\n}}\n\
             wild.test:{{PORT}} {{\n    forward . {}\n}}\n",
            upstream.address()
        );
        let mut martlet = with_io(Setup::new(&corefile), io)
            .until_it_answers("x.example.org.")
            .start();
        let hosts = ["127.0.0.1", "127.0.0.9", "::1"].map(|host| host.parse::<IpAddr>());
        let addresses = hosts.map(|host| SocketAddr::new(host.expect("one"), martlet.port()));
        let sockets = ask_frozen(&martlet, &addresses, 150);
        let slow = connected(addresses[0]);
        let name = "late.wild.test.";
        slow.send(&Query::new(name, "A").wire(7)).expect("as above");
        martlet.process.signal(Signal::TERM);
        martlet.process.signal(Signal::CONT);
        for socket in &sockets {
            read_all(socket, (0..150).collect(), io);
        }
        read_all(&slow, [7].into(), io);
        let status = martlet.process.wait(Duration::from_secs(10));
        assert!(
            status.is_some_and(|status| status.success()),
            "{io}: {status:?}: {}",
            martlet.log()
        );
    });
}

/// Clients that do not stop asking do not keep the server from ending.
#[test]
fn it_ends_under_load() {
    each_way(|io| {
        let mut martlet = with_io(Setup::new(WHOAMI), io).start();
        let socket = connected(martlet.client().server);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Once it has gone, this fails.
                    let _ = socket.send(&question(1));
                }
            });
            std::thread::sleep(Duration::from_millis(200));
            let status = martlet.process.terminate(Duration::from_secs(20));
            done.store(true, Ordering::Relaxed);
            assert!(status.is_some_and(|status| status.success()), "{io}");
        });
        let log = martlet.log();
        assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    });
}

#[test]
fn the_slow_path_answers_from_the_address_that_was_asked() {
    each_way(|io| {
        let upstream = Upstream::start("up");
        let directives = format!("forward . {}\n    cache", upstream.address());
        let corefile = format!(
            "example.org:{{PORT}} {{\n    whoami\n}}\n.:{{PORT}} {{\n    {directives}\n}}\n"
        );
        let martlet = with_io(Setup::new(&corefile), io)
            .until_it_answers("x.example.org.")
            .start();
        for host in ["127.0.0.1", "127.0.0.9", "::1"] {
            let server = SocketAddr::new(host.parse().expect("an address"), martlet.port());
            let socket = connected(server);
            for number in 0..100 {
                let name = format!("n{number}.wild.test.");
                let query = Query::new(&name, "A").wire(number);
                socket.send(&query).expect("loopback takes it");
            }
            read_all(&socket, (0..100).collect(), io);
            // The second time it is the worker that answers.
            let reply = Client::new(server).ask("n7.wild.test.", "A");
            assert_eq!(reply.addresses(), [wild_address("n7.wild.test.")], "{io}");
        }
    });
}

#[test]
fn datagrams_of_any_size_are_met() {
    each_way(|io| {
        let mut objects = cluster();
        objects.extend(big_service());
        let martlet = with_io(Setup::new(COREFILE), io)
            .file("cluster.yaml", &manifest(&objects))
            .start();
        let client = martlet.client();
        let name = "big.shop.svc.cluster.local.";
        let query = Query::new(name, "A");
        let large = query.clone().with_edns(Edns {
            size: 8_192,
            ..Edns::default()
        });
        for round in 0..4 {
            // Whole messages, with a record that is long; what is cut when it is read is malformed.
            for len in [2_049, 4_000, 9_000, 65_000] {
                let mut octets = query.wire(1);
                octets[11] = 1;
                let data_len = u16::try_from(len - octets.len() - 11).expect("of two octets");
                octets.extend([0, 0, 16, 0, 1, 0, 0, 0, 0]);
                octets.extend(data_len.to_be_bytes());
                octets.resize(len, 0);
                let reply = client.send_octets(&octets);
                let rcode = reply.as_ref().map(|reply| reply.rcode.as_str());
                assert_eq!(rcode, Some("FORMERR"), "{io}, {round}: {len}: {reply:?}");
            }
            let socket = connected(client.server);
            for len in [0, 1, 11] {
                socket.send(&vec![0; len]).expect("loopback takes it");
            }
            let ask = |query| {
                let reply = client.send(query);
                reply.unwrap_or_else(|| panic!("{io}, {round}: no reply"))
            };
            let reply = ask(&query);
            assert!(reply.has("TC"), "{io}, {round}: {reply:?}");
            let reply = ask(&large);
            assert_eq!(reply.addresses().len(), 100, "{io}, {round}: {reply:?}");
        }
    });
}

/// `multisocket N`: so many workers. They are those of the start; a reload that wants others says so.
#[test]
fn there_are_as_many_workers_as_sockets_are_wanted() {
    let corefile = |sockets: &str| {
        format!(
            ".:{{PORT}} {{\n bind 127.0.0.1\n {sockets}\n prometheus 127.0.0.1:{{PORT2}}\n whoami\n}}\n\
             other.test:{{PORT}} {{\n bind 127.0.0.1\n multisocket 2\n whoami\n}}\n"
        )
    };
    let martlet = Martlet::start(&corefile("multisocket 3"), &[]);
    let workers = || {
        let samples = Scrape::of(martlet.nth_port(2)).samples;
        let of_workers = samples.iter().map(|sample| &*sample.name);
        of_workers
            .filter(|name| *name == "martlet_worker_messages_total")
            .count()
    };
    assert_eq!(workers(), 3);
    for (wanted, is_told) in [("multisocket 3", false), ("multisocket 5", true)] {
        let before = martlet.said("3 workers go on; for 5, restart");
        martlet.reload(&corefile(wanted));
        let after = martlet.said("3 workers go on; for 5, restart");
        assert_eq!(after > before, is_told, "{wanted}");
        assert_eq!(workers(), 3);
    }
    assert_eq!(martlet.client().ask("a.other.test.", "A").rcode, "NOERROR");
}
