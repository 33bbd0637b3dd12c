//! The table of Services: open addressing over an [`EpochArray`], read without a lock and written by
//! one thread at a time.
//!
//! Each entry has six bits of its hash beside it. So a look-up knows which line of the table to fetch
//! as soon as it has the hash, and from that line which entry, before it reads either: look-ups of
//! several queries wait for memory together ([`super::lookahead`]). That is what no map that hides its
//! slots can do.
//!
//! ```text
//! hash ─► places[hash], and those behind it:   nothing | entry + tag | GONE | …
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::epoch::{Guard, pin};

use super::ServiceNode;
use super::table::{ServiceKey, ServiceRef};
use crate::sys::epoch::{EpochArray, View};
use crate::sys::prefetch::LINE;

/// What the table holds of a Service.
#[repr(C)]
pub(crate) struct Entry {
    pub(super) key: ServiceKey,
    pub(crate) node: ServiceNode,
}

const _: () = assert!(size_of::<Entry>() == 3 * LINE);

/// The tag of a place whose entry was taken out. Searches go on behind it.
const GONE: usize = 1;
const PLACES_MIN: usize = 8;

/// The tag of entries with this hash: bits that do not choose the place.
#[inline]
const fn tag(hash: u64) -> usize {
    (hash >> (u64::BITS - EpochArray::<Entry>::TAG_BITS)) as usize
}

/// The table as one thread reads it. A third of its places is free at least.
pub(super) struct Slots<'g>(View<'g, Entry>);

impl<'g> Slots<'g> {
    /// Has the place fetched where an entry with this hash would be.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        self.0.prefetch(hash as usize);
    }

    /// The first entry whose hash looks like this one.
    #[inline]
    pub(super) fn first(&self, hash: u64) -> Option<&'g Entry> {
        self.find(hash, |_| true).map(|(_, entry)| entry)
    }

    /// The first such entry that `is` right, and its place.
    #[inline]
    fn find(&self, hash: u64, is: impl Fn(&Entry) -> bool) -> Option<(usize, &'g Entry)> {
        let mut place = hash as usize;
        // Every array has free places, also those that were followed by others: it ends.
        loop {
            let held = self.0.get(place);
            match held.entry {
                None if held.tag != GONE => return None,
                Some(entry) if held.tag == tag(hash) && is(entry) => return Some((place, entry)),
                _ => place = place.wrapping_add(1),
            }
        }
    }
}

/// The table.
pub(super) struct ServiceTable {
    places: EpochArray<Entry>,
    /// Written by whoever may write to the array.
    entries: AtomicUsize,
    /// Places that are marked as left.
    gone: AtomicUsize,
}

impl Default for ServiceTable {
    fn default() -> Self {
        Self {
            places: EpochArray::new(PLACES_MIN),
            entries: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
        }
    }
}

impl ServiceTable {
    /// The table, as long as the guard is kept.
    #[inline]
    pub(super) fn slots<'g>(&self, guard: &'g Guard) -> Slots<'g> {
        Slots(self.places.view(guard))
    }

    /// The entry of a Service.
    pub(super) fn get<'g>(&self, service: ServiceRef<'_>, guard: &'g Guard) -> Option<&'g Entry> {
        let is = |entry: &Entry| entry.key.is(service.octets);
        let found = self.slots(guard).find(service.hash, is);
        found.map(|(_, entry)| entry)
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Visits all entries.
    pub(super) fn each(&self, visit: impl FnMut(&Entry)) {
        let guard = &pin();
        let view = self.places.view(guard);
        let entries = (0..view.places()).filter_map(|place| view.get(place).entry);
        entries.for_each(visit);
    }

    /// Puts an entry in, for the one with this key if there is one.
    pub(super) fn put(&self, key: ServiceKey, node: ServiceNode) {
        let guard = &pin();
        let mut writer = self.places.writer(guard);
        let hash = key.name.key().hash;
        let known = Slots(writer.view()).find(hash, |other| other.key == key);
        let place = known.map(|(place, _)| place).unwrap_or_else(|| {
            let entries = self.len() + 1;
            let used = entries + self.gone.load(Ordering::Relaxed);
            if used * 3 > writer.view().places() * 2 {
                let len = (entries * 2).max(PLACES_MIN);
                writer.rebuild(len, |entry| entry.key.name.key().hash as usize);
                self.gone.store(0, Ordering::Relaxed);
            }
            self.entries.store(entries, Ordering::Relaxed);
            let view = writer.view();
            let is_free = |place: &usize| {
                let held = view.get(*place);
                held.entry.is_none() && held.tag != GONE
            };
            let mut places = (0..view.places()).map(|step| (hash as usize).wrapping_add(step));
            places.find(is_free).expect("a third of them is free")
        });
        writer.replace(place, Some(Entry { key, node }), tag(hash));
    }

    /// Takes the entry of a Service out.
    pub(super) fn remove(&self, service: ServiceRef<'_>) {
        let guard = &pin();
        let mut writer = self.places.writer(guard);
        let is = |entry: &Entry| entry.key.is(service.octets);
        let found = Slots(writer.view()).find(service.hash, is);
        if let Some((place, _)) = found {
            writer.replace(place, None, GONE);
            self.entries.fetch_sub(1, Ordering::Relaxed);
            self.gone.fetch_add(1, Ordering::Relaxed);
        }
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
            ports: Arc::default(),
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
                let places = table.places.view(guard).places();
                prop_assert!(places <= PLACES_MIN.max(map.len() * 8), "{}", places);
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
