use super::super::testing::{ask, name};
use super::*;
use crate::chain::Stage;

fn table(lines: &[(&str, &str)]) -> Table {
    let mut table = Table::default();
    for (address, text) in lines {
        table.add(&name(text), address.parse().unwrap(), true);
    }
    table
}

fn hosts(fallthrough: &[&str], unsupported: bool) -> Stage {
    let file = table(&[
        ("10.0.0.1", "one.test"),
        ("fd00::1", "one.test"),
        ("10.0.0.9", "*.wild.test"),
        ("10.0.0.8", "six.other"),
    ]);
    let inline = table(&[("10.0.0.2", "one.test"), ("fd00::2", "six.test")]);
    let mut hosts = of(&["test"], fallthrough, inline);
    hosts.file.replace(file);
    hosts.fallthrough_unsupported = unsupported;
    Stage::Hosts(Arc::new(hosts))
}

#[test]
fn answers_are_those_of_coredns() {
    const NEXT: &str = "SERVFAIL aa next";
    let cases = [
        (
            "one.test.",
            RType::A,
            "NOERROR aa | one.test. 60 A 10.0.0.1 | one.test. 60 A 10.0.0.2",
        ),
        (
            "one.test.",
            RType::AAAA,
            "NOERROR aa | one.test. 60 AAAA fd00::1",
        ),
        // The owner is in lower case, whatever the question looks like.
        (
            "SIX.test.",
            RType::AAAA,
            "NOERROR aa | six.test. 60 AAAA fd00::2",
        ),
        ("six.test.", RType::A, "NOERROR aa"),
        ("one.test.", RType::MX, "NOERROR aa"),
        (
            "a.wild.test.",
            RType::A,
            "NOERROR aa | a.wild.test. 60 A 10.0.0.9",
        ),
        ("a.b.wild.test.", RType::A, "SERVFAIL"),
        ("two.test.", RType::A, "SERVFAIL"),
        ("sub.fall.test.", RType::A, NEXT),
        ("six.other.", RType::A, NEXT),
        (
            "1.0.0.10.in-addr.arpa.",
            RType::PTR,
            "NOERROR aa | 1.0.0.10.in-addr.arpa. 60 PTR one.test.",
        ),
        (
            "8.0.0.10.in-addr.arpa.",
            RType::PTR,
            "NOERROR aa | 8.0.0.10.in-addr.arpa. 60 PTR six.other.",
        ),
        ("9.0.0.10.in-addr.arpa.", RType::PTR, NEXT),
        ("one.test.", RType::PTR, NEXT),
    ];
    let next = Stage::Fixed(|_, reply| {
        reply.set_authoritative();
        reply.set_rcode(Rcode::SERVFAIL);
        Step::Answered
    });
    let stages = [hosts(&["fall.test"], false), next];
    for (text, qtype, expected) in cases {
        let found = ask(&stages, text, qtype);
        let expected = expected.replace(" next", "");
        assert_eq!(found, expected, "{text} {qtype}");
    }
}

#[test]
fn types_that_hosts_do_not_have_may_fall_through() {
    let next = Stage::Fixed(|_, _| Step::Answered);
    let stages = [hosts(&["test"], true), next];
    for (qtype, expected) in [
        (RType::MX, "NOERROR"),
        (RType::AAAA, "NOERROR aa | six.test. 60 AAAA fd00::2"),
        (RType::A, "NOERROR aa"),
    ] {
        assert_eq!(ask(&stages, "six.test.", qtype), expected, "{qtype}");
    }
}

/// One of all names, where what it does not know falls through from the zones that are told.
fn of(zones: &[&str], fallthrough: &[&str], inline: Table) -> Hosts {
    let zones_of = |texts: &[&str]| Zones::new(texts.iter().map(|text| name(text).into()));
    Hosts {
        zones: zones_of(zones),
        path: PathBuf::new(),
        file: Arc::default(),
        inline,
        ttl: 60,
        fallthrough: zones_of(fallthrough),
        fallthrough_unsupported: false,
    }
}

#[test]
fn ends_tell_names_that_are_not_known() {
    for (known, asked, expected) in [
        (&[][..], "web.default.svc.cluster.local", false),
        (&["node-1", "vault"], "web.default.svc.cluster.local", false),
        (&["node-1", "vault"], "node-1", true),
        (&["node-1", "vault"], "vault", true),
        (&["node-1", "vault"], ".", false),
        (&["vault", "*.example.org"], "a.example.org", true),
        (&["vault", "*.example.org"], "a.example.com", false),
        // What the wildcard is for has octets of its own among the last.
        (&["*.lan"], "printer.lan", true),
        (&["*.lan"], "a.lan", true),
    ] {
        let all = || table(&known.iter().map(|it| ("10.0.0.1", *it)).collect::<Vec<_>>());
        let (inline, file) = (of(&["."], &[], all()), of(&["."], &[], Table::default()));
        file.file.replace(all());
        for hosts in [&inline, &file] {
            assert_eq!(
                hosts.may_know(place_of(&name(asked))),
                expected,
                "{known:?} {asked}"
            );
        }
        file.file.replace(Table::default());
        assert!(!file.may_know(place_of(&name(asked))));
    }
}

#[test]
fn names_fall_through_from_zones_that_may() {
    for (zones, fallthrough, expected) in [
        (&["."][..], &["."][..], true),
        (&["."], &["test"], false),
        (&["."], &[], false),
        (&["a.test", "b.test"], &["test"], true),
        (&["a.test", "b.test"], &["a.test"], false),
    ] {
        let hosts = of(zones, fallthrough, Table::default());
        assert_eq!(hosts.falls_through(), expected, "{zones:?} {fallthrough:?}");
    }
}
