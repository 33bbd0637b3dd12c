//! Counts that workers keep for themselves and readers add up: no cache line is written by two.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::respond::Tally;

/// One writer's published counts.
#[derive(Debug, Default)]
pub struct Counters(CachePadded<[AtomicU64; Tally::LEN]>);

impl Counters {
    /// Publishes a worker's running totals. One writer only.
    pub(crate) fn publish(&self, tally: &Tally) {
        for (place, value) in self.0.iter().zip(tally.values()) {
            place.store(value, Ordering::Relaxed);
        }
    }

    /// Adds counts and sets them back; for places that several tasks write.
    pub(crate) fn add(&self, tally: &mut Tally) {
        for (place, value) in self.0.iter().zip(std::mem::take(tally).values()) {
            if value > 0 {
                place.fetch_add(value, Ordering::Relaxed);
            }
        }
    }

    /// These counts.
    pub(crate) fn tally(&self) -> Tally {
        let mut sum = [0; Tally::LEN];
        self.sum_into(&mut sum);
        Tally::from_values(&sum)
    }

    /// Adds these counts to `sum`.
    pub(crate) fn sum_into(&self, sum: &mut [u64; Tally::LEN]) {
        for (sum, place) in sum.iter_mut().zip(self.0.iter()) {
            *sum += place.load(Ordering::Relaxed);
        }
    }
}
