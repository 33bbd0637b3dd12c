//! `loop`: finds out whether our own upstreams lead back to us, and stops the process if so.

use super::super::args::Args;
use super::super::error::Problem;
use super::super::zone::ZoneName;
use super::Directive;

/// `loop`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loop {
    /// The zone that the probe asks in: the first one of the server block.
    pub zone: ZoneName,
}

impl Directive for Loop {
    const NAME: &'static str = "loop";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let zone = args.context().zones.first().cloned();
        Ok(Self {
            zone: zone.unwrap_or_else(ZoneName::root),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn asks_in_the_first_zone() {
        assert_eq!(good("loop").loop_.unwrap().zone.as_str(), ".");
        for text in ["loop x", "loop\nloop", "loop {\n x\n}"] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
