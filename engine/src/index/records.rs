//! Address records as they go over the wire, each with a pointer to the question as its owner.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use crate::wire::RType;
use crate::wire::reply::QUESTION_POINTER;

/// The size of an encoded A record whose owner is a pointer.
pub(super) const A_RECORD_LEN: usize = 16;
/// The size of an encoded AAAA record whose owner is a pointer.
pub(super) const AAAA_RECORD_LEN: usize = 28;

/// An A record of the question's name.
#[inline]
pub(crate) fn a_record(ttl: u32, address: Ipv4Addr) -> [u8; A_RECORD_LEN] {
    let mut record = [0; A_RECORD_LEN];
    record[..12].copy_from_slice(&record_head(RType::A, ttl, 4));
    record[12..].copy_from_slice(&address.octets());
    record
}

/// An AAAA record of the question's name.
#[inline]
pub(crate) fn aaaa_record(ttl: u32, address: Ipv6Addr) -> [u8; AAAA_RECORD_LEN] {
    let mut record = [0; AAAA_RECORD_LEN];
    record[..12].copy_from_slice(&record_head(RType::AAAA, ttl, 16));
    record[12..].copy_from_slice(&address.octets());
    record
}

/// Owner, type, class, TTL and length of a record of the question's name.
#[inline]
const fn record_head(rtype: RType, ttl: u32, len: u8) -> [u8; 12] {
    let [o1, o2] = QUESTION_POINTER.to_be_bytes();
    let ([r1, r2], [t1, t2, t3, t4]) = (rtype.0.to_be_bytes(), ttl.to_be_bytes());
    [o1, o2, r1, r2, 0, 1, t1, t2, t3, t4, 0, len]
}

/// Encodes addresses as records of the question's name, each one once, IPv4 first; says how many
/// octets those take.
pub(super) fn encode_addresses(
    addresses: &[IpAddr],
    ttl: u32,
) -> (SmallVec<[u8; A_RECORD_LEN + AAAA_RECORD_LEN]>, u32) {
    let (mut out, mut a_len) = (SmallVec::new(), 0);
    for wanted in [RType::A, RType::AAAA] {
        let mut seen = std::collections::HashSet::new();
        for &address in addresses {
            match address {
                IpAddr::V4(v4) if wanted == RType::A && seen.insert(address) => {
                    out.extend_from_slice(&a_record(ttl, v4));
                }
                IpAddr::V6(v6) if wanted == RType::AAAA && seen.insert(address) => {
                    out.extend_from_slice(&aaaa_record(ttl, v6));
                }
                _ => {}
            }
        }
        if wanted == RType::A {
            a_len = out.len() as u32;
        }
    }
    out.shrink_to_fit();
    (out, a_len)
}
