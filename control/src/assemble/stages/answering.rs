//! Stages that answer from what the Corefile and its files say.

use std::fs;
use std::io;
use std::sync::Arc;

use martlet_engine::chain::Stage;
use martlet_engine::index::{ClusterIndex, Namespace};
use martlet_engine::metrics::{AclCount, Labelled, TemplateCount};
use martlet_engine::plugins::zones::Zones;
use martlet_engine::plugins::{
    acl, autopath, chaos, file, hosts, kubernetes, metadata, template, transfer, view,
};

use super::super::{Watch, wire};
use crate::corefile::directives::acl::Policy;
use crate::corefile::{
    Acl, Autopath, Chaos, Fallthrough, File, Hosts, K8sExternal, Kubernetes, Metadata, Nsid,
    Template, Transfer, View, ZoneName,
};
use crate::hosts::HostsFile;
use crate::names::wire_of;
use crate::notify::{Pace, Secondary};
use crate::zone_file::{ZoneFile, ZoneFileError};

/// Zones as plugins look them up.
pub(super) fn zones(zones: &[ZoneName]) -> Zones {
    Zones::new(zones.iter().map(|zone| wire(zone).0))
}

fn falls(fallthrough: &Fallthrough) -> Zones {
    match fallthrough {
        Fallthrough::None => Zones::default(),
        Fallthrough::All => zones(&[ZoneName::root()]),
        Fallthrough::Zones(list) => zones(list),
    }
}

/// The machine's name.
fn hostname() -> Box<str> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "localhost".into(), |name| name.trim().into())
}

/// `nsid`.
pub(super) fn nsid(directive: &Nsid) -> Stage {
    let id = directive.id.clone().unwrap_or_else(hostname);
    Stage::Nsid(id.as_bytes().into())
}

/// `chaos`.
pub(super) fn chaos(directive: &Chaos) -> Stage {
    Stage::Chaos(Box::new(chaos::Chaos {
        version: directive.version.clone(),
        authors: directive.authors.clone(),
        hostname: hostname(),
    }))
}

/// `autopath`: with the search list of a file, or with those of the pods of a cluster.
pub(super) fn autopath(
    directive: &Autopath,
    cluster: Option<(&Kubernetes, &Arc<ClusterIndex>)>,
) -> io::Result<Stage> {
    let source = match (&directive.file, cluster) {
        (Some(file), _) => autopath::Source::Fixed(search_list(&fs::read_to_string(file)?)),
        (None, Some((kubernetes, index))) => {
            let own = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
            autopath::Source::Pods {
                index: Arc::clone(index),
                zones: zones(&kubernetes.zones),
                more: search_list(&own),
            }
        }
        (None, None) => autopath::Source::Fixed(Vec::new()),
    };
    Ok(Stage::Autopath(Arc::new(autopath::Autopath {
        zones: zones(&directive.zones),
        source,
    })))
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The domains of the last `search` or `domain` line of a `resolv.conf`.
fn search_list(text: &str) -> Vec<Box<[u8]>> {
    let mut list = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some("search" | "domain") = words.next() {
            let domains = words.take_while(|word| !word.starts_with(['#', ';']));
            list = domains.filter_map(wire_of).collect();
        }
    }
    list
}

/// The `acl`s of a block; namespaces are those of its cluster.
pub(super) fn acl(
    directives: &[Acl],
    index: Option<&Arc<ClusterIndex>>,
    counts: Arc<Labelled<AclCount>>,
) -> Option<Stage> {
    let policy = |policy: &Policy| acl::Policy {
        action: policy.action,
        types: policy.types.clone(),
        networks: policy.networks.clone(),
        namespaces: policy
            .namespaces
            .iter()
            .map(|name| Arc::new(Namespace::new(name)))
            .collect(),
    };
    let rules = directives.iter().map(|directive| {
        let policies = directive.policies.iter().map(policy);
        acl::Rule::new(zones(&directive.zones), policies.collect())
    });
    (!directives.is_empty()).then(|| {
        Stage::Acl(Arc::new(acl::Acl {
            rules: rules.collect(),
            index: index.cloned(),
            counts,
        }))
    })
}

/// `metadata`: where the labels of a block come from.
pub(super) fn labels(
    directive: &Metadata,
    view: Option<&View>,
    cluster: &Option<Arc<kubernetes::Kubernetes>>,
) -> Arc<metadata::Metadata> {
    Arc::new(metadata::Metadata {
        zones: zones(&directive.zones),
        view: view.map(|view| view.name.clone()),
        kubernetes: cluster.clone(),
    })
}

/// `view`.
pub(super) fn view(directive: &View, labels: Option<Arc<metadata::Metadata>>) -> Stage {
    Stage::View(Arc::new(view::View {
        name: directive.name.clone(),
        conditions: directive.conditions.clone(),
        labels,
    }))
}

/// `template`.
pub(super) fn templates(
    directives: &[Template],
    labels: Option<Arc<metadata::Metadata>>,
    counts: Arc<Labelled<TemplateCount>>,
) -> Stage {
    let rules = directives.iter().map(|directive| template::Rule {
        class: directive.class,
        rtype: directive.rtype,
        zones: zones(&directive.zones),
        patterns: directive.patterns.clone(),
        variables: directive.variables.clone(),
        conditions: directive.conditions.clone(),
        sections: directive.sections.clone(),
        rcode: directive.rcode,
        extended_error: directive.extended_error.clone(),
        fallthrough: falls(&directive.fallthrough),
    });
    let rules = rules.collect();
    Stage::Templates(Arc::new(template::Templates {
        rules,
        labels,
        counts,
    }))
}

/// `k8s_external`.
pub(super) fn k8s_external(
    directive: &K8sExternal,
    cluster: &Arc<kubernetes::Kubernetes>,
) -> kubernetes::K8sExternal {
    let zone = |zone: &ZoneName| kubernetes::ExternalZone::new(wire(zone).0, &directive.apex);
    kubernetes::K8sExternal::new(
        Arc::clone(cluster),
        directive.zones.iter().map(zone).collect(),
        kubernetes::ExternalOptions {
            ttl: directive.ttl,
            headless: directive.headless,
            fallthrough: falls(&directive.fallthrough),
        },
    )
}

/// `hosts`.
pub(super) fn hosts(directive: &Hosts, watches: &mut Vec<Watch>) -> Stage {
    let zones = zones(&directive.zones);
    let mut inline = hosts::Table::default();
    for (address, names) in &directive.inline {
        for (name, _) in names.iter().map(wire) {
            if zones.hold_wire(&name) {
                inline.add(&name, *address, directive.reverse);
            }
        }
    }
    let (path, reverse) = (&directive.path, directive.reverse);
    let file = HostsFile::open(path, zones.clone(), reverse, directive.reload);
    let stage = hosts::Hosts {
        zones,
        path: path.clone(),
        file: file.table(),
        inline,
        ttl: directive.ttl,
        fallthrough: falls(&directive.fallthrough),
        fallthrough_unsupported: directive.fallthrough_unsupported,
    };
    watches.push(Box::pin(file.watch()));
    Stage::Hosts(Arc::new(stage))
}

/// All `file`s of a block. The error tells the number of the one that cannot be read.
pub(super) fn files(
    directives: &[File],
    is_last: bool,
    watches: &mut Vec<Watch>,
) -> Result<file::File, (usize, ZoneFileError)> {
    let mut contents = Vec::new();
    for (nth, directive) in directives.iter().enumerate() {
        for (origin, _) in directive.zones.iter().map(wire) {
            let File {
                path,
                reload,
                by_mtime,
                ..
            } = directive;
            let file = ZoneFile::open(path, &origin, *reload, *by_mtime);
            let file = file.map_err(|error| (nth, error))?;
            contents.push((origin, file.contents()));
            watches.push(Box::pin(file.watch()));
        }
    }
    // CoreDNS keeps one list for all of them.
    let mut falling = directives.iter().rev().map(|it| &it.fallthrough);
    let fallthrough = falling.find(|it| **it != Fallthrough::None);
    Ok(file::File {
        zones: Zones::new(contents.iter().map(|(origin, _)| origin.clone())),
        contents,
        fallthrough: fallthrough.map_or_else(Zones::default, falls),
        is_last,
    })
}

/// All `transfer`s of a block; `transfer` has its zones, and no rules yet.
pub(super) fn transfer(
    directives: &[Transfer],
    mut transfer: transfer::Transfer,
    watches: &mut Vec<Watch>,
) -> Stage {
    let rules = directives.iter().map(|directive| transfer::Rule {
        zones: zones(&directive.zones),
        to_all: directive.to_all,
        to: directive.to.clone(),
        source: directive.source,
    });
    transfer.rules = rules.collect();
    for (zone, rule) in transfer.zones() {
        for &address in &rule.to {
            let secondary = Secondary {
                zone: zone.clone(),
                address,
                source: rule.source,
                pace: Pace::default(),
            };
            watches.push(Box::pin(secondary.watch()));
        }
    }
    Stage::Transfer(Arc::new(transfer))
}
