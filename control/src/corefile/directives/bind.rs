//! `bind ADDRESS|INTERFACE… { except ADDRESS|INTERFACE… }`: where a server block listens.

use std::fmt;
use std::net::IpAddr;

use super::super::args::{Arg, Args};
use super::super::error::Problem;
use super::Directive;

/// One `bind`; a server block listens on what all of its `bind`s name together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bind {
    /// Where to listen; never empty.
    pub listen: Vec<Target>,
    /// What to leave out of `listen`, such as one address of an interface.
    pub except: Vec<Target>,
}

/// An address or an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// This address.
    Address(IpAddr),
    /// All addresses of the interface of this name. Whether it exists is known at the start.
    Interface(Box<str>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => fmt::Display::fmt(address, f),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

impl Directive for Bind {
    const NAME: &'static str = "bind";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut bind = Self {
            listen: targets(args)?,
            except: Vec::new(),
        };
        args.options(|option| match option.name() {
            // As in CoreDNS, the last line counts.
            "except" => targets(option).map(|targets| bind.except = targets),
            _ => Err(option.unknown(Self::NAME, &["except"])),
        });
        Ok(bind)
    }
}

fn targets(args: &mut Args<'_>) -> Result<Vec<Target>, Problem> {
    args.some("at least one address or interface")?
        .into_iter()
        .map(target)
        .collect()
}

fn target(argument: Arg<'_>) -> Result<Target, Problem> {
    let text = argument.text();
    match text.parse() {
        Ok(address) => Ok(Target::Address(address)),
        // No interface has such a name (dev_valid_name of Linux), so it is a mistyped address.
        Err(_) if text.is_empty() || text.len() > 15 || text.contains(['/', ':', ' ']) => {
            Err(argument.is_not("an IP address or the name of an interface"))
        }
        Err(_) => Ok(Target::Interface(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};
    use super::*;

    #[test]
    fn reads_targets() {
        let interface = |name: &str| Target::Interface(name.into());
        let address = |text: &str| Target::Address(text.parse().unwrap());
        let bind = good("bind 127.0.0.1 ::1 eth0\nbind lo {\n except 127.0.0.2\n}").bind;
        assert_eq!(
            bind,
            [
                Bind {
                    listen: vec![address("127.0.0.1"), address("::1"), interface("eth0")],
                    except: vec![],
                },
                Bind {
                    listen: vec![interface("lo")],
                    except: vec![address("127.0.0.2")]
                },
            ]
        );
    }

    #[test]
    fn refuses_the_rest() {
        for (text, expected) in [
            (
                "bind",
                "2:1: `bind` needs at least one address or interface",
            ),
            (
                "bind lo {\n except\n}",
                "3:2: `except` needs at least one address or interface",
            ),
            (
                "bind lo {\n expect x\n}",
                "3:2: `bind` has no option `expect`",
            ),
            (
                "bind 10.0.0.1:53",
                "2:6: `bind`: `10.0.0.1:53` is not an IP address or the name of an interface",
            ),
            (
                "bind fe80::1%eth0",
                "2:6: `bind`: `fe80::1%eth0` is not an IP address or the name of an interface",
            ),
        ] {
            assert_eq!(bad(text), [format!("Corefile:{expected}")], "{text}");
        }
    }
}
