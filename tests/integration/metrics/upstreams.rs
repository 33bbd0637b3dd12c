//! What `cache`, `forward` and the slow path tell.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use martlet_tests::dns::{Edns, Query};
use martlet_tests::{Client, Fault, Martlet, Scrape, Setup, Upstream, wait_until};

use super::{RESPONSES, scrape_until};
use crate::fixtures::forward;

/// A server with these directives and metrics on the second port.
fn serve(directives: &str) -> Martlet {
    let corefile = format!(
        "ready.local:{{PORT}} {{\n    bind 127.0.0.1\n    whoami\n}}\n\
         .:{{PORT}} {{\n    bind 127.0.0.1\n    prometheus 127.0.0.1:{{PORT2}}\n    {directives}\n}}\n"
    );
    let setup = Setup::new(&corefile);
    setup.until_it_answers("x.ready.local.").start()
}

fn cached(upstream: &Upstream, cache: &str) -> Martlet {
    let to = forward(&[upstream.address()], "max_fails 0\nread_timeout 500ms");
    serve(&format!("{cache}\n{to}"))
}

#[test]
fn hits_and_misses_of_the_cache_are_told_apart() {
    let upstream = Upstream::start("a");
    let martlet = cached(&upstream, "cache");
    let client = martlet.client();
    for (name, times) in [
        ("a.up.test.", 4),
        ("b.wild.test.", 1),
        ("nothing.up.test.", 3),
    ] {
        for _ in 0..times {
            client.ask(name, "A");
        }
    }
    let server = format!("dns://127.0.0.1:{}", martlet.port());
    let scope = [("server", &*server), ("zones", "."), ("view", "")];
    let scrape = scrape_until(martlet.nth_port(2), |now| now.sum(RESPONSES, &[]) >= 8.0);
    let of = |name: &str| scrape.sum(&format!("coredns_cache_{name}"), &scope);
    let by_type = |name: &str, kind: &'static str| {
        let labels = [&scope[..], &[("type", kind)]].concat();
        scrape.sum(&format!("coredns_cache_{name}"), &labels)
    };
    assert_eq!((of("requests_total"), of("misses_total")), (8.0, 3.0));
    assert_eq!(by_type("hits_total", "success"), 3.0);
    assert_eq!(by_type("hits_total", "denial"), 2.0);
    assert_eq!(by_type("entries", "success"), 2.0);
    assert_eq!(by_type("entries", "denial"), 1.0);
    assert_eq!(
        of("evictions_total") + of("served_stale_total") + of("prefetch_total"),
        0.0
    );
    for (plugin, expected) in [("cache", 5.0), ("forward", 3.0)] {
        assert_eq!(
            scrape.sum(RESPONSES, &[("plugin", plugin)]),
            expected,
            "{plugin}"
        );
    }
}

#[test]
fn stale_answers_and_refreshes_are_counted() {
    let upstream = Upstream::start("a");
    let martlet = cached(
        &upstream,
        "cache {\nsuccess 100 1 1\nserve_stale 1h immediate\n}",
    );
    let client = martlet.client();
    client.ask("a.up.test.", "A");
    thread::sleep(Duration::from_millis(2_100));
    client.ask("a.up.test.", "A");
    let scrape = scrape_until(martlet.nth_port(2), |now| {
        now.sum("coredns_cache_prefetch_total", &[]) == 1.0
    });
    assert_eq!(scrape.sum("coredns_cache_served_stale_total", &[]), 1.0);
    assert_eq!(scrape.sum("coredns_cache_hits_total", &[]), 1.0);
    // A refresh is nobody's request.
    assert!(
        wait_until(Duration::from_secs(5), || (upstream.count("a.up.test.")
            == 2)
            .then_some(()))
        .is_some()
    );
    thread::sleep(Duration::from_millis(200));
    assert_eq!(Scrape::of(martlet.nth_port(2)).sum(RESPONSES, &[]), 2.0);
}

#[test]
fn exchanges_with_upstreams_are_counted_by_code() {
    let upstream = Upstream::start("a");
    let martlet = serve(&forward(&[upstream.address()], "max_fails 0"));
    let client = martlet.client();
    for name in [
        "a.up.test.",
        "both.up.test.",
        "nothing.up.test.",
        "servfail.up.test.",
    ] {
        client.ask(name, "A");
    }
    client.ask_tcp("a.up.test.", "A");
    client.ask_tcp("a.up.test.", "A");
    let to = upstream.address().to_string();
    let scrape = scrape_until(martlet.nth_port(2), |now| now.sum(RESPONSES, &[]) >= 6.0);
    let of_server = [("proxy_name", "forward"), ("to", &*to)];
    for (rcode, expected) in [("NOERROR", 4.0), ("NXDOMAIN", 1.0), ("SERVFAIL", 1.0)] {
        let labels = [&of_server[..], &[("rcode", rcode)]].concat();
        let found = scrape.sum("coredns_proxy_request_duration_seconds_count", &labels);
        assert_eq!(found, expected, "{rcode}");
        let found = scrape.sum(RESPONSES, &[("plugin", "forward"), ("rcode", rcode)]);
        assert_eq!(found, expected, "{rcode}");
    }
    let connections = |name: &str, proto| {
        let labels = [&of_server[..], &[("proto", proto)]].concat();
        scrape.sum(&format!("coredns_proxy_conn_cache_{name}_total"), &labels)
    };
    assert_eq!(connections("misses", "tcp"), 1.0);
    assert_eq!(connections("hits", "tcp"), 1.0);
    assert_eq!(
        connections("misses", "udp") + connections("hits", "udp"),
        4.0
    );
    assert!(connections("misses", "udp") >= 1.0);
}

#[test]
fn failures_of_upstreams_are_counted() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let to = silent.local_addr().expect("it is bound");
    let options = "max_fails 1\nhealth_check 50ms\nread_timeout 200ms";
    let martlet = serve(&forward(&[to], options));
    let client = Client {
        patience: Duration::from_secs(8),
        ..martlet.client()
    };
    client.ask("a.test.", "A");
    let address = to.to_string();
    let failures = [("proxy_name", "forward"), ("to", &*address)];
    let failed = |now: &Scrape| now.sum("coredns_proxy_healthcheck_failures_total", &failures);
    scrape_until(martlet.nth_port(2), |now| failed(now) >= 2.0);
    client.ask("b.test.", "A");
    let broken = "coredns_forward_healthcheck_broken_total";
    scrape_until(martlet.nth_port(2), |now| now.sum(broken, &[]) >= 1.0);
}

#[test]
fn what_is_too_much_for_an_upstream_is_counted() {
    let upstream = Upstream::start("a");
    upstream.misbehave("*", Fault::Late(Duration::from_secs(1)));
    let martlet = serve(&forward(
        &[upstream.address()],
        "max_concurrent 1\nmax_fails 0",
    ));
    let server = martlet.client().server;
    let sockets: Vec<_> = (0..4)
        .map(|n| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            let query = Query::new(&format!("n{n}.wild.test."), "A").wire(n);
            socket.send_to(&query, server).expect("loopback takes it");
            socket
        })
        .collect();
    let rejects = "coredns_forward_max_concurrent_rejects_total";
    let scrape = scrape_until(martlet.nth_port(2), |now| now.sum(RESPONSES, &[]) >= 4.0);
    assert_eq!(scrape.sum(rejects, &[]), 3.0);
    let refused = [("rcode", "REFUSED"), ("plugin", "")];
    assert_eq!(scrape.sum(RESPONSES, &refused), 3.0);
    // The one that was let through took its second.
    let within = |le| {
        let bucket = "coredns_dns_request_duration_seconds_bucket";
        scrape.sum(bucket, &[("zone", "."), ("le", le)])
    };
    assert_eq!((within("0.512"), within("+Inf")), (3.0, 4.0));
    drop(sockets);
}

#[test]
fn the_slow_path_tells_its_backend_and_its_depth() {
    let upstream = Upstream::start("a");
    upstream.misbehave("*", Fault::Late(Duration::from_millis(1_500)));
    let martlet = serve(&forward(&[upstream.address()], "max_fails 0"));
    let log = martlet.log();
    let scrape = Scrape::of(martlet.nth_port(2));
    let mut chosen = 0.0;
    for backend in ["io_uring", "epoll"] {
        let said = log.contains(&format!("upstreams are asked through {backend}"));
        let found = scrape.sum("martlet_slow_path_backend", &[("backend", backend)]);
        assert_eq!(found, f64::from(u8::from(said)), "{backend}: {log}");
        chosen += found;
    }
    assert_eq!(chosen, 1.0);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for n in 0..3 {
        let query = Query::new(&format!("n{n}.wild.test."), "A").wire(n);
        socket
            .send_to(&query, martlet.client().server)
            .expect("loopback takes it");
    }
    let running = |now: &Scrape| now.sum("martlet_slow_path_running", &[]);
    scrape_until(martlet.nth_port(2), |now| running(now) == 3.0);
    let done = scrape_until(martlet.nth_port(2), |now| running(now) == 0.0);
    assert_eq!(done.sum("martlet_slow_path_queries_total", &[]), 3.0);
    assert_eq!(done.sum("martlet_slow_path_shed_total", &[]), 0.0);
}

/// More queries than the slow path takes, to an upstream that says nothing.
#[test]
fn shed_queries_are_counted() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let to = silent.local_addr().expect("it is bound");
    let martlet = serve(&forward(&[to], "max_fails 0"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(martlet.client().server).expect("loopback");
    let shed = |now: &Scrape| now.sum("martlet_slow_path_shed_total", &[]);
    let mut sent = 0_u32;
    let found = wait_until(Duration::from_secs(30), || {
        for _ in 0..2_000 {
            let name = format!("n{sent}.wild.test.");
            let query = Query::new(&name, "A").with_edns(Edns::default());
            // A full buffer loses queries; there are enough of them.
            let _ = socket.send(&query.wire(sent as u16));
            sent += 1;
        }
        (shed(&Scrape::of(martlet.nth_port(2))) > 0.0).then_some(())
    });
    assert!(found.is_some(), "{sent} queries, and none was shed");
    let scrape = scrape_until(martlet.nth_port(2), |now| {
        let failed = now.sum(RESPONSES, &[("rcode", "SERVFAIL"), ("plugin", "")]);
        failed >= shed(now)
    });
    let received = scrape.sum("martlet_messages_received_total", &[]);
    assert!(shed(&scrape) < received);
}
