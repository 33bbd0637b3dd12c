//! `header`: flags of queries and of replies.

use crate::chain::{Context, Step};
use crate::wire::{Flags, Reply};

/// Flags that are set and cleared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// These are set.
    pub set: u16,
    /// These are cleared.
    pub clear: u16,
}

/// One `header`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Header {
    /// In queries.
    pub query: Change,
    /// In replies.
    pub response: Change,
}

impl Change {
    /// Adds a flag; what was said of it before no longer counts.
    pub const fn put(&mut self, flag: u16, on: bool) {
        if on {
            (self.set, self.clear) = (self.set | flag, self.clear & !flag);
        } else {
            (self.set, self.clear) = (self.set & !flag, self.clear | flag);
        }
    }

    /// Adds all flags of a later change.
    pub const fn add(&mut self, later: Self) {
        self.set = self.set & !later.clear | later.set;
        self.clear = self.clear & !later.set | later.clear;
    }

    const fn apply(self, flags: Flags) -> Flags {
        Flags((flags.0 | self.set) & !self.clear)
    }
}

impl Header {
    pub(crate) fn query(self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        if self.query != Change::default() {
            context.query.flags = self.query.apply(context.query.flags);
            reply.set_recursion_desired(context.query.flags.has(Flags::RD));
        }
        Step::Next
    }

    pub(crate) fn response(self, step: Step, reply: &mut Reply<'_>) {
        if step == Step::Answered {
            reply.set_flags(self.response.apply(reply.flags()));
        }
    }
}
