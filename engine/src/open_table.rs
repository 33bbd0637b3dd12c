//! A hash table that many threads read without a lock while one writes: open addressing over an
//! [`EpochArray`].
//!
//! Each entry has six bits of its hash beside it. So a look-up knows which line of the table to fetch
//! as soon as it has the hash, and from that line which entry, before it reads either: look-ups of
//! several queries wait for memory together ([`crate::index`], [`crate::plugins::cache`]). That is what
//! no map that hides its slots can do.
//!
//! ```text
//! hash ─► places[hash], and those behind it:   nothing | entry + tag | GONE | …
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::epoch::{EpochArray, Pinned, View, Writer};

/// What such a table holds.
pub(crate) trait Hashed {
    /// The hash that it is found by. Equal keys have equal ones.
    fn hash(&self) -> u64;
}

/// The tag of a place whose entry was taken out. Searches go on behind it.
const GONE: usize = 1;
const PLACES_MIN: usize = 8;

/// The tag of entries with this hash: bits that do not choose the place.
#[inline]
const fn tag<T: Send + Sync + 'static>(hash: u64) -> usize {
    (hash >> (u64::BITS - EpochArray::<T>::TAG_BITS)) as usize
}

/// The table as one thread reads it. A third of its places is free at least.
pub(crate) struct Slots<'g, T>(View<'g, T>);

impl<'g, T: Send + Sync + 'static> Slots<'g, T> {
    /// Has the place fetched where an entry with this hash would be.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.0.prefetch(hash as usize);
    }

    /// The first entry whose hash looks like this one.
    #[inline]
    pub(crate) fn first(&self, hash: u64) -> Option<&'g T> {
        self.find(hash, |_| true).map(|(_, entry)| entry)
    }

    /// The first such entry that `is` right, and its place.
    #[inline]
    fn find(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<(usize, &'g T)> {
        let mut place = hash as usize;
        // Every array has free places, also those that were followed by others: it ends.
        loop {
            let held = self.0.get(place);
            match held.entry {
                None if held.tag != GONE => return None,
                Some(entry) if held.tag == tag::<T>(hash) && is(entry) => {
                    return Some((place, entry));
                }
                _ => place = place.wrapping_add(1),
            }
        }
    }
}

/// The table.
pub(crate) struct OpenTable<T: Send + Sync + 'static> {
    places: EpochArray<T>,
    /// Written by whoever may write to the array.
    entries: AtomicUsize,
    /// Places that are marked as left.
    gone: AtomicUsize,
}

impl<T: Send + Sync + 'static> Default for OpenTable<T> {
    fn default() -> Self {
        Self {
            places: EpochArray::new(PLACES_MIN),
            entries: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
        }
    }
}

impl<T: Hashed + Send + Sync + 'static> OpenTable<T> {
    /// The table, as long as the guard is kept.
    #[inline]
    pub(crate) fn slots<'g>(&self, guard: &'g Pinned) -> Slots<'g, T> {
        Slots(self.places.view(guard))
    }

    /// The entry with this hash that `is` right.
    pub(crate) fn get<'g>(
        &self,
        hash: u64,
        is: impl Fn(&T) -> bool,
        guard: &'g Pinned,
    ) -> Option<&'g T> {
        let found = self.slots(guard).find(hash, is);
        found.map(|(_, entry)| entry)
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Visits all entries.
    pub(crate) fn each(&self, visit: impl FnMut(&T)) {
        let guard = &Pinned::new();
        let view = self.places.view(guard);
        let entries = (0..view.places()).filter_map(|place| view.get(place).entry);
        entries.for_each(visit);
    }

    /// Puts in what is `made` of the entry that is there and `is` right, if there is one, in its place.
    pub(crate) fn put(
        &self,
        hash: u64,
        is: impl Fn(&T) -> bool,
        made: impl FnOnce(Option<&T>) -> T,
    ) {
        let guard = &Pinned::new();
        let mut writer = self.places.writer(guard);
        let known = Slots(writer.view()).find(hash, is);
        let new = made(known.map(|(_, entry)| entry));
        let place = known.map(|(place, _)| place);
        let place = place.unwrap_or_else(|| self.free_place(&mut writer, hash));
        writer.replace(place, Some(new), tag::<T>(hash));
    }

    /// A place for one more entry.
    fn free_place(&self, writer: &mut Writer<'_, T>, hash: u64) -> usize {
        let entries = self.len() + 1;
        let used = entries + self.gone.load(Ordering::Relaxed);
        if used * 3 > writer.view().places() * 2 {
            let len = (entries * 2).max(PLACES_MIN);
            writer.rebuild(len, |entry| entry.hash() as usize);
            self.gone.store(0, Ordering::Relaxed);
        }
        self.entries.store(entries, Ordering::Relaxed);
        let view = writer.view();
        let mut places = (0..view.places()).map(|step| (hash as usize).wrapping_add(step));
        let is_free = |place: &usize| view.get(*place).entry.is_none();
        let place = places.find(is_free).expect("a third of them is free");
        if view.get(place).tag == GONE {
            self.gone.fetch_sub(1, Ordering::Relaxed);
        }
        place
    }

    /// Takes out the entry with this hash that `is` right; `false` if there is none.
    pub(crate) fn remove(&self, hash: u64, is: impl Fn(&T) -> bool) -> bool {
        let guard = &Pinned::new();
        let mut writer = self.places.writer(guard);
        let found = Slots(writer.view()).find(hash, is);
        let place = found.map(|(place, _)| place);
        if let Some(place) = place {
            writer.replace(place, None, GONE);
            self.entries.fetch_sub(1, Ordering::Relaxed);
            self.gone.fetch_add(1, Ordering::Relaxed);
        }
        place.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use proptest::prelude::*;

    use super::*;

    /// Aligned as what the tables hold.
    #[repr(align(64))]
    struct Item {
        number: u64,
        value: u32,
        _counted: Arc<()>,
    }

    impl Hashed for Item {
        fn hash(&self) -> u64 {
            spread(self.number)
        }
    }

    /// Some numbers share a place, and some a tag.
    fn spread(number: u64) -> u64 {
        ((number % 7) << 60) | (number % 29)
    }

    #[derive(Default)]
    struct Items {
        table: OpenTable<Item>,
        counted: Arc<()>,
    }

    impl Items {
        fn put(&self, number: u64, value: u32) {
            let made = |_: Option<&Item>| Item {
                number,
                value,
                _counted: Arc::clone(&self.counted),
            };
            let is = |item: &Item| item.number == number;
            self.table.put(spread(number), is, made);
        }

        fn remove(&self, number: u64) -> bool {
            let is = |item: &Item| item.number == number;
            self.table.remove(spread(number), is)
        }

        fn get(&self, number: u64) -> Option<u32> {
            let guard = &Pinned::new();
            let is = |item: &Item| item.number == number;
            let found = self.table.get(spread(number), is, guard);
            found.map(|item| item.value)
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            steps in prop::collection::vec((0..40_u64, prop::option::weighted(0.7, any::<u32>())), 0..400),
        ) {
            let (items, mut map) = (Items::default(), HashMap::new());
            for (number, value) in steps {
                match value {
                    Some(value) => {
                        items.put(number, value);
                        map.insert(number, value);
                    }
                    None => prop_assert_eq!(items.remove(number), map.remove(&number).is_some()),
                }
                let table = &items.table;
                prop_assert_eq!(table.len(), map.len());
                let guard = &Pinned::new();
                let view = table.places.view(guard);
                prop_assert!(view.places() <= PLACES_MIN.max(map.len() * 8), "{}", view.places());
                let gone = (0..view.places()).filter(|&place| {
                    let held = view.get(place);
                    held.entry.is_none() && held.tag == GONE
                });
                prop_assert_eq!(gone.count(), table.gone.load(Ordering::Relaxed));
                for number in 0..40 {
                    prop_assert_eq!(items.get(number), map.get(&number).copied());
                }
            }
            let mut each = Vec::new();
            items.table.each(|item| each.push(item.value));
            let mut values: Vec<_> = map.into_values().collect();
            each.sort_unstable();
            values.sort_unstable();
            prop_assert_eq!(each, values);
        }
    }

    #[test]
    fn nothing_is_kept_for_ever() {
        let items = Items::default();
        for number in 0..1_000 {
            items.put(number % 300, 1);
        }
        for number in 0..100 {
            assert!(items.remove(number));
        }
        let counted = Arc::clone(&items.counted);
        drop(items);
        // Garbage of this thread waits for others, as other tests use the same collector.
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while Arc::strong_count(&counted) > 1 {
            assert!(std::time::Instant::now() < patience, "{counted:?}");
            Pinned::new().flush();
        }
    }

    #[test]
    fn readers_find_what_stays_while_others_come_and_go() {
        const STAYING: u64 = 50;
        let items = Items::default();
        for number in 0..STAYING {
            items.put(number, 1);
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers = [0, 1].map(|_| {
                scope.spawn(|| {
                    let mut missed = 0;
                    while !stop.load(Ordering::Relaxed) {
                        for number in 0..STAYING {
                            missed += usize::from(items.get(number).is_none_or(|value| value == 0));
                        }
                    }
                    missed
                })
            });
            for round in 0..300 {
                for number in 0..200 {
                    if number >= STAYING && round % 2 == 1 {
                        items.remove(number);
                    } else {
                        items.put(number, round + 1);
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
