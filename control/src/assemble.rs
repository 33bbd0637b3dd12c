//! From typed directives to the engine's plan. Asks the machine for its interfaces, which `bind`
//! and NS records need, and opens nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Receiver;
use martlet_engine::chain::{Block, Listener, Plan, Protocol, Stage};
use martlet_engine::index::ClusterIndex;
use martlet_engine::log::{Line, LogSink};
use martlet_engine::plugins::{cache, errors, forward, kubernetes, local, log};
use martlet_engine::wire::name::{count_labels, wire_from_text};

use crate::cluster::feed::{Cluster, Source};
use crate::cluster::selector::{Selector, SelectorError};
use crate::cluster::source::SourceSettings;
use crate::cluster::source::api::{Access, ApiLimits, ClientTls};
use crate::cluster::store::StoreSettings;
use crate::corefile::{
    Address, Bind, Cache, Class, Corefile, Directives, Fallthrough, Kubernetes, KubernetesSource,
    Log, Loop, Monitor, PodMode, Position, Refresh, Scheme, ServerBlock, Shuffle, Store, Target,
    Tls, ZoneName,
};
use crate::loops::{self, Probe};
use crate::tls::TlsError;
use crate::upstreams::{self, UpstreamError};

/// Everything that a start needs.
pub struct Assembled {
    /// What the engine serves.
    pub plan: Plan,
    /// The clusters behind the `kubernetes` plugins.
    pub clusters: Vec<Cluster>,
    /// Where `/health` is served.
    pub health: Vec<String>,
    /// Where `/ready` is served, and whether it may turn unready again.
    pub ready: Vec<(String, bool)>,
    /// How long to go on answering after the order to stop.
    pub lameduck: Duration,
    /// What is printed at the start: zones and ports.
    pub banner: Vec<String>,
    /// What an operator should know about options that have no effect yet.
    pub notes: Vec<String>,
    /// The detectors of `loop`, and where they ask.
    pub loops: Vec<Probe>,
    /// The printing end of the workers' log.
    pub lines: Receiver<Line>,
}

/// What a sound Corefile asks for and cannot have.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// DNS over gRPC, QUIC or HTTP/3.
    #[error("{position}: `{scheme}://` is not supported; serve `dns://`, `tls://` or `https://`")]
    Scheme {
        /// Where the server block stands.
        position: Position,
        /// The scheme.
        scheme: &'static str,
    },
    /// TLS or HTTPS without a certificate.
    #[error("{position}: `{scheme}://` needs a certificate; add `tls CERTIFICATE KEY`")]
    Certificate {
        /// Where the server block stands.
        position: Position,
        /// The scheme.
        scheme: &'static str,
    },
    /// A certificate or key that cannot be used.
    #[error("{position}: tls: {source}")]
    Tls {
        /// Where the directive stands.
        position: Position,
        /// What is wrong with it.
        source: Box<TlsError>,
    },
    /// Two schemes on one port.
    #[error("{position}: port {port} is served as `{other}://` by another server block")]
    Port {
        /// Where the server block stands.
        position: Position,
        /// The port.
        port: u16,
        /// Its other use.
        other: &'static str,
    },
    /// A label selector that is none.
    #[error("{position}: kubernetes: `{option} {text}`: {source}")]
    Selector {
        /// Where the server block stands.
        position: Position,
        /// The option.
        option: &'static str,
        /// The selector.
        text: String,
        /// What is wrong with it.
        source: Box<SelectorError>,
    },
    /// `bind` names an interface that is not there.
    #[error("{position}: bind: this machine has no interface `{name}` with an IP address")]
    Interface {
        /// Where the server block stands.
        position: Position,
        /// The name.
        name: Box<str>,
    },
    /// The upstreams of a `forward`.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The interfaces cannot be listed.
    #[error("cannot list the network interfaces: {0}")]
    Interfaces(std::io::Error),
}

/// Looks for what [`assemble`] would refuse on any machine.
///
/// # Errors
///
/// The first such thing.
pub fn check(corefile: &Corefile) -> Result<(), AssembleError> {
    for block in &corefile.blocks {
        for Address { scheme, .. } in &block.addresses {
            let position = block.position.clone();
            let scheme_name = scheme.as_str();
            match scheme {
                Scheme::Dns => {}
                Scheme::Tls | Scheme::Https if block.directives.tls.is_some() => {}
                Scheme::Tls | Scheme::Https => {
                    return Err(AssembleError::Certificate {
                        position,
                        scheme: scheme_name,
                    });
                }
                Scheme::Quic | Scheme::Grpc | Scheme::Https3 => {
                    return Err(AssembleError::Scheme {
                        position,
                        scheme: scheme_name,
                    });
                }
            }
        }
        if let Some(kubernetes) = &block.directives.kubernetes {
            source_settings(kubernetes, &block.position)?;
        }
    }
    Ok(())
}

/// Makes the plan and all that goes with it. `port` is that of addresses that name none.
///
/// # Errors
///
/// What this machine or this version cannot do, with the server block that asks for it.
pub fn assemble(corefile: &Corefile, port: u16) -> Result<Assembled, AssembleError> {
    check(corefile)?;
    let interfaces = interfaces()?;
    let (log, lines) = LogSink::new();
    let mut clusters = Vec::new();
    let mut notes = Vec::new();
    let mut loops = Vec::new();
    // By host and port; `None` is every address.
    let mut listeners = BTreeMap::<(Option<IpAddr>, u16), (Scheme, Listener)>::new();
    let (mut health, mut ready, mut lameduck) = (Vec::new(), Vec::new(), Duration::ZERO);
    for block in &corefile.blocks {
        let directives = &block.directives;
        let hosts = hosts(block, &interfaces)?;
        let found = Found {
            clusters: &mut clusters,
            notes: &mut notes,
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
                            other_classes: false,
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
                let (wire, labels) = wire(zone);
                let stages = Arc::clone(&stages);
                listener.blocks.push(Block {
                    zone: wire,
                    labels,
                    stages,
                });
                // CoreDNS answers other classes than IN as soon as one block could forward them.
                listener.other_classes |= !directives.forward.is_empty();
            }
        }
        if let Some(found) = &directives.health {
            push_once(&mut health, found.address.to_string());
            lameduck = lameduck.max(found.lameduck);
        }
        if let Some(found) = &directives.ready {
            let continuous = found.monitor == Monitor::Continuously;
            push_once(&mut ready, (found.address.to_string(), continuous));
        }
    }
    let mut banner = Vec::new();
    for ((host, port), (scheme, listener)) in &mut listeners {
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
    let listeners = listeners
        .into_values()
        .map(|(_, listener)| Arc::new(listener))
        .collect();
    let plan = Plan { listeners, log };
    Ok(Assembled {
        plan,
        clusters,
        health,
        ready,
        lameduck,
        banner,
        notes,
        loops,
        lines,
    })
}

/// What blocks need besides their stages.
struct Found<'a> {
    clusters: &'a mut Vec<Cluster>,
    notes: &'a mut Vec<String>,
    loops: &'a mut Vec<Probe>,
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// What carries the queries of a scheme.
fn protocol(scheme: Scheme, tls: Option<&Tls>) -> Result<Protocol, AssembleError> {
    let config = |alpn: &[&[u8]]| {
        let tls = tls.expect("checked before");
        crate::tls::server_config(tls, alpn).map_err(|source| AssembleError::Tls {
            position: tls.position.clone(),
            source: Box::new(source),
        })
    };
    match scheme {
        Scheme::Tls => Ok(Protocol::Tls(config(&[b"dot"])?)),
        Scheme::Https => Ok(Protocol::Https(config(&[b"h2", b"http/1.1"])?)),
        Scheme::Dns | Scheme::Quic | Scheme::Grpc | Scheme::Https3 => Ok(Protocol::Dns),
    }
}

fn banner_line(block: &Block, scheme: Scheme, host: Option<IpAddr>, port: u16) -> String {
    let mut line = match scheme {
        Scheme::Dns => String::new(),
        scheme => format!("{}://", scheme.as_str()),
    };
    // Writing to a string cannot fail.
    let _ = martlet_engine::wire::name::write_presentation(&block.zone, &mut line);
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
                let position = block.position.clone();
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

/// The addresses that NS records of a block show: those it is bound to, or all of the machine; no
/// loopback either way.
fn own_addresses(hosts: &[Option<IpAddr>], interfaces: &[Interface]) -> Arc<[IpAddr]> {
    let bound = hosts.iter().flatten().copied().collect::<Vec<_>>();
    let all = interfaces.iter().map(|(_, address)| *address).collect();
    let candidates = if bound.is_empty() { all } else { bound };
    candidates
        .into_iter()
        .filter(|address| !address.is_loopback())
        .collect()
}

fn wire(zone: &ZoneName) -> (Box<[u8]>, usize) {
    let wire = wire_from_text(zone.as_str()).expect("the Corefile holds only valid names");
    let labels = count_labels(&wire);
    (wire, labels)
}

/// The stages of a block, in CoreDNS's order.
fn stages(
    block: &ServerBlock,
    hosts: &[Option<IpAddr>],
    port: u16,
    interfaces: &[Interface],
    found: Found<'_>,
) -> Result<Arc<[Stage]>, AssembleError> {
    let Found {
        clusters,
        notes,
        loops,
    } = found;
    let Directives {
        errors,
        log,
        local,
        any,
        loadbalance,
        cache,
        kubernetes,
        loop_,
        forward,
        whoami,
        ..
    } = &block.directives;
    let cache = cache.as_ref().map(|cache| Arc::new(cache_stage(cache)));
    let mut note = |text: &str| notes.push(format!("{}: {text}", block.position));
    let mut stages = Vec::new();
    if let Some(errors) = errors {
        if !errors.consolidate.is_empty() {
            note("errors: `consolidate` is not supported yet; every error is logged");
        }
        stages.push(Stage::Errors(errors::Errors));
    }
    if !log.is_empty() {
        stages.push(Stage::Log(log::Log {
            rules: log.iter().flat_map(log_rules).collect(),
        }));
    }
    if let Some(local) = local {
        stages.push(Stage::Local(local::Local {
            localhost_prefix: local.localhost_prefix,
        }));
    }
    if any.is_some() {
        stages.push(Stage::Any);
    }
    if let Some(loadbalance) = loadbalance {
        if loadbalance.shuffle != Shuffle::Random || !loadbalance.prefer.is_empty() {
            note("loadbalance: `weighted` and `prefer` are not supported yet; addresses rotate");
        }
        stages.push(Stage::LoadBalance);
    }
    if let Some(cache) = &cache {
        stages.push(Stage::Clamp(Arc::clone(cache)));
    }
    if let Some(kubernetes) = kubernetes {
        let index = Arc::new(ClusterIndex::default());
        let own = own_addresses(hosts, interfaces);
        stages.push(Stage::Kubernetes(Box::new(kubernetes_stage(
            kubernetes,
            Arc::clone(&index),
            own,
        ))));
        clusters.push(cluster(kubernetes, index, &block.position)?);
    }
    // What is answered without upstreams is not kept: see `plugins::cache`.
    if let Some(cache) = cache
        && !forward.is_empty()
    {
        stages.push(Stage::Store(cache));
    }
    if let Some(directive) = loop_ {
        let probe = probe(directive, block, hosts, port);
        stages.push(Stage::Loop(Arc::clone(&probe.detector)));
        loops.push(probe);
    }
    for (place, directive) in forward.iter().enumerate() {
        let (from, from_labels) = wire(&directive.from);
        let is_last = place + 1 == forward.len();
        stages.push(Stage::Forward(forward::Forward {
            from,
            from_labels,
            except: directive.except.iter().map(wire).collect(),
            group: upstreams::group(directive)?,
            next: if is_last {
                Vec::new()
            } else {
                directive.next.clone()
            },
            next_on_nodata: directive.next_on_nodata && !is_last,
        }));
    }
    if whoami.is_some() {
        stages.push(Stage::Whoami);
    }
    Ok(stages.into())
}

/// Where `loop` asks: at the block's first address.
fn probe(directive: &Loop, block: &ServerBlock, hosts: &[Option<IpAddr>], port: u16) -> Probe {
    let host = match hosts.first().copied().flatten() {
        None => Ipv4Addr::LOCALHOST.into(),
        Some(host) if host.is_unspecified() && host.is_ipv6() => Ipv6Addr::LOCALHOST.into(),
        Some(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Some(host) => host,
    };
    let first = block.addresses.first();
    let port = first.map_or(port, |first| {
        first
            .port
            .unwrap_or_else(|| first.scheme.default_port(port))
    });
    let address = SocketAddr::new(host, port);
    Probe {
        detector: loops::detector(&wire(&directive.zone).0, address),
        address,
    }
}

fn cache_stage(directive: &Cache) -> cache::Cache {
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let range = |store: &Store| cache::TtlRange {
        min: seconds(store.ttl_min),
        max: seconds(store.ttl_max),
    };
    let zones = |zones: &[ZoneName]| zones.iter().map(wire).collect::<Vec<_>>();
    // As CoreDNS's 256 shards of at least four entries.
    let capacity = |store: &Store| (store.capacity / 256 * 256).max(1_024);
    cache::Cache {
        zones: zones(&directive.zones),
        success: range(&directive.success),
        denial: range(&directive.denial),
        success_disabled: zones(&directive.success.disabled),
        denial_disabled: zones(&directive.denial.disabled),
        servfail: seconds(directive.servfail),
        prefetch: directive.prefetch.map(|prefetch| cache::Prefetch {
            hits: prefetch.hits,
            pause: prefetch.pause,
            percentage: prefetch.percentage,
        }),
        stale: directive.serve_stale.map(|stale| cache::ServeStale {
            up_to: seconds(stale.up_to),
            verify: match stale.refresh {
                Refresh::Immediate => None,
                Refresh::Verify { timeout } => Some(timeout),
            },
            ttl: seconds(stale.ttl),
            recheck: stale.recheck,
            prefer_positive: stale.prefer_positive,
        }),
        keep_ttl: directive.keep_ttl,
        table: cache::Table::new(capacity(&directive.success), capacity(&directive.denial)),
    }
}

fn kubernetes_stage(
    directive: &Kubernetes,
    index: Arc<ClusterIndex>,
    local_addresses: Arc<[IpAddr]>,
) -> kubernetes::Kubernetes {
    let mut zones = directive
        .zones
        .iter()
        .map(|zone| kubernetes::Zone::new(wire(zone).0))
        .collect::<Vec<_>>();
    zones.sort_by_key(|zone| std::cmp::Reverse(zone.labels));
    let fallthrough = match &directive.fallthrough {
        Fallthrough::None => Vec::new(),
        Fallthrough::All => vec![wire(&ZoneName::root())],
        Fallthrough::Zones(zones) => zones.iter().map(wire).collect(),
    };
    kubernetes::Kubernetes {
        index,
        zones,
        primary: wire(&directive.zones[directive.primary_zone]).0,
        pods: match directive.pods {
            PodMode::Disabled => kubernetes::PodMode::Disabled,
            PodMode::Insecure => kubernetes::PodMode::Insecure,
            PodMode::Verified => kubernetes::PodMode::Verified,
        },
        ttl: directive.ttl,
        fallthrough: kubernetes::Fallthrough { zones: fallthrough },
        filters_reverse: !directive.namespaces.is_empty(),
        local_addresses,
    }
}

fn source_settings(
    directive: &Kubernetes,
    position: &Position,
) -> Result<SourceSettings, AssembleError> {
    let selector = |option, text: &Option<String>| {
        let parse = |text: &String| {
            text.parse::<Selector>()
                .map_err(|source| AssembleError::Selector {
                    position: position.clone(),
                    option,
                    text: text.clone(),
                    source: Box::new(source),
                })
        };
        text.as_ref().map(parse).transpose()
    };
    Ok(SourceSettings {
        labels: selector("labels", &directive.labels)?,
        namespace_labels: selector("namespace_labels", &directive.namespace_labels)?,
        pods: directive.pods == PodMode::Verified,
        endpoint_slices: !directive.no_endpoints,
        keep_pod_names: directive.endpoint_pod_names,
    })
}

fn cluster(
    directive: &Kubernetes,
    index: Arc<ClusterIndex>,
    position: &Position,
) -> Result<Cluster, AssembleError> {
    let source_settings = source_settings(directive, position)?;
    let limits = ApiLimits {
        qps: directive.api_qps,
        burst: directive.api_burst,
        max_inflight: directive.api_max_inflight,
    };
    let source = match &directive.source {
        KubernetesSource::Manifests(paths) => Source::Manifests(paths.clone()),
        KubernetesSource::InCluster => Source::Api(Access::InCluster, limits),
        KubernetesSource::Kubeconfig { path, context } => {
            let (path, context) = (path.clone(), context.clone());
            Source::Api(Access::Kubeconfig { path, context }, limits)
        }
        KubernetesSource::Endpoint { urls, tls } => {
            let url = urls.first().cloned().unwrap_or_default();
            let tls = tls.as_ref().map(|tls| ClientTls {
                cert: tls.cert.clone(),
                key: tls.key.clone(),
                ca: tls.ca.clone(),
            });
            Source::Api(Access::Endpoint { url, tls }, limits)
        }
    };
    let store_settings = StoreSettings {
        ttl: directive.ttl,
        ignore_empty: directive.ignore_empty_service,
        namespaces: directive
            .namespaces
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        kinds: source_settings.kinds().collect(),
    };
    let startup_timeout = directive.startup_timeout;
    Ok(Cluster {
        index,
        source,
        source_settings,
        store_settings,
        startup_timeout,
    })
}

fn log_rules(directive: &Log) -> impl Iterator<Item = log::Rule> {
    let has = |class| directive.classes.contains(&Class::All) || directive.classes.contains(&class);
    let classes = log::Classes {
        success: has(Class::Success),
        denial: has(Class::Denial),
        error: has(Class::Error),
    };
    let format = log_format(&directive.format);
    directive.names.iter().map(move |name| log::Rule {
        zone: wire(name),
        format: format.clone(),
        classes,
    })
}

/// Cuts a format at its placeholders.
fn log_format(format: &str) -> Vec<log::Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else {
            break;
        };
        text.push_str(before);
        if !text.is_empty() {
            pieces.push(log::Piece::Text(std::mem::take(&mut text).into()));
        }
        pieces.push(placeholder(name));
        rest = tail;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(log::Piece::Text(text.into()));
    }
    pieces
}

fn placeholder(name: &str) -> log::Piece {
    use log::Piece;
    match name {
        "type" => Piece::Type,
        "name" => Piece::Name,
        "class" => Piece::Class,
        "proto" => Piece::Proto,
        "remote" => Piece::Remote,
        "local" => Piece::Local,
        "port" => Piece::Port,
        "size" => Piece::Size,
        "rcode" => Piece::Rcode,
        "rsize" => Piece::Rsize,
        "duration" => Piece::Duration,
        ">rflags" => Piece::Rflags,
        ">bufsize" => Piece::Bufsize,
        ">do" => Piece::Do,
        ">id" => Piece::Id,
        ">opcode" => Piece::Opcode,
        _ => Piece::Missing,
    }
}
