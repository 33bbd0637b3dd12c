//! Owner names as queries carry them: folded to lower case, checked and cut into labels in one pass
//! over the packet.
//!
//! The buffer belongs to the worker and is filled again for every query, so a parse neither
//! allocates nor clears memory. The packet keeps the client's own spelling; replies copy the
//! question from there, which is how letter case is echoed.
//!
//! Folding works on sixteen octets at a time. Labels are hashed when somebody asks for their hash:
//! keys of the index are made of one or two labels, and those of the others would be for nothing.

mod folded;

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{LABEL_LEN_MAX, LABELS_MAX, NAME_LEN_MAX};

pub use folded::{Apex, Folded};

/// Octets that are folded at a time.
const CHUNK: usize = 16;
/// Octets before the name, so that its last chunk may begin before it does.
const FRONT: usize = CHUNK;
/// Octets past the longest name, so that labels can be read in whole chunks.
const SLACK: usize = CHUNK;
const BUFFER_LEN: usize = FRONT + NAME_LEN_MAX + 1 + SLACK;

/// Drawn once a process: colliding names cannot be prepared in advance by a tenant who may create
/// Services.
static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    use std::hash::{BuildHasher, RandomState};
    let seed = match FIXED_SEED.load(Ordering::Relaxed) {
        0 => RandomState::new().hash_one(0x6d61_7274_6c65_7400_u64),
        seed => seed,
    };
    Seeds(seed, seed.rotate_left(32) ^ 0xa076_1d64_78bd_642f)
});

/// One for each factor of the hash.
#[derive(Clone, Copy)]
struct Seeds(u64, u64);

static FIXED_SEED: AtomicU64 = AtomicU64::new(0);

/// Has names hashed the same way in every run, for tools that count instructions; a server must not
/// call it. Counts only before the first name is read, and 0 means a seed drawn at random.
pub fn fix_seed(seed: u64) {
    FIXED_SEED.store(seed, Ordering::Relaxed);
}

/// Why a name is not one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameError {
    /// The packet ended inside the name.
    Short,
    /// A label type other than a plain one. Compression can only point back, and there is nothing
    /// before a question.
    LabelType,
    /// More than 255 octets.
    TooLong,
}

/// An owner name in lower case, with the places of its labels.
#[derive(Clone)]
pub struct FoldedName {
    /// The name, from octet `FRONT` on.
    buffer: [u8; BUFFER_LEN],
    /// Where the labels' length octets stand in the name; the last one is that of the root label.
    starts: [u8; LABELS_MAX + 1],
    count: u8,
    seeds: Seeds,
}

impl Default for FoldedName {
    fn default() -> Self {
        Self {
            buffer: [0; BUFFER_LEN],
            starts: [0; LABELS_MAX + 1],
            count: 0,
            seeds: *SEEDS,
        }
    }
}

impl FoldedName {
    /// Reads the name at octet `at` of `packet` into this buffer and returns its length on the wire.
    ///
    /// On an error the buffer holds an unspecified but valid name.
    #[inline]
    pub fn parse(&mut self, packet: &[u8], at: usize) -> Result<usize, NameError> {
        let bytes = packet.get(at..).unwrap_or_default();
        let len = self.cut(bytes)?;
        if self.copy(&packet[..at + len], at).is_none() {
            let place = &mut self.buffer[FRONT..][..len];
            place.copy_from_slice(&bytes[..len]);
            place.make_ascii_lowercase();
        }
        Ok(len)
    }

    /// Finds the labels of the name that `bytes` begin with; returns its length.
    #[inline]
    fn cut(&mut self, bytes: &[u8]) -> Result<usize, NameError> {
        let within = &bytes[..bytes.len().min(NAME_LEN_MAX)];
        let mut at = 0;
        let mut count = 0;
        while let Some(&len) = within.get(at) {
            self.starts[count & LABELS_MAX] = at as u8;
            if !(1..=LABEL_LEN_MAX as u8).contains(&len) {
                if len == 0 {
                    self.count = count as u8;
                    return Ok(at + 1);
                }
                break;
            }
            at += 1 + usize::from(len);
            count += 1;
        }
        let error = match bytes.get(at) {
            _ if at >= NAME_LEN_MAX => NameError::TooLong,
            None => NameError::Short,
            Some(_) => NameError::LabelType,
        };
        (self.buffer[FRONT], self.starts[0], self.count) = (0, 0, 0);
        Err(error)
    }

    /// The whole name in lower case, root label included.
    #[inline]
    pub fn wire(&self) -> &[u8] {
        &self.buffer[FRONT..=FRONT + self.offset(self.label_count())]
    }

    /// The same, of a name that may only have been [`Self::fold`]ed.
    pub fn octets(&self) -> &[u8] {
        let name = &self.buffer[FRONT..];
        let mut end = 0;
        while let Some(&len @ 1..) = name.get(end) {
            end += 1 + usize::from(len);
        }
        name.get(..=end).unwrap_or(&[0])
    }

    /// The number of labels, the root not counted.
    pub const fn label_count(&self) -> usize {
        self.count as usize
    }

    /// Label number `index` from the left, without its length octet.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`Self::label_count`].
    #[inline]
    pub fn label(&self, index: usize) -> &[u8] {
        assert!(index < self.label_count(), "a label of the name");
        let at = FRONT + self.offset(index);
        &self.buffer[at + 1..][..usize::from(self.buffer[at])]
    }

    /// Label `index` and its hash, equal to [`label_hash`] of its octets.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`Self::label_count`].
    #[inline]
    pub fn label_and_hash(&self, index: usize) -> (&[u8], u32) {
        let (octets, hash) = self.span_and_hash(index, index);
        (octets, halve(hash))
    }

    /// The labels from `first` to `last` with the length octets between them, not the one before,
    /// and their hash, equal to [`span_hash`] of these octets.
    ///
    /// # Panics
    ///
    /// If there are no such labels.
    #[inline(always)]
    pub fn span_and_hash(&self, first: usize, last: usize) -> (&[u8], u64) {
        let octets = self.span(first, last);
        let at = FRONT + self.start(first) + 1;
        (octets, hash_in(&self.buffer, at, octets.len(), self.seeds))
    }

    /// The labels from `first` to `last`, as in [`Self::span_and_hash`].
    ///
    /// # Panics
    ///
    /// If there are no such labels.
    #[inline]
    pub fn span(&self, first: usize, last: usize) -> &[u8] {
        assert!(
            first <= last && last < self.label_count(),
            "labels of the name"
        );
        &self.buffer[FRONT + self.start(first) + 1..FRONT + self.start(last + 1)]
    }

    /// Octets of the name, by their places in it; unspecified ones if it has none there.
    ///
    /// # Panics
    ///
    /// If the range ends before it begins.
    #[inline(always)]
    pub fn part(&self, places: Range<u8>) -> &[u8] {
        &self.buffer[FRONT + usize::from(places.start)..FRONT + usize::from(places.end)]
    }

    /// Their hash, equal to [`span_hash`] of them.
    ///
    /// # Panics
    ///
    /// As [`Self::part`].
    #[inline(always)]
    pub fn hash_of(&self, places: Range<u8>) -> u64 {
        let len = self.part(places.clone()).len();
        hash_in(
            &self.buffer,
            FRONT + usize::from(places.start),
            len,
            self.seeds,
        )
    }

    /// As [`Self::offset`], for an index that was checked.
    #[inline]
    pub(crate) fn start(&self, index: usize) -> usize {
        usize::from(self.starts[index & LABELS_MAX])
    }

    /// A hash of the whole name.
    pub fn hash_all(&self) -> u64 {
        hash_in(&self.buffer, FRONT, self.wire().len(), self.seeds)
    }

    /// Where label `index` begins on the wire; the root label for `index == label_count()`.
    ///
    /// # Panics
    ///
    /// If `index` is above [`Self::label_count`].
    #[inline]
    pub fn offset(&self, index: usize) -> usize {
        assert!(index <= self.label_count(), "a label of the name");
        self.start(index)
    }

    /// How many labels stand left of `zone` (lower-case wire form), if the name is at or under it.
    #[inline]
    pub fn labels_above(&self, zone: &[u8], zone_labels: usize) -> Option<usize> {
        let above = self.label_count().checked_sub(zone_labels)?;
        if zone_labels == 0 {
            return Some(above); // Everything is under the root.
        }
        // It has as many labels as what is left of the name: where the octets are the same, both end.
        let at = FRONT + self.start(above);
        let end = self.buffer.get(at..at + zone.len())?;
        is_same(end, zone).then_some(above)
    }

    /// Label `index` with its length octet, as far as it goes, and what comes behind it.
    ///
    /// # Panics
    ///
    /// If `index` is above [`Self::label_count`].
    #[inline(always)]
    pub fn chunk(&self, index: usize) -> &[u8; 4] {
        let at = FRONT + self.start(index);
        self.buffer[at..]
            .first_chunk()
            .expect("a name has slack behind it")
    }
}

impl fmt::Display for FoldedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_presentation(self.wire(), f)
    }
}

impl fmt::Debug for FoldedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes an uncompressed wire name in presentation format (RFC 1035 §5.1), root dot included.
pub fn write_presentation(wire: &[u8], f: &mut impl fmt::Write) -> fmt::Result {
    let mut rest = wire;
    if rest.first().is_none_or(|&len| len == 0) {
        return f.write_char('.');
    }
    while let Some((&len, tail)) = rest.split_first() {
        if len == 0 {
            break;
        }
        let (label, tail) = tail.split_at(usize::from(len).min(tail.len()));
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b' ' => {
                    write!(f, "\\{}", char::from(octet))?;
                }
                0x21..=0x7e => f.write_char(char::from(octet))?,
                _ => write!(f, "\\{octet:03}")?,
            }
        }
        f.write_char('.')?;
        rest = tail;
    }
    Ok(())
}

/// A name in presentation format, root dot included, that needs no heap.
pub struct NameText {
    octets: [u8; NAME_TEXT_MAX],
    len: usize,
}

/// Every octet may become a backslash and three digits.
const NAME_TEXT_MAX: usize = 4 * NAME_LEN_MAX;

impl NameText {
    /// The text of an uncompressed wire name.
    pub fn of(wire: &[u8]) -> Self {
        let mut text = Self {
            octets: [0; NAME_TEXT_MAX],
            len: 0,
        };
        // A name always fits.
        let _ = write_presentation(wire, &mut text);
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for NameText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = self.octets.get_mut(self.len..self.len + text.len());
        place.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// Turns a name in presentation format (RFC 1035 §5.1), escapes included, into wire form; letter
/// case stays. `None` if a label is empty or too long, or the name is.
pub fn wire_from_presentation(text: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    let mut rest = text.as_bytes();
    if text == "." {
        rest = &[];
    }
    while !rest.is_empty() {
        let length_at = wire.len();
        wire.push(0);
        loop {
            match *rest {
                [] => break,
                [b'.', ref tail @ ..] => {
                    rest = tail;
                    break;
                }
                [
                    b'\\',
                    h @ b'0'..=b'2',
                    t @ b'0'..=b'9',
                    u @ b'0'..=b'9',
                    ref tail @ ..,
                ] => {
                    let digit = |octet: u8| u32::from(octet - b'0');
                    wire.push(u8::try_from(digit(h) * 100 + digit(t) * 10 + digit(u)).ok()?);
                    rest = tail;
                }
                [b'\\', octet, ref tail @ ..] | [octet, ref tail @ ..] => {
                    wire.push(octet);
                    rest = tail;
                }
            }
        }
        let len = wire.len() - length_at - 1;
        if len == 0 || len > LABEL_LEN_MAX {
            return None;
        }
        wire[length_at] = len as u8;
    }
    wire.push(0);
    (wire.len() <= NAME_LEN_MAX).then_some(wire)
}

/// Turns a name in presentation format without escapes (`cluster.local`, `cluster.local.`, `.`)
/// into lower-case wire form. `None` if a label is empty or too long, or the name is.
pub fn wire_from_text(text: &str) -> Option<Box<[u8]>> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    append_labels(&mut wire, text)?;
    wire.push(0);
    (wire.len() <= NAME_LEN_MAX).then(|| wire.into_boxed_slice())
}

/// Appends the labels of `text` in lower-case wire form, without a root label.
pub fn append_labels(wire: &mut Vec<u8>, text: &str) -> Option<()> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Some(());
    }
    for label in text.split('.') {
        if label.is_empty() || label.len() > LABEL_LEN_MAX {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    Some(())
}

/// The name that PTR records of an address stand at, in wire form (RFC 1035 §3.5, RFC 3596 §2.5).
pub fn reverse_of(address: IpAddr) -> Vec<u8> {
    let (labels, zone): (Vec<String>, &[u8]) = match address {
        IpAddr::V4(v4) => {
            let octets = v4.octets();
            let labels = octets.iter().rev().map(ToString::to_string);
            (labels.collect(), b"\x07in-addr\x04arpa\x00")
        }
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let nibbles = octets.iter().rev().flat_map(|it| [it & 15, it >> 4]);
            let labels = nibbles.map(|nibble| format!("{nibble:x}"));
            (labels.collect(), b"\x03ip6\x04arpa\x00")
        }
    };
    let mut wire = Vec::with_capacity(NAME_LEN_MAX);
    for label in labels {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.extend(zone);
    wire
}

/// The number of labels of an uncompressed wire name, the root not counted.
pub fn count_labels(wire: &[u8]) -> usize {
    let mut at = 0;
    let mut count = 0;
    while let Some(&len @ 1..) = wire.get(at) {
        at += 1 + usize::from(len);
        count += 1;
    }
    count
}

/// The hash that [`FoldedName`] gives a label of these octets (which must be in lower case).
pub fn label_hash(label: &[u8]) -> u32 {
    halve(span_hash(label))
}

/// The hash that [`FoldedName::span_and_hash`] has for lower-case octets such as these.
pub fn span_hash(octets: &[u8]) -> u64 {
    let mut padded = [0; NAME_LEN_MAX + 1 + SLACK];
    let len = octets.len().min(NAME_LEN_MAX);
    padded[..len].copy_from_slice(&octets[..len]);
    hash_in(&padded, 0, len, *SEEDS)
}

/// One 64-bit hash from those of the labels of a key, in their order.
pub const fn combine(left: u32, right: u32) -> u64 {
    fold_multiply((left as u64) << 32 | right as u64, 0x9e37_79b9_7f4a_7c15)
}

/// Hashes `buffer[at..at + len]`, sixteen octets a step. Needs `SLACK` readable octets after them.
///
/// Both factors have a part of the seed in them, so that nobody can choose octets that make one zero.
#[inline(always)]
fn hash_in(buffer: &[u8], at: usize, len: usize, seeds: Seeds) -> u64 {
    let mut hash = seeds.0 ^ len as u64;
    let mix = |hash: u64, words: u128| {
        let (low, high) = (words as u64, (words >> 64) as u64);
        fold_multiply(hash ^ low, seeds.1 ^ high)
    };
    let (mut at, mut left) = (at, len);
    while left >= SLACK {
        hash = mix(hash, chunk_at(buffer, at));
        at += SLACK;
        left -= SLACK;
    }
    // What is behind the end does not count.
    mix(hash, chunk_at(buffer, at) & MASKS[left])
}

#[inline(always)]
fn chunk_at(buffer: &[u8], at: usize) -> u128 {
    let chunk = buffer[at..].first_chunk();
    u128::from_le_bytes(*chunk.expect("there is slack behind it"))
}

/// The first so many octets of a chunk.
const MASKS: [u128; SLACK] = {
    let mut masks = [0; SLACK];
    let mut len = 0;
    while len < SLACK {
        masks[len] = (1 << (len * 8)) - 1;
        len += 1;
    }
    masks
};

/// Whether two pieces are equal. Most have 8 to 32 octets, which takes less to compare than to call
/// `memcmp`, as `==` does.
#[inline]
pub(crate) fn is_same(left: &[u8], right: &[u8]) -> bool {
    /// Compares the first and the last octets, which may overlap.
    fn ends_are_same<const LEN: usize>(left: &[u8], right: &[u8]) -> bool {
        left.first_chunk::<LEN>() == right.first_chunk()
            && left.last_chunk::<LEN>() == right.last_chunk()
    }
    if left.len() != right.len() {
        return false;
    }
    match right.len() {
        8..=16 => ends_are_same::<8>(left, right),
        17..=32 => ends_are_same::<16>(left, right),
        _ => left == right,
    }
}

const fn halve(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

const fn fold_multiply(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64) ^ (product >> 64) as u64
}

/// Folds ASCII letters to lower case; written so that the compiler makes vector instructions of it.
#[inline]
fn fold(mut chunk: [u8; CHUNK]) -> [u8; CHUNK] {
    for octet in &mut chunk {
        let is_upper = octet.wrapping_sub(b'A') < 26;
        *octet |= u8::from(is_upper) << 5;
    }
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for label in text.split('.').filter(|label| !label.is_empty()) {
            out.push(label.len() as u8);
            out.extend(label.bytes());
        }
        out.push(0);
        out
    }

    #[test]
    fn names_are_folded_cut_and_hashed() {
        let mut name = FoldedName::default();
        let packet = wire("KuberNetes.DEFAULT.svc.cluster.local");
        assert_eq!(name.parse(&packet, 0), Ok(packet.len()));
        assert_eq!(name.wire(), wire("kubernetes.default.svc.cluster.local"));
        assert_eq!(name.label_count(), 5);
        assert_eq!(name.label(0), b"kubernetes");
        assert_eq!(
            name.label_and_hash(1),
            (&b"default"[..], label_hash(b"default"))
        );
        assert_ne!(label_hash(b"default"), label_hash(b"kubernetes"));
        let zone = wire_from_text("cluster.local").unwrap();
        assert_eq!(name.labels_above(&zone, 2), Some(3));
        assert_eq!(
            name.labels_above(&wire_from_text("luster.local").unwrap(), 2),
            None
        );
        assert_eq!(
            name.labels_above(&[0], 0),
            Some(5),
            "everything is under the root"
        );
        assert_eq!(name.to_string(), "kubernetes.default.svc.cluster.local.");
    }

    #[test]
    fn malformed_names_are_refused() {
        let long = wire(&["a".repeat(63).as_str(); 4].join("."));
        let fits = wire(&format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61)));
        let cases: &[(&str, &[u8], Result<usize, NameError>)] = &[
            ("empty", &[], Err(NameError::Short)),
            ("root", &[0, 9], Ok(1)),
            ("cut in a label", &[3, b'a'], Err(NameError::Short)),
            ("cut before the root", &[1, b'a'], Err(NameError::Short)),
            ("pointer", &[0xc0, 0x0c], Err(NameError::LabelType)),
            ("64 octets", &[64; 80], Err(NameError::LabelType)),
            ("256 octets and more", &long, Err(NameError::TooLong)),
            ("255 octets", &fits, Ok(255)),
        ];
        let mut name = FoldedName::default();
        for (what, packet, expected) in cases {
            assert_eq!(name.parse(packet, 0), *expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_parse_as_the_simple_way_does(packet in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut name = FoldedName::default();
            let simple = || -> Option<Vec<u8>> {
                let mut at = 0;
                loop {
                    let len = usize::from(*packet.get(at)?);
                    if len == 0 { break }
                    if len > 63 { return None }
                    at += 1 + len;
                    if at >= 255 { return None }
                }
                Some(packet[..=at].iter().map(u8::to_ascii_lowercase).collect())
            };
            match name.parse(&packet, 0) {
                Ok(len) => {
                    prop_assert_eq!(Some(name.wire().to_vec()), simple());
                    prop_assert_eq!(len, name.wire().len());
                    for label in 0..name.label_count() {
                        prop_assert_eq!(name.label_and_hash(label).1, label_hash(name.label(label)));
                    }
                }
                Err(_) => prop_assert_eq!(simple(), None),
            }
        }
    }
}
