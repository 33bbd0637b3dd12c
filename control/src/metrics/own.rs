//! What control counts itself. Unlike the engine's counts these are few and far between, so they
//! are ordinary metrics, one set a process.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};

/// The process's metrics.
pub static OWN: LazyLock<Own> = LazyLock::new(Own::new);

/// Metrics of control.
pub struct Own {
    registry: Registry,
    /// `coredns_panics_total`.
    pub panics: IntCounter,
    /// `coredns_health_request_duration_seconds`.
    pub health_duration: Histogram,
    /// `coredns_health_request_failures_total`.
    pub health_failures: IntCounter,
    /// `coredns_reload_failed_total`.
    pub reload_failures: IntCounter,
    /// `coredns_reload_version_info`, by `hash` and `value`.
    pub reload_version: IntGaugeVec,
    /// `coredns_kubernetes_dns_programming_duration_seconds`, by `service_kind`.
    pub dns_programming: HistogramVec,
    /// `martlet_kubernetes_snapshot_served`.
    pub snapshots_served: IntGauge,
    /// `martlet_kubernetes_snapshot_saved_timestamp_seconds`.
    pub snapshot_saved: IntGauge,
    /// `martlet_kubernetes_snapshot_failures_total`.
    pub snapshot_failures: IntCounter,
    /// `coredns_kubernetes_rest_client_requests_total`, by `code`, `method` and `host`.
    pub rest_requests: IntCounterVec,
    /// `coredns_kubernetes_rest_client_request_duration_seconds`, by `verb` and `host`.
    pub rest_duration: HistogramVec,
    /// `coredns_kubernetes_rest_client_rate_limiter_duration_seconds`, by `verb` and `host`.
    pub rest_waits: HistogramVec,
    /// `martlet_kubernetes_watch_restarts_total`, by `resource`.
    pub watch_restarts: IntCounterVec,
    /// `martlet_kubernetes_publish_duration_seconds`.
    pub publish_duration: Histogram,
    /// `martlet_kubernetes_generation`.
    pub generation: IntCounter,
}

impl Own {
    fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help));
        Self {
            panics: counter(
                "coredns_panics_total",
                "A metrics that counts the number of panics.",
            ),
            health_duration: register(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "coredns_health_request_duration_seconds",
                        "Histogram of the time (in seconds) each request took.",
                    )
                    .buckets(powers(0.00025, 10.0, 5)),
                ),
            ),
            health_failures: counter(
                "coredns_health_request_failures_total",
                "The number of times the health check failed.",
            ),
            reload_failures: counter(
                "coredns_reload_failed_total",
                "Counter of the number of failed reload attempts.",
            ),
            reload_version: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "coredns_reload_version_info",
                        "A metric with a constant '1' value labeled by hash, and value which type of hash generated.",
                    ),
                    &["hash", "value"],
                ),
            ),
            dns_programming: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "coredns_kubernetes_dns_programming_duration_seconds",
                        "Histogram of the time (in seconds) it took to program a dns instance.",
                    )
                    .buckets(powers(0.001, 2.0, 20)),
                    &["service_kind"],
                ),
            ),
            snapshots_served: gauge(
                "martlet_kubernetes_snapshot_served",
                "Clusters that are answered from a snapshot, the API server not having been heard.",
            ),
            snapshot_saved: gauge(
                "martlet_kubernetes_snapshot_saved_timestamp_seconds",
                "When a snapshot was last written, in Unix seconds; 0 for not yet.",
            ),
            snapshot_failures: counter(
                "martlet_kubernetes_snapshot_failures_total",
                "Snapshots that could not be read or written.",
            ),
            rest_requests: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "coredns_kubernetes_rest_client_requests_total",
                        "Number of HTTP requests, partitioned by status code, method, and host.",
                    ),
                    &["code", "method", "host"],
                ),
            ),
            // With the buckets that Go's client has by default, and so has this crate.
            rest_duration: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "coredns_kubernetes_rest_client_request_duration_seconds",
                        "Request latency in seconds. Broken down by verb and host.",
                    ),
                    &["verb", "host"],
                ),
            ),
            rest_waits: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
                        "Client side rate limiter latency in seconds. Broken down by verb and host.",
                    ),
                    &["verb", "host"],
                ),
            ),
            watch_restarts: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "martlet_kubernetes_watch_restarts_total",
                        "Lists and watches that had fallen silent and were asked for anew.",
                    ),
                    &["resource"],
                ),
            ),
            publish_duration: register(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "martlet_kubernetes_publish_duration_seconds",
                        "From the arrival of a change until answers show it, with what came together \
                         with it.",
                    )
                    .buckets(powers(0.00001, 4.0, 10)),
                ),
            ),
            generation: counter(
                "martlet_kubernetes_generation",
                "How often the index was changed.",
            ),
            registry,
        }
    }

    /// All of them that have counted anything, or that need no labels.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("names, labels and buckets are constants");
    let added = registry.register(Box::new(metric.clone()));
    added.expect("each name is there once");
    metric
}

fn powers(first: f64, factor: f64, count: usize) -> Vec<f64> {
    exponential_buckets(first, factor, count).expect("positive constants")
}

/// Has panics counted and told. Somebody may have found a query that makes us panic each time: no
/// more than one a second is told, so that telling it is no help to them.
pub fn count_panics() {
    let before = std::panic::take_hook();
    LazyLock::force(&OWN);
    let start = Instant::now();
    let next = AtomicU64::new(0);
    std::panic::set_hook(Box::new(move |panic| {
        OWN.panics.inc();
        let now = start.elapsed().as_millis() as u64;
        let is_due = |next| (now >= next).then_some(now + 1_000);
        if next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_due)
            .is_ok()
        {
            before(panic);
        }
    }));
}
