//! What the ends of a name tell of it at a glance: that it is none of those that a plugin is about.

/// A first look at a name: eight octets of its wire form, of either end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Screen {
    /// Of which end: the place in [`Ends`].
    pub(super) end: usize,
    pub(super) word: u64,
    /// Bits that count; none, if nothing can be said.
    pub(super) mask: u64,
}

/// The first octets of a name behind its first length octet, and the last ones.
#[derive(Clone, Copy)]
pub(super) struct Ends([u64; 2]);

/// Octets that are looked at.
pub(super) const WORD: usize = 8;

impl Ends {
    /// Of a name on the wire.
    #[inline]
    pub(super) fn of(wire: &[u8]) -> Self {
        let first = wire.get(1..).unwrap_or_default();
        let ends = [first.first_chunk(), wire.last_chunk()];
        if let [Some(first), Some(last)] = ends {
            return Self([u64::from_be_bytes(*first), u64::from_be_bytes(*last)]);
        }
        Self([front(first), back(wire)])
    }
}

/// At most eight octets, the first in the highest place.
pub(super) fn front(octets: &[u8]) -> u64 {
    let mut word = [0; WORD];
    let len = octets.len().min(WORD);
    word[..len].copy_from_slice(&octets[..len]);
    u64::from_be_bytes(word)
}

/// The last eight octets at most, the last in the lowest place.
pub(super) fn back(octets: &[u8]) -> u64 {
    let mut word = [0; WORD];
    let len = octets.len().min(WORD);
    word[WORD - len..].copy_from_slice(&octets[octets.len() - len..]);
    u64::from_be_bytes(word)
}

impl Screen {
    /// One that lets every name pass.
    pub(super) const OPEN: Self = Self {
        end: 0,
        word: 0,
        mask: 0,
    };

    /// `false` if the name with these ends cannot match.
    #[inline]
    pub(super) const fn passes(&self, ends: &Ends) -> bool {
        (ends.0[self.end] ^ self.word) & self.mask == 0
    }
}

/// A first look at a name for all rules at once: which of 64 places the rules' screens fall into.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sieve {
    /// Of either end.
    masks: [u64; 2],
    /// Of either end: bit n is a place that a screen falls into.
    places: [u64; 2],
}

impl Sieve {
    /// One that every name passes that one of these screens lets pass.
    pub(super) fn of(screens: &[Screen]) -> Self {
        let mut sieve = Self::default();
        for end in [0, 1] {
            let of_end = || screens.iter().filter(|screen| screen.end == end);
            // What all of them look at; all names fall into one place if that is nothing.
            let mask = of_end().fold(u64::MAX, |mask, screen| mask & screen.mask);
            sieve.masks[end] = mask;
            sieve.places[end] =
                of_end().fold(0, |places, screen| places | place(screen.word & mask));
        }
        sieve
    }

    /// `false` if no screen lets a name with these ends pass.
    #[inline]
    pub(super) const fn passes(&self, ends: &Ends) -> bool {
        let [first, last] = ends.0;
        let first = place(first & self.masks[0]) & self.places[0];
        let last = place(last & self.masks[1]) & self.places[1];
        first | last != 0
    }
}

/// One of 64 places, for which a word of equal octets is always the same.
#[inline]
const fn place(word: u64) -> u64 {
    1 << (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

/// The place of a name (its wire form) by its last octets, as the bit that stands for it.
#[inline]
pub(crate) fn place_of(name: &[u8]) -> u64 {
    place(back(name))
}

/// The places that names under this one may have.
pub(crate) fn places_under(name: &[u8]) -> u64 {
    if name.len() < WORD {
        // Their own octets are among the last.
        return u64::MAX;
    }
    place_of(name)
}
