//! Owner names as queries carry them: folded to lower case, checked, cut into labels and hashed in
//! one pass over the packet.
//!
//! The buffer belongs to the worker and is filled again for every query, so a parse neither
//! allocates nor clears memory. The packet keeps the client's own spelling; replies copy the
//! question from there, which is how letter case is echoed.
//!
//! Each label gets its hash while it is read. Keys of the index are made of one or two labels, so
//! their hashes are combined from what the pass left here and no byte is hashed twice.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{LABEL_LEN_MAX, LABELS_MAX, NAME_LEN_MAX};

/// Octets past the longest name, so that the last label can be read in whole words.
const SLACK: usize = 8;
const BUFFER_LEN: usize = NAME_LEN_MAX + 1 + SLACK;

/// Drawn once a process: colliding names cannot be prepared in advance by a tenant who may create
/// Services.
static SEED: LazyLock<u64> = LazyLock::new(|| {
    use std::hash::{BuildHasher, RandomState};
    match FIXED_SEED.load(Ordering::Relaxed) {
        0 => RandomState::new().hash_one(0x6d61_7274_6c65_7400_u64),
        seed => seed,
    }
});

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

#[derive(Clone, Copy, Default)]
struct Label {
    /// Where the label's length octet stands in `wire`.
    at: u8,
    len: u8,
    hash: u32,
}

/// An owner name in lower case, with its labels' places and hashes.
#[derive(Clone)]
pub struct FoldedName {
    wire: [u8; BUFFER_LEN],
    /// Octets in use, the root label included; 0 before the first parse.
    len: u8,
    count: u8,
    labels: [Label; LABELS_MAX],
}

impl Default for FoldedName {
    fn default() -> Self {
        Self {
            wire: [0; BUFFER_LEN],
            len: 1,
            count: 0,
            labels: [Label::default(); LABELS_MAX],
        }
    }
}

impl FoldedName {
    /// Reads the name at the start of `bytes` into this buffer and returns its length on the wire.
    ///
    /// On an error the buffer holds an unspecified but valid name.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<usize, NameError> {
        let seed = *SEED;
        // Everything that can belong to the name is folded first, in whole words. Length octets are
        // at most 63, below 'A', so they pass unchanged.
        let window = bytes.len().min(NAME_LEN_MAX + 1);
        let mut words = bytes[..window].chunks_exact(8);
        let mut at = 0;
        for word in &mut words {
            let word = u64::from_le_bytes(word.try_into().expect("chunks of eight"));
            self.wire[at..at + 8].copy_from_slice(&fold_word(word).to_le_bytes());
            at += 8;
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        let last = fold_word(u64::from_le_bytes(last));
        self.wire[at..at + 8].copy_from_slice(&last.to_le_bytes());

        match self.cut(window, seed) {
            Ok(len) => Ok(len),
            Err(error) => {
                (self.wire[0], self.len, self.count) = (0, 1, 0);
                Err(error)
            }
        }
    }

    /// Finds and hashes the labels in the first `window` octets of `wire`.
    fn cut(&mut self, window: usize, seed: u64) -> Result<usize, NameError> {
        let mut at = 0;
        let mut count = 0;
        loop {
            if at >= window {
                return Err(NameError::Short);
            }
            let len = usize::from(self.wire[at]);
            if len == 0 {
                break;
            }
            if len > LABEL_LEN_MAX {
                return Err(NameError::LabelType);
            }
            let end = at + 1 + len;
            if end >= NAME_LEN_MAX {
                return Err(NameError::TooLong);
            }
            if end > window {
                return Err(NameError::Short);
            }
            let hash = hash_in(&self.wire, at + 1, len, seed);
            self.labels[count] = Label {
                at: at as u8,
                len: len as u8,
                hash,
            };
            count += 1;
            at = end;
        }
        self.count = count as u8;
        self.len = (at + 1) as u8;
        Ok(at + 1)
    }

    /// The whole name in lower case, root label included.
    pub fn wire(&self) -> &[u8] {
        &self.wire[..usize::from(self.len)]
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
    pub fn label(&self, index: usize) -> &[u8] {
        let label = self.labels[..self.label_count()][index];
        &self.wire[usize::from(label.at) + 1..][..usize::from(label.len)]
    }

    /// The hash of label `index`, equal to [`label_hash`] of its octets.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`Self::label_count`].
    pub fn hash(&self, index: usize) -> u32 {
        self.labels[..self.label_count()][index].hash
    }

    /// Where label `index` begins on the wire; the root label for `index == label_count()`.
    pub fn offset(&self, index: usize) -> usize {
        if index < self.label_count() {
            usize::from(self.labels[index].at)
        } else {
            usize::from(self.len) - 1
        }
    }

    /// How many labels stand left of `zone` (lower-case wire form), if the name is at or under it.
    pub fn labels_above(&self, zone: &[u8], zone_labels: usize) -> Option<usize> {
        let above = self.label_count().checked_sub(zone_labels)?;
        (self.wire()[self.offset(above)..] == *zone).then_some(above)
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
    let mut padded = [0; LABEL_LEN_MAX + 1 + SLACK];
    let len = label.len().min(LABEL_LEN_MAX);
    padded[..len].copy_from_slice(&label[..len]);
    hash_in(&padded, 0, len, *SEED)
}

/// One 64-bit hash from those of the labels of a key, in their order.
pub const fn combine(left: u32, right: u32) -> u64 {
    fold_multiply((left as u64) << 32 | right as u64, 0x9e37_79b9_7f4a_7c15)
}

/// Hashes `buffer[at..at + len]`, eight octets a step. Needs `SLACK` readable octets after them.
fn hash_in(buffer: &[u8], at: usize, len: usize, seed: u64) -> u32 {
    let mut hash = seed ^ len as u64;
    let mut done = 0;
    while done < len {
        let word = &buffer[at + done..at + done + 8];
        let mut word = u64::from_le_bytes(word.try_into().expect("a slice of eight"));
        let left = len - done;
        if left < 8 {
            word &= (1 << (left * 8)) - 1;
        }
        hash = fold_multiply(hash ^ word, 0xa076_1d64_78bd_642f);
        done += 8;
    }
    (hash ^ (hash >> 32)) as u32
}

const fn fold_multiply(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64) ^ (product >> 64) as u64
}

/// Lower-cases eight ASCII octets at once: adds 0x20 to those from 'A' to 'Z'.
const fn fold_word(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * ONES);
    let above_z = low + (0x7f - b'Z' as u64) * ONES;
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let upper = (from_a & !above_z & !word & (0x80 * ONES)) >> 2;
    word | upper
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
        assert_eq!(name.parse(&packet), Ok(packet.len()));
        assert_eq!(name.wire(), wire("kubernetes.default.svc.cluster.local"));
        assert_eq!(name.label_count(), 5);
        assert_eq!(name.label(0), b"kubernetes");
        assert_eq!(name.hash(1), label_hash(b"default"));
        assert_ne!(name.hash(0), name.hash(1));
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
            assert_eq!(name.parse(packet), *expected, "{what}");
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
            match name.parse(&packet) {
                Ok(len) => {
                    prop_assert_eq!(Some(name.wire().to_vec()), simple());
                    prop_assert_eq!(len, name.wire().len());
                    for label in 0..name.label_count() {
                        prop_assert_eq!(name.hash(label), label_hash(name.label(label)));
                    }
                }
                Err(_) => prop_assert_eq!(simple(), None),
            }
        }
    }
}
