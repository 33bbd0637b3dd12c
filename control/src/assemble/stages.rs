//! From the directives of one server block to its stages and its cluster.

mod answering;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::chain::Stage;
use martlet_engine::index::ClusterIndex;
use martlet_engine::plugins::erratic::Erratic;
use martlet_engine::plugins::metadata::Label;
use martlet_engine::plugins::{
    cache, errors, forward, kubernetes, loadbalance, local, log, rewrite, transfer,
};

use super::{AssembleError, Found, Interface, Watch, wire};
use crate::cluster::feed::{Cluster, Source};
use crate::cluster::selector::Selector;
use crate::cluster::snapshot::Snapshot;
use crate::cluster::source::SourceSettings;
use crate::cluster::source::api::{Access, ApiLimits, ClientTls};
use crate::cluster::store::StoreSettings;
use crate::corefile::{
    Cache, Class, Directives, Fallthrough, Kubernetes, KubernetesSource, LoadBalance, Log, Loop,
    PodMode, Position, Refresh, Rewrite, ServerBlock, Shuffle, Store, ZoneName,
};
use crate::loops::{self, Probe};
use crate::weights::WeightFile;

/// The stages of a block, in CoreDNS's order.
pub(super) fn stages(
    block: &ServerBlock,
    hosts: &[Option<IpAddr>],
    port: u16,
    interfaces: &[Interface],
    found: Found<'_, '_>,
) -> Result<Arc<[Stage]>, AssembleError> {
    let Found {
        keeper,
        watches,
        loops,
    } = found;
    let directives = &block.directives;
    let Directives {
        debug,
        errors,
        log,
        local,
        any,
        loadbalance,
        rewrite,
        cache,
        template,
        hosts: hosts_file,
        kubernetes,
        loop_,
        forward,
        whoami,
        ..
    } = directives;
    let index = match kubernetes {
        Some(kubernetes) => {
            let reads = Reads {
                external: directives.k8s_external.is_some(),
                clients: directives.reads_clients(),
            };
            Some(keeper.index(cluster(
                kubernetes,
                reads,
                &block.position_of("kubernetes", 0),
            )?))
        }
        None => None,
    };
    let cache = cache
        .as_ref()
        .map(|cache| keeper.cache(block, cache, || cache_stage(cache)));
    let cluster = kubernetes.as_ref().zip(index.as_ref());
    let cluster = cluster.map(|(kubernetes, index)| {
        let own = own_addresses(hosts, interfaces);
        Arc::new(kubernetes_stage(kubernetes, Arc::clone(index), own))
    });
    let labels = directives.metadata.as_ref();
    let labels = labels.map(|it| answering::labels(it, directives.view.as_ref(), &cluster));
    let mut stages = Vec::new();
    let view = directives.view.as_ref();
    // The listener looks for it in the first place.
    stages.extend(view.map(|view| answering::view(view, labels.clone())));
    stages.extend(directives.cancel.map(|cancel| Stage::Cancel(cancel.limit)));
    stages.extend(directives.nsid.as_ref().map(answering::nsid));
    let bufsize = directives.bufsize.as_ref();
    stages.extend(bufsize.map(|bufsize| Stage::Bufsize(bufsize.max)));
    if let Some(errors) = errors {
        let rules = keeper.rules(&errors.consolidate, debug.is_some());
        stages.push(Stage::Errors(errors::Errors { rules }));
    }
    if !log.is_empty() {
        stages.push(Stage::Log(log::Log {
            rules: log.iter().flat_map(log_rules).collect(),
            labels: labels.clone(),
        }));
    }
    if let Some(local) = local {
        stages.push(Stage::Local(local::Local {
            localhost_prefix: local.localhost_prefix,
        }));
    }
    stages.extend(directives.dns64.map(|dns64| Stage::Dns64(dns64.0)));
    if any.is_some() {
        stages.push(Stage::Any);
    }
    stages.extend(directives.chaos.as_ref().map(answering::chaos));
    if let Some(loadbalance) = loadbalance {
        stages.push(balance(loadbalance, block, watches)?);
    }
    if !rewrite.is_empty() {
        let rules = rewrite.iter().map(|Rewrite(rule)| rule.clone());
        let rewrite = rewrite::Rewrite::new(rules.collect(), labels.clone());
        stages.push(Stage::Rewrite(Arc::new(rewrite)));
    }
    if let Some(autopath) = &directives.autopath {
        let cluster = kubernetes.as_ref().zip(index.as_ref());
        let stage = answering::autopath(autopath, cluster);
        let stage = stage.map_err(|source| AssembleError::SearchList {
            position: block.position_of("autopath", 0),
            source,
        })?;
        stages.push(stage);
    }
    let acl = answering::acl(&directives.acl, index.as_ref(), keeper.metrics().acls());
    stages.extend(acl);
    if let Some(cache) = &cache {
        stages.push(Stage::Clamp(Arc::clone(cache)));
    }
    let header = directives.header.as_ref();
    stages.extend(header.map(|header| Stage::Header(header.0)));
    stages.extend(directives.minimal.map(|_| Stage::Minimal));
    if !template.is_empty() {
        stages.push(answering::templates(
            template,
            labels,
            keeper.metrics().templates(),
        ));
    }
    let mut file = None;
    if !directives.file.is_empty() {
        let is_last = loop_.is_none() && forward.is_empty() && whoami.is_none();
        let is_last = is_last && directives.erratic.is_none();
        let files = answering::files(&directives.file, is_last, watches);
        let files = files.map_err(|(nth, source)| AssembleError::ZoneFile {
            position: block.position_of("file", nth),
            source: Box::new(source),
        })?;
        file = Some(Arc::new(files));
    }
    let external = directives.k8s_external.as_ref().zip(cluster.as_ref());
    let external = external
        .map(|(external, kubernetes)| Arc::new(answering::k8s_external(external, kubernetes)));
    if !directives.transfer.is_empty() {
        let zones = transfer::Transfer {
            rules: Vec::new(),
            external: external.clone(),
            kubernetes: cluster.clone(),
            file: file.clone(),
        };
        stages.push(answering::transfer(&directives.transfer, zones, watches));
    }
    if let Some(hosts) = hosts_file {
        stages.push(answering::hosts(hosts, watches));
    }
    stages.extend(external.map(Stage::K8sExternal));
    stages.extend(cluster.map(Stage::Kubernetes));
    stages.extend(file.map(Stage::File));
    if let Some(no_aaaa) = &directives.no_aaaa {
        stages.push(Stage::NoAaaa(Arc::new(answering::zones(&no_aaaa.zones))));
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
            group: keeper.group(directive)?,
            next: if is_last {
                Vec::new()
            } else {
                directive.next.clone()
            },
            next_on_nodata: directive.next_on_nodata && !is_last,
        }));
    }
    let erratic = directives.erratic.as_ref();
    stages.extend(erratic.map(|erratic| Stage::Erratic(Arc::new(Erratic::new(erratic.0)))));
    if whoami.is_some() {
        stages.push(Stage::Whoami);
    }
    Ok(stages.into())
}

fn balance(
    directive: &LoadBalance,
    block: &ServerBlock,
    watches: &mut Vec<Watch>,
) -> Result<Stage, AssembleError> {
    let order = match &directive.shuffle {
        Shuffle::Random if directive.prefer.is_empty() => return Ok(Stage::LoadBalance),
        Shuffle::Random => loadbalance::Order::Networks(directive.prefer.as_slice().into()),
        Shuffle::Weighted { file, reload } => {
            let file =
                WeightFile::open(file, *reload).map_err(|source| AssembleError::Weights {
                    position: block.position_of("loadbalance", 0),
                    source: Box::new(source),
                })?;
            let weights = file.weights();
            watches.push(Box::pin(file.watch()));
            loadbalance::Order::Weights(weights)
        }
    };
    Ok(Stage::OrderAddresses(Arc::new(order)))
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
    let range =
        |store: &Store| cache::TtlRange::new(seconds(store.ttl_min), seconds(store.ttl_max));
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
        .map(|zone| kubernetes::Zone::new(wire(zone).0).with_grammar(grammar(directive, zone)))
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

/// What names a zone of a `kubernetes` has. As in CoreDNS, zones below a multicluster one are such
/// zones, too.
fn grammar(directive: &Kubernetes, zone: &ZoneName) -> kubernetes::Grammar {
    if answering::zones(&directive.multicluster).hold_wire(&wire(zone).0) {
        kubernetes::Grammar::Multicluster
    } else if directive.zonal {
        kubernetes::Grammar::Zonal
    } else {
        kubernetes::Grammar::Usual
    }
}

pub(crate) fn source_settings(
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
        keep_zones: directive.zonal,
        multicluster: !directive.multicluster.is_empty(),
    })
}

/// Who in the block reads what of the cluster besides `kubernetes`.
#[derive(Clone, Copy)]
struct Reads {
    /// `k8s_external`: what Services are called outside.
    external: bool,
    /// Labels: which pods ask.
    clients: bool,
}

fn cluster(
    directive: &Kubernetes,
    Reads { external, clients }: Reads,
    position: &Position,
) -> Result<Cluster, AssembleError> {
    let source_settings = source_settings(directive, position)?;
    let limits = ApiLimits {
        qps: directive.api_qps,
        burst: directive.api_burst,
        max_inflight: directive.api_max_inflight,
        silence: None,
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
        clients: clients && directive.pods == PodMode::Verified,
        external,
        multicluster: source_settings.multicluster,
        kinds: source_settings.kinds().collect(),
    };
    let startup_timeout = directive.startup_timeout;
    let snapshot = directive.snapshot.as_ref().map(|path| Snapshot {
        path: path.clone(),
        identity: identity(directive, external),
    });
    Ok(Cluster {
        snapshot,
        index: Arc::default(),
        source,
        source_settings,
        store_settings,
        startup_timeout,
    })
}

/// What a snapshot is of. Changes when the settings do that decide what is taken from the source.
fn identity(directive: &Kubernetes, external: bool) -> String {
    let source = match &directive.source {
        KubernetesSource::InCluster => "in-cluster".to_owned(),
        KubernetesSource::Endpoint { urls, .. } => urls.first().cloned().unwrap_or_default(),
        KubernetesSource::Kubeconfig { path, context } => {
            let context = context.as_deref().unwrap_or_default();
            format!("{} {context}", path.display())
        }
        KubernetesSource::Manifests(_) => "manifests".to_owned(),
    };
    let selector = |text: &Option<String>| text.clone().unwrap_or_default();
    let identity = format!(
        "source {source}, labels {}, namespace_labels {}, pods {}, endpoints {}, pod names {}, \
         external {external}, multicluster {}, zones {}",
        selector(&directive.labels),
        selector(&directive.namespace_labels),
        directive.pods == PodMode::Verified,
        !directive.no_endpoints,
        directive.endpoint_pod_names,
        !directive.multicluster.is_empty(),
        directive.zonal,
    );
    identity.replace('\n', " ")
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

/// Cuts a format at its placeholders. As in CoreDNS, braces around anything else are text, and a
/// placeholder may stand inside of them.
fn log_format(format: &str) -> Vec<log::Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('}') {
        let found = before.rsplit_once('{');
        let found = found.and_then(|(left, name)| Some((left, placeholder(name)?)));
        match found {
            Some((left, piece)) => {
                text.push_str(left);
                if !text.is_empty() {
                    pieces.push(log::Piece::Text(std::mem::take(&mut text).into()));
                }
                pieces.push(piece);
            }
            None => {
                text.push_str(before);
                text.push('}');
            }
        }
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(log::Piece::Text(text.into()));
    }
    pieces
}

fn placeholder(name: &str) -> Option<log::Piece> {
    use log::Piece;
    if let Some(label) = name.strip_prefix('/') {
        return Some(match label {
            "log/class" => Piece::ReplyClass,
            "log/type" => Piece::ReplyKind,
            _ => Label::named(label).map_or(Piece::Missing, Piece::Label),
        });
    }
    Some(match name {
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
        _ => return None,
    })
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

#[cfg(test)]
mod tests {
    use super::log::Piece;
    use super::*;

    /// As CoreDNS's `replacer` cuts them.
    #[test]
    fn formats_are_cut_at_their_placeholders() {
        let text = |text: &str| Piece::Text(text.into());
        for (format, expected) in [
            ("", vec![]),
            ("{type}{name}", vec![Piece::Type, Piece::Name]),
            ("A {type} b", vec![text("A "), Piece::Type, text(" b")]),
            ("{nothing} {type}", vec![text("{nothing} "), Piece::Type]),
            ("{ {type} }", vec![text("{ "), Piece::Type, text(" }")]),
            ("a } {>id", vec![text("a } {>id")]),
            (
                "{/kubernetes/kind}!",
                vec![
                    Piece::Label(Label::named("kubernetes/kind").unwrap()),
                    text("!"),
                ],
            ),
            ("{/nobody/knows}!", vec![Piece::Missing, text("!")]),
            ("{>ID}", vec![text("{>ID}")]),
        ] {
            assert_eq!(log_format(format), expected, "{format}");
        }
        let all = "{type}{name}{class}{proto}{remote}{local}{port}{size}{rcode}{rsize}{duration}\
                   {>rflags}{>bufsize}{>do}{>id}{>opcode}";
        let pieces = log_format(all);
        assert_eq!(pieces.len(), 16);
        assert!(
            !pieces
                .iter()
                .any(|piece| matches!(piece, Piece::Text(_) | Piece::Missing))
        );
    }
}
