//! Zones that a plugin is for.

use crate::wire::FoldedName;
use crate::wire::name::count_labels;

/// Zones: lower-case wire names and the numbers of their labels, longest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Zones(Vec<(Box<[u8]>, usize)>);

impl Zones {
    /// These zones, in any order.
    pub fn new(zones: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        let zones = zones.into_iter();
        let mut zones = zones
            .map(|zone| {
                let labels = count_labels(&zone);
                (zone, labels)
            })
            .collect::<Vec<_>>();
        zones.sort_by_key(|(_, labels)| std::cmp::Reverse(*labels));
        Self(zones)
    }

    /// The longest zone that the name is in.
    #[inline]
    pub fn find(&self, name: &FoldedName) -> Option<&[u8]> {
        self.place(name).map(|place| &*self.0[place].0)
    }

    /// The place of that zone among [`Self::iter`].
    #[inline]
    pub fn place(&self, name: &FoldedName) -> Option<usize> {
        let mut zones = self.0.iter();
        zones.position(|(zone, labels)| name.labels_above(zone, *labels).is_some())
    }

    /// Whether the name is in any.
    #[inline]
    pub fn hold(&self, name: &FoldedName) -> bool {
        self.place(name).is_some()
    }

    /// Whether the zone of this wire name is in any.
    pub fn hold_wire(&self, name: &[u8]) -> bool {
        let labels = count_labels(name);
        let below = |(zone, own): &(Box<[u8]>, usize)| {
            let above = labels.checked_sub(*own)?;
            let at = (0..above).fold(0, |at, _| at + 1 + usize::from(name[at]));
            Some(name[at..] == **zone)
        };
        self.0.iter().any(|it| below(it) == Some(true))
    }

    /// The zones.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|(zone, _)| &**zone)
    }
}
