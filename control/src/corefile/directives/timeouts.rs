//! `timeouts { read|write|idle DURATION; maxtcpqueries N }`: how long connections may take for what.

use std::num::NonZeroU32;
use std::time::Duration;

use martlet_engine::plugins::timeouts;

use super::super::args::{Arg, Args};
use super::super::error::{Problem, Reason};
use super::{Directive, Second};

/// `timeouts`. What is not given is left to other server blocks on the same address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Timeouts {
    /// For the first query.
    pub read: Option<Duration>,
    /// For replies to be taken.
    pub write: Option<Duration>,
    /// For further queries.
    pub idle: Option<Duration>,
    /// Queries of a connection; `Some(None)` is no limit.
    pub queries_max: Option<Option<NonZeroU32>>,
}

const OPTIONS: [&str; 4] = ["read", "write", "idle", "maxtcpqueries"];

impl Directive for Timeouts {
    const NAME: &'static str = "timeouts";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut timeouts = Self::default();
        let mut is_empty = true;
        args.options(|option| {
            is_empty = false;
            let place = match option.name() {
                "read" => &mut timeouts.read,
                "write" => &mut timeouts.write,
                "idle" => &mut timeouts.idle,
                "maxtcpqueries" => {
                    let argument = option.required("a number of queries, or -1")?;
                    timeouts.queries_max = Some(queries(argument)?);
                    return Ok(());
                }
                _ => return Err(option.unknown(Self::NAME, &OPTIONS)),
            };
            *place = Some(duration(option.required("a duration")?)?);
            Ok(())
        });
        if is_empty {
            return Err(args.problem(Reason::MissingArgument {
                of: Self::NAME.into(),
                expected: "at least one of read, write, idle and maxtcpqueries",
            }));
        }
        Ok(timeouts)
    }
}

impl Timeouts {
    /// Changes what is given.
    pub fn apply(&self, to: &mut timeouts::Timeouts) {
        to.read = self.read.unwrap_or(to.read);
        to.write = self.write.unwrap_or(to.write);
        to.idle = self.idle.unwrap_or(to.idle);
        to.queries_max = self.queries_max.unwrap_or(to.queries_max);
    }
}

/// As in CoreDNS, a number without a unit is seconds.
fn duration(argument: Arg<'_>) -> Result<Duration, Problem> {
    let duration = match argument.text().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => argument.duration()?,
    };
    let day = Duration::from_secs(24 * 3_600);
    if duration < Duration::from_secs(1) || duration > day {
        return Err(argument.out_of("from 1 second to 24 hours"));
    }
    Ok(duration)
}

fn queries(argument: Arg<'_>) -> Result<Option<NonZeroU32>, Problem> {
    if argument.text() == "-1" {
        return Ok(None);
    }
    let queries = NonZeroU32::new(argument.number()?);
    queries
        .map(Some)
        .ok_or_else(|| argument.out_of("-1 or more than zero"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};
    use super::*;

    #[test]
    fn reads_its_options() {
        let seconds = Duration::from_secs;
        let mut applied = timeouts::Timeouts::default();
        for (text, expected) in [
            ("maxtcpqueries -1", (3, 5, 10, None)),
            ("read 5\n write 1m", (5, 60, 10, None)),
            ("maxtcpqueries 100", (5, 60, 10, Some(100))),
            ("idle 24h\n maxtcpqueries -1", (5, 60, 86_400, None)),
            ("idle 1s\n idle 2s", (5, 60, 2, None)),
        ] {
            let text = format!("timeouts {{\n {text}\n}}");
            good(&text).timeouts.unwrap().apply(&mut applied);
            let (read, write, idle, queries) = expected;
            let expected = timeouts::Timeouts {
                read: seconds(read),
                write: seconds(write),
                idle: seconds(idle),
                queries_max: queries.and_then(NonZeroU32::new),
            };
            assert_eq!(applied, expected, "{text}");
        }
        for (text, expected) in [
            ("timeouts", "`timeouts` needs at least one of"),
            ("timeouts {\n}", "`timeouts` needs at least one of"),
            ("timeouts x {\n read 1s\n}", "takes no argument `x`"),
            ("timeouts {\n read\n}", "`read` needs a duration"),
            ("timeouts {\n read x\n}", "is not a duration"),
            ("timeouts {\n read 1s 2s\n}", "takes no argument `2s`"),
            ("timeouts {\n read 25h\n}", "from 1 second to 24 hours"),
            ("timeouts {\n idle 0\n}", "from 1 second to 24 hours"),
            ("timeouts {\n maxtcpqueries\n}", "needs a number of queries"),
            ("timeouts {\n maxtcpqueries 0\n}", "must be -1 or more"),
            ("timeouts {\n maxtcpqueries -2\n}", "is not a number"),
            ("timeouts {\n reed 1s\n}", "has no option `reed`"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
