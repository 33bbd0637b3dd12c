//! Invented clusters: Namespaces, Services and EndpointSlices in the proportions that matter to a
//! DNS server, at any size.
//!
//! A [`Cluster`] holds only how many endpoints come before each Service; everything else follows
//! from the seed and a Service's index, so that a cluster of any size is walked, written
//! ([`manifest`]) and asked about ([`queries`]) without ever being in memory as a whole. The same
//! [`Shape`] gives the same bytes on every run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use martlet_control::cluster::object::{Key, Object};
use rand::seq::{IndexedRandom, index};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub use workload::{Family, PortSpec, Workload};

pub mod manifest;
pub mod queries;
mod workload;
pub mod zone;

/// The cluster domain that every generated question is asked under.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// Endpoints in one slice at most: the slice controller's default.
pub const SLICE_ENDPOINTS_MAX: u32 = 100;

/// How large a cluster is, and of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Services; at most 2^20 minus a few, the room of 10.96.0.0/12.
    pub services: u32,
    /// Pods behind all Services together, each behind exactly one; at most 2^23 minus a few, the
    /// room of 10.128.0.0/9. A dual-stack Service lists its pods once for each family.
    pub endpoints: u32,
    /// Namespaces; Services are dealt out to them in turn.
    pub namespaces: u32,
    /// Share of Services with `clusterIP: None`, 0 to 1.
    pub headless_share: f64,
    /// Share of Services with both address families, 0 to 1.
    pub dual_stack_share: f64,
    /// Whatever the rest does not fix follows from this.
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            services: 10_000,
            endpoints: 100_000,
            namespaces: 200,
            headless_share: 0.1,
            dual_stack_share: 0.1,
            seed: 1,
        }
    }
}

/// A shape that no cluster can have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// No Services, or no namespace to put them in.
    #[error("a cluster needs at least one service and one namespace")]
    Empty,
    /// The addresses run out.
    #[error("{what}: {asked} do not fit, at most {max} do")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The number asked for.
        asked: u32,
        /// The largest number possible.
        max: u32,
    },
    /// A share outside 0 to 1.
    #[error("{what} share {share} is not between 0 and 1")]
    Share {
        /// Which share.
        what: &'static str,
        /// Its value.
        share: f64,
    },
}

/// An invented cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    shape: Shape,
    /// By Service index: the number of endpoints before it. One more entry than Services.
    endpoints_before: Box<[u32]>,
    /// By Service index.
    headless: Box<[bool]>,
    /// By Service index.
    dual_stack: Box<[bool]>,
}

impl Cluster {
    /// Lays out a cluster.
    pub fn new(shape: Shape) -> Result<Self, ShapeError> {
        check(&shape)?;
        let mut rng = Pcg64Mcg::seed_from_u64(shape.seed);
        let headless = choose(&mut rng, shape.services, shape.headless_share);
        let dual_stack = choose(&mut rng, shape.services, shape.dual_stack_share);
        let endpoints_before = spread(&mut rng, shape.services, shape.endpoints);
        Ok(Self {
            shape,
            endpoints_before,
            headless,
            dual_stack,
        })
    }

    /// The shape that this cluster was made to.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The name of namespace `index`.
    pub fn namespace(&self, index: u32) -> String {
        format!("{}-{index}", pick(&TEAMS, index))
    }

    /// All namespaces' names.
    pub fn namespaces(&self) -> impl Iterator<Item = String> {
        (0..self.shape.namespaces).map(|index| self.namespace(index))
    }

    /// Service `index` and what is behind it; `index` is below [`Shape::services`].
    pub fn workload(&self, index: u32) -> Workload {
        let at = usize::try_from(index).expect("u32 fits usize");
        // A stream of its own for each Service, so that any one can be made without the others.
        let stream = (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut rng = Pcg64Mcg::seed_from_u64(self.shape.seed ^ stream);
        let area = AREAS.choose(&mut rng).expect("not empty");
        let role = ROLES.choose(&mut rng).expect("not empty");
        let headless = self.headless[at];
        Workload {
            index,
            namespace: self.namespace(index % self.shape.namespaces),
            name: format!("{area}-{role}-{index}"),
            headless,
            stateful: headless && rng.random_ratio(3, 4),
            dual_stack: self.dual_stack[at],
            ports: workload::PORT_SETS.choose(&mut rng).expect("not empty"),
            endpoints: self.endpoints_before[at]..self.endpoints_before[at + 1],
        }
    }

    /// All Services, in the order of their indexes.
    pub fn workloads(&self) -> impl Iterator<Item = Workload> {
        (0..self.shape.services).map(|index| self.workload(index))
    }

    /// The Services of one namespace.
    pub fn workloads_of(&self, namespace: u32) -> impl Iterator<Item = Workload> {
        let step = usize::try_from(self.shape.namespaces).expect("u32 fits usize");
        (namespace..self.shape.services)
            .step_by(step)
            .map(|index| self.workload(index))
    }

    /// Every object, as martlet's sources decode the written manifests: Namespaces, then each
    /// Service followed by its EndpointSlices.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        let namespaces = self
            .namespaces()
            .map(|name| Object::Namespace(Key::new("", &name)));
        let rest = self.workloads().flat_map(|workload| {
            let slices: Vec<_> = workload
                .slices()
                .map(|slice| Object::EndpointSlice(workload.slice(&slice)))
                .collect();
            std::iter::once(Object::Service(workload.service())).chain(slices)
        });
        namespaces.chain(rest)
    }
}

fn check(shape: &Shape) -> Result<(), ShapeError> {
    if shape.services == 0 || shape.namespaces == 0 {
        return Err(ShapeError::Empty);
    }
    for (what, asked, max) in [
        ("services", shape.services, SERVICES_MAX),
        ("endpoints", shape.endpoints, ENDPOINTS_MAX),
    ] {
        if asked > max {
            return Err(ShapeError::TooMany { what, asked, max });
        }
    }
    for (what, share) in [
        ("headless", shape.headless_share),
        ("dual-stack", shape.dual_stack_share),
    ] {
        if !(0.0..=1.0).contains(&share) {
            return Err(ShapeError::Share { what, share });
        }
    }
    Ok(())
}

/// Marks exactly `share` of `count`, at random places.
fn choose(rng: &mut Pcg64Mcg, count: u32, share: f64) -> Box<[bool]> {
    let count = usize::try_from(count).expect("u32 fits usize");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "at most 2^20 times a share between 0 and 1"
    )]
    let chosen = (count as f64 * share).round() as usize;
    let mut marks = vec![false; count].into_boxed_slice();
    for at in index::sample(rng, count, chosen) {
        marks[at] = true;
    }
    marks
}

/// Deals `endpoints` out to `services`, unevenly, and returns how many come before each.
fn spread(rng: &mut Pcg64Mcg, services: u32, endpoints: u32) -> Box<[u32]> {
    let weights: Vec<u32> = (0..services)
        .map(|_| *REPLICAS.choose(rng).expect("not empty"))
        .collect();
    let total: u64 = weights.iter().copied().map(u64::from).sum();
    let mut before = Vec::with_capacity(weights.len() + 1);
    let mut sum = 0u64;
    before.push(0);
    for weight in weights {
        sum += u64::from(weight);
        // Rounding the running sum, not each share, is what makes the total exact.
        let exact = sum * u64::from(endpoints) / total;
        before.push(u32::try_from(exact).expect("at most `endpoints`"));
    }
    before.into_boxed_slice()
}

/// Takes entry `index` of a list, round and round.
fn pick<T: Copy>(list: &[T], index: u32) -> T {
    list[usize::try_from(index).expect("u32 fits usize") % list.len()]
}

/// The cluster IP of Service `index` in one family: 10.96.1.0 upwards, past the addresses that a
/// real cluster gives to the API server and to DNS.
const fn cluster_ip(index: u32, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(0x0a60_0100 + index)),
        Family::V6 => {
            let base = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x100).to_bits();
            IpAddr::V6(Ipv6Addr::from_bits(base + index as u128))
        }
    }
}

/// The address of endpoint `index` in one family: 10.128.0.1 upwards.
const fn pod_ip(index: u32, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(0x0a80_0001 + index)),
        Family::V6 => {
            let base = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 1).to_bits();
            IpAddr::V6(Ipv6Addr::from_bits(base + index as u128))
        }
    }
}

const SERVICES_MAX: u32 = (1 << 20) - 0x200;
const ENDPOINTS_MAX: u32 = (1 << 23) - 2;

/// Replica counts to draw from, before scaling to the number of endpoints asked for: most Services
/// are small, a few need several slices.
const REPLICAS: [u32; 16] = [1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 5, 6, 8, 16, 32, 240];

const TEAMS: [&str; 10] = [
    "payments",
    "search",
    "checkout",
    "platform",
    "ml",
    "identity",
    "media",
    "billing",
    "logistics",
    "monitoring",
];

const AREAS: [&str; 12] = [
    "cart", "user", "order", "invoice", "catalog", "session", "image", "mail", "price", "stock",
    "report", "audit",
];

const ROLES: [&str; 8] = [
    "api", "worker", "db", "cache", "web", "queue", "gateway", "index",
];

#[cfg(test)]
mod tests;
