//! The names and labels of every `coredns_…` metric whose plugin martlet has, so that dashboards
//! and alerts made for CoreDNS find what they look for.

use std::process::Command;
use std::time::Duration;

use martlet_tests::dns::{Edns, Query};
use martlet_tests::{Client, FakeApi, Identity, Martlet, Scrape, Setup, Upstream, tools};
use serde_json::json;
use tempfile::TempDir;

use super::scrape_until;
use crate::fixtures::{becomes, cluster, slice};

/// Name, type, labels in alphabetical order; from the sources of CoreDNS 1.14.7.
const COREDNS: [(&str, &str, &str); 38] = [
    (
        "coredns_acl_allowed_requests_total",
        "counter",
        "server view",
    ),
    (
        "coredns_acl_blocked_requests_total",
        "counter",
        "server view zone",
    ),
    (
        "coredns_acl_dropped_requests_total",
        "counter",
        "server view zone",
    ),
    (
        "coredns_acl_filtered_requests_total",
        "counter",
        "server view zone",
    ),
    ("coredns_autopath_success_total", "counter", "server"),
    (
        "coredns_dns64_requests_translated_total",
        "counter",
        "server",
    ),
    ("coredns_hosts_entries", "gauge", "hostsfile"),
    ("coredns_hosts_reload_timestamp_seconds", "gauge", ""),
    ("coredns_build_info", "gauge", "goversion revision version"),
    (
        "coredns_template_matches_total",
        "counter",
        "class server type view zone",
    ),
    (
        "coredns_template_rr_failures_total",
        "counter",
        "class section server template type view zone",
    ),
    (
        "coredns_template_template_failures_total",
        "counter",
        "class section server template type view zone",
    ),
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
    ("coredns_reload_failed_total", "counter", ""),
    ("coredns_reload_version_info", "gauge", "hash value"),
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

/// Those that show once an upstream, the API server or an HTTPS client have been there.
const MORE: [(&str, &str, &str); 6] = [
    (
        "coredns_proxy_request_duration_seconds",
        "histogram",
        "proxy_name rcode to",
    ),
    (
        "coredns_kubernetes_dns_programming_duration_seconds",
        "histogram",
        "service_kind",
    ),
    (
        "coredns_kubernetes_rest_client_request_duration_seconds",
        "histogram",
        "host verb",
    ),
    (
        "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
        "histogram",
        "host verb",
    ),
    (
        "coredns_kubernetes_rest_client_requests_total",
        "counter",
        "code host method",
    ),
    (
        "coredns_dns_https_responses_total",
        "counter",
        "server status",
    ),
];

const PROCESS: [(&str, &str); 7] = [
    ("process_cpu_seconds_total", "counter"),
    ("process_max_fds", "gauge"),
    ("process_open_fds", "gauge"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_start_time_seconds", "gauge"),
    ("process_threads", "gauge"),
    ("process_virtual_memory_bytes", "gauge"),
];

/// The bounds of histograms whose buckets are not those of `coredns_dns_…`.
const BUCKETS: [(&str, &str); 5] = [
    (
        "coredns_health_request_duration_seconds",
        "0.00025 0.0025 0.025 0.25 2.5 +Inf",
    ),
    (
        "coredns_kubernetes_dns_programming_duration_seconds",
        "0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192 16.384 \
         32.768 65.536 131.072 262.144 524.288 +Inf",
    ),
    (
        "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
        GO_DEFAULT,
    ),
    (
        "coredns_kubernetes_rest_client_request_duration_seconds",
        GO_DEFAULT,
    ),
    (
        "coredns_proxy_request_duration_seconds",
        "0.00025 0.0005 0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 \
         8.192 +Inf",
    ),
];

/// What Go's client has for histograms that say nothing.
const GO_DEFAULT: &str = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf";

/// The bounds of a family's first histogram.
fn bounds(scrape: &Scrape, family: &str) -> String {
    let name = format!("{family}_bucket");
    let rows = scrape.samples.iter().filter(|sample| sample.name == name);
    let bounds = rows.map(|sample| sample.labels["le"].as_str());
    let mut all = bounds.collect::<Vec<_>>();
    if let Some(end) = all.iter().position(|bound| *bound == "+Inf") {
        all.truncate(end + 1);
    }
    all.join(" ")
}

/// A cluster behind an API server, an upstream, and listeners for UDP and HTTPS.
fn start(upstream: &Upstream, api: &FakeApi) -> (Martlet, TempDir) {
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let identity = Identity::new(&["dns.test", "127.0.0.1"]);
    let corefile = format!(
        ".:{{PORT}} {{
    bind 127.0.0.1
    errors
    log
    local
    any
    metadata
    cancel
    shed
    loadbalance
    cache
    health 127.0.0.1:{{PORT3}}
    loop
    kubernetes cluster.local {{
        kubeconfig {}
    }}
    prometheus 127.0.0.1:{{PORT2}}
    reload
    template IN TXT good.test {{
        answer \"{{{{ .Name }}}} 5 IN TXT x\"
    }}
    template ANY ANY odd.test {{
        answer \"{{{{ .Name }}}} 5 IN TXT x\"
        additional \"no record\"
    }}
    template IN TXT bad.test {{
        authority \"{{{{ index .Match 7 }}}}\"
    }}
    forward . {}
}}
plugins.test:{{PORT}} {{
    bind 127.0.0.1
    prometheus 127.0.0.1:{{PORT2}}
    dns64 {{
        allow_ipv4
    }}
    autopath search
    acl {{
        block type TXT net *
        filter type MX net *
        drop type SRV net *
    }}
    hosts hosts {{
        fallthrough
    }}
    file zone
}}
https://.:{{PORT4}} {{
    bind 127.0.0.1
    tls cert.pem key.pem
    whoami
}}
",
        kubeconfig.display(),
        upstream.address()
    );
    let martlet = Setup::new(&corefile)
        .file("cert.pem", identity.certificate_pem())
        .file("key.pem", identity.key_pem())
        .file("hosts", "10.0.0.8 host.plugins.test\n")
        .file("search", "search one.plugins.test two.plugins.test\n")
        .file("zone", ZONE)
        .start();
    (martlet, dir)
}

const ZONE: &str = "@ 60 IN SOA ns hostmaster 1 7200 1800 86400 60\nweb.two 60 IN A 10.0.0.9\n";

/// Asks what plugins count that have metrics of their own.
fn ask_plugins(client: Client) {
    for (name, rtype, rcode) in [
        ("host.plugins.test.", "TXT", "REFUSED"),
        ("host.plugins.test.", "MX", "NOERROR"),
        ("host.plugins.test.", "AAAA", "NOERROR"),
        ("web.one.plugins.test.", "A", "NOERROR"),
    ] {
        assert_eq!(client.ask(name, rtype).rcode, rcode, "{name} {rtype}");
    }
    let hasty = Client {
        patience: Duration::from_millis(200),
        ..client
    };
    let dropped = hasty.send(&Query::new("host.plugins.test.", "SRV"));
    assert!(dropped.is_none(), "{dropped:?}");
}

#[test]
fn names_and_labels_are_those_of_coredns() {
    let upstream = Upstream::start("a");
    let api = FakeApi::start(cluster());
    let (martlet, _kubeconfig) = start(&upstream, &api);
    let client = martlet.client();
    let dnssec = Edns {
        flags: 0x8000,
        ..Edns::default()
    };
    let query = Query::new("a.up.test.", "A").with_edns(dnssec);
    client.send(&query).expect("a reply");
    ask_plugins(client);
    for (name, rcode) in [
        ("good.test.", "NOERROR"),
        ("odd.test.", "SERVFAIL"),
        ("bad.test.", "SERVFAIL"),
    ] {
        assert_eq!(client.ask(name, "TXT").rcode, rcode, "{name}");
    }
    // Endpoints that changed two seconds ago, as their annotation says.
    let mut changed = slice("shop", "db", &["10.244.0.77"]);
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(2);
    changed["metadata"]["annotations"] =
        json!({"endpoints.kubernetes.io/last-change-trigger-time": then.to_string()});
    api.upsert(changed);
    let (name, soon) = ("db.shop.svc.cluster.local.", Duration::from_secs(10));
    becomes(client, name, &["10.244.0.77"], soon);
    let has_curl = tools::available(&["curl"]);
    if has_curl {
        let url = format!("https://127.0.0.1:{}/elsewhere", martlet.nth_port(4));
        let output = Command::new("curl").args(["-sk", "-m", "5", &url]).output();
        assert!(output.expect("curl is installed").status.success());
    }
    let mut expected: Vec<_> = COREDNS.into_iter().chain(MORE).collect();
    expected.retain(|(name, ..)| has_curl || !name.contains("https"));
    let scrape = scrape_until(martlet.nth_port(2), |now| {
        let probes = now.sum("coredns_health_request_duration_seconds_count", &[]);
        probes >= 1.0
            && expected
                .iter()
                .all(|(name, ..)| now.types.contains_key(*name))
    });
    for (name, kind, labels) in &expected {
        assert_eq!(scrape.types[*name], *kind, "{name}");
        assert_eq!(scrape.labels(name).join(" "), *labels, "{name}");
    }
    for (name, expected) in BUCKETS {
        assert_eq!(bounds(&scrape, name), expected, "{name}");
    }
    for (name, kind) in PROCESS {
        assert_eq!(scrape.types[name], kind, "{name}");
        let value = scrape.sum(name, &[]);
        assert!(value > 0.0 || name.contains("cpu"), "{name}");
    }
    for name in scrape.types.keys() {
        let known = expected.iter().any(|(known, ..)| known == name);
        let ours = name.starts_with("martlet_") || name.starts_with("process_");
        assert!(known || ours, "{name} is not in the table");
    }
    tells(&scrape, martlet.nth_port(4));
    for plugin in [
        "prometheus",
        "errors",
        "log",
        "local",
        "any",
        "metadata",
        "cancel",
        "shed",
        "loadbalance",
        "cache",
        "loop",
        "kubernetes",
        "forward",
    ] {
        let labels = [("name", plugin), ("zone", ".")];
        let enabled = scrape.sum("coredns_plugin_enabled", &labels);
        assert_eq!(enabled, 1.0, "{plugin}");
    }
    for beside in ["health", "ready", "bind"] {
        let labels = [("name", beside)];
        assert_eq!(scrape.sum("coredns_plugin_enabled", &labels), 0.0);
    }
}

/// Values that follow from what was done.
fn tells(scrape: &Scrape, https_port: u16) {
    for (name, expected) in [
        ("coredns_health_request_failures_total", 0.0),
        ("coredns_panics_total", 0.0),
        ("martlet_kubernetes_services", 3.0),
        ("martlet_kubernetes_synced", 1.0),
        ("martlet_log_lines_lost_total", 0.0),
    ] {
        assert_eq!(scrape.sum(name, &[]), expected, "{name}");
    }
    for (name, labels) in [
        ("matches", &[("zone", "good.test."), ("class", "IN")][..]),
        ("matches", &[("zone", "odd.test."), ("type", "TXT")]),
        ("matches", &[("zone", "bad.test.")]),
        (
            "rr_failures",
            &[("section", "additional"), ("template", "no record")],
        ),
        (
            "template_failures",
            &[
                ("section", "authority"),
                ("template", "{{ index .Match 7 }}"),
            ],
        ),
    ] {
        let name = format!("coredns_template_{name}_total");
        assert_eq!(scrape.sum(&name, labels), 1.0, "{name} {labels:?}");
    }
    assert!(scrape.sum("martlet_kubernetes_addresses", &[]) >= 3.0);
    let programming = |part: &str| {
        let name = format!("coredns_kubernetes_dns_programming_duration_seconds_{part}");
        scrape.sum(&name, &[("service_kind", "headless_with_selector")])
    };
    // The first list is not counted.
    assert_eq!(programming("count"), 1.0);
    assert!((2.0..60.0).contains(&programming("sum")));
    let listed = [("code", "200"), ("method", "GET")];
    let requests = "coredns_kubernetes_rest_client_requests_total";
    assert!(scrape.sum(requests, &listed) >= 3.0);
    let server = format!("https://127.0.0.1:{https_port}");
    let not_found = [("server", &*server), ("status", "404")];
    let responses = "coredns_dns_https_responses_total";
    assert_eq!(
        scrape.sum(responses, &not_found),
        scrape.sum(responses, &[])
    );
}
