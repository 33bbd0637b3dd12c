//! `local { localhost_prefix on|off }`: answers for localhost, so that they never leave the node.

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `local`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Local {
    /// Whether `localhost.` followed by a search domain is answered like `localhost.`; on if not
    /// given.
    pub localhost_prefix: bool,
}

impl Directive for Local {
    const NAME: &'static str = "local";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut local = Self {
            localhost_prefix: true,
        };
        args.options(|option| match option.name() {
            "localhost_prefix" => {
                let argument = option.required("on or off")?;
                local.localhost_prefix = argument.keyword(&[("on", true), ("off", false)])?;
                Ok(())
            }
            _ => Err(option.unknown(Self::NAME, &["localhost_prefix"])),
        });
        Ok(local)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_its_option() {
        for (text, expected) in [
            ("local", true),
            ("local {\n localhost_prefix on\n}", true),
            ("local {\n localhost_prefix off\n}", false),
        ] {
            assert_eq!(
                good(text).local.unwrap().localhost_prefix,
                expected,
                "{text}"
            );
        }
        for text in [
            "local x",
            "local {\n localhost_prefix\n}",
            "local {\n localhost_prefix no\n}",
            "local {\n localhost_prefix on off\n}",
            "local {\n x\n}",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
