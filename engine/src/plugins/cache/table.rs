//! The cache's table: read by workers without a lock, bounded, and written by the slow path.
//!
//! Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP
//! 2023): newcomers wait in a small queue and reach the main one only if they were asked for again,
//! so that a flood of names that nobody repeats cannot push out those that everybody does. A hit
//! costs the reader a store at most, and none once the entry is known to be wanted.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::entry::{Entry, Kind};
use crate::index::Passthrough;
use crate::wire::name::combine;
use crate::wire::{Class, FoldedName, RType};

/// The share of a queue's capacity in which newcomers wait.
const NEWCOMERS: usize = 10;
/// Visits beyond this make no difference.
const VISITS_MAX: u8 = 3;

/// What a cached reply answers. DO and CD change what an upstream sends, so they belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The owner name.
    pub name: &'a FoldedName,
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

    /// Made of the hashes that the parser left behind.
    fn hash64(&self) -> u64 {
        let [qtype, qclass, bits] = self.codes();
        let codes = combine(u32::from(qtype) << 16 | u32::from(qclass), u32::from(bits));
        codes ^ self.name.hash_all()
    }
}

/// An entry with the question that it answers and what eviction knows of it.
pub(super) struct Slot {
    hash: u64,
    codes: [u16; 3],
    pub(super) entry: Entry,
    visits: AtomicU8,
    /// It left the table and only waits to leave its queue.
    gone: AtomicBool,
    /// It stands in the main queue.
    settled: AtomicBool,
}

/// Cached replies by the hash of their question. Of two questions with one hash only the later one
/// is kept; the name is compared when a reply is read.
pub struct Table {
    slots: papaya::HashMap<u64, Arc<Slot>, Passthrough>,
    queues: [Mutex<Queue>; 2],
    lens: [AtomicUsize; 2],
    evictions: [AtomicUsize; 2],
}

impl Table {
    /// An empty table for so many answers, and so many denials and failures.
    pub fn new(success: usize, denial: usize) -> Self {
        Self {
            slots: papaya::HashMap::builder().hasher(Passthrough).build(),
            queues: [success, denial].map(|capacity| Mutex::new(Queue::new(capacity))),
            lens: Default::default(),
            evictions: Default::default(),
        }
    }

    /// Reads the entry for a question. Takes no lock and allocates nothing.
    pub fn get<R>(&self, question: &Question<'_>, read: impl FnOnce(&Entry) -> R) -> Option<R> {
        let slots = self.slots.pin();
        let slot = slots.get(&question.hash64())?;
        if slot.codes != question.codes() || *slot.entry.name() != *question.name.wire() {
            return None;
        }
        let visits = slot.visits.load(Ordering::Relaxed);
        if visits < VISITS_MAX {
            slot.visits.store(visits + 1, Ordering::Relaxed);
        }
        Some(read(&slot.entry))
    }

    /// Stores an entry in place of what stood there.
    pub fn put(&self, question: &Question<'_>, entry: Entry) {
        let hash = question.hash64();
        let kind = entry.kind;
        let slot = Arc::new(Slot {
            hash,
            codes: question.codes(),
            entry,
            visits: AtomicU8::new(0),
            gone: AtomicBool::new(false),
            settled: AtomicBool::new(false),
        });
        let slots = self.slots.pin();
        if let Some(old) = slots.get(&hash) {
            // A name that is refreshed keeps the standing it had earned.
            let standing = old.visits.load(Ordering::Relaxed);
            slot.visits.store(standing, Ordering::Relaxed);
            let settled = old.settled.load(Ordering::Relaxed);
            slot.settled.store(settled, Ordering::Relaxed);
        }
        if let Some(old) = slots.insert(hash, Arc::clone(&slot)) {
            self.mark_gone(old);
        }
        self.lens[kind as usize].fetch_add(1, Ordering::Relaxed);
        let mut queue = self.queue(kind);
        queue.push(slot);
        let capacity = queue.capacity;
        self.evict(kind, &mut queue, capacity);
    }

    /// Gives up entries of each kind until this share of them is left, in percent. Returns how many
    /// went.
    pub fn shrink(&self, kept: usize) -> usize {
        let shrink = |kind| {
            let len = self.len(kind);
            self.evict(kind, &mut self.queue(kind), len * kept / 100)
        };
        [Kind::Success, Kind::Denial].map(shrink).into_iter().sum()
    }

    /// Gives up entries of a kind until there are no more than `most`; returns how many went.
    fn evict(&self, kind: Kind, queue: &mut Queue, most: usize) -> usize {
        let slots = self.slots.pin();
        let mut count = 0;
        while self.len(kind) > most {
            let Some(victim) = queue.pop_victim() else {
                break;
            };
            if !self.mark_gone(&victim) {
                continue; // It had left the table before.
            }
            queue.remember(victim.hash);
            count += 1;
            // Only this very entry: another thread may have put a newer one there.
            let _ = slots.remove_if(&victim.hash, |_, slot| Arc::ptr_eq(slot, &victim));
        }
        self.evictions[kind as usize].fetch_add(count, Ordering::Relaxed);
        queue.compact(self.len(kind));
        count
    }

    /// Says that a slot is out of the table; `false` if that was known.
    fn mark_gone(&self, slot: &Slot) -> bool {
        let first = !slot.gone.swap(true, Ordering::Relaxed);
        if first {
            self.lens[slot.entry.kind as usize].fetch_sub(1, Ordering::Relaxed);
        }
        first
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

/// The order in which entries of one kind make room.
struct Queue {
    capacity: usize,
    newcomers: VecDeque<Arc<Slot>>,
    main: VecDeque<Arc<Slot>>,
    /// Hashes of newcomers that left unvisited: who comes back was wanted after all.
    left: VecDeque<u64>,
    left_set: HashSet<u64>,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            newcomers: VecDeque::new(),
            main: VecDeque::new(),
            left: VecDeque::new(),
            left_set: HashSet::new(),
        }
    }

    fn push(&mut self, slot: Arc<Slot>) {
        if slot.settled.load(Ordering::Relaxed) || self.left_set.contains(&slot.hash) {
            slot.settled.store(true, Ordering::Relaxed);
            self.main.push_back(slot);
        } else {
            self.newcomers.push_back(slot);
        }
    }

    /// Takes out the entry to give up next, which may have left the table already.
    fn pop_victim(&mut self) -> Option<Arc<Slot>> {
        loop {
            let many = self.newcomers.len() * NEWCOMERS >= self.capacity;
            if (many || self.main.is_empty())
                && let Some(slot) = self.newcomers.pop_front()
            {
                if slot.gone.load(Ordering::Relaxed) || slot.visits.load(Ordering::Relaxed) == 0 {
                    return Some(slot);
                }
                slot.visits.store(0, Ordering::Relaxed);
                slot.settled.store(true, Ordering::Relaxed);
                self.main.push_back(slot);
                continue;
            }
            let slot = self.main.pop_front()?;
            let visits = slot.visits.load(Ordering::Relaxed);
            if visits == 0 || slot.gone.load(Ordering::Relaxed) {
                return Some(slot);
            }
            slot.visits.store(visits - 1, Ordering::Relaxed);
            self.main.push_back(slot);
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

    /// Drops entries that have left the table, once they are the larger part.
    fn compact(&mut self, live: usize) {
        if self.newcomers.len() + self.main.len() > 2 * live + 64 {
            let is_here = |slot: &Arc<Slot>| !slot.gone.load(Ordering::Relaxed);
            self.newcomers.retain(is_here);
            self.main.retain(is_here);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::wire_from_text;

    fn folded(text: &str) -> FoldedName {
        let mut name = FoldedName::default();
        name.parse(&wire_from_text(text).unwrap(), 0).unwrap();
        name
    }

    const fn question(name: &FoldedName) -> Question<'_> {
        Question {
            name,
            qtype: RType::A,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
        }
    }

    #[test]
    fn questions_that_differ_are_kept_apart() {
        let table = Table::new(100, 100);
        let (a, b) = (folded("a.test"), folded("b.test"));
        table.put(&question(&a), Entry::for_test(&a, Kind::Success));
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
            assert!(table.get(&other, |_| ()).is_none(), "{other:?}");
        }
        assert!(table.get(&question(&folded("A.Test")), |_| ()).is_some());
    }

    #[test]
    fn wanted_names_survive_a_flood_and_the_table_stays_bounded() {
        let table = Table::new(100, 100);
        let wanted = (0..50)
            .map(|n| folded(&format!("wanted{n}.test")))
            .collect::<Vec<_>>();
        for name in &wanted {
            table.put(&question(name), Entry::for_test(name, Kind::Success));
            assert!(table.get(&question(name), |_| ()).is_some());
        }
        for n in 0..10_000 {
            let name = folded(&format!("flood{n}.test"));
            table.put(&question(&name), Entry::for_test(&name, Kind::Success));
            assert!(table.len(Kind::Success) <= 100);
            let name = &wanted[n % 50];
            let _ = table.get(&question(name), |_| ());
        }
        let kept = wanted
            .iter()
            .filter(|name| table.get(&question(name), |_| ()).is_some())
            .count();
        assert_eq!(kept, 50);
        assert_eq!(table.evictions(Kind::Success), 10_050 - 100);
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
            table.put(&question(&name), Entry::for_test(&name, kind));
        }
        assert_eq!((table.len(Kind::Success), table.len(Kind::Denial)), (0, 1));
        for kind in [Kind::Success, Kind::Denial] {
            let queue = table.queue(kind);
            assert!(queue.newcomers.len() + queue.main.len() <= 70);
        }
    }
}
