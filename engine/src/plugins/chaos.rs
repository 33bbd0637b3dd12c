//! `chaos`: what the server tells of itself in class CH.

use crate::chain::{Context, Step};
use crate::wire::reply::Owner;
use crate::wire::{Class, RType, Reply, Section};

/// One `chaos`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chaos {
    /// The answer for `version.bind` and `version.server`.
    pub version: Box<str>,
    /// The answers for `authors.bind`.
    pub authors: Vec<Box<str>>,
    /// The answer for `hostname.bind` and `id.server`.
    pub hostname: Box<str>,
}

impl Chaos {
    pub(crate) fn query(&self, context: &Context<'_>, reply: &mut Reply<'_>) -> Step {
        if context.query.qclass != Class::CH || context.query.qtype != RType::TXT {
            return Step::Next;
        }
        let texts = match context.name.wire() {
            b"\x07authors\x04bind\0" => self.authors.as_slice(),
            b"\x07version\x04bind\0" | b"\x07version\x06server\0" => {
                std::slice::from_ref(&self.version)
            }
            b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => {
                std::slice::from_ref(&self.hostname)
            }
            _ => return Step::Next,
        };
        for text in texts {
            let text = &text.as_bytes()[..text.len().min(255)];
            let begun = reply.begin(Section::Answer, Owner::Question, RType::TXT, Class::CH, 0);
            reply.put(&[text.len() as u8]);
            reply.put(text);
            reply.end(begun);
        }
        Step::Answered
    }
}
