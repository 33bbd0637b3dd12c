//! Tables of `kubernetes` directives.

use super::super::testing::{bad, good, good_in, warnings};
use super::*;

fn kubernetes(text: &str) -> Kubernetes {
    good(text).kubernetes.expect(text)
}

fn zone_names(kubernetes: &Kubernetes) -> Vec<&str> {
    kubernetes.zones.iter().map(ZoneName::as_str).collect()
}

#[test]
fn has_defaults() {
    let plain = kubernetes("kubernetes cluster.local");
    assert_eq!(
        plain,
        Kubernetes::new(vec![ZoneName::parse("cluster.local").unwrap()])
    );
    assert_eq!(
        (plain.ttl, plain.pods, plain.startup_timeout.as_secs()),
        (5, PodMode::Disabled, 5)
    );
    assert_eq!(plain.source, KubernetesSource::InCluster);
    assert_eq!(plain.fallthrough, Fallthrough::None);
}

#[test]
fn chooses_zones_and_the_primary_one() {
    for (text, zones, primary) in [
        ("kubernetes Cluster.Local", &["cluster.local."][..], 0),
        ("kubernetes", &["."], 0),
        (
            "kubernetes cluster.local cluster.LOCAL.",
            &["cluster.local."],
            0,
        ),
        (
            "kubernetes cluster.local 10.3.0.0/24",
            &["cluster.local.", "0.3.10.in-addr.arpa."],
            0,
        ),
        (
            "kubernetes 10.96.0.0/15 fd00::/8 foo.example",
            &[
                "96.10.in-addr.arpa.",
                "97.10.in-addr.arpa.",
                "d.f.ip6.arpa.",
                "foo.example.",
            ],
            3,
        ),
        // Not below in-addr.arpa, so not a reverse zone.
        (
            "kubernetes in-addr.arpa Foo.Example cluster.local",
            &["in-addr.arpa.", "foo.example.", "cluster.local."],
            0,
        ),
    ] {
        let kubernetes = kubernetes(text);
        assert_eq!(zone_names(&kubernetes), zones, "{text}");
        assert_eq!(kubernetes.primary_zone, primary, "{text}");
    }
    let block = good_in(
        "10.96.0.0/15:53 cluster.local:53 tls://cluster.local",
        "kubernetes",
    );
    let kubernetes = block.kubernetes.unwrap();
    let zones = [
        "96.10.in-addr.arpa.",
        "97.10.in-addr.arpa.",
        "cluster.local.",
    ];
    assert_eq!(zone_names(&kubernetes), zones);
    assert_eq!(kubernetes.primary_zone, 2);
}

#[test]
fn reads_every_option() {
    let all = kubernetes(
        "kubernetes cluster.local {\n endpoint_pod_names\n pods verified\n namespaces a b a\n \
         labels environment in (production, qa),application=nginx\n ttl 3600\n noendpoints\n \
         fallthrough in-addr.arpa 10.0.0.0/8\n ignore empty_service\n startup_timeout 1m\n \
         apiserver_qps 12.5\n apiserver_burst 20\n apiserver_max_inflight 0\n}",
    );
    assert!(all.endpoint_pod_names && all.no_endpoints && all.ignore_empty_service);
    assert_eq!(all.pods, PodMode::Verified);
    assert_eq!(all.namespaces, ["a", "b"]);
    assert_eq!(
        all.labels.as_deref(),
        Some("environment in (production, qa),application=nginx")
    );
    assert_eq!(all.ttl, 3600);
    let zones = ["in-addr.arpa", "10.in-addr.arpa"].map(|zone| ZoneName::parse(zone).unwrap());
    assert_eq!(all.fallthrough, Fallthrough::Zones(zones.to_vec()));
    assert_eq!(all.startup_timeout.as_secs(), 60);
    assert_eq!(
        (all.api_qps, all.api_burst, all.api_max_inflight),
        (Some(12.5), Some(20), None)
    );

    let rest = kubernetes("kubernetes a {\n fallthrough\n pods insecure\n namespace_labels !x\n}");
    assert_eq!(rest.fallthrough, Fallthrough::All);
    assert_eq!(rest.pods, PodMode::Insecure);
    assert_eq!(rest.namespace_labels.as_deref(), Some("!x"));
}

#[test]
fn chooses_the_source() {
    let tls = ClientTls {
        cert: "c".into(),
        key: "k".into(),
        ca: "ca".into(),
    };
    let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
    let kubeconfig = |context: Option<&str>| KubernetesSource::Kubeconfig {
        path: "f".into(),
        context: context.map(str::to_owned),
    };
    for (options, expected, warned) in [
        ("", KubernetesSource::InCluster, 0),
        ("tls c k ca", KubernetesSource::InCluster, 1),
        (
            "endpoint http://x",
            KubernetesSource::Endpoint {
                urls: urls(&["http://x"]),
                tls: None,
            },
            0,
        ),
        (
            "endpoint a b\n tls c k ca",
            KubernetesSource::Endpoint {
                urls: urls(&["a", "b"]),
                tls: Some(tls),
            },
            1,
        ),
        ("kubeconfig f", kubeconfig(None), 0),
        ("kubeconfig f ctx\n endpoint a", kubeconfig(Some("ctx")), 1),
        (
            "manifests a b/\n manifests c",
            KubernetesSource::Manifests(vec!["a".into(), "b/".into(), "c".into()]),
            0,
        ),
        ("upstream", KubernetesSource::InCluster, 1),
        ("upstream 10.0.0.1", KubernetesSource::InCluster, 1),
        ("resyncperiod 5m", KubernetesSource::InCluster, 1),
        ("ttl 30 40", KubernetesSource::InCluster, 1),
    ] {
        let text = format!("kubernetes cluster.local {{\n {options}\n}}");
        assert_eq!(kubernetes(&text).source, expected, "{text}");
        assert_eq!(warnings(&text).len(), warned, "{text}");
    }
}

#[test]
fn refuses_the_rest() {
    for (options, expected) in [
        ("pods", "3:2: `pods` needs disabled, insecure or verified"),
        (
            "pods secure",
            "3:7: `pods`: `secure` is not one of disabled, insecure, verified",
        ),
        ("pods verified x", "3:16: `pods` takes no argument `x` here"),
        ("ttl", "3:2: `ttl` needs a number of seconds"),
        ("ttl 3601", "3:6: `ttl` must be from 0 to 3600, not `3601`"),
        (
            "ttl -1",
            "3:6: `ttl`: `-1` is not a number (whole, and not negative)",
        ),
        (
            "ttl 30s",
            "3:6: `ttl`: `30s` is not a number (whole, and not negative)",
        ),
        (
            "namespaces",
            "3:2: `namespaces` needs at least one namespace",
        ),
        ("labels", "3:2: `labels` needs a label selector"),
        (
            "labels team!=blue",
            "3:9: the selector operator `!=` cannot be used here",
        ),
        (
            "namespace_labels a > 1",
            "3:21: the selector operator `>` cannot be used here",
        ),
        ("endpoint", "3:2: `endpoint` needs the URL of an API server"),
        ("tls a b", "3:2: `tls` needs a certificate, a key and a CA"),
        ("tls a b c d", "3:12: `tls` takes no argument `d` here"),
        ("kubeconfig", "3:2: `kubeconfig` needs a file"),
        (
            "kubeconfig a b c",
            "3:17: `kubeconfig` takes no argument `c` here",
        ),
        (
            "noendpoints x",
            "3:14: `noendpoints` takes no argument `x` here",
        ),
        (
            "endpoint_pod_names x",
            "3:21: `endpoint_pod_names` takes no argument `x` here",
        ),
        ("ignore", "3:2: `ignore` needs empty_service"),
        (
            "ignore all",
            "3:9: `ignore`: `all` is not one of empty_service",
        ),
        (
            "startup_timeout 5",
            "3:18: `startup_timeout`: `5` is not a duration, such as 30s or 1h30m",
        ),
        (
            "apiserver_qps -1",
            "3:16: `apiserver_qps` must be at least 0, not `-1`",
        ),
        (
            "apiserver_qps x",
            "3:16: `apiserver_qps`: `x` is not a number",
        ),
        ("apiserver_burst", "3:2: `apiserver_burst` needs a number"),
        (
            "apiserver_max_inflight 1.5",
            "3:25: `apiserver_max_inflight`: `1.5` is not a number (whole, and not negative)",
        ),
        (
            "fallthrough a..b",
            "3:14: `a..b` is not a zone: a label is empty",
        ),
        (
            "multicluster clusterset.local",
            "2:1: `multicluster`: `clusterset.local.` is not among the zones of `kubernetes`",
        ),
        (
            "multicluster a..b",
            "3:15: `a..b` is not a zone: a label is empty",
        ),
        ("zonal x", "3:8: `zonal` takes no argument `x` here"),
        (
            "zonal\n noendpoints",
            "2:1: `zonal` and `noendpoints` cannot both be set",
        ),
        ("snapshot", "3:2: `snapshot` needs a file"),
        (
            "transfer to *",
            "3:2: `transfer` was removed in CoreDNS 1.8.0",
        ),
        (
            "cidrs 10.0.0.0/8",
            "3:2: `cidrs` was removed in CoreDNS 1.0.0",
        ),
        ("endpiont x", "3:2: `kubernetes` has no option `endpiont`"),
        (
            "manifests a\n endpoint b",
            "2:1: `manifests` and `endpoint` cannot both be set",
        ),
        (
            "manifests a\n kubeconfig b",
            "2:1: `manifests` and `kubeconfig` cannot both be set",
        ),
        (
            "manifests a\n snapshot s",
            "2:1: `snapshot` and `manifests` cannot both be set",
        ),
        (
            "namespaces a\n namespace_labels b",
            "2:1: `namespaces` and `namespace_labels` cannot both be set",
        ),
    ] {
        let text = format!("kubernetes cluster.local {{\n {options}\n}}");
        assert_eq!(bad(&text), [format!("Corefile:{expected}")], "{text}");
    }
    for text in [
        "kubernetes 10.in-addr.arpa",
        "kubernetes 10.0.0.0/8 fd00::/8",
        "kubernetes a\nkubernetes b",
        "kubernetes a..b",
        "kubernetes ::/0",
    ] {
        assert_eq!(bad(text).len(), 1, "{text}");
    }
}

#[test]
fn finds_every_bad_line_at_once() {
    let text = "kubernetes cluster.local {\n pods x\n ttl y\n zonal x\n ttl 7\n}";
    assert_eq!(bad(text).len(), 3);
}
