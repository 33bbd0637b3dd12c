//! `bufsize`: the payload size of queries gets a limit.

use crate::chain::{Context, Step};
use crate::wire::Reply;

/// Lowers the payload size that the client announced.
pub(crate) fn query(max: u16, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
    if let Some(edns) = &mut context.query.edns
        && edns.payload_size > max
    {
        edns.payload_size = max;
        reply.lower_payload_size(max, context.peer.stream);
    }
    Step::Next
}
