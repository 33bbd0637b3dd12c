//! `shed`: no more queries at once than can be answered. martlet does that by itself: a worker takes
//! a batch from its socket when the one before is answered, so that what it has no time for waits in
//! the kernel's buffer or is dropped there; and the queues of the slow path are bounded.

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `shed`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Shed;

impl Directive for Shed {
    const NAME: &'static str = "shed";
    const SECOND: Second = Second::Ignored;

    fn parse(_args: &mut Args<'_>) -> Result<Self, Problem> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn takes_nothing() {
        assert!(good("shed").shed.is_some());
        for text in ["shed x", "shed {\n depth 5\n}"] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
