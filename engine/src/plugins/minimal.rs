//! `minimal`: replies with an answer lose their authority and additional sections.

use crate::chain::Step;
use crate::wire::walk::records;
use crate::wire::{RType, Rcode, Reply, Section};

/// Denials and delegations stay whole: what is left out there would be missed.
pub(crate) fn response(step: Step, reply: &mut Reply<'_>) {
    if step != Step::Answered || reply.rcode() != Rcode::NOERROR {
        return;
    }
    if reply.count(Section::Answer) == 0 {
        let authorities = usize::from(reply.count(Section::Authority));
        let (message, at, _) = reply.message_mut();
        let has = |rtype| records(message, at, authorities).any(|record| record.rtype == rtype);
        if has(RType::SOA) || has(RType::NS) {
            return;
        }
    }
    reply.keep_answer();
}
