//! `hosts [FILE [ZONES…]] { ADDRESS NAME…; ttl SECONDS; no_reverse; reload DURATION; fallthrough
//! [ZONES…]; fallthrough_unsupported }`: answers from a hosts file and from lines in the Corefile.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::args::Args;
use super::super::error::{Problem, Reason};
use super::super::zone::ZoneName;
use super::Directive;
use super::kubernetes::Fallthrough;

/// `hosts`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosts {
    /// The file.
    pub path: PathBuf,
    /// What it is for.
    pub zones: Vec<ZoneName>,
    /// Lines of the Corefile: an address and its names.
    pub inline: Vec<(IpAddr, Vec<ZoneName>)>,
    /// In seconds.
    pub ttl: u32,
    /// Whether addresses lead to names.
    pub reverse: bool,
    /// How often the file is looked at; zero for once.
    pub reload: Duration,
    /// Which unknown names are left to the directives behind.
    pub fallthrough: Fallthrough,
    /// Whether types other than A, AAAA and PTR are left to them.
    pub fallthrough_unsupported: bool,
}

const PATH: &str = "/etc/hosts";
const TTL: u32 = 3_600;
const RELOAD: Duration = Duration::from_secs(5);
const OPTIONS: [&str; 5] = [
    "ttl",
    "no_reverse",
    "reload",
    "fallthrough",
    "fallthrough_unsupported",
];

impl Directive for Hosts {
    const NAME: &'static str = "hosts";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let path = args
            .next()
            .map_or_else(|| PathBuf::from(PATH), |path| path.path());
        let mut hosts = Self {
            path,
            zones: args.zones_or_block()?,
            inline: Vec::new(),
            ttl: TTL,
            reverse: true,
            reload: RELOAD,
            fallthrough: Fallthrough::None,
            fallthrough_unsupported: false,
        };
        args.options(|option| {
            match option.name() {
                "ttl" => {
                    let ttl = option.required("a number of seconds")?;
                    hosts.ttl = ttl.number()?;
                    if !(1..=65_535).contains(&hosts.ttl) {
                        return Err(ttl.out_of("from 1 to 65535"));
                    }
                    option.drop_rest();
                }
                "no_reverse" => hosts.reverse = false,
                "reload" => hosts.reload = option.required("a duration")?.duration()?,
                "fallthrough" => hosts.fallthrough = Fallthrough::parse(option)?,
                "fallthrough_unsupported" => hosts.fallthrough_unsupported = true,
                name => {
                    // The part of an address that names an interface is of no use in answers.
                    let address = name.split('%').next().unwrap_or_default();
                    let Ok(address) = address.parse::<IpAddr>() else {
                        return Err(option.unknown(Self::NAME, &OPTIONS));
                    };
                    let names = option.some("at least one name")?;
                    let names = names.into_iter().map(|name| name.name());
                    let names = names.collect::<Result<_, _>>()?;
                    hosts.inline.push((address.to_canonical(), names));
                }
            }
            Ok(())
        });
        if hosts.fallthrough_unsupported && hosts.fallthrough == Fallthrough::None {
            return Err(args.problem(Reason::Needs {
                option: "fallthrough_unsupported",
                needs: "fallthrough",
            }));
        }
        Ok(hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, good_in};
    use super::*;

    #[test]
    fn reads_options_and_lines() {
        let plain = good_in("a.test b.test", "hosts").hosts.unwrap();
        assert_eq!(plain.path, PathBuf::from("/etc/hosts"));
        assert_eq!(plain.zones.len(), 2);
        assert_eq!((plain.ttl, plain.reverse), (3_600, true));
        assert_eq!(plain.reload, Duration::from_secs(5));
        let full = good(
            "hosts /h c.test {\n 10.0.0.1 A.test b.test\n fd00::1%eth0 a.test\n ttl 60\n no_reverse\n \
             reload 0s\n fallthrough in-addr.arpa\n fallthrough_unsupported\n}",
        );
        let full = full.hosts.unwrap();
        let name = |text| ZoneName::parse(text).unwrap();
        assert_eq!(full.path, PathBuf::from("/h"));
        assert_eq!(full.zones, [name("c.test")]);
        assert_eq!(
            full.inline,
            [
                (
                    "10.0.0.1".parse().unwrap(),
                    vec![name("a.test"), name("b.test")]
                ),
                ("fd00::1".parse().unwrap(), vec![name("a.test")]),
            ]
        );
        assert_eq!((full.ttl, full.reverse), (60, false));
        assert_eq!(full.reload, Duration::ZERO);
        assert_eq!(
            full.fallthrough,
            Fallthrough::Zones(vec![name("in-addr.arpa")])
        );
        assert!(full.fallthrough_unsupported);
    }

    #[test]
    fn errors_name_the_word() {
        for (text, expected) in [
            ("hosts {\n ttl\n}", "`ttl` needs a number"),
            ("hosts {\n ttl 0\n}", "`ttl` must be from 1 to 65535"),
            ("hosts {\n reload 5\n}", "is not a duration"),
            ("hosts {\n no_reverse x\n}", "takes no argument"),
            (
                "hosts {\n falltrough\n}",
                "`hosts` has no option `falltrough`",
            ),
            ("hosts {\n 10.0.0.1\n}", "needs at least one name"),
            ("hosts {\n 10.0.0.1 a..b\n}", "a label is empty"),
            (
                "hosts {\n fallthrough_unsupported\n}",
                "needs `fallthrough`",
            ),
            ("hosts\nhosts", "may be given once"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
