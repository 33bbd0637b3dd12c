use super::*;
use crate::chain::Stage;
use crate::plugins::testing::{ask, ask_from, describe, peer, query};
use crate::wire::reply::Owner;

fn clamping(max: u32) -> Stage {
    let range = |min| TtlRange { min, max };
    Stage::Clamp(Arc::new(Cache {
        zones: vec![([0].into(), 0)],
        success: range(5),
        denial: range(6),
        success_disabled: Vec::new(),
        denial_disabled: Vec::new(),
        servfail: 7,
        prefetch: None,
        stale: None,
        keep_ttl: false,
        table: Table::new(1_024, 1_024),
    }))
}

fn soa(ttl: u32, reply: &mut Reply<'_>) {
    let (section, owner) = (Section::Authority, Owner::Question);
    reply.record(section, owner, RType::SOA, ttl, &[0; 22]);
}

fn address(section: Section, ttl: u32, reply: &mut Reply<'_>) {
    reply.record(section, Owner::Question, RType::A, ttl, &[10, 0, 0, 1]);
}

fn referral(ttl: u32, reply: &mut Reply<'_>) {
    let (section, owner) = (Section::Authority, Owner::Question);
    reply.record(section, owner, RType::NS, ttl, &[0]);
    address(Section::Additional, ttl, reply);
}

#[test]
fn no_ttl_is_more_than_an_hour_but_for_the_least_one() {
    for (min, max, ttl, expected) in [
        (5, 3_600, 86_400, 3_600),
        (5, 86_400, 86_400, 3_600),
        (5, 86_400, 1, 5),
        (5, 30, 86_400, 30),
        (7_200, 86_400, 10, 7_200),
        (7_200, 86_400, 86_400, 7_200),
    ] {
        let range = TtlRange::new(min, max);
        assert_eq!(range.clamp(ttl), expected, "{min} {max} {ttl}");
    }
}

/// A TTL at most, what a plugin behind the cache writes, and what is sent of it. It would never be kept.
type Case = (u32, fn(&mut Reply<'_>), &'static str);

const CASES: [Case; 9] = [
    (
        60,
        |reply| {
            address(Section::Answer, 300, reply);
            address(Section::Additional, 70, reply);
        },
        "NOERROR | a.test. 60 A 10.0.0.1 | ar a.test. 60 A 10.0.0.1",
    ),
    (
        3_600,
        |reply| {
            address(Section::Answer, 300, reply);
            address(Section::Additional, 70, reply);
        },
        "NOERROR | a.test. 70 A 10.0.0.1 | ar a.test. 70 A 10.0.0.1",
    ),
    (3_600, |reply| soa(1, reply), "NOERROR | ns a.test. 6 SOA ."),
    (
        3_600,
        |reply| {
            reply.set_rcode(Rcode::NXDOMAIN);
            soa(1, reply);
        },
        "NXDOMAIN | ns a.test. 6 SOA .",
    ),
    (
        3_600,
        |reply| referral(300, reply),
        "NOERROR | ns a.test. 5 NS . | ar a.test. 5 A 10.0.0.1",
    ),
    // An alias that leads nowhere in a zone whose SOA is not shown.
    (
        3_600,
        |reply| {
            reply.set_rcode(Rcode::NXDOMAIN);
            address(Section::Answer, 300, reply);
        },
        "NXDOMAIN | a.test. 5 A 10.0.0.1",
    ),
    (
        3_600,
        |reply| address(Section::Additional, 0, reply),
        "NOERROR | ar a.test. 5 A 10.0.0.1",
    ),
    (
        3_600,
        |reply| {
            reply.set_rcode(Rcode::SERVFAIL);
            address(Section::Additional, 300, reply);
        },
        "SERVFAIL | ar a.test. 7 A 10.0.0.1",
    ),
    (
        3_600,
        |reply| {
            reply.set_rcode(Rcode::REFUSED);
            address(Section::Additional, 300, reply);
        },
        "REFUSED | ar a.test. 5 A 10.0.0.1",
    ),
];

#[test]
fn replies_have_the_ttl_that_they_would_be_kept_for() {
    for (number, (max, _, expected)) in CASES.into_iter().enumerate() {
        // The first label tells which case it is.
        let plugin = Stage::Fixed(|context, reply| {
            let number = usize::from(context.name.label(0)[0] - b'0');
            CASES[number].1(reply);
            Step::Answered
        });
        let asked = format!("{number}.test.");
        let found = ask(&[clamping(max), plugin], &asked, RType::A);
        assert_eq!(found, expected.replace("a.test.", &asked));
    }
}

/// What is kept has none.
#[test]
fn the_opt_of_a_plugin_behind_the_cache_is_not_sent() {
    let fixed = Stage::Fixed(|_, reply| {
        reply.set_opt(0x8000, [0, 15, 0, 2, 0, 17].into());
        address(Section::Answer, 300, reply);
        Step::Answered
    });
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let alone = query("a.test.", RType::A, &[]).len() + 16;
    for (opt, expected) in [(&[][..], alone), (&opt, alone + opt.len())] {
        let message = query("a.test.", RType::A, opt);
        let stages = [clamping(3600), fixed.clone()];
        let reply = ask_from(&stages, peer("192.0.2.1"), &message).unwrap();
        assert_eq!(reply.len(), expected, "{}", describe(&reply));
        assert!(reply.ends_with(opt));
    }
}
