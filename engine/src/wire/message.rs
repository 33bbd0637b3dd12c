//! Messages that came from an upstream, and those that go to one.
//!
//! A reply is checked once: every record ends inside the message, its names lead backwards, and its
//! data is as long as its type has it. After that its records are octets that are copied behind the client's question,
//! which is as long as the upstream's: their compression pointers stay right.

use std::net::SocketAddr;

use super::codes::{Class, Flags, RType, Rcode};
use super::query::{Edns, HEADER_LEN, Query, options};
use super::record::is_sound;
use super::walk::{record_at, skip_name};

/// Octets of a question after its name.
const QUESTION_EXTRA: usize = 4;

/// A reply of an upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    octets: Box<[u8]>,
    /// Where the question ends and records begin.
    records_at: usize,
    /// Where the records that go on to the client end.
    records_end: usize,
    counts: [u16; 3],
    /// The flags of its OPT record, and where the options are.
    opt: Option<(u16, std::ops::Range<usize>)>,
    rcode: Rcode,
    /// Who sent it, if that is known.
    pub sender: Option<SocketAddr>,
}

/// Why octets are no reply to our question.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// It breaks off, or a name in it leads nowhere.
    #[error("the reply is malformed")]
    Malformed,
    /// A well-formed reply to another question.
    #[error("the reply is to another question")]
    Question,
}

impl Message {
    /// Reads the reply to `request`. Message IDs are not compared: whoever received it has.
    ///
    /// An OPT is kept apart, because it speaks of one hop only (RFC 6891 §6.1.1). What stands
    /// behind it is a signature of the same hop (RFC 8945 §5.1) and is left out.
    pub fn parse(request: &[u8], octets: &[u8]) -> Result<Self, MessageError> {
        let header = octets.get(..HEADER_LEN).ok_or(MessageError::Malformed)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let flags = Flags(word(2));
        if !flags.has(Flags::QR) {
            return Err(MessageError::Malformed);
        }
        let asked = question(request).ok_or(MessageError::Malformed)?;
        let records_at = HEADER_LEN + asked.len();
        // An upstream that cannot read a question may leave it out of its complaint.
        if word(4) == 0 && word(6) == 0 && word(8) == 0 && flags.0 & Flags::RCODE != 0 {
            return Ok(Self::bare(header, asked, flags));
        }
        if word(4) != 1 || !answers(asked, octets) {
            return Err(MessageError::Question);
        }
        let mut message = Self {
            octets: octets.into(),
            records_at,
            records_end: records_at,
            counts: [0; 3],
            opt: None,
            rcode: Rcode(flags.0 & Flags::RCODE),
            sender: None,
        };
        let mut at = records_at;
        for (section, count) in [word(6), word(8), word(10)].into_iter().enumerate() {
            for nth in 1..=count {
                let record = record_at(octets, at).ok_or(MessageError::Malformed)?;
                if !is_sound(octets, &record) {
                    return Err(MessageError::Malformed);
                }
                at = record.end;
                if record.rtype == RType::OPT && section == 2 {
                    let high = u16::from(octets[record.ttl_at]) << 4;
                    message.rcode = Rcode(message.rcode.0 | high);
                    let low = [octets[record.ttl_at + 2], octets[record.ttl_at + 3]];
                    let options = record.rdata_at..record.end;
                    message
                        .opt
                        .get_or_insert_with(|| (u16::from_be_bytes(low), options));
                } else if record.rtype == RType::TSIG {
                    // A signature comes last; anywhere else its octets could not be left out.
                    if section != 2 || nth != count {
                        return Err(MessageError::Malformed);
                    }
                } else if message.opt.is_none() {
                    message.counts[section] += 1;
                    message.records_end = at;
                }
            }
        }
        Ok(message)
    }

    fn bare(header: &[u8], asked: &[u8], flags: Flags) -> Self {
        let octets = [header, asked].concat().into_boxed_slice();
        Self {
            records_at: octets.len(),
            records_end: octets.len(),
            octets,
            counts: [0; 3],
            opt: None,
            rcode: Rcode(flags.0 & Flags::RCODE),
            sender: None,
        }
    }

    /// The message, up to the last record that goes on to the client. The counts of its header are
    /// those of the upstream; [`Self::counts`] has the right ones.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.records_end]
    }

    /// Where its records begin.
    pub const fn records_at(&self) -> usize {
        self.records_at
    }

    /// Records in the answer, authority and additional section, without OPT.
    pub const fn counts(&self) -> [u16; 3] {
        self.counts
    }

    /// The header's flags.
    pub fn flags(&self) -> Flags {
        Flags(u16::from_be_bytes([self.octets[2], self.octets[3]]))
    }

    /// The response code with the OPT's part of it.
    pub const fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// The flags and the options of its OPT, if it has one.
    pub fn opt(&self) -> Option<(u16, &[u8])> {
        let (flags, options) = self.opt.clone()?;
        Some((flags, &self.octets[options]))
    }
}

/// The question of a message that we made: name, type, class.
fn question(message: &[u8]) -> Option<&[u8]> {
    let end = skip_name(message, HEADER_LEN)? + QUESTION_EXTRA;
    message.get(HEADER_LEN..end)
}

/// Whether `octets` have the question of `request`, whatever else they are.
pub(crate) fn has_question_of(request: &[u8], octets: &[u8]) -> bool {
    question(request).is_some_and(|asked| answers(asked, octets))
}

fn answers(asked: &[u8], octets: &[u8]) -> bool {
    let answered = octets.get(HEADER_LEN..HEADER_LEN + asked.len());
    answered.is_some_and(|answered| is_same_question(asked, answered))
}

/// Names of the question are compared without regard to case: some servers fold them.
fn is_same_question(asked: &[u8], answered: &[u8]) -> bool {
    let (name, codes) = asked.split_at(asked.len() - QUESTION_EXTRA);
    let (other_name, other_codes) = answered.split_at(answered.len().min(name.len()));
    name.eq_ignore_ascii_case(other_name) && codes == other_codes
}

/// The message that asks an upstream what `query` asks: its flags, question and OPT, whatever
/// else it carried left out. The ID is zero; whoever sends it draws one.
pub fn request(query: &Query<'_>, more_flags: u16) -> Vec<u8> {
    let header = ([0, 0], Flags(query.flags.0 | more_flags));
    let question = (query.name_as_sent(), query.qtype, query.qclass);
    compose(header, question, query.edns.as_ref())
}

/// A query with this ID and these flags, this question and this EDNS.
pub fn compose(
    (id, flags): ([u8; 2], Flags),
    (name, qtype, qclass): (&[u8], RType, Class),
    edns: Option<&Edns<'_>>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + name.len() + 32);
    out.extend(id);
    out.extend(flags.0.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    out.extend(name);
    out.extend(qtype.0.to_be_bytes());
    out.extend(qclass.0.to_be_bytes());
    if let Some(edns) = edns {
        out.push(0);
        out.extend(RType::OPT.0.to_be_bytes());
        out.extend(edns.payload_size.to_be_bytes());
        out.extend([0, edns.version]);
        out.extend(edns.flags.to_be_bytes());
        let length_at = out.len();
        out.extend([0, 0]);
        for (code, option) in options(edns.options) {
            put_option(code, option, &mut out);
        }
        let len = (out.len() - length_at - 2) as u16;
        out[length_at..length_at + 2].copy_from_slice(&len.to_be_bytes());
    }
    out
}

/// The question of a query without its EDNS: name, type, class. Empty if there is none.
pub fn question_of(query: &[u8]) -> &[u8] {
    question(query).unwrap_or_default()
}

/// A query with its question's name in lower case, and nothing else changed.
pub(crate) fn folded(query: &[u8]) -> Box<[u8]> {
    let mut query = Box::<[u8]>::from(query);
    if let Some(end) = skip_name(&query, HEADER_LEN) {
        query[HEADER_LEN..end].make_ascii_lowercase();
    }
    query
}

/// The code of a client subnet (RFC 7871).
const CLIENT_SUBNET: u16 = 8;

/// Appends an option (with its code and length). The address of a client subnet is cut to the
/// octets that its prefix covers: servers must refuse others, and CoreDNS cuts it as well.
fn put_option(code: u16, option: &[u8], out: &mut Vec<u8>) {
    let keep = match option {
        [_, _, _, _, _, _, prefix, _, address @ ..] if code == CLIENT_SUBNET => {
            option.len() - address.len() + address.len().min(usize::from(*prefix).div_ceil(8))
        }
        _ => option.len(),
    };
    let at = out.len();
    out.extend(&option[..keep]);
    let spare = match option.get(6) {
        Some(prefix) if code == CLIENT_SUBNET && keep > 8 => prefix % 8,
        _ => 0,
    };
    if spare > 0 && keep - 8 == usize::from(option[6]).div_ceil(8) {
        let last = out.len() - 1;
        out[last] &= 0xff << (8 - spare);
    }
    out[at + 2..at + 4].copy_from_slice(&((keep - 4) as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FoldedName;

    const ASK: &[u8] = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x01A\x04test\0\0\x01\0\x01";

    fn reply(counts: [u8; 4], tail: &[u8]) -> Vec<u8> {
        let [q, an, ns, ar] = counts;
        let mut out = vec![9, 9, 0x81, 0x80, 0, q, 0, an, 0, ns, 0, ar];
        out.extend(tail);
        out
    }

    #[test]
    fn only_replies_to_the_question_are_taken() {
        const Q: &[u8] = b"\x01a\x04TEST\0\0\x01\0\x01";
        const A: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
        const TSIG: &[u8] = b"\0\0\xfa\0\xff\0\0\0\0\0\0";
        let with = |parts: &[&[u8]]| [&[Q], parts].concat().concat();
        type Case<'a> = (&'a str, Vec<u8>, Result<[u16; 3], MessageError>);
        let cases: &[Case<'_>] = &[
            ("an answer", reply([1, 1, 0, 0], &with(&[A])), Ok([1, 0, 0])),
            ("another letter case", reply([1, 0, 0, 0], Q), Ok([0, 0, 0])),
            (
                "another type",
                reply([1, 0, 0, 0], b"\x01a\x04test\0\0\x1c\0\x01"),
                Err(MessageError::Question),
            ),
            (
                "another name",
                reply([1, 0, 0, 0], b"\x01b\x04test\0\0\x01\0\x01"),
                Err(MessageError::Question),
            ),
            (
                "no question, yet an answer",
                reply([0, 1, 0, 0], A),
                Err(MessageError::Question),
            ),
            (
                "cut",
                reply([1, 1, 0, 0], &with(&[&A[..9]])),
                Err(MessageError::Malformed),
            ),
            (
                "fewer records than it says",
                reply([1, 2, 0, 0], &with(&[A])),
                Err(MessageError::Malformed),
            ),
            (
                "an owner that points at itself",
                reply([1, 1, 0, 0], &with(&[b"\xc0\x18", &A[2..]])),
                Err(MessageError::Malformed),
            ),
            (
                "an address of three octets",
                reply([1, 1, 0, 0], &with(&[&A[..11], b"\x03\x0a\0\0"])),
                Err(MessageError::Malformed),
            ),
            (
                "an alias to itself, by a pointer",
                reply(
                    [1, 1, 0, 0],
                    &with(&[b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x24"]),
                ),
                Err(MessageError::Malformed),
            ),
            (
                "an OPT, and a record behind it",
                reply(
                    [1, 1, 0, 2],
                    &with(&[A, b"\0\0\x29\x04\xd0\0\0\0\0\0\0", A]),
                ),
                Ok([1, 0, 0]),
            ),
            (
                "a signature at the end",
                reply([1, 1, 0, 1], &with(&[A, TSIG])),
                Ok([1, 0, 0]),
            ),
            (
                "a signature before a record",
                reply([1, 2, 0, 0], &with(&[TSIG, A])),
                Err(MessageError::Malformed),
            ),
            (
                "a signature before another section",
                reply([1, 1, 0, 1], &with(&[TSIG, A])),
                Err(MessageError::Malformed),
            ),
            (
                "a query",
                [&ASK[..12], Q].concat(),
                Err(MessageError::Malformed),
            ),
        ];
        for (what, octets, expected) in cases {
            let got = Message::parse(ASK, octets).map(|message| message.counts());
            assert_eq!(got, *expected, "{what}");
        }
    }

    #[test]
    fn a_complaint_without_a_question_is_taken() {
        let mut octets = reply([0, 0, 0, 0], &[]);
        octets[3] = 0x81;
        let message = Message::parse(ASK, &octets).unwrap();
        assert_eq!(message.rcode(), Rcode::FORMERR);
        assert_eq!(message.records_at(), ASK.len());
    }

    #[test]
    fn requests_keep_question_flags_and_opt() {
        let packet = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x01A\x04test\0\0\x01\0\x01\0\0\x29\x10\0\0\0\x80\0\0\x04\0\x0a\0\0";
        let mut name = FoldedName::default();
        let query = Query::parse(packet, &mut name).unwrap();
        let made = request(&query, 0);
        assert_eq!(made[..2], [0, 0]);
        assert_eq!(made[2..], packet[2..]);
    }

    #[test]
    fn client_subnets_are_cut_to_their_prefix() {
        let cases: &[(&str, &[u8], &[u8])] = &[
            (
                "too long",
                b"\0\x08\0\x08\0\x01\x18\0\x0a\x01\x02\x03",
                b"\0\x08\0\x07\0\x01\x18\0\x0a\x01\x02",
            ),
            (
                "bits to spare",
                b"\0\x08\0\x07\0\x01\x14\0\x0a\x01\xff",
                b"\0\x08\0\x07\0\x01\x14\0\x0a\x01\xf0",
            ),
            (
                "no address",
                b"\0\x08\0\x04\0\x01\0\0",
                b"\0\x08\0\x04\0\x01\0\0",
            ),
            ("too short", b"\0\x08\0\x02\0\x01", b"\0\x08\0\x02\0\x01"),
            (
                "another option",
                b"\0\x0a\0\x02\xff\xff",
                b"\0\x0a\0\x02\xff\xff",
            ),
        ];
        for (what, option, expected) in cases {
            let mut out = Vec::new();
            let code = u16::from_be_bytes([option[0], option[1]]);
            put_option(code, option, &mut out);
            assert_eq!(out, *expected, "{what}");
        }
    }
}
