//! Whole Corefiles: the language, and the files that clusters really have.

use std::path::Path;
use std::{env, fs};

use proptest::prelude::*;

use super::*;

mod deployed;
mod imports;
mod plugins;

/// What is wrong with a text.
fn problems(text: &str) -> Vec<String> {
    problems_with(text, &Options::text_only())
}

fn problems_with(text: &str, options: &Options) -> Vec<String> {
    let Err(problems) = parse_with("Corefile", text, options) else {
        panic!("no problem found in {text}")
    };
    problems.iter().map(ToString::to_string).collect()
}

/// The addresses of all blocks, block by block.
fn addresses(text: &str) -> Vec<Vec<String>> {
    let corefile = parse("Corefile", text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    let block = |block: &ServerBlock| {
        let address = |Address { scheme, zone, port }: &Address| {
            let port = port.map_or_else(|| "-".to_owned(), |port| port.to_string());
            format!("{scheme} {zone} {port}")
        };
        block.addresses.iter().map(address).collect()
    };
    corefile.blocks.iter().map(block).collect()
}

#[test]
fn reads_addresses() {
    for (text, expected) in [
        ("", &[][..]),
        (". {\n}", &[&["dns . -"][..]]),
        (".", &[&["dns . -"]]),
        (".:53\n{\n}", &[&["dns . 53"]]),
        ("Example.ORG. {\n}", &[&["dns example.org. -"]]),
        ("a b:54 {\n}", &[&["dns a. -", "dns b. 54"]]),
        ("a, b,\n c {\n}", &[&["dns a. -", "dns b. -", "dns c. -"]]),
        ("a , b {\n}", &[&["dns a. -", "dns b. -"]]),
        ("\"\" a {\n}", &[&["dns a. -"]]),
        (
            "dns://a tls://b quic://c grpc://d https://e https3://f:8443 {\n}",
            &[&[
                "dns a. -",
                "tls b. -",
                "quic c. -",
                "grpc d. -",
                "https e. -",
                "https3 f. 8443",
            ]],
        ),
        (
            "10.0.0.0/15:54 2001:db8::/32 {\n}",
            &[&[
                "dns 0.10.in-addr.arpa. 54",
                "dns 1.10.in-addr.arpa. 54",
                "dns 8.b.d.0.1.0.0.2.ip6.arpa. -",
            ]],
        ),
        ("a {\n}\nb {\n}", &[&["dns a. -"], &["dns b. -"]]),
        // The brace is a word of its own only after white space.
        ("a:{\n}", &[]),
    ] {
        if text == "a:{\n}" {
            assert_eq!(problems(text).len(), 1, "{text}");
            continue;
        }
        assert_eq!(addresses(text), expected, "{text}");
    }
}

#[test]
fn refuses_bad_addresses() {
    for (text, expected) in [
        ("a,", "1:1: expected another zone after the comma"),
        ("a, {\n}", "1:1: expected another zone after the comma"),
        (
            "{\n}",
            "1:1: a server block needs at least one zone before its `{`",
        ),
        (
            "a: {\n}",
            "1:1: `a:` is not a zone: a port must follow the last colon",
        ),
        (":53 {\n}", "1:1: `:53` is not a zone: it is empty"),
        (
            "a:65536 {\n}",
            "1:1: `a:65536` is not a zone: what follows the last colon is not a port",
        ),
        (
            "a:b {\n}",
            "1:1: `a:b` is not a zone: what follows the last colon is not a port",
        ),
        ("a..b {\n}", "1:1: `a..b` is not a zone: a label is empty"),
        (
            "http://a {\n}",
            "1:1: `http://` is not a scheme of server blocks",
        ),
        (
            "unix://a {\n}",
            "1:1: `unix://` is not a scheme of server blocks",
        ),
        (
            "::/0 {\n}",
            "1:1: `::/0` is not a zone: write the address block in full, as in `2001:db8::/32`",
        ),
        (
            "a {\nwhoami\n}\n  a {\n}",
            "4:3: cannot serve dns://a.:53: it is already served by the block at Corefile:1:1",
        ),
        (
            "a a {\n}",
            "1:1: cannot serve dns://a.:53: it is already served by the block at Corefile:1:1",
        ),
        (
            "a {\n}\nA.:53 {\n}",
            "3:1: cannot serve dns://a.:53: it is already served by the block at Corefile:1:1",
        ),
        (
            "10.1.0.0/16 {\n}\n10.0.0.0/15 {\n}",
            "3:1: cannot serve dns://1.10.in-addr.arpa.:53: it is already served by the block at Corefile:1:1",
        ),
    ] {
        assert_eq!(problems(text), [format!("Corefile:{expected}")], "{text}");
    }
}

#[test]
fn compares_listeners() {
    for (one, other, clash) in [
        ("a", "a", true),
        ("a", "a:54", false),
        ("a", "b", false),
        ("a", "tls://a", false),
        ("tls://a", "tls://a:853", true),
        ("quic://a", "tls://a", false),
        ("https://a", "https3://a", false),
        ("a", "a {\nbind 10.0.0.1", true),
        ("a {\nbind 10.0.0.1", "a", true),
        ("a {\nbind 10.0.0.1", "a {\nbind 10.0.0.2", false),
        ("a {\nbind 10.0.0.1", "a {\nbind 10.0.0.2 10.0.0.1", true),
        (
            "a {\nbind 10.0.0.1",
            "a {\nbind 10.0.0.2 10.0.0.1 {\nexcept 10.0.0.1\n}",
            false,
        ),
        ("a {\nbind 10.0.0.1", "b", false),
        ("a {\nbind eth0", "a {\nbind eth0", true),
    ] {
        let block = |text: &str| match text.contains('{') {
            true => format!("{text}\n}}\n"),
            false => format!("{text} {{\n}}\n"),
        };
        let text = block(one) + &block(other);
        assert_eq!(parse("Corefile", &text).is_err(), clash, "{text}");
    }
    let other_port = Options {
        dns_port: 1053,
        ..Options::text_only()
    };
    let text = ". {\n}\n.:53 {\n}\n";
    assert!(parse("Corefile", text).is_err());
    assert!(parse_with("Corefile", text, &other_port).is_ok());
}

#[test]
fn reads_blocks() {
    for (text, blocks) in [
        (".:53\nwhoami\nlog", 1),
        (".:53\nwhoami\n}", 1),
        (".:53 {\nwhoami\n}\n}", 1),
        ("a {\n}\nb {\nwhoami\n}", 2),
        (". {\nlocal { # comment\nlocalhost_prefix on\n}\n}", 1),
        (". {\nerrors { stacktrace }\n}", 1),
        ("\u{feff}. {\r\nwhoami\r\n}\r\n", 1),
        ("(x) {\nwhoami\n}", 0),
    ] {
        let corefile = parse("Corefile", text).unwrap_or_else(|bad| panic!("{text}\n{bad}"));
        assert_eq!(corefile.blocks.len(), blocks, "{text}");
    }
    let empty = parse("Corefile", "# nothing").expect("reads");
    assert_eq!(
        empty.warnings[0].to_string(),
        "Corefile: the Corefile has no server block, so nothing is served"
    );
}

#[test]
fn refuses_bad_blocks() {
    for (text, expected) in [
        (". {\nwhoami", &["1:3: this block is never closed"][..]),
        (
            ". {\nerrors {\n",
            &[
                "1:3: this block is never closed",
                "2:8: this block is never closed",
            ],
        ),
        (
            ". { whoami }",
            &["1:12: unexpected `}` on the line of `whoami`"],
        ),
        (
            ". {\nerrors\n{\n}\n}",
            &["3:1: the `{` must stand on the line of `errors`"],
        ),
        (
            ". {\nerrors {\n} x\n}",
            &["3:3: `errors` takes no argument `x` here"],
        ),
        (
            ". {\nerrors {\nconsolidate {\n}\n}\n}",
            &["3:13: `errors` has no blocks inside its block"],
        ),
        (". {\n}\n}\n.:54 {\n}", &["3:1: this `}` closes nothing"]),
        (
            ". {\n}\nready\n}",
            &["3:1: expected `{` after the zone `ready`"],
        ),
        (". {\n\"x\n}", &["2:1: this quote is never closed"]),
        (
            ". {\nx y {\nz\n}\nkubernets\n}",
            &[
                "2:1: unknown directive `x`",
                "5:1: unknown directive `kubernets`",
            ],
        ),
    ] {
        let mut found = problems(text);
        found.sort();
        let expected: Vec<_> = expected
            .iter()
            .map(|line| format!("Corefile:{line}"))
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn names_what_is_not_a_directive() {
    for (name, expected) in [
        (
            "quic",
            "`quic` is not supported by design (nothing in a cluster asks over QUIC or gRPC; serve `dns://`, \
             `tls://` or `https://`)",
        ),
        ("etcd", "`etcd` is not supported yet"),
        ("snapshot", "`snapshot` is not supported yet"),
        (
            "federation",
            "`federation` was removed in CoreDNS 1.7.0 (cluster federation is gone from Kubernetes; remove the directive)",
        ),
        (
            "startup",
            "`startup` was removed in CoreDNS 1.1.0 (use the pod's postStart hook)",
        ),
        (
            "shutdown",
            "`shutdown` was removed in CoreDNS 1.1.0 (use the pod's preStop hook)",
        ),
        (
            "reverse",
            "`reverse` was removed in CoreDNS 1.1.4 (use `template` for synthesized PTR records)",
        ),
        (
            "kubernets",
            "unknown directive `kubernets` (did you mean `kubernetes`?)",
        ),
        (
            "forwards",
            "unknown directive `forwards` (did you mean `forward`?)",
        ),
        (
            "Errors",
            "unknown directive `Errors` (did you mean `errors`?)",
        ),
        (
            "route53",
            "`route53` is not supported by design (the DNS of a cloud answers for its zones by itself; `forward` \
             them there)",
        ),
        ("zzz", "unknown directive `zzz`"),
    ] {
        let text = format!(". {{\n{name} a b\n}}");
        let found = parse("Corefile", &text).expect_err(name).to_string();
        assert_eq!(found, format!("Corefile:2:1: {expected}"));
    }
    let on = parse("Corefile", ". {\non startup x\n}")
        .expect_err("is refused")
        .to_string();
    assert!(
        on.starts_with("Corefile:2:1: `on` is not supported by design (a DNS server"),
        "{on}"
    );
}

#[test]
fn finds_everything_at_once() {
    let text = ". {\n  cache x {\n    prefetch\n  }\n  etcd a b\n  forward .\n}\n\
                a..b {\n  health 1\n}\n";
    let found = problems(text);
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn draws_the_place() {
    let problems = parse("Corefile", "# x\n. {\n  forwrad . 10.0.0.1\n}").expect_err("misspelled");
    let report = problems.render();
    for part in [
        "unknown directive `forwrad`",
        "Corefile:3:3",
        "forwrad . 10.0.0.1",
        "did you mean `forward`?",
    ] {
        assert!(report.contains(part), "{part} in\n{report}");
    }
    let missing = load(Path::new("/nonexistent/Corefile")).expect_err("is not there");
    let line = missing.to_string();
    assert!(
        line.starts_with("/nonexistent/Corefile: cannot read the Corefile: "),
        "{line}"
    );
    assert!(missing.render().contains("cannot read the Corefile"));
}

#[test]
fn replaces_variables_everywhere() {
    let variable = |name: &str| {
        let value = match name {
            "ZONE" => "cluster.local",
            "PORT" => "1053",
            "DIRECTIVE" => "errors",
            "UPSTREAM" => "10.0.0.1",
            "TWO WORDS" => "a b",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let options = Options {
        variable,
        ..Options::text_only()
    };
    let text = "{$ZONE}:{%PORT%} {\n{$DIRECTIVE}\nforward {$UNSET}. {$UPSTREAM}:{$PORT} {\nexcept {$ZONE}\n}\n\
                log \"{$TWO WORDS}\"\n}";
    let corefile = parse_with("Corefile", text, &options).unwrap();
    let block = &corefile.blocks[0];
    assert_eq!(block.addresses[0].port, Some(1053));
    assert_eq!(block.directives.names(), ["errors", "log", "forward"]);
    assert_eq!(
        block.directives.forward[0].except[0].as_str(),
        "cluster.local."
    );
    assert_eq!(
        block.directives.log[0].names[0].as_str(),
        "a\\ b.",
        "stays one word"
    );
    let warned: Vec<_> = corefile.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warned,
        ["Corefile:3:9: the environment variable `UNSET` is not set and counts as empty"]
    );
    // Spaces keep it from being a variable, as Go templates need.
    assert_eq!(problems(". {\nforward . {{ $x }}\n}").len(), 1);
}

#[test]
fn hashes_what_counts() {
    let hash = |text: &str| parse("Corefile", text).unwrap().hash;
    let one = hash(". {\n  cache 30 # seconds\n  log\n}\n");
    for same in [
        ". {\ncache 30\nlog\n}",
        "\u{feff}.\n{\n\n cache \"30\"\n # x\n log\n}",
        "(s) {\ncache 30\n}\n. {\nimport s\nlog\n}",
    ] {
        assert_eq!(hash(same), one, "{same}");
    }
    for other in [
        ". {\ncache 31\nlog\n}",
        ". {\nlog\ncache 30\n}",
        ".:53 {\ncache 30\nlog\n}",
        ". {\ncache 30 {\n}\nlog\n}",
    ] {
        assert_ne!(hash(other), one, "{other}");
    }
    assert_eq!(one.to_string().len(), 128);
}

#[test]
fn has_a_default() {
    let corefile = default_corefile();
    assert_eq!(corefile.blocks.len(), 1);
    assert_eq!(corefile.blocks[0].addresses[0].zone, ZoneName::root());
    assert_eq!(corefile.blocks[0].directives.names(), ["log", "whoami"]);
    assert!(corefile.warnings.is_empty());
}

#[test]
fn a_brace_that_a_variable_leaves_behind_is_read_as_a_word() {
    // It used to be waited for without end.
    let found = parse("Corefile", "{{$A}\n").map(|corefile| corefile.blocks.len());
    assert_eq!(
        found.unwrap_or_default(),
        1,
        "a block whose zone is a brace"
    );
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC*") {
        let _ = parse("Corefile", &text).map_err(|problems| problems.render());
    }

    #[test]
    fn never_panics_on_likely_words(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        let text = words.concat();
        if let Err(problems) = parse("Corefile", &text) {
            prop_assert!(problems.iter().count() > 0);
            prop_assert!(!problems.render().is_empty());
        }
    }
}

/// Pieces from which Corefiles are made, so that random ones get past the first line.
const WORDS: &[&str] = &[
    " ",
    "\n",
    "\n",
    "{",
    " {\n",
    "\n}\n",
    "}",
    "\"",
    "#",
    "\\",
    ",",
    ":53",
    ".",
    "a",
    "a.b",
    "10.0.0.0/9",
    "2001:db8::/30",
    "tls://",
    "(s)",
    "\nimport s\n",
    "import",
    "{$A}",
    "{%A%}",
    "{$",
    "é",
    "\u{feff}",
    "\r",
    "\0",
    "kubernetes ",
    "forward ",
    "cache ",
    "log ",
    "errors ",
    "bind ",
    "health ",
    "reload ",
    "tls ",
    "proxy ",
    "loadbalance ",
    "ttl ",
    "5s ",
    "30 ",
    "%x",
    "\nfallthrough ",
    "consolidate 5m ",
    "(",
    "[",
    "prefetch 1 2m %",
    "10.0.0.1 ",
    "lo ",
    "class ",
    "fe80::1%",
];
