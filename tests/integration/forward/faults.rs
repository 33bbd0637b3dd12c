//! Upstreams that go wrong: a client gets the right answer or an error, never a wrong answer.

use std::time::Duration;

use martlet_tests::dns::Reply;
use martlet_tests::{FORGED, Fault, Scrape, Transport, Upstream};

use super::{is_right, patient, serve};
use crate::fixtures::{forward, resolver};

/// Faults after which there is no reply to believe.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Silence,
        Fault::WrongId,
        Fault::WrongQuestion,
        Fault::NoQuestion,
        Fault::Garbage,
        Fault::HalfAndClose,
        Fault::OtherSource,
    ]
}

const QUICK: &str = "policy sequential\nread_timeout 300ms\nhealth_check 100ms";

fn is_forged(reply: &Reply) -> bool {
    let address = FORGED.parse().expect("an address");
    let malformed = reply.malformed.is_some() || reply.q.len() != 1;
    malformed || reply.addresses().contains(&address)
}

#[test]
fn another_upstream_makes_up_for_a_bad_one() {
    for fault in faults() {
        let (bad, good) = (Upstream::start("bad"), Upstream::start("good"));
        bad.misbehave("*", fault.clone());
        let martlet = serve(&[&bad, &good], QUICK);
        for n in 0..5 {
            let name = format!("n{n}.wild.test.");
            let reply = patient(&martlet).ask(&name, "A");
            assert!(is_right(&reply, &name), "{fault:?}, {name}: {reply:?}");
            let name = format!("t{n}.wild.test.");
            let reply = patient(&martlet).ask_tcp(&name, "A");
            assert!(
                is_right(&reply, &name),
                "{fault:?} over TCP, {name}: {reply:?}"
            );
        }
        assert!(!bad.asked().is_empty(), "{fault:?}: nobody asked it");
    }
}

#[test]
fn without_another_it_is_an_error() {
    for fault in faults() {
        let bad = Upstream::start("bad");
        bad.misbehave("*", fault.clone());
        let martlet = resolver(&format!(
            "cache 30 {{\nservfail 0s\n}}\n{}",
            forward(&[bad.address()], QUICK)
        ));
        let martlet = martlet.start();
        let client = patient(&martlet);
        for (name, tcp) in [("n.wild.test.", false), ("t.wild.test.", true)] {
            let ask = || {
                if tcp {
                    client.ask_tcp(name, "A")
                } else {
                    client.ask(name, "A")
                }
            };
            let reply = ask();
            assert!(
                ["SERVFAIL", "FORMERR"].contains(&reply.rcode.as_str()) && reply.an.is_empty(),
                "{fault:?}, {name}: {reply:?}"
            );
            assert!(bad.count(name) > 0, "{fault:?}, {name}: nobody asked");
            bad.behave();
            // Nothing of it was kept; the upstream may still have to be found well again.
            let well = martlet_tests::wait_until(Duration::from_secs(5), || {
                let reply = ask();
                assert!(!is_forged(&reply), "{fault:?}, {name}: {reply:?}");
                is_right(&reply, name).then_some(())
            });
            assert!(well.is_some(), "{fault:?}, {name}: {:?}", ask());
            bad.misbehave("*", fault.clone());
        }
    }
}

/// A question may be cut after its name, and is then about type 0 and class 0.
#[test]
fn a_question_without_type_and_class_is_asked_once() {
    let upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], QUICK);
    let client = patient(&martlet);
    let whole = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03cut\x04wild\x04test\0\0\0\0\0";
    for missing in [0, 2, 4] {
        upstream.forget();
        let cut = &whole[..whole.len() - missing];
        let reply = client.send_octets(cut);
        assert!(reply.is_some(), "without {missing} octets: no reply");
        assert_eq!(
            upstream.count("cut.wild.test."),
            1,
            "without {missing} octets"
        );
    }
}

/// Thousands of guesses around the real reply, each of which would do for a server that looks at
/// the question alone.
#[test]
fn forged_replies_are_not_believed() {
    let upstream = Upstream::start("a");
    upstream.misbehave("*", Fault::Forged(3000));
    let options = "read_timeout 1s\nmax_fails 0";
    let directives = format!(
        "cache 30\nprometheus 127.0.0.1:{{PORT2}}\n{}",
        forward(&[upstream.address()], options)
    );
    let martlet = resolver(&directives).start();
    let client = patient(&martlet);
    let mut right = 0;
    for n in 0..12 {
        let name = format!("n{n}.wild.test.");
        let reply = client.ask(&name, "A");
        let is_right = is_right(&reply, &name);
        right += usize::from(is_right);
        assert!(
            is_right || reply.rcode == "SERVFAIL" && reply.an.is_empty(),
            "{name}: {reply:?}"
        );
    }
    assert!(right >= 6, "the real reply counts: {right} of 12");
    let forgeries = Scrape::of(martlet.nth_port(2)).sum("martlet_proxy_forgeries_total", &[]);
    assert!(forgeries > 0.0, "it was noticed");
    upstream.behave();
    for n in 0..12 {
        let name = format!("n{n}.wild.test.");
        let reply = client.ask(&name, "A");
        assert!(
            is_right(&reply, &name) || reply.rcode == "SERVFAIL",
            "kept: {reply:?}"
        );
    }
}

#[test]
fn replies_that_come_twice_or_late_go_nowhere() {
    for fault in [Fault::Repeated(20), Fault::Late(Duration::from_millis(120))] {
        let (odd, good) = (Upstream::start("odd"), Upstream::start("good"));
        odd.misbehave("*", fault.clone());
        let martlet = serve(&[&odd, &good], "policy round_robin");
        for n in 0..60 {
            let name = format!("n{n}.wild.test.");
            let reply = patient(&martlet).ask(&name, "A");
            assert!(is_right(&reply, &name), "{fault:?}, {name}: {reply:?}");
        }
        assert!(!odd.asked().is_empty(), "{fault:?}: nobody asked it");
    }
}

#[test]
fn error_codes_pass_as_they_are() {
    for (rcode, text) in [
        (2, "SERVFAIL"),
        (5, "REFUSED"),
        (4, "NOTIMP"),
        (3, "NXDOMAIN"),
    ] {
        let upstream = Upstream::start("a");
        upstream.misbehave("*", Fault::Rcode(rcode));
        let martlet = serve(&[&upstream], "");
        let reply = patient(&martlet).ask("a.up.test.", "A");
        assert_eq!((reply.rcode.as_str(), reply.an.len()), (text, 0));
    }
}

#[test]
fn a_connection_that_breaks_off_is_made_again() {
    let mut upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "force_tcp\nmax_fails 0");
    let client = patient(&martlet);
    let ask = |name: &str| {
        let reply = client.ask(name, "A");
        assert!(is_right(&reply, name), "{name}: {reply:?}");
    };
    ask("n0.wild.test.");
    upstream.misbehave_times(1, "*", Fault::HalfAndClose);
    ask("n1.wild.test.");
    // The server still holds a connection that is long gone.
    upstream.go_down();
    upstream.come_up();
    ask("n2.wild.test.");
    assert_eq!(
        upstream.count_over(Transport::Udp, "n2.wild.test."),
        0,
        "force_tcp is kept to"
    );
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let mut upstream = Upstream::start("a");
    let martlet = serve(&[&upstream], "health_check 100ms\nread_timeout 300ms");
    let client = patient(&martlet);
    assert!(is_right(&client.ask("n0.wild.test.", "A"), "n0.wild.test."));
    upstream.go_down();
    for n in 1..6 {
        let reply = client.ask(&format!("n{n}.wild.test."), "A");
        assert_eq!(reply.rcode, "SERVFAIL", "{reply:?}");
    }
    upstream.come_up();
    let well = martlet_tests::wait_until(Duration::from_secs(5), || {
        is_right(&client.ask("n6.wild.test.", "A"), "n6.wild.test.").then_some(())
    });
    assert!(well.is_some());
}
