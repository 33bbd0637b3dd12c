//! The engine's counts as metric families.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use martlet_engine::index::ClusterIndex;
use martlet_engine::metrics::{DurationTotals, Event, Metrics, ScopeLabels, Totals, type_name};
use martlet_engine::net::io::Io;
use martlet_engine::plugins::cache::Kind;
use martlet_engine::server::Gauges;
use martlet_engine::slow::io::Backend;
use martlet_engine::upstream::{Carrier, Group, GroupCounters};

use super::family::{Families, Unit};
use super::{CacheRow, EnabledRow};

/// `coredns_dns_…` and the counts of plugins that have no labels of their own.
pub(super) fn queries(counts: &Metrics, families: &mut Families) {
    families.gauge(
        "coredns_build_info",
        "A metric with a constant '1' value labeled by version, revision, and goversion from which \
         the server was built.",
        &[
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", ""),
            ("goversion", ""),
        ],
        1.0,
    );
    let mut localhost = 0;
    for (labels, totals) in counts.totals() {
        localhost += totals.event(Event::Localhost);
        block(&labels, &totals, families);
    }
    families.counter(
        "coredns_local_localhost_requests_total",
        "Counter of special localhost subdomain requests.",
        &[],
        localhost,
    );
    for (server, status, count) in counts.https_responses() {
        if count > 0 {
            families.counter(
                "coredns_dns_https_responses_total",
                "Counter of DoH responses per server and http status code.",
                &[("server", &server), ("status", &status.to_string())],
                count,
            );
        }
    }
}

/// One server block, or what no block took. As in CoreDNS a row is there once it has counted.
fn block(labels: &ScopeLabels, totals: &Totals, families: &mut Families) {
    let [server, zone, view] = labels_of(labels);
    for (stream, ipv6, rtype, count) in totals.requests().filter(|(.., count)| *count > 0) {
        let family = if ipv6 { "2" } else { "1" };
        families.counter(
            "coredns_dns_requests_total",
            "Counter of DNS requests made per zone, protocol and family.",
            &[
                server,
                zone,
                view,
                ("proto", proto(stream)),
                ("family", family),
                ("type", type_name(rtype)),
            ],
            count,
        );
    }
    for (plugin, rcode, count) in totals.responses().filter(|(.., count)| *count > 0) {
        let (rcode, plugin) = (rcode_name(rcode), plugin.name());
        families.counter(
            "coredns_dns_responses_total",
            "Counter of response status codes.",
            &[server, zone, view, ("rcode", &rcode), ("plugin", plugin)],
            count,
        );
    }
    if totals.durations().count() > 0 {
        families.histogram(
            "coredns_dns_request_duration_seconds",
            "Histogram of the time (in seconds) each request took per zone.",
            &[server, zone, view],
            (Unit::Nanos, totals.durations()),
        );
    }
    if totals.do_requests() > 0 {
        families.counter(
            "coredns_dns_do_requests_total",
            "Counter of DNS requests with DO bit set per zone.",
            &[server, zone, view],
            totals.do_requests(),
        );
    }
    for stream in [false, true] {
        let sizes = totals.request_sizes(stream);
        if sizes.count() == 0 {
            continue;
        }
        let labels = [server, zone, view, ("proto", proto(stream))];
        families.histogram(
            "coredns_dns_request_size_bytes",
            "Size of the request in bytes per zone and protocol.",
            &labels,
            (Unit::Octets, sizes),
        );
        families.histogram(
            "coredns_dns_response_size_bytes",
            "Size of the returned response in bytes.",
            &labels,
            (Unit::Octets, totals.response_sizes(stream)),
        );
    }
}

/// The labels that most metrics begin with.
pub(super) fn labels_of(labels: &ScopeLabels) -> [(&'static str, &str); 3] {
    [
        ("server", &labels.server),
        ("zone", &labels.zone),
        ("view", &labels.view),
    ]
}

const fn proto(stream: bool) -> &'static str {
    if stream { "tcp" } else { "udp" }
}

/// The mnemonic of a response code as CoreDNS has it, if it has one.
fn rcode_mnemonic(rcode: usize) -> Option<&'static str> {
    const NAMES: [&str; 24] = [
        "NOERROR",
        "FORMERR",
        "SERVFAIL",
        "NXDOMAIN",
        "NOTIMP",
        "REFUSED",
        "YXDOMAIN",
        "YXRRSET",
        "NXRRSET",
        "NOTAUTH",
        "NOTZONE",
        "DSOTYPENI",
        "",
        "",
        "",
        "",
        "BADSIG",
        "BADKEY",
        "BADTIME",
        "BADMODE",
        "BADNAME",
        "BADALG",
        "BADTRUNC",
        "BADCOOKIE",
    ];
    match NAMES.get(rcode) {
        Some(&"") => None,
        Some(name) => Some(name),
        None => Some("other"),
    }
}

fn rcode_name(rcode: usize) -> String {
    match rcode_mnemonic(rcode) {
        Some(name) => name.to_owned(),
        None => format!("RCODE{rcode}"),
    }
}

/// `coredns_plugin_enabled`
pub(super) fn enabled(rows: &[EnabledRow], families: &mut Families) {
    for row in rows {
        families.gauge(
            "coredns_plugin_enabled",
            "A metric that indicates whether a plugin is enabled on per server and zone basis.",
            &[
                ("server", &row.server),
                ("zone", &row.zone),
                ("view", &row.view),
                ("name", row.plugin),
            ],
            1.0,
        );
    }
}

/// What one set of labels of `coredns_cache_…` stands for.
#[derive(Default)]
struct CacheSums {
    counted: [u64; 6],
    entries: [usize; 2],
    evictions: [usize; 2],
}

/// `coredns_cache_…`
pub(super) fn caches(rows: &[CacheRow], counts: &Metrics, families: &mut Families) {
    const EVENTS: [Event; 6] = [
        Event::CacheRequest,
        Event::CacheHitSuccess,
        Event::CacheHitDenial,
        Event::CacheMiss,
        Event::CachePrefetch,
        Event::CacheStale,
    ];
    const KINDS: [Kind; 2] = [Kind::Success, Kind::Denial];
    let totals = counts.totals();
    // Blocks of several zones share one cache, and so do its labels.
    let mut sums = BTreeMap::<[&str; 3], CacheSums>::new();
    let mut told = Vec::new();
    for row in rows {
        let sums = sums
            .entry([&row.server, &row.zones, &row.view])
            .or_default();
        let of_block = totals
            .iter()
            .find(|(labels, _)| labels.is(&row.server, &row.zone, &row.view));
        if let Some((_, totals)) = of_block {
            for (sum, event) in sums.counted.iter_mut().zip(EVENTS) {
                *sum += totals.event(event);
            }
        }
        let size = |kind| row.cache.table.len(kind);
        // What a cache holds, all its servers tell; what it threw out, one of them.
        sums.entries = KINDS.map(size);
        if !told.iter().any(|known| Arc::ptr_eq(known, &row.cache)) {
            told.push(Arc::clone(&row.cache));
            let evictions = KINDS.map(|kind| row.cache.table.evictions(kind));
            for (sum, evictions) in sums.evictions.iter_mut().zip(evictions) {
                *sum += evictions;
            }
        }
    }
    for ([server, zones, view], sums) in sums {
        let [server, zones, view] = [("server", server), ("zones", zones), ("view", view)];
        let [requests, successes, denials, misses, prefetches, stale] = sums.counted;
        for (name, help, value) in [
            (
                "coredns_cache_requests_total",
                "The count of cache requests.",
                requests,
            ),
            (
                "coredns_cache_misses_total",
                "The count of cache misses. Deprecated, derive misses from cache hits/requests \
                 counters.",
                misses,
            ),
            (
                "coredns_cache_prefetch_total",
                "The number of times the cache has prefetched a cached item.",
                prefetches,
            ),
            (
                "coredns_cache_served_stale_total",
                "The number of requests served from stale cache entries.",
                stale,
            ),
            (
                "coredns_cache_drops_total",
                "The number responses that are not cached, because the reply is malformed.",
                0,
            ),
        ] {
            families.counter(name, help, &[server, zones, view], value);
        }
        for (place, (kind, hits)) in [("success", successes), ("denial", denials)]
            .into_iter()
            .enumerate()
        {
            let labels = [server, zones, view, ("type", kind)];
            families.counter(
                "coredns_cache_hits_total",
                "The count of cache hits.",
                &labels,
                hits,
            );
            families.gauge(
                "coredns_cache_entries",
                "The number of elements in the cache.",
                &labels,
                sums.entries[place] as f64,
            );
            families.counter(
                "coredns_cache_evictions_total",
                "The count of cache evictions.",
                &labels,
                sums.evictions[place] as u64,
            );
        }
    }
}

/// `coredns_forward_…`, `coredns_proxy_…` and what CoreDNS's `forward` does not do.
pub(super) fn upstreams(groups: &[Arc<Group>], families: &mut Families) {
    let sum = |read: fn(&GroupCounters) -> &AtomicU64| -> u64 {
        let counts = groups.iter().map(|group| read(&group.counters));
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    };
    for (name, help, value) in [
        (
            "coredns_forward_healthcheck_broken_total",
            "Counter of the number of complete failures of the healthchecks.",
            sum(|counters| &counters.healthcheck_broken),
        ),
        (
            "coredns_forward_max_concurrent_rejects_total",
            "Counter of the number of queries rejected because the concurrent queries were at \
             maximum.",
            sum(|counters| &counters.max_concurrent_rejects),
        ),
        (
            "martlet_forward_hedged_total",
            "Second upstreams asked because the first was slower than usual.",
            sum(|counters| &counters.hedged),
        ),
        (
            "martlet_forward_shared_total",
            "Questions that shared the exchange of an identical one.",
            sum(|counters| &counters.shared),
        ),
    ] {
        families.counter(name, help, &[], value);
    }
    // One server may stand in several groups.
    let mut by_address = BTreeMap::<String, Vec<_>>::new();
    for upstream in groups.iter().flat_map(|group| &group.upstreams) {
        let of_address = by_address.entry(upstream.address.to_string()).or_default();
        of_address.push(upstream);
    }
    for (to, upstreams) in by_address {
        let [name, to] = [("proxy_name", "forward"), ("to", &*to)];
        let mut durations = BTreeMap::<usize, DurationTotals>::new();
        for (rcode, totals) in upstreams.iter().flat_map(|up| up.counters.durations()) {
            durations.entry(rcode).or_default().add(&totals);
        }
        for (rcode, totals) in durations {
            let rcode = rcode_mnemonic(rcode).map_or_else(|| rcode.to_string(), str::to_owned);
            families.histogram(
                "coredns_proxy_request_duration_seconds",
                "Histogram of the time each request took.",
                &[name, to, ("rcode", &rcode)],
                (Unit::Nanos, totals.histogram()),
            );
        }
        let failures = upstreams
            .iter()
            .map(|up| up.health.probe_failures.load(Ordering::Relaxed));
        families.counter(
            "coredns_proxy_healthcheck_failures_total",
            "Counter of the number of failed healthchecks.",
            &[name, to],
            failures.sum(),
        );
        families.counter(
            "martlet_proxy_forgeries_total",
            "Sockets given up because somebody tried to forge the upstream's replies.",
            &[name, to],
            upstreams.iter().map(|up| up.counters.forgeries()).sum(),
        );
        for carrier in Carrier::ALL {
            let counts = upstreams.iter().map(|up| up.counters.connections(carrier));
            let (reused, opened) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            if reused + opened == 0 {
                continue;
            }
            let labels = [name, to, ("proto", carrier.name())];
            families.counter(
                "coredns_proxy_conn_cache_hits_total",
                "Counter of connection cache hits per upstream and protocol.",
                &labels,
                reused,
            );
            families.counter(
                "coredns_proxy_conn_cache_misses_total",
                "Counter of connection cache misses per upstream and protocol.",
                &labels,
                opened,
            );
        }
    }
}

/// `martlet_slow_path_…` and what else the server as a whole tells.
pub(super) fn slow_path(gauges: &Gauges, families: &mut Families) {
    for io in Io::ALL {
        families.gauge(
            "martlet_worker_io",
            "How workers move datagrams: 1 for the way in use.",
            &[("io", io.name())],
            f64::from(u8::from(io == gauges.io())),
        );
    }
    let chosen = gauges.backend();
    for backend in [Backend::IoUring, Backend::Epoll] {
        families.gauge(
            "martlet_slow_path_backend",
            "What drives the sockets to upstreams: 1 for the one in use.",
            &[("backend", backend.name())],
            f64::from(u8::from(backend == chosen)),
        );
    }
    for (worker, tally) in gauges.workers().iter().enumerate() {
        families.counter(
            "martlet_worker_messages_total",
            "Datagrams that a worker has received.",
            &[("worker", &worker.to_string())],
            tally.received,
        );
    }
    for (worker, drops) in gauges.drops().into_iter().enumerate() {
        families.counter(
            "martlet_worker_socket_drops_total",
            "Datagrams that the kernel dropped because a worker's sockets had no room; begins anew \
             with the sockets.",
            &[("worker", &worker.to_string())],
            drops,
        );
    }
    let (waiting, running) = gauges.slow_depth();
    families.gauge(
        "martlet_slow_path_waiting",
        "Queries that wait for the slow path.",
        &[],
        waiting as f64,
    );
    families.gauge(
        "martlet_slow_path_running",
        "Queries that the slow path works on.",
        &[],
        running as f64,
    );
    let tally = gauges.tally();
    for (name, help, value) in [
        (
            "martlet_slow_path_queries_total",
            "Queries handed to the slow path, those that it had no room for included.",
            tally.slow,
        ),
        (
            "martlet_slow_path_shed_total",
            "Queries answered with SERVFAIL because the slow path had no room for them.",
            tally.shed,
        ),
        (
            "martlet_messages_received_total",
            "Messages received, malformed ones included.",
            tally.received,
        ),
        (
            "martlet_messages_ignored_total",
            "Messages that got no reply on purpose.",
            tally.dropped,
        ),
        (
            "martlet_replies_unsent_total",
            "Replies that the kernel refused to send.",
            tally.unsent,
        ),
    ] {
        families.counter(name, help, &[], value);
    }
}

/// `martlet_kubernetes_…`
pub(super) fn indexes(indexes: &[Arc<ClusterIndex>], families: &mut Families) {
    if indexes.is_empty() {
        return;
    }
    let mut sums = [0; 3];
    for index in indexes {
        let (services, addresses, pods) = index.sizes();
        for (sum, size) in sums.iter_mut().zip([services, addresses, pods]) {
            *sum += size;
        }
    }
    let [services, addresses, pods] = sums.map(|size| size as f64);
    for (name, help, value) in [
        (
            "martlet_kubernetes_services",
            "Services in the index.",
            services,
        ),
        (
            "martlet_kubernetes_addresses",
            "Addresses of Services and endpoints in the index.",
            addresses,
        ),
        (
            "martlet_kubernetes_pods",
            "Addresses of pods in the index; with `pods verified` only.",
            pods,
        ),
    ] {
        families.gauge(name, help, &[], value);
    }
    let synced = indexes.iter().all(|index| index.is_synced());
    families.gauge(
        "martlet_kubernetes_synced",
        "Whether the first complete lists of all clusters have arrived.",
        &[],
        f64::from(u8::from(synced)),
    );
    let age = indexes.iter().map(|index| index.age()).max();
    families.gauge(
        "martlet_kubernetes_data_age_seconds",
        "For how long a part of a cluster could not be followed; 0 while all of it is.",
        &[],
        age.unwrap_or_default().as_secs_f64(),
    );
}
