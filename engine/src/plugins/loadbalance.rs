//! `loadbalance`: RRsets of addresses leave in a new order each time.
//!
//! CoreDNS shuffles; clients and resolvers only ask that no address always comes first. A
//! precomputed RRset is rotated while it is copied (see `Reply::copy_rrset`), other answers are
//! put in order afterwards: CNAMEs, the rest, addresses rotated, MX rotated.

use crate::chain::{Context, Step};
use crate::wire::walk::record_at;
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
        at = rotate_section(message, at, usize::from(count), rotation);
    }
}

/// Rotates each run of address records of one type in the section of `count` records at `at`;
/// returns where the section ends. Their owners are pointers backwards, so they may change places.
fn rotate_section(message: &mut [u8], mut at: usize, count: usize, rotation: u32) -> usize {
    let mut run = Run {
        start: at,
        len: 0,
        rtype: RType::A,
    };
    for _ in 0..count {
        let Some(record) = record_at(message, at) else {
            break;
        };
        let movable = matches!(record.rtype, RType::A | RType::AAAA) && message[record.at] >= 0xc0;
        if !movable || record.rtype != run.rtype {
            run.rotate(message, at, rotation);
            run = Run {
                start: at,
                len: 0,
                rtype: record.rtype,
            };
        }
        if movable {
            run.len += 1;
        }
        at = record.end;
        if !movable {
            run.start = at;
        }
    }
    run.rotate(message, at, rotation);
    at
}

/// Address records of one type and so of one size, one behind the other.
struct Run {
    start: usize,
    len: usize,
    rtype: RType,
}

impl Run {
    fn rotate(&self, message: &mut [u8], end: usize, rotation: u32) {
        if self.len > 1 {
            let run = &mut message[self.start..end];
            run.rotate_left(rotation as usize % self.len * (run.len() / self.len));
        }
    }
}
