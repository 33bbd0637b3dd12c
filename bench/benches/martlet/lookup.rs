//! Looking names up: the index against its alternatives, and the whole packet seam.
//!
//! `lookup/index` holds the same Services in the index's own table, in a map behind a
//! reader-writer lock, and in an immutable map that a change copies and swaps as a whole. `alone`
//! is what a look-up costs, `changes` what it costs while another thread replaces a thousand
//! entries a second, `readers` while another thread looks up without pause; `put` is what a change
//! costs. Hash functions, keys and entries are the same in all.
//!
//! `lookup/respond` is from the bytes of a full batch of queries to those of its replies, over names in
//! random order, with their counting: what a worker does between two system calls.

use std::hash::{BuildHasher, Hash, Hasher};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use criterion::{Criterion, Throughput};
use hashbrown::{Equivalent, HashMap};
use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::fixture::{self, PAYLOAD_SIZE, QueryKind};
use martlet_bench::load::QuerySet;
use martlet_engine::index::{
    ClusterIndex, Encoded, Namespace, ServiceKind, ServiceName, ServiceNode, ServiceParts,
    ServiceRef,
};
use martlet_engine::limits::BATCH_MAX;
use martlet_engine::log::LogSink;
use martlet_engine::wire::RType;
use martlet_perf::turn::Turn;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

pub(crate) fn lookup(criterion: &mut Criterion) {
    let cluster = Cluster::new(Shape::default()).expect("a valid shape");
    index::<ClusterIndex>(criterion, &cluster);
    index::<Locked>(criterion, &cluster);
    index::<Swapped>(criterion, &cluster);
    respond_group(criterion, &cluster);
}

/// A table of Services: what the index is, or could be.
trait Table: Default + Sync {
    const NAME: &'static str;

    /// Takes all entries at once.
    fn fill(&self, names: &[Arc<ServiceName>]);

    /// Replaces one entry.
    fn put(&self, name: &Arc<ServiceName>);

    /// Reads an entry as an answer does: whether the name is exposed, and the encoded addresses.
    fn octets(&self, service: ServiceRef<'_>) -> Option<usize>;
}

fn index<T: Table>(criterion: &mut Criterion, cluster: &Cluster) {
    let mut group = criterion.benchmark_group("lookup/index");
    let mut names = names(cluster);
    let table = T::default();
    table.fill(&names);
    names.shuffle(&mut Pcg64Mcg::seed_from_u64(1));

    let mut turn = names.iter().cycle();
    let mut look_up = || {
        let name = turn.next().expect("endless");
        // What a query brings along are its own octets, not the table's.
        let found = table.octets(black_box(name.key()));
        black_box(found.expect("every name is there"))
    };
    group.bench_function(format!("service/{}/alone", T::NAME), |bencher| {
        bencher.iter(&mut look_up)
    });

    let others: [(&str, Other<T>); 2] = [("changes", change), ("readers", read_on)];
    for (name, other) in others {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| other(&table, &names, &stop));
            group.bench_function(format!("service/{}/{name}", T::NAME), |bencher| {
                bencher.iter(&mut look_up);
            });
            stop.store(true, Ordering::Relaxed);
        });
    }

    let mut turn = names.iter().cycle();
    group.bench_function(format!("put/{}", T::NAME), |bencher| {
        bencher.iter(|| table.put(turn.next().expect("endless")));
    });
    group.finish();
}

/// What another thread does meanwhile, until told to stop.
type Other<T> = fn(&T, &[Arc<ServiceName>], &AtomicBool);

fn change<T: Table>(table: &T, names: &[Arc<ServiceName>], stop: &AtomicBool) {
    for name in names.iter().rev().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        table.put(name);
        thread::sleep(CHANGE_EVERY);
    }
}

fn read_on<T: Table>(table: &T, names: &[Arc<ServiceName>], stop: &AtomicBool) {
    for name in names.iter().rev().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        black_box(table.octets(name.key()));
    }
}

/// The names of all Services, each with octets of its own.
fn names(cluster: &Cluster) -> Vec<Arc<ServiceName>> {
    let namespaces: Vec<_> = cluster
        .namespaces()
        .map(|name| {
            let namespace = Namespace::new(&name);
            namespace.set_exposed(true);
            Arc::new(namespace)
        })
        .collect();
    let step = namespaces.len();
    let name = |(at, name): (usize, String)| {
        Arc::new(ServiceName::new(Arc::clone(&namespaces[at % step]), &name))
    };
    cluster
        .workloads()
        .map(|workload| workload.name)
        .enumerate()
        .map(name)
        .collect()
}

fn node() -> ServiceNode {
    let address = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
    ServiceNode::build(ServiceParts {
        kind: ServiceKind::ClusterIp(Box::new([address])),
        ports: Arc::default(),
        slices: Box::default(),
        ttl: fixture::TTL,
        ignore_empty: false,
    })
}

fn read(name: &ServiceName, node: &ServiceNode) -> usize {
    let encoded = match node.encoded(RType::A) {
        Some(Encoded::A(records)) => records.as_flattened().len(),
        _ => 0,
    };
    encoded * usize::from(name.namespace().is_exposed())
}

impl Table for ClusterIndex {
    const NAME: &'static str = "index";

    fn fill(&self, names: &[Arc<ServiceName>]) {
        names.iter().for_each(|name| self.put(name));
    }

    fn put(&self, name: &Arc<ServiceName>) {
        self.put_service(Arc::clone(name), node());
    }

    fn octets(&self, service: ServiceRef<'_>) -> Option<usize> {
        self.service(service, |name, node, _| read(name, node))
    }
}

type Map = HashMap<Key, Arc<ServiceNode>, Passthrough>;

/// A map that readers lock.
#[derive(Default)]
struct Locked(RwLock<Map>);

impl Table for Locked {
    const NAME: &'static str = "rwlock";

    fn fill(&self, names: &[Arc<ServiceName>]) {
        names.iter().for_each(|name| self.put(name));
    }

    fn put(&self, name: &Arc<ServiceName>) {
        let node = Arc::new(node());
        let old = self
            .0
            .write()
            .expect("no panic")
            .insert(Key(Arc::clone(name)), node);
        // Freed here, when the lock is free again.
        drop(old);
    }

    fn octets(&self, service: ServiceRef<'_>) -> Option<usize> {
        let map = self.0.read().expect("no panic");
        let (key, node) = map.get_key_value(&KeyRef(service))?;
        Some(read(&key.0, node))
    }
}

/// A map that is copied for each change.
#[derive(Default)]
struct Swapped(ArcSwap<Map>);

impl Table for Swapped {
    const NAME: &'static str = "arc_swap";

    fn fill(&self, names: &[Arc<ServiceName>]) {
        let entry = |name: &Arc<ServiceName>| (Key(Arc::clone(name)), Arc::new(node()));
        self.0.store(Arc::new(names.iter().map(entry).collect()));
    }

    fn put(&self, name: &Arc<ServiceName>) {
        let mut map = Map::clone(&self.0.load());
        map.insert(Key(Arc::clone(name)), Arc::new(node()));
        self.0.store(Arc::new(map));
    }

    fn octets(&self, service: ServiceRef<'_>) -> Option<usize> {
        let map = self.0.load();
        let (key, node) = map.get_key_value(&KeyRef(service))?;
        Some(read(&key.0, node))
    }
}

#[derive(Clone)]
struct Key(Arc<ServiceName>);

struct KeyRef<'a>(ServiceRef<'a>);

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef(self.0.key()).hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        KeyRef(self.0.key()).equivalent(other)
    }
}

impl Eq for Key {}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0.octets == *key.0.key().octets
    }
}

/// The keys bring their hash along.
#[derive(Clone, Default)]
struct Passthrough(u64);

impl BuildHasher for Passthrough {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

impl Hasher for Passthrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys write one finished hash");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn respond_group(criterion: &mut Criterion, cluster: &Cluster) {
    let (_store, index) = fixture::publish(cluster);
    let mut listener = fixture::listener(index, Vec::new());
    let metrics = fixture::count(&mut listener);
    let (log, _lines) = LogSink::new();
    let plan = (&listener, &log);
    let mut turn = Turn::new(metrics.recorder(), 1);
    let mut group = criterion.benchmark_group("lookup/respond");
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    for kind in QueryKind::ALL {
        let questions = kind.questions(cluster, QUESTIONS);
        let queries = QuerySet::collect(questions, Some(PAYLOAD_SIZE)).expect("valid questions");
        let messages: Vec<&[u8]> = (0..queries.len()).map(|at| queries.datagram(at)).collect();
        for message in &messages {
            turn.answer(&[*message], plan);
            let reply = turn.reply().expect("a reply to each");
            let told = (reply[3] & 0xf, reply[7] > 0 || reply[6] > 0);
            assert_eq!(told, kind.expected(), "{kind:?}: {message:?}");
        }
        // Of some kinds there are fewer questions than asked for.
        let (batches, _) = messages.as_chunks::<BATCH_MAX>();
        let mut batches = batches.iter().cycle();
        group.bench_function(kind.as_str(), |bencher| {
            bencher.iter(|| turn.answer(black_box(batches.next().expect("endless")), plan));
        });
        assert_eq!(turn.unanswered(), 0, "{kind:?}: not all were answered");
    }
    group.finish();
}

/// Questions of each kind: more than the processor's caches hold the answers of.
const QUESTIONS: usize = 8_192;

/// A thousand changes a second: more than a busy cluster makes.
const CHANGE_EVERY: Duration = Duration::from_millis(1);
