//! `whoami`: answers with the address and port of the client.

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `whoami`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Whoami;

impl Directive for Whoami {
    const NAME: &'static str = "whoami";
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
        assert!(good("whoami").whoami.is_some());
        assert!(
            good("whoami\nwhoami").whoami.is_some(),
            "a second one does no harm"
        );
        assert_eq!(bad("whoami x").len(), 1);
        assert_eq!(bad("whoami {\n x\n}").len(), 1);
    }
}
