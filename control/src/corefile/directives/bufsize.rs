//! `bufsize [SIZE]`: a limit for the payload size of queries.

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `bufsize`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bufsize {
    /// In octets.
    pub max: u16,
}

/// What passes nearly everywhere unfragmented.
const MAX: u16 = 1_232;

impl Directive for Bufsize {
    const NAME: &'static str = "bufsize";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let Some(size) = args.next() else {
            return Ok(Self { max: MAX });
        };
        match size.number()? {
            max @ 512..=4_096 => Ok(Self { max }),
            _ => Err(size.out_of("from 512 to 4096")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_its_size() {
        for (text, max) in [
            ("bufsize", 1_232),
            ("bufsize 512", 512),
            ("bufsize 4096", 4_096),
        ] {
            assert_eq!(good(text).bufsize.unwrap().max, max, "{text}");
        }
        for text in [
            "bufsize 511",
            "bufsize 4097",
            "bufsize x",
            "bufsize 512 512",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
