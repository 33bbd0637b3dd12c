//! `cancel [DURATION]`: how long a query may wait for upstreams.

use std::time::Duration;

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `cancel`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cancel {
    /// Not zero.
    pub limit: Duration,
}

/// A little longer than one exchange with upstreams may take.
const LIMIT: Duration = Duration::from_millis(5_001);

impl Directive for Cancel {
    const NAME: &'static str = "cancel";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let Some(argument) = args.next() else {
            return Ok(Self { limit: LIMIT });
        };
        match argument.duration()? {
            Duration::ZERO => Err(argument.out_of("more than zero")),
            limit => Ok(Self { limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_its_limit() {
        for (text, millis) in [
            ("cancel", 5_001),
            ("cancel 1s", 1_000),
            ("cancel 1s500ms", 1_500),
        ] {
            assert_eq!(
                good(text).cancel.unwrap().limit.as_millis(),
                millis,
                "{text}"
            );
        }
        for (text, expected) in [
            ("cancel x", "is not a duration"),
            ("cancel 5", "is not a duration"),
            ("cancel 0s", "must be more than zero"),
            ("cancel 1s 1s", "takes no argument"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
