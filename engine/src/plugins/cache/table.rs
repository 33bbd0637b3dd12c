//! The cache's table: read by workers without a lock, bounded, and written by the slow path.
//!
//! Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP
//! 2023): newcomers wait in a small queue and reach the main one only if they were asked for again,
//! so that a flood of names that nobody repeats cannot push out those that everybody does. A hit
//! costs the reader a store at most, and none once the entry is known to be wanted.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::entry::{Entry, Kind};
use crate::open_table::{Hashed, OpenTable};
use crate::sys::epoch::Pinned;
use crate::sys::prefetch::{LINE, prefetch};
use crate::wire::name::{combine, is_same};
use crate::wire::{Class, RType};

/// The part of its capacity that a table that shrinks always keeps.
const LEAST: usize = 100;
/// The share of a queue's capacity in which newcomers wait.
const NEWCOMERS: usize = 10;
/// Visits beyond this make no difference.
const VISITS_MAX: u8 = 3;

/// What a cached reply answers. DO and CD change what an upstream sends, so they belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The owner name, in wire form and lower case.
    pub name: &'a [u8],
    /// The type.
    pub qtype: RType,
    /// The class.
    pub qclass: Class,
    /// DNSSEC OK.
    pub dnssec_ok: bool,
    /// Checking disabled.
    pub checking_disabled: bool,
}

impl Question<'_> {
    const fn codes(&self) -> [u16; 3] {
        let bits = (self.dnssec_ok as u16) << 1 | self.checking_disabled as u16;
        [self.qtype.0, self.qclass.0, bits]
    }

    /// Made of the [`crate::wire::FoldedName::hash_of`] its whole name.
    #[inline]
    fn hash64(&self, name_hash: u64) -> u64 {
        let [qtype, qclass, bits] = self.codes();
        let codes = combine(u32::from(qtype) << 16 | u32::from(qclass), u32::from(bits));
        codes ^ name_hash
    }
}

/// An entry with the question that it answers and what eviction knows of it.
#[repr(C, align(64))]
pub(crate) struct Slot {
    hash: u64,
    codes: [u16; 3],
    visits: AtomicU8,
    /// It stands in the main queue.
    settled: AtomicBool,
    /// Tells it from others that had its question.
    stamp: u32,
    pub(super) entry: Entry,
}

const _: () = assert!(size_of::<Slot>() <= 2 * LINE);

impl Hashed for Slot {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl Slot {
    /// Whether the entry answers the question.
    #[inline]
    pub(crate) fn answers(&self, question: &Question<'_>) -> bool {
        self.codes == question.codes() && is_same(question.name, self.entry.name())
    }

    /// Says that somebody asked for it.
    #[inline]
    pub(super) fn visit(&self) {
        let visits = self.visits.load(Ordering::Relaxed);
        if visits < VISITS_MAX {
            self.visits.store(visits + 1, Ordering::Relaxed);
        }
    }

    /// Has the octets fetched, of which there are more than the entry itself.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.entry.prefetch();
    }
}

/// Cached replies by the hash of their question. Of two questions with one hash only the later one
/// is kept; the name is compared when a reply is read.
pub struct Table {
    slots: OpenTable<Slot>,
    queues: [Mutex<Queue>; 2],
    lens: [AtomicUsize; 2],
    evictions: [AtomicUsize; 2],
    stamps: AtomicU32,
}

impl Table {
    /// An empty table for so many answers, and so many denials and failures.
    pub fn new(success: usize, denial: usize) -> Self {
        Self {
            slots: OpenTable::default(),
            queues: [success, denial].map(|capacity| Mutex::new(Queue::new(capacity))),
            lens: Default::default(),
            evictions: Default::default(),
            stamps: AtomicU32::new(0),
        }
    }

    /// Reads the entry for a question about this name. Takes no lock and allocates nothing.
    pub fn get<R>(
        &self,
        question: &Question<'_>,
        name_hash: u64,
        read: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let guard = &Pinned::new();
        let slot = self.slot(question, name_hash, guard)?;
        slot.visit();
        Some(read(&slot.entry))
    }

    /// The entry for a question about this name.
    pub(crate) fn slot<'g>(
        &self,
        question: &Question<'_>,
        name_hash: u64,
        guard: &'g Pinned,
    ) -> Option<&'g Slot> {
        let hash = question.hash64(name_hash);
        let slot = self.slots.get(hash, |slot| slot.hash == hash, guard)?;
        slot.answers(question).then_some(slot)
    }

    /// Stores an entry in place of what stood there.
    pub fn put(&self, question: &Question<'_>, name_hash: u64, entry: Entry) {
        let hash = question.hash64(name_hash);
        let kind = entry.kind;
        let stamp = self.stamps.fetch_add(1, Ordering::Relaxed);
        let mut settled = false;
        let made = |old: Option<&Slot>| {
            if let Some(old) = old {
                settled = old.settled.load(Ordering::Relaxed);
                self.lens[old.entry.kind as usize].fetch_sub(1, Ordering::Relaxed);
            }
            self.lens[kind as usize].fetch_add(1, Ordering::Relaxed);
            // A name that is refreshed keeps the standing it had earned.
            let visits = old.map_or(0, |old| old.visits.load(Ordering::Relaxed));
            Slot {
                hash,
                codes: question.codes(),
                visits: AtomicU8::new(visits),
                settled: AtomicBool::new(settled),
                stamp,
                entry,
            }
        };
        self.slots.put(hash, |slot| slot.hash == hash, made);
        let mut queue = self.queue(kind);
        self.enqueue(&mut queue, Place { hash, stamp }, settled);
        let capacity = queue.capacity;
        self.evict(kind, &mut queue, capacity);
    }

    fn enqueue(&self, queue: &mut Queue, place: Place, settled: bool) {
        if settled || queue.left_set.contains(&place.hash) {
            self.find(place, |slot| slot.settled.store(true, Ordering::Relaxed));
            queue.main.push_back(place);
        } else {
            queue.newcomers.push_back(place);
        }
    }

    /// Has room for no more than this share of its entries from now on, in percent, and gives up the
    /// others. Returns how many went.
    pub fn shrink(&self, kept: usize) -> usize {
        let shrink = |kind| {
            let mut queue = self.queue(kind);
            let most = (self.len(kind) * kept / 100).max(queue.capacity_max / LEAST);
            queue.capacity = most;
            self.evict(kind, &mut queue, most)
        };
        [Kind::Success, Kind::Denial].map(shrink).into_iter().sum()
    }

    /// Has more room again after [`Self::shrink`]: this share of what it was made with, in percent.
    pub fn grow(&self, more: usize) {
        for kind in [Kind::Success, Kind::Denial] {
            let mut queue = self.queue(kind);
            let wider = queue.capacity + (queue.capacity_max * more).div_ceil(100);
            queue.capacity = wider.min(queue.capacity_max);
        }
    }

    /// Gives up entries of a kind until there are no more than `most`; returns how many went.
    fn evict(&self, kind: Kind, queue: &mut Queue, most: usize) -> usize {
        let mut count = 0;
        while self.len(kind) > most {
            let Some(victim) = self.pop_victim(queue) else {
                break;
            };
            // Only this very entry: another thread may have put a newer one there.
            if !self.slots.remove(victim.hash, |slot| victim.is_of(slot)) {
                continue;
            }
            self.lens[kind as usize].fetch_sub(1, Ordering::Relaxed);
            queue.remember(victim.hash);
            count += 1;
        }
        self.evictions[kind as usize].fetch_add(count, Ordering::Relaxed);
        queue.compact(self.len(kind), |place| self.find(place, |_| ()).is_some());
        count
    }

    /// Takes out the entry to give up next, which may have left the table already.
    fn pop_victim(&self, queue: &mut Queue) -> Option<Place> {
        loop {
            let many = queue.newcomers.len() * NEWCOMERS >= queue.capacity;
            if (many || queue.main.is_empty())
                && let Some(place) = queue.newcomers.pop_front()
            {
                let stays = self.find(place, |slot| {
                    let wanted = slot.visits.swap(0, Ordering::Relaxed) > 0;
                    slot.settled.fetch_or(wanted, Ordering::Relaxed);
                    wanted
                });
                if stays != Some(true) {
                    return Some(place);
                }
                queue.main.push_back(place);
                continue;
            }
            let place = queue.main.pop_front()?;
            let stays = self.find(place, |slot| {
                let visits = slot.visits.load(Ordering::Relaxed);
                slot.visits
                    .store(visits.saturating_sub(1), Ordering::Relaxed);
                visits > 0
            });
            if stays != Some(true) {
                return Some(place);
            }
            queue.main.push_back(place);
        }
    }

    /// Reads the entry that was put in its place, if it is still there.
    fn find<R>(&self, place: Place, read: impl FnOnce(&Slot) -> R) -> Option<R> {
        let guard = &Pinned::new();
        let slot = self.slots.get(place.hash, |slot| place.is_of(slot), guard);
        slot.map(read)
    }

    fn queue(&self, kind: Kind) -> std::sync::MutexGuard<'_, Queue> {
        // What a panicking thread left half done is an entry too many in a queue.
        self.queues[kind as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries of a kind.
    pub fn len(&self, kind: Kind) -> usize {
        self.lens[kind as usize].load(Ordering::Relaxed)
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len(Kind::Success) + self.len(Kind::Denial) == 0
    }

    /// Entries of a kind that had to make room so far.
    pub fn evictions(&self, kind: Kind) -> usize {
        self.evictions[kind as usize].load(Ordering::Relaxed)
    }
}

/// The table's entries for look-ups in steps.
impl Table {
    /// Begins the look-up of a question: has fetched what [`Self::likely`] reads for this hash.
    #[inline]
    pub(crate) fn begin(&self, question: &Question<'_>, name_hash: u64, guard: &Pinned) -> u64 {
        let hash = question.hash64(name_hash);
        self.slots.slots(guard).prefetch(hash);
        hash
    }

    /// The entry that has this hash most likely, unread but fetched; `None` if there is none.
    #[inline]
    pub(crate) fn likely<'g>(&self, hash: u64, guard: &'g Pinned) -> Option<&'g Slot> {
        let slot = self.slots.slots(guard).first(hash)?;
        prefetch::<_, 2>(slot);
        Some(slot)
    }
}

/// Where an entry was put.
#[derive(Clone, Copy)]
struct Place {
    hash: u64,
    stamp: u32,
}

impl Place {
    const fn is_of(self, slot: &Slot) -> bool {
        slot.hash == self.hash && slot.stamp == self.stamp
    }
}

/// The order in which entries of one kind make room.
struct Queue {
    /// Entries that there is room for now.
    capacity: usize,
    /// Entries that there is room for while memory suffices.
    capacity_max: usize,
    newcomers: VecDeque<Place>,
    main: VecDeque<Place>,
    /// Hashes of newcomers that left unvisited: who comes back was wanted after all.
    left: VecDeque<u64>,
    left_set: HashSet<u64>,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            capacity_max: capacity,
            newcomers: VecDeque::new(),
            main: VecDeque::new(),
            left: VecDeque::new(),
            left_set: HashSet::new(),
        }
    }

    fn remember(&mut self, hash: u64) {
        if self.left_set.insert(hash) {
            self.left.push_back(hash);
        }
        while self.left.len() > self.capacity {
            if let Some(oldest) = self.left.pop_front() {
                self.left_set.remove(&oldest);
            }
        }
    }

    /// Drops places whose entries have left the table, once they are the larger part.
    fn compact(&mut self, live: usize, is_here: impl Fn(Place) -> bool) {
        if self.newcomers.len() + self.main.len() > 2 * live + 64 {
            self.newcomers.retain(|place| is_here(*place));
            self.main.retain(|place| is_here(*place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FoldedName;
    use crate::wire::name::wire_from_text;

    fn folded(text: &str) -> FoldedName {
        let mut name = FoldedName::default();
        name.parse(&wire_from_text(text).unwrap(), 0).unwrap();
        name
    }

    fn question(name: &FoldedName) -> Question<'_> {
        Question {
            name: name.wire(),
            qtype: RType::A,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
        }
    }

    fn put(table: &Table, name: &FoldedName, entry: Entry) {
        table.put(&question(name), name.hash_all(), entry);
    }

    fn is_there(table: &Table, name: &FoldedName) -> bool {
        table
            .get(&question(name), name.hash_all(), |_| ())
            .is_some()
    }

    #[test]
    fn questions_that_differ_are_kept_apart() {
        let table = Table::new(100, 100);
        let (a, b) = (folded("a.test"), folded("b.test"));
        put(&table, &a, Entry::for_test(&a, Kind::Success));
        let others = [
            question(&b),
            Question {
                qtype: RType::AAAA,
                ..question(&a)
            },
            Question {
                qclass: Class::CH,
                ..question(&a)
            },
            Question {
                dnssec_ok: true,
                ..question(&a)
            },
            Question {
                checking_disabled: true,
                ..question(&a)
            },
        ];
        for other in others {
            let hash = if other.name == b.wire() { &b } else { &a }.hash_all();
            assert!(table.get(&other, hash, |_| ()).is_none(), "{other:?}");
        }
        assert!(is_there(&table, &folded("A.Test")));
    }

    #[test]
    fn wanted_names_survive_a_flood_and_the_table_stays_bounded() {
        let table = Table::new(100, 100);
        let wanted = (0..50)
            .map(|n| folded(&format!("wanted{n}.test")))
            .collect::<Vec<_>>();
        for name in &wanted {
            put(&table, name, Entry::for_test(name, Kind::Success));
            assert!(is_there(&table, name));
        }
        for n in 0..10_000 {
            let name = folded(&format!("flood{n}.test"));
            put(&table, &name, Entry::for_test(&name, Kind::Success));
            assert!(table.len(Kind::Success) <= 100);
            let name = &wanted[n % 50];
            is_there(&table, name);
        }
        let kept = wanted.iter().filter(|name| is_there(&table, name)).count();
        assert_eq!(kept, 50);
        assert_eq!(table.evictions(Kind::Success), 10_050 - 100);
    }

    /// What was given up for want of memory is not filled again by the next questions.
    #[test]
    fn a_table_that_shrank_stays_small_until_it_may_grow() {
        let table = Table::new(1_000, 1_000);
        let mut names = (0..).map(|n| folded(&format!("n{n}.test")));
        let mut fill = |kind| {
            for name in names.by_ref().take(2_000) {
                put(&table, &name, Entry::for_test(&name, kind));
            }
            table.len(kind)
        };
        for kind in [Kind::Success, Kind::Denial] {
            assert_eq!(fill(kind), 1_000);
        }
        assert_eq!(table.shrink(75), 500);
        assert_eq!(fill(Kind::Success), 750);
        assert_eq!(fill(Kind::Denial), 750);
        assert_eq!(table.shrink(10), 1_350);
        assert_eq!(fill(Kind::Success), 75);
        table.grow(5);
        assert_eq!(fill(Kind::Success), 125);
        (0..100).for_each(|_| table.grow(5));
        assert_eq!(fill(Kind::Success), 1_000, "what it was made for");
        (0..100).for_each(|_| _ = table.shrink(10));
        assert_eq!(fill(Kind::Success), 10, "never nothing");
    }

    #[test]
    fn refreshed_entries_do_not_pile_up() {
        let table = Table::new(100, 100);
        let name = folded("a.test");
        for round in 0..10_000 {
            let kind = if round % 2 == 0 {
                Kind::Success
            } else {
                Kind::Denial
            };
            put(&table, &name, Entry::for_test(&name, kind));
        }
        assert_eq!((table.len(Kind::Success), table.len(Kind::Denial)), (0, 1));
        for kind in [Kind::Success, Kind::Denial] {
            let queue = table.queue(kind);
            assert!(queue.newcomers.len() + queue.main.len() <= 70);
        }
    }
}
