//! `zonal`: the endpoints of headless Services by topology zone.

use martlet_tests::{Client, Martlet};
use serde_json::{Value, json};

use crate::fixtures::{cluster, manifest, service, slice};

fn objects() -> Vec<Value> {
    let mut zoned = slice("shop", "zoned", &[]);
    zoned["endpoints"] = json!([
        {"addresses": ["10.244.1.1"], "zone": "West-1"},
        {"addresses": ["10.244.1.2"], "zone": "west-1"},
        {"addresses": ["10.244.2.1"], "zone": "corp.example.com"},
        {"addresses": ["10.244.3.1"]},
        {"addresses": ["10.244.4.1"], "zone": "east", "conditions": {"ready": false}},
    ]);
    let mut all = cluster();
    all.extend([
        service("shop", "zoned", "None"),
        zoned,
        service("shop", "none", "None"),
    ]);
    all
}

fn start(option: &str) -> Martlet {
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    kubernetes cluster.local {{\n        \
         manifests cluster.yaml\n        pods insecure\n        {option}\n    }}\n}}\n"
    );
    Martlet::start(&corefile, &[("cluster.yaml", &manifest(&objects()))])
}

/// Code and data of the records that answer, sorted.
fn told(client: &Client, name: &str, rtype: &str) -> String {
    let reply = client.ask(&format!("{name}.cluster.local."), rtype);
    let mut data: Vec<_> = reply.an.iter().map(|record| record.rdata()).collect();
    data.sort_unstable();
    format!("{} {}", reply.rcode, data.join(", "))
}

const ALL: &str = "NOERROR 10.244.1.1, 10.244.1.2, 10.244.2.1, 10.244.3.1";
const WEST: &str = "NOERROR 10.244.1.1, 10.244.1.2";

#[test]
fn a_zone_selects_endpoints() {
    let martlet = start("zonal");
    let client = martlet.client();
    let srv = "NOERROR 0 50 80 10-244-1-1.zoned.shop.svc.cluster.local., \
               0 50 80 10-244-1-2.zoned.shop.svc.cluster.local.";
    for (name, rtype, expected) in [
        ("zoned.shop.svc", "A", ALL),
        ("west-1.pin._zone.zoned.shop.svc", "A", WEST),
        ("WEST-1.Pin._Zone.zoned.shop.svc", "A", WEST),
        ("west-1.prefer._zone.zoned.shop.svc", "A", WEST),
        ("west-1.pin._zone.zoned.shop.svc", "AAAA", "NOERROR "),
        ("west-1.pin._zone.zoned.shop.svc", "TXT", "NOERROR "),
        ("west-1.pin._zone.zoned.shop.svc", "SRV", srv),
        (
            "corp.example.com.pin._zone.zoned.shop.svc",
            "A",
            "NOERROR 10.244.2.1",
        ),
        ("example.com.pin._zone.zoned.shop.svc", "A", "NOERROR "),
        ("corp.example.pin._zone.zoned.shop.svc", "A", "NOERROR "),
        ("east.pin._zone.zoned.shop.svc", "A", "NOERROR "),
        ("east.pin._zone.zoned.shop.svc", "SRV", "NOERROR "),
        ("east.pin._zone.zoned.shop.svc", "TXT", "NOERROR "),
        ("east.prefer._zone.zoned.shop.svc", "A", ALL),
        ("east.near._zone.zoned.shop.svc", "A", "NXDOMAIN "),
        ("east.pin.zone.zoned.shop.svc", "A", "NXDOMAIN "),
        ("pin._zone.zoned.shop.svc", "A", "NXDOMAIN "),
        // A headless Service without endpoints does not exist, but names by zone below it do.
        ("none.shop.svc", "A", "NXDOMAIN "),
        ("east.pin._zone.none.shop.svc", "A", "NOERROR "),
        ("east.prefer._zone.none.shop.svc", "A", "NOERROR "),
        ("east.pin._zone.web.shop.svc", "A", "NXDOMAIN "),
        ("east.pin._zone.nobody.shop.svc", "A", "NXDOMAIN "),
        ("east.pin._zone.zoned.nowhere.svc", "A", "NXDOMAIN "),
        ("east.pin._zone.10-1-2-3.shop.pod", "A", "NXDOMAIN "),
    ] {
        assert_eq!(told(&client, name, rtype), expected, "{name} {rtype}");
    }
}

#[test]
fn zones_mean_nothing_without_the_option() {
    let martlet = start("");
    let client = martlet.client();
    for name in [
        "west-1.pin._zone.zoned.shop.svc",
        "west-1.prefer._zone.zoned.shop.svc",
    ] {
        assert_eq!(told(&client, name, "A"), "NXDOMAIN ", "{name}");
    }
}
