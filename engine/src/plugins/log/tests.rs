use std::sync::Arc;

use super::*;
use crate::chain::{Block, Listener, Peer, Protocol, Stage, Step};
use crate::log::LogSink;
use crate::metrics::Scope;
use crate::plugins::testing::{name, peer, query};
use crate::respond::{Scratch, respond};
use crate::wire::reply::Owner;

const ALL: Classes = Classes {
    success: true,
    denial: true,
    error: true,
};

fn rule(zone: &str, format: Vec<Piece>, classes: Classes) -> Rule {
    let labels = zone.matches('.').count() - usize::from(zone == ".");
    Rule {
        zone: (name(zone).into(), labels),
        format,
        classes,
    }
}

/// What is logged of a query that `act` answers.
fn logged(
    rules: &[Rule],
    act: fn(&mut Context<'_>, &mut Reply<'_>) -> Step,
    (peer, packet): (Peer, &[u8]),
) -> Vec<String> {
    let log = Log {
        rules: rules.to_vec(),
        labels: None,
    };
    let stages = [Stage::Log(log), Stage::Fixed(act)];
    let listener = Listener {
        addresses: vec![peer.local],
        protocol: Protocol::Dns,
        blocks: vec![Block::new(Box::new([0]), Arc::from(stages), Scope::NONE)],
        timeouts: Default::default(),
        other_classes: true,
        scope: Scope::NONE,
    };
    let ((log, lines), mut scratch) = (LogSink::new(), Scratch::default());
    let mut buf = vec![0; crate::limits::MESSAGE_LEN_MAX];
    respond(packet, peer, &listener, &log, &mut scratch, &mut buf);
    lines.try_iter().map(|line| line.text).collect()
}

fn record(section: Section, rtype: RType, reply: &mut Reply<'_>) {
    reply.record(section, Owner::Question, rtype, 60, &[192, 0, 2, 1]);
}

/// The classes of CoreDNS's `response.Classify`.
#[test]
fn replies_are_of_coredns_classes() {
    type Act = fn(&mut Context<'_>, &mut Reply<'_>) -> Step;
    let cases: [(&str, RType, Act, &str); 12] = [
        (
            "an answer",
            RType::A,
            |_, reply| {
                record(Section::Answer, RType::A, reply);
                Step::Answered
            },
            "success",
        ),
        (
            "a referral",
            RType::A,
            |_, reply| {
                record(Section::Authority, RType::NS, reply);
                Step::Answered
            },
            "success",
        ),
        ("nothing at all", RType::A, |_, _| Step::Answered, "success"),
        (
            "NODATA",
            RType::A,
            |_, reply| {
                record(Section::Authority, RType::SOA, reply);
                Step::Answered
            },
            "denial",
        ),
        (
            "NXDOMAIN",
            RType::A,
            |_, reply| {
                record(Section::Authority, RType::SOA, reply);
                reply.set_rcode(Rcode::NXDOMAIN);
                Step::Answered
            },
            "denial",
        ),
        (
            "NXDOMAIN behind an alias",
            RType::A,
            |_, reply| {
                record(Section::Answer, RType::CNAME, reply);
                record(Section::Authority, RType::SOA, reply);
                reply.set_rcode(Rcode::NXDOMAIN);
                Step::Answered
            },
            "denial",
        ),
        (
            "NXDOMAIN without an SOA",
            RType::A,
            |_, reply| {
                reply.set_rcode(Rcode::NXDOMAIN);
                Step::Answered
            },
            "error",
        ),
        (
            "REFUSED",
            RType::A,
            |_, reply| {
                reply.set_rcode(Rcode::REFUSED);
                Step::Answered
            },
            "error",
        ),
        (
            "NOTIMP",
            RType::A,
            |_, reply| {
                reply.set_rcode(Rcode::NOTIMP);
                Step::Answered
            },
            "error",
        ),
        (
            "a failure",
            RType::A,
            |_, _| Step::Failed(Rcode::SERVFAIL, "why"),
            "error",
        ),
        ("silence", RType::A, |_, _| Step::Dropped, "error"),
        (
            "a transfer",
            RType::AXFR,
            |_, reply| {
                record(Section::Answer, RType::SOA, reply);
                Step::Answered
            },
            "error",
        ),
    ];
    for (what, qtype, act, expected) in cases {
        let packet = query("a.test.", qtype, &[]);
        for class in ["success", "denial", "error"] {
            let classes = Classes {
                success: class == "success",
                denial: class == "denial",
                error: class == "error",
            };
            let rules = [rule(".", vec![Piece::Name], classes)];
            let found = logged(&rules, act, (peer("192.0.2.1"), &packet));
            assert_eq!(
                found.len(),
                usize::from(class == expected),
                "{what}: {class}"
            );
        }
        let rules = [rule(".", vec![Piece::Name], ALL)];
        let found = logged(&rules, act, (peer("192.0.2.1"), &packet));
        assert_eq!(found, ["a.test."], "{what}");
    }
}

#[test]
fn placeholders_tell_what_coredns_tells() {
    let answers: fn(&mut Context<'_>, &mut Reply<'_>) -> Step = |_, reply| {
        reply.set_authoritative();
        record(Section::Answer, RType::A, reply);
        Step::Answered
    };
    let no_name: fn(&mut Context<'_>, &mut Reply<'_>) -> Step = |_, reply| {
        reply.set_rcode(Rcode(3_000));
        Step::Answered
    };
    let drops: fn(&mut Context<'_>, &mut Reply<'_>) -> Step = |_, _| Step::Dropped;
    let fails: fn(&mut Context<'_>, &mut Reply<'_>) -> Step =
        |_, _| Step::Failed(Rcode::SERVFAIL, "why");
    let tcp = Peer {
        stream: true,
        ..peer("192.0.2.1")
    };
    let bound = Peer {
        local: "0.0.0.0:53".parse().unwrap(),
        answer_from: Some("198.51.100.9".parse().unwrap()),
        ..peer("192.0.2.1")
    };
    // OPT: payload size 1,232, DO.
    let edns = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0];
    let tiny = [0, 0, 41, 0, 100, 0, 0, 0, 0, 0, 0];
    let (udp, six) = (peer("192.0.2.1"), peer("fd00::7"));
    for (piece, act, peer, opt, expected) in [
        (Piece::Text("x {".into()), answers, udp, &[][..], "x {"),
        (Piece::Type, answers, udp, &[], "A"),
        (Piece::Name, answers, udp, &[], "a.test."),
        (Piece::Class, answers, udp, &[], "IN"),
        (Piece::Proto, answers, udp, &[], "udp"),
        (Piece::Proto, answers, tcp, &[], "tcp"),
        (Piece::Remote, answers, udp, &[], "192.0.2.1"),
        (Piece::Remote, answers, six, &[], "[fd00::7]"),
        (Piece::Local, answers, udp, &[], "192.0.2.53"),
        (Piece::Local, answers, bound, &[], "198.51.100.9"),
        (Piece::Port, answers, udp, &[], "5353"),
        (Piece::Size, answers, udp, &[], "24"),
        (Piece::Size, answers, udp, &edns, "35"),
        (Piece::Rcode, answers, udp, &[], "NOERROR"),
        (Piece::Rcode, no_name, udp, &[], "3000"),
        (Piece::Rcode, drops, udp, &[], "-"),
        (Piece::Rcode, fails, udp, &[], "-"),
        (Piece::ReplyKind, fails, udp, &[], "OTHERERROR"),
        (Piece::Rsize, answers, udp, &[], "40"),
        (Piece::Rsize, drops, udp, &[], "0"),
        (Piece::Rflags, answers, udp, &[], "qr,aa,rd"),
        (Piece::Rflags, drops, udp, &[], "-"),
        (Piece::Bufsize, answers, udp, &[], "512"),
        (Piece::Bufsize, answers, udp, &tiny, "512"),
        (Piece::Bufsize, answers, udp, &edns, "1232"),
        (Piece::Bufsize, answers, tcp, &edns, "65535"),
        (Piece::Do, answers, udp, &[], "false"),
        (Piece::Do, answers, udp, &edns, "true"),
        (Piece::Id, answers, udp, &[], "4660"),
        (Piece::Opcode, answers, udp, &[], "0"),
        (Piece::Missing, answers, udp, &[], "-"),
    ] {
        let packet = query("A.test.", RType::A, opt);
        let rules = [rule(".", vec![piece.clone()], ALL)];
        let found = logged(&rules, act, (peer, &packet));
        assert_eq!(found, [expected], "{piece:?}");
    }
    let packet = query("a.test.", RType::A, &[]);
    let rules = [rule(".", vec![Piece::Duration], ALL)];
    let [took] = &*logged(&rules, answers, (udp, &packet)) else {
        panic!("one line")
    };
    let seconds = took.strip_suffix('s').map(str::parse::<f64>);
    assert!(seconds.is_some_and(|it| it.is_ok()), "{took}");
}

#[test]
fn the_first_rule_about_a_name_counts() {
    let failures = Classes {
        error: true,
        ..Classes::default()
    };
    let text = |text: &str| vec![Piece::Text(text.into())];
    let rules = [
        rule("quiet.test.", text("quiet"), failures),
        rule("test.", text("test"), ALL),
    ];
    for (name, expected) in [
        ("a.quiet.test.", None),
        ("quiet.test.", None),
        ("aquiet.test.", Some("test")),
        ("test.", Some("test")),
        ("other.", None),
    ] {
        let packet = query(name, RType::A, &[]);
        let found = logged(&rules, |_, _| Step::Answered, (peer("192.0.2.1"), &packet));
        assert_eq!(found.first().map(String::as_str), expected, "{name}");
    }
}

#[test]
fn durations_end_where_nothing_follows() {
    for (nanoseconds, expected) in [
        (0, "0s"),
        (1, "0.000000001s"),
        (120_000, "0.00012s"),
        (123_456_789, "0.123456789s"),
        (2_000_000_000, "2s"),
    ] {
        let mut text = String::new();
        write_seconds(Duration::from_nanos(nanoseconds), &mut text).unwrap();
        assert_eq!(text, expected);
    }
}
