//! The reply to what did not parse.

use super::QUESTION_EXTRA;
use crate::wire::query::{HEADER_LEN, Query};
use crate::wire::{Flags, Rcode};

/// Writes the bare error that answers what did not parse: FORMERR or NOTIMP, with the question if
/// that much could be read. Returns the length of the message.
pub fn write_error(
    packet: &[u8],
    rcode: Rcode,
    question: Option<&Query<'_>>,
    buf: &mut [u8],
) -> usize {
    // As the library under CoreDNS does it, the query's own flags come back, but AA and Z; NOTIMP
    // keeps the opcode, FORMERR does not.
    let kept = Flags::TC | Flags::RD | Flags::RA | Flags::AD | Flags::CD;
    let opcode = if rcode == Rcode::NOTIMP {
        Flags::OPCODE
    } else {
        0
    };
    let flags = u16::from_be_bytes([packet[2], packet[3]]) & (kept | opcode);
    buf[..HEADER_LEN].fill(0);
    buf[..2].copy_from_slice(&packet[..2]);
    buf[2..4].copy_from_slice(&(flags | Flags::QR | (rcode.0 & Flags::RCODE)).to_be_bytes());
    let Some(query) = question else {
        return HEADER_LEN;
    };
    let end = HEADER_LEN + query.name_len + QUESTION_EXTRA;
    buf[4..6].copy_from_slice(&1_u16.to_be_bytes());
    buf[HEADER_LEN..end - QUESTION_EXTRA].copy_from_slice(query.name_as_sent());
    buf[end - QUESTION_EXTRA..end].copy_from_slice(&query.question());
    end
}
