//! `any`: minimal answers to ANY queries (RFC 8482).

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `any`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Any;

impl Directive for Any {
    const NAME: &'static str = "any";
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
        assert!(good("any").any.is_some());
        assert_eq!(
            bad("any 255"),
            ["Corefile:2:5: `any` takes no argument `255` here"]
        );
        assert_eq!(bad("any {\n x\n}"), ["Corefile:2:1: `any` takes no block"]);
    }
}
