//! `transfer [ZONES…] { to ADDRESS…|*; source ADDRESS }`: zones for secondaries.

use std::net::{IpAddr, SocketAddr};

use super::super::args::Args;
use super::super::error::{Problem, Reason};
use super::super::zone::ZoneName;
use super::Directive;
use super::forward::address;

/// `transfer`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transfer {
    /// The zones.
    pub zones: Vec<ZoneName>,
    /// Everybody may have them.
    pub to_all: bool,
    /// Who may have them otherwise.
    pub to: Vec<SocketAddr>,
    /// The address that secondaries are told of changes from.
    pub source: Option<IpAddr>,
}

const OPTIONS: [&str; 2] = ["to", "source"];

impl Directive for Transfer {
    const NAME: &'static str = "transfer";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut transfer = Self {
            zones: args.zones_or_block()?,
            to_all: false,
            to: Vec::new(),
            source: None,
        };
        args.options(|option| {
            match option.name() {
                "to" => {
                    for arg in option.some("an address or *")? {
                        if arg.text() == "*" {
                            transfer.to_all = true;
                            continue;
                        }
                        let to = address(arg.text(), 53);
                        let to = to.ok_or_else(|| {
                            arg.is_not("an IP address, a port with it or not, or *")
                        })?;
                        transfer.to.push(to);
                    }
                }
                "source" => transfer.source = Some(option.required("an address")?.ip()?),
                _ => return Err(option.unknown(Self::NAME, &OPTIONS)),
            }
            Ok(())
        });
        if !transfer.to_all && transfer.to.is_empty() {
            return Err(args.problem(Reason::MissingArgument {
                of: Self::NAME.into(),
                expected: "`to` with who may have the zones",
            }));
        }
        Ok(transfer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good_in};

    #[test]
    fn reads_who_may_have_which_zones() {
        let found = good_in(
            "a.test b.test",
            "transfer {\n to *\n}\ntransfer c.test {\n to 192.0.2.1 [2001:db8::1]:5353\n to 192.0.2.2:54\n source 192.0.2.9\n}",
        );
        let [all, some] = &*found.transfer else {
            panic!("two of them")
        };
        assert!(all.to_all && all.zones.len() == 2);
        let to: Vec<_> = some.to.iter().map(ToString::to_string).collect();
        assert_eq!(to, ["192.0.2.1:53", "[2001:db8::1]:5353", "192.0.2.2:54"]);
        assert!(!some.to_all && some.source.is_some() && some.zones.len() == 1);
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, expected) in [
            ("transfer", "`to`"),
            ("transfer {\n to\n}", "an address or *"),
            ("transfer {\n to nobody\n}", "`nobody`"),
            ("transfer {\n to *\n source x\n}", "`x`"),
            ("transfer {\n too *\n}", "no option `too`"),
        ] {
            let said = bad(text).concat();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
