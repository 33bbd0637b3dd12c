//! Which queries are looked at.
//!
//! Every 64th would not do: resolvers ask for A and AAAA in turn, and walk search lists of four or
//! eight names, so that a fixed step would always meet the same one of them.

/// Picks one query in [`Sampler::RATE`] on average, at random distances.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    /// Queries up to the next that is picked, itself included.
    left: u32,
    state: u64,
}

impl Sampler {
    /// How many queries one that is picked stands for.
    pub(super) const RATE: u32 = 64;

    /// A sampler whose distances depend on `seed` alone.
    pub(super) fn new(seed: u64) -> Self {
        let mut sampler = Self {
            left: 0,
            state: seed | 1, // Xorshift never leaves 0.
        };
        sampler.left = sampler.distance();
        sampler
    }

    /// Whether this query is picked. One decrement and a branch, when it is not.
    #[inline]
    pub(super) fn picks(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.left = self.distance();
        true
    }

    /// From 1 to `2 * RATE - 1`, each as likely, which makes `RATE` on average.
    #[cold]
    fn distance(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let high = self.state >> 32;
        // The product's upper half: below `2 * RATE - 1`, whatever `high` is.
        1 + ((high * u64::from(2 * Self::RATE - 1)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_the_rate_is_picked_whatever_the_order_of_queries() {
        let mut sampler = Sampler::new(0);
        let mut picked = [0_u32; 8]; // By the place in a pattern of eight.
        for n in 0..8 * 64 * 1_000 {
            picked[n % 8] += u32::from(sampler.picks());
        }
        // 1,000 each; the deviation is some 30.
        assert!(
            picked.iter().all(|n| (800..1_200).contains(n)),
            "{picked:?}"
        );
    }
}
