//! Who asks, and for what.

use martlet_tests::{Martlet, Setup};

use super::scrape_until;
use crate::fixtures::{cluster, manifest, pod};

/// A server of a cluster in which a pod has this machine's address.
fn start() -> Martlet {
    let corefile = ".:{PORT} {\n    prometheus 127.0.0.1:{PORT2}\n    kubernetes cluster.local {\n        \
                    pods verified\n        manifests cluster.yaml\n    }\n    forward . 127.0.0.1:1\n}\n";
    let mut objects = cluster();
    objects.push(pod("shop", "asker-0", "127.0.0.1"));
    Setup::new(corefile)
        .file("cluster.yaml", &manifest(&objects))
        .start()
}

/// So many of each: some two hundred are looked at.
const TIMES: usize = 3_000;

/// Asks for two names of the cluster, and what a search list makes of one outside of it.
pub(super) fn ask(martlet: &Martlet) {
    let client = martlet.client();
    for name in [
        "web.shop.svc.cluster.local.",
        "nothing.shop.svc.cluster.local.",
        "www.example.com.shop.svc.cluster.local.",
        "www.example.com.svc.cluster.local.",
        "www.example.com.cluster.local.",
    ] {
        for _ in 0..TIMES {
            client.ask(name, "A");
        }
    }
}

#[test]
fn the_busiest_are_told() {
    let martlet = start();
    ask(&martlet);
    let misses = "martlet_top_search_misses";
    let told = scrape_until(martlet.nth_port(2), |now| now.sum(misses, &[]) > 0.0);
    // What chance allows, and more.
    let about = |found: f64, expected: usize| {
        let expected = expected as f64;
        assert!(
            (expected / 2.0..expected * 2.0).contains(&found),
            "{found} of {expected}"
        );
    };
    let client = [
        ("client", "127.0.0.1"),
        ("namespace", "shop"),
        ("pod", "asker-0"),
    ];
    about(told.sum("martlet_top_clients_queries", &client), 5 * TIMES);
    assert_eq!(
        told.sum("martlet_top_clients_queries", &[]),
        told.sum("martlet_top_clients_queries", &client),
        "there is but one"
    );
    let names = "martlet_top_names_queries";
    about(
        told.sum(names, &[("name", "web.shop.svc.cluster.local.")]),
        TIMES,
    );
    about(told.sum(names, &[]), 5 * TIMES);
    // A Service that is not there was not meant to be outside.
    about(told.sum(misses, &[("name", "www.example.com.")]), 3 * TIMES);
    assert_eq!(
        told.sum(misses, &[]),
        told.sum(misses, &[("name", "www.example.com.")])
    );
}

/// There are never more than a few series, whatever clients ask.
#[test]
fn series_are_few() {
    let martlet = start();
    let client = martlet.client();
    for number in 0..5_000 {
        client.ask(&format!("<b>{number}.example.com.cluster.local."), "A");
    }
    let misses = "martlet_top_search_misses";
    let told = scrape_until(martlet.nth_port(2), |now| now.sum(misses, &[]) > 0.0);
    for family in ["martlet_top_names_queries", misses] {
        let series = told.samples.iter().filter(|sample| sample.family == family);
        assert_eq!(series.count(), 10, "{family}");
    }
}
