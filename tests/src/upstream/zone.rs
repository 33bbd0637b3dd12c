//! What the upstream answers when it behaves: a few names with every kind of answer, and rules for
//! names that begin with certain words. Recorded answers were made with these.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::Transport;
use super::message::{Entry, Message};
use crate::dns::Reply;

/// The rules, and what they remember.
pub(super) struct Zone {
    ident: String,
    counts: HashMap<String, u8>,
}

/// An answer: what is sent, and how much later.
pub(super) type Told = Option<(Message, Duration)>;

impl Zone {
    pub(super) fn new(ident: &str) -> Self {
        Self {
            ident: ident.to_owned(),
            counts: HashMap::new(),
        }
    }

    /// The answer to a query, or silence.
    pub(super) fn answer(&mut self, id: u16, query: &Reply, over: Transport) -> Told {
        let question = query.q.first()?;
        let asked = &question[0];
        let name = asked.to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        let first = name.split('.').next().unwrap_or_default();
        let mut message = Message {
            id,
            flags: QR | RA | if query.has("RD") { RD } else { 0 },
            question: question.clone(),
            ..Message::default()
        };
        message.flags |= u16::from(query.opcode.unwrap_or(0)) << 11;
        let edns_flags = query.edns.as_ref().map_or(0, |opt| {
            u16::from_str_radix(&opt.flags, 16).expect("four digits")
        });
        message.edns = query.edns.as_ref().map(|_| (edns_flags, Vec::new()));
        let mut delay = Duration::ZERO;
        if name.ends_with("up.test") {
            if first == "never" {
                return None;
            }
            if first == "slow" {
                delay = SLOW;
            }
            if self.rule(&mut message, query, over, name, first) {
                return Some((message, delay));
            }
        }
        if name.ends_with(WILD) && question[2] == "A" {
            let address = wild_address(name).to_string();
            message.answer.push(Entry::new(asked, 60, "A", address));
            return Some((message, delay));
        }
        look_up(&mut message, name, first);
        decorate(&mut message, query, first, over);
        let limit = match (over, &query.edns) {
            (Transport::Udp, None) => 512,
            (Transport::Udp, Some(opt)) => usize::from(opt.size.max(512)),
            _ => 65_535,
        };
        if message.wire().len() > limit {
            message.answer.clear();
            message.authority.clear();
            message.additional.clear();
            message.flags |= TC;
        }
        Some((message, delay))
    }

    /// The names that are rules. True when that was all.
    fn rule(
        &mut self,
        message: &mut Message,
        query: &Reply,
        over: Transport,
        name: &str,
        first: &str,
    ) -> bool {
        let asked = message.question[0].clone();
        let a = message.question[2] == "A";
        if let Some((_, rcode)) = RCODES.iter().find(|(word, _)| *word == first) {
            message.rcode = *rcode;
        } else if first.starts_with("count") || first.starts_with("flip") {
            let count = self.counts.entry(name.to_owned()).or_default();
            *count += 1;
            let ttl = if first.contains("short") { 2 } else { 30 };
            if first.starts_with("flip") && (*count).is_multiple_of(2) {
                message.rcode = 2;
            } else if a {
                let address = Ipv4Addr::new(192, 0, 2, *count).to_string();
                message.answer.push(Entry::new(&asked, ttl, "A", address));
            } else {
                message.authority.push(soa(name, first));
            }
        } else if first == "who" {
            let edns = query.edns.as_ref();
            let text = format!(
                "\"{}\" \"{}\" \"{}\" \"rd={}\" \"edns={}\" \"do={}\"",
                self.ident,
                over.word(),
                query.opcode.unwrap_or(0),
                u8::from(query.has("RD")),
                edns.map_or(-1, |opt| i32::from(opt.size)),
                u8::from(edns.is_some_and(|opt| opt.flags.starts_with('8'))),
            );
            message.answer.push(Entry::new(&asked, 0, "TXT", text));
        } else if first == "wrongq" {
            message.question[0] = OTHER.to_owned();
            message.question[1] = "IN".to_owned();
            message
                .answer
                .push(Entry::new(OTHER, 60, "A", "192.0.2.99"));
        } else {
            return false;
        }
        true
    }
}

/// The address of a name below `wild.test`: each has its own, so that an answer to another question
/// shows. Only `localhost.wild.test` is this machine.
pub(super) fn wild_address(name: &str) -> Ipv4Addr {
    if name.to_ascii_lowercase().starts_with("localhost.") {
        return Ipv4Addr::LOCALHOST;
    }
    let mut hasher = DefaultHasher::new();
    name.trim_end_matches('.')
        .to_ascii_lowercase()
        .hash(&mut hasher);
    let [.., a, b, c] = hasher.finish().to_be_bytes();
    Ipv4Addr::new(100, a, b, c)
}

/// Follows the table, and denies what is not there.
fn look_up(message: &mut Message, name: &str, first: &str) {
    let [asked, _, rtype] = message.question.clone();
    let mut at = name.to_owned();
    let mut seen = Vec::new();
    let mut found = false;
    while exists(&at) && !seen.contains(&at) {
        found = true;
        let owner = if at == name {
            asked.clone()
        } else {
            format!("{at}.")
        };
        let owner = if first == "upper" {
            format!("{}.", at.to_ascii_uppercase())
        } else {
            owner
        };
        let mut records = of(&at, &rtype);
        if records.is_empty() && rtype == "ANY" {
            records = RECORDS.iter().filter(|(name, ..)| *name == at).collect();
            records.sort_by_key(|(_, rtype, ..)| *rtype);
        }
        let alias = match of(&at, "CNAME").first() {
            Some((.., rdata)) if records.is_empty() => {
                records = of(&at, "CNAME");
                Some(rdata[0])
            }
            _ => None,
        };
        for (_, rtype, ttl, rdata) in records {
            for text in *rdata {
                let text = if *text == BIG {
                    big()
                } else {
                    (*text).to_owned()
                };
                message.answer.push(Entry::new(&owner, *ttl, rtype, text));
            }
        }
        let Some(target) = alias else { break };
        seen.push(at);
        at = target.trim_end_matches('.').to_ascii_lowercase();
        found = exists(&at);
    }
    if first == "wide" && ["A", "ANY"].contains(&rtype.as_str()) && found {
        let address = |n| Entry::new(&asked, 30, "A", format!("192.0.2.{n}"));
        message.answer = (100..180).map(address).collect();
    }
    if first == "mixttl" && rtype == "A" {
        let other = Entry::new(OTHER, 8, "A", "192.0.2.57");
        message.answer.push(other);
    }
    let dangling = message.answer.last().is_some_and(|last| {
        last.rtype == "CNAME" && !["CNAME", "ANY"].contains(&rtype.as_str()) && !found
    });
    if message.answer.is_empty() || dangling {
        if !found && !first.starts_with("nodata") {
            message.rcode = 3;
        }
        message.authority.push(soa(name, first));
    }
    if message.answer.is_empty() && first.starts_with("nosoa") {
        message.authority.clear();
    }
}

/// Flags, options and sections that some names have.
fn decorate(message: &mut Message, query: &Reply, first: &str, over: Transport) {
    let asked = message.question[0].clone();
    let dnssec = query
        .edns
        .as_ref()
        .is_some_and(|opt| opt.flags.starts_with('8'));
    match first {
        "ad" => message.flags |= AD,
        "aa" => message.flags |= AA,
        "ra0" => message.flags &= !RA,
        "signed" => {
            message.flags |= AD;
            if dnssec && message.question[2] == "A" {
                message.answer.push(Entry::new(&asked, 60, "RRSIG", RRSIG));
            }
        }
        "ede" => {
            if let Some((_, options)) = &mut message.edns {
                // Extended DNS Error 3, stale answer (RFC 8914).
                options.extend([0, 15, 0, 10, 0, 3]);
                options.extend(b"old news");
            }
        }
        "sections" => {
            for server in ["ns1.up.test.", "ns2.up.test."] {
                let entry = Entry::new("up.test.", 70, "NS", server);
                message.authority.push(entry);
            }
            let entry = Entry::new("both.up.test.", 33, "A", "192.0.2.2");
            message.additional.push(entry);
        }
        "tconly" if over == Transport::Udp => message.flags |= TC,
        _ => {}
    }
}

fn soa(name: &str, first: &str) -> Entry {
    let zone = ["up.test.", "outside.example."]
        .into_iter()
        .find(|zone| name.ends_with(zone.trim_end_matches('.')))
        .unwrap_or(".");
    let below = if zone == "." { "" } else { zone };
    let (ttl, minimum) = match first {
        "nx3" | "nodata3" => (60, 3),
        "nx9999" => (9999, 9999),
        _ => (60, 30),
    };
    let text = format!("ns.{below} admin.{below} 2021010101 7200 900 1209600 {minimum}");
    Entry::new(zone, ttl, "SOA", text)
}

type Line = (&'static str, &'static str, u32, &'static [&'static str]);

fn exists(name: &str) -> bool {
    RECORDS.iter().any(|(known, ..)| *known == name)
}

fn of(name: &str, rtype: &str) -> Vec<&'static Line> {
    let fits = |line: &&Line| line.0 == name && line.1 == rtype;
    RECORDS.iter().filter(fits).collect()
}

/// Twelve strings of 250 octets: more than any UDP reply holds.
fn big() -> String {
    let strings = (b'a'..b'm').map(|letter| char::from(letter).to_string().repeat(250));
    let quoted = strings.map(|string| format!("\"{string}\""));
    quoted.collect::<Vec<_>>().join(" ")
}

const QR: u16 = 0x8000;
const AA: u16 = 0x0400;
pub(super) const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;
const AD: u16 = 0x0020;

const SLOW: Duration = Duration::from_millis(300);
const OTHER: &str = "other.up.test.";
const WILD: &str = ".wild.test";
const BIG: &str = "BIG";
const RCODES: [(&str, u16); 5] = [
    ("servfail", 2),
    ("refused", 5),
    ("notimp", 4),
    ("formerr", 1),
    ("yxdomain", 6),
];

/// A 8 3 60 20380101000000 20200101000000 12345 up.test. AAAA
const RRSIG: &str = "\\# 30 000108030000003c7fe817805e0be1003039027570047465737400000000";

#[rustfmt::skip]
const RECORDS: &[Line] = &[
    ("www.outside.example", "A", 300, &["203.0.113.10"]),
    ("www.outside.example", "AAAA", 300, &["2001:db8::10"]),
    ("api.outside.example", "CNAME", 60, &["edge.outside.example."]),
    ("edge.outside.example", "CNAME", 20, &["pop.cdn.example."]),
    ("pop.cdn.example", "A", 10, &["203.0.113.20", "203.0.113.21"]),
    ("dotted.outside.example", "A", 7, &["203.0.113.30"]),
    ("far.outside.example", "A", 5, &["203.0.113.40"]),
    ("db.outside.example", "A", 50, &["203.0.113.50"]),
    ("db.outside.example", "AAAA", 50, &["2001:db8::50"]),
    ("only.outside.example", "AAAA", 50, &["2001:db8::51"]),
    ("google.com", "A", 100, &["203.0.113.80"]),
    ("google.com", "MX", 100, &["10 mx.google.com."]),
    ("a.up.test", "A", 60, &["192.0.2.1"]),
    ("aaaa.up.test", "AAAA", 60, &["2001:db8::1"]),
    ("both.up.test", "A", 60, &["192.0.2.2"]),
    ("both.up.test", "AAAA", 45, &["2001:db8::2"]),
    ("both.up.test", "TXT", 60, &["\"both of them\" \"two strings\""]),
    ("multi.up.test", "A", 30, &["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14"]),
    ("c1.up.test", "CNAME", 40, &["c2.up.test."]),
    ("c2.up.test", "CNAME", 25, &["c3.up.test."]),
    ("c3.up.test", "A", 90, &["192.0.2.30"]),
    ("c3.up.test", "AAAA", 90, &["2001:db8::30"]),
    ("cnx.up.test", "CNAME", 40, &["nothing.up.test."]),
    ("cloop.up.test", "CNAME", 40, &["cloop.up.test."]),
    ("wide.up.test", "A", 30, &["192.0.2.100"]),
    ("big.up.test", "TXT", 30, &[BIG]),
    ("ttl0.up.test", "A", 0, &["192.0.2.50"]),
    ("ttl1.up.test", "A", 1, &["192.0.2.51"]),
    ("ttl3.up.test", "A", 3, &["192.0.2.53"]),
    ("ttl4000.up.test", "A", 4000, &["192.0.2.54"]),
    ("ttlmax.up.test", "A", 2_147_483_647, &["192.0.2.55"]),
    ("mixttl.up.test", "A", 20, &["192.0.2.56"]),
    ("slow.up.test", "A", 60, &["192.0.2.60"]),
    ("upper.up.test", "A", 60, &["192.0.2.61"]),
    ("ad.up.test", "A", 60, &["192.0.2.62"]),
    ("aa.up.test", "A", 60, &["192.0.2.63"]),
    ("ra0.up.test", "A", 60, &["192.0.2.64"]),
    ("ede.up.test", "A", 60, &["192.0.2.65"]),
    ("sections.up.test", "MX", 60, &["10 both.up.test.", "20 a.up.test."]),
    ("srv.up.test", "SRV", 60, &["1 2 443 both.up.test.", "1 2 8443 a.up.test."]),
    ("odd.up.test", "TYPE65280", 60, &["\\# 4 deadbeef"]),
    ("signed.up.test", "A", 60, &["192.0.2.70"]),
    ("tconly.up.test", "A", 60, &["192.0.2.71"]),
];
