//! UDP, TCP, truncation; and what a query looks like to the upstream.

use std::collections::HashSet;
use std::time::Duration;

use martlet_tests::dns::{Edns, Query};
use martlet_tests::{Fault, Transport, Upstream, wait_until};

use super::{at_once, is_right, patient, serve};

#[test]
fn the_protocol_is_the_clients_or_as_configured() {
    use Transport::{Tcp, Udp};
    for (options, over_udp, over_tcp) in [
        ("", Udp, Tcp),
        ("force_tcp", Tcp, Tcp),
        ("prefer_udp", Udp, Udp),
        ("force_tcp\nprefer_udp", Tcp, Tcp),
    ] {
        let upstream = Upstream::start("a");
        let martlet = serve(&[&upstream], options);
        let client = patient(&martlet);
        for (name, tcp, expected) in [
            ("u.wild.test.", false, over_udp),
            ("t.wild.test.", true, over_tcp),
        ] {
            let reply = if tcp {
                client.ask_tcp(name, "A")
            } else {
                client.ask(name, "A")
            };
            assert!(is_right(&reply, name), "{options}: {reply:?}");
            let asked = upstream.asked_for(name);
            assert!(
                !asked.is_empty() && asked.iter().all(|asked| asked.over == expected),
                "{options}: {asked:?}"
            );
        }
    }
}

#[test]
fn truncation_reaches_clients_that_can_ask_again() {
    let upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "");
    let client = patient(&martlet);
    for (name, rtype, records) in [
        ("big.up.test.", "TXT", 1),
        ("wide.up.test.", "A", 80),
        ("tconly.up.test.", "A", 1),
    ] {
        let reply = client.ask(name, rtype);
        assert!(reply.has("TC"), "{name}: {reply:?}");
        assert_eq!(
            upstream.count_over(Transport::Tcp, name),
            0,
            "{name}: the client has to ask over TCP, not we"
        );
        let reply = client.ask_tcp(name, rtype);
        assert!(
            !reply.has("TC") && reply.an.len() == records,
            "{name}: {reply:?}"
        );
    }
    // With room for it, it comes over UDP.
    let roomy = Edns {
        size: 4096,
        ..Edns::default()
    };
    let query = Query::new("wide.up.test.", "A").with_edns(roomy);
    let reply = client.send(&query).expect("it answers");
    assert!(!reply.has("TC") && reply.an.len() == 80, "{reply:?}");
}

#[test]
fn prefer_udp_asks_again_over_tcp() {
    let upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "prefer_udp");
    let reply = patient(&martlet).ask_tcp("big.up.test.", "TXT");
    assert!(!reply.has("TC") && reply.an.len() == 1, "{reply:?}");
    assert_eq!(upstream.count_over(Transport::Udp, "big.up.test."), 1);
    assert_eq!(upstream.count_over(Transport::Tcp, "big.up.test."), 1);
    // What a UDP client cannot take is cut for it.
    let reply = patient(&martlet).ask("big.up.test.", "TXT");
    assert!(reply.has("TC"), "{reply:?}");
}

/// RFC 5452: who wants to forge a reply has to guess the ID and the port.
#[test]
fn ids_and_ports_cannot_be_guessed() {
    let upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "");
    let client = patient(&martlet);
    for n in 0..300 {
        let name = format!("n{n}.wild.test.");
        assert!(is_right(&client.ask(&name, "A"), &name));
    }
    let asked = upstream.asked();
    let ids: Vec<_> = asked.iter().map(|asked| asked.id).collect();
    let distinct: HashSet<_> = ids.iter().collect();
    // Among 300 of 65,536 there may be a few pairs.
    assert!(distinct.len() > 285, "{} IDs", distinct.len());
    let steps: HashSet<_> = ids
        .windows(2)
        .map(|pair| pair[1].wrapping_sub(pair[0]))
        .collect();
    assert!(steps.len() > 270, "{} steps from ID to ID", steps.len());
    let high = ids.iter().filter(|id| **id >= 0x8000).count();
    assert!(
        (90..=210).contains(&high),
        "{high} of 300 in the upper half"
    );
    let ports = upstream.peers();
    assert!(ports.len() >= 4, "{ports:?}");
}

#[test]
fn identical_questions_in_flight_are_asked_once() {
    let upstream = Upstream::start("a");
    upstream.misbehave("*", Fault::Late(Duration::from_millis(350)));
    let martlet = serve(&[&upstream], "");
    let spellings = ["same.wild.test.", "SAME.wild.test.", "sAmE.Wild.Test."];
    let queries: Vec<_> = (0..100)
        .map(|n| Query::new(spellings[n % 3], "A"))
        .collect();
    let replies = at_once(martlet.client().server, &queries);
    for (reply, query) in replies.iter().zip(&queries) {
        let reply = reply.as_ref().expect("everybody is answered");
        assert!(is_right(reply, &query.name), "{reply:?}");
        assert_eq!(reply.q[0][0], query.name, "everybody's own spelling");
        assert_eq!(reply.an[0].owner(), query.name, "everybody's own spelling");
    }
    assert_eq!(upstream.count("same.wild.test."), 1);
    // What differs is asked apart.
    let dnssec = Edns {
        flags: 0x8000,
        ..Edns::default()
    };
    let queries = [
        Query::new("other.wild.test.", "A"),
        Query::new("other.wild.test.", "AAAA"),
        Query::new("other.wild.test.", "A").with_edns(dnssec),
    ];
    let replies = at_once(martlet.client().server, &queries);
    assert!(replies.iter().all(Option::is_some));
    assert_eq!(upstream.count("other.wild.test."), 3);
}

#[test]
fn many_questions_share_a_connection() {
    let upstream = Upstream::start("a");
    upstream.misbehave("*", Fault::Late(Duration::from_millis(100)));
    let martlet = serve(&[&upstream], "force_tcp");
    let names: Vec<_> = (0..400).map(|n| format!("n{n}.wild.test.")).collect();
    let queries: Vec<_> = names.iter().map(|name| Query::new(name, "A")).collect();
    let replies = at_once(martlet.client().server, &queries);
    for (reply, name) in replies.iter().zip(&names) {
        let reply = reply.as_ref().expect("everybody is answered");
        assert!(is_right(reply, name), "{name}: {reply:?}");
    }
    let asked = upstream.asked();
    assert!(asked.iter().all(|asked| asked.over == Transport::Tcp));
    let connections = upstream.peers().len();
    assert!(connections <= 40, "{connections} connections for 400");
}

#[test]
fn clients_pipeline_too() {
    let upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "");
    upstream.misbehave("late.wild.test.", Fault::Late(Duration::from_millis(300)));
    let mut session = patient(&martlet).connect();
    let names = ["late.wild.test.", "b.wild.test.", "c.wild.test."];
    for (name, id) in names.iter().zip(1..) {
        let query = Query::new(name, "A").wire(id);
        session.send(&query).expect("it reads");
    }
    let mut left: HashSet<_> = names.into_iter().collect();
    for _ in names {
        let reply = session.receive().expect("all are answered");
        let name = reply.q[0][0].clone();
        assert!(is_right(&reply, &name), "{reply:?}");
        assert!(left.remove(name.as_str()), "{name} twice");
    }
}

#[test]
fn idle_connections_are_given_up() {
    let upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "force_tcp\nexpire 300ms");
    let name = "n.wild.test.";
    assert!(is_right(&patient(&martlet).ask(name, "A"), name));
    let sockets = || {
        let pid = martlet.process.id();
        let port = upstream.address().port();
        connections(pid, "tcp", port)
    };
    let closed = wait_until(Duration::from_secs(5), || (sockets() == 0).then_some(()));
    assert!(closed.is_some(), "{} connections are open", sockets());
}

#[test]
fn no_more_idle_connections_are_kept_than_told() {
    // Each thread of the slow path has its own; four workers share one.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = (cores / 4).max(1);
    for (protocol, option) in [("tcp", "force_tcp"), ("udp", "prefer_udp")] {
        let upstream = Upstream::start("a");
        upstream.misbehave("*", Fault::Late(Duration::from_millis(200)));
        let martlet = serve(&[&upstream], &format!("{option}\nmax_idle_conns 1"));
        let names: Vec<_> = (0..300).map(|n| format!("n{n}.wild.test.")).collect();
        let queries: Vec<_> = names.iter().map(|name| Query::new(name, "A")).collect();
        let replies = at_once(martlet.client().server, &queries);
        assert!(replies.iter().all(Option::is_some), "{protocol}");
        assert!(upstream.peers().len() > most, "{protocol}: there were more");
        let (pid, port) = (martlet.process.id(), upstream.address().port());
        let sockets = || connections(pid, protocol, port);
        // Long before `expire`.
        let few = wait_until(Duration::from_secs(5), || {
            (1..=most).contains(&sockets()).then_some(())
        });
        assert!(few.is_some(), "{protocol}: {} are open", sockets());
    }
}

/// Connections to this port in the process's network: established ones, and connected sockets.
fn connections(pid: u32, protocol: &str, port: u16) -> usize {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).unwrap_or_default();
    let remote = format!(":{port:04X}");
    let established = table.lines().filter(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.get(2).is_some_and(|word| word.ends_with(&remote)) && words.get(3) == Some(&"01")
    });
    established.count()
}
