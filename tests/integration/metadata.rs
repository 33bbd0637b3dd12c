//! `metadata`: labels of queries, in the log, in templates, and in what a view is for.

use std::time::Duration;

use martlet_tests::dns::Query;
use martlet_tests::{Martlet, Upstream, wait_until};

use crate::fixtures::{cluster, manifest, pod};

fn start(upstream: &Upstream, format: &str) -> Martlet {
    let corefile = format!(
        ".:{{PORT}} {{
    bind 127.0.0.1
    view inside {{
        expr metadata('kubernetes/client-namespace') == 'shop' && name() != 'outside.test.'
    }}
    metadata
    log . \"told {{name}} {format} end\"
    template IN TXT meta.test {{
        answer \"{{{{ .Name }}}} 5 IN TXT <{{{{ .Meta \\\"kubernetes/client-pod-name\\\" }}}}|{{{{ .Meta \\\"kubernetes/service\\\" }}}}>\"
    }}
    rewrite name old.test web.shop.svc.cluster.local
    rewrite name new.shop.svc.cluster.local y.meta.test
    kubernetes cluster.local {{
        manifests cluster.yaml
        pods verified
    }}
    forward . {}
}}
.:{{PORT}} {{
    bind 127.0.0.1
    erratic
}}
",
        upstream.address()
    );
    let mut objects = cluster();
    objects.push(pod("shop", "asker-1", "127.0.0.1"));
    Martlet::start(&corefile, &[("cluster.yaml", &manifest(&objects))])
}

/// What the log says of a name.
fn told(martlet: &Martlet, name: &str) -> Option<String> {
    let begins = format!("told {name} ");
    let log = martlet.log();
    let line = log.lines().find_map(|line| line.split_once(&begins))?.1;
    Some(line.strip_suffix(" end")?.to_owned())
}

#[test]
fn labels_are_told_where_they_are_read() {
    let upstream = Upstream::start("a");
    let labels = "{/kubernetes/kind} {/kubernetes/namespace} {/kubernetes/service} \
                  {/kubernetes/port-name} {/kubernetes/client-namespace} \
                  {/kubernetes/client-pod-name} {/kubernetes/parse-error} {/view/name} \
                  {/forward/upstream} {/log/class} {/log/type} {/geoip/city/name} {odd}";
    let martlet = start(&upstream, labels);
    let client = martlet.client();
    let address = upstream.address().to_string();
    for (name, rtype, kubernetes, upstream, reply) in [
        (
            "web.shop.svc.cluster.local.",
            "A",
            "svc shop web ",
            "-",
            "success NOERROR",
        ),
        (
            "_http._tcp.web.shop.svc.cluster.local.",
            "SRV",
            "svc shop web http",
            "-",
            "success NOERROR",
        ),
        (
            "none.shop.svc.cluster.local.",
            "A",
            "svc shop none ",
            "-",
            "denial NXDOMAIN",
        ),
        ("a.up.test.", "A", "- - - -", &address, "success NOERROR"),
        ("old.test.", "A", "- - - -", "-", "success NOERROR"),
    ] {
        client.ask(name, rtype);
        let expected = format!("{kubernetes} shop asker-1 - inside {upstream} {reply} - {{odd}}");
        let found = wait_until(Duration::from_secs(5), || told(&martlet, name));
        assert_eq!(found.as_deref(), Some(&*expected), "{name}");
    }
    let name = "a.b.c.d.svc.cluster.local.".replace("d.svc", "d.other");
    client.ask(&name, "A");
    let found = wait_until(Duration::from_secs(5), || told(&martlet, &name));
    let expected = "- - - - shop asker-1 invalid query name inside";
    assert!(
        found
            .as_ref()
            .is_some_and(|found| found.starts_with(expected)),
        "{found:?}"
    );
}

#[test]
fn views_and_templates_know_who_asks() {
    let upstream = Upstream::start("a");
    let martlet = start(&upstream, "{rcode}");
    let client = martlet.client();
    // Labels are of the name that was asked for, whatever it was rewritten to.
    for (name, expected) in [
        ("x.meta.test.", "<asker-1|>"),
        ("new.shop.svc.cluster.local.", "<asker-1|new>"),
    ] {
        let reply = client.ask(name, "TXT");
        assert!(format!("{reply:?}").contains(expected), "{reply:?}");
    }
    // The other block, which has no view.
    // Of its queries the first is lost.
    client.send(&Query::new("outside.test.", "A"));
    let reply = client.ask("outside.test.", "A");
    assert!(format!("{reply:?}").contains("192.0.2.53"), "{reply:?}");
}
