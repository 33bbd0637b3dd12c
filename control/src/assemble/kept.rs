//! What one plan leaves to the next: counts, clusters, caches, upstreams.
//!
//! Each thing is known by the settings that it was made with. Where a new Corefile has the same
//! settings in the same place among equals, the thing itself goes on.

use std::fs;
use std::sync::Arc;

use martlet_engine::index::ClusterIndex;
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Metrics;
use martlet_engine::plugins::cache;
use martlet_engine::upstream::{Group, Transport};

use crate::cluster::feed::{Cluster, Source};
use crate::cluster::snapshot::Snapshot;
use crate::cluster::source::SourceSettings;
use crate::cluster::store::StoreSettings;
use crate::corefile::{Address, Cache, Consolidate, Forward, Position, ServerBlock};
use crate::telemetry::consolidate::Consolidation;
use crate::upstreams::{self, UpstreamError};

/// What one plan leaves to the next.
pub struct Kept {
    pub(super) log: LogSink,
    pub(super) metrics: Arc<Metrics>,
    clusters: Known<ClusterKey, Arc<ClusterIndex>>,
    caches: Known<CacheKey, Arc<cache::Cache>>,
    groups: Known<GroupKey, Arc<Group>>,
    rules: Known<RulesKey, usize>,
    /// The number of the next list of rules. No number is ever used again, since lines with it may
    /// still be on their way.
    next_rules: usize,
}

/// Things with the settings that they were made with, in the order of the Corefile.
type Known<K, T> = Vec<(K, T)>;

type ClusterKey = (Source, SourceSettings, StoreSettings, Option<Snapshot>);
/// The server block's addresses, the cache's settings, and those that it keeps the replies of.
type CacheKey = (Vec<Address>, Cache, Vec<Forward>);
/// The settings, and what the files say that they name.
type GroupKey = (Forward, Vec<Vec<u8>>);
/// The rules, and whether their block says `debug`.
type RulesKey = (Vec<Consolidate>, bool);

impl Kept {
    /// Nothing but where log lines go.
    pub fn new(log: LogSink) -> Self {
        Self {
            log,
            metrics: Arc::default(),
            clusters: Vec::new(),
            caches: Vec::new(),
            groups: Vec::new(),
            rules: Vec::new(),
            next_rules: 0,
        }
    }

    /// All caches.
    pub fn caches(&self) -> impl Iterator<Item = &Arc<cache::Cache>> {
        self.caches.iter().map(|(_, cache)| cache)
    }
}

/// Takes from what there was, and makes what was not there.
pub(super) struct Keeper<'a> {
    before: &'a Kept,
    now: Kept,
    /// Clusters that nobody feeds yet.
    pub(super) clusters: Vec<Cluster>,
    /// Rules that the printer does not know yet.
    consolidations: Vec<Consolidation>,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(before: &'a Kept) -> Self {
        Self {
            before,
            now: Kept {
                metrics: Arc::clone(&before.metrics),
                next_rules: before.next_rules,
                ..Kept::new(before.log.clone())
            },
            clusters: Vec::new(),
            consolidations: Vec::new(),
        }
    }

    /// The indexes of all clusters.
    pub(super) fn indexes(&self) -> Vec<Arc<ClusterIndex>> {
        let indexes = self.now.clusters.iter();
        indexes.map(|(_, index)| Arc::clone(index)).collect()
    }

    /// What plugins count with.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.now.metrics
    }

    /// What the printer has to know, and the number of the first.
    pub(super) fn take_consolidations(&mut self) -> (usize, Vec<Consolidation>) {
        let new = std::mem::take(&mut self.consolidations);
        (self.before.next_rules, new)
    }

    /// What the next plan will find.
    pub(super) fn finish(self, metrics: Arc<Metrics>) -> Kept {
        Kept {
            metrics,
            ..self.now
        }
    }

    /// The index of a cluster. What `cluster` publishes to is replaced if it is known already.
    pub(super) fn index(&mut self, cluster: Cluster) -> Arc<ClusterIndex> {
        let key = (
            cluster.source.clone(),
            cluster.source_settings.clone(),
            cluster.store_settings.clone(),
            cluster.snapshot.clone(),
        );
        let known = find(&self.before.clusters, &self.now.clusters, &key);
        let index = known.unwrap_or_else(|| {
            let index = Arc::clone(&cluster.index);
            self.clusters.push(cluster);
            index
        });
        self.now.clusters.push((key, Arc::clone(&index)));
        index
    }

    /// The cache of a block.
    pub(super) fn cache(
        &mut self,
        block: &ServerBlock,
        directive: &Cache,
        make: impl FnOnce() -> cache::Cache,
    ) -> Arc<cache::Cache> {
        let sources = block.directives.forward.iter().map(without_place);
        let key = (
            block.addresses.clone(),
            directive.clone(),
            sources.collect::<Vec<_>>(),
        );
        let known = find(&self.before.caches, &self.now.caches, &key);
        let cache = known.unwrap_or_else(|| Arc::new(make()));
        self.now.caches.push((key, Arc::clone(&cache)));
        cache
    }

    /// The upstreams of a `forward`. Names and files are read again: what was there goes on only if
    /// that comes to the same.
    pub(super) fn group(&mut self, directive: &Forward) -> Result<Arc<Group>, UpstreamError> {
        let identity = directive.tls.identity.iter();
        let files = identity
            .flat_map(|(certificate, key)| [certificate, key])
            .chain(&directive.tls.ca)
            .map(|path| fs::read(path).unwrap_or_default());
        let key = (without_place(directive), files.collect::<Vec<_>>());
        let mut group = upstreams::group(directive)?;
        if let Some(known) = find(&self.before.groups, &self.now.groups, &key)
            && are_same(&known, &group)
        {
            group = known;
        }
        self.now.groups.push((key, Arc::clone(&group)));
        Ok(group)
    }

    /// The number of a list of rules; `None` if there are none in it.
    pub(super) fn rules(&mut self, rules: &[Consolidate], debug: bool) -> Option<usize> {
        let key = (rules.to_vec(), debug);
        let made = Consolidation::new(rules, debug)?;
        let known = find(&self.before.rules, &self.now.rules, &key);
        let number = known.unwrap_or_else(|| {
            self.consolidations.push(made);
            self.now.next_rules += 1;
            self.now.next_rules - 1
        });
        self.now.rules.push((key, number));
        Some(number)
    }
}

/// What was made before with these settings, if it is not taken yet.
fn find<K: PartialEq, T: Clone>(before: &Known<K, T>, now: &Known<K, T>, key: &K) -> Option<T> {
    let taken = now.iter().filter(|(known, _)| known == key).count();
    let mut equal = before.iter().filter(|(known, _)| known == key);
    equal.nth(taken).map(|(_, thing)| thing.clone())
}

/// A line more further up makes no other directive of it.
fn without_place(directive: &Forward) -> Forward {
    Forward {
        position: Position {
            file: "".into(),
            line: 0,
            column: 0,
        },
        ..directive.clone()
    }
}

/// Whether two groups of the same directive ask the same servers.
fn are_same(known: &Group, new: &Group) -> bool {
    let hosts = |group: &Group| {
        let upstreams = group.upstreams.iter();
        let hosts = upstreams.map(|upstream| {
            let name = match &upstream.transport {
                Transport::Dns => None,
                Transport::Tls { name, .. } | Transport::Https { name, .. } => Some(name.clone()),
            };
            (upstream.address, name)
        });
        hosts.collect::<Vec<_>>()
    };
    hosts(known) == hosts(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_are_told_apart_by_their_order() {
        let before = vec![("a", 1), ("b", 2), ("a", 3)];
        let mut now = Vec::new();
        for (key, expected) in [
            ("a", Some(1)),
            ("c", None),
            ("a", Some(3)),
            ("a", None),
            ("b", Some(2)),
        ] {
            assert_eq!(find(&before, &now, &key), expected, "{key} after {now:?}");
            now.push((key, 0));
        }
    }
}
