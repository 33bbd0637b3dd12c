//! Writing answers of the cluster's names.

use std::net::IpAddr;

use super::{Kubernetes, Missing, Part, PodMode, Question, Zone};
use crate::chain::Context;
use crate::index::{
    ClusterIndex, Encoded, EndpointSlice, Host, Item, LabelBuf, LabelRef, ServiceName, ServiceNode,
};
use crate::limits::{LABEL_LEN_MAX, NAME_LEN_MAX};
use crate::wire::reply::{Owner, QUESTION_POINTER};
use crate::wire::walk::records;
use crate::wire::{Class, RType, Record, Reply, Section};

/// The SOA record's own TTL goes no higher, in seconds.
const SOA_TTL_MAX: u32 = 300;
/// The zone's name server and who is responsible for it, both below the zone.
const PRIMARY: &[u8] = b"\x02ns\x03dns";
const MAILBOX: &[u8] = b"\x0ahostmaster";
pub(super) const REFRESH: u32 = 7_200;
pub(super) const RETRY: u32 = 1_800;
pub(super) const EXPIRE: u32 = 86_400;
/// SRV weights of a name add up to about this.
const WEIGHT_TOTAL: usize = 100;

/// How far an answer got from the index alone.
pub(super) enum Written {
    /// It is whole.
    Whole,
    /// These names have to be looked up and their records appended.
    Lead(Vec<Box<[u8]>>),
}

/// Writes the SOA record of the zone whose apex is the question without its first octets.
pub(super) fn soa(
    kubernetes: &Kubernetes,
    (zone, suffix): (&Zone, usize),
    section: Section,
    reply: &mut Reply<'_>,
) {
    let ttl = kubernetes.ttl.min(SOA_TTL_MAX);
    let begun = reply.begin(
        section,
        Owner::QuestionSuffix(suffix),
        RType::SOA,
        Class::IN,
        ttl,
    );
    reply.put_labels_under(PRIMARY, suffix);
    reply.put_labels_under(MAILBOX, suffix);
    let serial = kubernetes.index_of(zone).map_or(0, ClusterIndex::serial);
    reply.put(soa_numbers(kubernetes, serial).as_flattened());
    reply.end(begun);
}

/// The SOA record of a zone, on its own.
pub(super) fn soa_of(kubernetes: &Kubernetes, apex: &[u8], serial: u32) -> Record {
    let numbers = soa_numbers(kubernetes, serial);
    Record {
        owner: apex.to_vec(),
        rtype: RType::SOA,
        class: Class::IN,
        ttl: kubernetes.ttl.min(SOA_TTL_MAX),
        rdata: [PRIMARY, apex, MAILBOX, apex, numbers.as_flattened()].concat(),
    }
}

/// Serial, refresh, retry, expire, minimum (RFC 1035 §3.3.13).
#[inline]
fn soa_numbers(kubernetes: &Kubernetes, serial: u32) -> [[u8; 4]; 5] {
    [serial, REFRESH, RETRY, EXPIRE, kubernetes.ttl].map(u32::to_be_bytes)
}

/// The size of [`soa_record`].
const SOA_LEN: usize = 12 + PRIMARY.len() + 2 + MAILBOX.len() + 2 + 20;

/// The SOA of the zone that begins `suffix` octets into the question, which is not the root, with
/// pointers there, and its TTL in seconds: what [`soa`] writes, in one piece.
#[inline]
pub(crate) fn soa_record(kubernetes: &Kubernetes, suffix: usize) -> ([u8; SOA_LEN], u32) {
    const MAILBOX_AT: usize = 12 + PRIMARY.len() + 2;
    const NUMBERS_AT: usize = MAILBOX_AT + MAILBOX.len() + 2;
    let ttl = kubernetes.ttl.min(SOA_TTL_MAX);
    let zone = (QUESTION_POINTER + suffix as u16).to_be_bytes();
    let mut record = [0; SOA_LEN];
    record[..2].copy_from_slice(&zone);
    record[2..4].copy_from_slice(&RType::SOA.0.to_be_bytes());
    record[4..6].copy_from_slice(&Class::IN.0.to_be_bytes());
    record[6..10].copy_from_slice(&ttl.to_be_bytes());
    record[10..12].copy_from_slice(&(SOA_LEN as u16 - 12).to_be_bytes());
    record[12..MAILBOX_AT - 2].copy_from_slice(PRIMARY);
    record[MAILBOX_AT - 2..MAILBOX_AT].copy_from_slice(&zone);
    record[MAILBOX_AT..NUMBERS_AT - 2].copy_from_slice(MAILBOX);
    record[NUMBERS_AT - 2..NUMBERS_AT].copy_from_slice(&zone);
    let serial = kubernetes.index.serial();
    record[NUMBERS_AT..].copy_from_slice(soa_numbers(kubernetes, serial).as_flattened());
    (record, ttl)
}

/// Writes an address record if the address is of the family asked for.
pub(super) fn address(
    owner: Owner<'_>,
    qtype: RType,
    ttl: u32,
    section: Section,
    host: IpAddr,
    reply: &mut Reply<'_>,
) -> bool {
    match (host, qtype) {
        (IpAddr::V4(v4), RType::A) => reply.record(section, owner, qtype, ttl, &v4.octets()),
        (IpAddr::V6(v6), RType::AAAA) => reply.record(section, owner, qtype, ttl, &v6.octets()),
        _ => return false,
    };
    true
}

pub(super) const fn address_type(host: IpAddr) -> RType {
    match host {
        IpAddr::V4(_) => RType::A,
        IpAddr::V6(_) => RType::AAAA,
    }
}

/// The address that a pod's name spells, if the plugin answers for it, and how many pods that is.
/// Three single dashes make an IPv4 address, anything else is tried as IPv6.
pub(super) fn pod_address(
    kubernetes: &Kubernetes,
    label: &[u8],
    namespace: LabelRef<'_>,
) -> Option<(IpAddr, u32)> {
    let text = std::str::from_utf8(label).ok()?;
    let v4 = text.matches('-').count() == 3 && !text.contains("--");
    let mut spelled = [0; LABEL_LEN_MAX];
    let spelled = spelled.get_mut(..label.len())?;
    spelled.copy_from_slice(label);
    for octet in &mut *spelled {
        if *octet == b'-' {
            *octet = if v4 { b'.' } else { b':' };
        }
    }
    let host = std::str::from_utf8(spelled).ok()?.parse::<IpAddr>().ok()?;
    let pods = match kubernetes.pods {
        PodMode::Disabled => 0,
        PodMode::Insecure => 1,
        // A pod's address is matched as text: only the form that the API shows finds it.
        PodMode::Verified if LabelBuf::default().spelled(host) == label => {
            kubernetes.index.pods(namespace, host)
        }
        PodMode::Verified => 0,
    };
    // An IPv4-mapped address counts as IPv4, as in Go's library.
    (pods > 0).then(|| (host.to_canonical(), pods))
}

/// Answers a pod's name.
pub(super) fn pod(
    question: &Question<'_>,
    context: &Context<'_>,
    label: &[u8],
    namespace: LabelRef<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Missing> {
    let kubernetes = question.kubernetes;
    let (host, pods) = pod_address(kubernetes, label, namespace).ok_or(Missing::Name)?;
    match context.query.qtype {
        RType::SRV => {
            let begun = reply.begin(
                Section::Answer,
                Owner::Question,
                RType::SRV,
                Class::IN,
                kubernetes.ttl,
            );
            // CoreDNS shows pods with port 0; those on the host network share their weight.
            reply.put(&[0, 0]);
            reply.put(&weight(pods as usize).to_be_bytes());
            reply.put(&[0, 0]);
            let target = reply.len();
            put_label(label, reply);
            put_label(namespace.octets, reply);
            reply.put(b"\x03pod");
            reply.put_question_suffix_in_full(question.suffix);
            if reply.end(begun) {
                address(
                    Owner::At(target),
                    address_type(host),
                    kubernetes.ttl,
                    Section::Additional,
                    host,
                    reply,
                );
            }
            Ok(())
        }
        qtype
            if address(
                Owner::Question,
                qtype,
                kubernetes.ttl,
                Section::Answer,
                host,
                reply,
            ) =>
        {
            Ok(())
        }
        _ => Err(Missing::Data),
    }
}

/// Answers a Service's name, or that of a part of it, from the index.
pub(super) fn service(
    question: &Question<'_>,
    context: &mut Context<'_>,
    (name, node): (&ServiceName, &ServiceNode),
    part: Part<'_>,
    reply: &mut Reply<'_>,
) -> Result<Written, Missing> {
    let qtype = context.query.qtype;
    if part.is_whole()
        && let Some(encoded) = node.encoded(qtype)
    {
        if !node.exists() {
            return Err(Missing::Name);
        }
        return match encoded {
            Encoded::A(records) => rrset(records, context, reply),
            Encoded::Aaaa(records) => rrset(records, context, reply),
        };
    }
    match qtype {
        RType::SRV => {
            let ttl = question.kubernetes.ttl;
            let items = Inside {
                question,
                name,
                node,
                part,
            };
            services(&items, (ttl, ttl), reply)
        }
        RType::CNAME => {
            let mut first = None;
            part.items(node, |item| {
                first.get_or_insert(item.host);
            })
            .ok_or(Missing::Name)?;
            let Some(Host::Name(target)) = first else {
                return Err(Missing::Data);
            };
            cname(Owner::Question, target, question.kubernetes.ttl, reply);
            Ok(Written::Whole)
        }
        _ => {
            let mut leads = Vec::new();
            let ttl = question.kubernetes.ttl;
            part.items(node, |item| {
                if item.repeats_address {
                    return;
                }
                match item.host {
                    Host::Name(target) => leads.push(target.into()),
                    // Under another endpoint's name the same address is another item.
                    Host::Ip(host) if node.repeats_addresses() && holds_address(reply, host) => {}
                    Host::Ip(host) => {
                        address(Owner::Question, qtype, ttl, Section::Answer, host, reply);
                    }
                }
            })
            .ok_or(Missing::Name)?;
            if !leads.is_empty() {
                return Ok(Written::Lead(leads));
            }
            whole_unless_empty(reply)
        }
    }
}

/// Writes an RRset of addresses, rotated if that is wanted.
fn rrset<const LEN: usize>(
    records: &[[u8; LEN]],
    context: &mut Context<'_>,
    reply: &mut Reply<'_>,
) -> Result<Written, Missing> {
    let first = match records.len() {
        0 => return Err(Missing::Data),
        1 => 0,
        len if context.rotates => context.random.below(len),
        _ => 0,
    };
    context.rotates = false;
    reply.copy_rrset(Section::Answer, records, first);
    Ok(Written::Whole)
}

pub(super) fn whole_unless_empty(reply: &Reply<'_>) -> Result<Written, Missing> {
    if reply.count(Section::Answer) == 0 && !reply.truncated() {
        Err(Missing::Data)
    } else {
        Ok(Written::Whole)
    }
}

/// Whether the answer already holds this address.
pub(super) fn holds_address(reply: &mut Reply<'_>, host: IpAddr) -> bool {
    let (message, at, [count, ..]) = reply.message_mut();
    let message = &*message;
    records(message, at, usize::from(count)).any(|record| match host {
        IpAddr::V4(v4) => {
            record.rtype == RType::A && message[record.rdata_at..record.end] == v4.octets()
        }
        IpAddr::V6(v6) => {
            record.rtype == RType::AAAA && message[record.rdata_at..record.end] == v6.octets()
        }
    })
}

/// What a name stands for, to be visited more than once.
pub(super) trait Items<'a> {
    /// Visits each combination, and returns how many there are; `None` if there is no such name.
    fn each(&self, visit: impl FnMut(Item<'a>)) -> Option<usize>;

    /// Writes the name under which the addresses of a Service, or of one of its endpoints, are found,
    /// in full: RFC 2782 forbids compression.
    fn put_target(&self, endpoint: Option<(&EndpointSlice, usize)>, reply: &mut Reply<'_>);

    /// Whether host names have SRV records, too.
    const SHOWS_NAMES: bool;
}

/// Items of a Service inside of the cluster.
struct Inside<'q, 'a> {
    question: &'q Question<'q>,
    name: &'a ServiceName,
    node: &'a ServiceNode,
    part: Part<'q>,
}

impl<'a> Items<'a> for Inside<'_, 'a> {
    const SHOWS_NAMES: bool = false;

    #[inline]
    fn each(&self, visit: impl FnMut(Item<'a>)) -> Option<usize> {
        self.part.items(self.node, visit)
    }

    /// `[endpoint.]service.namespace.svc.ZONE`.
    #[inline]
    fn put_target(&self, endpoint: Option<(&EndpointSlice, usize)>, reply: &mut Reply<'_>) {
        put_service(self.name, endpoint, reply);
        reply.put(b"\x03svc");
        reply.put_question_suffix_in_full(self.question.suffix);
    }
}

/// Writes SRV records and, behind them, the addresses of their targets.
pub(super) fn services<'a>(
    items: &impl Items<'a>,
    (ttl, glue_ttl): (u32, u32),
    reply: &mut Reply<'_>,
) -> Result<Written, Missing> {
    let shown = |item: &Item<'_>| shows_names(items) || matches!(item.host, Host::Ip(_));
    let mut total = 0;
    items
        .each(|item| total += usize::from(shown(&item)))
        .ok_or(Missing::Name)?;
    let weight = weight(total);
    let srv_at = reply.len();
    items.each(|item| {
        let Some(port) = item.port.filter(|_| shown(&item) && !item.repeats_port) else {
            return;
        };
        if reply.truncated() {
            return;
        }
        let begun = reply.begin(Section::Answer, Owner::Question, RType::SRV, Class::IN, ttl);
        reply.put(&[0, 0]);
        reply.put(&weight.to_be_bytes());
        reply.put(&port.to_be_bytes());
        match item.host {
            Host::Ip(_) => items.put_target(item.endpoint, reply),
            Host::Name(name) => reply.put(name),
        }
        reply.end(begun);
    });
    // The same items in the same order: each SRV record's target is the owner of its addresses.
    let mut next = srv_at;
    let mut target = srv_at;
    items.each(|item| {
        if item.port.is_none() || !shown(&item) || reply.truncated() {
            return;
        }
        if item.repeats_port {
            target = target_of(items, item.endpoint, srv_at, reply).unwrap_or(target);
        } else {
            let (message, ..) = reply.message_mut();
            let Some(record) = crate::wire::walk::record_at(message, next) else {
                return;
            };
            next = record.end;
            target = record.rdata_at + SRV_FIXED_LEN;
        }
        let Host::Ip(host) = item.host else { return };
        if !item.repeats_glue {
            address(
                Owner::At(target),
                address_type(host),
                glue_ttl,
                Section::Additional,
                host,
                reply,
            );
        }
    });
    whole_unless_empty(reply)
}

const fn shows_names<'a, I: Items<'a>>(_: &I) -> bool {
    I::SHOWS_NAMES
}

/// Octets of SRV RDATA before the target: priority, weight, port.
const SRV_FIXED_LEN: usize = 6;

/// CoreDNS's arithmetic, floating point included: each of `total` records gets an equal part of
/// 100, at least 1.
#[inline]
pub(crate) fn weight(total: usize) -> u16 {
    let share = WEIGHT_TOTAL as f64 / (total.max(1) * WEIGHT_TOTAL) as f64 * WEIGHT_TOTAL as f64;
    (share.floor() as u16).max(1)
}

/// Writes the labels `[endpoint.]service.namespace`.
pub(super) fn put_service(
    name: &ServiceName,
    endpoint: Option<(&EndpointSlice, usize)>,
    reply: &mut Reply<'_>,
) {
    if let Some((slice, index)) = endpoint {
        let mut buf = LabelBuf::default();
        put_presented(slice.name(index, &mut buf), reply);
    }
    put_label(name.label(), reply);
    put_label(name.namespace().label().octets, reply);
}

/// Where an earlier SRV record holds the target of this item.
fn target_of<'a>(
    items: &impl Items<'a>,
    endpoint: Option<(&EndpointSlice, usize)>,
    srv_at: usize,
    reply: &mut Reply<'_>,
) -> Option<usize> {
    let count = usize::from(reply.count(Section::Answer));
    let start = reply.len();
    // Written behind the message to be compared, and taken back.
    items.put_target(endpoint, reply);
    let end = reply.len();
    let (message, ..) = reply.message_mut();
    let wanted = &message[start..end];
    let found = records(&message[..start], srv_at, count)
        .map(|record| (record.rdata_at + SRV_FIXED_LEN, record.end))
        .find(|&(from, to)| message[from..to] == *wanted)
        .map(|(from, _)| from);
    reply.take_back(start);
    found
}

fn put_label(label: &[u8], reply: &mut Reply<'_>) {
    reply.put(&[label.len() as u8]);
    reply.put(label);
}

/// Writes an endpoint's name, which may hold dots if it is a pod's.
fn put_presented(name: &[u8], reply: &mut Reply<'_>) {
    for label in name
        .split(|&octet| octet == b'.')
        .filter(|label| !label.is_empty())
    {
        put_label(label, reply);
    }
}

fn cname(owner: Owner<'_>, target: &[u8], ttl: u32, reply: &mut Reply<'_>) {
    let begun = reply.begin(Section::Answer, owner, RType::CNAME, Class::IN, ttl);
    reply.put_name(target);
    reply.end(begun);
}

/// Answers PTR: the Service with this cluster IP, or every endpoint with this address.
pub(super) fn pointers(
    kubernetes: &Kubernetes,
    host: IpAddr,
    reply: &mut Reply<'_>,
) -> Result<(), Missing> {
    each_pointer(kubernetes, host, |target| {
        let ttl = kubernetes.ttl;
        let begun = reply.begin(Section::Answer, Owner::Question, RType::PTR, Class::IN, ttl);
        reply.put_name(target);
        reply.end(begun);
    });
    if reply.count(Section::Answer) == 0 && !reply.truncated() {
        Err(Missing::Name)
    } else {
        Ok(())
    }
}

/// Visits the names that an address stands for.
pub(super) fn each_pointer(kubernetes: &Kubernetes, host: IpAddr, mut visit: impl FnMut(&[u8])) {
    let visible = |name: &ServiceName| !kubernetes.filters_reverse || name.namespace().is_exposed();
    let mut pointer = |name: &ServiceName, endpoint: Option<&[u8]>| {
        let mut target = NameBuf::default();
        if let Some(endpoint) = endpoint {
            endpoint
                .split(|&octet| octet == b'.')
                .for_each(|label| target.push(label));
        }
        target.push(name.label());
        target.push(name.namespace().label().octets);
        target.push(b"svc");
        if let Some(target) = target.under(&kubernetes.primary) {
            visit(target);
        }
    };
    kubernetes.index.address(host.to_canonical(), |node| {
        let (services, endpoints) = node.parts();
        if let Some(service) = services.iter().find(|service| visible(service)) {
            pointer(service, None);
            return;
        }
        for (place, endpoint) in endpoints.iter().enumerate() {
            // Two slices may hold the same endpoint: one record.
            if !visible(&endpoint.service) || endpoints[..place].contains(endpoint) {
                continue;
            }
            let mut buf = LabelBuf::default();
            let name = endpoint
                .name()
                .unwrap_or_else(|| buf.dashed(host.to_canonical()));
            pointer(&endpoint.service, Some(name));
        }
    });
}

/// An uncompressed name put together label by label.
pub(super) struct NameBuf {
    wire: [u8; NAME_LEN_MAX],
    len: usize,
    bad: bool,
}

impl Default for NameBuf {
    fn default() -> Self {
        Self {
            wire: [0; NAME_LEN_MAX],
            len: 0,
            bad: false,
        }
    }
}

impl NameBuf {
    pub(super) fn push(&mut self, label: &[u8]) {
        let end = self.len + 1 + label.len();
        if label.is_empty() || label.len() > 63 || end >= NAME_LEN_MAX {
            self.bad = true;
            return;
        }
        self.wire[self.len] = label.len() as u8;
        self.wire[self.len + 1..end].copy_from_slice(label);
        self.len = end;
    }

    /// The name below `zone`; `None` if a label was not one or the whole is too long. CoreDNS
    /// would fail to pack such a record and leave the client without a reply.
    pub(super) fn under(&mut self, zone: &[u8]) -> Option<&[u8]> {
        let end = self.len + zone.len();
        if self.bad || end > NAME_LEN_MAX {
            return None;
        }
        self.wire[self.len..end].copy_from_slice(zone);
        Some(&self.wire[..end])
    }
}
