//! Directives of CoreDNS that are read, checked, and have nothing to do here, because the server does
//! by itself what they ask for. `PLUGINS.md` says of each what that is.

use std::time::Duration;

use super::super::args::Args;
use super::super::error::{Problem, Reason};
use super::{Directive, Second};

/// `cancel [DURATION]`: how long a query may take.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cancel;

impl Directive for Cancel {
    const NAME: &'static str = "cancel";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        if let Some(argument) = args.next()
            && argument.duration()?.is_zero()
        {
            return Err(argument.out_of("more than zero"));
        }
        Ok(Self)
    }
}

/// `metadata [ZONES…]`: labels of queries, which other plugins give.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Metadata;

impl Directive for Metadata {
    const NAME: &'static str = "metadata";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        args.zones()?;
        Ok(Self)
    }
}

/// `multisocket [N]`: how many sockets an address has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Multisocket;

impl Directive for Multisocket {
    const NAME: &'static str = "multisocket";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        if let Some(argument) = args.next()
            && !(1..=1_024).contains(&argument.number::<u16>()?)
        {
            return Err(argument.out_of("from 1 to 1024"));
        }
        Ok(Self)
    }
}

/// `shed`: what is done when there are more queries than can be answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Shed;

impl Directive for Shed {
    const NAME: &'static str = "shed";
    const SECOND: Second = Second::Ignored;

    fn parse(_args: &mut Args<'_>) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// `timeouts { read|write|idle DURATION; maxtcpqueries N }`: how long connections may be silent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Timeouts;

impl Directive for Timeouts {
    const NAME: &'static str = "timeouts";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut is_empty = true;
        args.options(|option| {
            is_empty = false;
            match option.name() {
                "read" | "write" | "idle" => {
                    let argument = option.required("a duration")?;
                    // As in CoreDNS, a number without a unit is seconds.
                    let duration = match argument.text().parse() {
                        Ok(seconds) => Duration::from_secs(seconds),
                        Err(_) => argument.duration()?,
                    };
                    let hour = Duration::from_secs(3_600);
                    if duration < Duration::from_secs(1) || duration > 24 * hour {
                        return Err(argument.out_of("from 1 second to 24 hours"));
                    }
                }
                "maxtcpqueries" => {
                    let argument = option.required("a number of queries, or -1")?;
                    if argument.text() != "-1" && argument.number::<u32>()? == 0 {
                        return Err(argument.out_of("-1 or more than zero"));
                    }
                }
                _ => {
                    let known = ["read", "write", "idle", "maxtcpqueries"];
                    return Err(option.unknown(Self::NAME, &known));
                }
            }
            option.warn(format!(
                "`{}` has no effect: martlet has limits of its own for connections",
                option.name()
            ));
            Ok(())
        });
        if is_empty {
            return Err(args.problem(Reason::MissingArgument {
                of: Self::NAME.into(),
                expected: "at least one of read, write, idle and maxtcpqueries",
            }));
        }
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, warnings};

    #[test]
    fn right_forms_are_taken() {
        for text in [
            "cancel",
            "cancel 1s",
            "metadata",
            "metadata a.test b.test",
            "multisocket",
            "multisocket 1024",
            "shed",
            "timeouts {\n read 5\n write 1m\n idle 24h\n maxtcpqueries -1\n}",
            "timeouts {\n maxtcpqueries 100\n}",
        ] {
            good(text);
        }
        assert_eq!(warnings("timeouts {\n read 5s\n idle 1m\n}").len(), 2);
    }

    #[test]
    fn wrong_ones_are_told() {
        for (text, expected) in [
            ("cancel x", "is not a duration"),
            ("cancel 0s", "must be more than zero"),
            ("cancel 1s 1s", "takes no argument"),
            ("metadata a..b", "a label is empty"),
            ("multisocket 0", "must be from 1 to 1024"),
            ("multisocket 1025", "must be from 1 to 1024"),
            ("multisocket 1 2", "takes no argument"),
            ("shed x", "takes no argument"),
            ("timeouts", "`timeouts` needs at least one of"),
            ("timeouts {\n read\n}", "`read` needs a duration"),
            (
                "timeouts {\n read 25h\n}",
                "must be from 1 second to 24 hours",
            ),
            ("timeouts {\n maxtcpqueries 0\n}", "must be -1 or more"),
            ("timeouts {\n reed 1s\n}", "has no option `reed`"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
