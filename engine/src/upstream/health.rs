//! What is known of a server: how quick it is, whether it is silent, whether it fails.
//!
//! Plain atomics, written by whichever thread hears something. Two threads may overwrite each
//! other's sample now and then; these are averages and lose nothing by it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a server is given before it has ever replied.
const PATIENCE_FIRST: Duration = Duration::from_millis(60);
/// Nobody is suspected sooner: a busy machine is late by itself.
const PATIENCE_MIN: Duration = Duration::from_millis(40);
/// Nobody is waited for longer without a look around.
const PATIENCE_MAX: Duration = Duration::from_millis(400);
/// How long a suspicion lasts that no probe confirms or clears.
const SUSPICION: Duration = Duration::from_secs(1);
/// Failures are a share of this.
const WHOLE: u32 = 1 << 16;
/// Replies before the share of failures means anything.
const SAMPLES_MIN: u32 = 16;

/// The clock's zero.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the process started, never 0.
fn micros(at: Instant) -> u64 {
    at.saturating_duration_since(*START).as_micros() as u64 + 1
}

/// How a server does.
#[derive(Debug, Default)]
pub struct Health {
    /// Failed probes in a row.
    fails: AtomicU32,
    probing: AtomicBool,
    /// When it last replied; 0 for never.
    heard_at: AtomicU64,
    /// Until when it is suspect.
    suspect_until: AtomicU64,
    /// Smoothed round-trip time and its deviation, in microseconds (RFC 6298 §2).
    rtt: AtomicU32,
    deviation: AtomicU32,
    /// An estimate of the 99th percentile of round-trip times, in microseconds.
    p99: AtomicU32,
    /// The share of SERVFAIL in its replies, of `WHOLE`, and how many replies there were.
    failing: AtomicU32,
    samples: AtomicU32,
    /// Probes that failed since the start.
    pub probe_failures: AtomicU64,
}

impl Health {
    /// A reply came after `rtt`; `failed` says that it was SERVFAIL.
    pub fn heard(&self, rtt: Duration, failed: bool) {
        self.heard_at
            .store(micros(Instant::now()), Ordering::Relaxed);
        self.suspect_until.store(0, Ordering::Relaxed);
        let sample = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX).max(1);
        let old = self.rtt.load(Ordering::Relaxed);
        if old == 0 {
            self.rtt.store(sample, Ordering::Relaxed);
            self.deviation.store(sample / 2, Ordering::Relaxed);
            self.p99.store(sample.saturating_mul(2), Ordering::Relaxed);
        } else {
            let toward = |old: u32, new: u32, shift: u32| {
                let step = (i64::from(new) - i64::from(old)) >> shift;
                (i64::from(old) + step).clamp(1, i64::from(u32::MAX)) as u32
            };
            let off = old.abs_diff(sample);
            let deviation = self.deviation.load(Ordering::Relaxed);
            self.deviation
                .store(toward(deviation, off, 2), Ordering::Relaxed);
            self.rtt.store(toward(old, sample, 3), Ordering::Relaxed);
            // One step up outweighs 99 steps down, so that it rests where one in 100 is above.
            let p99 = self.p99.load(Ordering::Relaxed);
            let step = (p99 >> 9).max(1);
            let moved = if sample > p99 {
                p99.saturating_add(step.saturating_mul(99))
            } else {
                p99.saturating_sub(step).max(1)
            };
            self.p99.store(moved, Ordering::Relaxed);
        }
        let share = self.failing.load(Ordering::Relaxed);
        let target = if failed { WHOLE } else { 0 };
        let moved = if target > share {
            share + (target - share) / 16
        } else {
            share - (share - target).div_ceil(16)
        };
        self.failing.store(moved, Ordering::Relaxed);
        self.samples.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether nothing came from it since `sent`.
    pub fn is_silent_since(&self, sent: Instant) -> bool {
        self.heard_at.load(Ordering::Relaxed) < micros(sent)
    }

    /// Notes that it does not reply. `true` if that is news.
    pub fn suspect(&self) -> bool {
        let until = micros(Instant::now() + SUSPICION);
        let before = self.suspect_until.swap(until, Ordering::Relaxed);
        before < micros(Instant::now())
    }

    /// Whether it was silent lately.
    pub fn is_suspect(&self) -> bool {
        self.suspect_until.load(Ordering::Relaxed) >= micros(Instant::now())
    }

    /// How long it may be silent before it is suspect.
    pub fn patience(&self) -> Duration {
        match self.rtt.load(Ordering::Relaxed) {
            0 => PATIENCE_FIRST,
            rtt => {
                let deviation = self.deviation.load(Ordering::Relaxed);
                let micros = u64::from(rtt) + 4 * u64::from(deviation);
                Duration::from_micros(micros).clamp(PATIENCE_MIN, PATIENCE_MAX)
            }
        }
    }

    /// A time that one reply in a hundred takes longer than; `None` before it is known.
    pub fn p99(&self) -> Option<Duration> {
        let known = self.samples.load(Ordering::Relaxed) >= SAMPLES_MIN;
        known.then(|| Duration::from_micros(self.p99.load(Ordering::Relaxed).into()))
    }

    /// The smoothed round-trip time; `None` before the first reply.
    pub fn rtt(&self) -> Option<Duration> {
        match self.rtt.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros.into())),
        }
    }

    /// Smaller is quicker. Who was never asked comes first, to be known.
    pub(super) fn rank(&self) -> u32 {
        self.rtt.load(Ordering::Relaxed)
    }

    /// Whether most of its replies are SERVFAIL.
    pub fn mostly_fails(&self) -> bool {
        self.samples.load(Ordering::Relaxed) >= SAMPLES_MIN
            && self.failing.load(Ordering::Relaxed) > WHOLE / 2
    }

    /// Whether more probes than `max_fails` have failed.
    pub fn is_down(&self, max_fails: u32) -> bool {
        max_fails > 0 && self.fails.load(Ordering::Relaxed) > max_fails
    }

    /// Claims the right to probe it; one task has it.
    pub(super) fn begin_probing(&self) -> bool {
        !self.probing.swap(true, Ordering::Relaxed)
    }

    /// Gives the right back.
    pub(super) fn end_probing(&self) {
        self.probing.store(false, Ordering::Relaxed);
    }

    /// A probe was answered: all is forgiven.
    pub(super) fn probe_succeeded(&self) {
        self.fails.store(0, Ordering::Relaxed);
        self.suspect_until.store(0, Ordering::Relaxed);
    }

    /// A probe was not answered: it stays suspect until one is.
    pub(super) fn probe_failed(&self) {
        self.fails.fetch_add(1, Ordering::Relaxed);
        self.probe_failures.fetch_add(1, Ordering::Relaxed);
        self.suspect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_makes_suspect_and_a_reply_clears() {
        let health = Health::default();
        let sent = Instant::now();
        assert!(health.is_silent_since(sent));
        assert!(health.suspect() && !health.suspect(), "news only once");
        assert!(health.is_suspect());
        std::thread::sleep(Duration::from_millis(1));
        health.heard(Duration::from_millis(2), false);
        assert!(!health.is_suspect() && !health.is_silent_since(sent));
    }

    #[test]
    fn patience_follows_round_trips_within_bounds() {
        let health = Health::default();
        assert_eq!(health.patience(), PATIENCE_FIRST);
        for (millis, expected) in [(1, PATIENCE_MIN), (2_000, PATIENCE_MAX)] {
            (0..100).for_each(|_| health.heard(Duration::from_millis(millis), false));
            assert_eq!(health.patience(), expected, "{millis} ms");
        }
    }

    #[test]
    fn the_p99_estimate_settles() {
        let health = Health::default();
        let mut random = crate::chain::Random::new();
        for _ in 0..100_000 {
            let micros = 1_000 + random.below(1_000) as u64;
            health.heard(Duration::from_micros(micros), false);
        }
        let p99 = health.p99().unwrap().as_micros();
        assert!((1_850..2_400).contains(&p99), "{p99}");
    }

    #[test]
    fn a_server_that_mostly_fails_is_told_apart() {
        let health = Health::default();
        (0..40).for_each(|n| health.heard(Duration::from_millis(1), n % 4 == 0));
        assert!(!health.mostly_fails());
        (0..40).for_each(|_| health.heard(Duration::from_millis(1), true));
        assert!(health.mostly_fails());
        (0..40).for_each(|_| health.heard(Duration::from_millis(1), false));
        assert!(!health.mostly_fails());
    }

    #[test]
    fn down_is_more_failed_probes_than_allowed() {
        let health = Health::default();
        for (failures, down) in [(1, false), (2, false), (3, true)] {
            health.probe_failed();
            assert_eq!(health.is_down(2), down, "{failures}");
            assert!(!health.is_down(0), "0 is never");
        }
        health.probe_succeeded();
        assert!(!health.is_down(2) && !health.is_suspect());
    }
}
