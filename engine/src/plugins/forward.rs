//! `forward`: asks upstreams. Which queries go there and what becomes of the replies is here; the
//! exchange itself belongs to [`crate::upstream`] and runs on the slow path.

use std::sync::Arc;

use crate::chain::{Context, Step};
use crate::gathered::{ExchangeError, Need};
use crate::upstream::Group;
use crate::wire::message::request;
use crate::wire::{Message, Rcode, Reply};

/// One `forward` of a block.
#[derive(Clone)]
pub struct Forward {
    /// FROM: what is forwarded; lower-case wire name.
    pub from: Box<[u8]>,
    /// The number of its labels.
    pub from_labels: usize,
    /// `except`: names at or under these are not; wire name and number of labels.
    pub except: Vec<(Box<[u8]>, usize)>,
    /// The upstreams.
    pub group: Arc<Group>,
    /// `next`: with these codes the next `forward` is asked. Empty if there is none.
    pub next: Vec<u16>,
    /// `next_on_nodata`: likewise without an answer.
    pub next_on_nodata: bool,
}

impl Forward {
    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        if !self.takes(context) {
            return Step::Next;
        }
        let known = context
            .gathered
            .and_then(|known| known.exchange(&self.group, &context.query));
        let Some(exchanged) = known else {
            context.need = Some(Need::Exchange {
                group: Arc::clone(&self.group),
                request: request(&context.query, context.request_flags),
            });
            return Step::Slow;
        };
        match exchanged {
            Ok(message) if self.passes_on(message) => Step::Next,
            Ok(message) => {
                reply.adopt(message, context.query.edns.is_some());
                context.upstream = Some(Arc::clone(message));
                Step::Answered
            }
            Err(error) => {
                context.cause = Some(error.to_string());
                context.impatient = *error == ExchangeError::Impatient;
                match error {
                    ExchangeError::Busy(_) => Step::Failed(Rcode::REFUSED, "too many queries"),
                    // CoreDNS's answer to a client whose upstream answers something else.
                    ExchangeError::Mismatch => {
                        reply.set_rcode(Rcode::FORMERR);
                        Step::Answered
                    }
                    _ => Step::Failed(Rcode::SERVFAIL, "no upstream replied"),
                }
            }
        }
    }

    fn takes(&self, context: &Context<'_>) -> bool {
        let above = |zone: &[u8], labels| context.name.labels_above(zone, labels);
        match above(&self.from, self.from_labels) {
            None => false,
            Some(0) => true,
            Some(_) => !self
                .except
                .iter()
                .any(|(zone, labels)| above(zone, *labels).is_some()),
        }
    }

    fn passes_on(&self, message: &Message) -> bool {
        let [answers, ..] = message.counts();
        self.next.contains(&message.rcode().0)
            || (self.next_on_nodata && message.rcode() == Rcode::NOERROR && answers == 0)
    }
}
