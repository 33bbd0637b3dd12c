//! What a cluster takes of the heap: all of it at rest, when all of it comes again, and for one change.
//! Octets and allocations are counted, not resident pages, so the figures are the same everywhere.

use std::collections::BTreeMap;

use allocation_counter::measure;
use martlet_bench::cluster::{Cluster, Family, Shape};
use martlet_bench::fixture;
use martlet_control::cluster::object::{Event, Key, Kind, Object, Pod};
use martlet_control::cluster::store::Store;

/// Of the same proportions as the one that `perf/README.md` is about.
fn cluster() -> Cluster {
    let shape = Shape {
        services: 3_000,
        endpoints: 30_000,
        namespaces: 60,
        ..Shape::default()
    };
    Cluster::new(shape).expect("a valid shape")
}

/// Lists all objects of a kind, as `seen` shows them. What comes is published now and then.
fn list(
    store: &mut Store,
    kind: Kind,
    objects: impl Iterator<Item = Object>,
    seen: fn(&mut Object),
) {
    store.apply(Event::RelistStarted(kind));
    for (nth, mut object) in objects.filter(|object| object.kind() == kind).enumerate() {
        seen(&mut object);
        store.apply(Event::Applied(object));
        if nth % 512 == 0 {
            store.publish();
        }
    }
    store.apply(Event::RelistDone(kind));
    store.publish();
}

fn pods(cluster: &Cluster) -> impl Iterator<Item = Object> {
    cluster.workloads().flat_map(|workload| {
        let endpoints = workload.endpoints.clone();
        endpoints.map(move |endpoint| {
            Object::Pod(Pod {
                key: Key::new(&workload.namespace, &workload.pod_name(endpoint)),
                address: workload.pod_ip(endpoint, Family::V4),
            })
        })
    })
}

fn one_endpoint_less(object: &mut Object) {
    if let Object::EndpointSlice(slice) = object
        && let [_, rest @ ..] = &*slice.endpoints
    {
        slice.endpoints = rest.into();
    }
}

/// Over 1 % more than was counted when this was written is too much; so much less is a reason to write
/// down less.
fn check(what: &str, octets: i64, budget: i64) {
    println!("{what}: {octets} octets of {budget}");
    let allowed = budget - budget / 100..=budget + budget / 100;
    assert!(
        allowed.contains(&octets),
        "{what}: {octets} octets, not {budget}"
    );
}

// One test, as all of a process share what keeps memory for readers.
#[test]
fn a_cluster_takes_no_more_than_it_did() {
    let cluster = cluster();
    let mut published = None;
    let all = measure(|| published = Some(fixture::publish(&cluster)));
    check("the cluster", all.bytes_current, 4_002_000);
    let (mut store, _index) = published.expect("it was published");
    let more = measure(|| list(&mut store, Kind::Pod, pods(&cluster), |_| {}));
    check("its pods", more.bytes_current, 3_927_000);
    a_change_costs_what_it_changes(&mut store, &cluster);
    let as_it_is: fn(&mut Object) = |_| {};
    for (what, seen) in [
        ("listed again", as_it_is),
        ("all slices changed", one_endpoint_less),
        ("all slices changed back", as_it_is),
    ] {
        for kind in [Kind::Namespace, Kind::Service, Kind::EndpointSlice] {
            let more = measure(|| list(&mut store, kind, cluster.objects(), seen));
            let percent = 100 * more.bytes_max as i64 / all.bytes_current;
            println!("{what}, {kind:?}: at most {percent} % more");
            assert!(percent < 15, "{what}, {kind:?}: {percent} % more");
        }
    }
}

/// What becomes of the endpoints that stay is nothing.
fn a_change_costs_what_it_changes(store: &mut Store, cluster: &Cluster) {
    let workloads = cluster.workloads().filter(|workload| !workload.headless);
    let slices = workloads.flat_map(|workload| {
        let slices: Vec<_> = workload.slices().map(|it| workload.slice(&it)).collect();
        slices
    });
    let by_size: BTreeMap<_, _> = slices.map(|it| (it.endpoints.len(), it)).collect();
    let (largest, slice) = by_size.into_iter().next_back().expect("slices");
    assert_eq!(largest, 100, "there is a full slice");
    let whole = Object::EndpointSlice(slice);
    let mut less = whole.clone();
    one_endpoint_less(&mut less);
    for (what, object) in [("leaves", less), ("comes back", whole)] {
        let cost = measure(|| {
            store.apply(Event::Applied(object));
            store.publish();
        });
        println!("one of {largest} {what}: {} allocations", cost.count_total);
        assert!(cost.count_total < 80, "{what}: {cost:?}");
    }
}
