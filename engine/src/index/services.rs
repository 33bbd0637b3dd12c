//! The table of Services: open addressing over pointers to entries, read without a lock and written
//! by one thread at a time.
//!
//! A slot is one word: where the entry is, and six bits of its hash in the pointer's low bits, which
//! are free because entries are aligned as the caches' lines are. So a look-up knows which line of the
//! table to fetch as soon as it has the hash, and from that line which entry, before it reads either:
//! look-ups of several queries wait for memory together ([`super::lookahead`]). That is what no map
//! that hides its slots can do.
//!
//! ```text
//! hash ─► slots[hash & mask], and those behind it:   0 | entry + tag | 0 + GONE | …
//! ```
//!
//! An entry is never changed, only replaced, and slots that are left stay marked until the next array.
//! What readers may still see is kept for them by [`crossbeam::epoch`].

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam::epoch::{Atomic, Guard, Owned, Shared, pin};

use super::ServiceNode;
use super::table::{ServiceKey, ServiceRef};
use crate::sys::prefetch::{LINE, prefetch};

/// What the table holds of a Service.
#[repr(C)]
pub(crate) struct Entry {
    pub(super) key: ServiceKey,
    pub(crate) node: ServiceNode,
}

/// Bits of a pointer that are free for the hash.
const TAG_BITS: u32 = align_of::<Entry>().trailing_zeros();
/// The tag of a slot whose entry was taken out. Searches go on behind it.
const GONE: usize = 1;
const SLOTS_MIN: usize = 8;

const _: () = assert!(size_of::<Entry>() == 3 * LINE);

/// Slots of a table; their number is a power of two, and a third of them is free at least.
pub(super) struct Slots(Box<[Atomic<Entry>]>);

impl Slots {
    fn new(len: usize) -> Self {
        Self((0..len).map(|_| Atomic::null()).collect())
    }

    #[inline]
    fn at(&self, place: usize) -> &Atomic<Entry> {
        &self.0[place & (self.0.len() - 1)]
    }

    /// Has the slots fetched where an entry with this hash would be.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch::<_, 1>(self.at(hash as usize));
    }

    /// The first entry whose hash looks like this one.
    #[inline]
    pub(super) fn first<'g>(&self, hash: u64, guard: &'g Guard) -> Option<&'g Entry> {
        self.find(hash, guard, |_| true).map(|(_, entry)| entry)
    }

    /// The first such entry that `is` right, and its place.
    #[inline]
    fn find<'g>(
        &self,
        hash: u64,
        guard: &'g Guard,
        is: impl Fn(&Entry) -> bool,
    ) -> Option<(usize, &'g Entry)> {
        // Every array has free slots, also those that were replaced: it ends.
        for place in places(hash) {
            let shared = self.at(place).load(Ordering::Acquire, guard);
            if shared.is_null() {
                match shared.tag() {
                    GONE => continue,
                    _ => return None,
                }
            }
            if shared.tag() != tag(hash) {
                continue;
            }
            // SAFETY: a slot that is not null points to an entry that `put` had made whole before it was
            // stored there with release ordering. An entry is given to `defer_destroy` once no slot of
            // the newest array leads to it, and so not freed before every guard that was there by then
            // is dropped; ours was, if an older array or an earlier load has led us here.
            let entry = unsafe { shared.deref() };
            if is(entry) {
                return Some((place, entry));
            }
        }
        unreachable!("places never end")
    }
}

/// The places to look at for this hash, in their order; [`Slots::at`] wraps them.
#[inline]
fn places(hash: u64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(hash as usize), |place| Some(place.wrapping_add(1)))
}

/// The tag of entries with this hash: bits that do not choose the slot.
#[inline]
const fn tag(hash: u64) -> usize {
    (hash >> (u64::BITS - TAG_BITS)) as usize
}

/// What only writers know.
#[derive(Default)]
struct Counts {
    entries: usize,
    /// Slots that are marked as left.
    gone: usize,
}

/// The table.
pub(super) struct ServiceTable {
    slots: Atomic<Slots>,
    counts: Mutex<Counts>,
}

impl Default for ServiceTable {
    fn default() -> Self {
        Self {
            slots: Atomic::new(Slots::new(SLOTS_MIN)),
            counts: Mutex::default(),
        }
    }
}

impl ServiceTable {
    /// The slots, as long as the guard is kept.
    #[inline]
    pub(super) fn slots<'g>(&self, guard: &'g Guard) -> &'g Slots {
        // SAFETY: the pointer is never null; what it leads to was made before it was stored with release
        // ordering, and is given to `defer_destroy` when another array has taken its place: it outlives
        // the guards of those who may have loaded it.
        unsafe { self.slots.load(Ordering::Acquire, guard).deref() }
    }

    /// The entry of a Service.
    pub(super) fn get<'g>(&self, service: ServiceRef<'_>, guard: &'g Guard) -> Option<&'g Entry> {
        let is = |entry: &Entry| entry.key.is(service.octets);
        let found = self.slots(guard).find(service.hash, guard, is);
        found.map(|(_, entry)| entry)
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.counts().entries
    }

    /// Visits all entries.
    pub(super) fn each(&self, mut visit: impl FnMut(&Entry)) {
        let guard = &pin();
        for slot in &self.slots(guard).0 {
            // SAFETY: as in `Slots::find`; null becomes `None`.
            if let Some(entry) = unsafe { slot.load(Ordering::Acquire, guard).as_ref() } {
                visit(entry);
            }
        }
    }

    /// Puts an entry in, for the one with this key if there is one.
    pub(super) fn put(&self, key: ServiceKey, node: ServiceNode) {
        let mut counts = self.counts();
        let guard = &pin();
        let (hash, entry) = (key.name.key().hash, Owned::new(Entry { key, node }));
        let entry = entry.with_tag(tag(hash));
        let is = |other: &Entry| entry.key == other.key;
        let slots = self.slots(guard);
        if let Some((place, _)) = slots.find(hash, guard, is) {
            let old = slots.at(place).swap(entry, Ordering::AcqRel, guard);
            // SAFETY: writers have the lock, so no slot of the newest array leads to the old one any more
            // and nobody else destroys it. It came from `Owned::new`.
            unsafe { guard.defer_destroy(old) };
            return;
        }
        counts.entries += 1;
        let used = counts.entries + counts.gone;
        let slots = if used * 3 > slots.0.len() * 2 {
            counts.gone = 0;
            self.grow(counts.entries, guard)
        } else {
            slots
        };
        fill(slots, hash, entry.into_shared(guard), guard);
    }

    /// Takes the entry of a Service out.
    pub(super) fn remove(&self, service: ServiceRef<'_>) {
        let mut counts = self.counts();
        let guard = &pin();
        let slots = self.slots(guard);
        let is = |entry: &Entry| entry.key.is(service.octets);
        if let Some((place, _)) = slots.find(service.hash, guard, is) {
            let gone = Shared::null().with_tag(GONE);
            let old = slots.at(place).swap(gone, Ordering::AcqRel, guard);
            // SAFETY: as in `put`.
            unsafe { guard.defer_destroy(old) };
            counts.entries -= 1;
            counts.gone += 1;
        }
    }

    /// Moves what there is to an array with room for so many entries and some more.
    fn grow<'g>(&self, entries: usize, guard: &'g Guard) -> &'g Slots {
        let new = Slots::new((entries * 2).next_power_of_two().max(SLOTS_MIN));
        for slot in &self.slots(guard).0 {
            let shared = slot.load(Ordering::Acquire, guard);
            // SAFETY: as in `Slots::find`.
            if let Some(entry) = unsafe { shared.as_ref() } {
                fill(&new, entry.key.name.key().hash, shared, guard);
            }
        }
        let new = Owned::new(new).into_shared(guard);
        let old = self.slots.swap(new, Ordering::AcqRel, guard);
        // SAFETY: the old array is not reached any more but by those who have loaded it. It came from
        // `Owned::new` or `Atomic::new`; dropping it leaves the entries alone.
        unsafe { guard.defer_destroy(old) };
        // It is large, so not one of those that wait for more garbage.
        guard.flush();
        self.slots(guard)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts an entry that is not there into a free slot.
fn fill(slots: &Slots, hash: u64, entry: Shared<'_, Entry>, guard: &Guard) {
    let is_free = |place: &usize| {
        let shared = slots.at(*place).load(Ordering::Relaxed, guard);
        shared.is_null() && shared.tag() != GONE
    };
    let place = places(hash).find(is_free);
    let place = place.expect("a third of the slots is free");
    slots.at(place).store(entry, Ordering::Release);
}

impl Drop for ServiceTable {
    fn drop(&mut self) {
        let guard = &pin();
        for slot in &self.slots(guard).0 {
            let entry = slot.load(Ordering::Relaxed, guard);
            if !entry.is_null() {
                // SAFETY: as in `put`; and nobody else has the table, so nobody comes to the entry from
                // here on.
                unsafe { guard.defer_destroy(entry) };
            }
        }
        let slots = self.slots.load(Ordering::Relaxed, guard);
        // SAFETY: the same.
        unsafe { guard.defer_destroy(slots) };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use proptest::prelude::*;

    use super::super::{Namespace, ServiceKind, ServiceName, ServiceParts};
    use super::*;

    fn name(namespace: &Arc<Namespace>, number: usize) -> Arc<ServiceName> {
        Arc::new(ServiceName::new(
            Arc::clone(namespace),
            &format!("s{number}"),
        ))
    }

    /// An entry that can be told from others by its TTL.
    fn node(ttl: u32) -> ServiceNode {
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        ServiceNode::build(ServiceParts {
            kind: ServiceKind::ClusterIp([address].into()),
            ports: Box::default(),
            slices: Box::default(),
            ttl,
            ignore_empty: false,
        })
    }

    fn ttl(entry: &Entry) -> u32 {
        let Some(super::super::Encoded::A([record])) = entry.node.encoded(crate::wire::RType::A)
        else {
            panic!("one address")
        };
        u32::from_be_bytes(*record[6..].first_chunk().unwrap())
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            steps in prop::collection::vec((0..40_usize, prop::option::weighted(0.7, any::<u32>())), 0..400),
        ) {
            let namespace = Arc::new(Namespace::new("default"));
            let (table, mut map) = (ServiceTable::default(), HashMap::new());
            for (number, value) in steps {
                let name = name(&namespace, number);
                match value {
                    Some(value) => {
                        table.put(ServiceKey::new(name), node(value));
                        map.insert(number, value);
                    }
                    None => {
                        table.remove(name.key());
                        map.remove(&number);
                    }
                }
                prop_assert_eq!(table.len(), map.len());
                let guard = &pin();
                let slots = table.slots(guard).0.len();
                prop_assert!(slots.is_power_of_two() && slots <= SLOTS_MIN.max(map.len() * 8), "{}", slots);
                for number in 0..40 {
                    let found = table.get(self::name(&namespace, number).key(), guard).map(ttl);
                    prop_assert_eq!(found, map.get(&number).copied());
                }
            }
            let mut each = Vec::new();
            table.each(|entry| each.push(ttl(entry)));
            let mut values: Vec<_> = map.into_values().collect();
            each.sort_unstable();
            values.sort_unstable();
            prop_assert_eq!(each, values);
        }
    }

    /// Entries count their namespace's owners while they live.
    #[test]
    fn nothing_is_kept_for_ever() {
        let namespace = Arc::new(Namespace::new("default"));
        let table = ServiceTable::default();
        for number in 0..1_000 {
            table.put(ServiceKey::new(name(&namespace, number % 300)), node(1));
        }
        for number in 0..100 {
            table.remove(name(&namespace, number).key());
        }
        drop(table);
        // Garbage of this thread waits for others, as other tests use the same collector.
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while Arc::strong_count(&namespace) > 1 {
            assert!(std::time::Instant::now() < patience, "{namespace:?}");
            pin().flush();
        }
    }

    #[test]
    fn readers_find_what_stays_while_others_come_and_go() {
        const STAYING: usize = 50;
        let namespace = Arc::new(Namespace::new("default"));
        let table = ServiceTable::default();
        for number in 0..STAYING {
            table.put(ServiceKey::new(name(&namespace, number)), node(1));
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers = [0, 1].map(|_| {
                scope.spawn(|| {
                    let names: Vec<_> = (0..STAYING)
                        .map(|number| name(&namespace, number))
                        .collect();
                    let mut missed = 0;
                    while !stop.load(Ordering::Relaxed) {
                        for name in &names {
                            let guard = &pin();
                            let found = table.get(name.key(), guard);
                            missed += usize::from(found.is_none_or(|entry| ttl(entry) == 0));
                        }
                    }
                    missed
                })
            });
            for round in 0..300 {
                for number in 0..200 {
                    let name = name(&namespace, number);
                    if number >= STAYING && round % 2 == 1 {
                        table.remove(name.key());
                    } else {
                        table.put(ServiceKey::new(name), node(round + 1));
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), 0);
            }
        });
    }
}
