//! The names and labels of every `coredns_…` metric whose plugin martlet has, so that dashboards
//! and alerts made for CoreDNS find what they look for.

use std::time::Duration;

use martlet_tests::dns::{Edns, Query};
use martlet_tests::{Scrape, Setup, Upstream, wait_until};

use crate::fixtures::{cluster, manifest};

/// Name, type, labels in alphabetical order; from the sources of CoreDNS 1.14.7.
const COREDNS: [(&str, &str, &str); 25] = [
    ("coredns_build_info", "gauge", "goversion revision version"),
    ("coredns_cache_drops_total", "counter", "server view zones"),
    ("coredns_cache_entries", "gauge", "server type view zones"),
    (
        "coredns_cache_evictions_total",
        "counter",
        "server type view zones",
    ),
    (
        "coredns_cache_hits_total",
        "counter",
        "server type view zones",
    ),
    ("coredns_cache_misses_total", "counter", "server view zones"),
    (
        "coredns_cache_prefetch_total",
        "counter",
        "server view zones",
    ),
    (
        "coredns_cache_requests_total",
        "counter",
        "server view zones",
    ),
    (
        "coredns_cache_served_stale_total",
        "counter",
        "server view zones",
    ),
    (
        "coredns_dns_do_requests_total",
        "counter",
        "server view zone",
    ),
    (
        "coredns_dns_request_duration_seconds",
        "histogram",
        "server view zone",
    ),
    (
        "coredns_dns_request_size_bytes",
        "histogram",
        "proto server view zone",
    ),
    (
        "coredns_dns_requests_total",
        "counter",
        "family proto server type view zone",
    ),
    (
        "coredns_dns_response_size_bytes",
        "histogram",
        "proto server view zone",
    ),
    (
        "coredns_dns_responses_total",
        "counter",
        "plugin rcode server view zone",
    ),
    ("coredns_forward_healthcheck_broken_total", "counter", ""),
    (
        "coredns_forward_max_concurrent_rejects_total",
        "counter",
        "",
    ),
    ("coredns_health_request_duration_seconds", "histogram", ""),
    ("coredns_health_request_failures_total", "counter", ""),
    ("coredns_local_localhost_requests_total", "counter", ""),
    ("coredns_panics_total", "counter", ""),
    ("coredns_plugin_enabled", "gauge", "name server view zone"),
    (
        "coredns_proxy_conn_cache_hits_total",
        "counter",
        "proto proxy_name to",
    ),
    (
        "coredns_proxy_conn_cache_misses_total",
        "counter",
        "proto proxy_name to",
    ),
    (
        "coredns_proxy_healthcheck_failures_total",
        "counter",
        "proxy_name to",
    ),
];

/// Histograms with one row a response code, and what needs TLS or the API server.
const MORE: [(&str, &str, &str); 1] = [(
    "coredns_proxy_request_duration_seconds",
    "histogram",
    "proxy_name rcode to",
)];

const PROCESS: [(&str, &str); 7] = [
    ("process_cpu_seconds_total", "counter"),
    ("process_max_fds", "gauge"),
    ("process_open_fds", "gauge"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_start_time_seconds", "gauge"),
    ("process_threads", "gauge"),
    ("process_virtual_memory_bytes", "gauge"),
];

#[test]
fn names_and_labels_are_those_of_coredns() {
    let upstream = Upstream::start("a");
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    errors\n    log\n    local\n    any\n    loadbalance\n    \
         cache\n    health 127.0.0.1:{{PORT3}}\n    loop\n    kubernetes cluster.local {{\n        \
         manifests cluster.yaml\n    }}\n    prometheus 127.0.0.1:{{PORT2}}\n    forward . {}\n}}\n",
        upstream.address()
    );
    let martlet = Setup::new(&corefile)
        .file("cluster.yaml", &manifest(&cluster()))
        .start();
    let dnssec = Edns {
        flags: 0x8000,
        ..Edns::default()
    };
    martlet
        .client()
        .send(&Query::new("a.up.test.", "A").with_edns(dnssec))
        .expect("a reply");
    let probed = wait_until(Duration::from_secs(10), || {
        let scrape = Scrape::of(martlet.nth_port(2));
        let probes = scrape.sum("coredns_health_request_duration_seconds_count", &[]);
        let done = probes >= 1.0 && scrape.types.contains_key(MORE[0].0);
        done.then_some(scrape)
    });
    let scrape = probed.expect("the server asks itself for its health");
    let expected: Vec<_> = COREDNS.into_iter().chain(MORE).collect();
    for (name, kind, labels) in &expected {
        assert_eq!(
            scrape.types.get(*name).map(String::as_str),
            Some(*kind),
            "{name}"
        );
        assert_eq!(scrape.labels(name).join(" "), *labels, "{name}");
    }
    for (name, kind) in PROCESS {
        assert_eq!(
            scrape.types.get(name).map(String::as_str),
            Some(kind),
            "{name}"
        );
        assert!(
            scrape.sum(name, &[]) > 0.0 || name.contains("cpu"),
            "{name}"
        );
    }
    for name in scrape.types.keys() {
        let known = expected.iter().any(|(known, ..)| known == name);
        let ours = name.starts_with("martlet_") || name.starts_with("process_");
        assert!(known || ours, "{name} is not in the table");
    }
    let failures = scrape.sum("coredns_health_request_failures_total", &[]);
    assert_eq!(failures, 0.0);
    for (name, expected) in [
        ("martlet_kubernetes_services", 3.0),
        ("martlet_kubernetes_synced", 1.0),
        ("martlet_log_lines_lost_total", 0.0),
    ] {
        assert_eq!(scrape.sum(name, &[]), expected, "{name}");
    }
    assert!(scrape.sum("martlet_kubernetes_addresses", &[]) >= 3.0);
    for plugin in [
        "prometheus",
        "errors",
        "log",
        "local",
        "any",
        "loadbalance",
        "cache",
        "loop",
        "kubernetes",
        "forward",
    ] {
        let labels = [("name", plugin), ("zone", ".")];
        assert_eq!(
            scrape.sum("coredns_plugin_enabled", &labels),
            1.0,
            "{plugin}"
        );
    }
    for side in ["health", "ready", "bind"] {
        assert_eq!(scrape.sum("coredns_plugin_enabled", &[("name", side)]), 0.0);
    }
}
