use super::super::tests::stages;
use super::*;
use crate::chain::Stage;
use crate::plugins::testing::{ask_from, line, name, peer, query};
use crate::wire::Answer;

fn records(stages: &[Stage], zone: &str) -> Vec<Record> {
    let Stage::K8sExternal(external) = &stages[0] else {
        panic!("it is the first");
    };
    let mut folded = FoldedName::default();
    folded.parse(&name(zone), 0).unwrap();
    let (mut whole, mut records) = (external.whole(&folded).unwrap(), Vec::new());
    assert!(whole.write(|record| {
        records.push(record.clone());
        true
    }));
    records
}

#[test]
fn a_zone_is_what_it_answers() {
    let stages = stages(true, &[]);
    let records = records(&stages, "ext.test");
    let soa = "ext.test. 60 SOA ns1.dns.ext.test.";
    let lines: Vec<_> = records.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            soa,
            "ext.test. 60 NS ns1.dns.ext.test.",
            "ns1.dns.ext.test. 60 A 198.51.100.53",
            // Alone, although SRV records stand there when they are asked for.
            "alias.prod.ext.test. 5 CNAME lb.cloud.test.",
            "_web._tcp.alias.prod.ext.test. 5 SRV lb.cloud.test.",
            "db.prod.ext.test. 60 A 10.1.0.5",
            "db.prod.ext.test. 5 SRV 10-1-0-5.db.prod.ext.test.",
            "_sql._tcp.db.prod.ext.test. 5 SRV 10-1-0-5.db.prod.ext.test.",
            "10-1-0-5.db.prod.ext.test. 60 A 10.1.0.5",
            "10-1-0-5.db.prod.ext.test. 5 SRV 10-1-0-5.db.prod.ext.test.",
            "shop.prod.ext.test. 60 A 192.0.2.9",
            "shop.prod.ext.test. 60 AAAA 2001:db8::9",
            "shop.prod.ext.test. 5 SRV shop.prod.ext.test.",
            "shop.prod.ext.test. 5 SRV shop.prod.ext.test.",
            "_tls._tcp.shop.prod.ext.test. 5 SRV shop.prod.ext.test.",
            "_web._tcp.shop.prod.ext.test. 5 SRV shop.prod.ext.test.",
            soa,
        ]
    );
    for record in records.iter().filter(|it| it.rtype != RType::CNAME) {
        let text = crate::wire::name::NameText::of(&record.owner);
        let query = query(text.as_str(), record.rtype, &[]);
        let reply = ask_from(&stages, peer("192.0.2.1"), &query).unwrap();
        let answer = Answer::read(&reply).unwrap();
        assert!(answer.sections[0].contains(record), "{}", line(record));
    }
}

#[test]
fn without_the_option_there_are_no_endpoints() {
    let records = records(&stages(false, &[]), "ext.test");
    let is_of_db = |record: &&Record| line(record).contains("db.");
    assert_eq!(records.iter().find(is_of_db), None);
}

#[test]
fn a_reverse_zone_has_the_addresses_in_it() {
    let records = records(&stages(false, &[]), "in-addr.arpa");
    let lines: Vec<_> = records.iter().map(line).collect();
    let [soa, ns, server, pointer, end] = &*lines else {
        panic!("{lines:?}");
    };
    assert_eq!(soa, end);
    assert_eq!(ns, "in-addr.arpa. 60 NS ns1.dns.in-addr.arpa.");
    assert_eq!(server, "ns1.dns.in-addr.arpa. 60 A 198.51.100.53");
    assert_eq!(
        pointer,
        "9.2.0.192.in-addr.arpa. 60 PTR shop.prod.ext.test."
    );
}
