//! `debug`: debug messages, and hexdumps of what cannot be read.

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `debug`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Debug;

impl Directive for Debug {
    const NAME: &'static str = "debug";
    const SECOND: Second = Second::Replaces;

    fn parse(_args: &mut Args<'_>) -> Result<Self, Problem> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn takes_nothing() {
        assert!(good("debug").debug.is_some());
        assert!(
            good("debug\ndebug").debug.is_some(),
            "a second one does no harm"
        );
        assert_eq!(bad("debug x").len(), 1);
        assert_eq!(bad("debug {\n x\n}").len(), 1);
    }
}
