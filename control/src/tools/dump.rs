//! `dump`: the names of the cluster as zone files (RFC 1035 §5).
//!
//! The index says which names there are; what they stand for is asked of the `kubernetes` stage
//! itself, so that a dump holds what the server answers and nothing else. Names that any label
//! would do for (pods with `pods insecure`, ports without their underscores) cannot be listed.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use martlet_engine::chain::{Block, Listener, Protocol, Stage};
use martlet_engine::index::{Kind, LabelBuf, ServiceName, ServiceNode};
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Scope;
use martlet_engine::plugins::kubernetes::{Grammar, Kubernetes, PodMode, Zone};
use martlet_engine::plugins::zones::Zones;
use martlet_engine::watched::watch;
use martlet_engine::wire::RType;
use martlet_engine::wire::name::reverse_of;

use super::record::{self, Record, answers, name_text};
use super::{Offline, ToolError, nobody, print};
use crate::args::DumpArgs;
use crate::names::wire_of;
use crate::run::RunError;

/// The types that the plugin answers with. CNAME comes first: where it stands, nothing else does
/// (RFC 1034 §3.6.2).
const TYPES: [RType; 8] = [
    RType::CNAME,
    RType::SOA,
    RType::NS,
    RType::A,
    RType::AAAA,
    RType::SRV,
    RType::TXT,
    RType::PTR,
];

/// Writes the zones of every `kubernetes`, or one of them.
pub(super) fn dump(args: &DumpArgs) -> Result<(), RunError> {
    let wanted = args.zone.as_deref();
    let wanted = wanted
        .map(|text| wire_of(text).ok_or_else(|| ToolError::Name(text.to_owned())))
        .transpose()?;
    let offline = Offline::load(&args.corefile)?;
    let (mut text, mut known) = (String::new(), Vec::new());
    for plugin in plugins(&offline.assembled.plan.listeners) {
        for zone in &plugin.stage.zones {
            known.push(name_text(&zone.apex));
            if wanted.as_ref().is_none_or(|wanted| *wanted == zone.apex) {
                write_zone(&plugin, zone, &offline.assembled.plan.log, &mut text);
            }
        }
    }
    if let Some(wanted) = &args.zone
        && text.is_empty()
    {
        let (wanted, known) = (wanted.clone(), known.join(" "));
        return Err(ToolError::Zone { wanted, known }.into());
    }
    Ok(print(text.as_bytes())?)
}

/// A `kubernetes` of a server block.
struct Plugin {
    stage: Kubernetes,
    /// A listener that has this stage only, and what its block does to the TTLs of replies.
    listener: Listener,
}

/// Every `kubernetes` once, in the order of the listeners.
fn plugins(listeners: &[Arc<Listener>]) -> Vec<Plugin> {
    let mut found = Vec::<Plugin>::new();
    for block in listeners.iter().flat_map(|listener| &listener.blocks) {
        let stage = block.stages.iter().find_map(|stage| match stage {
            Stage::Kubernetes(stage) => Some(Kubernetes::clone(stage)),
            _ => None,
        });
        let Some(stage) = stage else { continue };
        if !found
            .iter()
            .any(|known| Arc::ptr_eq(&known.stage.index, &stage.index))
        {
            let listener = lone(block);
            found.push(Plugin { stage, listener });
        }
    }
    found
}

fn write_zone(plugin: &Plugin, zone: &Zone, log: &LogSink, out: &mut String) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(out, "; zone {}", name_text(&zone.apex));
    if !zone.reverse && plugin.stage.pods == PodMode::Insecure {
        let _ = writeln!(
            out,
            "; `pods insecure`: ADDRESS.NAMESPACE.pod names stand for any address and are left out"
        );
    }
    if !zone.reverse && zone.grammar == Grammar::Zonal {
        let _ = writeln!(
            out,
            "; `zonal`: TOPOLOGY-ZONE.(pin|prefer)._zone names are left out"
        );
    }
    let mut records = Vec::new();
    for name in names(&plugin.stage, zone) {
        for rtype in TYPES {
            let found = ask(&plugin.listener, log, &name, rtype);
            let is_alias = rtype == RType::CNAME && !found.is_empty();
            records.extend(found);
            if is_alias {
                break;
            }
        }
    }
    records.sort_by_cached_key(|record| {
        let is_soa = record.rtype == RType::SOA;
        (
            Reverse(is_soa),
            labels_from_right(&record.owner),
            record.rtype,
            record.data.clone(),
        )
    });
    records.dedup();
    for record in records {
        let _ = writeln!(out, "{record}");
    }
}

fn lone(block: &Block) -> Listener {
    let kept = |stage: &&Stage| matches!(stage, Stage::Kubernetes(_) | Stage::Clamp(_));
    Listener {
        addresses: Vec::new(),
        protocol: Protocol::Dns,
        blocks: vec![Block::new(
            [0].into(),
            block.stages.iter().filter(kept).cloned().collect(),
            Scope::NONE,
        )],
        timeouts: martlet_engine::plugins::timeouts::Timeouts::default(),
        other_classes: false,
        scope: Scope::NONE,
    }
}

/// The records of one name and type. Names that lead elsewhere are not followed.
fn ask(listener: &Listener, log: &LogSink, name: &[u8], qtype: RType) -> Vec<Record> {
    let packet = record::query(name, qtype);
    let seen = watch(&packet, nobody(), (listener, log), None);
    let mut found = seen.map_or_else(Vec::new, |seen| answers(&seen.reply));
    found.retain(|record| record.rtype == qtype && record.owner == name);
    found
}

/// A name's labels in the order in which zones are sorted (RFC 4034 §6.1).
fn labels_from_right(wire: &[u8]) -> Vec<Vec<u8>> {
    let mut labels = Vec::new();
    let mut rest = wire;
    while let Some((&len @ 1.., tail)) = rest.split_first() {
        let (label, tail) = tail.split_at(usize::from(len).min(tail.len()));
        labels.push(label.to_ascii_lowercase());
        rest = tail;
    }
    labels.reverse();
    labels
}

/// Names being collected.
struct Names<'z> {
    zone: &'z Zone,
    names: BTreeSet<Box<[u8]>>,
}

impl Names<'_> {
    /// Adds the name that these labels make under the zone, if they make one.
    fn add(&mut self, labels: &[&[u8]]) {
        let mut wire = Vec::new();
        for label in labels {
            if !(1..=63).contains(&label.len()) {
                return;
            }
            wire.push(label.len() as u8);
            wire.extend(label.to_ascii_lowercase());
        }
        wire.extend(&self.zone.apex);
        if wire.len() <= martlet_engine::limits::NAME_LEN_MAX {
            self.names.insert(wire.into());
        }
    }

    /// Adds an address's reverse name, if it is in the zone.
    fn add_reverse(&mut self, address: IpAddr) {
        let wire = reverse_of(address);
        if Zones::new([self.zone.apex.clone()]).hold_wire(&wire) {
            self.names.insert(wire.into());
        }
    }

    fn add_service(&mut self, name: &ServiceName, node: &ServiceNode) {
        let (service, namespace) = (name.label(), name.namespace().label().octets);
        self.add(&[service, namespace, b"svc"]);
        if matches!(node.kind(), Kind::External(_)) {
            return;
        }
        let of_slices = node.slices().iter().flat_map(|slice| &*slice.ports);
        for port in node.ports().iter().chain(of_slices) {
            let [port, protocol] =
                [&port.name, &port.protocol].map(|part| [b"_", &**part].concat());
            if port.len() > 1 {
                self.add(&[&port, &protocol, service, namespace, b"svc"]);
            }
        }
        let mut buf = LabelBuf::default();
        for slice in node.slices() {
            for index in 0..slice.addresses.len() {
                let endpoint = slice.name(index, &mut buf);
                let labels = endpoint.split(|&octet| octet == b'.').collect::<Vec<_>>();
                match (labels[..].as_ref(), self.zone.grammar) {
                    ([endpoint], _) => self.add(&[endpoint, service, namespace, b"svc"]),
                    ([endpoint, cluster], Grammar::Multicluster) => {
                        self.add(&[endpoint, cluster, service, namespace, b"svc"]);
                    }
                    // Other names with dots are some that no question reaches.
                    _ => {}
                }
            }
        }
    }
}

/// Every name that may have records in the zone.
fn names(kubernetes: &Kubernetes, zone: &Zone) -> BTreeSet<Box<[u8]>> {
    let mut names = Names {
        zone,
        names: BTreeSet::new(),
    };
    let index = &kubernetes.index;
    names.add(&[]);
    names.add(&[b"ns", b"dns"]);
    names.add(&[b"dns-version"]);
    if zone.reverse {
        index.each_address(|address, _| names.add_reverse(address));
    } else {
        if let Some(index) = kubernetes.index_of(zone) {
            index.each_service(|name, node, is_exposed| {
                if is_exposed {
                    names.add_service(name, node);
                }
            });
        }
        let mut buf = LabelBuf::default();
        index.each_pod(|namespace, address| {
            let label = buf.spelled(address);
            names.add(&[label, namespace.label().octets, b"pod"]);
        });
    }
    names.names
}
