//! `loadbalance [round_robin | weighted FILE] { reload DURATION; prefer CIDR… }`: the order of
//! addresses in answers.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `loadbalance`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadBalance {
    /// How addresses are ordered.
    pub shuffle: Shuffle,
    /// Which addresses come first, whatever `shuffle` does; the first network that matches counts.
    pub prefer: Vec<IpNet>,
}

/// How addresses are ordered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Shuffle {
    /// `round_robin`: at random, in truth.
    #[default]
    Random,
    /// `weighted`: the first address is chosen by weight.
    Weighted {
        /// The file with the weights.
        file: PathBuf,
        /// How often it is read again; zero for never.
        reload: Duration,
    },
}

impl Directive for LoadBalance {
    const NAME: &'static str = "loadbalance";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut shuffle = Shuffle::default();
        let policies = [("round_robin", false), ("weighted", true)];
        let policy = args.next().map(|policy| policy.keyword(&policies));
        if policy.transpose()? == Some(true) {
            let file = args.required("a file with weights")?.path();
            shuffle = Shuffle::Weighted {
                file,
                reload: RELOAD,
            };
        }
        let mut prefer = Vec::new();
        args.options(|option| match (option.name(), &mut shuffle) {
            ("reload", Shuffle::Weighted { reload, .. }) => {
                *reload = option.required("a duration")?.duration()?;
                Ok(())
            }
            ("prefer", Shuffle::Random) => {
                for argument in option.rest() {
                    let network: IpNet = argument
                        .text()
                        .parse()
                        .map_err(|_| argument.is_not("a network, such as 10.0.0.0/8"))?;
                    prefer.push(network.trunc());
                }
                Ok(())
            }
            (_, Shuffle::Random) => Err(option.unknown(Self::NAME, &["prefer"])),
            (_, Shuffle::Weighted { .. }) => Err(option.unknown(Self::NAME, &["reload"])),
        });
        Ok(Self { shuffle, prefer })
    }
}

/// How often the weights are read again, if not given.
const RELOAD: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};
    use super::*;

    #[test]
    fn reads_policies() {
        let weighted = |seconds| Shuffle::Weighted {
            file: "/w".into(),
            reload: Duration::from_secs(seconds),
        };
        for (text, shuffle, prefer) in [
            ("loadbalance", Shuffle::Random, &[][..]),
            ("loadbalance round_robin", Shuffle::Random, &[]),
            (
                "loadbalance {\n prefer 10.1.2.3/8 fd00::/8\n}",
                Shuffle::Random,
                &["10.0.0.0/8", "fd00::/8"],
            ),
            ("loadbalance weighted /w", weighted(30), &[]),
            ("loadbalance weighted /w {\n reload 5s\n}", weighted(5), &[]),
        ] {
            let parsed = good(text).loadbalance.expect(text);
            let networks: Vec<_> = parsed.prefer.iter().map(IpNet::to_string).collect();
            assert_eq!(parsed.shuffle, shuffle, "{text}");
            assert_eq!(networks, prefer, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "loadbalance random",
            "loadbalance round_robin x",
            "loadbalance weighted",
            "loadbalance weighted a b",
            "loadbalance weighted a {\n reload\n}",
            "loadbalance weighted a {\n reload 5\n}",
            "loadbalance {\n reload 5s\n}",
            "loadbalance {\n prefer 10.0.0.1\n}",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
