//! `prometheus`: what was asked is what is told, in CoreDNS's words.

mod busiest;
mod names;
mod upstreams;
mod views;
mod web;

use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use martlet_tests::dns::{Edns, Query};
use martlet_tests::{Client, Martlet, Scrape, Setup, http_get, run_binary, wait_until};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::fixtures::{cluster, manifest};

/// Scrapes until `enough` and until every query's duration is counted, which comes last: what is
/// counted right behind a reply may not be there yet when the client looks, or only half of it.
fn scrape_until(port: u16, enough: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut last = None;
    let found = wait_until(Duration::from_secs(5), || {
        let scrape = Scrape::of(port);
        let is_whole = scrape.sum(REQUESTS, &[]) == scrape.sum(DURATIONS, &[]);
        let is_enough = is_whole && enough(&scrape);
        last = Some(scrape);
        // This one may have read the first counts before they were written and the last ones after.
        is_enough.then(|| Scrape::of(port))
    });
    found.unwrap_or_else(|| panic!("{:#?}", last.expect("it scraped at least once").samples))
}

/// The counts once the queries are in them by which the server was found to be up.
fn settled(martlet: &Martlet) -> Scrape {
    let port = martlet.nth_port(2);
    let found = wait_until(Duration::from_secs(5), || {
        let [one, other] = [0, 100].map(|pause| {
            thread::sleep(Duration::from_millis(pause));
            Scrape::of(port)
        });
        let [now, then] = [&one, &other].map(|scrape| scrape.sum(RECEIVED, &[]));
        (then > 0.0 && now == then).then_some(other)
    });
    found.expect("counts that come to rest")
}

const RECEIVED: &str = "martlet_messages_received_total";
const REQUESTS: &str = "coredns_dns_requests_total";
const RESPONSES: &str = "coredns_dns_responses_total";
const DURATIONS: &str = "coredns_dns_request_duration_seconds_count";

fn start() -> Martlet {
    let block = |zone: &str, rest: &str| format!("{zone}:{{PORT}} {{\n    {rest}\n}}\n");
    let kubernetes = "kubernetes cluster.local {\n        manifests cluster.yaml\n    }\n    prometheus :{PORT2}";
    let corefile = [
        block("cluster.local", kubernetes),
        block("monitored.test", "prometheus :{PORT2}\n    whoami"),
        block("silent.test", "whoami"),
    ];
    Setup::new(&corefile.concat())
        .file("cluster.yaml", &manifest(&cluster()))
        .start()
}

/// What the status page draws is there to be drawn.
#[test]
fn the_status_page_knows_the_metrics() {
    let corefile = ".:{PORT} {\n    prometheus :{PORT2}\n    cache\n    kubernetes cluster.local {\n        \
                    manifests cluster.yaml\n    }\n    forward . 127.0.0.1:1\n}\n";
    let martlet = Setup::new(corefile)
        .file("cluster.yaml", &manifest(&cluster()))
        .start();
    busiest::ask(&martlet);
    let (head, page) = http_get(martlet.nth_port(2), "/");
    assert!(head.contains("content-type: text/html"), "{head}");
    let told = Scrape::of(martlet.nth_port(2));
    let words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words
        .filter(|word| {
            ["coredns_", "martlet_", "process_"]
                .iter()
                .any(|of| word.starts_with(of))
        })
        .collect::<std::collections::BTreeSet<_>>();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        // Some are counted from the first reply of an upstream on.
        let is_there = told
            .samples
            .iter()
            .any(|sample| sample.name.starts_with(name));
        let comes_later = name.starts_with("coredns_proxy_request_duration");
        assert!(is_there || comes_later, "{name}");
    }
}

#[test]
fn queries_are_counted_by_all_their_labels() {
    let martlet = start();
    let server = format!("dns://:{}", martlet.port());
    let before = settled(&martlet);
    let mut clients = vec![("1", martlet.client())];
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        let six = SocketAddr::from((Ipv6Addr::LOCALHOST, martlet.port()));
        clients.push(("2", Client::new(six)));
    }
    let web = "web.shop.svc.cluster.local.";
    // The name, types to ask for, the zone and plugin and code that it is counted under.
    let cases = [
        (web, "A", "A", "cluster.local.", "NOERROR", "kubernetes"),
        (
            web,
            "AAAA",
            "AAAA",
            "cluster.local.",
            "NOERROR",
            "kubernetes",
        ),
        (web, "SRV", "SRV", "cluster.local.", "NOERROR", "kubernetes"),
        (
            web,
            "HTTPS",
            "HTTPS",
            "cluster.local.",
            "NOERROR",
            "kubernetes",
        ),
        (
            web,
            "NAPTR",
            "other",
            "cluster.local.",
            "NOERROR",
            "kubernetes",
        ),
        (
            web,
            "TYPE999",
            "other",
            "cluster.local.",
            "NOERROR",
            "kubernetes",
        ),
        (
            "none.shop.svc.cluster.local.",
            "A",
            "A",
            "cluster.local.",
            "NXDOMAIN",
            "kubernetes",
        ),
        (
            "a.monitored.test.",
            "A",
            "A",
            "monitored.test.",
            "NOERROR",
            "whoami",
        ),
        ("elsewhere.test.", "TXT", "TXT", "dropped", "REFUSED", ""),
    ];
    let mut asked = 0.0;
    for (name, rtype, ..) in &cases {
        for (_, client) in &clients {
            for _ in 0..3 {
                client.ask(name, rtype);
            }
            client.ask_tcp(name, rtype);
            asked += 4.0;
        }
    }
    let after = scrape_until(martlet.nth_port(2), |now| {
        now.more(&before, RESPONSES, &[]) >= asked
    });
    assert_eq!(after.more(&before, RESPONSES, &[]), asked);
    assert_eq!(after.more(&before, REQUESTS, &[]), asked);
    for (name, _, label, zone, rcode, plugin) in cases {
        let same =
            |other: &&(&str, &str, &str, &str, &str, &str)| other.2 == label && other.3 == zone;
        let times = cases.iter().filter(same).count() as f64;
        let scope = [("server", &*server), ("zone", zone), ("view", "")];
        for (family, _) in &clients {
            for (proto, count) in [("udp", 3.0), ("tcp", 1.0)] {
                let way = [("family", *family), ("proto", proto), ("type", label)];
                let labels = [&scope[..], &way].concat();
                let found = after.more(&before, REQUESTS, &labels);
                assert_eq!(found, count * times, "{name}: {labels:?}");
            }
        }
        let same = |other: &&(&str, &str, &str, &str, &str, &str)| {
            (other.3, other.4, other.5) == (zone, rcode, plugin)
        };
        let times = cases.iter().filter(same).count() * clients.len() * 4;
        let labels = [&scope[..], &[("rcode", rcode), ("plugin", plugin)]].concat();
        let found = after.more(&before, RESPONSES, &labels);
        assert_eq!(found, times as f64, "{name}: {labels:?}");
    }
}

#[test]
fn blocks_without_prometheus_are_not_counted() {
    let martlet = start();
    let before = settled(&martlet);
    for name in ["a.silent.test.", "a.monitored.test."] {
        martlet.client().ask(name, "A");
        martlet.client().ask_tcp(name, "A");
    }
    let after = scrape_until(martlet.nth_port(2), |now| {
        now.more(&before, RESPONSES, &[]) >= 2.0
    });
    assert_eq!(after.more(&before, RESPONSES, &[]), 2.0);
    let of = |zone: &'static str| after.more(&before, REQUESTS, &[("zone", zone)]);
    assert_eq!((of("monitored.test."), of("silent.test.")), (2.0, 0.0));
    let enabled = |labels| after.sum("coredns_plugin_enabled", labels);
    assert_eq!(enabled(&[("zone", "silent.test.")]), 0.0);
    assert_eq!(
        enabled(&[("zone", "monitored.test."), ("name", "whoami")]),
        1.0
    );
    assert_eq!(
        enabled(&[("zone", "cluster.local."), ("name", "kubernetes")]),
        1.0
    );
    assert_eq!(enabled(&[("name", "prometheus")]), 2.0);
}

#[test]
fn what_cannot_be_read_is_not_a_request() {
    let martlet = start();
    let client = martlet.client();
    let before = settled(&martlet);
    let query = Query::new("web.shop.svc.cluster.local.", "A");
    let mut truncated = query.wire(7);
    truncated.truncate(20);
    assert_eq!(
        client.send_octets(&truncated).expect("a reply").rcode,
        "FORMERR"
    );
    let other_version = Edns {
        version: 1,
        ..Edns::default()
    };
    let reply = client.send(&query.clone().with_edns(other_version));
    assert_eq!(reply.expect("a reply").rcode, "BADVERS");
    // No question at all is what the server itself refuses, as it does other classes.
    let header = [0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        client.send_octets(&header).expect("a reply").rcode,
        "SERVFAIL"
    );
    let chaos = Query {
        class: 3,
        ..Query::new("version.bind.", "TXT")
    };
    assert_eq!(client.send(&chaos).expect("a reply").rcode, "REFUSED");
    let after = scrape_until(martlet.nth_port(2), |now| {
        now.more(&before, RESPONSES, &[]) >= 2.0 && now.more(&before, RECEIVED, &[]) >= 4.0
    });
    assert_eq!(after.more(&before, RESPONSES, &[]), 2.0);
    for (rtype, rcode) in [("other", "SERVFAIL"), ("TXT", "REFUSED")] {
        let zone = ("zone", "dropped");
        assert_eq!(after.more(&before, REQUESTS, &[zone, ("type", rtype)]), 1.0);
        assert_eq!(
            after.more(&before, RESPONSES, &[zone, ("rcode", rcode)]),
            1.0
        );
    }
    let received = after.more(&before, RECEIVED, &[]);
    assert_eq!(received, 4.0);
}

#[test]
fn histograms_have_the_buckets_of_coredns() {
    const SIZES: &str = "0 100 200 300 400 511 1023 2047 4095 8291 16000 32000 48000 64000 +Inf";
    const TIMES: &str = "0.00025 0.0005 0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 \
                         1.024 2.048 4.096 8.192 +Inf";
    let martlet = start();
    let before = settled(&martlet);
    let dnssec = Edns {
        flags: 0x8000,
        ..Edns::default()
    };
    let query = Query::new("a.monitored.test.", "A").with_edns(dnssec);
    let len = query.wire(1).len() as f64;
    for _ in 0..5 {
        martlet.client().send(&query).expect("a reply");
    }
    let zone = ("zone", "monitored.test.");
    let after = scrape_until(martlet.nth_port(2), |now| {
        now.more(&before, DURATIONS, &[zone]) >= 5.0
    });
    for (family, buckets) in [
        ("coredns_dns_request_duration_seconds", TIMES),
        ("coredns_dns_request_size_bytes", SIZES),
        ("coredns_dns_response_size_bytes", SIZES),
    ] {
        assert_eq!(after.types[family], "histogram");
        let of_zone = after.samples.iter().filter(|sample| {
            sample.name == format!("{family}_bucket") && sample.labels["zone"] == zone.1
        });
        let found: Vec<_> = of_zone
            .map(|s| (s.labels["le"].as_str(), s.value))
            .collect();
        let bounds: Vec<_> = found.iter().map(|(bound, _)| *bound).collect();
        assert_eq!(bounds.join(" "), buckets, "{family}");
        assert!(found.is_sorted_by(|a, b| a.1 <= b.1), "{found:?}");
        assert_eq!(found.last().expect("+Inf").1, 5.0);
        assert_eq!(
            after.more(&before, &format!("{family}_count"), &[zone]),
            5.0
        );
    }
    let sum = after.more(&before, "coredns_dns_request_size_bytes_sum", &[zone]);
    assert_eq!(sum, 5.0 * len);
    let seconds = after.more(&before, "coredns_dns_request_duration_seconds_sum", &[zone]);
    assert!(seconds > 0.0 && seconds < 30.0, "{seconds}");
    let with_do = after.more(&before, "coredns_dns_do_requests_total", &[zone]);
    assert_eq!(with_do, 5.0);
}

#[test]
fn an_address_in_use_is_named_with_its_place() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    for directive in ["prometheus", "health", "ready"] {
        let dir = TempDir::new().expect("the temporary directory is writable");
        let corefile =
            format!(".:27353 {{\n    bind 127.0.0.1\n    {directive} {address}\n    whoami\n}}\n");
        std::fs::write(dir.path().join("Corefile"), corefile).expect("as before");
        let finished = run_binary(dir.path(), &["-conf", "Corefile"]);
        assert_eq!(finished.code, Some(1));
        let text = &finished.stderr;
        for word in ["Corefile:3:5: ", directive, &address.to_string(), "in use"] {
            assert!(text.contains(word), "`{word}` is not in: {text}");
        }
    }
}

#[test]
fn several_addresses_tell_the_same() {
    let block = |zone: &str, port: &str| {
        format!(
            "{zone}:{{PORT}} {{\n    bind 127.0.0.1\n    prometheus 127.0.0.1:{port}\n    whoami\n}}\n"
        )
    };
    let corefile = block("a.test", "{PORT2}") + &block("b.test", "{PORT3}");
    let martlet = Setup::new(&corefile).start();
    let before = settled(&martlet);
    for name in ["x.a.test.", "x.b.test."] {
        martlet.client().ask(name, "A");
    }
    let server = format!("dns://127.0.0.1:{}", martlet.port());
    for port in [2, 3] {
        for zone in ["a.test.", "b.test."] {
            let labels = [("zone", zone), ("server", &*server)];
            scrape_until(martlet.nth_port(port), |now| {
                now.more(&before, RESPONSES, &labels) == 1.0
            });
        }
    }
}

/// A change that is published is counted, and so is what each worker receives and loses.
#[test]
fn workers_and_the_index_tell_of_themselves() {
    let martlet = start();
    let client = martlet.client();
    for _ in 0..20 {
        client.ask("web.shop.svc.cluster.local.", "A");
    }
    let messages = "martlet_worker_messages_total";
    let told = scrape_until(martlet.nth_port(2), |now| now.sum(messages, &[]) >= 20.0);
    let workers = |family: &str| {
        let samples = told.samples.iter();
        samples.filter(|sample| sample.family == family).count()
    };
    let cores = thread::available_parallelism().expect("Linux tells").get();
    assert_eq!(workers(messages), cores);
    assert_eq!(workers("martlet_worker_socket_drops_total"), cores);
    assert!(told.sum("martlet_kubernetes_generation", &[]) > 0.0);
    let published = "martlet_kubernetes_publish_duration_seconds_count";
    assert!(told.sum(published, &[]) > 0.0);
}

/// What a worker that cannot keep up loses is told.
#[test]
fn datagrams_that_found_no_room_are_counted() {
    let martlet = start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let query = Query::new("web.shop.svc.cluster.local.", "A").wire(1);
    let drops = "martlet_worker_socket_drops_total";
    assert_eq!(Scrape::of(martlet.nth_port(2)).sum(drops, &[]), 0.0);
    martlet.process.signal(Signal::STOP);
    for _ in 0..50_000 {
        // The kernel has nowhere to put most of them.
        let _ = socket.send_to(&query, martlet.client().server);
    }
    martlet.process.signal(Signal::CONT);
    scrape_until(martlet.nth_port(2), |now| now.sum(drops, &[]) > 0.0);
}
