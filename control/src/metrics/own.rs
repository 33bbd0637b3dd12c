//! What control counts itself. Unlike the engine's counts these are few and far between, so they
//! are ordinary metrics, one set a process.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, Registry, exponential_buckets};

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
}

impl Own {
    fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help));
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

/// Has panics counted, besides what is done about them anyway.
pub fn count_panics() {
    let before = std::panic::take_hook();
    LazyLock::force(&OWN);
    std::panic::set_hook(Box::new(move |panic| {
        OWN.panics.inc();
        before(panic);
    }));
}
