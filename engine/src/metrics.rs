//! Counts of queries and replies, labelled as CoreDNS labels them.
//!
//! Each thread that answers has counts of its own, which it alone writes: a count is a load, an
//! addition and a store, in memory that no other core writes to. [`Metrics`] adds them up when
//! somebody asks. What is counted about one query is an [`Observation`]: the chain fills it in,
//! whoever owns the loop records it, so that `respond` needs neither clock nor counters.
//!
//! Labels are places in a table of fixed size, not hashed: a [`Scope`] stands for server, zone and
//! view, and inside of it type, code and the rest are small numbers.

mod labelled;
mod layout;

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub use labelled::{AclCount, AclEvent, Labelled, TemplateCount, TemplateEvent};
use layout::LEN;
pub use layout::{
    DURATION_BUCKETS, DurationTotals, Durations, Event, Histogram, Plugin, RCODES, SIZE_BOUNDS,
    TYPES, Totals, type_name,
};

use crate::wire::{RType, Rcode};

/// Where counts go: the zone of a server block on one server, or what no block of a server took.
// Aligned so that it is copied as one word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(align(4))]
pub struct Scope {
    place: u16,
    /// The block has `prometheus`. Without it only what its plugins count is kept.
    pub counted: bool,
}

impl Scope {
    /// Nothing is kept.
    pub const NONE: Self = Self {
        place: u16::MAX,
        counted: false,
    };
}

impl Default for Scope {
    fn default() -> Self {
        Self::NONE
    }
}

/// What is to be counted about one query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Observation {
    pub(crate) scope: Scope,
    /// There is a reply, or there never will be one.
    pub(crate) done: bool,
    pub(crate) stream: bool,
    pub(crate) ipv6: bool,
    pub(crate) dnssec_ok: bool,
    pub(crate) qtype: RType,
    pub(crate) rcode: Rcode,
    /// Who wrote the reply.
    pub(crate) plugin: Plugin,
    pub(crate) request_len: u16,
    pub(crate) reply_len: u16,
    /// Bits of [`Event`].
    pub(crate) events: u16,
}

impl Observation {
    /// Nothing to count.
    pub(crate) const NOTHING: Self = Self {
        scope: Scope::NONE,
        done: false,
        stream: false,
        ipv6: false,
        dnssec_ok: false,
        qtype: RType(0),
        rcode: Rcode::NOERROR,
        plugin: Plugin::None,
        request_len: 0,
        reply_len: 0,
        events: 0,
    };
}

impl Observation {
    /// Whether there was a question that could be read.
    pub(crate) const fn is_query(&self) -> bool {
        self.qtype.0 != 0
    }

    /// Whether a name was asked for that a cluster could have and does not.
    pub(crate) fn is_missed(&self) -> bool {
        self.plugin == Plugin::Kubernetes && self.rcode == Rcode::NXDOMAIN
    }
}

impl Default for Observation {
    fn default() -> Self {
        Self::NOTHING
    }
}

/// The counts of one scope and one thread; aligned so that no line holds two threads' counts.
#[repr(align(128))]
struct Counts([AtomicU64; LEN]);

impl Counts {
    fn new() -> Arc<Self> {
        Arc::new(Self([const { AtomicU64::new(0) }; LEN]))
    }

    /// Adds to one count. `SHARED` says that several threads may do so at once.
    #[inline]
    fn add<const SHARED: bool>(&self, place: usize, by: u64) {
        let count = &self.0[place];
        if SHARED {
            count.fetch_add(by, Ordering::Relaxed);
        } else {
            count.store(count.load(Ordering::Relaxed) + by, Ordering::Relaxed);
        }
    }

    /// Counts a query; says whether its duration is to be counted as well.
    #[inline(always)]
    fn record<const SHARED: bool>(&self, seen: &Observation) -> bool {
        if seen.events != 0 {
            self.record_events::<SHARED>(seen.events);
        }
        if !(seen.done && seen.scope.counted) {
            return false;
        }
        let stream = usize::from(seen.stream);
        self.add::<SHARED>(layout::request(seen.stream, seen.ipv6, seen.qtype), 1);
        self.add::<SHARED>(layout::response(seen.plugin, seen.rcode), 1);
        let (bucket, sum) = layout::request_size(stream, seen.request_len);
        self.add::<SHARED>(bucket, 1);
        self.add::<SHARED>(sum, seen.request_len.into());
        let (bucket, sum) = layout::response_size(stream, seen.reply_len);
        self.add::<SHARED>(bucket, 1);
        self.add::<SHARED>(sum, seen.reply_len.into());
        if seen.dnssec_ok {
            self.add::<SHARED>(layout::DO_REQUESTS, 1);
        }
        true
    }

    #[inline(never)]
    fn record_events<const SHARED: bool>(&self, mut events: u16) {
        while events != 0 {
            let event = events.trailing_zeros() as usize;
            events &= events - 1;
            self.add::<SHARED>(layout::EVENTS + event, 1);
        }
    }

    /// Notes that so many queries took so long.
    fn record_durations<const SHARED: bool>(&self, queries: u64, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let (bucket, sum) = layout::duration(nanos);
        self.add::<SHARED>(bucket, queries);
        self.add::<SHARED>(sum, nanos.saturating_mul(queries));
    }
}

/// The counts of one writer by scope; a scope's are made when it is first used.
struct Writer(Box<[OnceLock<Arc<Counts>>]>);

impl Writer {
    fn counts(&self, place: u16) -> Option<&Arc<Counts>> {
        let counts = self.0.get(usize::from(place))?;
        Some(counts.get_or_init(Counts::new))
    }
}

/// What one thread counts with.
pub struct Recorder {
    writer: Arc<Writer>,
    /// Most queries of a batch are about one scope.
    run: Run,
    /// By scope: queries of earlier runs whose duration is not known yet.
    untimed: Box<[u32]>,
    /// Bit n: a scope whose place ends in these six bits has such queries.
    touched: u64,
}

/// Queries about one scope.
struct Run {
    place: u16,
    /// Its counts. `None` if nothing is kept.
    counts: Option<Arc<Counts>>,
    /// Those whose duration is not known yet.
    untimed: u32,
}

impl Recorder {
    /// Whether it has room for the scope of this, if there is any.
    pub(crate) fn counts(&self, seen: &Observation) -> bool {
        seen.scope == Scope::NONE || usize::from(seen.scope.place) < self.writer.0.len()
    }

    /// Counts a query. Its duration follows with [`Self::end_batch`].
    #[inline(always)]
    pub fn record(&mut self, seen: &Observation) {
        if seen.scope.place != self.run.place {
            self.begin_run(seen.scope.place);
        }
        if let Some(counts) = &self.run.counts
            && counts.record::<false>(seen)
        {
            self.run.untimed += 1;
        }
    }

    #[cold]
    fn begin_run(&mut self, place: u16) {
        self.end_run();
        self.run.place = place;
        self.run.counts = self.writer.counts(place).cloned();
    }

    fn end_run(&mut self) {
        let queries = std::mem::take(&mut self.run.untimed);
        if queries > 0 {
            self.untimed[usize::from(self.run.place)] += queries;
            self.touched |= 1 << (self.run.place % 64);
        }
    }

    /// Says how long the queries recorded since the last time took; reads the clock only if there
    /// were any.
    #[inline]
    pub fn end_batch(&mut self, elapsed: impl FnOnce() -> Duration) {
        if self.run.untimed > 0 || self.touched != 0 {
            self.end_run();
            self.time(elapsed());
        }
    }

    fn time(&mut self, elapsed: Duration) {
        let mut touched = std::mem::take(&mut self.touched);
        while touched != 0 {
            let first = touched.trailing_zeros() as usize;
            touched &= touched - 1;
            for place in (first..self.untimed.len()).step_by(64) {
                let queries = std::mem::take(&mut self.untimed[place]);
                if let Some(counts) = self.writer.0[place].get().filter(|_| queries > 0) {
                    counts.record_durations::<false>(queries.into(), elapsed);
                }
            }
        }
    }
}

/// What several threads count with, for the few queries that come over streams.
pub(crate) struct SharedRecorder(Arc<Writer>);

impl SharedRecorder {
    /// Counts a query that took so long.
    pub(crate) fn record(&self, seen: &Observation, elapsed: impl FnOnce() -> Duration) {
        if let Some(counts) = self.0.counts(seen.scope.place)
            && counts.record::<true>(seen)
        {
            counts.record_durations::<true>(1, elapsed());
        }
    }
}

/// What a [`Scope`] stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopeLabels {
    /// The server, as CoreDNS writes it: `dns://:53`.
    pub server: Arc<str>,
    /// The zone, with the dot at its end; `dropped` for what no block took.
    pub zone: Arc<str>,
    /// The name of the block's `view`; empty without one.
    pub view: Arc<str>,
}

impl ScopeLabels {
    /// Whether these are the labels.
    pub fn is(&self, server: &str, zone: &str, view: &str) -> bool {
        *self.server == *server && *self.zone == *zone && *self.view == *view
    }
}

/// The counts of all threads.
#[derive(Default)]
pub struct Metrics {
    capacity: usize,
    lists: Arc<Lists>,
}

/// What lasts while the room grows.
#[derive(Default)]
struct Lists {
    labels: Mutex<Vec<ScopeLabels>>,
    writers: Mutex<Vec<Arc<Writer>>>,
    https: Mutex<Vec<Arc<HttpsStatuses>>>,
    acls: Arc<Labelled<AclCount>>,
    templates: Arc<Labelled<TemplateCount>>,
}

impl Metrics {
    /// Room for so many scopes, which is less than 2^16 in any case.
    pub fn new(scopes: usize) -> Self {
        Self {
            capacity: scopes.min(usize::from(u16::MAX)),
            ..Self::default()
        }
    }

    /// The same counts with room for so many more scopes. What was counted stays, and recorders
    /// of before go on, without the new scopes.
    #[must_use]
    pub fn with_room_for(&self, more: usize) -> Self {
        let needed = lock(&self.lists.labels).len() + more;
        Self {
            capacity: needed.min(usize::from(u16::MAX)),
            lists: Arc::clone(&self.lists),
        }
    }

    /// How many scopes there is still room for.
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(lock(&self.lists.labels).len())
    }

    /// Whether there is a scope with these labels.
    pub fn has_scope(&self, server: &str, zone: &str, view: &str) -> bool {
        let labels = lock(&self.lists.labels);
        labels.iter().any(|labels| labels.is(server, zone, view))
    }

    /// The scope of a block without a view; see [`Self::scope_of_view`].
    pub fn scope(&self, server: &str, zone: &str, counted: bool) -> Scope {
        self.scope_of_view(server, zone, "", counted)
    }

    /// The scope with these labels, a new one if there is none yet. [`Scope::NONE`] if there is no
    /// room.
    pub fn scope_of_view(&self, server: &str, zone: &str, view: &str, counted: bool) -> Scope {
        let mut labels = lock(&self.lists.labels);
        let known = labels.iter().position(|it| it.is(server, zone, view));
        let place = known.unwrap_or(labels.len());
        if place >= self.capacity {
            return Scope::NONE;
        }
        if known.is_none() {
            labels.push(ScopeLabels {
                server: server.into(),
                zone: zone.into(),
                view: view.into(),
            });
        }
        let place = u16::try_from(place).expect("below the capacity");
        Scope { place, counted }
    }

    /// What the responses of one HTTPS server are counted with.
    pub fn https(&self, server: &str) -> Arc<HttpsStatuses> {
        let mut all = lock(&self.lists.https);
        if let Some(known) = all.iter().find(|known| *known.server == *server) {
            return Arc::clone(known);
        }
        let new = Arc::new(HttpsStatuses {
            server: server.into(),
            counts: Default::default(),
        });
        all.push(Arc::clone(&new));
        new
    }

    /// Responses of HTTPS servers so far: server, status, count.
    pub fn https_responses(&self) -> Vec<(Arc<str>, u16, u64)> {
        let all = lock(&self.lists.https);
        let of_server = |of: &Arc<HttpsStatuses>| {
            let counts = of.counts.iter().map(|count| count.load(Ordering::Relaxed));
            let rows = HttpsStatuses::KNOWN.iter().zip(counts);
            rows.map(|(status, count)| (Arc::clone(&of.server), *status, count))
                .collect::<Vec<_>>()
        };
        all.iter().flat_map(of_server).collect()
    }

    /// What `acl` counts with.
    pub fn acls(&self) -> Arc<Labelled<AclCount>> {
        Arc::clone(&self.lists.acls)
    }

    /// What `template` counts with.
    pub fn templates(&self) -> Arc<Labelled<TemplateCount>> {
        Arc::clone(&self.lists.templates)
    }

    /// What was counted so far, by server and view: several zones are one row.
    pub fn sums<W: Clone + Eq + Hash + Ord>(
        &self,
        counts: &Labelled<W>,
    ) -> BTreeMap<(Arc<str>, Arc<str>, W), u64> {
        let labels = lock(&self.lists.labels).clone();
        let mut sums = BTreeMap::new();
        for ((place, what), count) in counts.totals() {
            if let Some(ScopeLabels { server, view, .. }) = labels.get(usize::from(place)) {
                let key = (Arc::clone(server), Arc::clone(view), what);
                *sums.entry(key).or_default() += count;
            }
        }
        sums
    }

    fn writer(&self) -> Arc<Writer> {
        let writer = Arc::new(Writer(
            (0..self.capacity).map(|_| OnceLock::new()).collect(),
        ));
        lock(&self.lists.writers).push(Arc::clone(&writer));
        writer
    }

    /// A recorder for one thread. Its counts stay when it goes.
    pub fn recorder(&self) -> Recorder {
        Recorder {
            writer: self.writer(),
            run: Run {
                place: Scope::NONE.place,
                counts: None,
                untimed: 0,
            },
            untimed: vec![0; self.capacity].into(),
            touched: 0,
        }
    }

    /// A recorder for any thread.
    pub(crate) fn shared_recorder(&self) -> SharedRecorder {
        SharedRecorder(self.writer())
    }

    /// The sums over all threads, by scope.
    pub fn totals(&self) -> Vec<(ScopeLabels, Totals)> {
        let labels = lock(&self.lists.labels).clone();
        let writers = lock(&self.lists.writers).clone();
        let sum = |place: usize| {
            let mut totals = Totals::default();
            let written = writers
                .iter()
                .filter_map(|writer| writer.0.get(place)?.get());
            for counts in written {
                totals.add(counts.0.iter().map(|count| count.load(Ordering::Relaxed)));
            }
            totals
        };
        let places = 0..labels.len();
        labels.into_iter().zip(places.map(sum)).collect()
    }
}

/// Responses of one HTTPS server by status.
#[derive(Default)]
pub struct HttpsStatuses {
    server: Arc<str>,
    counts: [AtomicU64; Self::KNOWN.len()],
}

impl HttpsStatuses {
    /// The statuses that a server answers with; the last also stands for any other.
    const KNOWN: [u16; 8] = [200, 400, 404, 405, 408, 413, 415, 500];

    /// Counts a response.
    pub(crate) fn count(&self, status: u16) {
        let place = Self::KNOWN.iter().position(|known| *known == status);
        let place = place.unwrap_or(Self::KNOWN.len() - 1);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
    }
}

/// What a panicking thread left is whole: lists only grow.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
