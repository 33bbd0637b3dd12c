//! `nsid`: the server's identifier, for clients that ask for it (RFC 5001).

use crate::chain::{Context, Step};
use crate::wire::query::options;
use crate::wire::{Edns, Reply};

const NSID: u16 = 3;

/// Puts the identifier into the reply. As in CoreDNS, DO is set then, and options that would have
/// been sent back are not, unless an upstream gave some.
pub(crate) fn response(id: &[u8], context: &Context<'_>, step: Step, reply: &mut Reply<'_>) {
    let Some(edns) = context.query.edns.filter(|_| step == Step::Answered) else {
        return;
    };
    if !options(edns.options).any(|(code, _)| code == NSID) {
        return;
    }
    let own = reply.take_opt();
    let (flags, others) = own.unwrap_or_else(|| (Edns::DO, Box::default()));
    let mut all = Vec::with_capacity(others.len() + id.len() + 4);
    for (code, option) in options(&others) {
        if code != NSID {
            all.extend(option);
        }
    }
    all.extend(NSID.to_be_bytes());
    all.extend((id.len() as u16).to_be_bytes());
    all.extend(id);
    reply.set_opt(flags, all.into());
}
