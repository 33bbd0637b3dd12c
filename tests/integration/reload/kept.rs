//! What goes on from one Corefile to the next.

use std::net::Ipv4Addr;
use std::time::Duration;

use martlet_tests::{FakeApi, Martlet, Scrape, Setup, Upstream, wait_until};
use tempfile::TempDir;

use super::{block, closes, is_open, start};
use crate::fixtures::{becomes, becomes_ready, cluster, forward, status};

/// What a cache holds is lost only when the cache, or what it keeps, is another.
#[test]
fn a_cache_survives_if_it_stays_the_same() {
    let upstream = Upstream::start("a");
    let to = forward(&[upstream.address()], "max_fails 0");
    let slower = forward(&[upstream.address()], "max_fails 0\nread_timeout 1s");
    let corefile = |rest: &str, to: &str| block("up.test", "PORT", &format!("{rest}\n{to}"));
    let martlet = start(&corefile("cache 30", &to));
    let asked = |name: &str| {
        martlet.client().ask(name, "A");
        upstream.count(name)
    };
    let name = "a.up.test.";
    assert_eq!((asked(name), asked(name)), (1, 1));
    let moved = format!("# One line more.\n{}", corefile("cache 30", &to));
    for (corefile, expected, what) in [
        (corefile("cache 30", &to), 1, "the same Corefile"),
        (moved, 1, "a line further down"),
        (corefile("errors\ncache 30", &to), 1, "another plugin"),
        (corefile("cache 20", &to), 2, "another cache"),
        (corefile("cache 20", &slower), 3, "another forward"),
        (corefile("cache 20", &slower), 3, "the same once more"),
    ] {
        martlet.reload(&corefile);
        assert_eq!(asked(name), expected, "{what}");
    }
}

/// A cluster is listed again only when something else is wanted of it.
#[test]
fn a_cluster_survives_if_it_stays_the_same() {
    let api = FakeApi::start(cluster());
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let corefile = |rest: &str, options: &str| {
        let kubeconfig = kubeconfig.display();
        let rest = format!(
            "{rest}\n    kubernetes cluster.local {{\n        kubeconfig {kubeconfig}\n        \
             {options}\n    }}"
        );
        block(".", "PORT", &rest)
    };
    let lists = || {
        let recorded = api.recorded();
        recorded
            .iter()
            .filter(|request| !request.is_watch())
            .count()
    };
    let martlet = Setup::new(&corefile("errors", "pods insecure")).start();
    let web = "web.shop.svc.cluster.local.";
    let before = lists();
    assert!(before > 0);
    martlet.reload(&corefile("whoami", "pods insecure"));
    martlet.reload(&corefile("log", "pods disabled\n        fallthrough"));
    becomes(
        martlet.client(),
        web,
        &["10.96.0.20"],
        Duration::from_secs(2),
    );
    assert_eq!(lists(), before, "the index goes on");
    assert_eq!(api.watchers(), 3, "and so do the watches");

    // The change is there before the new plan is: no name is missing in between.
    martlet.reload(&corefile("log", "pods verified"));
    let reply = martlet.client().ask(web, "A");
    assert_eq!(reply.addresses()[0].to_string(), "10.96.0.20");
    assert!(lists() > before, "pods have to be listed");
    watches(&api, 4);
    martlet.reload(&block(".", "PORT", "whoami"));
    watches(&api, 0);
}

/// Waits until there are so many watches.
fn watches(api: &FakeApi, count: usize) {
    let found = wait_until(Duration::from_secs(10), || {
        (api.watchers() == count).then_some(())
    });
    assert!(found.is_some(), "{} watches, not {count}", api.watchers());
}

/// Counts go on, and there is room for those of new blocks.
#[test]
fn counts_go_on() {
    let counted = |zone: &str| block(zone, "PORT", "whoami\n    prometheus :{PORT2}");
    let martlet = start(&counted("a.test"));
    let requests = |zone: &str| {
        let zone = format!("{zone}.");
        Scrape::of(martlet.nth_port(2)).sum("coredns_dns_requests_total", &[("zone", &zone)])
    };
    let becomes = |zone: &str, expected: f64| {
        let found = wait_until(Duration::from_secs(5), || {
            (requests(zone) == expected).then_some(())
        });
        assert!(found.is_some(), "{zone}: {} requests", requests(zone));
    };
    let ask = |name: &str| {
        martlet.client().ask(name, "A");
        martlet.client().ask_tcp(name, "A");
    };
    ask("x.a.test.");
    becomes("a.test", 2.0);
    let more = ["b.test", "c.test", "d.test"].map(counted).concat();
    martlet.reload(&(counted("a.test") + &more));
    ask("x.a.test.");
    ask("x.d.test.");
    becomes("a.test", 4.0);
    becomes("d.test", 2.0);
    martlet.reload(&counted("a.test"));
    ask("x.a.test.");
    becomes("a.test", 6.0);
    becomes("d.test", 2.0);
}

/// Endpoints move with their directives, and a port may change its plugin.
#[test]
fn endpoints_come_and_go() {
    let status = |martlet: &Martlet, port, path| status(martlet.nth_port(port), path);
    let martlet = start(&block(".", "PORT", "whoami\n    ready :{PORT2}"));
    becomes_ready(Ipv4Addr::LOCALHOST, martlet.nth_port(2));
    assert_eq!(status(&martlet, 2, "/health"), "404");
    assert!(!is_open(&martlet, 3));
    martlet.reload(&block(
        ".",
        "PORT",
        "whoami\n    ready :{PORT3}\n    health :{PORT2}",
    ));
    assert_eq!(status(&martlet, 2, "/ready"), "404");
    assert_eq!(status(&martlet, 2, "/health"), "200");
    assert_eq!(status(&martlet, 3, "/ready"), "200");
    martlet.reload(&block(".", "PORT", "whoami\n    prometheus :{PORT2}"));
    assert_eq!(status(&martlet, 2, "/metrics"), "200");
    closes(&martlet, 3);
}
