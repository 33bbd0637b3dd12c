//! What two looks at a server's metrics tell together.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scrape::Scrape;

/// A server between two looks. Rates are per second.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Queries.
    pub(super) queries: f64,
    /// The time that half of the queries, and all but a hundredth, took at most; in seconds.
    pub(super) durations: Option<[f64; 2]>,
    /// Replies by response code, the most frequent first.
    pub(super) rcodes: Vec<(String, f64)>,
    /// Queries by type, likewise.
    pub(super) types: Vec<(String, f64)>,
    /// Replies by the plugin that answered, likewise.
    pub(super) plugins: Vec<(String, f64)>,
    /// Look-ups in caches.
    pub(super) cache_requests: f64,
    /// Those of them that found something.
    pub(super) cache_hits: f64,
    /// Entries in caches.
    pub(super) cache_entries: f64,
    /// What upstreams do, by address.
    pub(super) upstreams: Vec<UpstreamFigures>,
    /// Queries waiting for the slow path, in its hands; handed to it, shed.
    pub(super) slow: [f64; 4],
    /// Services, addresses and pods known.
    pub(super) cluster: [f64; 3],
    /// Whether the clusters are synced; `None` without a cluster.
    pub(super) is_synced: Option<bool>,
    /// For how long a part of a cluster could not be followed, in seconds.
    pub(super) data_age: f64,
    /// Whether a cluster is answered from a snapshot.
    pub(super) is_from_snapshot: bool,
    /// Queries of the busiest clients in about two minutes, the busiest first.
    pub(super) clients: Vec<(String, f64)>,
    /// Likewise for the busiest names.
    pub(super) names: Vec<(String, f64)>,
    /// Likewise for names outside of the cluster that search lists look for in it.
    pub(super) misses: Vec<(String, f64)>,
    /// Octets of memory.
    pub(super) memory: f64,
    /// Cores in use.
    pub(super) cores: f64,
}

/// One upstream between two looks.
#[derive(Debug)]
pub(super) struct UpstreamFigures {
    /// Its address.
    pub(super) to: String,
    /// Replies.
    pub(super) replies: f64,
    /// Those of them that are SERVFAIL.
    pub(super) failures: f64,
    /// The mean time that a reply took, in seconds.
    pub(super) latency: Option<f64>,
    /// Probes that failed: the upstream is, or was, taken for down.
    pub(super) failed_probes: f64,
}

const DURATION_BUCKETS: &str = "coredns_dns_request_duration_seconds_bucket";
const PROXY_SUM: &str = "coredns_proxy_request_duration_seconds_sum";
const PROXY_COUNT: &str = "coredns_proxy_request_duration_seconds_count";
const PROXY_FAILURES: &str = "coredns_proxy_healthcheck_failures_total";

impl Figures {
    /// What happened from `old` to `new`, `elapsed` later. What has shrunk counts as nothing: the
    /// server was started again.
    pub(super) fn between(old: &Scrape, new: &Scrape, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
        let rate = |name| (new.sum(name) - old.sum(name)).max(0.0) / seconds;
        let growth = |name, label| growth(old, new, name, label);
        let rates = |name, label| {
            let mut rates = growth(name, label)
                .into_iter()
                .filter(|(_, grown)| *grown > 0.0)
                .map(|(value, grown)| (value, grown / seconds))
                .collect::<Vec<_>>();
            rates.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            rates
        };
        let mut buckets = growth(DURATION_BUCKETS, "le")
            .into_iter()
            .filter_map(|(bound, count)| Some((go_float(&bound)?, count)))
            .collect::<Vec<_>>();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let median = quantile(&buckets, 0.5);
        Self {
            queries: rate("coredns_dns_requests_total"),
            durations: median.zip(quantile(&buckets, 0.99)).map(Into::into),
            rcodes: rates("coredns_dns_responses_total", "rcode"),
            types: rates("coredns_dns_requests_total", "type"),
            plugins: rates("coredns_dns_responses_total", "plugin"),
            cache_requests: rate("coredns_cache_requests_total"),
            cache_hits: rate("coredns_cache_hits_total"),
            cache_entries: new.sum("coredns_cache_entries"),
            upstreams: upstreams(old, new, seconds),
            slow: [
                new.sum("martlet_slow_path_waiting"),
                new.sum("martlet_slow_path_running"),
                rate("martlet_slow_path_queries_total"),
                rate("martlet_slow_path_shed_total"),
            ],
            cluster: [
                new.sum("martlet_kubernetes_services"),
                new.sum("martlet_kubernetes_addresses"),
                new.sum("martlet_kubernetes_pods"),
            ],
            is_synced: new
                .by("martlet_kubernetes_synced", "")
                .values()
                .next()
                .map(|synced| *synced > 0.0),
            data_age: new.sum("martlet_kubernetes_data_age_seconds"),
            is_from_snapshot: new.sum("martlet_kubernetes_snapshot_served") > 0.0,
            clients: busiest(new, "martlet_top_clients_queries", "client"),
            names: busiest(new, "martlet_top_names_queries", "name"),
            misses: busiest(new, "martlet_top_search_misses", "name"),
            memory: new.sum("process_resident_memory_bytes"),
            cores: rate("process_cpu_seconds_total"),
        }
    }

    /// The part of the look-ups in caches that found something, from 0 to 1.
    pub(super) fn hit_ratio(&self) -> Option<f64> {
        (self.cache_requests > 0.0).then(|| self.cache_hits / self.cache_requests)
    }
}

/// A gauge by a label, the largest first. A client that is known to be a pod goes by its name.
fn busiest(scrape: &Scrape, name: &str, label: &str) -> Vec<(String, f64)> {
    let mut all = scrape
        .each(name)
        .map(|(labels, value)| {
            let of = |label: &str| labels.get(label).map_or("", String::as_str);
            let text = match of("pod") {
                "" => of(label).to_owned(),
                pod => format!("{}/{pod}", of("namespace")),
            };
            (text, value)
        })
        .collect::<Vec<_>>();
    all.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    all
}

/// How much a metric has grown, by a label.
fn growth(old: &Scrape, new: &Scrape, name: &str, label: &str) -> BTreeMap<String, f64> {
    let before = old.by(name, label);
    let now = new.by(name, label).into_iter();
    now.map(|(value, count)| {
        let grown = count - before.get(value).copied().unwrap_or_default();
        (value.to_owned(), grown.max(0.0))
    })
    .collect()
}

fn upstreams(old: &Scrape, new: &Scrape, seconds: f64) -> Vec<UpstreamFigures> {
    let [sums, counts] = [PROXY_SUM, PROXY_COUNT].map(|name| growth(old, new, name, "to"));
    let failures = growth_of(old, new, ("rcode", "SERVFAIL"));
    let probes = new.by(PROXY_FAILURES, "to");
    let failed = |to: &str| probes.get(to).copied().unwrap_or_default();
    let known = probes.keys().map(|to| (*to).to_owned());
    let all = counts.keys().cloned().chain(known);
    let all = all.collect::<std::collections::BTreeSet<_>>();
    all.into_iter()
        .map(|to| {
            let count = counts.get(&to).copied().unwrap_or_default();
            let sum = sums.get(&to).copied().unwrap_or_default();
            UpstreamFigures {
                replies: count / seconds,
                failures: failures.get(&to).copied().unwrap_or_default() / seconds,
                latency: (count > 0.0).then(|| sum / count),
                failed_probes: failed(&to),
                to,
            }
        })
        .collect()
}

/// How many replies of one kind came from each upstream.
fn growth_of(old: &Scrape, new: &Scrape, kind: (&str, &str)) -> BTreeMap<String, f64> {
    let before = old.by_where(PROXY_COUNT, "to", kind);
    let now = new.by_where(PROXY_COUNT, "to", kind).into_iter();
    now.map(|(to, count)| {
        let grown = count - before.get(to).copied().unwrap_or_default();
        (to.to_owned(), grown.max(0.0))
    })
    .collect()
}

/// A bucket's bound; Go writes infinity as `+Inf`.
fn go_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// The value below which a part of what was counted lies, as Prometheus reckons it: evenly spread
/// inside a bucket. `buckets` are cumulative, by their upper bounds.
fn quantile(buckets: &[(f64, f64)], part: f64) -> Option<f64> {
    let total = buckets.last().map(|(_, count)| *count)?;
    if total <= 0.0 {
        return None;
    }
    let rank = part * total;
    let place = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (upper, count) = buckets[place];
    let (lower, below) = place.checked_sub(1).map_or((0.0, 0.0), |at| buckets[at]);
    if upper.is_infinite() {
        return Some(lower);
    }
    Some(lower + (upper - lower) * (rank - below) / (count - below).max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_ratios_and_quantiles() {
        let old = Scrape::parse(
            "coredns_dns_requests_total{type=\"A\"} 100\n\
             coredns_dns_requests_total{type=\"SRV\"} 900\n\
             coredns_cache_requests_total 10\ncoredns_cache_hits_total{type=\"success\"} 4\n\
             coredns_dns_request_duration_seconds_bucket{le=\"0.001\"} 5\n\
             coredns_dns_request_duration_seconds_bucket{le=\"+Inf\"} 5\n\
             coredns_proxy_request_duration_seconds_count{to=\"a\",rcode=\"NOERROR\"} 1\n\
             coredns_proxy_request_duration_seconds_sum{to=\"a\",rcode=\"NOERROR\"} 0.5\n",
        );
        let new = Scrape::parse(
            "coredns_dns_requests_total{type=\"A\"} 160\n\
             coredns_dns_requests_total{type=\"SRV\"} 20\n\
             coredns_cache_requests_total 20\ncoredns_cache_hits_total{type=\"success\"} 9\n\
             coredns_dns_request_duration_seconds_bucket{le=\"0.001\"} 55\n\
             coredns_dns_request_duration_seconds_bucket{le=\"0.002\"} 50\n\
             coredns_dns_request_duration_seconds_bucket{le=\"+Inf\"} 105\n\
             coredns_proxy_request_duration_seconds_count{to=\"a\",rcode=\"NOERROR\"} 3\n\
             coredns_proxy_request_duration_seconds_sum{to=\"a\",rcode=\"NOERROR\"} 0.7\n\
             coredns_proxy_request_duration_seconds_count{to=\"a\",rcode=\"SERVFAIL\"} 2\n\
             coredns_proxy_request_duration_seconds_sum{to=\"a\",rcode=\"SERVFAIL\"} 0.2\n\
             coredns_proxy_healthcheck_failures_total{to=\"b\"} 3\n\
             martlet_kubernetes_synced 1\nmartlet_kubernetes_data_age_seconds 7\n\
             martlet_kubernetes_snapshot_served 1\n\
             martlet_top_clients_queries{client=\"10.0.0.1\",namespace=\"\",pod=\"\"} 64\n\
             martlet_top_clients_queries{client=\"10.0.0.2\",namespace=\"shop\",pod=\"cart-1\"} 128\n",
        );
        let figures = Figures::between(&old, &new, Duration::from_secs(2));
        // Shrunk rows count as nothing.
        assert_eq!(figures.types, [("A".to_owned(), 30.0)]);
        assert_eq!(figures.hit_ratio(), Some(0.5));
        let [half, most] = figures.durations.unwrap();
        assert!((half - 0.001).abs() < 1e-9, "{half}");
        assert!((most - 0.002).abs() < 1e-9, "{most}");
        let [a, b] = &*figures.upstreams else {
            panic!("{:?}", figures.upstreams)
        };
        assert_eq!((&*a.to, a.replies, a.failures), ("a", 2.0, 1.0));
        assert!((a.latency.unwrap() - 0.1).abs() < 1e-9);
        assert_eq!((&*b.to, b.latency, b.failed_probes), ("b", None, 3.0));
        assert_eq!(figures.is_synced, Some(true));
        assert_eq!((figures.data_age, figures.is_from_snapshot), (7.0, true));
        let clients = [("shop/cart-1", 128.0), ("10.0.0.1", 64.0)];
        assert_eq!(
            figures.clients,
            clients.map(|(of, count)| (of.to_owned(), count))
        );
        assert_eq!(
            Figures::between(&new, &new, Duration::from_secs(1)).durations,
            None
        );
    }
}
