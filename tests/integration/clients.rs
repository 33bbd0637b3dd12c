//! Clients that people use: dig, kdig, and the C library's resolver.

use std::fs;

use martlet_tests::{Martlet, Setup, netns, tools};

use crate::fixtures::COREFILE;

/// The cluster that comes with the repository.
fn demo() -> String {
    let path = tools::repository().join("deploy/demo/cluster.yaml");
    fs::read_to_string(path).expect("the demo cluster is there")
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn dig_reads_every_kind_of_answer() {
    if !tools::available(&["dig"]) {
        return;
    }
    let martlet = Martlet::start(COREFILE, &[("cluster.yaml", &demo())]);
    let db = ["10.244.2.11", "10.244.3.12"];
    for (arguments, expected) in [
        ("web.shop.svc.cluster.local A +short", &["10.96.44.5"][..]),
        ("web.shop.svc.cluster.local AAAA +short", &["fd00:96::2c05"]),
        ("db.shop.svc.cluster.local A +short", &db),
        ("db.shop.svc.cluster.local A +short +tcp", &db),
        (
            "db-0.db.shop.svc.cluster.local A +short +noedns",
            &["10.244.2.11"],
        ),
        (
            "_http._tcp.web.shop.svc.cluster.local SRV +short",
            &["0 50 80 web.shop.svc.cluster.local."],
        ),
        ("-x 10.96.44.5 +short", &["web.shop.svc.cluster.local."]),
        (
            "10-244-1-17.default.pod.cluster.local A +short",
            &["10.244.1.17"],
        ),
        ("dns-version.cluster.local TXT +short", &["\"1.1.0\""]),
        ("none.shop.svc.cluster.local A +short", &[]),
    ] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let output = tools::dig(martlet.port(), &arguments);
        assert_eq!(sorted(&output), expected, "{arguments:?}");
        // In full, dig says what it finds odd.
        let full: Vec<_> = arguments
            .into_iter()
            .filter(|word| *word != "+short")
            .collect();
        let output = tools::dig(martlet.port(), &full);
        for complaint in [
            "malformed",
            "bad packet",
            "mismatch",
            ";; Got bad",
            "extra bytes",
        ] {
            assert!(
                !output.to_lowercase().contains(&complaint.to_lowercase()),
                "{output}"
            );
        }
    }
    let output = tools::dig(martlet.port(), &["none.shop.svc.cluster.local", "A"]);
    assert!(
        output.contains("status: NXDOMAIN") && output.contains("SOA"),
        "{output}"
    );
}

#[test]
fn kdig_reads_answers_over_tcp() {
    if !tools::available(&["kdig"]) {
        return;
    }
    let martlet = Martlet::start(COREFILE, &[("cluster.yaml", &demo())]);
    for transport in ["+notcp", "+tcp"] {
        let output = tools::kdig(
            martlet.port(),
            &["db.shop.svc.cluster.local", "A", "+short", transport],
        );
        assert_eq!(
            sorted(&output),
            ["10.244.2.11", "10.244.3.12"],
            "{transport}"
        );
        let output = tools::kdig(
            martlet.port(),
            &["web.shop.svc.cluster.local", "SRV", transport],
        );
        assert!(output.contains("status: NOERROR"), "{output}");
        assert!(
            !output.contains("WARNING") && !output.contains("malformed"),
            "{output}"
        );
    }
}

/// As in a pod: port 53, a search list, `ndots:5`, and names as people write them.
#[test]
fn the_c_library_resolves_as_in_a_pod() {
    if !tools::available(&["getent"]) {
        return;
    }
    netns::isolated("clients::the_c_library_resolves_as_in_a_pod", || {
        let corefile = COREFILE.replace("{PORT}", "53");
        let martlet = Setup::new(&corefile)
            .port(53)
            .file("cluster.yaml", &demo())
            .start();
        netns::mount_resolv_conf(
            martlet.dir(),
            "nameserver 127.0.0.1\n\
             search default.svc.cluster.local svc.cluster.local cluster.local\n\
             options ndots:5\n",
        );
        for (name, expected) in [
            ("nginx", "nginx.default.svc.cluster.local"),
            ("web.shop", "10.96.44.5"),
            ("web.shop", "fd00:96::2c05"),
            ("web.shop.svc", "10.96.44.5"),
            ("web.shop.svc.cluster.local", "10.96.44.5"),
            ("web.shop.svc.cluster.local.", "10.96.44.5"),
            ("db.shop", "10.244.3.12"),
            ("db-1.db.shop", "10.244.3.12"),
        ] {
            let output = tools::getent(name);
            assert!(output.contains(expected), "{name}: {output}");
        }
        assert_eq!(tools::getent("none.shop"), "");
        assert_eq!(tools::getent("www.example.com"), "");
    });
}
