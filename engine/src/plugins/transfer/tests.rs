use std::sync::Arc;

use super::*;
use crate::chain::{Peer, Stage};
use crate::plugins::testing::{self, describe, name, peer, query};
use crate::wire::{Answer, Class, text};

const SOA: &str = "z.test. 60 SOA ns1.z.test. mail.z.test. 7 1 2 3 4";

fn zone(hosts: u32) -> Zone {
    let record = |line: &str| text::record(line).unwrap();
    let mut records = vec![record(SOA), record("z.test. NS ns1.z.test.")];
    records.extend((0..hosts).map(|number| Record {
        owner: name(&format!("host-{number}.z.test")),
        rtype: RType::A,
        class: Class::IN,
        ttl: 60,
        rdata: number.to_be_bytes().to_vec(),
    }));
    // Several records of one name, larger than a message together.
    records.extend((0..300_u16).map(|number| Record {
        owner: name("large.z.test"),
        rtype: RType::TXT,
        class: Class::IN,
        ttl: 60,
        rdata: [&[255][..], &[number as u8; 255]].concat(),
    }));
    Zone::new(&name("z.test"), records).unwrap()
}

fn stages(to_all: bool, to: &[&str], hosts: u32) -> Vec<Stage> {
    let contents = Contents::default();
    contents.store(Some(Arc::new(zone(hosts))));
    let zones = Zones::new([name("z.test").into()]);
    let file = Arc::new(File {
        zones: zones.clone(),
        contents: vec![(name("z.test").into(), contents)],
        fallthrough: Zones::default(),
        is_last: true,
    });
    let rule = Rule {
        zones,
        to_all,
        to: to
            .iter()
            .map(|it| (it.parse::<IpAddr>().unwrap(), 53).into())
            .collect(),
        source: None,
    };
    let transfer = Transfer {
        rules: vec![rule],
        external: None,
        kubernetes: None,
        file: Some(Arc::clone(&file)),
    };
    vec![Stage::Transfer(Arc::new(transfer)), Stage::File(file)]
}

/// All messages of the reply.
fn messages(stages: &[Stage], packet: &[u8], stream: bool) -> Vec<Vec<u8>> {
    let peer = Peer {
        stream,
        ..peer("192.0.2.1")
    };
    testing::messages(stages, peer, packet)
}

fn axfr() -> Vec<u8> {
    query("z.test", RType::AXFR, &[])
}

fn ixfr(serial: u32) -> Vec<u8> {
    let mut packet = query("z.test", RType::IXFR, &[]);
    packet[9] = 1;
    let soa = [&[0, 0][..], &serial.to_be_bytes(), &[0; 16]].concat();
    packet.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, soa.len() as u8]);
    packet.extend(soa);
    packet
}

#[test]
fn sends_each_record_once_between_two_soas() {
    let stages = stages(true, &[], 5_000);
    let messages = messages(&stages, &axfr(), true);
    assert!(messages.len() > 2, "{} messages", messages.len());
    let mut records = Vec::new();
    for message in &messages {
        let answer = Answer::read(message).unwrap();
        assert_eq!(
            describe(message).split(' ').take(2).collect::<Vec<_>>(),
            ["NOERROR", "aa"]
        );
        assert!(!describe(message).contains(" tc"));
        assert_eq!(message[..2], axfr()[..2]);
        records.extend(answer.sections.into_iter().next().unwrap());
    }
    let soa = |record: &Record| record.rtype == RType::SOA;
    assert!(soa(&records[0]) && soa(records.last().unwrap()));
    assert_eq!(records.iter().filter(|it| soa(it)).count(), 2);
    records.pop();
    let zone = zone(5_000);
    assert!(zone.records().eq(&records), "all of them, in order");
}

#[test]
fn a_secondary_that_is_current_gets_the_soa_alone() {
    let stages = stages(true, &[], 10);
    let counts = |serial| {
        let messages = messages(&stages, &ixfr(serial), true);
        let counts = messages
            .iter()
            .map(|it| Answer::read(it).unwrap().sections[0].len());
        counts.sum::<usize>()
    };
    // Serials go round (RFC 1982); zero stands for no zone at all.
    let all = 2 + 10 + 300 + 1;
    for (known, expected) in [(7, 1), (8, 1), (6, all), (0, all), (0x8000_0008, all)] {
        assert_eq!(counts(known), expected, "{known}");
    }
    let without = messages(&stages, &query("z.test", RType::IXFR, &[]), true);
    assert_eq!(describe(&without[0]), "SERVFAIL");
}

#[test]
fn refuses_whom_and_where_it_may_not() {
    let open = stages(true, &[], 10);
    assert_eq!(describe(&messages(&open, &axfr(), false)[0]), "REFUSED");
    let other = stages(false, &["192.0.2.2"], 10);
    assert_eq!(describe(&messages(&other, &axfr(), true)[0]), "REFUSED");
    let named = stages(false, &["192.0.2.2", "192.0.2.1"], 10);
    assert_eq!(
        describe(&messages(&named, &axfr(), true)[0])[..10],
        *"NOERROR aa"
    );
    // No zone of that name: a name in one is not enough.
    let below = query("host-1.z.test", RType::AXFR, &[]);
    assert_eq!(describe(&messages(&open, &below, true)[0]), "REFUSED");
}
