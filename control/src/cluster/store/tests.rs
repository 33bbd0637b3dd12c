//! The store against a store that was filled at once: whatever the order of events, the same names.

use std::fmt::Write as _;

use martlet_engine::index::{LabelBuf, LabelRef, PortSelector};
use martlet_engine::wire::RType;
use martlet_engine::wire::name::label_hash;
use proptest::prelude::*;

use super::*;
use crate::cluster::object::{Endpoint, EndpointAddress, Pod, Port, Service, ServiceType};

const NAMES: [&str; 3] = ["a", "b", "c"];
const SPACES: [&str; 2] = ["one", "two"];

fn settings() -> StoreSettings {
    StoreSettings {
        ttl: 5,
        ignore_empty: false,
        namespaces: HashSet::new(),
        clients: true,
        external: true,
        multicluster: false,
        kinds: vec![
            Kind::Namespace,
            Kind::Service,
            Kind::EndpointSlice,
            Kind::Pod,
        ],
    }
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn label(text: &str) -> LabelRef<'_> {
    LabelRef {
        octets: text.as_bytes(),
        hash: label_hash(text.as_bytes()),
    }
}

fn service(space: &str, name: &str, service_type: ServiceType) -> Object {
    let port = Port {
        name: "http".into(),
        protocol: "TCP".into(),
        number: Some(80),
    };
    Object::Service(Service {
        key: Key::new(space, name),
        service_type,
        ports: Box::new([port]),
        external: Box::default(),
    })
}

fn slice(space: &str, name: &str, service: &str, endpoints: &[(u8, Option<&str>)]) -> Object {
    let endpoint = |&(last, hostname): &(u8, Option<&str>)| Endpoint {
        address: EndpointAddress::Ip(address(last)),
        hostname: hostname.map(Into::into),
        pod_name: None,
        zone: None,
    };
    Object::EndpointSlice(object::EndpointSlice {
        key: Key::new(space, name),
        service: service.into(),
        import: None,
        endpoints: endpoints.iter().map(endpoint).collect(),
        ports: Box::new([]),
        last_change_trigger: None,
    })
}

/// Everything that the index tells of the names used here.
fn told(index: &ClusterIndex) -> String {
    let mut out = String::new();
    for space in SPACES {
        writeln!(out, "{space} {}", index.namespace_exposed(label(space))).unwrap();
        for name in NAMES {
            let service = ServiceName::new(Arc::new(Namespace::new(space)), name);
            index.service(service.key(), |_, node, _| {
                write!(
                    out,
                    "{name}.{space} {:?} {:?} {:?}",
                    node.kind(),
                    node.cluster_ips().collect::<Vec<_>>(),
                    node.encoded(RType::A)
                )
                .unwrap();
                let mut items = Vec::new();
                node.items(PortSelector::default(), None, |item| {
                    let name = item
                        .endpoint
                        .map(|(slice, index)| slice.name(index, &mut LabelBuf::default()).to_vec());
                    items.push(format!("{:?} {:?} {name:?}", item.host, item.port));
                });
                writeln!(out, " {items:?}").unwrap();
            });
        }
    }
    for last in 0..8 {
        index.client(address(last), |pod| {
            writeln!(out, "{last} pod {}/{}", pod.namespace, pod.name).unwrap();
        });
        index.address(address(last), |node| {
            let (services, endpoints) = node.parts();
            let name = |service: &ServiceName| {
                let text = |label| String::from_utf8_lossy(label).into_owned();
                let namespace = service.namespace().label().octets;
                format!("{}.{}", text(service.label()), text(namespace))
            };
            let mut owners = services
                .iter()
                .map(|service| name(service))
                .collect::<Vec<_>>();
            owners.extend(
                endpoints
                    .iter()
                    .map(|e| format!("{:?} {}", e.name(), name(&e.service))),
            );
            owners.sort();
            writeln!(out, "{last} {owners:?}").unwrap();
        });
        for space in SPACES {
            writeln!(
                out,
                "{last} {space} {}",
                index.pods(label(space), address(last))
            )
            .unwrap();
        }
    }
    out
}

fn fill(objects: impl IntoIterator<Item = Object>) -> String {
    let index = Arc::new(ClusterIndex::default());
    let mut store = Store::new(Arc::clone(&index), settings());
    objects
        .into_iter()
        .for_each(|object| store.apply(Event::Applied(object)));
    store.publish();
    told(&index)
}

#[test]
fn a_relist_takes_away_only_when_it_is_whole() {
    let index = Arc::new(ClusterIndex::default());
    let mut store = Store::new(Arc::clone(&index), settings());
    let objects = [
        Object::Namespace(Key::new("", "one")),
        service("one", "a", ServiceType::ClusterIp(Box::new([address(1)]))),
        service("one", "b", ServiceType::Headless),
        slice("one", "b-1", "b", &[(2, None), (3, Some("x"))]),
        Object::Pod(Pod {
            key: Key::new("one", "p"),
            address: address(4),
        }),
    ];
    let kinds = settings().kinds;
    for kind in &kinds {
        store.apply(Event::RelistStarted(*kind));
        objects
            .iter()
            .filter(|object| object.kind() == *kind)
            .for_each(|object| {
                store.apply(Event::Applied(object.clone()));
            });
        assert!(!index.is_synced());
        store.apply(Event::RelistDone(*kind));
        store.publish();
    }
    assert!(index.is_synced());
    assert_eq!(told(&index), fill(objects.clone()));
    for kind in &kinds {
        let whole = told(&index);
        store.apply(Event::RelistStarted(*kind));
        store.publish();
        assert_eq!(told(&index), whole, "while {kind} is listed");
        for object in objects
            .iter()
            .filter(|object| object.kind() == *kind && object.key().name != "b".into())
        {
            store.apply(Event::Applied(object.clone()));
            store.publish();
            assert_eq!(told(&index), whole, "while {kind} is listed");
        }
        store.apply(Event::RelistDone(*kind));
        store.publish();
    }
    let left = objects
        .into_iter()
        .filter(|object| &*object.key().name != "b");
    assert_eq!(
        told(&index),
        fill(left),
        "the Service that the list left out is gone"
    );
}

#[test]
fn an_unchanged_object_changes_no_serial() {
    let index = Arc::new(ClusterIndex::default());
    let mut store = Store::new(Arc::clone(&index), settings());
    let object = slice("one", "a-1", "a", &[(1, None)]);
    store.apply(Event::Applied(object.clone()));
    store.publish();
    assert!(index.serial() > 1_700_000_000, "Unix seconds");
    index.set_serial(7);
    store.apply(Event::Applied(object));
    store.publish();
    assert_eq!(index.serial(), 7);
}

#[test]
fn no_two_states_have_one_serial() {
    let index = Arc::new(ClusterIndex::default());
    let mut store = Store::new(Arc::clone(&index), settings());
    let change = |store: &mut Store, host| {
        store.apply(Event::Applied(slice("one", "a-1", "a", &[(host, None)])));
        store.publish();
    };
    change(&mut store, 1);
    assert!(!store.is_undated());
    // As if it were the second of the change before.
    let ahead = index.serial() + 1_000;
    index.set_serial(ahead);
    change(&mut store, 2);
    change(&mut store, 3);
    assert!(store.is_undated());
    assert_eq!(index.serial(), ahead);
    store.date(true);
    assert!(!store.is_undated());
    assert_eq!(index.serial(), ahead + 1, "even if the clock was set back");
    store.date(true);
    assert_eq!(index.serial(), ahead + 1, "nothing has changed");
}

#[test]
fn only_configured_namespaces_are_exposed() {
    let index = Arc::new(ClusterIndex::default());
    let namespaces = HashSet::from(["one".into()]);
    let mut store = Store::new(
        Arc::clone(&index),
        StoreSettings {
            namespaces,
            ..settings()
        },
    );
    for space in SPACES {
        store.apply(Event::Applied(Object::Namespace(Key::new("", space))));
    }
    assert_eq!(
        SPACES.map(|space| index.namespace_exposed(label(space))),
        [true, false]
    );
}

fn objects() -> impl Strategy<Value = Object> {
    let space = prop::sample::select(SPACES.to_vec());
    let name = prop::sample::select(NAMES.to_vec());
    let kind = prop_oneof![
        prop::collection::hash_set(0_u8..8, 0..3)
            .prop_map(|ips| ServiceType::ClusterIp(ips.into_iter().map(address).collect())),
        Just(ServiceType::Headless),
        Just(ServiceType::ExternalName("example.com".into())),
    ];
    let hostname = prop::option::of(prop::sample::select(vec!["x", "y"]));
    let endpoints = prop::collection::vec((0_u8..8, hostname), 0..4);
    prop_oneof![
        space
            .clone()
            .prop_map(|space| Object::Namespace(Key::new("", space))),
        (space.clone(), name.clone(), kind).prop_map(|(s, n, kind)| service(s, n, kind)),
        (
            space.clone(),
            name.clone(),
            prop::sample::select(vec!["a", "b", ""]),
            endpoints
        )
            .prop_map(|(s, n, of, list)| slice(s, n, of, &list)),
        (space, name, 0_u8..8).prop_map(|(s, n, ip)| Object::Pod(Pod {
            key: Key::new(s, n),
            address: address(ip)
        })),
    ]
}

proptest! {
    #[test]
    fn any_order_of_events_ends_in_the_same_names(
        events in prop::collection::vec((objects(), any::<bool>(), any::<bool>()), 0..60)
    ) {
        let index = Arc::new(ClusterIndex::default());
        let mut store = Store::new(Arc::clone(&index), settings());
        let mut left = std::collections::BTreeMap::new();
        for (object, delete, publish) in events {
            let place = (object.kind(), object.key().clone());
            if delete {
                left.remove(&place);
                store.apply(Event::Deleted(place.0, place.1));
            } else {
                left.insert(place, object.clone());
                store.apply(Event::Applied(object));
            }
            if publish {
                store.publish();
            }
        }
        store.publish();
        prop_assert_eq!(told(&index), fill(left.into_values()));
        // What a snapshot would hold of it is as good.
        prop_assert_eq!(told(&index), fill(store.objects()));
    }
}

#[test]
fn a_restored_store_answers_and_is_corrected_by_the_first_lists() {
    let index = Arc::new(ClusterIndex::default());
    let mut store = Store::new(Arc::clone(&index), settings());
    let ip = |last| ServiceType::ClusterIp([address(last)].into());
    let kept = [
        Object::Namespace(Key::new("", "one")),
        service("one", "a", ip(1)),
        service("one", "b", ip(2)),
    ];
    for object in kept.clone() {
        store.apply(Event::Applied(object));
    }
    store.restore();
    assert!(index.is_synced() && !store.is_listed());
    assert_eq!(told(&index), fill(kept.clone()));
    let now = [kept[0].clone(), service("one", "b", ip(3))];
    for kind in settings().kinds {
        store.apply(Event::RelistStarted(kind));
        for object in now.iter().filter(|object| object.kind() == kind) {
            store.apply(Event::Applied(object.clone()));
        }
        store.publish();
        assert!(!store.is_listed(), "{kind}: not whole yet");
        store.apply(Event::RelistDone(kind));
        store.publish();
    }
    assert!(store.is_listed() && index.is_synced());
    assert_eq!(told(&index), fill(now));
}

#[test]
fn external_hosts_are_published_and_have_their_own_serial() {
    let index = Arc::new(ClusterIndex::default());
    let mut store = Store::new(Arc::clone(&index), settings());
    let with = |hosts: &[EndpointAddress]| {
        let Object::Service(service) = service("one", "a", ServiceType::ClusterIp([].into()))
        else {
            unreachable!("it is one");
        };
        Event::Applied(Object::Service(Service {
            external: hosts.into(),
            ..service
        }))
    };
    let name = ServiceName::new(Arc::new(Namespace::new("one")), "a");
    let hosts = || index.external().hosts(name.key(), <[_]>::len);
    let owners = || index.external().owners(address(9), <[_]>::len).unwrap_or(0);
    let both = [
        EndpointAddress::Ip(address(9)),
        EndpointAddress::Fqdn("lb.test".into()),
    ];
    store.apply(with(&both));
    for kind in settings().kinds {
        store.apply(Event::RelistDone(kind));
    }
    store.publish();
    assert_eq!((hosts(), owners(), index.external().serial()), (2, 1, 0));
    store.apply(with(&both[1..]));
    store.publish();
    assert_eq!((hosts(), owners()), (1, 0));
    assert_ne!(index.external().serial(), 0);
    index.external().set_serial(0);
    store.apply(Event::Deleted(Kind::Service, Key::new("one", "a")));
    store.publish();
    assert_eq!(hosts(), 0);
    assert_ne!(index.external().serial(), 0);

    let plain = StoreSettings {
        external: false,
        multicluster: false,
        ..settings()
    };
    let mut store = Store::new(Arc::clone(&index), plain);
    store.apply(with(&both));
    store.publish();
    assert_eq!((hosts(), owners()), (0, 0));
}

/// A slice may belong to a Service, to an import, or to both, and move between them.
#[test]
fn imports_are_published_apart() {
    let with_imports = StoreSettings {
        multicluster: true,
        kinds: vec![Kind::ServiceImport],
        ..settings()
    };
    let index = Arc::new(ClusterIndex::default());
    let mut store = Store::new(Arc::clone(&index), with_imports.clone());
    let imports = Arc::clone(index.imports().expect("asked for"));
    let labelled = |service: &str, import: Option<&str>| {
        let Object::EndpointSlice(mut made) = slice("one", "s", service, &[(1, None)]) else {
            unreachable!("that is what it makes");
        };
        made.import = import.map(|name| object::Import {
            service: name.into(),
            cluster: "c1".into(),
        });
        Event::Applied(Object::EndpointSlice(made))
    };
    let Object::Service(import) = service("one", "a", ServiceType::Headless) else {
        unreachable!("that is what it makes");
    };
    let member = ServiceName::new(Arc::new(Namespace::new("one")), "a");
    let known = |index: &ClusterIndex, endpoint: &str| {
        let items =
            |node: &ServiceNode| node.items(PortSelector::default(), Some(label(endpoint)), |_| {});
        index
            .service(member.key(), |_, node, is_exposed| {
                is_exposed && items(node).is_some()
            })
            .unwrap_or(false)
    };
    store.apply(Event::Applied(Object::Namespace(Key::new("", "one"))));
    store.apply(Event::Applied(service("one", "a", ServiceType::Headless)));
    store.apply(Event::Applied(Object::ServiceImport(import)));
    store.publish();
    assert!(!index.is_synced());
    store.apply(Event::RelistStarted(Kind::ServiceImport));
    for (service, import) in [
        ("a", None),
        ("a", Some("a")),
        ("", Some("a")),
        ("b", Some("b")),
        ("a", Some("a")),
    ] {
        store.apply(labelled(service, import));
        store.publish();
        let found = (known(&index, "10-0-0-1"), known(&imports, "10-0-0-1.c1"));
        assert_eq!(found, (service == "a", import == Some("a")));
        // What is on disk makes the same store.
        let mut other = Store::new(Arc::default(), with_imports.clone());
        store
            .objects()
            .for_each(|object| other.apply(Event::Applied(object)));
        other.publish();
        let of_other = other.index.imports().expect("asked for");
        let restored = (
            known(&other.index, "10-0-0-1"),
            known(of_other, "10-0-0-1.c1"),
        );
        assert_eq!(restored, found);
    }
    // The serials are apart.
    store.date(true);
    index.set_serial(7);
    imports.set_serial(7);
    store.apply(labelled("a", None));
    store.publish();
    assert_eq!(index.serial(), 7);
    assert_ne!(imports.serial(), 7);
    // The list did not name the import.
    assert!(!index.is_synced());
    store.apply(Event::RelistStarted(Kind::ServiceImport));
    store.apply(Event::RelistDone(Kind::ServiceImport));
    store.apply(labelled("a", Some("a")));
    store.publish();
    assert!(index.is_synced());
    assert!(!known(&imports, "10-0-0-1.c1"));
}
