//! What differs between a recorded answer and ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::dns::{Answer, OptRecord, Record, Reply};

/// Recorded answers by what they hold. A total alone would flatter a server that says NXDOMAIN to
/// everything.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Records in the answer section.
    Records,
    /// NXDOMAIN.
    Nxdomain,
    /// NOERROR without an answer.
    Nodata,
    /// Any other code.
    OtherErrors,
    /// No message.
    NoReply,
}

impl Kind {
    /// The kind of an answer.
    pub fn of(answer: &Answer) -> Self {
        let Some(reply) = answer.reply() else {
            return Self::NoReply;
        };
        match reply.rcode.as_str() {
            _ if !reply.an.is_empty() => Self::Records,
            "NOERROR" => Self::Nodata,
            "NXDOMAIN" => Self::Nxdomain,
            _ => Self::OtherErrors,
        }
    }

    /// How it is printed.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Nxdomain => "NXDOMAIN",
            Self::Nodata => "NODATA",
            Self::OtherErrors => "other errors",
            Self::NoReply => "no reply",
        }
    }
}

/// The TCP answer to the same question, if the corpus has one: a truncated answer may hold only
/// what that one holds.
pub fn full_answer<'a>(answers: &'a BTreeMap<String, Answer>, key: &str) -> Option<&'a Reply> {
    let question = key.split(' ').take(3).collect::<Vec<_>>().join(" ");
    [" tcp", " tcp edns=512"]
        .iter()
        .find_map(|options| answers.get(&format!("{question}{options}"))?.reply())
}

/// The differences between a recorded answer and ours, one short text each; none when equal.
pub fn causes(recorded: &Answer, ours: &Answer, full: Option<&Reply>) -> Vec<String> {
    match (recorded, ours) {
        _ if recorded == ours => Vec::new(),
        (Answer::Reply(recorded), Answer::Reply(ours)) => reply_causes(recorded, ours, full),
        _ => {
            let word = |answer: &Answer| match answer {
                Answer::Nothing(word) => word.clone(),
                Answer::Reply(reply) => reply.rcode.clone(),
            };
            vec![format!("{} -> {}", word(recorded), word(ours))]
        }
    }
}

fn reply_causes(recorded: &Reply, ours: &Reply, full: Option<&Reply>) -> Vec<String> {
    let mut causes = Vec::new();
    let mut unless = |equal: bool, cause: &dyn Fn() -> String| {
        if !equal {
            causes.push(cause());
        }
    };
    unless(recorded.rcode == ours.rcode, &|| {
        format!("rcode {} -> {}", recorded.rcode, ours.rcode)
    });
    unless(recorded.flags == ours.flags, &|| {
        flags_cause(&recorded.flags, &ours.flags)
    });
    unless(recorded.q == ours.q, &|| {
        let fold = |reply: &Reply| format!("{:?}", reply.q).to_lowercase();
        let word = if fold(recorded) == fold(ours) {
            "case"
        } else {
            "different"
        };
        format!("question echo: {word}")
    });
    let cut = recorded.has("TC") && ours.has("TC");
    let sections = [
        ("answer", &recorded.an, &ours.an),
        ("authority", &recorded.ns, &ours.ns),
        ("additional", &recorded.ar, &ours.ar),
    ];
    for (section, x, y) in sections {
        if x == y {
            continue;
        }
        if cut {
            causes.extend(cut_cause(section, x, y, full));
        } else {
            causes.push(section_cause(section, x, y));
        }
    }
    if recorded.edns != ours.edns {
        causes.push(edns_cause(recorded.edns.as_ref(), ours.edns.as_ref()));
    }
    if recorded.order != ours.order && !cut {
        causes.push("order of CNAME and others".to_owned());
    }
    if recorded.xfr != ours.xfr {
        causes.push("transfer".to_owned());
    }
    let odd = |reply: &Reply| {
        let number = |value: Option<u8>| value.map(|value| value.to_string());
        [
            ("opcode", number(reply.opcode)),
            ("qr", number(reply.qr)),
            ("malformed", reply.malformed.clone()),
        ]
    };
    for ((fact, x), (_, y)) in odd(recorded).into_iter().zip(odd(ours)) {
        if x != y {
            let word = |value: Option<String>| value.unwrap_or_else(|| "None".to_owned());
            causes.push(format!("{fact} {} -> {}", word(x), word(y)));
        }
    }
    causes
}

fn flags_cause(x: &str, y: &str) -> String {
    let [x, y] = [x, y].map(|flags| flags.split_whitespace().collect::<BTreeSet<_>>());
    let gone = x.difference(&y).map(|flag| format!(" -{flag}"));
    let new = y.difference(&x).map(|flag| format!(" +{flag}"));
    format!("flags{}", gone.chain(new).collect::<String>())
}

fn edns_cause(x: Option<&OptRecord>, y: Option<&OptRecord>) -> String {
    let (x, y) = match (x, y) {
        (None, _) => return "edns unexpected".to_owned(),
        (_, None) => return "edns missing".to_owned(),
        (Some(x), Some(y)) => (x, y),
    };
    let facts = [
        ("flags", x.flags == y.flags),
        ("name", x.name == y.name),
        ("odd", x.odd == y.odd),
        ("opts", x.opts == y.opts),
        ("size", x.size == y.size),
        ("version", x.version == y.version),
    ];
    let differ: Vec<_> = facts
        .iter()
        .filter(|(_, equal)| !equal)
        .map(|(fact, _)| *fact)
        .collect();
    format!("edns {}", differ.join(","))
}

/// Of a truncated section, which records were kept is chance. What must agree is the owner, TTL and
/// type of the answer, the number of addresses, and that nothing was made up.
fn cut_cause(section: &str, x: &[Record], y: &[Record], full: Option<&Reply>) -> Option<String> {
    let is_answer = section == "answer";
    let facts = |records: &[Record]| -> BTreeSet<_> {
        let fact = |Record(owner, ttl, class, rtype, _): &Record| {
            (owner.clone(), *ttl, class.clone(), rtype.clone())
        };
        records.iter().map(fact).collect()
    };
    if is_answer && facts(x) != facts(y) {
        return Some("truncated answer: owners, types or ttls".to_owned());
    }
    let of_one_size = x
        .iter()
        .chain(y)
        .all(|record| matches!(record.rtype(), "A" | "AAAA"));
    if is_answer && of_one_size && x.len() != y.len() {
        return Some("truncated answer: number of records".to_owned());
    }
    let full = full?;
    let fold = |record: &Record| {
        (
            record.owner().to_lowercase(),
            record.rtype().to_owned(),
            record.rdata().to_lowercase(),
        )
    };
    let all: BTreeSet<_> = [&full.an, &full.ns, &full.ar]
        .into_iter()
        .flatten()
        .map(fold)
        .collect();
    let made_up = y.iter().map(fold).any(|record| !all.contains(&record));
    made_up.then(|| format!("truncated {section}: a record that the full answer lacks"))
}

fn section_cause(section: &str, x: &[Record], y: &[Record]) -> String {
    let types = |records: &[Record]| -> String {
        let types: BTreeSet<_> = records.iter().map(Record::rtype).collect();
        types.into_iter().collect::<Vec<_>>().join("+")
    };
    let [tx, ty] = [types(x), types(y)];
    if y.is_empty() {
        return format!("{section}: {tx} missing");
    }
    if x.is_empty() {
        return format!("{section}: {ty} unexpected");
    }
    if tx != ty {
        return format!("{section}: types {tx} != {ty}");
    }
    if x.len().abs_diff(y.len()) >= 3 {
        return format!("{section}: more or fewer records");
    }
    if x.len() != y.len() {
        return format!("{section}: {} records != {}", x.len(), y.len());
    }
    type Blur = fn(&mut Record);
    let equal_but_for = |blur: Blur| {
        let blurred = |records: &[Record]| {
            let mut records = records.to_vec();
            records.iter_mut().for_each(blur);
            records.sort_unstable();
            records
        };
        blurred(x) == blurred(y)
    };
    let kinds: [(&str, Blur); 4] = [
        ("ttl", |record| record.1 = 0),
        ("owner case", |record| record.0.make_ascii_lowercase()),
        ("owner", |record| record.0.clear()),
        ("rdata", |record| record.4.clear()),
    ];
    let word = kinds
        .iter()
        .find(|(_, blur)| equal_but_for(*blur))
        .map_or("records", |kind| kind.0);
    format!("{section}: {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(owner: &str, ttl: u32, rtype: &str, rdata: &str) -> Record {
        Record(owner.into(), ttl, "IN".into(), rtype.into(), rdata.into())
    }

    fn reply() -> Reply {
        Reply {
            rcode: "NOERROR".to_owned(),
            flags: "AA RD".to_owned(),
            q: vec![["a.".into(), "IN".into(), "A".into()]],
            an: vec![
                record("a.", 5, "A", "10.0.0.1"),
                record("a.", 5, "A", "10.0.0.2"),
            ],
            edns: Some(OptRecord {
                name: ".".into(),
                size: 1232,
                version: 0,
                flags: "0000".into(),
                opts: Vec::new(),
                odd: false,
            }),
            ..Reply::default()
        }
    }

    type Change = fn(&mut Reply);

    fn differ(before: Change, change: Change, full: Option<&Reply>) -> Vec<String> {
        let mut recorded = reply();
        before(&mut recorded);
        let mut ours = recorded.clone();
        change(&mut ours);
        causes(
            &Answer::Reply(recorded.into()),
            &Answer::Reply(ours.into()),
            full,
        )
    }

    #[test]
    fn every_change_has_its_cause() {
        let cases: [(Change, &[&str]); 22] = [
            (|_| {}, &[]),
            (|r| r.len = Some(1), &[]),
            (
                |r| r.rcode = "NXDOMAIN".into(),
                &["rcode NOERROR -> NXDOMAIN"],
            ),
            (|r| r.flags = "AA TC".into(), &["flags -RD +TC"]),
            (|r| r.q[0][0] = "A.".into(), &["question echo: case"]),
            (|r| r.q.clear(), &["question echo: different"]),
            (|r| r.an.clear(), &["answer: A missing"]),
            (
                |r| r.ns.push(record("a.", 5, "SOA", "x")),
                &["authority: SOA unexpected"],
            ),
            (
                |r| r.an[0].3 = "AAAA".into(),
                &["answer: types A != A+AAAA"],
            ),
            (|r| drop(r.an.pop()), &["answer: 2 records != 1"]),
            (
                |r| r.an.extend(vec![record("a.", 5, "A", "10.0.0.3"); 3]),
                &["answer: more or fewer records"],
            ),
            (|r| r.an[1].1 = 6, &["answer: ttl"]),
            (|r| r.an[1].0 = "A.".into(), &["answer: owner case"]),
            (|r| r.an[1].0 = "b.".into(), &["answer: owner"]),
            (|r| r.an[1].4 = "10.0.0.3".into(), &["answer: rdata"]),
            (
                |r| r.an[1] = record("b.", 6, "A", "10.0.0.3"),
                &["answer: records"],
            ),
            (|r| r.edns = None, &["edns missing"]),
            (|r| r.edns.as_mut().unwrap().size = 9, &["edns size"]),
            (
                |r| r.order = Some("CNAME".into()),
                &["order of CNAME and others"],
            ),
            (|r| r.opcode = Some(4), &["opcode None -> 4"]),
            (|r| r.qr = Some(0), &["qr None -> 0"]),
            (
                |r| r.malformed = Some("error".into()),
                &["malformed None -> error"],
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(differ(|_| {}, change, None), expected);
        }
        assert_eq!(
            differ(|r| r.edns = None, |r| r.edns = reply().edns, None),
            ["edns unexpected"]
        );
    }

    #[test]
    fn truncated_answers_agree_on_what_is_not_chance() {
        let mut full = reply();
        full.an.push(record("A.", 5, "A", "10.0.0.3"));
        let cut: Change = |r| r.flags = "AA TC RD".into();
        let cases: [(Change, &[&str]); 7] = [
            (|r| r.an[1].4 = "10.0.0.3".into(), &[]),
            (|r| r.order = Some("CNAME A".into()), &[]),
            (
                |r| r.an[1].4 = "10.0.0.4".into(),
                &["truncated answer: a record that the full answer lacks"],
            ),
            (
                |r| drop(r.an.pop()),
                &["truncated answer: number of records"],
            ),
            (
                |r| r.an[1].1 = 6,
                &["truncated answer: owners, types or ttls"],
            ),
            (
                |r| r.ar.push(record("b.", 5, "A", "10.0.0.9")),
                &["truncated additional: a record that the full answer lacks"],
            ),
            (|r| r.flags = "AA RD".into(), &["flags -TC"]),
        ];
        for (change, expected) in cases {
            assert_eq!(differ(cut, change, Some(&full)), expected);
        }
        let srv: Change = |r| {
            r.flags = "AA TC RD".into();
            r.an = vec![
                record("a.", 5, "SRV", "0 0 1 x."),
                record("a.", 5, "SRV", "0 0 1 y."),
            ];
        };
        assert!(
            differ(srv, |r| drop(r.an.pop()), None).is_empty(),
            "SRV records differ in size"
        );
    }

    #[test]
    fn silence_is_an_answer() {
        let silence = Answer::Nothing("timeout".to_owned());
        assert!(causes(&silence, &silence, None).is_empty());
        assert_eq!(
            causes(&silence, &Answer::Reply(reply().into()), None),
            ["timeout -> NOERROR"]
        );
        assert_eq!(
            causes(&Answer::Reply(reply().into()), &silence, None),
            ["NOERROR -> timeout"]
        );
    }
}
