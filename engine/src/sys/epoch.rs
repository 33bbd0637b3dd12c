//! An array of entries that many threads read without a lock while one replaces them, over
//! [`crossbeam::epoch`].
//!
//! A place of the array is one word: where the entry is, and a tag in the low bits of the pointer, which
//! are free as far as entries are aligned. So a reader can ask the processor for a place, and for an
//! entry, before it reads either. Entries are never changed, but for atomics in them; what is taken out, and an array that a
//! larger one has followed, is kept until nobody reads it any more.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam::epoch::{Atomic, Guard, Owned, Shared, pin};

use super::prefetch::prefetch;

/// Keeps what a thread reads, and has been taken out of an array meanwhile, until it is dropped. There is
/// one collector for all arrays: a guard of another one would keep nothing of them.
pub struct Pinned(Guard);

impl Default for Pinned {
    fn default() -> Self {
        Self::new()
    }
}

impl Pinned {
    /// From now on.
    #[inline]
    pub fn new() -> Self {
        Self(pin())
    }

    /// Has what nobody reads any more freed sooner.
    pub fn flush(&self) {
        self.0.flush();
    }
}

/// The array. As long as it is shared, entries live behind pointers in it and nowhere else.
pub struct EpochArray<T: Send + Sync + 'static> {
    places: Atomic<Places<T>>,
    writers: Mutex<()>,
}

/// A power of two of them.
struct Places<T>(Box<[Atomic<T>]>);

impl<T> Places<T> {
    fn new(len: usize) -> Self {
        let len = len.next_power_of_two();
        Self((0..len).map(|_| Atomic::null()).collect())
    }
}

/// Places wrap around.
#[inline(always)]
fn at<T>(places: &[Atomic<T>], place: usize) -> &Atomic<T> {
    &places[place & (places.len() - 1)]
}

/// What a place holds.
#[derive(Clone, Copy)]
pub struct Held<'g, T> {
    /// The entry, if there is one.
    pub entry: Option<&'g T>,
    /// What was stored beside it.
    pub tag: usize,
}

impl<'g, T> Held<'g, T> {
    #[inline(always)]
    fn of(shared: Shared<'g, T>) -> Self {
        Self {
            // SAFETY: what is not null leads to an entry that `Writer::replace` had whole before it stored
            // it with release ordering, and that nobody has mutably. It is retired by whoever takes it out of
            // the newest array, and so not freed before all guards that were there by then are dropped;
            // the one that `shared` was loaded under is one of these, if an older array, or a load before
            // that, has led here.
            entry: unsafe { shared.as_ref() },
            tag: shared.tag(),
        }
    }
}

/// The array as one thread reads it, as long as it keeps its guard.
pub struct View<'g, T> {
    places: &'g [Atomic<T>],
    guard: &'g Pinned,
}

impl<'g, T> View<'g, T> {
    /// What a place holds. Places wrap around.
    #[inline(always)]
    pub fn get(&self, place: usize) -> Held<'g, T> {
        Held::of(at(self.places, place).load(Ordering::Acquire, &self.guard.0))
    }

    /// Has a place fetched from memory.
    #[inline(always)]
    pub fn prefetch(&self, place: usize) {
        prefetch::<_, 1>(at(self.places, place));
    }

    /// The number of places, a power of two.
    pub fn places(&self) -> usize {
        self.places.len()
    }
}

impl<T: Send + Sync + 'static> EpochArray<T> {
    /// Bits of a tag that can be kept.
    pub const TAG_BITS: u32 = align_of::<T>().trailing_zeros();

    /// An array of so many places, rounded up to a power of two, all empty with tag 0.
    pub fn new(len: usize) -> Self {
        Self {
            places: Atomic::new(Places::new(len)),
            writers: Mutex::default(),
        }
    }

    /// The array as it is, or newer.
    #[inline]
    pub fn view<'g>(&self, guard: &'g Pinned) -> View<'g, T> {
        // SAFETY: it is never null, and leads to what was made before it was stored with release ordering.
        // It is retired when another array has taken its place, hence not freed before our guard is dropped.
        let places = unsafe { self.places.load(Ordering::Acquire, &guard.0).deref() };
        View {
            places: &places.0,
            guard,
        }
    }

    /// The right to write, which one thread has at a time.
    pub fn writer<'a>(&'a self, guard: &'a Pinned) -> Writer<'a, T> {
        Writer {
            array: self,
            guard,
            _turn: self.writers.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The right to write.
pub struct Writer<'a, T: Send + Sync + 'static> {
    array: &'a EpochArray<T>,
    guard: &'a Pinned,
    _turn: MutexGuard<'a, ()>,
}

impl<T: Send + Sync + 'static> Writer<'_, T> {
    /// The array.
    pub fn view(&self) -> View<'_, T> {
        self.array.view(self.guard)
    }

    /// Puts an entry, or none, and a tag into a place; what was there goes.
    pub fn replace(&mut self, place: usize, entry: Option<T>, tag: usize) {
        let new = match entry {
            Some(entry) => Owned::new(entry).into_shared(&self.guard.0),
            None => Shared::null(),
        };
        let view = self.array.view(self.guard);
        let place = at(view.places, place);
        let old = place.swap(new.with_tag(tag), Ordering::AcqRel, &self.guard.0);
        if !old.is_null() {
            // SAFETY: it came from `Owned::new` above. It stood in this place of the newest array alone, as
            // `rebuild` moves each entry to one place, and whoever writes next, after us, does not find
            // it there.
            unsafe { self.guard.0.defer_destroy(old) };
        }
    }

    /// Moves all entries, with their tags, to an array of so many places: each to the first free one from
    /// `place` of it on. Tags of empty places are forgotten.
    ///
    /// # Panics
    ///
    /// If there are more entries than places.
    pub fn rebuild(&mut self, len: usize, place: impl Fn(&T) -> usize) {
        let new = Places::new(len);
        for old in self.view().places {
            let shared = old.load(Ordering::Acquire, &self.guard.0);
            if let Some(entry) = Held::of(shared).entry {
                let first = place(entry);
                let free = (0..new.0.len()).map(|step| at(&new.0, first.wrapping_add(step)));
                let mut free =
                    free.filter(|it| it.load(Ordering::Relaxed, &self.guard.0).is_null());
                let free = free.next().expect("there are as many places as entries");
                free.store(shared, Ordering::Relaxed);
            }
        }
        let new = Owned::new(new).into_shared(&self.guard.0);
        let places = &self.array.places;
        let old = places.swap(new, Ordering::AcqRel, &self.guard.0);
        // SAFETY: it came from `Owned::new` or `Atomic::new`, and nobody who comes from now on finds it.
        // With it go the pointers alone: the entries are the new array's.
        unsafe { self.guard.0.defer_destroy(old) };
        // It may be large, so it does not wait for more garbage.
        self.guard.0.flush();
    }
}

impl<T: Send + Sync + 'static> Drop for EpochArray<T> {
    fn drop(&mut self) {
        let guard = &Pinned::new();
        let mut writer = self.writer(guard);
        for place in 0..writer.view().places() {
            writer.replace(place, None, 0);
        }
        let places = self.places.load(Ordering::Relaxed, &guard.0);
        // SAFETY: as in `rebuild`: the array is ours alone, so nobody comes to it from now on.
        unsafe { guard.0.defer_destroy(places) };
    }
}
