use proptest::prelude::*;

use std::sync::Arc;

use super::super::metadata::Label;
use super::super::testing::{ask, ask_from, describe, name, peer, query};
use super::super::zones::Zones;
use super::*;
use crate::chain::Stage;
use crate::pattern::Pattern;
use crate::wire::FoldedName;
use crate::wire::reply::Owner;
use crate::wire::{Query, Section};

/// Tells what was asked: a TXT record with name and type, and a CNAME to `target.` and the name.
fn echo() -> Stage {
    Stage::Fixed(|context, reply| {
        let qtype = context.query.qtype;
        let asked = format!("{} {}", context.name, qtype);
        let text = [&[asked.len() as u8], asked.as_bytes()].concat();
        let mut target = b"\x06target".to_vec();
        target.extend(context.name.wire());
        reply.record(Section::Answer, Owner::Question, RType::TXT, 50, &text);
        let class = context.query.qclass;
        let begun = reply.begin(Section::Authority, Owner::Question, RType::NS, class, 50);
        reply.put_name(&target);
        reply.end(begun);
        Step::Answered
    })
}

fn name_rule(continues: bool, form: Form, from: &str, to: &str, auto: bool) -> Rule {
    let from = Matcher::new(form, from);
    let (to, answers) = (to.into(), Vec::new());
    let action = Action::Name {
        from,
        to,
        auto,
        answers,
    };
    Rule { continues, action }
}

fn stage(rules: Vec<Rule>) -> Stage {
    Stage::Rewrite(Arc::new(Rewrite::new(rules, None)))
}

fn regex(text: &str) -> Form {
    Form::Regex(Pattern::new(text).unwrap())
}

#[test]
fn names_are_asked_anew_and_shown_as_before() {
    let stages = [
        stage(vec![
            name_rule(true, Form::Exact, "one.test.", "two.test.", true),
            name_rule(false, Form::Exact, "two.test.", "three.test.", true),
            name_rule(false, Form::Suffix, ".old.", ".new.", true),
            name_rule(false, Form::Suffix, ".plain.", ".new.", false),
            name_rule(false, Form::Prefix, "pre-", "", false),
            name_rule(false, Form::Substring, "-x-", ".", true),
            name_rule(
                false,
                regex("^([a-z]+)-([a-z]+)\\.re\\.$"),
                "",
                "{2}.{1}.",
                true,
            ),
            name_rule(false, Form::Exact, "bad.", "a..b.", true),
        ]),
        echo(),
    ];
    let cases = [
        (
            "other.test.",
            "other.test. 50 TXT other.test. A",
            "target.other.test.",
        ),
        // Both rules, undone last one first.
        (
            "one.test.",
            "one.test. 50 TXT three.test. A",
            "target.one.test.",
        ),
        (
            "two.test.",
            "two.test. 50 TXT three.test. A",
            "target.two.test.",
        ),
        ("a.b.old.", "a.b.old. 50 TXT a.b.new. A", "target.a.b.old."),
        ("a.plain.", "a.new. 50 TXT a.new. A", "target.a.new."),
        ("pre-a.test.", "a.test. 50 TXT a.test. A", "target.a.test."),
        (
            "a-x-b-x-c.",
            "a-x-b-x-c. 50 TXT a.b.c. A",
            "target.a-x-b-x-c.",
        ),
        (
            "one-two.re.",
            "one-two.re. 50 TXT two.one. A",
            "target.one-two.re.",
        ),
        ("xold.", "xold. 50 TXT xold. A", "target.xold."),
    ];
    for (asked, text, target) in cases {
        let owner = text.split(' ').next().unwrap();
        let expected = format!("NOERROR | {text} | ns {owner} 50 NS {target}");
        assert_eq!(ask(&stages, asked, RType::A), expected, "{asked}");
    }
    assert_eq!(ask(&stages, "bad.", RType::A), "SERVFAIL");
}

#[test]
fn the_question_comes_back_as_it_was_sent() {
    let rule = name_rule(false, Form::Exact, "one.test.", "much-longer.test.", true);
    let packet = query("ONE.test.", RType::A, &[]);
    let reply = ask_from(&[stage(vec![rule]), echo()], peer("192.0.2.1"), &packet).unwrap();
    assert_eq!(reply[12..packet.len()], packet[12..]);
    assert!(describe(&reply).contains("| one.test. 50 TXT much-longer.test. A"));
}

#[test]
fn replies_are_changed() {
    let always = |rule| Rule {
        continues: true,
        action: Action::AnyResponse(rule),
    };
    let of = |form, text, rule| Rule {
        continues: true,
        action: Action::Response(Matcher::new(form, text), rule),
    };
    let to_public = Respell::Regex(Pattern::new("^target\\.(.*)$").unwrap(), "{1}".into());
    let stages = [
        stage(vec![
            of(Form::Exact, "a.test.", ResponseRule::Ttl(100, 200)),
            of(Form::Exact, "b.test.", ResponseRule::Ttl(0, 9)),
            of(
                Form::Suffix,
                ".test.",
                ResponseRule::Rcode(Rcode::NOERROR, Rcode::REFUSED),
            ),
            always(ResponseRule::Value(to_public)),
        ]),
        echo(),
    ];
    for (asked, expected) in [
        (
            "a.test.",
            "REFUSED | a.test. 100 TXT a.test. A | ns a.test. 100 NS a.test.",
        ),
        (
            "b.test.",
            "REFUSED | b.test. 9 TXT b.test. A | ns b.test. 9 NS b.test.",
        ),
        ("c.", "NOERROR | c. 50 TXT c. A | ns c. 50 NS c."),
    ] {
        assert_eq!(ask(&stages, asked, RType::A), expected);
    }
}

#[test]
fn a_failure_gets_its_code_changed() {
    let rule = Rule {
        continues: false,
        action: Action::AnyResponse(ResponseRule::Rcode(Rcode::SERVFAIL, Rcode::NXDOMAIN)),
    };
    assert_eq!(ask(&[stage(vec![rule])], "a.", RType::A), "NXDOMAIN");
}

#[test]
fn types_are_asked_anew() {
    let rule = Rule {
        continues: false,
        action: Action::Type(RType::ANY, RType::MX),
    };
    let stages = [stage(vec![rule]), echo()];
    assert!(ask(&stages, "a.", RType::ANY).contains("TXT a. MX"));
    assert!(ask(&stages, "a.", RType::A).contains("TXT a. A"));
}

#[test]
fn targets_of_aliases_lead_elsewhere() {
    let rule = Rule {
        continues: false,
        action: Action::AnyResponse(ResponseRule::Cname(
            Matcher::new(Form::Suffix, ".far."),
            ".near.".into(),
        )),
    };
    let zone = Stage::Fixed(|context, reply| {
        if context.name.wire() == b"\x01a\x04near\0" {
            reply.record(
                Section::Answer,
                Owner::Question,
                RType::A,
                7,
                &[192, 0, 2, 7],
            );
            return Step::Answered;
        }
        let class = context.query.qclass;
        let begun = reply.begin(Section::Answer, Owner::Question, RType::CNAME, class, 5);
        reply.put_name(&name("a.far."));
        reply.end(begun);
        let behind = name("a.far.");
        reply.record(
            Section::Answer,
            Owner::Name(&behind),
            RType::A,
            5,
            &[10, 0, 0, 1],
        );
        Step::Answered
    });
    assert_eq!(
        ask(&[stage(vec![rule]), zone], "www.", RType::A),
        "NOERROR | www. 5 CNAME a.near. | a.near. 7 A 192.0.2.7"
    );
}

#[test]
fn options_are_put_in_and_sent_back() {
    let edns = |action, option, revert| Rule {
        continues: true,
        action: Action::Edns(EdnsRule {
            action,
            option,
            revert,
        }),
    };
    let local = |data: &[u8]| EdnsOption::Local(0xffee, data.into());
    let label = |label| EdnsOption::Variable(0xffee, Variable::Label(label));
    // Tells the options that it sees.
    let see = Stage::Fixed(|context, reply| {
        let options = context.query.edns.map_or(&b"none"[..], |edns| edns.options);
        let text = [&[options.len() as u8], options].concat();
        reply.record(Section::Answer, Owner::Question, RType::TXT, 1, &text);
        Step::Answered
    });
    let none: &[u8] = &[];
    let empty: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let with: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x05\xff\xee\0\x01x";
    type Case<'a> = (&'a str, Rule, &'a [u8], &'a [u8], Option<&'a [u8]>);
    let cases: &[Case<'_>] = &[
        (
            "set",
            edns(EdnsAction::Set, local(b"ab"), false),
            none,
            b"\xff\xee\0\x02ab",
            Some(b"\xff\xee\0\x02ab"),
        ),
        (
            "replaced",
            edns(EdnsAction::Set, local(b"ab"), false),
            with,
            b"\xff\xee\0\x02ab",
            Some(b"\xff\xee\0\x02ab"),
        ),
        (
            "replaced and restored",
            edns(EdnsAction::Set, local(b"ab"), true),
            with,
            b"\xff\xee\0\x02ab",
            Some(b"\xff\xee\0\x01x"),
        ),
        (
            "put in and taken out",
            edns(EdnsAction::Append, local(b"ab"), true),
            empty,
            b"\xff\xee\0\x02ab",
            Some(b""),
        ),
        (
            "taken away",
            edns(EdnsAction::Unset, local(b""), false),
            with,
            b"",
            Some(b""),
        ),
        (
            "the client's address",
            edns(
                EdnsAction::Set,
                EdnsOption::Variable(0xffee, Variable::ClientIp),
                false,
            ),
            empty,
            b"\xff\xee\0\x04\xc0\0\x02\x01",
            Some(b"\xff\xee\0\x04\xc0\0\x02\x01"),
        ),
        (
            "a label",
            edns(EdnsAction::Set, label(Some(Label::View)), false),
            empty,
            b"\xff\xee\0\x02ab",
            Some(b"\xff\xee\0\x02ab"),
        ),
        (
            "a label that this query does not have",
            edns(EdnsAction::Set, label(Some(Label::Service)), false),
            empty,
            b"",
            Some(b""),
        ),
        (
            "a label that there is not",
            edns(EdnsAction::Set, label(None), false),
            empty,
            b"",
            Some(b""),
        ),
        (
            "a subnet, which is not sent back",
            edns(EdnsAction::Set, EdnsOption::Subnet(22, 56), false),
            empty,
            b"\0\x08\0\x07\0\x01\x16\0\xc0\0\0",
            Some(b""),
        ),
    ];
    let labels = Arc::new(Metadata {
        zones: Zones::new([[0].into()]),
        view: Some("ab".into()),
        kubernetes: None,
    });
    for (what, rule, opt, seen, echoed) in cases {
        let packet = query("a.", RType::TXT, opt);
        let rewrite = Rewrite::new(vec![rule.clone()], Some(Arc::clone(&labels)));
        let stages = [Stage::Rewrite(Arc::new(rewrite)), see.clone()];
        let mut reply = ask_from(&stages, peer("192.0.2.1"), &packet).unwrap();
        let text = crate::wire::Answer::read(&reply).unwrap();
        assert_eq!(text.sections[0][0].rdata[1..], **seen, "{what}");
        // Read as if it were a query, for its OPT.
        reply[2] &= 0x7f;
        let mut folded = FoldedName::default();
        let parsed = Query::parse(&reply, &mut folded).unwrap();
        assert_eq!(parsed.edns.map(|edns| edns.options), *echoed, "{what}");
    }
}

/// CoreDNS leaves the question of the reply as it was rewritten where a rule with `continue` has
/// nothing else to undo.
#[test]
fn a_rule_that_undoes_nothing_leaves_the_question_alone() {
    let rule = |continues, action| Rule { continues, action };
    for continues in [false, true] {
        for action in [
            Action::Type(RType::TXT, RType::NS),
            Action::Class(Class::IN, Class::CH),
            name_rule(continues, Form::Prefix, "a", "b", false).action,
        ] {
            let packet = query("A.test.", RType::TXT, &[]);
            let stages = [stage(vec![rule(continues, action.clone())]), echo()];
            let reply = ask_from(&stages, peer("192.0.2.1"), &packet).unwrap();
            assert_eq!(
                reply[12..packet.len()],
                packet[12..],
                "{continues} {action:?}"
            );
        }
    }
}

proptest! {
    /// What tells names apart beforehand never hides one that matches.
    #[test]
    fn nothing_that_matches_is_screened_out(
        labels in prop::collection::vec("[a-c-]{1,10}", 0..6),
        (from, len) in (0_usize..40, 0_usize..40),
        form in prop::sample::select(vec![Form::Exact, Form::Prefix, Form::Suffix, Form::Substring]),
        other in "[a-c.-]{0,12}",
    ) {
        let name = format!("{}.", labels.join("."));
        let wire = wire_from_presentation(&name).unwrap();
        let end = (from + len).min(name.len());
        let ends = Ends::of(&wire);
        // A piece of the name, all of it, or something else.
        let texts = [&name[from.min(end)..end], &name, &name[from.min(name.len())..], &other];
        let matchers = texts.map(|text| Matcher::new(form.clone(), text));
        let sieve = Sieve::of(&matchers.each_ref().map(Matcher::screen));
        for (text, matcher) in texts.into_iter().zip(&matchers) {
            if !text.is_empty() && matcher.is_match(&name) {
                prop_assert!(sieve.passes(&ends), "{form:?} {text}");
                prop_assert!(Sieve::of(&[matcher.screen()]).passes(&ends), "{form:?} {text}");
                prop_assert!(matcher.screen().passes(&ends), "{form:?} {text}");
                prop_assert!(matcher.may_match(&wire), "{form:?} {text}");
            }
        }
    }
}

/// Or else every query walks the rules.
#[test]
fn names_that_no_rule_is_about_fall_through_the_sieve() {
    let screens = [
        (Form::Exact, "db.example.com."),
        (Form::Suffix, ".corp.example.com."),
        (Form::Suffix, ".example.local."),
        (Form::Prefix, "coredns-"),
    ]
    .map(|(form, text)| Matcher::new(form, text).screen());
    let sieve = Sieve::of(&screens);
    let passes = |number: u32| {
        let name = format!("order-api-{number}.shop-{number}.svc.cluster.local.");
        sieve.passes(&Ends::of(&wire_from_presentation(&name).unwrap()))
    };
    assert!((0..1_000).filter(|&number| passes(number)).count() < 100);
}
