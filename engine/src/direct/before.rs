//! What stages do before the one that answers: as a rule nothing that the short way could not do.

use std::sync::Arc;

use crate::chain::Stage;
use crate::plugins::ends::{place_of, places_under};
use crate::plugins::hosts::Hosts;
use crate::plugins::rewrite::Rewrite;
use crate::wire::{Class, PlainQuery, RType};

/// What the first stages of a block come to for queries that get as far as one which answers.
#[derive(Clone)]
pub(super) struct Before {
    /// Those that have their say about some queries, if there are any.
    claims: Option<Box<Claims>>,
    /// `loadbalance` is there.
    pub(super) rotates: bool,
    /// TTLs in seconds that the `cache` directive leaves alone: smallest, largest.
    pub(super) ttls: (u32, u32),
    /// What is neither an answer nor a denial is logged.
    pub(super) logs_failures: bool,
}

/// Stages to which some queries have to go.
#[derive(Clone, Default)]
struct Claims {
    rewrite: Option<Arc<Rewrite>>,
    hosts: Option<Arc<Hosts>>,
    /// Those that are about a type, or all, in zones: the places of names in these.
    zones: Vec<(RType, u64)>,
    /// The limit of `bufsize`.
    payload_size_max: Option<u16>,
}

impl Before {
    /// No stages.
    pub(super) const NONE: Self = Self {
        claims: None,
        rotates: false,
        ttls: (0, u32::MAX),
        logs_failures: false,
    };

    /// Adds the next stage. `None` if it may do more than is done here.
    pub(super) fn pass(&mut self, stage: &Stage) -> Option<()> {
        match stage {
            // They care for failures, for types, classes and options that are not answered here, and
            // for what comes from an upstream.
            Stage::Errors(_)
            | Stage::Any
            | Stage::Chaos(_)
            | Stage::Nsid(_)
            | Stage::Transfer(_)
            | Stage::Cancel(_) => {}
            Stage::LoadBalance => self.rotates = true,
            Stage::Clamp(cache) => {
                for range in [cache.success, cache.denial] {
                    self.ttls.0 = self.ttls.0.max(range.min);
                    self.ttls.1 = self.ttls.1.min(range.max);
                }
            }
            Stage::Log(log) if log.is_for_failures() => self.logs_failures = true,
            Stage::Bufsize(max) => self.claims().payload_size_max = Some(*max),
            // Of either there is one.
            Stage::Rewrite(rules) => {
                let known = self.claims().rewrite.replace(Arc::clone(rules));
                return known.is_none().then_some(());
            }
            Stage::Hosts(hosts) if hosts.falls_through() => {
                let known = self.claims().hosts.replace(Arc::clone(hosts));
                return known.is_none().then_some(());
            }
            Stage::Templates(templates) => {
                for rule in &templates.rules {
                    self.claim(rule.rtype, rule.zones.iter());
                }
            }
            Stage::K8sExternal(external) => self.claim(RType::ANY, external.apexes()),
            Stage::NoAaaa(zones) => self.claim(RType::AAAA, zones.iter()),
            Stage::Dns64(_) => self.claim(RType::AAAA, [&[0][..]].into_iter()),
            _ => return None,
        }
        Some(())
    }

    fn claims(&mut self) -> &mut Claims {
        self.claims.get_or_insert_default()
    }

    /// Leaves a type in these zones to a stage.
    fn claim<'z>(&mut self, qtype: RType, zones: impl Iterator<Item = &'z [u8]>) {
        let places = zones.fold(0, |places, zone| places | places_under(zone));
        self.claims().zones.push((qtype, places));
    }

    /// Whether a stage may have its say about this query, whose name is `name` in lower case.
    #[inline(always)]
    pub(super) fn claims_query(&self, query: &PlainQuery, name: &[u8]) -> bool {
        let claims = self.claims.as_ref();
        claims.is_some_and(|claims| claims.hold(query, name))
    }
}

impl Claims {
    // Apart, so that it does not crowd the way of blocks without any.
    #[inline(never)]
    fn hold(&self, query: &PlainQuery, name: &[u8]) -> bool {
        let (qtype, place) = (query.qtype, place_of(name));
        let is_claimed = |(claimed, places): &(RType, u64)| {
            places & place != 0 && (*claimed == qtype || *claimed == RType::ANY)
        };
        let (rewrite, hosts) = (self.rewrite.as_ref(), self.hosts.as_ref());
        rewrite.is_some_and(|rules| rules.is_about((qtype, Class::IN), name))
            // Pointers of `hosts` are of addresses that it knows.
            || hosts.is_some_and(|hosts| qtype == RType::PTR || hosts.may_know(place))
            || self.zones.iter().any(is_claimed)
            || self.payload_size_max.is_some_and(|max| query.payload_size() > max)
    }
}
