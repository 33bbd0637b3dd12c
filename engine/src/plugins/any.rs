//! `any`: a HINFO record in place of everything (RFC 8482 §4.2).

use crate::chain::{Context, Step};
use crate::wire::reply::Owner;
use crate::wire::{RType, Reply, Section};

const TTL: u32 = 8482;

/// Answers ANY.
pub(crate) fn query(context: &Context<'_>, reply: &mut Reply<'_>) -> Step {
    if context.query.qtype != RType::ANY {
        return Step::Next;
    }
    reply.record(
        Section::Answer,
        Owner::Question,
        RType::HINFO,
        TTL,
        b"\x0dANY obsoleted\x0cSee RFC 8482",
    );
    Step::Answered
}
