//! The short replies that most queries get, written in one go.

use super::{DATAGRAM_LEN_MAX, OPT_LEN, QUESTION_EXTRA, Section};
use crate::limits::{MESSAGE_LEN_MAX, PAYLOAD_SIZE_MIN};
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
#[inline]
pub fn write_whole<const LEN: usize>(
    query: &Query<'_>,
    stream: bool,
    reply: &Whole<'_, LEN>,
    buf: &mut [u8],
) -> Option<usize> {
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
    let fits = match reply.records.len() {
        1 if LEN <= room => 1, // Spares a division.
        count => (room / LEN).min(count),
    };
    let opt_at = records_at + fits * LEN;
    let len = opt_at + opt_len;
    // Header and question in one; what else the header says comes after.
    buf[..records_at].copy_from_slice(query.packet.get(..records_at)?);
    let echoed = query.flags.0 & (Flags::RD | Flags::CD);
    let mut counts = [0; 3];
    counts[reply.section as usize] = fits as u16;
    counts[Section::Additional as usize] += u16::from(opt_len > 0);
    let mut flags = Flags::QR | Flags::AA | echoed | reply.rcode.0;
    if fits < reply.records.len() {
        flags |= Flags::TC;
    }
    let words = [flags, 1, counts[0], counts[1], counts[2]];
    let header = buf[2..HEADER_LEN].as_chunks_mut().0;
    for (place, word) in header.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
    let places = buf[records_at..opt_at].as_chunks_mut().0;
    let (last, first) = reply.records.split_at(reply.rotation);
    for (place, record) in places.iter_mut().zip(first.iter().chain(last)) {
        *place = *record;
    }
    if let Some(edns) = &query.edns {
        let ([s1, s2], [f1, _]) = (edns.payload_size.to_be_bytes(), edns.flags.to_be_bytes());
        buf[opt_at..len].copy_from_slice(&[0, 0, RType::OPT.0 as u8, s1, s2, 0, 0, f1, 0, 0, 0]);
    }
    Some(len)
}
