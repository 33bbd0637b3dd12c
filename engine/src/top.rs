//! Who asks, and for what: the busiest keys of a stream, in bounded memory.
//!
//! A [`Sketch`] is Space-Saving (Metwally, Agrawal, El Abbadi 2005): a fixed number of places, and a
//! key that has none takes over the one with the smallest count. A key that makes up more than one
//! in [`Sketch::PLACES`] of the stream has a place for sure, and no count is too small.
//!
//! It is meant for a sample of the queries, so a count walks over all places: that is simpler than
//! the usual linked buckets, and needs no memory beyond the places, which are there from the start.

mod sampler;
pub mod search;
mod window;

pub use window::{Busiest, HALF_LIFE, Observer, Window};

use std::fmt;

/// Longest key: a name on the wire (RFC 1035 §2.3.4).
const KEY_LEN_MAX: usize = 255;

/// The busiest keys of what has been counted.
pub struct Sketch {
    /// Apart from the keys, so that looking for one reads few cache lines.
    hashes: [u64; Self::PLACES],
    counts: [u32; Self::PLACES],
    /// At most how much of the count belongs to keys that had the place before.
    errors: [u32; Self::PLACES],
    keys: Box<[Key; Self::PLACES]>,
    /// Places in use: those before this one.
    used: usize,
}

#[derive(Clone, Copy)]
struct Key {
    len: u8,
    octets: [u8; KEY_LEN_MAX],
}

/// A key and how often it was counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Busy<'s> {
    /// As it was counted.
    pub key: &'s [u8],
    /// Never less than the true count, but that each [`Sketch::halve`] rounds down.
    pub count: u32,
    /// `count` is at most this much too large.
    pub error: u32,
}

impl Sketch {
    /// Keys that are kept.
    pub const PLACES: usize = 128;

    /// Counts a key once. `hash` is the key's, the same each time. A key of more than 255 octets is
    /// not counted; names and addresses are shorter.
    pub fn count(&mut self, key: &[u8], hash: u64) {
        let Ok(len) = u8::try_from(key.len()) else {
            return;
        };
        if let Some(place) = self.place_of(key, hash) {
            self.counts[place] = self.counts[place].saturating_add(1);
            return;
        }
        let (place, inherited) = if self.used < Self::PLACES {
            self.used += 1;
            (self.used - 1, 0)
        } else {
            self.smallest()
        };
        self.hashes[place] = hash;
        self.counts[place] = inherited.saturating_add(1);
        self.errors[place] = inherited;
        self.keys[place].len = len;
        self.keys[place].octets[..key.len()].copy_from_slice(key);
    }

    /// Halves all counts, so that what was busy long ago makes room. Keys whose count comes to
    /// nothing go.
    pub fn halve(&mut self) {
        let mut kept = 0;
        for place in 0..self.used {
            let count = self.counts[place] / 2;
            if count > 0 {
                self.hashes[kept] = self.hashes[place];
                self.counts[kept] = count;
                // Rounded up: half of an odd error must not promise more than is known.
                self.errors[kept] = self.errors[place].div_ceil(2).min(count);
                self.keys[kept] = self.keys[place];
                kept += 1;
            }
        }
        self.used = kept;
    }

    /// All keys that have a place, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Busy<'_>> {
        (0..self.used).map(|place| Busy {
            key: self.keys[place].as_slice(),
            count: self.counts[place],
            error: self.errors[place],
        })
    }

    /// Whether no key has a place.
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn place_of(&self, key: &[u8], hash: u64) -> Option<usize> {
        (0..self.used)
            .find(|&place| self.hashes[place] == hash && self.keys[place].as_slice() == key)
    }

    fn smallest(&self) -> (usize, u32) {
        let counts = self.counts.iter().copied().enumerate();
        counts.min_by_key(|&(_, count)| count).unwrap_or_default()
    }
}

impl Key {
    fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl Default for Sketch {
    fn default() -> Self {
        let none = Key {
            len: 0,
            octets: [0; KEY_LEN_MAX],
        };
        Self {
            hashes: [0; Self::PLACES],
            counts: [0; Self::PLACES],
            errors: [0; Self::PLACES],
            keys: Box::new([none; Self::PLACES]),
            used: 0,
        }
    }
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
