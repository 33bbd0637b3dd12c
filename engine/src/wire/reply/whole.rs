//! The short replies that most queries get, written in one go.

use super::{DATAGRAM_LEN_MAX, OPT_LEN, QUESTION_EXTRA, QUESTION_POINTER, Section};
use crate::limits::{MESSAGE_LEN_MAX, NAME_LEN_MAX, PAYLOAD_SIZE_MIN, POINTER_MAX};
use crate::wire::query::{HEADER_LEN, PlainQuery};
use crate::wire::{Flags, RType, Rcode};

/// A reply that is one RRset and nothing else.
pub struct Whole<'r, const LEN: usize> {
    /// Its code, without an extended part.
    pub rcode: Rcode,
    /// Where the records stand.
    pub section: Section,
    /// The records, encoded for this place behind the question.
    pub records: &'r [[u8; LEN]],
    /// Which of them comes first; the others go round.
    pub rotation: usize,
}

/// What is replied to.
#[derive(Clone, Copy)]
pub struct Asked<'m> {
    /// The message, which has the query's name.
    pub message: &'m [u8],
    /// What it says.
    pub query: PlainQuery,
    /// It came over a stream.
    pub stream: bool,
}

impl<'m> Asked<'m> {
    /// What asks nothing.
    pub(crate) const NOTHING: Self = Self {
        message: &[],
        query: PlainQuery::NONE,
        stream: false,
    };

    /// Where the question ends.
    #[inline(always)]
    pub(crate) fn question_end(&self) -> usize {
        HEADER_LEN + usize::from(self.query.name_len) + QUESTION_EXTRA
    }

    /// Octets of `buf` that records may take. `None` if there are none.
    #[inline(always)]
    fn room(&self, buf: &[u8]) -> Option<usize> {
        let (opt_len, size) = match self.query.edns {
            None => (0, PAYLOAD_SIZE_MIN),
            Some((payload_size, _)) => (OPT_LEN, usize::from(payload_size)),
        };
        let limit = if self.stream {
            MESSAGE_LEN_MAX
        } else {
            size.clamp(PAYLOAD_SIZE_MIN, DATAGRAM_LEN_MAX)
        };
        let limit = limit.min(buf.len());
        limit.checked_sub(self.question_end() + opt_len)
    }

    /// The name of the question in the client's own spelling.
    pub fn name_as_sent(&self) -> &'m [u8] {
        &self.message[HEADER_LEN..HEADER_LEN + usize::from(self.query.name_len)]
    }
}

/// Writes such a reply, with AA; what [`super::Reply`] does in steps, for those that most queries get.
/// Records that do not fit are left out, and TC is set. Returns its length; `None` if `buf` is too
/// small.
#[inline(always)]
pub fn write_whole<const LEN: usize>(
    asked: &Asked<'_>,
    reply: &Whole<'_, LEN>,
    buf: &mut [u8],
) -> Option<usize> {
    const { assert!(HEADER_LEN + NAME_LEN_MAX + QUESTION_EXTRA + LEN + OPT_LEN <= PAYLOAD_SIZE_MIN) };
    let records_at = asked.question_end();
    let mut counts = [0; 3];
    // What most replies are. They always fit.
    if let ([record], Some(buf)) = (reply.records, buf.first_chunk_mut::<PAYLOAD_SIZE_MIN>()) {
        buf[records_at..][..LEN].copy_from_slice(record);
        counts[reply.section as usize] = 1;
        return close(asked, (reply.rcode.0, counts), records_at + LEN, buf);
    }
    let fits = (asked.room(buf)? / LEN).min(reply.records.len());
    let end = records_at + fits * LEN;
    let places = buf.get_mut(records_at..end)?.as_chunks_mut().0;
    let (last, first) = reply.records.split_at(reply.rotation);
    for (place, record) in places.iter_mut().zip(first.iter().chain(last)) {
        *place = *record;
    }
    let mut flags = reply.rcode.0;
    if fits < reply.records.len() {
        flags |= Flags::TC;
    }
    counts[reply.section as usize] = fits as u16;
    close(asked, (flags, counts), end, buf)
}

/// A reply that is an SRV record and the addresses of its target.
pub struct Target<'r> {
    /// The TTL in seconds.
    pub ttl: u32,
    /// Weight (RFC 2782); the priority is 0.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The target's first labels, uncompressed.
    pub labels: &'r [u8],
    /// The rest of it.
    pub zone: &'r [u8],
    /// Its address records, encoded; where their owners are does not count. Empty ones are none.
    pub addresses: [&'r [u8]; 2],
}

/// As [`write_whole`], but `None` as well if the reply would have to be cut.
#[inline]
pub fn write_target(asked: &Asked<'_>, reply: &Target<'_>, buf: &mut [u8]) -> Option<usize> {
    /// An SRV record before its target: owner, type, class, TTL, length; priority, weight, port.
    const FIXED_LEN: usize = 12 + 6;
    let records_at = asked.question_end();
    let target_len = reply.labels.len() + reply.zone.len();
    let glue_len = reply.addresses[0].len() + reply.addresses[1].len();
    if FIXED_LEN + target_len + glue_len > asked.room(buf)? {
        return None;
    }
    let target_at = records_at + FIXED_LEN;
    // Behind the question, which is far shorter than a pointer reaches.
    debug_assert!(target_at <= POINTER_MAX);
    let zone_at = target_at + reply.labels.len();
    let mut at = target_at + target_len;
    let [t1, t2, t3, t4] = reply.ttl.to_be_bytes();
    let [l1, l2] = (6 + target_len as u16).to_be_bytes();
    let ([w1, w2], [p1, p2]) = (reply.weight.to_be_bytes(), reply.port.to_be_bytes());
    let ([o1, o2], [s1, s2]) = (QUESTION_POINTER.to_be_bytes(), RType::SRV.0.to_be_bytes());
    buf[records_at..target_at].copy_from_slice(&[
        o1, o2, s1, s2, 0, 1, t1, t2, t3, t4, l1, l2, 0, 0, w1, w2, p1, p2,
    ]);
    buf[target_at..zone_at].copy_from_slice(reply.labels);
    buf[zone_at..at].copy_from_slice(reply.zone);
    let owner = (0xc000 | target_at as u16).to_be_bytes();
    let mut glue = 0;
    for record in reply.addresses.iter().filter(|it| !it.is_empty()) {
        let place = &mut buf[at..at + record.len()];
        place.copy_from_slice(record);
        place[..owner.len()].copy_from_slice(&owner);
        at += record.len();
        glue += 1;
    }
    close(asked, (Rcode::NOERROR.0, [1, 0, glue]), at, buf)
}

/// A reply that stood behind a question of the same length.
pub struct Copied<'r, T> {
    /// Its code, without an extended part.
    pub rcode: Rcode,
    /// Flags besides QR, AA and what is echoed.
    pub flags: u16,
    /// Records by section.
    pub counts: [u16; 3],
    /// The records.
    pub records: &'r [u8],
    /// Where in them their TTLs are.
    pub ttls_at: T,
    /// The TTL of all of them, in seconds.
    pub ttl: u32,
}

/// As [`write_target`].
#[inline]
pub fn write_copied(
    asked: &Asked<'_>,
    reply: Copied<'_, impl Iterator<Item = usize>>,
    buf: &mut [u8],
) -> Option<usize> {
    let Copied {
        rcode,
        flags,
        counts,
        records,
        ttls_at,
        ttl,
    } = reply;
    if records.len() > asked.room(buf)? || rcode.0 & Flags::RCODE != rcode.0 {
        return None;
    }
    let records_at = asked.question_end();
    let end = records_at + records.len();
    let place = &mut buf[records_at..end];
    place.copy_from_slice(records);
    for at in ttls_at {
        *place.get_mut(at..)?.first_chunk_mut()? = ttl.to_be_bytes();
    }
    close(asked, (flags | rcode.0, counts), end, buf)
}

/// Writes header, question and OPT around the records, which end at `opt_at`; returns the message's
/// length. `flags` are what the header has besides QR, AA and what it echoes.
#[inline(always)]
fn close(
    asked: &Asked<'_>,
    (flags, mut counts): (u16, [u16; 3]),
    opt_at: usize,
    buf: &mut [u8],
) -> Option<usize> {
    // Header and question in one; what else the header says comes after.
    let question = asked.message.get(..asked.question_end())?;
    buf.get_mut(..question.len())?.copy_from_slice(question);
    let query = asked.query;
    counts[Section::Additional as usize] += u16::from(query.edns.is_some());
    let echoed = query.flags.0 & (Flags::RD | Flags::CD);
    let flags = Flags::QR | Flags::AA | echoed | flags;
    let [answers, authorities, additionals] = counts.map(u64::from);
    let counts = 1 << 48 | answers << 32 | authorities << 16 | additionals;
    let header = buf.first_chunk_mut::<HEADER_LEN>()?;
    header[2..4].copy_from_slice(&flags.to_be_bytes());
    header[4..].copy_from_slice(&counts.to_be_bytes());
    if query.edns.is_none() {
        return Some(opt_at);
    }
    // The client's own, which ends its message, but for the low octet of the flags.
    let opt = buf.get_mut(opt_at..)?.first_chunk_mut::<OPT_LEN>()?;
    let [begin @ .., _, _, _] = asked.message.last_chunk::<OPT_LEN>()?;
    opt[..begin.len()].copy_from_slice(begin);
    opt[begin.len()..].fill(0);
    Some(opt_at + OPT_LEN)
}
