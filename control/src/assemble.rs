//! From typed directives to the engine's plan. Asks the machine for its interfaces, which `bind`
//! and NS records need, and opens nothing.

mod error;
mod kept;
mod stages;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::chain::{Block, Listener, Plan, Protocol};
use martlet_engine::index::ClusterIndex;
use martlet_engine::metrics::{Metrics, Scope};
use martlet_engine::plugins::timeouts::Timeouts;
use martlet_engine::wire::name::{count_labels, write_presentation};
use rustls::ServerConfig;

pub use self::error::AssembleError;
use self::kept::Keeper;
pub use self::kept::Kept;
pub(crate) use self::stages::source_settings;
use self::stages::stages;
use crate::cluster::feed::Cluster;
use crate::corefile::{
    Address, Bind, Corefile, Directives, ListenAddress, Monitor, Multisocket, Position, Prometheus,
    Reload, Scheme, ServerBlock, Shuffle, Target, Tls, ZoneName,
};
use crate::http::Endpoint;
use crate::loops::Probe;
use crate::metrics::Monitored;
use crate::metrics::web;
use crate::telemetry::consolidate::Consolidation;
use crate::tls::TlsError;
use crate::weights::WeightFile;
use crate::zone_file;

/// Everything that a start or a reload needs.
pub struct Assembled {
    /// What the engine serves.
    pub plan: Plan,
    /// The indexes of all `kubernetes` plugins.
    pub indexes: Vec<Arc<ClusterIndex>>,
    /// The clusters behind those of them that nobody feeds yet.
    pub clusters: Vec<Cluster>,
    /// Where `/health` is served.
    pub health: Vec<Endpoint>,
    /// Where `/ready` is served, and whether it may turn unready again.
    pub ready: Vec<(Endpoint, bool)>,
    /// Where `/metrics` is served.
    pub prometheus: Vec<(Endpoint, Option<Arc<ServerConfig>>)>,
    /// How many workers there are to be, if the Corefile says so.
    pub workers: Option<NonZeroUsize>,
    /// What is told there.
    pub monitored: Arc<Monitored>,
    /// How long to go on answering after the order to stop.
    pub lameduck: Duration,
    /// What is printed at the start: zones and ports.
    pub banner: Vec<String>,
    /// What `errors` counts instead of logging, as far as it is new, and the number of the first that
    /// lines carry.
    pub consolidations: (usize, Vec<Consolidation>),
    /// What follows the files that plugins read.
    pub watches: Vec<Watch>,
    /// The detectors of `loop`, and where they ask.
    pub loops: Vec<Probe>,
    /// When to look whether the Corefile has changed.
    pub reload: Option<Reload>,
    /// What the next assembly may take over.
    pub kept: Kept,
}

/// All that [`assemble`] would refuse on any machine.
pub fn problems(corefile: &Corefile) -> Vec<AssembleError> {
    let mut problems = Vec::new();
    for block in &corefile.blocks {
        for Address { scheme, .. } in &block.addresses {
            let position = block.position.clone();
            let scheme_name = scheme.as_str();
            match scheme {
                Scheme::Dns => {}
                Scheme::Tls | Scheme::Https if block.directives.tls.is_some() => {}
                Scheme::Tls | Scheme::Https => problems.push(AssembleError::Certificate {
                    position,
                    scheme: scheme_name,
                }),
                Scheme::Quic | Scheme::Grpc | Scheme::Https3 => {
                    problems.push(AssembleError::Scheme {
                        position,
                        scheme: scheme_name,
                    });
                }
            }
        }
        if let Some(kubernetes) = &block.directives.kubernetes {
            let position = block.position_of("kubernetes", 0);
            problems.extend(source_settings(kubernetes, &position).err());
        }
    }
    problems
}

/// What of the files and hosts that `corefile` names cannot be used here, block by block.
pub fn problems_here(corefile: &Corefile) -> Vec<AssembleError> {
    let mut problems = Vec::new();
    for block in &corefile.blocks {
        let directives = &block.directives;
        if let Some(tls) = &directives.tls {
            let made = crate::tls::server_config(tls, &[]);
            problems.extend(made.err().map(|source| tls_error(tls, source)));
        }
        if let Some(prometheus) = &directives.prometheus {
            problems.extend(web_tls(prometheus).err());
        }
        if let Some(balance) = &directives.loadbalance
            && let Shuffle::Weighted { file, .. } = &balance.shuffle
        {
            // With an interval of zero a missing file is an error.
            let opened = WeightFile::open(file, Duration::ZERO);
            problems.extend(opened.err().map(|source| AssembleError::Weights {
                position: block.position_of("loadbalance", 0),
                source: Box::new(source),
            }));
        }
        for (nth, file) in directives.file.iter().enumerate() {
            let read = |zone| zone_file::parse(&file.path, &wire(zone).0).err();
            let found = file.zones.iter().filter_map(read);
            problems.extend(found.map(|source| AssembleError::ZoneFile {
                position: block.position_of("file", nth),
                source: Box::new(source),
            }));
        }
        let groups = directives.forward.iter().map(crate::upstreams::group);
        problems.extend(groups.filter_map(Result::err).map(AssembleError::Upstream));
    }
    problems
}

/// The TLS that metrics are told over, if they are.
fn web_tls(prometheus: &Prometheus) -> Result<Option<Arc<ServerConfig>>, AssembleError> {
    let position = &prometheus.position;
    let read = prometheus
        .tls
        .as_ref()
        .map(|path| web::read(path, position));
    read.transpose().map_err(|source| AssembleError::Web {
        position: position.clone(),
        source: Box::new(source),
    })
}

fn tls_error(tls: &Tls, source: TlsError) -> AssembleError {
    AssembleError::Tls {
        position: tls.position.clone(),
        source: Box::new(source),
    }
}

/// Makes the plan and all that goes with it. `port` is that of addresses that name none. What was
/// made before with the same settings is taken from `before`.
///
/// # Errors
///
/// What this machine or this version cannot do, with the server block that asks for it.
pub fn assemble(corefile: &Corefile, port: u16, before: &Kept) -> Result<Assembled, AssembleError> {
    if let Some(first) = problems(corefile).into_iter().next() {
        return Err(first);
    }
    let interfaces = interfaces()?;
    let log = before.log.clone();
    let mut keeper = Keeper::new(before);
    let mut watches = Vec::new();
    let mut loops = Vec::new();
    let mut listeners = Listeners::new();
    let (mut health, mut ready, mut lameduck) = (Vec::new(), Vec::new(), Duration::ZERO);
    let mut prometheus = Vec::<(Endpoint, Option<_>)>::new();
    let mut reload = None;
    let mut idle = Vec::new();
    for block in &corefile.blocks {
        let directives = &block.directives;
        let hosts = hosts(block, &interfaces)?;
        let found = Found {
            keeper: &mut keeper,
            watches: &mut watches,
            loops: &mut loops,
        };
        let stages = stages(block, &hosts, port, &interfaces, found)?;
        for Address {
            zone,
            port: own,
            scheme,
        } in &block.addresses
        {
            let port = own.unwrap_or_else(|| scheme.default_port(port));
            for &host in &hosts {
                let (taken, listener) = match listeners.entry((host, port)) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => entry.insert((
                        *scheme,
                        Listener {
                            addresses: listen_addresses(host, port),
                            protocol: protocol(*scheme, directives.tls.as_ref())?,
                            blocks: Vec::new(),
                            timeouts: Timeouts::default(),
                            other_classes: false,
                            scope: Scope::NONE,
                        },
                    )),
                };
                if taken != scheme {
                    return Err(AssembleError::Port {
                        position: block.position.clone(),
                        port,
                        other: taken.as_str(),
                    });
                }
                let (wire, _) = wire(zone);
                if let Some(timeouts) = &directives.timeouts {
                    timeouts.apply(&mut listener.timeouts);
                }
                let stages = Arc::clone(&stages);
                let mut scope = Scope::NONE;
                scope.counted = directives.prometheus.is_some();
                let plan = Block::new(wire, stages, scope);
                if scope.counted {
                    let server = server_name(*scheme, host, port);
                    let of = (server, zone_text(&plan.zone), plan.view().to_owned());
                    idle.extend(without_stage(directives).map(|plugin| (of.clone(), plugin)));
                }
                listener.blocks.push(plan);
                // CoreDNS answers other classes than IN as soon as one block could forward them.
                listener.other_classes |=
                    !directives.forward.is_empty() || directives.chaos.is_some();
            }
        }
        if let Some(found) = &directives.health {
            health.extend(endpoint(health.iter(), &found.address, &found.position));
            lameduck = lameduck.max(found.lameduck);
        }
        if let Some(found) = &directives.ready {
            let continuous = found.monitor == Monitor::Continuously;
            let known = ready.iter().map(|(known, _)| known);
            let new = endpoint(known, &found.address, &found.position);
            ready.extend(new.map(|new| (new, continuous)));
        }
        if let Some(found) = &directives.prometheus {
            let (address, position) = (found.address.to_string(), found.position.clone());
            let tls = web_tls(found)?;
            let known = prometheus
                .iter_mut()
                .find(|(known, _)| known.address == address);
            match known {
                // Whoever asks for TLS must not get plain HTTP.
                Some((_, known)) => *known = known.take().or(tls),
                None => prometheus.push((Endpoint { address, position }, tls)),
            }
        }
        // As in CoreDNS the last one counts.
        reload = directives.reload.or(reload);
    }
    // Without `prometheus` nobody asks for counts, and none are kept.
    let mut metrics = Arc::clone(&before.metrics);
    if !prometheus.is_empty() {
        let missing = missing_scopes(&listeners, &metrics);
        if missing > metrics.room() {
            metrics = Arc::new(metrics.with_room_for(missing));
        }
    }
    let mut monitored = Monitored::new(Arc::clone(&metrics), log.clone());
    let mut banner = Vec::new();
    for ((host, port), (scheme, listener)) in &mut listeners {
        let server = server_name(*scheme, *host, *port);
        if let Protocol::Https(_, statuses) = &mut listener.protocol {
            *statuses = metrics.https(&server);
        }
        listener.scope = metrics.scope(&server, DROPPED, true);
        for block in &mut listener.blocks {
            let zone = zone_text(&block.zone);
            block.scope = metrics.scope_of_view(&server, &zone, block.view(), block.scope.counted);
            monitored.add_block(&server, &zone, block);
        }
        // Stable: blocks of one zone keep their order.
        listener
            .blocks
            .sort_by_key(|block| std::cmp::Reverse(block.labels));
        let mut lines = listener
            .blocks
            .iter()
            .map(|block| banner_line(block, *scheme, *host, *port))
            .collect::<Vec<_>>();
        lines.sort();
        banner.extend(lines);
    }
    for ((server, zone, view), plugin) in &idle {
        monitored.add_enabled(server, zone, view, plugin);
    }
    let listeners = listeners
        .into_values()
        .map(|(_, listener)| Arc::new(listener))
        .collect();
    let plan = Plan {
        listeners,
        log,
        metrics: Arc::clone(&metrics),
    };
    Ok(Assembled {
        plan,
        indexes: keeper.indexes(),
        clusters: std::mem::take(&mut keeper.clusters),
        health,
        ready,
        prometheus,
        workers: workers(corefile),
        monitored: Arc::new(monitored),
        lameduck,
        banner,
        consolidations: keeper.take_consolidations(),
        watches,
        loops,
        reload,
        kept: keeper.finish(metrics),
    })
}

/// Plugins that stand in CoreDNS's chain and have nothing to do in ours.
fn without_stage(directives: &Directives) -> impl Iterator<Item = &'static str> {
    let all = [
        ("metadata", directives.metadata.is_some()),
        ("shed", directives.shed.is_some()),
    ];
    let there = all.into_iter().filter(|(_, is_there)| *is_there);
    there.map(|(name, _)| name)
}

/// Reads a file again and again.
pub type Watch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What blocks need besides their stages.
struct Found<'a, 'k> {
    keeper: &'a mut Keeper<'k>,
    watches: &'a mut Vec<Watch>,
    loops: &'a mut Vec<Probe>,
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// How many workers the `multisocket`s of a Corefile come to. A worker has one socket on each
/// address, so the largest number counts for all.
fn workers(corefile: &Corefile) -> Option<NonZeroUsize> {
    let directives = corefile.blocks.iter().map(|block| &block.directives);
    let numbers = directives.filter_map(|directives| directives.multisocket);
    let numbers = numbers.map(|Multisocket { sockets }| sockets.map_or_else(cores, Into::into));
    numbers.max()
}

/// Cores that this process may use.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// An endpoint, unless one with its address is known.
fn endpoint<'a>(
    mut known: impl Iterator<Item = &'a Endpoint>,
    address: &ListenAddress,
    position: &Position,
) -> Option<Endpoint> {
    let address = address.to_string();
    let is_new = known.all(|known| known.address != address);
    is_new.then(|| Endpoint {
        address,
        position: position.clone(),
    })
}

/// The zone by which CoreDNS counts what no server block took.
const DROPPED: &str = "dropped";

/// By host and port; a host of `None` is every address.
type Listeners = BTreeMap<(Option<IpAddr>, u16), (Scheme, Listener)>;

/// How many places the counts need that they do not have yet.
fn missing_scopes(listeners: &Listeners, metrics: &Metrics) -> usize {
    let mut missing = 0;
    for ((host, port), (scheme, listener)) in listeners {
        let server = server_name(*scheme, *host, *port);
        let blocks = listener.blocks.iter();
        let blocks = blocks.map(|block| (zone_text(&block.zone), block.view()));
        let scopes = std::iter::once((DROPPED.to_owned(), "")).chain(blocks);
        missing += scopes
            .filter(|(zone, view)| !metrics.has_scope(&server, zone, view))
            .count();
    }
    missing
}

/// A server as CoreDNS labels it: `dns://:53`.
fn server_name(scheme: Scheme, host: Option<IpAddr>, port: u16) -> String {
    let scheme = scheme.as_str();
    match host {
        None => format!("{scheme}://:{port}"),
        Some(host) => format!("{scheme}://{}", SocketAddr::new(host, port)),
    }
}

fn zone_text(zone: &[u8]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_presentation(zone, &mut text);
    text
}

/// What carries the queries of a scheme.
fn protocol(scheme: Scheme, tls: Option<&Tls>) -> Result<Protocol, AssembleError> {
    let config = |alpn: &[&[u8]]| {
        let tls = tls.expect("checked before");
        crate::tls::server_config(tls, alpn).map_err(|source| tls_error(tls, source))
    };
    match scheme {
        Scheme::Tls => Ok(Protocol::Tls(config(&[b"dot"])?)),
        Scheme::Https => {
            let config = config(&[b"h2", b"http/1.1"])?;
            Ok(Protocol::Https(config, Arc::default()))
        }
        Scheme::Dns | Scheme::Quic | Scheme::Grpc | Scheme::Https3 => Ok(Protocol::Dns),
    }
}

fn banner_line(block: &Block, scheme: Scheme, host: Option<IpAddr>, port: u16) -> String {
    let zone = zone_text(&block.zone);
    let line = match scheme {
        Scheme::Dns => zone,
        scheme => format!("{}://{zone}", scheme.as_str()),
    };
    match host {
        None => format!("{line}:{port}"),
        Some(host) => format!("{line}:{port} on {host}"),
    }
}

fn listen_addresses(host: Option<IpAddr>, port: u16) -> Vec<SocketAddr> {
    match host {
        Some(host) => vec![SocketAddr::new(host, port)],
        None => vec![
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        ],
    }
}

/// An interface's name and one of its addresses.
type Interface = (String, IpAddr);

fn interfaces() -> Result<Vec<Interface>, AssembleError> {
    let found = if_addrs::get_if_addrs().map_err(AssembleError::Interfaces)?;
    Ok(found
        .into_iter()
        .map(|interface| (interface.name.clone(), interface.ip()))
        .collect())
}

/// Where a block listens; a lone `None` is every address.
fn hosts(
    block: &ServerBlock,
    interfaces: &[Interface],
) -> Result<Vec<Option<IpAddr>>, AssembleError> {
    if block.directives.bind.is_empty() {
        return Ok(vec![None]);
    }
    let resolve = |target: &Target| match target {
        Target::Address(address) => Ok(vec![*address]),
        Target::Interface(name) => {
            let of_name = interfaces.iter().filter(|(known, _)| **known == **name);
            let found = of_name.map(|(_, address)| *address).collect::<Vec<_>>();
            if found.is_empty() {
                let position = block.position_of("bind", 0);
                return Err(AssembleError::Interface {
                    position,
                    name: name.clone(),
                });
            }
            Ok(found)
        }
    };
    let mut hosts = Vec::new();
    for Bind { listen, except } in &block.directives.bind {
        let mut excepted = Vec::new();
        for target in except {
            excepted.extend(resolve(target)?);
        }
        for target in listen {
            for address in resolve(target)? {
                if !excepted.contains(&address) {
                    // `bind 0.0.0.0` is every IPv4 address, not every address.
                    push_once(&mut hosts, Some(address));
                }
            }
        }
    }
    Ok(hosts)
}

fn wire(zone: &ZoneName) -> (Box<[u8]>, usize) {
    let wire = zone.wire();
    let labels = count_labels(&wire);
    (wire, labels)
}
