//! Metric families in the making: names, helps and rows, sorted as Go's client sorts them.

use std::collections::BTreeMap;

use martlet_engine::metrics::{DURATION_BUCKETS, Histogram, SIZE_BOUNDS};
use prometheus::proto;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

const NANOS: f64 = 1e9;

/// What the buckets of a histogram are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    /// Sizes in octets.
    Octets,
    /// Durations in nanoseconds, told in seconds.
    Nanos,
}

impl Unit {
    fn bound(self, bucket: usize) -> f64 {
        match self {
            Self::Octets => SIZE_BOUNDS[bucket].into(),
            // 0.25 ms, and doubled each.
            Self::Nanos => 0.00025 * f64::from(1_u32 << bucket),
        }
    }

    const fn bounds(self) -> usize {
        match self {
            Self::Octets => SIZE_BOUNDS.len(),
            Self::Nanos => DURATION_BUCKETS,
        }
    }

    fn sum(self, sum: u64) -> f64 {
        match self {
            Self::Octets => sum as f64,
            Self::Nanos => sum as f64 / NANOS,
        }
    }
}

/// Families by name.
#[derive(Default)]
pub(super) struct Families(BTreeMap<String, MetricFamily>);

/// Names of labels and their values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Families {
    pub(super) fn counter(&mut self, name: &str, help: &str, labels: Labels<'_>, value: u64) {
        let mut counter = proto::Counter::default();
        counter.set_value(value as f64);
        let mut metric = metric(labels);
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        let mut metric = metric(labels);
        metric.set_gauge(gauge(value));
        self.add(name, help, MetricType::GAUGE, metric);
    }

    /// A counter that does not count in ones.
    pub(super) fn float_counter(&mut self, name: &str, help: &str, value: f64) {
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
        (unit, counted): (Unit, Histogram<'_>),
    ) {
        let mut cumulative = 0;
        let mut buckets = Vec::with_capacity(unit.bounds());
        for (place, count) in counted.buckets.iter().enumerate() {
            cumulative += count;
            if place < unit.bounds() {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(unit.bound(place));
                bucket.set_cumulative_count(cumulative);
                buckets.push(bucket);
            }
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(cumulative);
        histogram.set_sample_sum(unit.sum(counted.sum));
        let mut metric = metric(labels);
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, metric);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        let family = self.0.entry(name.to_owned()).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }

    pub(super) fn extend(&mut self, families: Vec<MetricFamily>) {
        let named = families
            .into_iter()
            .map(|family| (family.name().to_owned(), family));
        self.0.extend(named);
    }

    pub(super) fn sorted(self) -> Vec<MetricFamily> {
        self.0.into_values().collect()
    }
}

fn gauge(value: f64) -> proto::Gauge {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    gauge
}

fn metric(labels: Labels<'_>) -> Metric {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable();
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    Metric::from_label(sorted.into_iter().map(pair).collect())
}
