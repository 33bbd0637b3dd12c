//! Upstreams: who they are, how they do, and how they are asked.
//!
//! A [`Group`] is what one `forward` names, shared by all slow-path threads; [`Health`] is what is
//! known of one of its servers. Sockets and questions in flight belong to a single thread's
//! `Exchanger`, which needs no locks for them.

mod choice;
mod counters;
mod datagram;
mod exchange;
mod health;
pub mod https;
mod stream;
pub mod tls;
mod waiting;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub use counters::{Carrier, UpstreamCounters};
pub(crate) use exchange::Exchanger;
pub use health::Health;

use crate::chain::Random;

/// How a server is asked.
#[derive(Clone)]
pub enum Transport {
    /// Over UDP or TCP.
    Dns,
    /// Over TLS (RFC 7858).
    Tls {
        /// Whom we trust and who we are.
        config: Arc<rustls::ClientConfig>,
        /// The name in its certificate.
        name: rustls::pki_types::ServerName<'static>,
    },
    /// Over HTTPS (RFC 8484).
    Https {
        /// Whom we trust and who we are.
        config: Arc<rustls::ClientConfig>,
        /// The name in its certificate.
        name: rustls::pki_types::ServerName<'static>,
        /// The host in its URL.
        host: Box<str>,
        /// With GET instead of POST.
        get: bool,
    },
}

/// One server.
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is asked.
    pub transport: Transport,
    /// How it does.
    pub health: Health,
    /// What was counted about it.
    pub counters: Arc<UpstreamCounters>,
    id: u64,
}

impl Upstream {
    /// A server of which nothing is known yet.
    pub fn new(address: SocketAddr, transport: Transport) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            address,
            transport,
            health: Health::default(),
            counters: Arc::default(),
            id: IDS.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// In which order servers are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// At random.
    Random,
    /// One after the other.
    RoundRobin,
    /// The first that is up.
    Sequential,
    /// The quickest first, by the replies that it gave lately.
    Latency,
}

/// How servers are probed once an exchange failed.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// The pause between probes; zero turns them off.
    pub interval: Duration,
    /// Whether probes have RD set.
    pub recursion_desired: bool,
    /// The name asked for: wire form.
    pub domain: Box<[u8]>,
}

/// How a group is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// In which order.
    pub policy: Policy,
    /// Over TCP, however the query came.
    pub force_tcp: bool,
    /// Over UDP first, however the query came; over TCP if that was truncated.
    pub prefer_udp: bool,
    /// How long one server may take.
    pub read_timeout: Duration,
    /// More failed probes than this and a server is down; 0 for never.
    pub max_fails: u32,
    /// Attempts for one query over all servers; 0 for no limit.
    pub max_connect_attempts: usize,
    /// How servers are probed.
    pub health_check: HealthCheck,
    /// Fail at once when all servers are down, instead of trying one.
    pub fail_fast: bool,
    /// Queries under way at once; 0 for no limit.
    pub max_concurrent: usize,
    /// How long an idle connection is kept.
    pub expire: Duration,
    /// How long any connection is kept; zero for no limit.
    pub max_age: Duration,
    /// Idle connections kept for each server, protocol and slow-path thread; 0 for no limit. An
    /// HTTPS server has only one connection anyway.
    pub max_idle_connections: usize,
    /// Response codes with which the next server is asked.
    pub failover: Vec<u16>,
    /// Where our queries come from.
    pub source_address: Option<IpAddr>,
    /// A server that is slower than its recent p99 gets company.
    pub hedge: bool,
}

/// What became of queries, for metrics.
#[derive(Debug, Default)]
pub struct GroupCounters {
    /// Queries refused for `max_concurrent`.
    pub max_concurrent_rejects: AtomicU64,
    /// Times that all servers were down.
    pub healthcheck_broken: AtomicU64,
    /// Second servers asked because the first was slower than usual.
    pub hedged: AtomicU64,
    /// Questions that shared the exchange of an identical one.
    pub shared: AtomicU64,
}

/// The servers of one `forward`.
pub struct Group {
    /// From one to fifteen.
    pub upstreams: Vec<Arc<Upstream>>,
    /// How they are asked.
    pub settings: Settings,
    /// What became of queries.
    pub counters: GroupCounters,
    next: AtomicUsize,
    concurrent: AtomicUsize,
    id: u64,
}

impl Group {
    /// A group of servers.
    pub fn new(upstreams: Vec<Arc<Upstream>>, settings: Settings) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            upstreams,
            settings,
            counters: GroupCounters::default(),
            next: AtomicUsize::new(0),
            concurrent: AtomicUsize::new(0),
            id: IDS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The servers' places in the order in which a query tries them.
    fn order(&self, random: &mut Random) -> Vec<usize> {
        let count = self.upstreams.len();
        let mut order = (0..count).collect::<Vec<_>>();
        match self.settings.policy {
            Policy::Sequential => {}
            Policy::RoundRobin => {
                let first = self.next.fetch_add(1, Ordering::Relaxed) % count.max(1);
                order.rotate_left(first);
            }
            Policy::Random => {
                for place in (1..count).rev() {
                    order.swap(place, random.below(place + 1));
                }
            }
            Policy::Latency => order.sort_by_key(|&place| self.upstreams[place].health.rank()),
        }
        order
    }
}

impl Settings {
    #[cfg(test)]
    pub(crate) fn for_test(policy: Policy) -> Self {
        Self {
            policy,
            force_tcp: false,
            prefer_udp: false,
            read_timeout: Duration::from_secs(2),
            max_fails: 2,
            max_connect_attempts: 4,
            health_check: HealthCheck {
                interval: Duration::from_millis(500),
                recursion_desired: true,
                domain: [0].into(),
            },
            fail_fast: false,
            max_concurrent: 0,
            expire: Duration::from_secs(10),
            max_age: Duration::ZERO,
            max_idle_connections: 0,
            failover: Vec::new(),
            source_address: None,
            hedge: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(policy: Policy) -> Group {
        let upstreams = (1..=3)
            .map(|port| Arc::new(Upstream::new(([127, 0, 0, 1], port).into(), Transport::Dns)))
            .collect();
        Group::new(upstreams, Settings::for_test(policy))
    }

    #[test]
    fn policies_order_servers() {
        let mut random = Random::new();
        let sequential = group(Policy::Sequential);
        assert_eq!(sequential.order(&mut random), [0, 1, 2]);
        assert_eq!(sequential.order(&mut random), [0, 1, 2]);
        let robin = group(Policy::RoundRobin);
        let firsts = (0..4)
            .map(|_| robin.order(&mut random)[0])
            .collect::<Vec<_>>();
        assert_eq!(firsts, [0, 1, 2, 0]);
        let chance = group(Policy::Random);
        let mut seen = [0; 3];
        for _ in 0..3_000 {
            seen[chance.order(&mut random)[0]] += 1;
        }
        assert!(seen.iter().all(|&count| count > 800), "{seen:?}");
        let latency = group(Policy::Latency);
        for (upstream, millis) in latency.upstreams.iter().zip([30, 10, 20]) {
            upstream.health.heard(Duration::from_millis(millis), false);
        }
        assert_eq!(latency.order(&mut random), [1, 2, 0]);
    }
}
