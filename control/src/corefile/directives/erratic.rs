//! `erratic { drop [N]; truncate [N]; delay [N [DURATION]]; large }`: a server that is not to be
//! relied on, for tests of clients.

use std::time::Duration;

use martlet_engine::plugins::erratic::Faults;

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `erratic`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Erratic(pub Faults);

/// Of so many queries one, where the option says no number.
const EVERY: u64 = 2;
const WAIT: Duration = Duration::from_millis(100);
const OPTIONS: [&str; 4] = ["drop", "truncate", "delay", "large"];

impl Directive for Erratic {
    const NAME: &'static str = "erratic";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut drop = None;
        let mut faults = Faults {
            drop: 0,
            truncate: 0,
            delay: 0,
            wait: WAIT,
            large: false,
        };
        args.options(|option| {
            match option.name() {
                "drop" => drop = Some(every(option)?),
                "truncate" => faults.truncate = every(option)?,
                "delay" => {
                    faults.delay = every(option)?;
                    if let Some(wait) = option.next() {
                        faults.wait = wait.duration()?;
                    }
                }
                "large" => faults.large = true,
                _ => return Err(option.unknown(Self::NAME, &OPTIONS)),
            }
            Ok(())
        });
        let otherwise = if faults.delay > 0 || faults.truncate > 0 {
            0
        } else {
            EVERY
        };
        faults.drop = drop.unwrap_or(otherwise);
        Ok(Self(faults))
    }
}

fn every(option: &mut Args<'_>) -> Result<u64, Problem> {
    match option.next() {
        Some(number) => number.number::<u32>().map(u64::from),
        None => Ok(EVERY),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_options() {
        for (text, expected) in [
            ("erratic", (2, 0, 0, 100, false)),
            ("erratic {\n large\n}", (2, 0, 0, 100, true)),
            ("erratic\nerratic {\n drop 3\n}", (3, 0, 0, 100, false)),
            ("erratic {\n truncate\n}", (0, 2, 0, 100, false)),
            ("erratic {\n drop 3\n delay 4 50ms\n}", (3, 0, 4, 50, false)),
            ("erratic {\n drop 0\n}", (0, 0, 0, 100, false)),
        ] {
            let faults = good(text).erratic.unwrap().0;
            let wait = faults.wait.as_millis();
            let found = (
                faults.drop,
                faults.truncate,
                faults.delay,
                wait,
                faults.large,
            );
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_word() {
        for (text, expected) in [
            ("erratic x", "takes no argument"),
            ("erratic {\n drop -1\n}", "`-1` is not a number"),
            ("erratic {\n drop 1 2\n}", "takes no argument"),
            ("erratic {\n delay 1 x\n}", "is not a duration"),
            ("erratic {\n lose\n}", "has no option `lose`"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
