//! All of CoreDNS's plugins: those that are here, those that are refused, and what is told of wrong
//! arguments.

use super::super::directives::{ORDER, supported};
use super::*;

/// The plugins of CoreDNS 1.14.7 in their order, as its list has them.
const COREDNS: &str = include_str!("coredns_plugins.txt");
const PLUGINS: &str = include_str!("../../../../PLUGINS.md");
const DEVIATIONS: &str = include_str!("../../../../tests/DEVIATIONS.md");

/// What CoreDNS does not have.
const OWN: [&str; 1] = ["no_aaaa"];

#[test]
fn every_plugin_of_coredns_is_known_in_its_order() {
    let names = ORDER.iter().map(|(name, _)| *name);
    let names = names.filter(|name| !OWN.contains(name));
    assert_eq!(
        names.collect::<Vec<_>>(),
        COREDNS.lines().collect::<Vec<_>>()
    );
}

#[test]
fn what_is_here_has_a_row_in_the_list_of_plugins() {
    // Other tables stand in sections of their own.
    let table = PLUGINS.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let names = rows.filter_map(|row| row.split('|').nth(1));
    let names = names.map(str::trim).skip_while(|name| *name != "root");
    let listed = names.collect::<Vec<_>>();
    for name in supported() {
        let rows = listed.iter().filter(|listed| **listed == name);
        assert_eq!(rows.count(), 1, "{name} in PLUGINS.md");
    }
    for name in &listed {
        assert!(supported().any(|known| known == *name), "{name}");
    }
}

#[test]
fn what_is_not_here_is_refused_in_one_sentence() {
    for (name, _) in ORDER.iter().filter(|(_, supported)| !supported) {
        for text in [
            format!(". {{\n {name}\n}}"),
            // Whatever its block looks like.
            format!(". {{\n {name} a b {{\n c {{\n d\n }}\n }}\n}}"),
        ] {
            let found = problems(&text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            let place = format!("Corefile:2:2: `{name}` is not supported");
            assert!(found[0].starts_with(&place), "{found:?}");
        }
        let rows = DEVIATIONS
            .lines()
            .filter(|line| line.contains("not supported"));
        let mut rows = rows.filter(|row| row.contains(&format!("`{name}`")));
        assert!(rows.next().is_some(), "{name} in DEVIATIONS.md");
    }
}

#[test]
fn a_slip_of_the_pen_is_pointed_out() {
    for (name, _) in ORDER.iter().filter(|(name, _)| name.len() > 5) {
        let (first, rest) = name.split_at(2);
        let slip = format!("{first}{}", &rest[1..]);
        let text = format!(". {{\n {slip}\n}}");
        let found = parse("Corefile", &text).expect_err(name).to_string();
        let expected = format!("Corefile:2:2: unknown directive `{slip}` (did you mean `{name}`?)");
        assert_eq!(found, expected);
    }
}

/// Wrong arguments, by the word that the error must point at: its line, its column and itself.
#[test]
fn wrong_arguments_are_told_with_their_place() {
    let cases: &[(&str, &str, (usize, usize), &str)] = &[
        ("root", "root", (2, 1), "root"),
        ("root", "root a b", (2, 8), "b"),
        ("metadata", "metadata a..b", (2, 10), "a..b"),
        ("cancel", "cancel soon", (2, 8), "soon"),
        ("timeouts", "timeouts {\n reed 1s\n}", (3, 2), "reed"),
        ("timeouts", "timeouts {\n idle 25h\n}", (3, 7), "25h"),
        ("multisocket", "multisocket 0", (2, 13), "0"),
        ("reload", "reload 1s", (2, 8), "1s"),
        ("reload", "reload 30s x", (2, 12), "x"),
        ("nsid", "nsid {\n x\n}", (2, 1), "nsid"),
        ("bufsize", "bufsize 100", (2, 9), "100"),
        ("bind", "bind", (2, 1), "bind"),
        ("bind", "bind 127.0.0.1 {\n exept lo\n}", (3, 2), "exept"),
        ("debug", "debug x", (2, 7), "x"),
        ("ready", "ready 8181x", (2, 7), "8181x"),
        ("ready", "ready {\n monitor never\n}", (3, 10), "never"),
        ("health", "health {\n lameduck 5\n}", (3, 11), "5"),
        ("health", "health {\n lamedick 5s\n}", (3, 2), "lamedick"),
        ("shed", "shed x", (2, 6), "x"),
        ("prometheus", "prometheus nowhere", (2, 12), "nowhere"),
        ("errors", "errors {\n consolidate x y\n}", (3, 14), "x"),
        (
            "errors",
            "errors {\n consolidate 5m ^( error\n}",
            (3, 17),
            "regular expression",
        ),
        ("log", "log {\n class errors\n}", (3, 8), "errors"),
        ("log", "log a..b", (2, 5), "a..b"),
        (
            "local",
            "local {\n localhost_prefix maybe\n}",
            (3, 19),
            "maybe",
        ),
        ("dns64", "dns64 64:ff9b::/97", (2, 7), "64:ff9b::/97"),
        ("dns64", "dns64 {\n translate\n}", (3, 2), "translate"),
        ("any", "any x", (2, 5), "x"),
        ("chaos", "chaos v {\n x\n}", (2, 1), "chaos"),
        ("loadbalance", "loadbalance robin", (2, 13), "robin"),
        (
            "loadbalance",
            "loadbalance {\n prefer 10.0.0.0/33\n}",
            (3, 9),
            "10.0.0.0/33",
        ),
        ("rewrite", "rewrite nam a b", (2, 9), "nam"),
        ("rewrite", "rewrite ttl a 9-3", (2, 15), "9-3"),
        ("rewrite", "rewrite {\n type A\n B\n}", (4, 2), "B"),
        ("autopath", "autopath", (2, 1), "autopath"),
        ("acl", "acl {\n alow net 10.0.0.0/8\n}", (3, 2), "alow"),
        ("acl", "acl {\n block type NOPE\n}", (3, 13), "NOPE"),
        (
            "acl",
            "acl {\n block net 10.0.0.0/33\n}",
            (3, 12),
            "10.0.0.0/33",
        ),
        ("cache", "cache x..y", (2, 7), "x..y"),
        ("cache", "cache {\n success many\n}", (3, 10), "many"),
        ("cache", "cache {\n prefech 5\n}", (3, 2), "prefech"),
        ("header", "header {\n response sett aa\n}", (3, 11), "sett"),
        ("header", "header {\n query set xx\n}", (3, 12), "xx"),
        ("tls", "tls cert", (2, 1), "tls"),
        ("tls", "tls a b {\n client_auth maybe\n}", (3, 14), "maybe"),
        ("minimal", "minimal x", (2, 9), "x"),
        ("template", "template IN XX", (2, 13), "XX"),
        (
            "template",
            "template IN A {\n rcode NOPE\n}",
            (3, 8),
            "NOPE",
        ),
        (
            "template",
            "template IN A {\n answer \"{{ .Nome }}\"\n}",
            (3, 9),
            ".Nome",
        ),
        ("transfer", "transfer {\n to *\n too *\n}", (4, 2), "too"),
        (
            "transfer",
            "transfer {\n to *\n to nowhere\n}",
            (4, 5),
            "nowhere",
        ),
        ("hosts", "hosts {\n ttl 0\n}", (3, 6), "0"),
        ("hosts", "hosts {\n relode 5s\n}", (3, 2), "relode"),
        ("hosts", "hosts {\n 10.0.0.1 a..b\n}", (3, 11), "a..b"),
        (
            "k8s_external",
            "kubernetes a.test\nk8s_external b.test {\n tttl 5\n}",
            (4, 2),
            "tttl",
        ),
        ("k8s_external", "k8s_external b.test", (2, 1), "kubernetes"),
        (
            "kubernetes",
            "kubernetes a.test {\n pods maybe\n}",
            (3, 7),
            "maybe",
        ),
        (
            "kubernetes",
            "kubernetes a.test {\n ttl 4000\n}",
            (3, 6),
            "4000",
        ),
        (
            "kubernetes",
            "kubernetes a.test {\n tttl 5\n}",
            (3, 2),
            "tttl",
        ),
        ("file", "file", (2, 1), "file"),
        ("file", "file db a.test {\n relode 5s\n}", (3, 2), "relode"),
        ("no_aaaa", "no_aaaa a..b", (2, 9), "a..b"),
        ("loop", "loop x", (2, 6), "x"),
        ("forward", "forward . 10.0.0.256", (2, 11), "10.0.0.256"),
        (
            "forward",
            "forward . 10.0.0.1 {\n policy best\n}",
            (3, 9),
            "best",
        ),
        (
            "forward",
            "forward . 10.0.0.1 {\n max_fail 3\n}",
            (3, 2),
            "max_fail",
        ),
        ("erratic", "erratic {\n drop x\n}", (3, 7), "x"),
        ("erratic", "erratic {\n dropp\n}", (3, 2), "dropp"),
        ("whoami", "whoami x", (2, 8), "x"),
        ("view", "view a {\n expr nome() == 'x'\n}", (3, 7), "nome"),
        ("view", "view a {\n exp true\n}", (3, 2), "exp"),
    ];
    let mut wrong = Vec::new();
    for (_, text, (line, column), word) in cases {
        let found = problems(&format!(". {{\n{text}\n}}"));
        let place = format!("Corefile:{line}:{column}: ");
        let is_told = |told: &String| told.starts_with(&place) && told.contains(word);
        if found.len() != 1 || !found.iter().all(is_told) {
            wrong.push(format!("{text}\n{place}{word}\n{found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for name in supported() {
        let mut named = cases.iter().map(|(of, ..)| *of);
        assert!(named.any(|of| of == name), "no case is about `{name}`");
    }
}
