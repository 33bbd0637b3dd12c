//! Names that are read from their end: where the zone stands there, its labels are known, and only
//! those left of it are still to be found.

use super::{CHUNK, FRONT, FoldedName, count_labels, fold, is_same};
use crate::limits::{LABEL_LEN_MAX, LABELS_MAX};

/// Places of labels that are copied at once.
const STARTS: usize = 8;

/// A zone as the ends of names are held against it.
#[derive(Clone, Debug)]
pub struct Apex {
    /// Its lower-case wire name.
    wire: Box<[u8]>,
    labels: u8,
    /// Where its labels begin, that of the root included; what is behind them does not count.
    starts: u64,
}

impl Apex {
    /// The apex with this lower-case wire name. `None` for one of so many labels that no zone has them.
    pub fn new(wire: &[u8]) -> Option<Self> {
        let labels = count_labels(wire);
        let (mut starts, mut at) = ([0; STARTS], 0_u8);
        for start in starts.get_mut(..=labels)? {
            *start = at;
            at += 1 + wire[usize::from(at)];
        }
        Some(Self {
            wire: wire.into(),
            labels: labels as u8,
            starts: u64::from_le_bytes(starts),
        })
    }
}

/// A name in lower case whose labels nobody has looked for.
pub struct Folded<'n> {
    name: &'n mut FoldedName,
    len: u8,
}

impl FoldedName {
    /// Reads what stands from octet `at` of `packet` on and is `len` octets long into this buffer. Until
    /// [`Folded::cut`] has found that a name, or the next one is read, this holds unspecified octets.
    ///
    /// `None` if there are fewer octets, or so few that the general way may have them.
    #[inline]
    pub fn fold(&mut self, packet: &[u8], at: usize, len: u8) -> Option<Folded<'_>> {
        self.copy(packet.get(..at + usize::from(len))?, at)?;
        Some(Folded { name: self, len })
    }

    /// Copies what stands from octet `at` of `packet` on, which is no longer than a name, in lower case.
    /// `None` if `packet` is shorter than a chunk.
    // Length octets of labels are at most 63, below 'A', so they pass unchanged.
    #[inline(always)]
    pub(super) fn copy(&mut self, packet: &[u8], at: usize) -> Option<()> {
        let last = packet.last_chunk::<CHUNK>()?;
        let bytes = packet.get(at..)?;
        let places = self.buffer[FRONT..].as_chunks_mut::<CHUNK>().0;
        for (chunk, place) in bytes.as_chunks::<CHUNK>().0.iter().zip(places) {
            *place = fold(*chunk);
        }
        // The last chunk overlaps the one before it, or what stands before the name.
        let place = self.buffer.get_mut(FRONT + bytes.len() - CHUNK..)?;
        *place.first_chunk_mut()? = fold(*last);
        Some(())
    }
}

impl Folded<'_> {
    /// Whether it ends in these octets, which does not say that they are labels of it.
    #[inline]
    pub fn ends_with(&self, zone: &[u8]) -> bool {
        let Some(above) = usize::from(self.len).checked_sub(zone.len()) else {
            return false;
        };
        let end = self.name.buffer.get(FRONT + above..);
        end.and_then(|end| end.get(..zone.len()))
            .is_some_and(|end| is_same(end, zone))
    }

    /// As [`Self::ends_with`], for the name of a zone.
    #[inline]
    pub fn ends_in(&self, apex: &Apex) -> bool {
        self.ends_with(&apex.wire)
    }

    /// Finds the labels of a name that [`Self::ends_in`] this apex, and says how many stand left of it.
    /// `None` if it is not in the zone, or no name.
    #[inline]
    pub fn cut(self, apex: &Apex) -> Option<usize> {
        let Self { name, len } = self;
        let zone_at = len.checked_sub(apex.wire.len() as u8)?;
        let (mut at, mut above) = (0, 0);
        while at < usize::from(zone_at) {
            let label_len = name.buffer[FRONT + at];
            if !(1..=LABEL_LEN_MAX as u8).contains(&label_len) {
                return None;
            }
            // Labels of a name are fewer than this can count.
            name.starts[above & LABELS_MAX] = at as u8;
            at += 1 + usize::from(label_len);
            above += 1;
        }
        let places = name.starts.get_mut(above..above + STARTS)?;
        if at != usize::from(zone_at) {
            return None;
        }
        // None carries into the next one: no name is longer than an octet can say.
        let starts = apex.starts + u64::from(zone_at) * 0x0101_0101_0101_0101;
        places.copy_from_slice(&starts.to_le_bytes());
        name.count = above as u8 + apex.labels;
        Some(above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::wire_from_text;
    use proptest::prelude::*;

    #[test]
    fn zones_have_few_labels() {
        let made = |text: &str| Apex::new(&wire_from_text(text).unwrap()).is_some();
        for (text, expected) in [
            (".", true),
            ("a.b.c.d.e.f.g", true),
            ("a.b.c.d.e.f.g.h", false),
        ] {
            assert_eq!(made(text), expected, "{text}");
        }
    }

    const AT: usize = CHUNK;

    /// A name of these labels behind other octets.
    fn packet(labels: &[Vec<u8>], zone: &[u8]) -> Vec<u8> {
        let mut packet = vec![7; AT];
        for label in labels {
            packet.push(label.len() as u8);
            packet.extend(label);
        }
        packet.extend(zone);
        packet
    }

    proptest! {
        #[test]
        fn either_end_gives_the_same_name(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..7),
            zone in prop_oneof![Just("CLUSTER.local"), Just("a"), Just("."), Just("local")],
            cut in 0..4_usize,
            lie in 0..64_u8,
        ) {
            let mut sent = vec![0];
            if zone != "." {
                sent = zone.split('.').flat_map(|it| [&[it.len() as u8], it.as_bytes()].concat()).collect();
                sent.push(0);
            }
            let apex = Apex::new(&sent.to_ascii_lowercase()).unwrap();
            let mut packet = packet(&labels, &sent);
            // Sometimes a label is longer or shorter than it says, or something is missing.
            if cut == 3 && !labels.is_empty() {
                packet[AT] = lie;
            }
            if cut == 2 {
                packet.remove(AT);
            }
            let len = packet.len() - AT;
            let (mut forwards, mut backwards) = (FoldedName::default(), FoldedName::default());
            let parsed = forwards.parse(&packet, AT) == Ok(len);
            let in_zone = parsed.then(|| forwards.labels_above(&apex.wire, apex.labels.into())).flatten();
            let found = backwards.fold(&packet, AT, len as u8).and_then(|folded| {
                if folded.ends_in(&apex) { folded.cut(&apex) } else { None }
            });
            prop_assert_eq!(found, in_zone);
            if found.is_some() {
                prop_assert_eq!(forwards.wire(), backwards.wire());
                prop_assert_eq!(forwards.label_count(), backwards.label_count());
                for label in 0..=forwards.label_count() {
                    prop_assert_eq!(forwards.offset(label), backwards.offset(label));
                }
            }
        }
    }
}
