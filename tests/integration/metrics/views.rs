//! Blocks of one zone, told apart by their views.

use martlet_tests::{Scrape, Setup, Upstream};

use super::{DURATIONS, REQUESTS, RESPONSES, scrape_until};
use crate::fixtures::{forward, resolver};

#[test]
fn views_are_counted_apart() {
    let block = |head: &str, acl: &str| {
        format!(
            "a.test:{{PORT}} {{\n    bind 127.0.0.1\n    {head}\n    prometheus 127.0.0.1:{{PORT2}}\n    \
             cache\n    acl {{\n        {acl}\n    }}\n    whoami\n}}\n"
        )
    };
    let corefile = [
        block(
            "view texts {\n        expr type() == 'TXT'\n    }",
            "block net *",
        ),
        block(
            "view others {\n        expr type() == 'A'\n    }",
            "allow net *",
        ),
        block("any", "allow net *"),
    ];
    let martlet = Setup::new(&corefile.concat()).start();
    let client = martlet.client();
    for (rtype, times) in [("TXT", 1), ("A", 2), ("AAAA", 4)] {
        for _ in 0..times {
            client.ask("x.a.test.", rtype);
        }
    }
    let zone = ("zone", "a.test.");
    let told = scrape_until(martlet.nth_port(2), |now| now.sum(REQUESTS, &[zone]) >= 7.0);
    let allowed = "coredns_acl_allowed_requests_total";
    let blocked = "coredns_acl_blocked_requests_total";
    for (view, count, is_allowed) in [("texts", 1.0, 0.0), ("others", 2.0, 1.0), ("", 4.0, 1.0)] {
        let (of_view, view) = ([zone, ("view", view)], [("view", view)]);
        for name in [
            REQUESTS,
            RESPONSES,
            DURATIONS,
            "coredns_dns_request_size_bytes_count",
            "coredns_dns_response_size_bytes_count",
        ] {
            assert_eq!(told.sum(name, &of_view), count, "{name} {view:?}");
        }
        assert_eq!(told.sum(allowed, &view), is_allowed * count, "{view:?}");
        let refused = told.sum(blocked, &of_view);
        assert_eq!(refused, (1.0 - is_allowed) * count, "{view:?}");
        let entries = told.samples.iter().filter(|sample| {
            sample.family == "coredns_cache_entries" && sample.labels["view"] == view[0].1
        });
        assert_eq!(entries.count(), 2, "{view:?}");
    }
    let enabled = |labels: &[(&str, &str)]| told.sum("coredns_plugin_enabled", labels);
    for (view, plugin, expected) in [
        ("texts", "view", 1.0),
        ("texts", "whoami", 1.0),
        ("texts", "any", 0.0),
        ("", "view", 0.0),
        ("", "any", 1.0),
    ] {
        let labels = [("view", view), ("name", plugin)];
        assert_eq!(enabled(&labels), expected, "{view} {plugin}");
    }
}

/// A template that stands in a block of two zones is one row, in each view.
#[test]
fn templates_are_counted_by_view() {
    let block = |head: &str| {
        format!(
            "a.test:{{PORT}} b.test:{{PORT}} {{\n    bind 127.0.0.1\n    {head}\n    \
             prometheus 127.0.0.1:{{PORT2}}\n    \
             template ANY ANY . {{\n        rcode NXDOMAIN\n    }}\n}}\n"
        )
    };
    let texts = block("view texts {\n        expr type() == 'TXT'\n    }");
    let martlet = Setup::new(&(texts + &block("any"))).start();
    for (name, rtype) in [
        ("x.a.test.", "TXT"),
        ("x.a.test.", "A"),
        ("x.b.test.", "A"),
        ("x.b.test.", "A"),
    ] {
        let rcode = martlet.client().ask(name, rtype).rcode;
        assert_eq!(rcode, "NXDOMAIN", "{name} {rtype}");
    }
    let told = Scrape::of(martlet.nth_port(2));
    let matches = told.samples.iter().filter_map(|sample| {
        let [view, rtype] = ["view", "type"].map(|label| sample.labels.get(label));
        let is_it = sample.name == "coredns_template_matches_total";
        is_it.then(|| {
            (
                view.unwrap().as_str(),
                rtype.unwrap().as_str(),
                sample.value,
            )
        })
    });
    let matches = matches.collect::<Vec<_>>();
    assert_eq!(matches, [("", "A", 3.0), ("texts", "TXT", 1.0)]);
}

/// A rule of `acl` counts by its own zone; a template whose answer leads to an upstream counts once.
#[test]
fn plugins_count_once_by_their_own_zones() {
    let upstream = Upstream::start("a");
    let directives = format!(
        "prometheus 127.0.0.1:{{PORT2}}\n\
         acl Inner.test {{\nblock type TXT\n}}\n\
         acl inner.test outer.test {{\ndrop type SRV\nfilter type MX\n}}\n\
         template IN A alias.test {{\nanswer \"{{{{ .Name }}}} 60 IN CNAME a.wild.test.\"\n}}\n{}",
        forward(&[upstream.address()], "")
    );
    let martlet = resolver(&directives).start();
    let client = martlet_tests::Client {
        patience: std::time::Duration::from_millis(300),
        ..martlet.client()
    };
    let query = |name: &str, rtype: &str| martlet_tests::dns::Query::new(name, rtype);
    for (name, rtype) in [("a.inner.test.", "TXT"), ("b.outer.test.", "MX")] {
        assert!(client.ask(name, rtype).an.is_empty(), "{name} {rtype}");
    }
    for name in ["a.inner.test.", "b.outer.test.", "c.outer.test."] {
        assert!(client.send(&query(name, "SRV")).is_none(), "{name}");
    }
    assert_eq!(martlet.client().ask("x.alias.test.", "A").an.len(), 2);
    let matches = "coredns_template_matches_total";
    let told = scrape_until(martlet.nth_port(2), |now| now.sum(matches, &[]) > 0.0);
    assert_eq!(told.sum(matches, &[("zone", "alias.test.")]), 1.0);
    for (what, zone, expected) in [
        ("blocked", "inner.test.", 1.0),
        ("filtered", "inner.test.", 0.0),
        ("filtered", "outer.test.", 1.0),
        ("dropped", "inner.test.", 1.0),
        ("dropped", "outer.test.", 2.0),
        ("dropped", ".", 0.0),
    ] {
        let name = format!("coredns_acl_{what}_requests_total");
        assert_eq!(
            told.sum(&name, &[("zone", zone)]),
            expected,
            "{what} {zone}"
        );
    }
}
