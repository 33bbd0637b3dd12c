//! A borrowed view of one query: header, one question, OPT.
//!
//! The rules of admission are those of the DNS library under CoreDNS: what it drops, refuses or
//! answers with FORMERR or NOTIMP, clients of a cluster see today.

use super::codes::{Class, Flags, Opcode, RType, Rcode};
use super::name::FoldedName;
use crate::limits::NAME_LEN_MAX;

/// Octets of the header.
pub const HEADER_LEN: usize = 12;
/// Octets of an OPT record without options.
pub(super) const OPT_LEN: usize = 11;

/// Why a datagram gets no regular answer. One octet, and the index of its own counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum QueryError {
    /// Shorter than a header: silence.
    ShortHeader,
    /// A response arrived as a query: silence, so that two servers never answer each other.
    IsResponse,
    /// An operation other than QUERY and NOTIFY.
    Opcode,
    /// Record counts that no query has.
    Counts,
    /// The message ends after a header that promises a question.
    NoQuestion,
    /// The question does not parse.
    Question,
    /// The question is fine; a record after it does not parse.
    Record,
}

impl QueryError {
    /// The RCODE to send; `None` is silence.
    pub const fn rcode(self) -> Option<Rcode> {
        match self {
            Self::ShortHeader | Self::IsResponse => None,
            Self::Opcode => Some(Rcode::NOTIMP),
            Self::NoQuestion => Some(Rcode::SERVFAIL),
            Self::Counts | Self::Question | Self::Record => Some(Rcode::FORMERR),
        }
    }
}

/// What a query says in its OPT record (RFC 6891 §6.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Edns<'p> {
    /// The payload size as the client wrote it; may be below 512.
    pub payload_size: u16,
    /// The EDNS version; only 0 is answered.
    pub version: u8,
    /// DO and the reserved bits after it, echoed in replies.
    pub flags: u16,
    /// The options as they stand in the packet; each one's length was checked.
    pub options: &'p [u8],
}

impl Edns<'_> {
    /// DNSSEC OK.
    pub const DO: u16 = 0x8000;

    /// Whether the client wants DNSSEC records.
    pub const fn dnssec_ok(&self) -> bool {
        self.flags & Self::DO != 0
    }
}

/// A query that may be answered. The folded owner name stands in the worker's [`FoldedName`].
#[derive(Clone, Copy, Debug)]
pub struct Query<'p> {
    /// The message as it came.
    pub packet: &'p [u8],
    /// The header's flags.
    pub flags: Flags,
    /// Octets of the name in the question.
    pub name_len: usize,
    /// The type asked for.
    pub qtype: RType,
    /// The class asked for.
    pub qclass: Class,
    /// The OPT record, if there was one; with several, the last counts, as in CoreDNS.
    pub edns: Option<Edns<'p>>,
}

impl<'p> Query<'p> {
    /// Reads a query, its name into `name`. On [`QueryError::Record`] the question was fine and
    /// [`Self::question_only`] can be echoed.
    #[inline]
    pub fn parse(packet: &'p [u8], name: &mut FoldedName) -> Result<Self, QueryError> {
        let Some(header) = packet.first_chunk::<HEADER_LEN>() else {
            return Err(QueryError::ShortHeader);
        };
        let usual = has_opt(header);
        if usual.is_none() {
            Self::check_header(header)?;
        }
        let (question, rest) = Question::split(packet, name)?;
        let edns = match *rest {
            [] => None,
            _ => match rest.try_into().ok().and_then(plain_opt) {
                Some((payload_size, flags)) if usual == Some(true) => Some(Edns {
                    payload_size,
                    version: 0,
                    flags,
                    options: &[],
                }),
                _ => edns_of(packet, rest, header)?,
            },
        };
        Ok(question.query(packet, edns))
    }

    /// Whether a message with this header is to be read at all.
    fn check_header(header: &[u8; HEADER_LEN]) -> Result<(), QueryError> {
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let flags = Flags(word(2));
        if flags.has(Flags::QR) {
            return Err(QueryError::IsResponse);
        }
        if flags.opcode() != Opcode::QUERY && flags.opcode() != Opcode::NOTIFY {
            return Err(QueryError::Opcode);
        }
        // A NOTIFY may carry one SOA as answer (RFC 1996 §3.7), an IXFR one as authority (RFC 1995
        // §3); OPT and TSIG are the two additional records that a query can have.
        if word(4) != 1 || word(6) > 1 || word(8) > 1 || word(10) > 2 {
            return Err(QueryError::Counts);
        }
        Ok(())
    }

    /// The question alone, for the error that answers a query whose records do not parse.
    pub fn question_only(packet: &'p [u8], name: &mut FoldedName) -> Option<Self> {
        let (question, _) = Question::split(packet, name).ok()?;
        Some(question.query(packet, None))
    }

    /// The message ID.
    pub fn id(&self) -> [u8; 2] {
        [self.packet[0], self.packet[1]]
    }

    /// The name of the question in the client's own spelling.
    pub fn name_as_sent(&self) -> &'p [u8] {
        &self.packet[HEADER_LEN..HEADER_LEN + self.name_len]
    }
}

/// The question of a query.
struct Question {
    name_len: usize,
    qtype: RType,
    qclass: Class,
}

impl Question {
    /// Splits it off behind the header; the rest is what follows it.
    #[inline(always)]
    fn split<'p>(packet: &'p [u8], name: &mut FoldedName) -> Result<(Self, &'p [u8]), QueryError> {
        let body = packet.get(HEADER_LEN..).ok_or(QueryError::ShortHeader)?;
        if body.is_empty() {
            return Err(QueryError::NoQuestion);
        }
        let name_len = name
            .parse(packet, HEADER_LEN)
            .map_err(|_| QueryError::Question)?;
        // A question may be cut after its name or its type; what is missing counts as zero and is
        // refused later for its class, as CoreDNS does.
        let (qtype, qclass, rest) = match body[name_len..] {
            [t1, t2, c1, c2, ref rest @ ..] => (
                u16::from_be_bytes([t1, t2]),
                u16::from_be_bytes([c1, c2]),
                rest,
            ),
            [] => (0, 0, &body[..0]),
            [t1, t2] => (u16::from_be_bytes([t1, t2]), 0, &body[..0]),
            _ => return Err(QueryError::Question),
        };
        let question = Self {
            name_len,
            qtype: RType(qtype),
            qclass: Class(qclass),
        };
        Ok((question, rest))
    }

    #[inline(always)]
    const fn query<'p>(self, packet: &'p [u8], edns: Option<Edns<'p>>) -> Query<'p> {
        Query {
            packet,
            flags: Flags(u16::from_be_bytes([packet[2], packet[3]])),
            name_len: self.name_len,
            qtype: self.qtype,
            qclass: self.qclass,
            edns,
        }
    }
}

/// Nearly every query is a standard one with a question and perhaps an OPT: whether it has one. `None`
/// if it is something else.
#[inline(always)]
fn has_opt(header: &[u8; HEADER_LEN]) -> Option<bool> {
    const UNUSUAL: u64 = (Flags::QR | Flags::OPCODE) as u64;
    let flags_and_counts = u64::from_be_bytes(*header[2..].first_chunk()?);
    let additionals = u16::from_be_bytes(*header.last_chunk()?);
    let is_usual = flags_and_counts & (UNUSUAL << 48 | 0xffff_ffff_ffff) == 1 << 32;
    (is_usual && additionals <= 1).then_some(additionals == 1)
}

/// An OPT of version 0 without options, as nearly every one is: payload size and flags.
#[inline(always)]
const fn plain_opt(opt: &[u8; OPT_LEN]) -> Option<(u16, u16)> {
    let [root, t1, t2, s1, s2, rcode, version, f1, f2, l1, l2] = *opt;
    let fixed = u64::from_be_bytes([root, t1, t2, s1, s2, rcode, version, f1]);
    let end = u32::from_be_bytes([f1, f2, l1, l2]);
    if fixed & 0xffff_ff00_00ff_ff00 != (RType::OPT.0 as u64) << 40 || end & 0xffff != 0 {
        return None;
    }
    Some(((fixed >> 24) as u16, (end >> 16) as u16))
}

/// A query about class IN with nothing unusual in it: without an OPT, or with one of version 0 that has
/// no options.
#[derive(Clone, Copy, Debug)]
pub struct PlainQuery {
    /// Octets of the name in the question.
    pub name_len: u8,
    /// The type asked for.
    pub qtype: RType,
    /// The header's flags.
    pub flags: Flags,
    /// The payload size and the flags of the OPT, if there is one.
    pub edns: Option<(u16, u16)>,
}

impl PlainQuery {
    /// What asks nothing.
    pub(crate) const NONE: Self = Self {
        name_len: 0,
        qtype: RType(0),
        flags: Flags(0),
        edns: None,
    };

    /// Reads a query from its end. Whether the octets before that are a name is for the caller to see;
    /// if they are, and in one piece, [`Query::parse`] says the same of it.
    #[inline(always)]
    pub fn from_end(packet: &[u8]) -> Option<Self> {
        let (header, body) = packet.split_first_chunk::<HEADER_LEN>()?;
        let (question, edns) = if has_opt(header)? {
            let (question, opt) = body.split_last_chunk()?;
            (question, Some(plain_opt(opt)?))
        } else {
            (body, None)
        };
        let (name, &[t1, t2, c1, c2]) = question.split_last_chunk()?;
        if [c1, c2] != Class::IN.0.to_be_bytes() || name.len() > NAME_LEN_MAX {
            return None;
        }
        Some(Self {
            name_len: name.len() as u8,
            qtype: RType(u16::from_be_bytes([t1, t2])),
            flags: Flags(u16::from_be_bytes([header[2], header[3]])),
            edns,
        })
    }

    /// Whether its sender wants DNSSEC records.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|(_, flags)| flags & Edns::DO != 0)
    }

    /// The payload size that its sender told; 0 if it did not.
    pub(crate) fn payload_size(&self) -> u16 {
        self.edns.map_or(0, |(size, _)| size)
    }
}

/// The last OPT among the additional records. `rest` is what follows the question.
#[cold]
fn edns_of<'p>(
    packet: &'p [u8],
    mut rest: &'p [u8],
    header: &[u8; HEADER_LEN],
) -> Result<Option<Edns<'p>>, QueryError> {
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let [answers, authorities, additionals] = [6, 8, 10].map(count);
    let mut edns = None;
    for record in 0..answers + authorities + additionals {
        if rest.is_empty() {
            break; // The counts promised more than there is: CoreDNS takes what came.
        }
        let (opt, tail) = split_record(packet, rest).ok_or(QueryError::Record)?;
        rest = tail;
        if opt.is_some() && record >= answers + authorities {
            edns = opt;
        }
    }
    Ok(edns)
}

/// Splits one record off `bytes`, a tail of `packet`; says what it is if it is an OPT.
fn split_record<'p>(packet: &'p [u8], bytes: &'p [u8]) -> Option<(Option<Edns<'p>>, &'p [u8])> {
    let fixed = &bytes[name_extent(packet, packet.len() - bytes.len())?..];
    let (fixed, rest) = fixed.split_at_checked(10)?;
    let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let (rdata, rest) = rest.split_at_checked(usize::from(word(8)))?;
    if word(0) != RType::OPT.0 {
        return Some((None, rest));
    }
    let mut options = rdata;
    while !options.is_empty() {
        let (head, tail) = options.split_at_checked(4)?;
        options = tail.get(usize::from(u16::from_be_bytes([head[2], head[3]]))..)?;
    }
    let edns = Edns {
        payload_size: word(2),
        version: fixed[5],
        flags: word(6),
        options: rdata,
    };
    Some((Some(edns), rest))
}

/// The options of an OPT whose lengths were checked: code, and the option with its four octets.
pub(crate) fn options(mut rdata: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = rdata.get(..4)?;
        let code = u16::from_be_bytes([head[0], head[1]]);
        let len = 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (option, rest) = rdata.split_at_checked(len)?;
        rdata = rest;
        Some((code, option))
    })
}

/// Octets that the name at `at` takes up where it stands; its pointers must lead backwards into
/// the packet.
#[inline]
fn name_extent(packet: &[u8], at: usize) -> Option<usize> {
    let mut here = at;
    loop {
        match *packet.get(here)? {
            0 => return Some(here + 1 - at),
            len @ 1..=63 => here += 1 + usize::from(len),
            high @ 0xc0.. => {
                let target = usize::from(high & 0x3f) << 8 | usize::from(*packet.get(here + 1)?);
                return (target < here).then_some(here + 2 - at);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(flags: u16, counts: [u16; 4], tail: &[u8]) -> Vec<u8> {
        let mut out = vec![0x12, 0x34];
        out.extend(flags.to_be_bytes());
        out.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
        out.extend(tail);
        out
    }

    #[test]
    fn malformed_queries_are_answered_or_ignored() {
        const Q: &[u8] = b"\x01a\x00\x00\x01\x00\x01";
        let with = |tail: &[u8]| [Q, tail].concat();
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";
        let cases: &[(&str, Vec<u8>, Result<(), QueryError>)] = &[
            (
                "shorter than a header",
                vec![0; 11],
                Err(QueryError::ShortHeader),
            ),
            (
                "QR set",
                packet(0x8000, [1, 0, 0, 0], Q),
                Err(QueryError::IsResponse),
            ),
            (
                "UPDATE",
                packet(0x2800, [1, 0, 0, 0], Q),
                Err(QueryError::Opcode),
            ),
            ("NOTIFY", packet(0x2000, [1, 0, 0, 0], Q), Ok(())),
            (
                "a question promised",
                packet(0, [1, 0, 0, 0], &[]),
                Err(QueryError::NoQuestion),
            ),
            (
                "no question",
                packet(0, [0; 4], &[]),
                Err(QueryError::Counts),
            ),
            (
                "two questions",
                packet(0, [2, 0, 0, 0], &with(Q)),
                Err(QueryError::Counts),
            ),
            (
                "three additionals",
                packet(0, [1, 0, 0, 3], Q),
                Err(QueryError::Counts),
            ),
            (
                "pointer as QNAME",
                packet(0, [1, 0, 0, 0], b"\xc0\x0c\0\x01\0\x01"),
                Err(QueryError::Question),
            ),
            (
                "cut after the name",
                packet(0, [1, 0, 0, 0], &Q[..3]),
                Ok(()),
            ),
            (
                "cut after the type",
                packet(0, [1, 0, 0, 0], &Q[..5]),
                Ok(()),
            ),
            (
                "cut inside the class",
                packet(0, [1, 0, 0, 0], &Q[..6]),
                Err(QueryError::Question),
            ),
            ("OPT", packet(0, [1, 0, 0, 1], &with(opt)), Ok(())),
            ("OPT announced, absent", packet(0, [1, 0, 0, 1], Q), Ok(())),
            (
                "OPT cut",
                packet(0, [1, 0, 0, 1], &with(&opt[..9])),
                Err(QueryError::Record),
            ),
            (
                "option longer than the OPT",
                packet(
                    0,
                    [1, 0, 0, 1],
                    &with(b"\x00\x00\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\0\x09"),
                ),
                Err(QueryError::Record),
            ),
            (
                "octets after the message",
                packet(0, [1, 0, 0, 0], &with(b"\xff")),
                Ok(()),
            ),
        ];
        for (what, packet, expected) in cases {
            let got = Query::parse(packet, &mut FoldedName::default());
            assert_eq!(got.map(|_| ()), *expected, "{what}");
        }
    }

    const NAMES: &[&[u8]] = &[b"\x01a\x00", b"\x00", b"\x03a\x00b\x00"];
    const QUESTIONS: &[[u8; 4]] = &[[0, 1, 0, 1], [0, 33, 0, 1], [0, 1, 0, 3]];
    const OPTS: &[&[u8]] = &[
        b"",
        b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00",
        b"\x00\x00\x29\x02\x00\x00\x01\x00\x00\x00\x00",
        b"\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x00",
        b"\x00\x00\x2a\x02\x00\x00\x00\x00\x00\x00\x00",
    ];

    proptest! {
        /// What is read from the end is what is read from the front, if a name stands before it.
        #[test]
        fn either_end_gives_the_same_query(
            flags in any::<u16>(),
            additionals in 0..3_u16,
            name in prop::sample::select(NAMES),
            question in prop::sample::select(QUESTIONS),
            opt in prop::sample::select(OPTS),
        ) {
            let tail = [name, &question, opt].concat();
            let packet = packet(flags, [1, 0, 0, additionals], &tail);
            let mut buffer = FoldedName::default();
            let whole = Query::parse(&packet, &mut buffer);
            if let Some(plain) = PlainQuery::from_end(&packet) {
                let Ok(whole) = whole else {
                    return Err(TestCaseError::fail(format!("{plain:?} is no query")));
                };
                if whole.name_len == usize::from(plain.name_len) {
                    prop_assert_eq!((plain.qtype, plain.flags), (whole.qtype, whole.flags));
                    prop_assert_eq!(whole.qclass, Class::IN);
                    let edns = whole.edns.map(|edns| {
                        assert!(edns.version == 0 && edns.options.is_empty());
                        (edns.payload_size, edns.flags)
                    });
                    prop_assert_eq!(plain.edns, edns);
                }
            } else {
                let is_plain = |whole: &Query<'_>| {
                    whole.qclass == Class::IN
                        && whole.flags.opcode() == Opcode::QUERY
                        && whole.edns.is_some() == (additionals == 1)
                        && additionals < 2
                        && packet.len() == HEADER_LEN + whole.name_len + 4 + OPT_LEN * usize::from(additionals)
                        && whole.edns.is_none_or(|edns| edns.version == 0 && edns.options.is_empty())
                };
                prop_assert!(!whole.is_ok_and(|whole| is_plain(&whole)));
            }
        }
    }

    #[test]
    fn the_last_of_two_opts_counts() {
        let tail = b"\x01a\x00\x00\x01\x00\x01\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x29\x10\x00\x00\x01\x80\x00\x00\x00";
        let packet = packet(0x0110, [1, 0, 0, 2], tail);
        let mut name = FoldedName::default();
        let query = Query::parse(&packet, &mut name).unwrap();
        let edns = query.edns.unwrap();
        assert_eq!(
            (edns.payload_size, edns.version, edns.dnssec_ok()),
            (4096, 1, true)
        );
        assert_eq!(
            (query.qtype, query.qclass, name.wire()),
            (RType::A, Class::IN, &b"\x01a\x00"[..])
        );
    }
}
