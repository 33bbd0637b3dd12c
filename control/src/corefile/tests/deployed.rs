//! Corefiles as they are deployed.

use super::*;

/// kubeadm's, since Kubernetes 1.30.
const KUBEADM: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// The one of CoreDNS' deployment scripts.
const DEPLOYMENT: &str = "\
.:53 {
    errors
    health {
      lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf {
      max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
";

/// NodeLocal DNSCache.
const NODE_LOCAL: &str = "\
cluster.local:53 {
    errors
    cache {
            success 9984 30
            denial 9984 5
    }
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
            force_tcp
    }
    prometheus :9253
    health 169.254.20.10:8080
    }
in-addr.arpa:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
            force_tcp
    }
    prometheus :9253
    }
ip6.arpa:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
            force_tcp
    }
    prometheus :9253
    }
.:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . /etc/resolv.conf
    prometheus :9253
    }
";

/// How clusters were set up in 2017.
const OF_2017: &str = "\
.:53 {
    errors
    log stdout
    health
    kubernetes cluster.local 10.3.0.0/24
    proxy . /etc/resolv.conf
    cache 30
}
";

#[test]
fn reads_kubeadms() {
    let corefile = parse("Corefile", KUBEADM).unwrap();
    assert!(corefile.warnings.is_empty(), "{:?}", corefile.warnings);
    let directives = &corefile.blocks[0].directives;
    let kubernetes = directives.kubernetes.as_ref().unwrap();
    assert_eq!(
        (kubernetes.pods, kubernetes.ttl, kubernetes.primary_zone),
        (PodMode::Insecure, 30, 0)
    );
    assert_eq!(directives.forward[0].max_concurrent, Some(1000));
    assert_eq!(directives.health.as_ref().unwrap().lameduck.as_secs(), 5);
    let cache = directives.cache.as_ref().unwrap();
    assert_eq!(cache.success.disabled[0].as_str(), "cluster.local.");
    assert_eq!(cache.denial.disabled[0].as_str(), "cluster.local.");
    assert!(directives.reload.is_some() && directives.ready.is_some());
    let expected = [
        "prometheus",
        "errors",
        "loadbalance",
        "cache",
        "kubernetes",
        "loop",
        "forward",
    ];
    assert_eq!(directives.names(), expected);
}

#[test]
fn reads_the_others() {
    for (text, blocks, warnings) in [
        (DEPLOYMENT, 1, 0),
        (NODE_LOCAL, 4, 0),
        (OF_2017, 1, 2),
        (OPENSHIFT, 1, 0),
        (SETTINGS, 1, 0),
    ] {
        let corefile = parse("Corefile", text).unwrap_or_else(|bad| panic!("{text}\n{bad}"));
        let found = (corefile.blocks.len(), corefile.warnings.len());
        assert_eq!(found, (blocks, warnings), "{text}\n{:?}", corefile.warnings);
    }
    let old = parse("Corefile", OF_2017)
        .unwrap()
        .blocks
        .remove(0)
        .directives;
    let kubernetes = old.kubernetes.unwrap();
    let zones: Vec<_> = kubernetes.zones.iter().map(ZoneName::as_str).collect();
    assert_eq!(zones, ["cluster.local.", "0.3.10.in-addr.arpa."]);
    assert_eq!(old.forward.len(), 1);
}

/// OpenShift's, but for `bufsize`.
const OPENSHIFT: &str = "\
.:5353 {
    errors
    log . {
        class error
    }
    health {
        lameduck 20s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus 127.0.0.1:9153
    forward . /etc/resolv.conf {
        policy sequential
    }
    cache 900 {
        denial 9984 30
    }
    reload
}
";

/// Settings that come up less often.
const SETTINGS: &str = "\
.:1053 {
    any
    kubernetes in-addr.arpa Foo.Example cluster.local {
        kubeconfig /tmp/kubeconfig
        namespace_labels tier in (front,back),team notin (blue)
        pods verified
        ttl 3600
        ignore empty_service
        endpoint_pod_names
    }
    forward sub.up.test 127.0.0.1:1054 127.0.0.1:1055 {
        policy sequential
        max_fails 0
        failover SERVFAIL REFUSED
    }
    forward . 127.0.0.1:1054 {
        max_fails 0
        prefer_udp
        except not.up.test
    }
    cache 2 {
        serve_stale 10s
        success 1024 2 1
        denial 1024 2 1
    }
    local
    whoami
}
";

#[test]
fn names_what_is_missing_in_richer_ones() {
    let azure = KUBEADM.replace(
        "    loop\n",
        "    loop\n    template ANY ANY internal.cloudapp.net {\n      \
         match \"^(?:[^.]+\\.){4,}internal\\.cloudapp\\.net\\.$\"\n      rcode NXDOMAIN\n      fallthrough\n    }\n",
    );
    let k3s = KUBEADM.replace(
        "    loop\n",
        "    hosts /etc/coredns/NodeHosts {\n      ttl 60\n      reload 15s\n      fallthrough\n    }\n",
    );
    let rules = ".:53 {\n    rewrite stop {\n        name suffix .foo.example. .cluster.local. answer auto\n    }\n    \
                 acl blocked.example.org {\n        block\n    }\n    whoami\n}\n";
    for (text, expected) in [
        (&*azure, &[][..]),
        (&k3s, &[]),
        (rules, &[]),
        (
            ".:53 {\n    bufsize 512\n    transfer cluster.local {\n        to *\n    }\n}\n",
            &[],
        ),
        (".:53 {\n    secondary cluster.local\n}\n", &["secondary"]),
    ] {
        let found = parse("Corefile", text).err();
        let found = found.iter().flatten().map(ToString::to_string);
        let found = found.collect::<Vec<_>>();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (problem, name) in found.iter().zip(expected) {
            assert!(
                problem.ends_with(&format!("`{name}` is not supported yet")),
                "{problem}"
            );
        }
    }
}
