use super::*;
use crate::wire::name::{wire_from_text, write_presentation};
use crate::wire::text;

const ZONE: &str = "\
z.test. 60 SOA ns1.z.test. mail.z.test. 7 1 2 3 4
z.test. NS ns1.z.test.
z.test. NS ns.far.test.
z.test. MX 10 Host.z.test.
ns1.z.test. A 192.0.2.1
Host.z.test. A 192.0.2.2
host.z.test. AAAA 2001:db8::2
alias.z.test. CNAME two.z.test.
two.z.test. CNAME host.z.test.
out.z.test. CNAME far.test.
gone.z.test. CNAME none.test.
lost.z.test. CNAME missing.z.test.
ring.z.test. CNAME ring2.z.test.
ring2.z.test. CNAME ring.z.test.
into.z.test. CNAME www.sub.z.test.
*.wild.z.test. TXT wild
*.wild.z.test. MX 5 host.z.test.
a.b.wild.z.test. A 192.0.2.3
*.cn.z.test. CNAME host.z.test.
x.*.star.z.test. A 192.0.2.4
deep.down.ent.z.test. A 192.0.2.5
sub.z.test. NS ns.sub.z.test.
sub.z.test. NS ns1.z.test.
sub.z.test. DS \\# 6 0001080200ff
ns.sub.z.test. A 192.0.2.6
dn.z.test. DNAME z.test.
dn.z.test. TXT own
self.z.test. DNAME self.z.test.
_x._tcp.z.test. SRV 0 0 80 host.z.test.
_x._tcp.z.test. SRV 1 0 81 host.z.test.
_x._tcp.z.test. SRV 2 0 82 host.far.test.
https.z.test. HTTPS \\# 22 000104686f7374017a04746573740000010003026832
elsewhere.test. A 192.0.2.7
";

fn wire(name: &str) -> Box<[u8]> {
    wire_from_text(name).unwrap_or_else(|| panic!("{name} is a name"))
}

fn zone() -> Zone {
    let record = |line| text::record(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    Zone::new(&wire("z.test"), ZONE.lines().map(record)).expect("it is a zone")
}

/// Records as `OWNER TYPE`, with the zone's name cut off.
fn said(records: &[Record]) -> String {
    let said = records.iter().map(|record| {
        let mut owner = String::new();
        write_presentation(&record.owner, &mut owner).expect("texts take all");
        let owner = owner.strip_suffix("z.test.").unwrap_or(&owner);
        format!("{owner}{}", record.rtype)
    });
    said.collect::<Vec<_>>().join(" ")
}

/// Another server: it has `far.test` and nothing else.
fn elsewhere(name: &[u8], rtype: RType) -> (Vec<Record>, Outcome) {
    if *name != *wire("far.test") {
        return (Vec::new(), Outcome::NameError);
    }
    let record = text::record("far.test. A 192.0.2.9").expect("it is a record");
    match rtype {
        RType::A => (vec![record], Outcome::Success),
        _ => (Vec::new(), Outcome::NoData),
    }
}

#[test]
fn names_lead_where_the_specifications_say() {
    use Outcome::{Delegation, Failure, NameError, NoData, Parent, Success};
    const NS: &str = "NS NS";
    const SOA: &str = "SOA";
    let zone = zone();
    for (name, rtype, outcome, answer, authority, additional) in [
        ("z.test", RType::SOA, Success, SOA, NS, ""),
        ("z.test", RType::NS, Success, NS, "", "ns1.A"),
        ("z.test", RType::MX, Success, "MX", NS, "host.A host.AAAA"),
        ("z.test", RType::A, NoData, "", SOA, ""),
        ("host.z.test", RType::A, Success, "host.A", NS, ""),
        ("host.z.test", RType::TXT, NoData, "", SOA, ""),
        ("host.z.test", RType::ANY, NoData, "", SOA, ""),
        ("no.z.test", RType::A, NameError, "", SOA, ""),
        ("no.host.z.test", RType::A, NameError, "", SOA, ""),
        ("down.ent.z.test", RType::A, Parent, "", SOA, ""),
        // Aliases.
        ("alias.z.test", RType::CNAME, Success, "alias.CNAME", NS, ""),
        (
            "alias.z.test",
            RType::A,
            Success,
            "alias.CNAME two.CNAME host.A",
            NS,
            "",
        ),
        (
            "alias.z.test",
            RType::TXT,
            Success,
            "alias.CNAME two.CNAME",
            NS,
            "",
        ),
        (
            "out.z.test",
            RType::A,
            Success,
            "out.CNAME far.test.A",
            NS,
            "",
        ),
        ("out.z.test", RType::AAAA, NoData, "out.CNAME", NS, ""),
        ("gone.z.test", RType::A, NameError, "gone.CNAME", NS, ""),
        (
            "into.z.test",
            RType::A,
            Delegation,
            "into.CNAME",
            "sub.NS sub.NS",
            "ns.sub.A",
        ),
        // Wildcards: for what has no records, under the name that was asked.
        ("q.wild.z.test", RType::TXT, Success, "q.wild.TXT", NS, ""),
        (
            "p.q.wild.z.test",
            RType::TXT,
            Success,
            "p.q.wild.TXT",
            NS,
            "",
        ),
        (
            "q.wild.z.test",
            RType::MX,
            Success,
            "q.wild.MX",
            NS,
            "host.A host.AAAA",
        ),
        ("q.wild.z.test", RType::A, NoData, "", SOA, ""),
        ("b.wild.z.test", RType::TXT, Success, "b.wild.TXT", NS, ""),
        ("a.b.wild.z.test", RType::TXT, NoData, "", SOA, ""),
        ("*.wild.z.test", RType::TXT, Success, "*.wild.TXT", NS, ""),
        (
            "q.cn.z.test",
            RType::A,
            Success,
            "q.cn.CNAME host.A",
            NS,
            "",
        ),
        ("q.star.z.test", RType::A, NoData, "", SOA, ""),
        // Zones below.
        (
            "sub.z.test",
            RType::A,
            Delegation,
            "",
            "sub.NS sub.NS",
            "ns.sub.A",
        ),
        (
            "sub.z.test",
            RType::NS,
            Delegation,
            "",
            "sub.NS sub.NS",
            "ns.sub.A",
        ),
        (
            "www.sub.z.test",
            RType::A,
            Delegation,
            "",
            "sub.NS sub.NS",
            "ns.sub.A",
        ),
        ("sub.z.test", RType::DS, Success, "sub.DS", NS, ""),
        (
            "www.sub.z.test",
            RType::DS,
            Delegation,
            "",
            "sub.NS sub.NS",
            "ns.sub.A",
        ),
        // DNAME.
        (
            "host.dn.z.test",
            RType::A,
            Success,
            "dn.DNAME host.dn.CNAME host.A",
            NS,
            "",
        ),
        (
            "host.dn.z.test",
            RType::CNAME,
            Success,
            "dn.DNAME host.dn.CNAME",
            NS,
            "",
        ),
        ("dn.z.test", RType::TXT, Success, "dn.TXT", NS, ""),
        ("dn.z.test", RType::A, NoData, "", SOA, ""),
        ("x.self.z.test", RType::A, Failure, "", "", ""),
        // Hosts of other records, once each, if they are here.
        (
            "_x._tcp.z.test",
            RType::SRV,
            Success,
            "_x._tcp.SRV _x._tcp.SRV _x._tcp.SRV",
            NS,
            "host.A host.AAAA",
        ),
        (
            "https.z.test",
            RType::HTTPS,
            Success,
            "https.HTTPS",
            NS,
            "host.A host.AAAA",
        ),
    ] {
        let mut ask = |name: &[u8], rtype| elsewhere(name, rtype);
        let found = zone.look_up(&wire(name), (rtype, false), &mut ask);
        let sections = found.sections.each_ref().map(|records| said(records));
        let expected = [answer, authority, additional].map(str::to_owned);
        let outcome = match (outcome, name) {
            (NoData, "z.test") if zone.node(&wire(name)).is_none() => Parent,
            _ => outcome,
        };
        assert_eq!(
            (found.outcome, sections),
            (outcome, expected),
            "{name} {rtype}"
        );
    }
}

#[test]
fn circles_end() {
    let zone = zone();
    let found = zone.look_up(
        &wire("ring.z.test"),
        (RType::A, false),
        &mut |_, _| unreachable!(),
    );
    assert_eq!(found.sections[0].len(), CHAIN_MAX + 2);
    assert_eq!(found.outcome, Outcome::Success);
}

#[test]
fn referrals_show_what_signs_them_to_those_who_ask() {
    let zone = zone();
    let found = zone.look_up(
        &wire("x.sub.z.test"),
        (RType::A, true),
        &mut |_, _| unreachable!(),
    );
    assert_eq!(said(&found.sections[1]), "sub.NS sub.NS sub.DS");
}

#[test]
fn a_zone_needs_an_soa_and_has_what_is_in_it() {
    let record = |line: &str| text::record(line).expect("it is a record");
    let none = Zone::new(&wire("z.test"), [record("a.z.test. A 192.0.2.1")]);
    assert_eq!(none.unwrap_err(), ZoneFault::NoSoa);
    let zone = zone();
    assert_eq!(zone.serial(), 7);
    // In order of a transfer; what is elsewhere stays away.
    let types: Vec<_> = zone.records().map(|it| it.rtype).collect();
    assert_eq!(types[..3], [RType::SOA, RType::NS, RType::NS]);
    assert_eq!(types.len(), ZONE.lines().count() - 1);
}
