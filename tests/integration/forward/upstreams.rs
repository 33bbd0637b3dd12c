//! Who is asked: policies, and the ways to name an upstream.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use martlet_tests::{Upstream, netns};

use super::{is_right, patient, serve};
use crate::fixtures::resolver;

#[test]
fn policies_share_the_queries() {
    const QUERIES: usize = 120;
    for (policy, shares) in [
        ("sequential", [QUERIES..=QUERIES, 0..=0, 0..=0]),
        // One in three, give or take what was asked twice.
        ("round_robin", [38..=42, 38..=42, 38..=42]),
        // Mean 40, standard deviation 5.2.
        ("random", [12..=68, 12..=68, 12..=68]),
    ] {
        let upstreams = ["a", "b", "c"].map(Upstream::start);
        let [a, b, c] = &upstreams;
        let martlet = serve(&[a, b, c], &format!("policy {policy}"));
        for n in 0..QUERIES {
            let name = format!("n{n}.wild.test.");
            assert!(is_right(&patient(&martlet).ask(&name, "A"), &name));
        }
        for (upstream, share) in upstreams.iter().zip(shares) {
            let asked = upstream.asked();
            let names = asked.iter().filter(|asked| asked.rtype == "A").count();
            assert!(share.contains(&names), "{policy}: {names} not in {share:?}");
        }
    }
}

#[test]
fn policies_are_chosen_by_name() {
    let upstreams = ["a", "b"].map(Upstream::start);
    let [a, b] = &upstreams;
    let martlet = serve(&[a, b], "policy sequential");
    let mut idents = BTreeMap::<_, usize>::new();
    for _ in 0..10 {
        let reply = patient(&martlet).ask("who.up.test.", "TXT");
        let ident = reply.an[0].rdata().chars().nth(1);
        *idents.entry(ident).or_default() += 1;
    }
    assert_eq!(idents, BTreeMap::from([(Some('a'), 10)]));
}

#[test]
fn queries_come_from_the_source_address() {
    let upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "source_address 127.0.0.7");
    let client = patient(&martlet);
    assert!(is_right(&client.ask("u.wild.test.", "A"), "u.wild.test."));
    assert!(is_right(
        &client.ask_tcp("t.wild.test.", "A"),
        "t.wild.test."
    ));
    let expected: IpAddr = [127, 0, 0, 7].into();
    let peers = upstream.peers();
    assert!(peers.len() >= 2, "UDP and TCP: {peers:?}");
    assert!(peers.iter().all(|peer| peer.ip() == expected), "{peers:?}");
}

#[test]
fn an_upstream_can_be_a_host_name() {
    let upstream = Upstream::start("a");
    let (address, port) = (upstream.address(), upstream.address().port());
    for directive in [
        format!("forward . localhost:{port}"),
        format!("forward . localhost.wild.test:{port} {{\nresolver {address}\n}}"),
    ] {
        let martlet = resolver(&directive).start();
        let name = "a.wild.test.";
        let reply = patient(&martlet).ask(name, "A");
        assert!(is_right(&reply, name), "{directive}: {reply:?}");
    }
    assert!(upstream.count("localhost.wild.test.") > 0);
}

#[test]
fn an_upstream_can_have_an_ipv6_address() {
    let upstream = Upstream::start_on("a", std::net::Ipv6Addr::LOCALHOST.into());
    let martlet = serve(&[&upstream], "");
    for (name, tcp) in [("u.wild.test.", false), ("t.wild.test.", true)] {
        let client = patient(&martlet);
        let reply = if tcp {
            client.ask_tcp(name, "A")
        } else {
            client.ask(name, "A")
        };
        assert!(is_right(&reply, name), "{reply:?}");
    }
}

/// Name servers of such a file have port 53, which is free in a network of our own.
#[test]
fn resolv_conf_names_upstreams() {
    let test = "forward::upstreams::resolv_conf_names_upstreams";
    netns::isolated(test, || {
        let bind = |ident: &str, ip: Ipv4Addr| {
            Upstream::bind(ident, SocketAddr::from((ip, 53))).expect("port 53 is free here")
        };
        let a = bind("a", Ipv4Addr::new(127, 0, 0, 11));
        let b = bind("b", Ipv4Addr::new(127, 0, 0, 12));
        let resolv_conf = "# a comment\nnameserver 127.0.0.11\nnameserver 127.0.0.12\n\
                           search x.test\noptions ndots:5\n";
        let setup = resolver("forward . {DIR}/resolv.conf {\npolicy round_robin\n}");
        let martlet = setup.file("resolv.conf", resolv_conf).start();
        for n in 0..10 {
            let name = format!("n{n}.wild.test.");
            assert!(is_right(&patient(&martlet).ask(&name, "A"), &name));
        }
        for upstream in [a, b] {
            assert!(upstream.asked().len() >= 4, "{:?}", upstream.asked());
        }
    });
}
