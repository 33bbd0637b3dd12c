//! Random numbers for what need not be secret.

/// A small generator for rotation and shuffling, one a worker (xorshift64*). Nothing that an
/// attacker could use depends on it.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator seeded from the system.
    pub fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(1_u8) | 1)
    }

    /// The next 32 random bits.
    pub const fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// A random number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        ((self.next() as u64 * bound as u64) >> 32) as usize
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
