//! `erratic`: answers that are lost, late or cut, for tests of clients.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::chain::{Context, Step};
use crate::gathered::Need;
use crate::wire::reply::Owner;
use crate::wire::{RType, Rcode, Reply, Section};

/// What is done to which queries; 0 for none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Faults {
    /// Every so many get no reply.
    pub drop: u64,
    /// Those whose number has none of these bits are marked as truncated, as in CoreDNS.
    pub truncate: u64,
    /// Every so many wait.
    pub delay: u64,
    /// So long.
    pub wait: Duration,
    /// A is answered with thirty records.
    pub large: bool,
}

/// One `erratic` of a block.
#[derive(Debug)]
pub struct Erratic {
    faults: Faults,
    /// Queries so far.
    count: AtomicU64,
}

const LARGE: usize = 30;

impl Erratic {
    /// With these faults, from the first query on.
    pub const fn new(faults: Faults) -> Self {
        let count = AtomicU64::new(0);
        Self { faults, count }
    }

    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let Faults {
            drop,
            truncate,
            delay,
            wait,
            large,
        } = self.faults;
        let hits = |every: u64, number: u64| every > 0 && number.is_multiple_of(every);
        let paused = context.gathered.and_then(|gathered| gathered.pause);
        let number = match paused {
            Some(number) => number,
            None => {
                let next = self.count.load(Ordering::Relaxed);
                let waits = hits(delay, next) && !hits(drop, next);
                if waits && context.gathered.is_none() {
                    // The slow path counts it.
                    return Step::Slow;
                }
                let number = self.count.fetch_add(1, Ordering::Relaxed);
                if waits {
                    context.need = Some(Need::Pause { wait, number });
                    return Step::Slow;
                }
                number
            }
        };
        if hits(drop, number) {
            return Step::Dropped;
        }
        let (times, octets): (usize, &[u8]) = match context.query.qtype {
            RType::A if large => (LARGE, &[192, 0, 2, 53]),
            RType::A => (1, &[192, 0, 2, 53]),
            RType::AAAA => (
                1,
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53],
            ),
            _ => return Step::Failed(Rcode::SERVFAIL, ""),
        };
        reply.set_authoritative();
        for _ in 0..times {
            let qtype = context.query.qtype;
            reply.record(Section::Answer, Owner::Question, qtype, 0, octets);
        }
        if truncate > 0 && number & truncate == 0 {
            reply.set_truncated();
        }
        Step::Answered
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chain::Stage;
    use crate::plugins::testing::ask;

    #[test]
    fn faults_come_by_number() {
        let faults = Faults {
            drop: 3,
            truncate: 2,
            delay: 0,
            wait: Duration::ZERO,
            large: false,
        };
        let stages = [Stage::Erratic(Arc::new(Erratic::new(faults)))];
        for (qtype, expected) in [
            (RType::A, "silence"),
            (RType::AAAA, "NOERROR aa tc | a.test. 0 AAAA 2001:db8::53"),
            (RType::A, "NOERROR aa | a.test. 0 A 192.0.2.53"),
            (RType::TXT, "silence"),
            (RType::TXT, "SERVFAIL"),
        ] {
            assert_eq!(ask(&stages, "a.test", qtype), expected);
        }
    }

    #[test]
    fn large_answers_have_thirty_records() {
        let faults = Faults {
            drop: 0,
            truncate: 0,
            delay: 0,
            wait: Duration::ZERO,
            large: true,
        };
        let stages = [Stage::Erratic(Arc::new(Erratic::new(faults)))];
        let found = ask(&stages, "a.test", RType::A);
        assert_eq!(found.matches("192.0.2.53").count(), 30, "{found}");
    }
}
