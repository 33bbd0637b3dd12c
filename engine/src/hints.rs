//! Where answers stand in memory, told to the processor before they are needed.
//!
//! On a large cluster an entry of the index is in no cache when it is looked up, and a worker would
//! wait for memory once or twice a query. But queries arrive in batches: a worker that reads all of
//! them first and has every entry fetched finds them there when it answers.
//!
//! The tables themselves do not say where an entry is without being walked, which is the wait that
//! we want to avoid. So whoever writes a table notes here where it put things. What stands here is
//! never followed, only prefetched: a note that is out of date, or that belongs to another key with
//! the same low bits, costs a little time and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::prefetch::prefetch;

/// Notes of where the values of a table are, by hash.
pub(crate) struct Hints {
    notes: Box<[Note]>,
}

/// Two places, as a value may be in two pieces.
#[derive(Default)]
struct Note([AtomicUsize; 2]);

/// Octets prefetched at each place: what the most frequent answers read there.
const REACH: usize = 128;

impl Hints {
    /// Room for `2.pow(bits)` notes.
    pub(crate) fn new(bits: u32) -> Self {
        let notes = (0..1_usize << bits).map(|_| Note::default());
        Self {
            notes: notes.collect(),
        }
    }

    fn note(&self, hash: u64) -> &Note {
        // The length is a power of two.
        &self.notes[hash as usize & (self.notes.len() - 1)]
    }

    /// Notes where the value for `hash` begins, and where its second piece does; 0 for none.
    pub(crate) fn put(&self, hash: u64, places: [usize; 2]) {
        for (note, place) in self.note(hash).0.iter().zip(places) {
            note.store(place, Ordering::Relaxed);
        }
    }

    /// Has the value for `hash` brought to this core, if it is known where it is.
    pub(crate) fn prefetch(&self, hash: u64) {
        for place in &self.note(hash).0 {
            let place = place.load(Ordering::Relaxed);
            if place != 0 {
                prefetch(place, REACH);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_place_may_be_noted_and_prefetched() {
        let hints = Hints::new(4);
        for place in [0, 1, 8, usize::MAX, std::ptr::from_ref(&hints) as usize] {
            hints.put(0x13, [place, place]);
            hints.prefetch(0x13);
            hints.prefetch(0x3); // The same note.
            hints.prefetch(0x14); // Nothing was noted.
        }
    }
}
