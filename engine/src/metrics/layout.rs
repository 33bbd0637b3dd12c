//! Where each count of a scope stands, and what it is called.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::wire::{RType, Rcode};

/// Types with a label of their own, as in CoreDNS; all others are one more.
pub const TYPES: [RType; 19] = [
    RType::A,
    RType::AAAA,
    RType::PTR,
    RType::SRV,
    RType::CNAME,
    RType::MX,
    RType::NS,
    RType::SOA,
    RType::TXT,
    RType::HTTPS,
    RType::SVCB,
    RType::DS,
    RType::DNSKEY,
    RType::RRSIG,
    RType::NSEC,
    RType::NSEC3,
    RType::IXFR,
    RType::AXFR,
    RType::ANY,
];
const TYPE_COUNT: usize = TYPES.len() + 1;

/// The place of each type below 256.
const TYPE_PLACES: [u8; 256] = {
    let mut places = [TYPES.len() as u8; 256];
    let mut place = 0;
    while place < TYPES.len() {
        places[TYPES[place].0 as usize] = place as u8;
        place += 1;
    }
    places
};

/// The label of the type at a place.
pub fn type_name(place: usize) -> &'static str {
    let mnemonic = TYPES.get(place).and_then(|rtype| rtype.mnemonic());
    mnemonic.unwrap_or("other")
}

/// Response codes with a place of their own, 0 to 23; greater ones share one more.
pub const RCODES: usize = 25;

/// The upper bounds of size buckets, in octets; one more bucket has no bound.
pub const SIZE_BOUNDS: [u16; 14] = [
    0, 100, 200, 300, 400, 511, 1_023, 2_047, 4_095, 8_291, 16_000, 32_000, 48_000, 64_000,
];
/// Buckets of durations with a bound: 0.25 ms, then doubled each; one more has none.
pub const DURATION_BUCKETS: usize = 16;
/// The bound of the first bucket, in nanoseconds.
const DURATION_FIRST: u64 = 250_000;

/// Who wrote a reply.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Plugin {
    /// The server itself.
    #[default]
    None,
    /// `errors`.
    Errors,
    /// `log`.
    Log,
    /// `local`.
    Local,
    /// `any`.
    Any,
    /// `loadbalance`.
    LoadBalance,
    /// `cache`.
    Cache,
    /// `kubernetes`.
    Kubernetes,
    /// `loop`.
    Loop,
    /// `forward`.
    Forward,
    /// `whoami`.
    Whoami,
    /// `hosts`.
    Hosts,
    /// `template`.
    Template,
    /// `acl`.
    Acl,
    /// `rewrite`.
    Rewrite,
    /// `minimal`.
    Minimal,
    /// `chaos`.
    Chaos,
    /// `autopath`.
    Autopath,
    /// `dns64`.
    Dns64,
    /// `erratic`.
    Erratic,
    /// `no_aaaa`.
    NoAaaa,
    /// `file`.
    File,
    /// `header`.
    Header,
    /// `bufsize`.
    Bufsize,
    /// `view`.
    View,
    /// `nsid`.
    Nsid,
    /// `k8s_external`.
    K8sExternal,
    /// `transfer`.
    Transfer,
    /// `cancel`.
    Cancel,
}

impl Plugin {
    /// All of them, each at its own place.
    pub const ALL: [Self; 29] = [
        Self::None,
        Self::Errors,
        Self::Log,
        Self::Local,
        Self::Any,
        Self::LoadBalance,
        Self::Cache,
        Self::Kubernetes,
        Self::Loop,
        Self::Forward,
        Self::Whoami,
        Self::Hosts,
        Self::Template,
        Self::Acl,
        Self::Rewrite,
        Self::Minimal,
        Self::Chaos,
        Self::Autopath,
        Self::Dns64,
        Self::Erratic,
        Self::NoAaaa,
        Self::File,
        Self::Header,
        Self::Bufsize,
        Self::View,
        Self::Nsid,
        Self::K8sExternal,
        Self::Transfer,
        Self::Cancel,
    ];

    /// The plugin's name; empty for the server itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Errors => "errors",
            Self::Log => "log",
            Self::Local => "local",
            Self::Any => "any",
            Self::LoadBalance => "loadbalance",
            Self::Cache => "cache",
            Self::Kubernetes => "kubernetes",
            Self::Loop => "loop",
            Self::Forward => "forward",
            Self::Whoami => "whoami",
            Self::Hosts => "hosts",
            Self::Template => "template",
            Self::Acl => "acl",
            Self::Rewrite => "rewrite",
            Self::Minimal => "minimal",
            Self::Chaos => "chaos",
            Self::Autopath => "autopath",
            Self::Dns64 => "dns64",
            Self::Erratic => "erratic",
            Self::NoAaaa => "no_aaaa",
            Self::File => "file",
            Self::Header => "header",
            Self::Bufsize => "bufsize",
            Self::View => "view",
            Self::Nsid => "nsid",
            Self::K8sExternal => "k8s_external",
            Self::Transfer => "transfer",
            Self::Cancel => "cancel",
        }
    }
}

/// What a plugin counts besides replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Event {
    /// `cache` was asked.
    CacheRequest,
    /// It had an answer.
    CacheHitSuccess,
    /// It had a denial or a failure.
    CacheHitDenial,
    /// It had nothing.
    CacheMiss,
    /// It had an entry asked for again behind the client's back.
    CachePrefetch,
    /// It served what had expired.
    CacheStale,
    /// `local` answered a name at or under `localhost`.
    Localhost,
    /// `acl` let a query pass.
    AclAllowed,
    /// `autopath` found what a search list would have led to.
    AutopathSuccess,
    /// `dns64` made AAAA records.
    Dns64Translated,
}

impl Event {
    const COUNT: usize = 10;

    pub(crate) const fn bit(self) -> u16 {
        1 << self as u8
    }
}

const SIZES: usize = SIZE_BOUNDS.len() + 2;
const REQUESTS: usize = 0;
pub(super) const DO_REQUESTS: usize = REQUESTS + 4 * TYPE_COUNT;
const DURATION: usize = DO_REQUESTS + 1;
const REQUEST_SIZE: usize = DURATION + DURATION_BUCKETS + 2;
const RESPONSE_SIZE: usize = REQUEST_SIZE + 2 * SIZES;
const RESPONSES: usize = RESPONSE_SIZE + 2 * SIZES;
pub(super) const EVENTS: usize = RESPONSES + Plugin::ALL.len() * RCODES;
/// The number of counts.
pub(super) const LEN: usize = EVENTS + Event::COUNT;

#[inline]
pub(super) fn request(stream: bool, ipv6: bool, qtype: RType) -> usize {
    let place = match TYPE_PLACES.get(usize::from(qtype.0)) {
        Some(place) => usize::from(*place),
        None => TYPES.len(),
    };
    REQUESTS + (2 * usize::from(stream) + usize::from(ipv6)) * TYPE_COUNT + place
}

#[inline]
pub(super) fn response(plugin: Plugin, rcode: Rcode) -> usize {
    RESPONSES + plugin as usize * RCODES + usize::from(rcode.0).min(RCODES - 1)
}

/// The places of the bucket and of the sum.
#[inline]
pub(super) fn request_size(stream: usize, len: u16) -> (usize, usize) {
    let base = REQUEST_SIZE + stream * SIZES;
    (base + size_bucket(len), base + SIZES - 1)
}

/// The places of the bucket and of the sum.
#[inline]
pub(super) fn response_size(stream: usize, len: u16) -> (usize, usize) {
    let base = RESPONSE_SIZE + stream * SIZES;
    (base + size_bucket(len), base + SIZES - 1)
}

#[inline]
fn size_bucket(len: u16) -> usize {
    match SIZE_PLACES.get(usize::from(len)) {
        Some(place) => usize::from(*place),
        None => bucket_of(len),
    }
}

/// The buckets of the usual sizes, which need no search.
const SIZE_PLACES: [u8; 512] = {
    let mut places = [0; 512];
    let mut len = 0;
    while len < places.len() {
        places[len] = bucket_of(len as u16) as u8;
        len += 1;
    }
    places
};

const fn bucket_of(len: u16) -> usize {
    let mut bucket = 0;
    while bucket < SIZE_BOUNDS.len() && SIZE_BOUNDS[bucket] < len {
        bucket += 1;
    }
    bucket
}

/// The places of the bucket and of the sum.
pub(super) fn duration(nanos: u64) -> (usize, usize) {
    let bucket = DURATION + duration_bucket(nanos);
    (bucket, DURATION + DURATION_BUCKETS + 1)
}

fn duration_bucket(nanos: u64) -> usize {
    let units = nanos.div_ceil(DURATION_FIRST).max(1);
    let doublings = (u64::BITS - (units - 1).leading_zeros()) as usize;
    doublings.min(DURATION_BUCKETS)
}

/// Durations that several threads write.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [AtomicU64; DURATION_BUCKETS + 1],
    nanos: AtomicU64,
}

impl Durations {
    /// Counts one.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[duration_bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn totals(&self) -> DurationTotals {
        DurationTotals {
            buckets: self.buckets.each_ref().map(|n| n.load(Ordering::Relaxed)),
            nanos: self.nanos.load(Ordering::Relaxed),
        }
    }
}

/// Counted durations.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DurationTotals {
    buckets: [u64; DURATION_BUCKETS + 1],
    nanos: u64,
}

impl DurationTotals {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
        self.nanos += other.nanos;
    }

    /// As a histogram.
    pub const fn histogram(&self) -> Histogram<'_> {
        Histogram {
            buckets: &self.buckets,
            sum: self.nanos,
        }
    }
}

impl Histogram<'_> {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Counts in buckets, not cumulative, and the sum of what was counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Histogram<'a> {
    /// One count a bucket; the last bucket has no bound.
    pub buckets: &'a [u64],
    /// The sum, in octets or nanoseconds.
    pub sum: u64,
}

/// The counts of one scope.
#[derive(Clone, Debug)]
pub struct Totals([u64; LEN]);

impl Default for Totals {
    fn default() -> Self {
        Self([0; LEN])
    }
}

impl Totals {
    pub(super) fn add(&mut self, counts: impl Iterator<Item = u64>) {
        for (sum, count) in self.0.iter_mut().zip(counts) {
            *sum += count;
        }
    }

    fn histogram(&self, base: usize, buckets: usize) -> Histogram<'_> {
        Histogram {
            buckets: &self.0[base..base + buckets],
            sum: self.0[base + buckets],
        }
    }

    /// Queries: over a stream, over IPv6, place of the type (see [`type_name`]), count.
    pub fn requests(&self) -> impl Iterator<Item = (bool, bool, usize, u64)> {
        let counts = self.0[REQUESTS..DO_REQUESTS].iter().enumerate();
        counts.map(|(at, count)| {
            let (way, rtype) = (at / TYPE_COUNT, at % TYPE_COUNT);
            (way & 2 != 0, way & 1 != 0, rtype, *count)
        })
    }

    /// Queries with DO set.
    pub const fn do_requests(&self) -> u64 {
        self.0[DO_REQUESTS]
    }

    /// Replies: who wrote them, response code, count. The last code is any that has no place.
    pub fn responses(&self) -> impl Iterator<Item = (Plugin, usize, u64)> {
        let counts = self.0[RESPONSES..EVENTS].iter().enumerate();
        counts.map(|(at, count)| (Plugin::ALL[at / RCODES], at % RCODES, *count))
    }

    /// How long queries took, in nanoseconds.
    pub fn durations(&self) -> Histogram<'_> {
        self.histogram(DURATION, DURATION_BUCKETS + 1)
    }

    /// Sizes of queries.
    pub fn request_sizes(&self, stream: bool) -> Histogram<'_> {
        self.histogram(REQUEST_SIZE + usize::from(stream) * SIZES, SIZES - 1)
    }

    /// Sizes of replies.
    pub fn response_sizes(&self, stream: bool) -> Histogram<'_> {
        self.histogram(RESPONSE_SIZE + usize::from(stream) * SIZES, SIZES - 1)
    }

    /// How often something happened.
    pub const fn event(&self, event: Event) -> u64 {
        self.0[EVENTS + event as usize]
    }
}
