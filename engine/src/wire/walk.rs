//! Walking the records of an encoded message, for response-side work and for answers of inner
//! look-ups.

use super::codes::RType;
use super::query::HEADER_LEN;
use crate::limits::NAME_LEN_MAX;

/// Where one record stands in its message.
#[derive(Clone, Copy, Debug)]
pub struct RecordAt {
    /// Offset of the owner name.
    pub at: usize,
    /// The record's type.
    pub rtype: RType,
    /// Offset of the TTL's four octets.
    pub ttl_at: usize,
    /// Offset of the RDATA.
    pub rdata_at: usize,
    /// Offset of the octet after the record.
    pub end: usize,
}

/// The records of `message` that begin at `at`, `count` of them at most; ends early on a malformed
/// one.
pub fn records(message: &[u8], mut at: usize, count: usize) -> impl Iterator<Item = RecordAt> {
    (0..count).map_while(move |_| {
        let record = record_at(message, at)?;
        at = record.end;
        Some(record)
    })
}

/// The record that begins at `at`.
pub fn record_at(message: &[u8], at: usize) -> Option<RecordAt> {
    let fixed = skip_name(message, at)?;
    let head = message.get(fixed..fixed + 10)?;
    let rdata_at = fixed + 10;
    let end = rdata_at + usize::from(u16::from_be_bytes([head[8], head[9]]));
    (end <= message.len()).then_some(RecordAt {
        at,
        rtype: RType(u16::from_be_bytes([head[0], head[1]])),
        ttl_at: fixed + 4,
        rdata_at,
        end,
    })
}

/// The offset after the name at `at`, pointers not followed.
pub fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// The same for a name that is one: of 255 octets at most, and with pointers that each lead further to
/// the front, but not into the header.
pub(super) fn skip_sound_name(message: &[u8], mut at: usize) -> Option<usize> {
    let (mut end, mut bound, mut len) = (None, at, 0);
    loop {
        match *message.get(at)? {
            label @ 0..=63 => {
                let label = 1 + usize::from(label);
                (at, len) = (at + label, len + label);
                if len > NAME_LEN_MAX {
                    return None;
                }
                if label == 1 {
                    return end.or(Some(at));
                }
            }
            high @ 0xc0.. => {
                let target = usize::from(high & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                if target >= bound || target < HEADER_LEN {
                    return None;
                }
                end = end.or(Some(at + 2));
                (at, bound) = (target, target);
            }
            _ => return None,
        }
    }
}

/// Copies the name at `at` into `out` without compression; returns its length.
pub fn expand_name(message: &[u8], mut at: usize, out: &mut [u8; NAME_LEN_MAX]) -> Option<usize> {
    let mut len = 0;
    let mut jumps = 0;
    loop {
        match *message.get(at)? {
            high @ 0xc0.. => {
                jumps += 1;
                if jumps > NAME_LEN_MAX {
                    return None;
                }
                at = usize::from(high & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            }
            label @ 0..=63 => {
                let octets = message.get(at..=at + usize::from(label))?;
                out.get_mut(len..len + octets.len())?
                    .copy_from_slice(octets);
                len += octets.len();
                at += octets.len();
                if label == 0 {
                    return Some(len);
                }
            }
            _ => return None,
        }
    }
}
