use std::sync::Arc;

use super::super::{Fallthrough, PodMode, Zone};
use super::*;
use crate::chain::Stage;
use crate::index::{Addresses, ClusterIndex, Namespace, Port, ServiceKind, ServiceParts};
use crate::plugins::testing::{ask, name};

fn port(name: &str, number: u16) -> Port {
    Port {
        name: name.as_bytes().into(),
        protocol: b"tcp"[..].into(),
        number: Some(number),
    }
}

/// `shop` has two addresses, `alias` a host name, `db` is headless with one endpoint.
pub(super) fn stages(headless: bool, fallthrough: &[&str]) -> [Stage; 2] {
    let index = Arc::new(ClusterIndex::default());
    let namespace = Arc::new(Namespace::new("prod"));
    namespace.set_exposed(true);
    index.put_namespace(Arc::clone(&namespace));
    let service = |label: &str, kind, ports: Arc<[Port]>, slices: Box<[Arc<EndpointSlice>]>| {
        let name = Arc::new(ServiceName::new(Arc::clone(&namespace), label));
        let node = ServiceNode::build(ServiceParts {
            kind,
            ports,
            slices,
            ttl: 5,
            ignore_empty: false,
        });
        index.put_service(Arc::clone(&name), node);
        name
    };
    let address = |text: &str| ExternalHost::Ip(text.parse().unwrap());
    let cluster_ip = || ServiceKind::ClusterIp(["10.96.0.9".parse().unwrap()].into());
    let ports = [port("web", 80), port("tls", 443)];
    let shop = service("shop", cluster_ip(), ports.into(), Box::default());
    let hosts = [address("192.0.2.9"), address("2001:db8::9")];
    index.external().put(&shop, hosts.into());
    let alias = service(
        "alias",
        cluster_ip(),
        [port("web", 80)].into(),
        Box::default(),
    );
    let host = ExternalHost::Name(name("lb.cloud.test").into());
    index.external().put(&alias, [host].into());
    let slice = EndpointSlice {
        ports: [port("sql", 5432)].into(),
        addresses: Addresses::V4(["10.1.0.5".parse().unwrap()].into()),
        names: None,
        zones: None,
    };
    service(
        "db",
        ServiceKind::Headless,
        Arc::default(),
        [Arc::new(slice)].into(),
    );
    service(
        "inner",
        cluster_ip(),
        [port("web", 80)].into(),
        Box::default(),
    );
    index.set_synced();
    let apex = name("cluster.local").into_boxed_slice();
    let cluster = Arc::new(Kubernetes {
        index,
        zones: vec![Zone::new(apex.clone())],
        primary: apex,
        pods: PodMode::Disabled,
        ttl: 5,
        fallthrough: Fallthrough::default(),
        filters_reverse: false,
        local_addresses: ["198.51.100.53".parse().unwrap()].into(),
    });
    let zones = ["ext.test", "in-addr.arpa"];
    let zone = |zone: &&str| ExternalZone::new(name(zone).into(), b"\x03dns");
    let external = K8sExternal::new(
        cluster,
        zones.iter().map(zone).collect(),
        ExternalOptions {
            ttl: 60,
            headless,
            fallthrough: Zones::new(fallthrough.iter().map(|zone| name(zone).into())),
        },
    );
    [Stage::K8sExternal(Arc::new(external)), Stage::Whoami]
}

#[test]
fn services_have_names_outside() {
    let stages = stages(false, &[]);
    let soa = "ns ext.test. 60 SOA ns1.dns.ext.test.";
    let nodata = &*format!("NOERROR aa | {soa}");
    let nothing = &*format!("NXDOMAIN aa | {soa}");
    for (text, qtype, expected) in [
        (
            "shop.prod.ext.test",
            RType::A,
            "NOERROR aa | shop.prod.ext.test. 60 A 192.0.2.9",
        ),
        (
            "shop.prod.ext.test",
            RType::AAAA,
            "NOERROR aa | shop.prod.ext.test. 60 AAAA 2001:db8::9",
        ),
        (
            "_web._tcp.shop.prod.ext.test",
            RType::A,
            "NOERROR aa | _web._tcp.shop.prod.ext.test. 60 A 192.0.2.9",
        ),
        // Without `headless` the label of an endpoint says nothing.
        (
            "any.shop.prod.ext.test",
            RType::A,
            "NOERROR aa | any.shop.prod.ext.test. 60 A 192.0.2.9",
        ),
        (
            "_tls._tcp.shop.prod.ext.test",
            RType::SRV,
            "NOERROR aa | _tls._tcp.shop.prod.ext.test. 5 SRV shop.prod.ext.test. \
             | ar shop.prod.ext.test. 60 A 192.0.2.9 | ar shop.prod.ext.test. 60 AAAA 2001:db8::9",
        ),
        (
            "alias.prod.ext.test",
            RType::A,
            "NOERROR aa | alias.prod.ext.test. 5 CNAME lb.cloud.test.",
        ),
        (
            "alias.prod.ext.test",
            RType::SRV,
            "NOERROR aa | alias.prod.ext.test. 5 SRV lb.cloud.test.",
        ),
        ("shop.prod.ext.test", RType::TXT, nodata),
        ("prod.ext.test", RType::A, nodata),
        ("_x._tcp.shop.prod.ext.test", RType::A, nothing),
        ("inner.prod.ext.test", RType::A, nothing),
        ("db.prod.ext.test", RType::A, nothing),
        ("other.ext.test", RType::A, nothing),
        ("a.b.c.shop.prod.ext.test", RType::A, nothing),
    ] {
        let found = ask(&stages, text, qtype);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn addresses_lead_back() {
    let stages = stages(false, &[]);
    assert_eq!(
        ask(&stages, "9.2.0.192.in-addr.arpa", RType::PTR),
        "NOERROR aa | 9.2.0.192.in-addr.arpa. 60 PTR shop.prod.ext.test."
    );
    let unknown = ask(&stages, "8.2.0.192.in-addr.arpa", RType::PTR);
    assert!(
        unknown.starts_with("NXDOMAIN aa | ns in-addr.arpa. 60 SOA"),
        "{unknown}"
    );
}

#[test]
fn the_zone_has_a_server() {
    let stages = stages(false, &[]);
    for (text, qtype, expected) in [
        (
            "ext.test",
            RType::SOA,
            "NOERROR aa | ext.test. 60 SOA ns1.dns.ext.test.",
        ),
        (
            "ext.test",
            RType::NS,
            "NOERROR aa | ext.test. 60 NS ns1.dns.ext.test. | ar ns1.dns.ext.test. 60 A 198.51.100.53",
        ),
        ("ext.test", RType::A, "NOERROR aa | ns ext.test. 60 SOA"),
        ("dns.ext.test", RType::A, "NOERROR aa | ns ext.test. 60 SOA"),
        (
            "ns1.dns.ext.test",
            RType::A,
            "NOERROR aa | ns1.dns.ext.test. 60 A 198.51.100.53",
        ),
        (
            "ns1.dns.ext.test",
            RType::AAAA,
            "NOERROR aa | ns ext.test. 60 SOA",
        ),
        (
            "ns2.dns.ext.test",
            RType::A,
            "NXDOMAIN aa | ns ext.test. 60 SOA",
        ),
        (
            "a.ns1.dns.ext.test",
            RType::A,
            "NXDOMAIN aa | ns ext.test. 60 SOA",
        ),
    ] {
        let found = ask(&stages, text, qtype);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn headless_services_show_endpoints_where_that_is_asked_for() {
    let stages = stages(true, &[]);
    for (text, qtype, expected) in [
        (
            "db.prod.ext.test",
            RType::A,
            "NOERROR aa | db.prod.ext.test. 60 A 10.1.0.5",
        ),
        (
            "10-1-0-5.db.prod.ext.test",
            RType::A,
            "NOERROR aa | 10-1-0-5.db.prod.ext.test. 60 A 10.1.0.5",
        ),
        (
            "_10-1-0-5.db.prod.ext.test",
            RType::A,
            "NOERROR aa | _10-1-0-5.db.prod.ext.test. 60 A",
        ),
        (
            "db.prod.ext.test",
            RType::SRV,
            "NOERROR aa | db.prod.ext.test. 5 SRV 10-1-0-5.db.prod.ext.test. \
             | ar 10-1-0-5.db.prod.ext.test. 60 A 10.1.0.5",
        ),
        ("other.db.prod.ext.test", RType::A, "NXDOMAIN aa"),
        (
            "shop.prod.ext.test",
            RType::A,
            "NOERROR aa | shop.prod.ext.test. 60 A 192.0.2.9",
        ),
        ("inner.prod.ext.test", RType::A, "NXDOMAIN aa"),
    ] {
        let found = ask(&stages, text, qtype);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn only_names_that_are_not_there_fall_through() {
    let stages = stages(false, &["ext.test"]);
    for (text, falls) in [
        ("other.prod.ext.test", true),
        ("other.ext.test", true),
        ("prod.ext.test", false),
        ("shop.prod.ext.test", false),
        ("ns2.dns.ext.test", false),
        ("8.2.0.192.in-addr.arpa", false),
        ("elsewhere.test", true),
    ] {
        let found = ask(&stages, text, RType::PTR);
        assert_eq!(found.contains("192.0.2.1"), falls, "{text}: {found}");
    }
}

#[test]
fn an_address_that_a_service_gives_up_leads_nowhere() {
    let index = ClusterIndex::default();
    let namespace = Arc::new(Namespace::new("prod"));
    let service = |label| Arc::new(ServiceName::new(Arc::clone(&namespace), label));
    let (one, two) = (service("one"), service("two"));
    let hosts = |list: &[&str]| {
        let host = |text: &&str| ExternalHost::Ip(text.parse().unwrap());
        list.iter().map(host).collect::<Box<[_]>>()
    };
    let owners = |text: &str| {
        let found = index.external().owners(text.parse().unwrap(), |owners| {
            let label =
                |name: &Arc<ServiceName>| String::from_utf8_lossy(name.label()).into_owned();
            owners.iter().map(label).collect::<Vec<_>>()
        });
        found.unwrap_or_default()
    };
    index
        .external()
        .put(&one, hosts(&["192.0.2.1", "192.0.2.2"]));
    index.external().put(&two, hosts(&["192.0.2.2"]));
    assert_eq!(owners("192.0.2.2"), ["one", "two"]);
    index.external().put(&one, hosts(&["192.0.2.1"]));
    assert_eq!(owners("192.0.2.2"), ["two"]);
    index.external().put(&one, Box::default());
    assert!(owners("192.0.2.1").is_empty());
    index
        .external()
        .hosts(one.key(), |hosts| assert!(hosts.is_empty()));
}
