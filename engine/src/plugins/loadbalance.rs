//! `loadbalance`: RRsets of addresses leave in a new order each time.
//!
//! CoreDNS shuffles; clients and resolvers only ask that no address always comes first. A
//! precomputed RRset is rotated while it is copied (see `Reply::copy_rrset`), other answers are
//! put in order afterwards: CNAMEs, the rest, addresses rotated, MX rotated.

use crate::chain::{Context, Step};
use crate::wire::walk::{RecordAt, records};
use crate::wire::{RType, Rcode, Reply};

pub(crate) const fn query(context: &mut Context<'_>) -> Step {
    context.rotation = Some(context.random.next());
    Step::Next
}

/// Rotates what was not rotated when it was written.
pub(crate) fn response(context: &mut Context<'_>, step: Step, reply: &mut Reply<'_>) {
    let Some(rotation) = context.rotation.take() else {
        return;
    };
    if step != Step::Answered
        || reply.rcode() != Rcode::NOERROR
        || matches!(context.query.qtype, RType::AXFR | RType::IXFR)
    {
        return;
    }
    let (message, mut at, counts) = reply.message_mut();
    for count in counts {
        let mut section = records(message, at, usize::from(count));
        if count < 2 {
            at = section.next().map_or(at, |record| record.end);
            continue;
        }
        let found = section.collect::<Vec<_>>();
        at = found.last().map_or(at, |record| record.end);
        rotate_addresses(message, &found, rotation);
    }
}

/// Rotates each run of address records of one size. Their owners are pointers backwards, so they
/// may change places freely.
fn rotate_addresses(message: &mut [u8], found: &[RecordAt], rotation: u32) {
    let movable = |record: &RecordAt| {
        matches!(record.rtype, RType::A | RType::AAAA) && message[record.at] >= 0xc0
    };
    let mut start = 0;
    let mut runs = Vec::new();
    while start < found.len() {
        let first = &found[start];
        let len = found[start..]
            .iter()
            .take_while(|record| movable(record) && record.rtype == first.rtype)
            .count();
        if len > 1 {
            runs.push((first.at, found[start + len - 1].end, len));
        }
        start += len.max(1);
    }
    for (from, to, len) in runs {
        let size = (to - from) / len;
        message[from..to].rotate_left(rotation as usize % len * size);
    }
}
