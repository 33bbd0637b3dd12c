//! Which names a rule is about.

use crate::pattern::Pattern;

/// How a name is compared with a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Form {
    /// They are equal.
    Exact,
    /// The name begins with it.
    Prefix,
    /// The name ends in it.
    Suffix,
    /// The name has it anywhere.
    Substring,
    /// The name matches the expression.
    Regex(Pattern),
}

/// Names that a rule is about. Names are compared as text, in lower case and with the dot at the
/// end, which is what rules are written for; octets of the wire form tell beforehand that most names
/// are not meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Matcher {
    form: Form,
    text: Box<str>,
    /// Octets that the wire form of every name has that matches; empty if nothing can be said.
    octets: Box<[u8]>,
}

/// A first look at a name: eight octets of its wire form, of either end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Screen {
    /// Of which end: the place in [`Ends`].
    end: usize,
    word: u64,
    /// Bits that count; none, if nothing can be said.
    mask: u64,
}

/// The first octets of a name behind its first length octet, and the last ones.
#[derive(Clone, Copy)]
pub(super) struct Ends([u64; 2]);

const WORD: usize = 8;

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
fn front(octets: &[u8]) -> u64 {
    let mut word = [0; WORD];
    let len = octets.len().min(WORD);
    word[..len].copy_from_slice(&octets[..len]);
    u64::from_be_bytes(word)
}

/// The last eight octets at most, the last in the lowest place.
fn back(octets: &[u8]) -> u64 {
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
                of_end().fold(0, |places, screen| places | Self::place(screen.word, mask));
        }
        sieve
    }

    #[inline]
    const fn place(word: u64, mask: u64) -> u64 {
        1 << ((word & mask).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
    }

    /// `false` if no screen lets a name with these ends pass.
    #[inline]
    pub(super) const fn passes(&self, ends: &Ends) -> bool {
        let [first, last] = ends.0;
        let first = Self::place(first, self.masks[0]) & self.places[0];
        let last = Self::place(last, self.masks[1]) & self.places[1];
        first | last != 0
    }
}

impl Matcher {
    /// What tells most names from those that match.
    pub(super) fn screen(&self) -> Screen {
        let bits = 8 * self.octets.len().min(WORD) as u32;
        if bits == 0 {
            return Screen::OPEN;
        }
        match self.form {
            Form::Exact | Form::Suffix => Screen {
                end: 1,
                word: back(&self.octets),
                mask: u64::MAX >> (64 - bits),
            },
            Form::Prefix => Screen {
                end: 0,
                word: front(&self.octets),
                mask: u64::MAX << (64 - bits),
            },
            Form::Substring | Form::Regex(_) => Screen::OPEN,
        }
    }

    /// Names that have `text` in this form. Of an expression, `text` is its source.
    pub fn new(form: Form, text: &str) -> Self {
        // In labels that need escapes text and wire form differ.
        let is_plain = !text.contains('\\');
        let labels = text.trim_end_matches('.').rsplit('.');
        let octets: Vec<u8> = match form {
            Form::Exact | Form::Suffix if is_plain && text.ends_with('.') => {
                let mut labels = labels.map(str::as_bytes).collect::<Vec<_>>();
                labels.reverse();
                let (first, rest) = labels
                    .split_first()
                    .map_or((&b""[..], &[][..]), |(f, r)| (*f, r));
                let mut octets = first.to_vec();
                for label in rest {
                    octets.push(label.len() as u8);
                    octets.extend(*label);
                }
                octets.push(0);
                octets
            }
            Form::Prefix if is_plain => text.split('.').next().unwrap_or_default().into(),
            Form::Substring if is_plain => {
                let longest = text.split('.').max_by_key(|part| part.len());
                longest.unwrap_or_default().into()
            }
            _ => Vec::new(),
        };
        Self {
            form,
            text: text.into(),
            octets: octets.into(),
        }
    }

    /// `false` if the name of this wire form (in lower case) cannot match.
    #[inline]
    pub(super) fn may_match(&self, wire: &[u8]) -> bool {
        if self.octets.is_empty() {
            return true;
        }
        match self.form {
            Form::Exact | Form::Suffix => wire.ends_with(&self.octets),
            Form::Prefix => wire
                .get(1..)
                .is_some_and(|wire| wire.starts_with(&self.octets)),
            Form::Substring => wire
                .windows(self.octets.len())
                .any(|part| *part == *self.octets),
            Form::Regex(_) => true,
        }
    }

    /// Whether the name matches.
    pub(super) fn is_match(&self, name: &str) -> bool {
        match &self.form {
            Form::Exact => *self.text == *name,
            Form::Prefix => name.starts_with(&*self.text),
            Form::Suffix => name.ends_with(&*self.text),
            Form::Substring => name.contains(&*self.text),
            Form::Regex(pattern) => pattern.is_match(name),
        }
    }

    /// The name with `to` in the place of what matched; `None` if it does not match.
    pub(super) fn replace(&self, name: &str, to: &str) -> Option<String> {
        match &self.form {
            Form::Exact => (*self.text == *name).then(|| to.to_owned()),
            Form::Prefix => Some(format!("{to}{}", name.strip_prefix(&*self.text)?)),
            Form::Suffix => Some(format!("{}{to}", name.strip_suffix(&*self.text)?)),
            Form::Substring => name
                .contains(&*self.text)
                .then(|| name.replace(&*self.text, to)),
            Form::Regex(pattern) => expand(pattern, name, to),
        }
    }

    /// The text, if names are compared with one at their end.
    pub(super) fn suffix(&self) -> Option<&str> {
        matches!(self.form, Form::Suffix).then_some(&*self.text)
    }
}

/// `to` with `{0}`, `{1}`… replaced by the groups of the match; `None` if there is no match. Groups
/// that took no part are empty.
pub(super) fn expand(pattern: &Pattern, name: &str, to: &str) -> Option<String> {
    let groups = pattern.captures(name)?;
    let mut result = to.to_owned();
    for (number, group) in groups.iter().enumerate() {
        let group = group.map_or("", |group| group.as_str());
        result = result.replace(&format!("{{{number}}}"), group);
    }
    Some(result)
}
