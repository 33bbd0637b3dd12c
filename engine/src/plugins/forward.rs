//! `forward`: which queries go to upstreams. The exchange itself belongs to the slow path.

use crate::chain::{Context, Step};
use crate::wire::{Rcode, Reply};

/// One `forward` of a block.
#[derive(Clone, Debug)]
pub struct Forward {
    /// FROM: what is forwarded; lower-case wire name.
    pub from: Box<[u8]>,
    /// The number of its labels.
    pub from_labels: usize,
    /// `except`: names at or under these are not; wire name and number of labels.
    pub except: Vec<(Box<[u8]>, usize)>,
}

impl Forward {
    pub(crate) fn query(&self, context: &Context<'_>, _reply: &mut Reply<'_>) -> Step {
        let under = |zone: &[u8], labels| context.name.labels_above(zone, labels).is_some();
        if !under(&self.from, self.from_labels)
            || self
                .except
                .iter()
                .any(|(zone, labels)| under(zone, *labels))
        {
            return Step::Next;
        }
        // There is no slow path yet: what an operator sees is what CoreDNS gives when every
        // upstream is gone, and control says so once at the start.
        Step::Failed(Rcode::SERVFAIL, "forwarding is not supported yet")
    }
}
