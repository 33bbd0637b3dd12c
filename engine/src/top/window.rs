//! What the queries of late were about: sketches of one thread, and those of all threads together.
//!
//! It costs a query some 35 instructions on average (`perf/instructions` counts them with the rest).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Sketch;
use super::sampler::Sampler;
use crate::chain::Peer;
use crate::respond::Scratch;
use crate::wire::name::span_hash;

/// After so long a query counts half.
pub const HALF_LIFE: Duration = Duration::from_secs(60);

/// What one thread counts: by clients' addresses, by owner names, and by owner names in a cluster's
/// zones that do not exist.
pub struct Window {
    sketches: Mutex<Sketches>,
}

struct Sketches {
    clients: Sketch,
    names: Sketch,
    missed: Sketch,
    /// Up to when counts were halved.
    halved: Instant,
}

/// A thread's eye on its queries.
#[derive(Debug)]
pub struct Observer(Sampler);

impl Observer {
    /// One that picks queries as `seed` has it.
    pub fn new(seed: u64) -> Self {
        Self(Sampler::new(seed))
    }

    /// Whether the query that was answered last is one of those that are looked at.
    #[inline]
    pub fn looks(&mut self) -> bool {
        self.0.picks()
    }
}

/// The busiest of all threads, each with an estimate of its queries, the busiest first.
#[derive(Debug, Default)]
pub struct Busiest {
    /// Clients.
    pub clients: Vec<(IpAddr, u64)>,
    /// Owner names on the wire, in lower case.
    pub names: Vec<(Box<[u8]>, u64)>,
    /// Those of them that got NXDOMAIN in a cluster's zone.
    pub missed: Vec<(Box<[u8]>, u64)>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            sketches: Mutex::new(Sketches {
                clients: Sketch::default(),
                names: Sketch::default(),
                missed: Sketch::default(),
                halved: Instant::now(),
            }),
        }
    }
}

impl Window {
    /// Counts the query that was answered last.
    #[cold]
    pub fn see(&self, scratch: &Scratch, peer: &Peer) {
        let seen = &scratch.seen;
        if seen.is_query() {
            let client = peer.remote.ip();
            self.count(client, scratch.octets(), seen.is_missed(), peer.received);
        }
    }

    /// Counts a query that was picked. One that comes while the counts are read is left out: nobody
    /// waits here.
    fn count(&self, client: IpAddr, name: &[u8], is_missed: bool, now: Instant) {
        let Ok(mut sketches) = self.sketches.try_lock() else {
            return;
        };
        sketches.age(now);
        match client {
            IpAddr::V4(address) => sketches.clients.count_octets(&address.octets()),
            IpAddr::V6(address) => sketches.clients.count_octets(&address.octets()),
        }
        let hash = span_hash(name);
        sketches.names.count(name, hash);
        if is_missed {
            sketches.missed.count(name, hash);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sketches> {
        self.sketches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sketches {
    fn age(&mut self, now: Instant) {
        let mut sketches = [&mut self.clients, &mut self.names, &mut self.missed];
        while now.saturating_duration_since(self.halved) >= HALF_LIFE {
            if sketches.iter().all(|sketch| sketch.is_empty()) {
                self.halved = now;
                return;
            }
            sketches.iter_mut().for_each(|sketch| sketch.halve());
            self.halved += HALF_LIFE;
        }
    }
}

impl Sketch {
    fn count_octets(&mut self, octets: &[u8]) {
        self.count(octets, span_hash(octets));
    }
}

impl Busiest {
    /// Adds up what threads have counted.
    pub(crate) fn of<'w>(windows: impl IntoIterator<Item = &'w Window>, now: Instant) -> Self {
        let mut clients = HashMap::new();
        let mut names = HashMap::new();
        let mut missed = HashMap::new();
        for window in windows {
            let mut sketches = window.lock();
            sketches.age(now);
            add(&mut clients, &sketches.clients, address);
            add(&mut names, &sketches.names, |key| Some(key.into()));
            add(&mut missed, &sketches.missed, |key| Some(key.into()));
        }
        Self {
            clients: sorted(clients),
            names: sorted(names),
            missed: sorted(missed),
        }
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

fn add<K: Eq + Hash>(
    sums: &mut HashMap<K, u64>,
    sketch: &Sketch,
    read: impl Fn(&[u8]) -> Option<K>,
) {
    for busy in sketch.iter() {
        if let Some(key) = read(busy.key) {
            *sums.entry(key).or_default() += u64::from(busy.count) * u64::from(Sampler::RATE);
        }
    }
}

/// The busiest first; equals in an order that stays.
fn sorted<K: Ord>(sums: HashMap<K, u64>) -> Vec<(K, u64)> {
    let mut all = sums.into_iter().collect::<Vec<_>>();
    all.sort_unstable_by(|(one, more), (other, less)| less.cmp(more).then_with(|| one.cmp(other)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::wire_from_text;

    #[test]
    fn threads_are_added_up_and_the_past_fades() {
        let windows = [Window::default(), Window::default()];
        let start = Instant::now();
        let ask = |window: &Window, client: [u8; 4], text: &str, is_missed| {
            let wire = wire_from_text(text).unwrap();
            window.count(client.into(), &wire, is_missed, start);
        };
        for _ in 0..4 {
            ask(
                &windows[0],
                [10, 0, 0, 1],
                "web.shop.svc.cluster.local",
                false,
            );
            ask(
                &windows[1],
                [10, 0, 0, 1],
                "example.com.cluster.local",
                true,
            );
        }
        ask(
            &windows[1],
            [10, 0, 0, 2],
            "web.shop.svc.cluster.local",
            false,
        );
        let rate = u64::from(Sampler::RATE);
        let counts = |minutes: u32| {
            let busiest = Busiest::of(&windows, start + HALF_LIFE * minutes);
            let missed = busiest.missed.iter().map(|(_, count)| count / rate);
            let names = busiest.names.iter().map(|(_, count)| count / rate);
            let clients = busiest
                .clients
                .iter()
                .map(|(client, count)| (client.to_string(), count / rate));
            let clients = clients.collect::<Vec<_>>();
            (
                clients,
                names.collect::<Vec<_>>(),
                missed.collect::<Vec<_>>(),
            )
        };
        let client = |last: u8, count| (format!("10.0.0.{last}"), count);
        assert_eq!(
            counts(0),
            (vec![client(1, 8), client(2, 1)], vec![5, 4], vec![4])
        );
        assert_eq!(counts(1), (vec![client(1, 4)], vec![2, 2], vec![2]));
        assert_eq!(counts(60), (vec![], vec![], vec![]));
    }
}
