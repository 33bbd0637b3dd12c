//! The short replies that most queries get, written in one go.

use super::{DATAGRAM_LEN_MAX, OPT_LEN, QUESTION_EXTRA, QUESTION_POINTER, Section};
use crate::limits::{MESSAGE_LEN_MAX, PAYLOAD_SIZE_MIN, POINTER_MAX};
use crate::wire::query::{HEADER_LEN, Query};
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

/// Writes such a reply, with AA; what [`super::Reply`] does in steps, for those that most queries get.
/// Records that do not fit are left out, and TC is set. Returns its length; `None` if the query's OPT
/// has options, or if `buf` is too small.
#[inline(always)]
pub fn write_whole<const LEN: usize>(
    query: &Query<'_>,
    stream: bool,
    reply: &Whole<'_, LEN>,
    buf: &mut [u8],
) -> Option<usize> {
    let frame = Frame::new(query, stream, buf)?;
    let mut flags = reply.rcode.0;
    let fits = match reply.records {
        // What most replies are.
        [record] if LEN <= frame.room => {
            *buf.get_mut(frame.records_at..)?.first_chunk_mut()? = *record;
            1
        }
        records => {
            let fits = (frame.room / LEN).min(records.len());
            let end = frame.records_at + fits * LEN;
            let places = buf.get_mut(frame.records_at..end)?.as_chunks_mut().0;
            let (last, first) = records.split_at(reply.rotation);
            for (place, record) in places.iter_mut().zip(first.iter().chain(last)) {
                *place = *record;
            }
            if fits < records.len() {
                flags |= Flags::TC;
            }
            fits
        }
    };
    let opt_at = frame.records_at + fits * LEN;
    let mut counts = [0; 3];
    counts[reply.section as usize] = fits as u16;
    frame.close(query, (flags, counts), opt_at, buf)
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
pub fn write_target(
    query: &Query<'_>,
    stream: bool,
    reply: &Target<'_>,
    buf: &mut [u8],
) -> Option<usize> {
    /// An SRV record before its target: owner, type, class, TTL, length; priority, weight, port.
    const FIXED_LEN: usize = 12 + 6;
    let frame = Frame::new(query, stream, buf)?;
    let target_len = reply.labels.len() + reply.zone.len();
    let glue_len = reply.addresses[0].len() + reply.addresses[1].len();
    if FIXED_LEN + target_len + glue_len > frame.room {
        return None;
    }
    let target_at = frame.records_at + FIXED_LEN;
    // Behind the question, which is far shorter than a pointer reaches.
    debug_assert!(target_at <= POINTER_MAX);
    let zone_at = target_at + reply.labels.len();
    let mut at = target_at + target_len;
    let [t1, t2, t3, t4] = reply.ttl.to_be_bytes();
    let [l1, l2] = (6 + target_len as u16).to_be_bytes();
    let ([w1, w2], [p1, p2]) = (reply.weight.to_be_bytes(), reply.port.to_be_bytes());
    let ([o1, o2], [s1, s2]) = (QUESTION_POINTER.to_be_bytes(), RType::SRV.0.to_be_bytes());
    buf[frame.records_at..target_at].copy_from_slice(&[
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
    frame.close(query, (Rcode::NOERROR.0, [1, 0, glue]), at, buf)
}

/// What surrounds the records.
struct Frame {
    records_at: usize,
    /// Octets that records may take.
    room: usize,
}

impl Frame {
    /// `None` if the query's OPT has options, or if `buf` is too small.
    #[inline(always)]
    fn new(query: &Query<'_>, stream: bool, buf: &[u8]) -> Option<Self> {
        let (opt_len, size) = match &query.edns {
            None => (0, PAYLOAD_SIZE_MIN),
            Some(edns) if edns.options.is_empty() => (OPT_LEN, usize::from(edns.payload_size)),
            Some(_) => return None,
        };
        let limit = if stream {
            MESSAGE_LEN_MAX
        } else {
            size.clamp(PAYLOAD_SIZE_MIN, DATAGRAM_LEN_MAX)
        };
        let records_at = HEADER_LEN + query.name_len + QUESTION_EXTRA;
        let room = limit.min(buf.len()).checked_sub(records_at + opt_len)?;
        Some(Self { records_at, room })
    }

    /// Writes header, question and OPT around the records, which end at `opt_at`; returns the
    /// message's length. `flags` are what the header has besides QR, AA and what it echoes.
    #[inline(always)]
    fn close(
        &self,
        query: &Query<'_>,
        (flags, mut counts): (u16, [u16; 3]),
        opt_at: usize,
        buf: &mut [u8],
    ) -> Option<usize> {
        // Header and question in one; what else the header says comes after.
        buf[..self.records_at].copy_from_slice(query.packet.get(..self.records_at)?);
        counts[Section::Additional as usize] += u16::from(query.edns.is_some());
        let echoed = query.flags.0 & (Flags::RD | Flags::CD);
        let flags = Flags::QR | Flags::AA | echoed | flags;
        let words = [flags, 1, counts[0], counts[1], counts[2]];
        let header = buf[2..HEADER_LEN].as_chunks_mut().0;
        for (place, word) in header.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        let Some(edns) = &query.edns else {
            return Some(opt_at);
        };
        let ([s1, s2], [f1, _]) = (edns.payload_size.to_be_bytes(), edns.flags.to_be_bytes());
        buf[opt_at..opt_at + OPT_LEN].copy_from_slice(&[
            0,
            0,
            RType::OPT.0 as u8,
            s1,
            s2,
            0,
            0,
            f1,
            0,
            0,
            0,
        ]);
        Some(opt_at + OPT_LEN)
    }
}
