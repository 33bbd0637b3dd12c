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
        let mut zones = self.0.iter();
        let found = zones.find(|(zone, labels)| name.labels_above(zone, *labels).is_some());
        found.map(|(zone, _)| &**zone)
    }

    /// Whether the name is in any.
    #[inline]
    pub fn hold(&self, name: &FoldedName) -> bool {
        self.find(name).is_some()
    }

    /// Whether the zone of this wire name is in any.
    pub fn hold_wire(&self, name: &[u8]) -> bool {
        let labels = count_labels(name);
        self.0
            .iter()
            .any(|(zone, own)| *own <= labels && name.ends_with(zone))
    }

    /// The zones.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|(zone, _)| &**zone)
    }
}
