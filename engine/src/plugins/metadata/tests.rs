use std::net::IpAddr;

use super::super::testing::{peer, query};
use super::*;
use crate::index::{ClusterIndex, PodName};
use crate::plugins::kubernetes::{Fallthrough, Grammar, PodMode, Zone};
use crate::wire::name::wire_from_text;
use crate::wire::{FoldedName, Query, RType};

const CLIENT: &str = "10.1.0.7";

fn metadata(zones: &[&str], view: Option<&str>) -> Metadata {
    let wire = |text: &str| wire_from_text(text).unwrap();
    let index = ClusterIndex::default();
    let pod = PodName {
        namespace: "shop".into(),
        name: "cart-1".into(),
    };
    index.put_client(CLIENT.parse().unwrap(), Some(pod));
    let kubernetes = Kubernetes {
        index: Arc::new(index),
        zones: vec![
            Zone::new(wire("cluster.local")).with_grammar(Grammar::Zonal),
            Zone::new(wire("clusterset.local")).with_grammar(Grammar::Multicluster),
            Zone::new(wire("in-addr.arpa")),
        ],
        primary: wire("cluster.local"),
        pods: PodMode::Verified,
        ttl: 5,
        fallthrough: Fallthrough::default(),
        filters_reverse: false,
        local_addresses: Arc::default(),
    };
    Metadata {
        zones: Zones::new(zones.iter().copied().map(wire)),
        view: view.map(Into::into),
        kubernetes: Some(Arc::new(kubernetes)),
    }
}

/// All labels that a query has, but for those of the client.
fn told(metadata: &Metadata, name: &str, client: &str) -> String {
    let packet = query(name, RType::A, &[]);
    let mut folded = FoldedName::default();
    let query = Query::parse(&packet, &mut folded).unwrap();
    let peer = peer(client);
    let asked = Asked::new(&query, &folded, &peer);
    let value = |name: &'static str| {
        let value = metadata.value(Label::named(name)?, &asked)?;
        Some(format!(
            "{}={value}",
            name.trim_start_matches("kubernetes/")
        ))
    };
    Label::names()
        .filter_map(value)
        .collect::<Vec<_>>()
        .join(" ")
}

/// As CoreDNS's `kubernetes/metadata.go` tells them, but for `cluster`, which it never gives outside
/// of its tests.
#[test]
fn names_have_labels_by_their_form() {
    let metadata = metadata(&["."], None);
    for (name, expected) in [
        ("example.com.", ""),
        (
            "cluster.local.",
            "port-name= protocol= endpoint= zone= service= namespace= kind=",
        ),
        (
            "svc.cluster.local.",
            "port-name= protocol= endpoint= zone= service= namespace= kind=",
        ),
        (
            "NS.svc.cluster.local.",
            "port-name= protocol= endpoint= zone= service= namespace=ns kind=svc",
        ),
        (
            "s.ns.svc.cluster.local.",
            "port-name= protocol= endpoint= zone= service=s namespace=ns kind=svc",
        ),
        (
            "10-240-0-1.podns.pod.cluster.local.",
            "port-name= protocol= endpoint= zone= service=10-240-0-1 namespace=podns kind=pod",
        ),
        (
            "_http._tcp.s.ns.svc.cluster.local.",
            "port-name=http protocol=tcp endpoint= zone= service=s namespace=ns kind=svc",
        ),
        (
            "ep.s.ns.svc.cluster.local.",
            "port-name= protocol= endpoint=ep zone= service=s namespace=ns kind=svc",
        ),
        (
            "a.b.pin._zone.s.ns.svc.cluster.local.",
            "port-name= protocol= endpoint= zone=a.b service=s namespace=ns kind=svc",
        ),
        (
            "ep.c1.s.ns.svc.clusterset.local.",
            "port-name= protocol= endpoint=ep cluster=c1 service=s namespace=ns kind=svc",
        ),
        (
            "foo.bar.other.cluster.local.",
            "parse-error=invalid query name",
        ),
        (
            "a.b.c.s.ns.svc.cluster.local.",
            "parse-error=invalid query name",
        ),
        ("4.3.2.1.in-addr.arpa.", "parse-error=invalid query name"),
    ] {
        assert_eq!(told(&metadata, name, "192.0.2.1"), expected, "{name}");
    }
}

#[test]
fn clients_and_views_have_labels_in_the_zones_that_are_named() {
    let both = "client-namespace=shop client-pod-name=cart-1";
    for (zones, view, client, expected) in [
        (&["."][..], None, CLIENT, both),
        (&["."], None, "::ffff:10.1.0.7", both),
        (&["."], None, "10.1.0.8", ""),
        (&["test", "com"], None, CLIENT, both),
        (&["test"], Some("inner"), CLIENT, ""),
        (&["."], Some("inner"), "10.1.0.8", "view/name=inner"),
    ] {
        let metadata = metadata(zones, view);
        let found = told(&metadata, "example.com.", client);
        assert_eq!(found, expected, "{zones:?} {view:?} {client}");
    }
    let address = CLIENT.parse::<IpAddr>().unwrap();
    let metadata = metadata(&["."], None);
    let index = &metadata.kubernetes.as_ref().unwrap().index;
    index.put_client(address, None);
    assert_eq!(told(&metadata, "example.com.", CLIENT), "");
}
