//! What zones say to a question, small enough to hold every reply of a load against it.
//!
//! Of an RRset, only the number of its records is kept and a sum over their data, which is the same in
//! any order. TTLs are left out: a cache counts them down, and servers differ in them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use domain::base::iana::{Class, Rtype};
use domain::base::name::ToName;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};

use super::queries::HEADER_LEN;

/// Zones whose records replies must have.
///
/// A name that none of them has does not exist if it is below a zone apex, which is where a SOA record
/// is; of any other name, nothing is known. There are no wildcards and no delegations, no record is there
/// twice, and all are of the class IN.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    /// By owner name, in lower case on the wire; names that only have names below them as well.
    owners: HashMap<Box<[u8]>, Vec<RRset>>,
    apexes: Vec<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug)]
struct RRset {
    rtype: Rtype,
    records: Records,
}

/// Records of one type, in any order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Records {
    count: u16,
    /// Over the data of each.
    sum: u64,
}

/// What a reply to a question must say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    rcode: u8,
    qtype: Rtype,
    records: Records,
}

/// Why a zone cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// Its file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is no master file (RFC 1035 §5), or includes another one.
    #[error("{}: {cause}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong.
        cause: String,
    },
}

impl Zone {
    /// Reads master files.
    ///
    /// # Errors
    ///
    /// [`ZoneError`].
    pub fn read(paths: &[PathBuf]) -> Result<Self, ZoneError> {
        let mut zone = Self::default();
        for path in paths {
            let text = std::fs::read(path).map_err(|source| ZoneError::Read {
                path: path.clone(),
                source,
            })?;
            zone.add(&text, path)?;
        }
        Ok(zone)
    }

    /// Adds the records of a master file's text; `path` is for its errors.
    ///
    /// # Errors
    ///
    /// [`ZoneError::Entry`].
    pub fn add(&mut self, text: &[u8], path: &Path) -> Result<(), ZoneError> {
        let fault = |cause| ZoneError::Entry {
            path: path.to_owned(),
            cause,
        };
        // The last line counts even if nothing ends it.
        let mut file = Zonefile::from(&*[text, b"\n"].concat());
        file.set_default_class(Class::IN);
        loop {
            let entry = file
                .next_entry()
                .map_err(|error| fault(error.to_string()))?;
            let record = match entry {
                None => break,
                Some(Entry::Record(record)) => record,
                Some(Entry::Include { path, .. }) => {
                    return Err(fault(format!("it includes {path}")));
                }
            };
            let mut rdata = Vec::new();
            // Memory takes any octets.
            let Ok(()) = record.data().compose_rdata(&mut rdata);
            let mut owner: Vec<u8> = record.owner().to_name::<Vec<u8>>().into_octets();
            owner.make_ascii_lowercase();
            self.add_record(owner.into(), record.rtype(), &rdata);
        }
        self.add_ancestors();
        Ok(())
    }

    fn add_record(&mut self, owner: Box<[u8]>, rtype: Rtype, rdata: &[u8]) {
        if rtype == Rtype::SOA {
            self.apexes.push(owner.clone());
        }
        let sum = sum_of(rtype, rdata, 0, rdata.len()).unwrap_or_default();
        let rrsets = self.owners.entry(owner).or_default();
        match rrsets.iter_mut().find(|rrset| rrset.rtype == rtype) {
            Some(rrset) => rrset.records.add(sum),
            None => {
                let mut records = Records::default();
                records.add(sum);
                rrsets.push(RRset { rtype, records });
            }
        }
    }

    /// Names between an owner and its apex exist as well (RFC 8020).
    fn add_ancestors(&mut self) {
        let owners: Vec<Box<[u8]>> = self.owners.keys().cloned().collect();
        for owner in owners {
            let Some(apex) = self.apexes.iter().find(|apex| is_below(&owner, apex)) else {
                continue;
            };
            let mut name = &*owner;
            while name.len() > apex.len() {
                if !self.owners.contains_key(name) {
                    self.owners.insert(name.into(), Vec::new());
                }
                name = parent(name);
            }
        }
    }

    /// What a reply to a question section must say; `None` if that is not known.
    pub(super) fn wanted(&self, question: &[u8]) -> Option<Wanted> {
        let (name, rest) = question.split_at_checked(question.len().checked_sub(4)?)?;
        let qtype = Rtype::from_int(u16::from_be_bytes([rest[0], rest[1]]));
        if !COMPARED.contains(&qtype) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        let (rcode, records) = match self.owners.get(&*name) {
            Some(rrsets) if rrsets.iter().any(|rrset| rrset.rtype == Rtype::CNAME) => return None,
            Some(rrsets) => {
                let found = rrsets.iter().find(|rrset| rrset.rtype == qtype);
                (
                    NOERROR,
                    found.map(|rrset| rrset.records).unwrap_or_default(),
                )
            }
            None if self.apexes.iter().any(|apex| is_below(&name, apex)) => {
                (NXDOMAIN, Records::default())
            }
            None => return None,
        };
        Some(Wanted {
            rcode,
            qtype,
            records,
        })
    }
}

impl Records {
    const fn add(&mut self, sum: u64) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.wrapping_add(sum);
    }
}

impl Wanted {
    /// Whether a reply says it. One that was cut says a part of it, which is not looked at.
    pub(super) fn is_said(self, reply: &[u8], question_len: usize) -> bool {
        let Some(header) = reply.first_chunk::<HEADER_LEN>() else {
            return false;
        };
        let count = u16::from_be_bytes([header[6], header[7]]);
        if header[3] & 0x0f != self.rcode {
            return false;
        }
        if header[2] & super::TC != 0 {
            return count <= self.records.count;
        }
        count == self.records.count
            && self.sum(reply, HEADER_LEN + question_len) == Some(self.records.sum)
    }

    /// The sum over the answer section's records, which begin `at`; `None` unless they are all of the
    /// type that was asked for, and the question name's own.
    fn sum(self, reply: &[u8], mut at: usize) -> Option<u64> {
        let mut sum = 0_u64;
        for _ in 0..self.records.count {
            let owner = reply.get(at..at + 2)?;
            if owner == QUESTION_NAME {
                at += 2;
            } else {
                let (own, behind) = hash_name(reply, at, FNV_START)?;
                let (asked, _) = hash_name(reply, HEADER_LEN, FNV_START)?;
                if own != asked {
                    return None;
                }
                at = behind;
            }
            let fixed = reply.get(at..)?.first_chunk::<10>()?;
            let rtype = Rtype::from_int(u16::from_be_bytes([fixed[0], fixed[1]]));
            let class = Class::from_int(u16::from_be_bytes([fixed[2], fixed[3]]));
            if (rtype, class) != (self.qtype, Class::IN) {
                return None;
            }
            at += fixed.len();
            let len = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            sum = sum.wrapping_add(sum_of(rtype, reply, at, len)?);
            at += len;
        }
        Some(sum)
    }
}

/// A number for the data of a record in a message, or of one that is alone; `None` if it is not sound.
fn sum_of(rtype: Rtype, message: &[u8], at: usize, len: usize) -> Option<u64> {
    let rdata = message.get(at..at + len)?;
    let fixed_len = match rtype {
        Rtype::SRV => 6,
        Rtype::PTR => 0,
        _ => return Some(hash(rdata, FNV_START)),
    };
    let fixed = hash(rdata.get(..fixed_len)?, FNV_START);
    let (sum, behind) = hash_name(message, at + fixed_len, fixed)?;
    (behind == at + len).then_some(sum)
}

/// Hashes a name that may be compressed (RFC 1035 §4.1.4), as if it were not and in lower case; also
/// says where it ends.
fn hash_name(message: &[u8], mut at: usize, mut state: u64) -> Option<(u64, usize)> {
    let mut behind = None;
    // Where the labels at hand begin. Each pointer leads to before that, so this ends.
    let mut start = at;
    loop {
        let len = *message.get(at)?;
        match len {
            0 => return Some((hash(&[0], state), behind.unwrap_or(at + 1))),
            1..=63 => {
                let next = at + 1 + usize::from(len);
                for octet in message.get(at..next)? {
                    state = hash(&[octet.to_ascii_lowercase()], state);
                }
                at = next;
            }
            0xc0.. => {
                let target = usize::from(len & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                if target >= start {
                    return None;
                }
                behind = behind.or(Some(at + 2));
                (start, at) = (target, target);
            }
            _ => return None,
        }
    }
}

/// FNV-1a, going on from a state.
fn hash(octets: &[u8], state: u64) -> u64 {
    octets.iter().fold(state, |state, octet| {
        (state ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3)
    })
}

fn is_below(name: &[u8], apex: &[u8]) -> bool {
    let mut name = name;
    while name.len() > apex.len() {
        name = parent(name);
    }
    name == apex
}

/// A wire name without its first label.
fn parent(name: &[u8]) -> &[u8] {
    let label = name.first().copied().map_or(0, usize::from);
    name.get(1 + label..).unwrap_or_default()
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;
/// A compression pointer to the question's name.
const QUESTION_NAME: [u8; 2] = [0xc0, HEADER_LEN as u8];
/// The types whose data is looked at.
const COMPARED: [Rtype; 4] = [Rtype::A, Rtype::AAAA, Rtype::SRV, Rtype::PTR];

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, AAAA, PTR, SRV};
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::super::QuerySet;
    use super::*;

    const TEXT: &str = "$ORIGIN a.test.\n$TTL 30\n@ SOA ns h 1 2 3 4 5\n\
        two A 10.0.0.1\ntwo A 10.0.0.2\ntwo AAAA fd00::1\n\
        _x._tcp.two SRV 0 50 80 Two\n_x._tcp.two SRV 0 50 81 two\n\
        other CNAME two\n1.0.0.10.in-addr.arpa. PTR two\n";

    fn zone() -> Zone {
        let mut zone = Zone::default();
        // Nothing ends the last line.
        zone.add(TEXT.trim_end().as_bytes(), Path::new("test"))
            .unwrap();
        zone
    }

    fn a(last: u8) -> RData {
        RData::A(A::new(10, 0, 0, last))
    }

    fn srv(port: u16) -> RData {
        RData::SRV(SRV::new(0, 50, port, "TWO.a.test.".parse().unwrap()))
    }

    /// What the zone makes of a reply; `None` if it does not know the question.
    fn judged(name: &str, qtype: RecordType, reply: (ResponseCode, &[RData])) -> Option<bool> {
        let asked: Name = name.parse().unwrap();
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.response_code = reply.0;
        message.add_query(Query::query(asked.clone(), qtype));
        for rdata in reply.1 {
            message.add_answer(Record::from_rdata(asked.clone(), 7, rdata.clone()));
        }
        let octets = message.to_vec().unwrap();
        let set = QuerySet::parse(&format!("{name} {qtype}"), None).unwrap();
        let question = set.question(0);
        let wanted = zone().wanted(question)?;
        Some(wanted.is_said(&octets, question.len()))
    }

    #[test]
    fn replies_are_held_against_the_records() {
        use RecordType as T;
        use ResponseCode as R;
        let v6 = RData::AAAA(AAAA::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
        let ptr = |name: &str| RData::PTR(PTR(name.parse().unwrap()));
        type Case<'a> = (&'a str, RecordType, ResponseCode, &'a [RData], Option<bool>);
        let cases: &[Case<'_>] = &[
            ("two.a.test.", T::A, R::NoError, &[a(1), a(2)], Some(true)),
            ("two.a.test.", T::A, R::NoError, &[a(2), a(1)], Some(true)),
            ("TWO.A.test.", T::A, R::NoError, &[a(2), a(1)], Some(true)),
            ("two.a.test.", T::A, R::NoError, &[a(1)], Some(false)),
            ("two.a.test.", T::A, R::NoError, &[a(1), a(1)], Some(false)),
            ("two.a.test.", T::A, R::NoError, &[a(1), a(3)], Some(false)),
            ("two.a.test.", T::A, R::NoError, &[], Some(false)),
            ("two.a.test.", T::A, R::NXDomain, &[], Some(false)),
            ("two.a.test.", T::A, R::ServFail, &[], Some(false)),
            (
                "two.a.test.",
                T::AAAA,
                R::NoError,
                std::slice::from_ref(&v6),
                Some(true),
            ),
            ("two.a.test.", T::AAAA, R::NoError, &[a(1)], Some(false)),
            ("two.a.test.", T::SRV, R::NoError, &[], Some(true)),
            (
                "_x._tcp.two.a.test.",
                T::SRV,
                R::NoError,
                &[srv(81), srv(80)],
                Some(true),
            ),
            (
                "_x._tcp.two.a.test.",
                T::SRV,
                R::NoError,
                &[srv(81), srv(82)],
                Some(false),
            ),
            // Only names below it.
            ("_tcp.two.a.test.", T::A, R::NoError, &[], Some(true)),
            ("_tcp.two.a.test.", T::A, R::NXDomain, &[], Some(false)),
            ("three.a.test.", T::A, R::NXDomain, &[], Some(true)),
            ("three.a.test.", T::A, R::NoError, &[], Some(false)),
            (
                "1.0.0.10.in-addr.arpa.",
                T::PTR,
                R::NoError,
                &[ptr("two.a.test.")],
                Some(true),
            ),
            (
                "1.0.0.10.in-addr.arpa.",
                T::PTR,
                R::NoError,
                &[ptr("a.test.")],
                Some(false),
            ),
            // Nothing is known: no apex above it, an alias, a type that is not compared.
            ("2.0.0.10.in-addr.arpa.", T::PTR, R::NXDomain, &[], None),
            ("other.a.test.", T::A, R::NoError, &[a(1), a(2)], None),
            ("two.a.test.", T::TXT, R::NoError, &[], None),
        ];
        for (name, qtype, rcode, rdata, expected) in cases {
            let judged = judged(name, *qtype, (*rcode, rdata));
            assert_eq!(judged, *expected, "{name} {qtype} {rcode} {rdata:?}");
        }
    }

    /// Replies that say less than they claim, at every length, and with names that go round.
    #[test]
    fn broken_replies_are_wrong() {
        let set = QuerySet::parse("_x._tcp.two.a.test. SRV", None).unwrap();
        let question = set.question(0);
        let wanted = zone().wanted(question).unwrap();
        let mut reply = vec![0, 0, 0x80, 0, 0, 1, 0, 2, 0, 0, 0, 0];
        reply.extend(question);
        for port in [80, 81] {
            reply.extend(QUESTION_NAME);
            reply.extend([0, 33, 0, 1, 0, 0, 0, 5, 0, 8, 0, 0, 0, 50, 0, port]);
            // `two.a.test`, behind the two labels of the service.
            reply.extend([0xc0, HEADER_LEN as u8 + 8]);
        }
        assert!(wanted.is_said(&reply, question.len()));
        for len in 0..reply.len() {
            assert!(!wanted.is_said(&reply[..len], question.len()), "{len}");
        }
        let last = reply.len() - 1;
        // Itself, and what is behind it.
        for target in [last - 1, last] {
            reply[last] = u8::try_from(target).unwrap();
            assert!(!wanted.is_said(&reply, question.len()));
        }
        // A cut reply has some of the records, never more.
        reply[2] |= super::super::TC;
        for (count, expected) in [(0, true), (2, true), (3, false)] {
            reply[7] = count;
            assert_eq!(wanted.is_said(&reply, question.len()), expected, "{count}");
        }
    }

    #[test]
    fn names_that_go_round_end() {
        let start = FNV_START;
        for (message, at, expected) in [
            (&b"\x01a\0"[..], 0, Some((hash(b"\x01a\0", start), 3))),
            (
                b"\x01a\0\x01B\xc0\0",
                3,
                Some((hash(b"\x01b\x01a\0", start), 7)),
            ),
            // Round and round: the pointer leads to the labels before it.
            (b"\x01a\xc0\0", 0, None),
            (b"\x01a\xc0\0", 2, None),
            (b"\0\xc0\x01", 1, None),
        ] {
            assert_eq!(hash_name(message, at, start), expected, "{message:?}");
        }
    }

    #[test]
    fn what_is_no_zone_is_named() {
        let mut zone = Zone::default();
        for (text, cause) in [
            ("$TTL 5\na. A 1.2.3\n", "bad.zone: 3:1: expected IPv4"),
            ("$INCLUDE other\n", "bad.zone: it includes other"),
        ] {
            let error = zone.add(text.as_bytes(), Path::new("bad.zone"));
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(cause), "{error}");
        }
    }
}
