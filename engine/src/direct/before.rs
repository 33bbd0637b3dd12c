//! What stages do before the one that answers: as a rule nothing that the short way could not do.

use std::sync::Arc;

use crate::chain::Stage;
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
}

/// Stages to which some queries have to go.
#[derive(Clone, Default)]
struct Claims {
    rewrite: Option<Arc<Rewrite>>,
    hosts: Option<Arc<Hosts>>,
}

impl Before {
    /// No stages.
    pub(super) const NONE: Self = Self {
        claims: None,
        rotates: false,
        ttls: (0, u32::MAX),
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
            // Of either there is one.
            Stage::Rewrite(rules) => {
                let claims = self.claims.get_or_insert_default();
                let known = claims.rewrite.replace(Arc::clone(rules));
                return known.is_none().then_some(());
            }
            Stage::Hosts(hosts) if hosts.falls_through() => {
                let claims = self.claims.get_or_insert_default();
                let known = claims.hosts.replace(Arc::clone(hosts));
                return known.is_none().then_some(());
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether a stage has its say about this query, whose name is `name` in lower case.
    #[inline(always)]
    pub(super) fn claims(&self, query: &PlainQuery, name: &[u8]) -> bool {
        let claims = self.claims.as_ref();
        claims.is_some_and(|claims| claims.hold(query.qtype, name))
    }
}

impl Claims {
    #[inline]
    fn hold(&self, qtype: RType, name: &[u8]) -> bool {
        // Pointers of `hosts` are of addresses that it knows.
        let (rewrite, hosts) = (self.rewrite.as_ref(), self.hosts.as_ref());
        rewrite.is_some_and(|rules| rules.is_about((qtype, Class::IN), name))
            || hosts.is_some_and(|hosts| qtype == RType::PTR || hosts.may_know(name))
    }
}
