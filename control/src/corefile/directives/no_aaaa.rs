//! `no_aaaa [ZONES…]`: no IPv6 addresses from upstreams. martlet's own.

use super::super::args::Args;
use super::super::error::Problem;
use super::super::zone::ZoneName;
use super::Directive;

/// `no_aaaa`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoAaaa {
    /// What it is for.
    pub zones: Vec<ZoneName>,
}

impl Directive for NoAaaa {
    const NAME: &'static str = "no_aaaa";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let zones = args.zones_or_block()?;
        Ok(Self { zones })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, good_in};

    #[test]
    fn reads_zones() {
        assert_eq!(
            good_in("a.test", "no_aaaa").no_aaaa.unwrap().zones[0].as_str(),
            "a.test."
        );
        assert_eq!(
            good("no_aaaa b.test c.test").no_aaaa.unwrap().zones.len(),
            2
        );
        assert_eq!(bad("no_aaaa a..b").len(), 1);
        assert_eq!(bad("no_aaaa {\n x\n}").len(), 1);
    }
}
