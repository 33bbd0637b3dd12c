//! One changed EndpointSlice, from event to published answer. The cost must follow the change, not
//! the cluster: both sizes have to come out about the same.
//!
//! `ports` changes what the Service's entry says, and no address. In `flap` and `roll` an endpoint
//! leaves its slice and comes back later: always the same few, as pods that fail their probes do, or
//! all over the cluster, as roll-outs do.

use std::ops::RangeInclusive;

use criterion::{BatchSize, Criterion};
use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::fixture;
use martlet_control::cluster::object::{EndpointSlice, Event, Object};

pub(crate) fn publish(criterion: &mut Criterion) {
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
        for (name, changes) in [
            ("ports", changes(slices(&cluster, FLAPPING), other_port)),
            ("flap", changes(slices(&cluster, FLAPPING), one_less)),
            ("roll", changes(slices(&cluster, usize::MAX), one_less)),
        ] {
            let mut turn = changes.iter().cycle();
            group.bench_function(format!("{name}/{services}_services"), |bencher| {
                bencher.iter_batched(
                    || turn.next().expect("endless").clone(),
                    |event| {
                        store.apply(event);
                        store.publish();
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

/// Slices of like sizes in each cluster, at most so many.
fn slices(cluster: &Cluster, max: usize) -> Vec<EndpointSlice> {
    let mut found = Vec::new();
    for workload in cluster.workloads() {
        let fitting = workload
            .slices()
            .filter(|slice| ENDPOINTS.contains(&slice.endpoints.len()));
        found.extend(fitting.map(|slice| workload.slice(&slice)));
    }
    found.truncate(max);
    assert!(
        found.len() >= FLAPPING,
        "the cluster has slices of this size"
    );
    found
}

/// Changes that can be made for ever: each slice becomes another one, then itself again.
fn changes(slices: Vec<EndpointSlice>, change: fn(&mut EndpointSlice)) -> Vec<Event> {
    let mut changed = slices.clone();
    changed.iter_mut().for_each(change);
    let both = changed.into_iter().chain(slices);
    both.map(|slice| Event::Applied(Object::EndpointSlice(slice)))
        .collect()
}

fn one_less(slice: &mut EndpointSlice) {
    slice.endpoints = slice.endpoints[1..].into();
}

fn other_port(slice: &mut EndpointSlice) {
    slice.ports[0].number = Some(1);
}

const FLAPPING: usize = 8;
const ENDPOINTS: RangeInclusive<usize> = 3..=8;
