//! One changed EndpointSlice, from event to published answer. The cost must follow the change, not
//! the cluster: both sizes have to come out about the same.

use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::fixture;
use martlet_control::cluster::object::{Event, Object};

fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    for services in [100, 10_000] {
        let shape = Shape {
            services,
            endpoints: services * 10,
            namespaces: services.div_ceil(50),
            ..Shape::default()
        };
        let cluster = Cluster::new(shape).expect("a valid shape");
        let (mut store, _index) = fixture::publish(&cluster);
        let changes = changes(&cluster);
        let mut next = 0;
        group.bench_function(format!("slice/{services}_services"), |bencher| {
            bencher.iter_batched(
                || {
                    next += 1;
                    changes[next % changes.len()].clone()
                },
                |event| {
                    store.apply(event);
                    store.publish();
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Changes that never end: an endpoint leaves its slice, and comes back a round later. The same
/// number of slices of like sizes in each cluster, so that what is compared is the work and not how
/// much of the cluster the processor's caches hold.
fn changes(cluster: &Cluster) -> Vec<Event> {
    let mut slices = Vec::new();
    for workload in cluster.workloads() {
        let fitting = workload
            .slices()
            .filter(|slice| ENDPOINTS.contains(&slice.endpoints.len()));
        slices.extend(fitting.map(|slice| workload.slice(&slice)));
    }
    slices.truncate(SLICES);
    assert_eq!(slices.len(), SLICES, "the cluster has slices of this size");
    let full = slices.clone();
    for slice in &mut slices {
        slice.endpoints = slice.endpoints[1..].into();
    }
    let both = slices.into_iter().chain(full);
    both.map(|slice| Event::Applied(Object::EndpointSlice(slice)))
        .collect()
}

const SLICES: usize = 8;
const ENDPOINTS: std::ops::RangeInclusive<usize> = 3..=8;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = publish
}
criterion_main!(benches);
