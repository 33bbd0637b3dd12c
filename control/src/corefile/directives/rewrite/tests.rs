use super::super::testing::{bad, good, warnings};
use super::*;

#[test]
fn rules_stand_in_the_order_of_the_file() {
    let rules = good(
        "rewrite name a.test b.test\nrewrite continue type ANY TXT\n\
         rewrite stop {\n name suffix .a .b\n answer auto\n}",
    )
    .rewrite;
    let continues = rules.iter().map(|Rewrite(rule)| rule.continues);
    assert_eq!(continues.collect::<Vec<_>>(), [false, true, false]);
    assert!(matches!(rules[0].0.action, Action::Name { auto: true, .. }));
    assert!(matches!(rules[2].0.action, Action::Name { auto: true, .. }));
}

#[test]
fn names_get_their_dot() {
    let exact = |text| Matcher::new(Form::Exact, text);
    let cases = [
        ("name A.test b.test", exact("a.test."), "b.test."),
        ("name exact a.test. b", exact("a.test."), "b."),
        (
            "name prefix pre- \"\"",
            Matcher::new(Form::Prefix, "pre-."),
            ".",
        ),
    ];
    for (text, expected, target) in cases {
        let Action::Name { from, to, .. } = &good(&format!("rewrite {text}")).rewrite[0].0.action
        else {
            panic!("{text}");
        };
        assert_eq!((from, &**to), (&expected, target), "{text}");
    }
}

#[test]
fn ttls_are_ranges() {
    for (text, min, max) in [
        ("17", 17, 17),
        ("5-10", 5, 10),
        ("-30", 0, 30),
        ("30-", 30, TTL_MAX),
    ] {
        let action = &good(&format!("rewrite ttl suffix .a {text}")).rewrite[0]
            .0
            .action;
        let Action::Response(_, rule) = action else {
            panic!("{text}");
        };
        assert_eq!(*rule, ResponseRule::Ttl(min, max), "{text}");
    }
}

#[test]
fn edns_options_are_read() {
    use martlet_engine::plugins::rewrite::{EdnsAction, EdnsOption, EdnsRule, Variable};
    let cases: &[(&str, EdnsAction, EdnsOption, bool)] = &[
        (
            "local set 0xffee 0x6162",
            EdnsAction::Set,
            EdnsOption::Local(0xffee, b"ab"[..].into()),
            false,
        ),
        (
            "local append 65504 text revert",
            EdnsAction::Append,
            EdnsOption::Local(0xffe0, b"text"[..].into()),
            true,
        ),
        (
            "local replace 0xffee {qname}",
            EdnsAction::Replace,
            EdnsOption::Variable(0xffee, Variable::Qname),
            false,
        ),
        (
            "local unset 0xffee",
            EdnsAction::Unset,
            EdnsOption::Local(0xffee, Box::default()),
            false,
        ),
        ("nsid set revert", EdnsAction::Set, EdnsOption::Nsid, true),
        (
            "subnet append 24 56",
            EdnsAction::Append,
            EdnsOption::Subnet(24, 56),
            false,
        ),
    ];
    for (text, action, option, revert) in cases {
        let rule = &good(&format!("rewrite edns0 {text}")).rewrite[0].0.action;
        let (action, option, revert) = (*action, option.clone(), *revert);
        let expected = EdnsRule {
            action,
            option,
            revert,
        };
        assert_eq!(*rule, Action::Edns(expected), "{text}");
    }
    let warned = warnings("rewrite edns0 local set 0xffee {geoip/city}");
    assert_eq!(warned.len(), 1);
}

#[test]
fn errors_name_the_word() {
    for (text, expected) in [
        ("", "`rewrite` needs name, ttl,"),
        ("stop", "`rewrite` needs name, ttl,"),
        ("nam a b", "`rewrite`: `nam` is not one of"),
        ("answer name a b", "is not the first word of a rule"),
        ("name a", "`rewrite` needs a name and what"),
        ("name exakt a b", "`rewrite`: `exakt` is not one of"),
        ("name regex ( b", "bad regular expression"),
        ("name regex (a) {1}{2}", "at most the groups"),
        ("name suffix .a .b auto", "is not `answer`"),
        ("name suffix .a .b answer", "needs auto, name or value"),
        ("name suffix .a .b answer never", "is not one of auto"),
        ("name suffix .a .b answer name x", "needs an expression"),
        (
            "name suffix .a .b answer auto answer name x y",
            "together with `answer auto`",
        ),
        ("ttl a -", "is not a TTL"),
        ("ttl a 9-3", "a range whose end"),
        ("ttl exact a 3 4", "takes no argument"),
        ("rcode a NXDOMAIN", "needs a name and two"),
        ("rcode a NX NOERROR", "`NX` is not a response code"),
        ("type A", "needs two record types"),
        ("type A B", "`B` is not a record type"),
        ("class IN XX", "`XX` is not a class"),
        ("cname regex ( b", "bad regular expression"),
        ("edns0 local set 70000 x", "is not a number from 0 to 65535"),
        ("edns0 local set 1 0xabc", "hexadecimal digits in pairs"),
        ("edns0 local set 1 {nonsense}", "is not a variable"),
        ("edns0 subnet set 33 56", "must be from 0 to 32"),
        ("edns0 nsid put", "is not one of set"),
        ("edns0 nsid unset revert", "takes no argument `revert`"),
    ] {
        let found = bad(&format!("rewrite {text}"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(expected), "{text}: {found:?}");
        assert!(found[0].starts_with("Corefile:2:"), "{text}: {found:?}");
    }
}
