//! What is served on a port, and which block a query is for.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Block, Peer};
use crate::direct::{Direct, DirectZone, Kept};
use crate::index::ClusterIndex;
use crate::metrics::{HttpsStatuses, Scope};
use crate::plugins::timeouts::Timeouts;
use crate::wire::name::Folded;
use crate::wire::{FoldedName, Query, RType};

/// What carries queries to a listener.
#[derive(Clone)]
pub enum Protocol {
    /// UDP and TCP.
    Dns,
    /// TLS (RFC 7858).
    Tls(Arc<rustls::ServerConfig>),
    /// HTTPS (RFC 8484), and what its responses are counted with.
    Https(Arc<rustls::ServerConfig>, Arc<HttpsStatuses>),
}

/// What is served on one port of one address (or of all).
#[derive(Clone)]
pub struct Listener {
    /// Where to listen; the addresses of one entry share their blocks.
    pub addresses: Vec<SocketAddr>,
    /// What carries the queries.
    pub protocol: Protocol,
    /// Server blocks, longest zone first.
    pub blocks: Vec<Block>,
    /// How long connections may take for what.
    pub timeouts: Timeouts,
    /// A block answers other classes than IN as well.
    pub other_classes: bool,
    /// Where queries are counted that no block takes.
    pub scope: Scope,
}

/// Where a query is to be answered.
pub(crate) enum Lead<'l> {
    /// By the chain.
    Chain,
    /// From the index: the name seems to be in this zone.
    Index(&'l Direct, &'l DirectZone, Scope),
    /// From the cache, if that has a reply.
    Kept(&'l Kept, Scope),
}

impl Listener {
    /// The cluster that queries are answered about, if there is any; the first, if there are several.
    pub(crate) fn index(&self) -> Option<&ClusterIndex> {
        let mut directs = self.blocks.iter().filter_map(|block| block.direct.as_ref());
        directs.next().map(Direct::index)
    }

    /// The short way for a name, and where its queries are counted.
    ///
    /// A name that does not end in the octets of a zone is not in it. For one that does, the zone is
    /// right if it begins with a label of the name, which is left to the caller.
    #[inline]
    pub(crate) fn lead(&self, name: &Folded<'_>) -> Lead<'_> {
        for block in &self.blocks {
            #[cfg(test)]
            block.panic_early(name);
            if let Some(direct) = &block.direct
                && let Some(zone) = direct.zone(name)
            {
                return match zone.is_short {
                    true => Lead::Index(direct, zone, block.scope),
                    false => Lead::Chain,
                };
            }
            if name.ends_with(&block.zone) {
                let kept = block.kept.as_ref();
                return kept.map_or(Lead::Chain, |kept| Lead::Kept(kept, block.scope));
            }
        }
        Lead::Chain
    }

    /// The block for a name: the longest zone that it is in. DS records belong to the parent, so
    /// for them it is the shortest zone but the root (RFC 3658 §2.2.1.1, as CoreDNS reads it).
    #[inline]
    pub(crate) fn block(
        &self,
        query: &Query<'_>,
        name: &FoldedName,
        peer: &Peer,
    ) -> Option<&Block> {
        let mut found = None;
        for block in &self.blocks {
            let fits = name.labels_above(&block.zone, block.labels).is_some();
            if !fits || !block.takes(query, name, peer) {
                continue;
            }
            if query.qtype != RType::DS {
                return Some(block);
            }
            if block.labels > 0 || found.is_none() {
                found = Some(block);
            }
        }
        found
    }
}
