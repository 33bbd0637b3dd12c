//! `transfer`: whole zones for secondaries (RFC 5936), as long as they are asked for over a stream.
//! Incremental transfers (RFC 1995) are answered with the SOA alone or with the whole zone.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::sync::Arc;

use super::file::zone::Zone;
use super::file::{Contents, File};
use super::kubernetes::whole::WholeZone;
use super::kubernetes::{K8sExternal, Kubernetes};
use super::zones::Zones;
use crate::chain::{Context, Step};
use crate::wire::name::NameText;
use crate::wire::record::{Record, is_newer, serial_of};
use crate::wire::walk::{records, skip_name};
use crate::wire::{FoldedName, Query, RType, Rcode, Reply, Section};

/// All `transfer`s of a block.
pub struct Transfer {
    /// One for each `transfer`.
    pub rules: Vec<Rule>,
    /// Where the zones are.
    pub external: Option<Arc<K8sExternal>>,
    /// Likewise.
    pub kubernetes: Option<Arc<Kubernetes>>,
    /// Likewise.
    pub file: Option<Arc<File>>,
}

/// Who may have some zones.
pub struct Rule {
    /// The zones, and all in them.
    pub zones: Zones,
    /// Everybody may have them.
    pub to_all: bool,
    /// Those who may have them otherwise, and where they are told of changes.
    pub to: Vec<SocketAddr>,
    /// The address that they are told from.
    pub source: Option<IpAddr>,
}

impl Rule {
    fn allows(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.to_all || self.to.iter().any(|it| it.ip() == client)
    }
}

impl Transfer {
    /// All zones that there are, each with the rule that is for it.
    pub fn zones(&self) -> Vec<(Primary, &Rule)> {
        let cluster = self.kubernetes.iter().flat_map(|kubernetes| {
            let all = kubernetes.zones.iter().enumerate();
            all.map(|(place, zone)| {
                let primary = Primary::Cluster(Arc::clone(kubernetes), place);
                (primary, &*zone.apex)
            })
        });
        let files = self.file.iter().flat_map(|file| {
            let all = file.contents.iter();
            all.map(|(origin, contents)| (Primary::File(Arc::clone(contents)), &**origin))
        });
        let mut name = Box::new(FoldedName::default());
        let external = self.external.iter().flat_map(|external| {
            let all = external.zones().iter().enumerate();
            all.map(|(place, zone)| {
                let primary = Primary::External(Arc::clone(external), place);
                (primary, zone.apex())
            })
        });
        let all = external
            .chain(cluster)
            .chain(files)
            .filter_map(|(primary, origin)| {
                name.parse(origin, 0).ok()?;
                Some((primary, self.rule(&name)?))
            });
        all.collect()
    }

    /// The rule with the longest zone that the name is in; the first of several.
    fn rule(&self, name: &FoldedName) -> Option<&Rule> {
        let mut best: Option<(usize, &Rule)> = None;
        for rule in &self.rules {
            if let Some(zone) = rule.zones.find(name)
                && best.is_none_or(|(len, _)| zone.len() > len)
            {
                best = Some((zone.len(), rule));
            }
        }
        best.map(|(_, rule)| rule)
    }

    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let qtype = context.query.qtype;
        if !matches!(qtype, RType::AXFR | RType::IXFR) {
            return Step::Next;
        }
        // On the slow path are those that were not for us.
        if context.gathered.is_some() {
            return Step::Next;
        }
        if !context.may_stream {
            return Step::Failed(Rcode::REFUSED, "");
        }
        let Some(rule) = self.rule(context.name) else {
            return Step::Next;
        };
        if !rule.allows(context.peer.remote.ip()) {
            reply.set_rcode(Rcode::REFUSED);
            return Step::Answered;
        }
        let mut known = None;
        if qtype == RType::IXFR {
            known = known_serial(&context.query);
            if known.is_none() {
                return Step::Failed(Rcode::SERVFAIL, "IXFR without a SOA");
            }
        }
        let Some(zone) = self.source(context) else {
            return Step::Next;
        };
        if !zone.is_known() {
            return Step::Failed(Rcode::SERVFAIL, "the cluster is not known yet");
        }
        // RFC 1995 §2; zero stands for no zone at all, as in CoreDNS.
        let is_current = known.is_some_and(|it| it != 0 && !is_newer(zone.serial(), it));
        context.outgoing = Some(Box::new(Outgoing {
            query: context.query.packet.into(),
            zone,
            soa_alone: is_current,
            done: false,
            sent: 0,
        }));
        Step::Answered
    }

    /// Where the zone is.
    fn source(&self, context: &Context<'_>) -> Option<Source> {
        if let Some(external) = &self.external
            && let Some(whole) = external.whole(context.name)
        {
            return Some(Source::Cluster(whole));
        }
        if let Some(kubernetes) = &self.kubernetes
            && let Some(whole) = kubernetes.whole(context.name, context.query.name_as_sent())
        {
            return Some(Source::Cluster(whole));
        }
        let zone = self.file.as_ref()?.exactly(context.name)?;
        Some(Source::File(zone, Cursor::default()))
    }
}

/// A zone that others may have.
#[derive(Clone)]
pub enum Primary {
    /// One of a `k8s_external`, by its place.
    External(Arc<K8sExternal>, usize),
    /// One of a `kubernetes`, likewise.
    Cluster(Arc<Kubernetes>, usize),
    /// One of a `file`.
    File(Contents),
}

impl Primary {
    /// Its SOA record, as soon as it is known.
    pub fn soa(&self) -> Option<Record> {
        match self {
            Self::External(external, place) => external.soa_at(*place),
            Self::Cluster(kubernetes, place) => kubernetes.zones.get(*place)?.soa(kubernetes),
            Self::File(contents) => contents.load().as_ref().map(|zone| zone.soa().clone()),
        }
    }
}

/// The serial of the SOA that an IXFR carries (RFC 1995 §3).
fn known_serial(query: &Query<'_>) -> Option<u32> {
    let packet = query.packet;
    let counts = packet.get(6..10)?;
    let [answers, authorities] = [0, 2].map(|at| u16::from_be_bytes([counts[at], counts[at + 1]]));
    if (answers, authorities) != (0, 1) {
        return None;
    }
    let at = skip_name(packet, crate::wire::query::HEADER_LEN)? + 4;
    let soa = records(packet, at, 1).next()?;
    let soa = Record::read(packet, &soa).filter(|it| it.rtype == RType::SOA)?;
    serial_of(&soa)
}

/// How much of a zone was sent.
#[derive(Debug)]
pub struct Cursor {
    /// Records of the apex.
    pub(super) apex: usize,
    /// The node to go on with, and how many of its records were sent.
    pub(super) node: Bound<Vec<u8>>,
    pub(super) within: usize,
}

impl Default for Cursor {
    fn default() -> Self {
        Self {
            apex: 0,
            node: Bound::Unbounded,
            within: 0,
        }
    }
}

/// A transfer under way: the zone as it was when it began, and how much of it is still to be sent.
/// Messages are made one by one, each when there is room for it.
pub struct Outgoing {
    query: Box<[u8]>,
    zone: Source,
    soa_alone: bool,
    done: bool,
    /// Records.
    sent: usize,
}

/// A zone, and how much of it was sent.
enum Source {
    Cluster(WholeZone),
    File(Arc<Zone>, Cursor),
}

impl Source {
    /// Whether all of it is there.
    fn is_known(&self) -> bool {
        match self {
            Self::Cluster(whole) => whole.is_known(),
            Self::File(..) => true,
        }
    }

    fn soa(&self) -> &Record {
        match self {
            Self::Cluster(whole) => whole.soa(),
            Self::File(zone, _) => zone.soa(),
        }
    }

    fn serial(&self) -> u32 {
        serial_of(self.soa()).unwrap_or_default()
    }

    /// Hands over what was not sent yet, until `write` takes no more; `true` after the last.
    fn write(&mut self, write: impl FnMut(&Record) -> bool) -> bool {
        match self {
            Self::Cluster(whole) => whole.write(write),
            Self::File(zone, cursor) => zone.write_from(cursor, write),
        }
    }
}

impl Outgoing {
    /// Writes the next message, as full as it gets, and returns its length; `None` after the last.
    pub fn next_message(&mut self, buf: &mut [u8]) -> Option<usize> {
        if self.done {
            return None;
        }
        let mut name = Box::new(FoldedName::default());
        let query = Query::parse(&self.query, &mut name).ok()?;
        let mut reply = Reply::new(buf, &query, true);
        reply.set_authoritative();
        let sent = &mut self.sent;
        let mut write = |record: &Record| {
            let fits = record.write(Section::Answer, &mut reply);
            *sent += usize::from(fits);
            fits
        };
        self.done = if self.soa_alone {
            write(self.zone.soa());
            true
        } else {
            self.zone.write(write)
        };
        // A record that fits no message would never end.
        self.done |= reply.is_empty();
        // What did not fit is in the next one.
        reply.clear_truncated();
        Some(reply.finish(query.edns.as_ref()))
    }
}

impl fmt::Display for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, serial) = (self.sent, self.zone.serial());
        let zone = NameText::of(&self.zone.soa().owner);
        write!(
            f,
            "{sent} records of zone {}, serial {serial}",
            zone.as_str()
        )
    }
}

#[cfg(test)]
mod tests;
