//! Records on their own, outside of any message: for stages that change a finished reply and for
//! answers that are put together from several. All of it allocates; the plain answers of the index
//! never come here.

use super::codes::{Class, Flags, RType, Rcode};
use super::reply::{Owner, Reply, Section};
use super::walk::{RecordAt, expand_name, records, skip_sound_name};
use crate::limits::NAME_LEN_MAX;

/// A record with no name in it compressed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The owner name.
    pub owner: Vec<u8>,
    /// The type.
    pub rtype: RType,
    /// The class.
    pub class: Class,
    /// In seconds.
    pub ttl: u32,
    /// The data, names in full.
    pub rdata: Vec<u8>,
}

/// Where names stand in the data of a type: what is before the first, and how many there are.
#[derive(Clone, Copy)]
enum Names {
    /// So many names behind so many octets.
    After(usize, usize),
    /// One name behind four octets and three character strings (RFC 3403 §4.1).
    Naptr,
}

impl Names {
    const fn of(rtype: RType) -> Self {
        // All that may come compressed (RFC 1035 §3.3, RFC 3597 §4): old ones as well.
        match rtype {
            RType::NS | RType::CNAME | RType::PTR | RType::DNAME => Self::After(0, 1),
            RType::MD | RType::MF | RType::MB | RType::MG | RType::MR => Self::After(0, 1),
            RType::NXT => Self::After(0, 1),
            RType::SOA | RType::MINFO | RType::RP => Self::After(0, 2),
            RType::MX | RType::AFSDB | RType::RT | RType::KX => Self::After(2, 1),
            RType::PX => Self::After(2, 2),
            RType::SIG => Self::After(18, 1),
            RType::SRV => Self::After(6, 1),
            RType::NAPTR => Self::Naptr,
            _ => Self::After(0, 0),
        }
    }

    /// The octets before the first name, and how many names there are.
    fn place(self, rdata: &[u8]) -> Option<(usize, usize)> {
        match self {
            Self::After(before, count) => Some((before, count)),
            Self::Naptr => {
                let mut at = 4;
                for _ in 0..3 {
                    at += 1 + usize::from(*rdata.get(at)?);
                }
                Some((at, 1))
            }
        }
    }
}

/// Octets of the data of a type but for the names in it, where it is always as many.
const fn octets_beside_names(rtype: RType) -> Option<usize> {
    match (rtype, Names::of(rtype)) {
        (RType::A, _) => Some(4),
        (RType::AAAA, _) => Some(16),
        (RType::SOA, _) => Some(20),
        (RType::NXT | RType::SIG, _) | (_, Names::After(_, 0)) => None,
        (_, Names::After(before, _)) => Some(before),
        (_, Names::Naptr) => None,
    }
}

/// Whether a record's names are names, and its data as long as its type has it.
pub(super) fn is_sound(message: &[u8], at: &RecordAt) -> bool {
    data_beside_names(message, at)
        .is_some_and(|len| octets_beside_names(at.rtype).is_none_or(|expected| len == expected))
}

/// Octets of a record's data but for the names in it. `None` if one of its names is none.
fn data_beside_names(message: &[u8], at: &RecordAt) -> Option<usize> {
    skip_sound_name(message, at.at)?;
    let rdata = message.get(at.rdata_at..at.end)?;
    let (before, count) = Names::of(at.rtype).place(rdata)?;
    let first = at.rdata_at + before;
    let end = (0..count).try_fold(first, |at, _| skip_sound_name(message, at))?;
    Some(before + at.end.checked_sub(end)?)
}

/// Whether names in the data of a type may be compressed (RFC 3597 §4).
const fn compresses(rtype: RType) -> bool {
    matches!(
        rtype,
        RType::NS | RType::CNAME | RType::PTR | RType::SOA | RType::MX
    )
}

/// The serial of a SOA record. `None` if its data is cut short.
pub fn serial_of(soa: &Record) -> Option<u32> {
    let names = name_len(&soa.rdata);
    let names = names + name_len(soa.rdata.get(names..)?);
    let serial = soa.rdata.get(names..)?.first_chunk()?;
    Some(u32::from_be_bytes(*serial))
}

/// Whether a serial comes after another one: they go round (RFC 1982 §3.2).
pub const fn is_newer(serial: u32, than: u32) -> bool {
    serial.wrapping_sub(than).cast_signed() > 0
}

impl Record {
    /// Takes a record out of a message. `None` if a name in it leads nowhere.
    pub fn read(message: &[u8], at: &RecordAt) -> Option<Self> {
        let mut name = [0; NAME_LEN_MAX];
        let len = expand_name(message, at.at, &mut name)?;
        let owner = name[..len].to_vec();
        let fixed = message.get(at.ttl_at - 2..at.ttl_at + 4)?;
        let raw = message.get(at.rdata_at..at.end)?;
        let (before, count) = Names::of(at.rtype).place(raw)?;
        let mut rdata = raw.get(..before)?.to_vec();
        let mut here = at.rdata_at + before;
        for _ in 0..count {
            let len = expand_name(message, here, &mut name)?;
            rdata.extend(&name[..len]);
            here = super::walk::skip_name(message, here)?;
        }
        rdata.extend(message.get(here..at.end)?);
        Some(Self {
            owner,
            rtype: at.rtype,
            class: Class(u16::from_be_bytes([fixed[0], fixed[1]])),
            ttl: u32::from_be_bytes([fixed[2], fixed[3], fixed[4], fixed[5]]),
            rdata,
        })
    }

    /// Appends it to a reply. `false` if it does not fit.
    pub fn write(&self, section: Section, reply: &mut Reply<'_>) -> bool {
        let owner = Owner::Name(&self.owner);
        let begun = reply.begin(section, owner, self.rtype, self.class, self.ttl);
        let place = Names::of(self.rtype).place(&self.rdata);
        let (before, count) = place.unwrap_or_default();
        let (head, mut rest) = self.rdata.split_at(before.min(self.rdata.len()));
        reply.put(head);
        for _ in 0..count {
            let (name, behind) = rest.split_at(name_len(rest));
            if compresses(self.rtype) {
                reply.put_name(name);
            } else {
                reply.put_name_in_full(name);
            }
            rest = behind;
        }
        reply.put(rest);
        reply.end(begun)
    }

    /// The name that the data is about, such as the target of a CNAME; `None` for types without.
    pub fn target(&self) -> Option<&[u8]> {
        let (before, count) = Names::of(self.rtype).place(&self.rdata)?;
        let rest = self.rdata.get(before..)?;
        (count > 0).then(|| &rest[..name_len(rest)])
    }

    /// Puts another name in its place.
    pub fn set_target(&mut self, name: &[u8]) {
        if let Some((before, 1..)) = Names::of(self.rtype).place(&self.rdata)
            && let Some(rest) = self.rdata.get(before..)
        {
            let end = before + name_len(rest);
            self.rdata.splice(before..end, name.iter().copied());
        }
    }
}

/// Octets of the uncompressed name that `octets` begin with.
pub fn name_len(octets: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&len @ 1..) = octets.get(at) {
        at += 1 + usize::from(len);
    }
    (at + 1).min(octets.len())
}

/// A reply taken apart: everything but its question.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// The header's flags; TC says that records were left out already.
    pub flags: Flags,
    /// The code.
    pub rcode: Rcode,
    /// The answer, authority and additional section, without OPT.
    pub sections: [Vec<Record>; 3],
    /// Flags and options of its own OPT, if it has one.
    pub opt: Option<(u16, Box<[u8]>)>,
}

impl Answer {
    /// Takes a reply apart, and leaves it empty. Records that cannot be read are lost.
    pub fn take(reply: &mut Reply<'_>) -> Self {
        let answer = Self::copy(reply);
        reply.clear();
        answer
    }

    /// What [`Self::take`] gives, if no record of the reply is lost.
    pub fn take_whole(reply: &mut Reply<'_>) -> Option<Self> {
        let answer = Self::copy(reply);
        let counts = [Section::Answer, Section::Authority, Section::Additional];
        let counts = counts.map(|section| usize::from(reply.count(section)));
        if answer.sections.each_ref().map(Vec::len) != counts {
            return None;
        }
        reply.clear();
        Some(answer)
    }

    fn copy(reply: &mut Reply<'_>) -> Self {
        let (flags, rcode) = (reply.flags(), reply.rcode());
        let opt = reply.own_opt().cloned();
        let (message, mut at, counts) = reply.message_mut();
        let sections = counts.map(|count| {
            let mut section = Vec::with_capacity(usize::from(count));
            for found in records(message, at, usize::from(count)) {
                at = found.end;
                section.extend(Record::read(message, &found));
            }
            section
        });
        Self {
            flags,
            rcode,
            sections,
            opt,
        }
    }

    /// Reads the sections of a whole message.
    pub fn read(message: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            Some(u16::from_be_bytes([
                *message.get(at)?,
                *message.get(at + 1)?,
            ]))
        };
        let flags = Flags(word(2)?);
        let mut at = super::walk::skip_name(message, super::query::HEADER_LEN)? + 4;
        let counts = [word(6)?, word(8)?, word(10)?];
        let sections = counts.map(|count| {
            let mut section = Vec::with_capacity(usize::from(count));
            for found in records(message, at, usize::from(count)) {
                at = found.end;
                if found.rtype != RType::OPT {
                    section.extend(Record::read(message, &found));
                }
            }
            section
        });
        Some(Self {
            flags,
            rcode: Rcode(flags.0 & Flags::RCODE),
            sections,
            opt: None,
        })
    }

    /// Writes it to a reply that nobody has answered yet.
    pub fn put(&self, reply: &mut Reply<'_>) {
        // Once TC is set, no record is taken any more.
        reply.set_flags(Flags(self.flags.0 & !Flags::TC));
        reply.set_rcode(self.rcode);
        if let Some((flags, options)) = &self.opt {
            reply.set_opt(*flags, options.clone());
        }
        let truncated = self.flags.has(Flags::TC);
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        for (section, records) in sections.into_iter().zip(&self.sections) {
            for record in records {
                record.write(section, reply);
            }
        }
        if truncated {
            reply.set_truncated();
        }
    }
}
