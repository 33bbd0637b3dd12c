//! ExternalName Services whose target is outside of the cluster: the alias and what upstreams say
//! about its target, in one answer.

use martlet_tests::{Martlet, Upstream};
use serde_json::{Value, json};

use crate::fixtures::{cluster, forward, manifest};

fn alias(name: &str, target: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"type": "ExternalName", "externalName": target},
    })
}

fn serve(upstream: &Upstream, plugins: &str) -> Martlet {
    let mut objects = cluster();
    objects.extend(
        [
            ("www", "www.outside.example"),
            ("dotted", "dotted.outside.example."),
            ("api", "api.outside.example"),
            ("gone", "gone.outside.example"),
            ("broken", "servfail.up.test"),
            ("refused", "refused.up.test"),
            ("empty", "nodata1.up.test"),
            ("wide", "wide.up.test"),
            ("spin", "cloop.up.test"),
            ("inside", "web.shop.svc.cluster.local"),
            ("one", "two.shop.svc.cluster.local"),
            ("two", "one.shop.svc.cluster.local"),
            ("self", "self.shop.svc.cluster.local"),
            ("far", "www.shop.svc.cluster.local"),
        ]
        .map(|(name, target)| alias(name, target)),
    );
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    kubernetes cluster.local {{\n        \
         manifests cluster.yaml\n    }}\n    {plugins}\n    {}\n}}\n",
        forward(&[upstream.address()], "max_fails 0\nread_timeout 500ms")
    );
    Martlet::start(&corefile, &[("cluster.yaml", &manifest(&objects))])
}

#[test]
fn the_targets_records_come_along() {
    let upstream = Upstream::start("a");
    for plugins in ["", "cache 30", "loadbalance"] {
        let martlet = serve(&upstream, plugins);
        let client = martlet.client();
        // Name, type, aliases in the answer, addresses in the answer.
        for (name, rtype, aliases, addresses) in [
            ("www", "A", 1, &["203.0.113.10"][..]),
            ("www", "AAAA", 1, &["2001:db8::10"]),
            ("dotted", "A", 1, &["203.0.113.30"]),
            ("dotted", "AAAA", 1, &[]),
            ("api", "A", 3, &["203.0.113.20", "203.0.113.21"]),
            ("api", "AAAA", 3, &[]),
            ("far", "A", 2, &["203.0.113.10"]),
            ("www", "CNAME", 1, &[]),
            ("inside", "A", 1, &["10.96.0.20"]),
            ("gone", "A", 1, &[]),
            ("broken", "A", 1, &[]),
            ("refused", "A", 1, &[]),
            ("empty", "A", 1, &[]),
        ] {
            // Twice: the second time the target may come from a cache.
            for _ in 0..2 {
                let reply = client.ask(&format!("{name}.shop.svc.cluster.local."), rtype);
                let what = format!("`{plugins}`, {name} {rtype}: {reply:?}");
                assert_eq!(reply.rcode, "NOERROR", "{what}");
                assert_eq!(reply.rdata("CNAME").count(), aliases, "{what}");
                let found = reply.addresses();
                let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                assert_eq!(found, addresses, "{what}");
                assert_eq!(reply.malformed, None, "{what}");
            }
        }
    }
}

#[test]
fn each_spelling_is_the_clients() {
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream, "cache 30");
    for name in ["www.shop.svc.cluster.local.", "WWW.shop.SVC.cluster.local."] {
        let reply = martlet.client().ask(name, "A");
        assert_eq!(reply.q[0][0], name);
        let alias = reply.an.iter().find(|record| record.rtype() == "CNAME");
        assert_eq!(alias.map(|record| record.owner()), Some(name), "{reply:?}");
    }
}

#[test]
fn circles_end() {
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream, "");
    for name in ["spin", "one", "two", "self"] {
        let reply = martlet
            .client()
            .ask(&format!("{name}.shop.svc.cluster.local."), "A");
        assert!(reply.addresses().is_empty(), "{name}: {reply:?}");
        assert!(reply.an.len() <= 16, "{name}: {reply:?}");
        assert_eq!(reply.malformed, None, "{name}: {reply:?}");
    }
    // One look-up of the target is enough to see that it leads nowhere.
    let asked = upstream.count("cloop.up.test.");
    assert!((1..=2).contains(&asked), "asked {asked} times");
    assert_eq!(martlet.client().ask("a.up.test.", "A").an.len(), 1);
}

#[test]
fn a_target_too_large_for_udp_is_truncated() {
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream, "");
    let name = "wide.shop.svc.cluster.local.";
    let reply = martlet.client().ask(name, "A");
    assert!(reply.has("TC"), "{reply:?}");
    let reply = martlet.client().ask_tcp(name, "A");
    assert!(!reply.has("TC"), "{reply:?}");
    assert_eq!(reply.addresses().len(), 80, "{reply:?}");
}

#[test]
fn types_without_an_alias_need_no_upstream() {
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream, "");
    for rtype in ["TXT", "MX", "HTTPS"] {
        let reply = martlet.client().ask("www.shop.svc.cluster.local.", rtype);
        assert_eq!(reply.rcode, "NOERROR", "{rtype}: {reply:?}");
    }
    assert_eq!(upstream.count("www.outside.example."), 0);
    let reply = martlet.client().ask("www.shop.svc.cluster.local.", "A");
    assert_eq!(reply.addresses().len(), 1);
    assert_eq!(upstream.count("www.outside.example."), 1);
}
