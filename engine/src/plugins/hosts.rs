//! `hosts`: names and addresses from a file like `/etc/hosts`, and from the Corefile.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};

use super::ends::{place_of, places_under};
use super::kubernetes::reverse::address_of;
use super::zones::Zones;
use crate::chain::{Context, Step};
use crate::wire::{FoldedName, RType, Rcode, Reply, Section};

/// One `hosts` of a block.
pub struct Hosts {
    /// What it is for. PTR queries are answered for all addresses.
    pub zones: Zones,
    /// The file.
    pub path: PathBuf,
    /// What the file says.
    pub file: Arc<Current>,
    /// What the Corefile says.
    pub inline: Table,
    /// In seconds.
    pub ttl: u32,
    /// Unknown names in these zones are left to the plugins behind.
    pub fallthrough: Zones,
    /// Types other than A, AAAA and PTR are left to them as well.
    pub fallthrough_unsupported: bool,
}

/// Names with their addresses, and the other way round.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    v4: HashMap<Box<[u8]>, Vec<Ipv4Addr>>,
    v6: HashMap<Box<[u8]>, Vec<Ipv6Addr>>,
    names: HashMap<IpAddr, Vec<Box<[u8]>>>,
    len: usize,
    /// The places of its names ([`place_of`]).
    ends: u64,
    /// When the file was changed that it is from.
    pub changed: Option<SystemTime>,
}

impl Table {
    /// Adds an address of a name: lower-case wire form. A first label `*` stands for any one label.
    /// `reverse` says that the address leads to the name as well.
    pub fn add(&mut self, name: &[u8], address: IpAddr, reverse: bool) {
        match address {
            IpAddr::V4(address) => self.v4.entry(name.into()).or_default().push(address),
            IpAddr::V6(address) => self.v6.entry(name.into()).or_default().push(address),
        }
        self.len += 1;
        let wildcard = name.strip_prefix(WILDCARD);
        self.ends |= wildcard.map_or_else(|| place_of(name), places_under);
        if reverse && !name.starts_with(WILDCARD) {
            self.names.entry(address).or_default().push(name.into());
            self.len += 1;
        }
    }

    /// Addresses and names.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A table that is replaced as a whole when its file changes.
#[derive(Default)]
pub struct Current {
    table: ArcSwap<Table>,
    /// The table's, so that most queries need not hold on to it.
    ends: AtomicU64,
}

impl Current {
    /// The table as it is now.
    pub fn load(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Puts another one in its place.
    pub fn replace(&self, table: Table) {
        let ends = table.ends;
        // In between names of either may be known.
        self.ends.fetch_or(ends, Ordering::Release);
        self.table.store(Arc::new(table));
        self.ends.store(ends, Ordering::Release);
    }
}

const WILDCARD: &[u8] = b"\x01*";

/// What stands under a name, or under the wildcard in its place.
fn under<'t, T>(table: &'t HashMap<Box<[u8]>, Vec<T>>, name: &FoldedName) -> &'t [T] {
    if table.is_empty() {
        return &[];
    }
    if let Some(found) = table.get(name.wire()) {
        return found;
    }
    // One label only, unlike wildcards of zones.
    if name.label_count() < 2 {
        return &[];
    }
    let behind = &name.wire()[name.offset(1)..];
    let mut wildcard = [0; crate::limits::NAME_LEN_MAX + WILDCARD.len()];
    wildcard[..WILDCARD.len()].copy_from_slice(WILDCARD);
    let len = WILDCARD.len() + behind.len();
    wildcard[WILDCARD.len()..len].copy_from_slice(behind);
    table.get(&wildcard[..len]).map_or(&[], Vec::as_slice)
}

impl Hosts {
    /// Whether names that it does not know are left to the plugins behind, all of them.
    pub(crate) fn falls_through(&self) -> bool {
        let mut zones = self.zones.iter();
        zones.all(|zone| self.fallthrough.hold_wire(zone))
    }

    /// `false` if it knows no name of this place ([`place_of`]).
    #[inline]
    pub(crate) fn may_know(&self, place: u64) -> bool {
        let ends = self.file.ends.load(Ordering::Acquire) | self.inline.ends;
        ends & place != 0
    }

    pub(crate) fn query(&self, context: &Context<'_>, reply: &mut Reply<'_>) -> Step {
        let (name, qtype) = (context.name, context.query.qtype);
        if qtype == RType::PTR {
            return self.pointers(context, reply);
        }
        if !self.zones.hold(name) {
            return Step::Next;
        }
        let file = self.file.load();
        let v4 = [under(&file.v4, name), under(&self.inline.v4, name)];
        let v6 = [under(&file.v6, name), under(&self.inline.v6, name)];
        let owner = context.plain_owner();
        match qtype {
            RType::A => {
                for address in v4.into_iter().flatten() {
                    reply.record(Section::Answer, owner, qtype, self.ttl, &address.octets());
                }
            }
            RType::AAAA => {
                for address in v6.into_iter().flatten() {
                    reply.record(Section::Answer, owner, qtype, self.ttl, &address.octets());
                }
            }
            _ if self.fallthrough_unsupported && self.fallthrough.hold(name) => return Step::Next,
            _ => {}
        }
        let is_known =
            v4.iter().any(|list| !list.is_empty()) || v6.iter().any(|list| !list.is_empty());
        if !is_known {
            if self.fallthrough.hold(name) {
                return Step::Next;
            }
            // NXDOMAIN would need a SOA, which a hosts file does not have.
            return Step::Failed(Rcode::SERVFAIL, "");
        }
        reply.set_authoritative();
        Step::Answered
    }

    fn pointers(&self, context: &Context<'_>, reply: &mut Reply<'_>) -> Step {
        let Some(address) = address_of(context.name) else {
            return Step::Next;
        };
        let file = self.file.load();
        let names = [file.names.get(&address), self.inline.names.get(&address)];
        let mut names = names.into_iter().flatten().flatten().peekable();
        if names.peek().is_none() {
            return Step::Next;
        }
        let owner = context.plain_owner();
        for name in names {
            let class = crate::wire::Class::IN;
            let begun = reply.begin(Section::Answer, owner, RType::PTR, class, self.ttl);
            reply.put_name(name);
            reply.end(begun);
        }
        reply.set_authoritative();
        Step::Answered
    }
}

#[cfg(test)]
mod tests;
