//! The generator keeps its promises: same seed, same bytes; exact counts; questions that exist.

use std::collections::{HashMap, HashSet};

use martlet_control::cluster::object::{EndpointAddress, ServiceType};

use super::manifest::Extras;
use super::queries::{List, Questions, reverse_name};
use super::*;

fn small() -> Shape {
    Shape {
        services: 300,
        endpoints: 3_000,
        namespaces: 7,
        ..Shape::default()
    }
}

/// Checks every file of the manifests and every list into one number.
fn fingerprint(shape: &Shape) -> u32 {
    let cluster = Cluster::new(shape.clone()).unwrap();
    let directory = std::env::temp_dir().join(format!(
        "martlet-bench-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let mut hash = crc32fast::Hasher::new();
    for format in [manifest::Format::Yaml, manifest::Format::Json] {
        manifest::write(&cluster, &directory, format, Extras::default()).unwrap();
    }
    let mut paths: Vec<_> = directory
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        hash.update(&std::fs::read(path).unwrap());
    }
    std::fs::remove_dir_all(&directory).unwrap();
    for list in List::ALL {
        for question in Questions::new(&cluster, list).take(1_000) {
            hash.update(question.to_string().as_bytes());
        }
    }
    hash.finalize()
}

#[test]
fn the_seed_decides_every_byte() {
    let first = fingerprint(&small());
    assert_eq!(first, fingerprint(&small()));
    assert_ne!(first, fingerprint(&Shape { seed: 2, ..small() }));
    // Figures measured on different days compare only while this number stays the same.
    assert_eq!(first, FINGERPRINT);
}

#[test]
fn counts_are_exact() {
    let shapes = [
        small(),
        Shape {
            services: 1,
            endpoints: 0,
            namespaces: 1,
            ..Shape::default()
        },
        Shape {
            headless_share: 1.0,
            dual_stack_share: 0.0,
            ..small()
        },
        Shape {
            headless_share: 0.0,
            dual_stack_share: 1.0,
            endpoints: 17,
            ..small()
        },
    ];
    for shape in shapes {
        let cluster = Cluster::new(shape.clone()).unwrap();
        let (mut namespaces, mut services, mut headless) = (0, 0, 0);
        let (mut v4, mut v6, mut keys) = (HashSet::new(), HashSet::new(), HashSet::new());
        for object in cluster.objects() {
            assert!(
                keys.insert((object.kind(), object.key().clone())),
                "{}",
                object.key()
            );
            match object {
                Object::Namespace(_) => namespaces += 1,
                Object::Service(service) => {
                    services += 1;
                    headless += u32::from(service.service_type == ServiceType::Headless);
                }
                Object::EndpointSlice(slice) => {
                    assert!(slice.endpoints.len() <= SLICE_ENDPOINTS_MAX as usize);
                    for endpoint in &slice.endpoints {
                        match endpoint.address {
                            EndpointAddress::Ip(IpAddr::V4(ip)) => assert!(v4.insert(ip)),
                            EndpointAddress::Ip(IpAddr::V6(ip)) => assert!(v6.insert(ip)),
                            EndpointAddress::Fqdn(_) => panic!("not generated"),
                        }
                    }
                }
                _ => panic!("not generated"),
            }
        }
        assert_eq!(
            (namespaces, services),
            (shape.namespaces, shape.services),
            "{shape:?}"
        );
        let expected = f64::from(shape.services) * shape.headless_share;
        assert_eq!(f64::from(headless), expected.round(), "{shape:?}");
        assert_eq!(v4.len(), shape.endpoints as usize, "{shape:?}");
        if shape.dual_stack_share == 1.0 {
            assert_eq!(v6.len(), v4.len(), "{shape:?}");
        }
    }
}

#[test]
fn impossible_shapes_are_refused() {
    let cases = [
        (
            Shape {
                services: 0,
                ..small()
            },
            "at least one service",
        ),
        (
            Shape {
                namespaces: 0,
                ..small()
            },
            "one namespace",
        ),
        (
            Shape {
                services: 1 << 20,
                ..small()
            },
            "services: 1048576",
        ),
        (
            Shape {
                endpoints: 1 << 23,
                ..small()
            },
            "endpoints: 8388608",
        ),
        (
            Shape {
                headless_share: 1.5,
                ..small()
            },
            "headless share 1.5",
        ),
    ];
    for (shape, message) in cases {
        let error = Cluster::new(shape).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// All names that answer, by the rules of the Kubernetes DNS specification, from the objects alone.
fn existing_names(cluster: &Cluster) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut services = HashMap::new();
    for object in cluster.objects() {
        match object {
            Object::Service(service) => {
                let name = format!(
                    "{}.{}.svc.cluster.local",
                    service.key.name, service.key.namespace
                );
                let ports: Vec<_> = service
                    .ports
                    .iter()
                    .filter(|port| !port.name.is_empty())
                    .collect();
                let mut own = vec![name.clone()];
                for port in ports {
                    let protocol = port.protocol.to_lowercase();
                    own.push(format!("_{}._{protocol}.{name}", port.name));
                }
                if let ServiceType::ClusterIp(ips) = &service.service_type {
                    own.extend(ips.iter().map(|&ip| reverse_name(ip)));
                    names.extend(own.drain(..));
                }
                services.insert(service.key, (name, own));
            }
            Object::EndpointSlice(slice) => {
                let service = Key::new(&slice.key.namespace, &slice.service);
                let (name, own) = services.get_mut(&service).unwrap();
                for endpoint in &slice.endpoints {
                    let EndpointAddress::Ip(ip) = endpoint.address else {
                        panic!("not generated")
                    };
                    let dashed = ip.to_string().replace(['.', ':'], "-");
                    let label = endpoint.hostname.as_deref().unwrap_or(&dashed);
                    names.insert(format!("{label}.{name}"));
                    names.insert(reverse_name(ip));
                    names.extend(own.drain(..));
                }
            }
            _ => {}
        }
    }
    names
}

#[test]
fn questions_exist_exactly_where_they_should() {
    let shapes = [
        small(),
        Shape {
            headless_share: 0.0,
            ..small()
        },
        Shape {
            headless_share: 0.5,
            dual_stack_share: 1.0,
            endpoints: 200,
            ..small()
        },
    ];
    for shape in shapes {
        let cluster = Cluster::new(shape).unwrap();
        let names = existing_names(&cluster);
        for (list, exist) in [
            (List::InCluster, true),
            (List::Ptr, true),
            (List::Srv, true),
            (List::NxDomain, false),
        ] {
            for question in Questions::new(&cluster, list).take(5_000) {
                assert_eq!(names.contains(&question.name), exist, "{list:?} {question}");
            }
        }
    }
}

#[test]
fn a_cluster_without_names_has_no_questions() {
    let shape = Shape {
        headless_share: 1.0,
        endpoints: 0,
        ..small()
    };
    let cluster = Cluster::new(shape).unwrap();
    for list in List::ALL {
        assert_eq!(Questions::new(&cluster, list).next(), None, "{list:?}");
    }
}

#[test]
fn a_search_walks_three_domains_and_the_bare_name() {
    let cluster = Cluster::new(small()).unwrap();
    let asked: Vec<_> = Questions::new(&cluster, List::SearchMix).take(8).collect();
    let external = &asked[7].name;
    assert!(external.ends_with(".example"), "{external}");
    for (pair, domain) in asked.chunks(2).zip([
        ".svc.cluster.local",
        ".svc.cluster.local",
        ".cluster.local",
        "",
    ]) {
        assert_eq!(pair[0].name, pair[1].name);
        assert_eq!((pair[0].qtype, pair[1].qtype), ("A", "AAAA"));
        assert!(pair[0].name.starts_with(external.as_str()) && pair[0].name.ends_with(domain));
    }
}

#[test]
fn reverse_names_are_spelled_by_nibble_and_octet() {
    let cases = [
        ("10.96.0.1", "1.0.96.10.in-addr.arpa"),
        (
            "fd00::1",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
        ),
    ];
    for (address, name) in cases {
        assert_eq!(reverse_name(address.parse().unwrap()), name);
    }
}

#[test]
fn both_formats_print_the_same_objects() {
    let cluster = Cluster::new(Shape {
        services: 40,
        ..small()
    })
    .unwrap();
    let extras = Extras {
        pods: true,
        v1_endpoints: true,
    };
    let directory = std::env::temp_dir().join(format!("martlet-formats-{}", std::process::id()));
    manifest::write(&cluster, &directory, manifest::Format::Json, extras).unwrap();
    manifest::write(&cluster, &directory, manifest::Format::Yaml, extras).unwrap();
    let (mut pods, mut addresses) = (0, 0);
    for name in cluster.namespaces().chain(["namespaces".into()]) {
        let json = std::fs::read_to_string(directory.join(format!("{name}.json"))).unwrap();
        let yaml = std::fs::read_to_string(directory.join(format!("{name}.yaml"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        let items = json["items"].as_array().unwrap();
        assert!(!items.is_empty());
        pods += items.iter().filter(|item| item["kind"] == "Pod").count();
        let subsets = items
            .iter()
            .filter_map(|item| item["subsets"][0]["addresses"].as_array());
        addresses += subsets.map(Vec::len).sum::<usize>();
        assert_eq!(json, yaml, "{name}");
    }
    assert_eq!(addresses, pods);
    assert_eq!(pods, cluster.shape().endpoints as usize);
    std::fs::remove_dir_all(&directory).unwrap();
}

const FINGERPRINT: u32 = 1_383_681_677;
