//! Look-ups in steps: each step of several queries is taken before the next one of the first of them,
//! so that what they read next is on its way from memory at the same time. In a large cluster no cache
//! of the processor holds the entries, and waiting for one takes longer than the rest of an answer.

use super::table::{ServiceKey, ServiceRef};
use super::{ClusterIndex, ServiceNode};
use crate::open_table::{Hashed, Slots};
use crate::sys::epoch::Pinned;
use crate::sys::prefetch::{LINE, prefetch};

/// What the table holds of a Service.
#[repr(C)]
pub(crate) struct Entry {
    pub(super) key: ServiceKey,
    pub(crate) node: ServiceNode,
}

const _: () = assert!(size_of::<Entry>() == 3 * LINE);

impl Hashed for Entry {
    fn hash(&self) -> u64 {
        self.key.name.key().hash
    }
}

/// The Services as one thread reads them.
pub(crate) struct Services<'p> {
    index: &'p ClusterIndex,
    slots: Slots<'p, Entry>,
    guard: &'p Pinned,
}

impl ClusterIndex {
    /// The Services, for look-ups in steps.
    #[inline]
    pub(crate) fn services<'p>(&'p self, pinned: &'p Pinned) -> Services<'p> {
        Services {
            index: self,
            slots: self.services.slots(pinned),
            guard: pinned,
        }
    }

    /// The entry of a Service.
    pub(super) fn find<'g>(&self, service: ServiceRef<'_>, guard: &'g Pinned) -> Option<&'g Entry> {
        let is = |entry: &Entry| entry.is_of(service.octets);
        self.services.get(service.hash, is, guard)
    }
}

impl<'p> Services<'p> {
    /// Whether they are those of this index.
    #[inline]
    pub(crate) fn are_of(&self, index: &ClusterIndex) -> bool {
        std::ptr::eq(self.index, index)
    }

    /// Has the slot fetched where a Service with this hash would be.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.slots.prefetch(hash);
    }

    /// The entry that has this hash most likely, unread but fetched; `None` if there is none. If it is
    /// for a `deep` answer, more than the Service's own addresses will be read.
    #[inline]
    pub(crate) fn likely(&self, hash: u64, deep: bool) -> Option<&'p Entry> {
        let entry = self.slots.first(hash)?;
        // The key, and what answers read of the node behind it.
        match deep {
            true => prefetch::<_, 3>(entry),
            false => prefetch::<_, 2>(entry),
        }
        Some(entry)
    }

    /// The entry of a Service.
    pub(crate) fn get(&self, service: ServiceRef<'_>) -> Option<&'p Entry> {
        self.index.find(service, self.guard)
    }
}

impl Entry {
    /// Whether it is that of the Service with these octets: [`ServiceRef::octets`].
    #[inline]
    pub(crate) fn is_of(&self, octets: &[u8]) -> bool {
        self.key.is(octets)
    }

    /// The node, if names of the Service are answered.
    #[inline]
    pub(crate) fn shown(&self) -> Option<&ServiceNode> {
        (self.key.is_exposed() && !self.node.is_hidden()).then_some(&self.node)
    }
}
