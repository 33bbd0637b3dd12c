//! Options of `forward`: what is forwarded, to whom next, and how much of it.

use std::time::Duration;

use martlet_tests::dns::Query;
use martlet_tests::{Fault, Upstream, wait_until};

use super::{at_once, is_right, patient, serve};
use crate::fixtures::{forward, resolver};

#[test]
fn what_is_excepted_stays_here() {
    let upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "except in.wild.test other.test");
    let client = patient(&martlet);
    for (name, forwarded) in [
        ("a.wild.test.", true),
        ("notin.wild.test.", true),
        ("in.wild.test.", false),
        ("a.in.wild.test.", false),
        ("A.IN.wild.test.", false),
        ("other.test.", false),
    ] {
        let reply = client.ask(name, "A");
        if forwarded {
            assert!(is_right(&reply, name), "{name}: {reply:?}");
        } else {
            assert_eq!((reply.rcode.as_str(), reply.an.len()), ("SERVFAIL", 0));
        }
        assert_eq!(upstream.count(name) > 0, forwarded, "{name}");
    }
}

#[test]
fn each_zone_has_its_upstream() {
    let (first, second) = (Upstream::start("first"), Upstream::start("second"));
    let (to_first, to_second) = (first.address(), second.address());
    let directives = format!("forward sub.wild.test {to_first}\nforward . {to_second}");
    let martlet = resolver(&directives).start();
    for (name, to) in [
        ("a.sub.wild.test.", &first),
        ("sub.wild.test.", &first),
        ("a.wild.test.", &second),
        ("asub.wild.test.", &second),
    ] {
        assert!(is_right(&patient(&martlet).ask(name, "A"), name), "{name}");
        assert_eq!(to.count(name), 1, "{name}");
        assert_eq!(first.count(name) + second.count(name), 1, "{name}");
    }
}

#[test]
fn failover_asks_the_others() {
    for (options, rcode, expected) in [
        ("failover REFUSED", 5, true),
        ("failover REFUSED SERVFAIL", 2, true),
        ("failover NXDOMAIN", 3, true),
        ("failover SERVFAIL", 5, false),
        ("", 5, false),
    ] {
        let (bad, good) = (Upstream::start("bad"), Upstream::start("good"));
        bad.misbehave("*", Fault::Rcode(rcode));
        let martlet = serve(&[&bad, &good], &format!("policy sequential\n{options}"));
        let name = "a.wild.test.";
        let reply = patient(&martlet).ask(name, "A");
        assert_eq!(is_right(&reply, name), expected, "{options}: {reply:?}");
        assert_eq!(bad.count(name), 1, "{options}");
        // When all give such a code, the last reply is the answer, soon, and nobody is pressed.
        bad.misbehave("*", Fault::Rcode(rcode));
        good.misbehave("*", Fault::Rcode(rcode));
        let name = "b.wild.test.";
        let reply = patient(&martlet).ask(name, "A");
        assert_ne!(reply.rcode, "NOERROR", "{options}");
        let asked = bad.count(name) + good.count(name);
        assert!((1..=2).contains(&asked), "{options}: asked {asked} times");
    }
}

#[test]
fn next_hands_to_the_next_forward() {
    for (option, name, rtype, handed_on) in [
        ("next NXDOMAIN", "nothing.up.test.", "A", true),
        ("next NXDOMAIN", "a.up.test.", "A", false),
        ("next NXDOMAIN", "a.up.test.", "MX", false),
        ("next SERVFAIL REFUSED", "refused.up.test.", "A", true),
        ("next_on_nodata", "a.up.test.", "MX", true),
        ("next_on_nodata", "nothing.up.test.", "A", false),
        ("next_on_nodata", "a.up.test.", "A", false),
    ] {
        let (first, second) = (Upstream::start("first"), Upstream::start("second"));
        let directives = [
            forward(&[first.address()], option),
            forward(&[second.address()], ""),
        ];
        let martlet = resolver(&directives.join("\n")).start();
        let reply = patient(&martlet).ask(name, rtype);
        assert_eq!(first.count(name), 1, "{option}, {name}: {reply:?}");
        let expected = usize::from(handed_on);
        assert_eq!(second.count(name), expected, "{option}, {name}: {reply:?}");
    }
    // Nobody is next: the reply stands.
    let only = Upstream::start("only");
    let martlet = serve(&[&only], "next NXDOMAIN");
    let reply = patient(&martlet).ask("nothing.up.test.", "A");
    assert_eq!(reply.rcode, "NXDOMAIN");
}

#[test]
fn what_is_too_much_is_refused() {
    let upstream = Upstream::start("a");
    upstream.misbehave("*", Fault::Late(Duration::from_millis(400)));
    let directives = format!(
        "cache 30\n{}",
        forward(&[upstream.address()], "max_concurrent 3")
    );
    let martlet = resolver(&directives).start();
    let names: Vec<_> = (0..12).map(|n| format!("n{n}.wild.test.")).collect();
    let queries: Vec<_> = names.iter().map(|name| Query::new(name, "A")).collect();
    let replies = at_once(martlet.client().server, &queries);
    let mut refused = Vec::new();
    for (reply, name) in replies.iter().zip(&names) {
        let reply = reply.as_ref().expect("everybody is answered");
        if reply.rcode == "REFUSED" {
            refused.push(name);
        } else {
            assert!(is_right(reply, name), "{name}: {reply:?}");
        }
    }
    assert_eq!(refused.len(), 9, "{refused:?}");
    upstream.behave();
    for name in refused {
        let reply = patient(&martlet).ask(name, "A");
        assert!(is_right(&reply, name), "a refusal is not kept: {reply:?}");
    }
}

#[test]
fn with_all_down_it_fails_fast_if_told_so() {
    for (options, fast) in [("failfast_all_unhealthy_upstreams", true), ("", false)] {
        let (mut one, mut two) = (Upstream::start("one"), Upstream::start("two"));
        let quick = "max_fails 1\nhealth_check 50ms\nread_timeout 500ms";
        let martlet = serve(&[&one, &two], &format!("{quick}\n{options}"));
        let client = patient(&martlet);
        assert!(is_right(&client.ask("n.wild.test.", "A"), "n.wild.test."));
        // Silent to questions and to probes.
        one.misbehave("*", Fault::Silence);
        two.misbehave("*", Fault::Silence);
        let mut n = 0;
        let mut ask = |one: &Upstream, two: &Upstream| {
            n += 1;
            let name = format!("d{n}.wild.test.");
            let reply = client.ask(&name, "A");
            assert_eq!(reply.rcode, "SERVFAIL", "{reply:?}");
            one.count(&name) + two.count(&name)
        };
        // Probes take a second each to fail, and two of them must.
        let unasked = wait_until(Duration::from_secs(if fast { 15 } else { 6 }), || {
            (ask(&one, &two) == 0).then_some(())
        });
        assert_eq!(unasked.is_some(), fast, "`{options}`");
        one.behave();
        two.behave();
        let well = wait_until(Duration::from_secs(5), || {
            let reply = client.ask("back.wild.test.", "A");
            is_right(&reply, "back.wild.test.").then_some(())
        });
        assert!(well.is_some(), "`{options}`: they are not found well again");
        one.go_down();
        two.go_down();
    }
}

#[test]
fn health_checks_ask_what_they_are_told() {
    let (bad, good) = (Upstream::start("bad"), Upstream::start("good"));
    bad.misbehave("*", Fault::Silence);
    let options = "policy sequential\nhealth_check 50ms domain probe.wild.test\nread_timeout 300ms";
    let martlet = serve(&[&bad, &good], options);
    let probed = wait_until(Duration::from_secs(5), || {
        patient(&martlet).ask("a.wild.test.", "A");
        bad.asked_for("probe.wild.test.").pop()
    });
    assert_eq!(probed.map(|asked| asked.rtype).as_deref(), Some("NS"));
    assert_eq!(good.count("probe.wild.test."), 0, "who is well is let be");
}
