//! `reload [INTERVAL] [JITTER]`: the Corefile is read again when it changes.

use std::time::Duration;

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `reload`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reload {
    /// How often the file is looked at; 30 s if not given.
    pub interval: Duration,
    /// By how much intervals differ between servers, at most half of `interval`; 15 s if not given.
    pub jitter: Duration,
}

impl Directive for Reload {
    const NAME: &'static str = "reload";
    const SECOND: Second = Second::Ignored;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let (mut interval, mut jitter) = (INTERVAL, JITTER);
        if let Some(argument) = args.next() {
            interval = argument.duration()?;
            if interval < INTERVAL_MIN {
                return Err(argument.out_of("at least 2s"));
            }
        }
        if let Some(argument) = args.next() {
            jitter = argument.duration()?;
            if !jitter.is_zero() && jitter < JITTER_MIN {
                return Err(argument.out_of("0 or at least 1s"));
            }
        }
        Ok(Self {
            interval,
            jitter: jitter.min(interval / 2),
        })
    }
}

const INTERVAL: Duration = Duration::from_secs(30);
const INTERVAL_MIN: Duration = Duration::from_secs(2);
const JITTER: Duration = Duration::from_secs(15);
const JITTER_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_durations() {
        for (text, interval, jitter) in [
            ("reload", 30, 15),
            ("reload 10s", 10, 5),
            ("reload 2s", 2, 1),
            ("reload 1m 10s", 60, 10),
            ("reload 1m 0s", 60, 0),
            ("reload 10s 1m", 10, 5),
            ("reload 10s\nreload 20s", 10, 5),
        ] {
            let reload = good(text).reload.expect(text);
            let seconds = (reload.interval.as_secs(), reload.jitter.as_secs());
            assert_eq!(seconds, (interval, jitter), "{text}");
        }
        for text in [
            "reload 1s",
            "reload 30",
            "reload 30s 10ms",
            "reload 30s 10s 5s",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
