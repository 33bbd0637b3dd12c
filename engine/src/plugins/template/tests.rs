use std::sync::Arc;

use super::super::surroundings::FUNCTIONS;
use super::super::testing::{ask, ask_from, describe, name, peer, query};
use super::*;
use crate::chain::Stage;
use crate::script::expr::Known as Names;

fn rule(zone: &str, rtype: RType, patterns: &[&str], answers: &[&str]) -> Rule {
    let answers = answers
        .iter()
        .map(|text| Template::new(text, FIELDS).unwrap());
    let patterns = patterns.iter().map(|text| Pattern::new(text).unwrap());
    Rule {
        class: Class::IN,
        rtype,
        zones: Zones::new([name(zone).into()]),
        patterns: patterns.collect(),
        variables: Vec::new(),
        conditions: Vec::new(),
        sections: [answers.collect(), Vec::new(), Vec::new()],
        rcode: Rcode::NOERROR,
        extended_error: None,
        fallthrough: Zones::default(),
    }
}

fn stage(rules: Vec<Rule>) -> Stage {
    Stage::Templates(Arc::new(Templates {
        rules,
        labels: None,
        counts: Arc::default(),
    }))
}

#[test]
fn the_first_rule_that_matches_answers() {
    let mut falls = rule(
        "test",
        RType::A,
        &["^ip-(?P<a>[0-9]+)[.]"],
        &["{{ .Name }} 60 IN A 10.0.0.{{ .Group.a }}"],
    );
    falls.fallthrough = Zones::new([name("fall.test").into()]);
    let stages = [
        stage(vec![
            falls,
            rule(
                "fall.test",
                RType::ANY,
                &[],
                &["{{ .Zone }} 5 TXT \"{{ .Type }} {{ .Remote }}\""],
            ),
            rule("bad", RType::ANY, &[], &["{{ .Name }} A not-an-address"]),
            rule("alias", RType::A, &[], &["{{ .Name }} 7 CNAME ip-9.test."]),
        ]),
        Stage::Fixed(|_, reply| {
            reply.set_rcode(Rcode::REFUSED);
            Step::Answered
        }),
    ];
    for (asked, qtype, expected) in [
        (
            "ip-7.test.",
            RType::A,
            "NOERROR aa | ip-7.test. 60 A 10.0.0.7",
        ),
        (
            "IP-7.Test.",
            RType::A,
            "NOERROR aa | ip-7.test. 60 A 10.0.0.7",
        ),
        ("ip-7.test.", RType::AAAA, "REFUSED"),
        ("ip-300.test.", RType::A, "SERVFAIL"),
        ("other.test.", RType::A, "SERVFAIL"),
        (
            "a.fall.test.",
            RType::A,
            "NOERROR aa | fall.test. 5 TXT A 192.0.2.1",
        ),
        (
            "a.fall.test.",
            RType::ANY,
            "NOERROR aa | fall.test. 5 TXT ANY 192.0.2.1",
        ),
        ("a.bad.", RType::A, "SERVFAIL"),
        ("elsewhere.", RType::A, "REFUSED"),
        (
            "x.alias.",
            RType::A,
            "NOERROR aa | x.alias. 7 CNAME ip-9.test. | ip-9.test. 60 A 10.0.0.9",
        ),
    ] {
        assert_eq!(ask(&stages, asked, qtype), expected, "{asked} {qtype}");
    }
}

#[test]
fn conditions_and_variables_are_evaluated() {
    let functions = [&FUNCTIONS[..], &[("group", 1)]].concat();
    let expression = |text: &str, variables: &[&str]| {
        let variables = variables.iter().map(|name| (*name).to_owned());
        let known = Names {
            functions: &functions,
            variables: &variables.collect::<Vec<_>>(),
        };
        Expression::new(text, known).unwrap()
    };
    let mut rule = rule(
        "test",
        RType::TXT,
        &["^(?P<first>[a-z0-9]+)"],
        &["{{ .Name }} 1 TXT {{ .Var.twice }}"],
    );
    rule.variables = vec![(
        "twice".to_owned(),
        expression("group('first') + group(1)", &[]),
    )];
    rule.conditions = vec![
        expression("twice != 'nono'", &["twice"]),
        expression("incidr(client_ip(), '192.0.2.0/24')", &[]),
    ];
    let stages = [stage(vec![rule])];
    assert_eq!(
        ask(&stages, "ab.test.", RType::TXT),
        "NOERROR aa | ab.test. 1 TXT abab"
    );
    assert_eq!(ask(&stages, "no.test.", RType::TXT), "SERVFAIL");
    let packet = query("ab.test.", RType::TXT, &[]);
    let other = ask_from(&stages, peer("10.0.0.1"), &packet).unwrap();
    assert_eq!(describe(&other), "SERVFAIL");
}

#[test]
fn codes_and_extended_errors_are_sent() {
    let mut rule = rule("test", RType::ANY, &[], &[]);
    rule.rcode = Rcode::NXDOMAIN;
    rule.sections[1] = vec![Template::new("{{ .Zone }} 60 SOA a. b. 1 2 3 4 5", FIELDS).unwrap()];
    rule.extended_error = Some((21, "no".to_owned()));
    let packet = query("a.test.", RType::A, &[]);
    let reply = ask_from(&[stage(vec![rule])], peer("192.0.2.1"), &packet).unwrap();
    assert!(describe(&reply).starts_with("NXDOMAIN aa | ns test. 60 SOA a."));
    assert!(
        reply.ends_with(b"\0\0\x29\x10\0\0\0\x80\0\0\x08\0\x0f\0\x04\0\x15no"),
        "{reply:?}"
    );
}
