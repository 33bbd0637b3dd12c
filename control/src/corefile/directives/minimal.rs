//! `minimal`: replies without what they do not need.

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `minimal`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Minimal;

impl Directive for Minimal {
    const NAME: &'static str = "minimal";
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
        assert!(good("minimal").minimal.is_some());
        assert_eq!(bad("minimal x").len(), 1);
        assert_eq!(bad("minimal {\n x\n}").len(), 1);
    }
}
