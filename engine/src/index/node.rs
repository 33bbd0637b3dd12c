//! One Service as workers read it: its encoded addresses, its ports, its endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::records::{A_RECORD_LEN, AAAA_RECORD_LEN, encode_addresses};
use super::slice::{
    EndpointSlice, Host, LabelBuf, Port, PortSelector, ZoneSelector, v4_from_dashed,
};
use super::table::LabelRef;
use crate::sys::prefetch::{LINE, prefetch};
use crate::wire::RType;
use crate::wire::name::label_hash;

/// Where a Service's addresses come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServiceKind {
    /// Its cluster IPs.
    ClusterIp(Box<[IpAddr]>),
    /// Its endpoints.
    Headless,
    /// Another name, as an uncompressed wire name in the API's spelling. `None` if what the API
    /// says is no host name (an IP address, say): such a Service has no names.
    External(Option<Box<[u8]>>),
}

/// What a Service's entry is built from.
pub struct ServiceParts {
    /// Where its addresses come from.
    pub kind: ServiceKind,
    /// Its ports.
    pub ports: Arc<[Port]>,
    /// Its slices, shared with control's store.
    pub slices: Box<[Arc<EndpointSlice>]>,
    /// The TTL of its records in seconds.
    pub ttl: u32,
    /// `ignore empty_service`: a ClusterIP Service without ready endpoints has no names.
    pub ignore_empty: bool,
}

/// Where a Service's addresses come from, as its entry has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind<'a> {
    /// Its cluster IPs: [`ServiceNode::cluster_ips`].
    ClusterIp,
    /// Its endpoints.
    Headless,
    /// As in [`ServiceKind::External`].
    External(Option<&'a [u8]>),
}

#[derive(Clone, Copy, Eq, PartialEq)]
#[repr(u8)]
enum Tag {
    ClusterIp,
    Headless,
    External,
}

/// What is known of a Service's bare name, so that an answer need not look at the slices.
#[derive(Clone, Copy, Eq, PartialEq)]
#[repr(u8)]
enum Bare {
    /// It does not exist.
    Missing,
    /// It stands for the encoded addresses.
    Encoded,
    /// It stands for something that has to be looked up.
    Elsewhere,
}

/// One Service as workers read it. Immutable; a change publishes a new one.
///
/// Two lines of the processor's caches: what the usual answer needs, and the rest.
#[repr(C)]
pub struct ServiceNode {
    tag: Tag,
    hidden: bool,
    bare: Bare,
    /// An address stands in more than one place.
    repeats: bool,
    /// Octets of the A records.
    a_len: u32,
    /// Encoded A, then AAAA records of the bare name, without repetitions. One of each stands in the
    /// entry itself, which is what nearly every Service has.
    addresses: SmallVec<[u8; A_RECORD_LEN + AAAA_RECORD_LEN]>,
    /// Shared by all with the same ports, which are few.
    ports: Arc<[Port]>,
    /// One slice a family is what nearly every Service has.
    slices: SmallVec<[Arc<EndpointSlice>; 2]>,
    rare: Rare,
}

/// What few Services have, and none has two of.
enum Rare {
    None,
    /// The name that an ExternalName Service stands for.
    Target(Box<[u8]>),
    /// Endpoints whose name is not an IPv4 address: (hash of the name, number over all slices), sorted.
    Named(Box<[(u32, u32)]>),
}

const _: () = assert!(size_of::<ServiceNode>() <= 2 * LINE);

/// One combination of host and port that a name stands for.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    /// The host.
    pub host: Host<'a>,
    /// The port; `None` where there is none to show.
    pub port: Option<u16>,
    /// The endpoint's slice and its place there; `None` for the Service itself.
    pub endpoint: Option<(&'a EndpointSlice, usize)>,
    /// An earlier item has the same owner and port: no second SRV record.
    pub repeats_port: bool,
    /// An earlier item has the same owner and address: no second address record.
    pub repeats_address: bool,
    /// An earlier item has the same owner and address, and a port to show: no second glue record.
    pub repeats_glue: bool,
}

/// Address records of one family whose owner is a pointer to the question.
#[derive(Clone, Copy, Debug)]
pub enum Encoded<'a> {
    /// IPv4.
    A(&'a [[u8; A_RECORD_LEN]]),
    /// IPv6.
    Aaaa(&'a [[u8; AAAA_RECORD_LEN]]),
}

impl ServiceNode {
    /// Builds the entry.
    pub fn build(parts: ServiceParts) -> Self {
        let ServiceParts {
            kind,
            ports,
            slices,
            ttl,
            ignore_empty,
        } = parts;
        let hosts = || slices.iter().flat_map(|slice| slice.hosts());
        let endpoint_count = slices
            .iter()
            .map(|slice| slice.addresses.len())
            .sum::<usize>();
        let ips = || {
            hosts().filter_map(|host| match host {
                Host::Ip(address) => Some(address),
                Host::Name(_) => None,
            })
        };
        let (tag, addresses) = match &kind {
            ServiceKind::ClusterIp(addresses) => (Tag::ClusterIp, addresses.to_vec()),
            ServiceKind::Headless => (Tag::Headless, ips().collect()),
            ServiceKind::External(_) => (Tag::External, Vec::new()),
        };
        let (addresses, a_len) = encode_addresses(&addresses, ttl);
        let mut sorted = ips().collect::<Vec<_>>();
        let has_fqdn = sorted.len() < endpoint_count;
        sorted.sort_unstable();
        let repeats = sorted.windows(2).any(|pair| pair[0] == pair[1]);

        let mut named = Vec::new();
        let mut number = 0;
        let mut buf = LabelBuf::default();
        for slice in &slices {
            for index in 0..slice.addresses.len() {
                if slice.v4_named_by_address(index).is_none() {
                    named.push((label_hash(slice.name(index, &mut buf)), number));
                }
                number += 1;
            }
        }
        named.sort_unstable();
        let hidden = match &kind {
            ServiceKind::ClusterIp(_) => ignore_empty && endpoint_count == 0,
            ServiceKind::Headless => false,
            ServiceKind::External(target) => target.is_none(),
        };
        let bare = match kind {
            ServiceKind::Headless if endpoint_count == 0 => Bare::Missing,
            ServiceKind::Headless if has_fqdn => Bare::Elsewhere,
            ServiceKind::ClusterIp(_) | ServiceKind::Headless => Bare::Encoded,
            ServiceKind::External(_) => Bare::Elsewhere,
        };
        Self {
            tag,
            hidden,
            bare,
            repeats,
            a_len,
            addresses,
            ports,
            slices: slices.into_vec().into(),
            rare: match kind {
                ServiceKind::External(Some(target)) => Rare::Target(target),
                ServiceKind::External(None) => Rare::None,
                _ if named.is_empty() => Rare::None,
                _ => Rare::Named(named.into()),
            },
        }
    }

    /// Whether the Service has no names at all.
    pub const fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Where its addresses come from.
    pub fn kind(&self) -> Kind<'_> {
        match self.tag {
            Tag::ClusterIp => Kind::ClusterIp,
            Tag::Headless => Kind::Headless,
            Tag::External => Kind::External(self.target()),
        }
    }

    fn target(&self) -> Option<&[u8]> {
        match &self.rare {
            Rare::Target(target) => Some(target),
            _ => None,
        }
    }

    /// Its cluster IPs, IPv4 first; none if it has no [`Kind::ClusterIp`].
    pub fn cluster_ips(&self) -> impl Iterator<Item = IpAddr> {
        let len = if self.tag == Tag::ClusterIp {
            self.addresses.len()
        } else {
            0
        };
        let (a, aaaa) = self.addresses[..len].split_at(len.min(self.a_len as usize));
        let v4 = a.as_chunks::<A_RECORD_LEN>().0.iter().map(|record| {
            let octets = record
                .last_chunk::<4>()
                .expect("an address ends the record");
            IpAddr::from(*octets)
        });
        let v6 = aaaa.as_chunks::<AAAA_RECORD_LEN>().0.iter().map(|record| {
            let octets = record
                .last_chunk::<16>()
                .expect("an address ends the record");
            IpAddr::from(*octets)
        });
        v4.chain(v6)
    }

    /// Its ports.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Its slices.
    pub fn slices(&self) -> &[Arc<EndpointSlice>] {
        &self.slices
    }

    /// The encoded address records of the bare name, if they are all that the name stands for: `None`
    /// for other types, and where a host has to be looked up.
    #[inline(always)]
    pub fn encoded(&self, qtype: RType) -> Option<Encoded<'_>> {
        match qtype {
            _ if self.bare == Bare::Elsewhere => None,
            RType::A => {
                let octets = self.addresses.as_slice().split_at(self.a_len as usize).0;
                Some(Encoded::A(octets.as_chunks().0))
            }
            RType::AAAA => {
                let octets = self.addresses.as_slice().split_at(self.a_len as usize).1;
                Some(Encoded::Aaaa(octets.as_chunks().0))
            }
            _ => None,
        }
    }

    /// What most names of ports stand for: one port of a Service with one cluster IP, or one a family,
    /// whose records come with it, one of them empty if there is none. `None` says nothing;
    /// [`Self::items`] then does.
    #[inline]
    pub(crate) fn only_port(&self, selector: PortSelector<'_>) -> Option<(u16, [&[u8]; 2])> {
        let (a, aaaa) = self.addresses.split_at(self.a_len as usize);
        let is_plain = a.len() <= A_RECORD_LEN && aaaa.len() <= AAAA_RECORD_LEN;
        if self.tag != Tag::ClusterIp || !is_plain || self.addresses.is_empty() {
            return None;
        }
        let mut selected = self.ports.iter().filter(|port| selector.selects(port));
        let port = selected.next()?.number?;
        if selected.next().is_some() {
            return None;
        }
        Some((port, [a, aaaa]))
    }

    /// The hosts that an endpoint's name stands for: how many, and the last of them. `None` says
    /// nothing; [`Self::items`] then does.
    #[inline]
    pub(crate) fn hosts_named(
        &self,
        label: &[u8],
        hash: impl FnOnce() -> u32,
    ) -> Option<(usize, Option<Host<'_>>)> {
        if self.tag == Tag::External {
            return None;
        }
        let mut found = (0, None);
        self.endpoints_named(label, hash, &mut |_, slice, index| {
            found = (found.0 + 1, Some(slice.addresses.host(index)));
        });
        Some(found)
    }

    /// Has fetched what [`Self::only_port`] and [`Self::hosts_named`] read first.
    #[inline]
    pub(crate) fn prefetch_parts(&self) {
        prefetch::<_, 1>(&*self.ports);
        if let Rare::Named(named) = &self.rare {
            prefetch::<_, 1>(&**named);
        }
        if let Some(slice) = self.slices.first() {
            prefetch::<_, 1>(&**slice);
        }
    }

    /// Whether the bare name exists: a headless Service needs a ready endpoint for that.
    pub fn exists(&self) -> bool {
        self.bare != Bare::Missing
    }

    /// Visits what `selector` or `endpoint` stand for, in the order of the API, and returns how
    /// many combinations there are. `None` means that there is no such name.
    pub fn items<'a>(
        &'a self,
        selector: PortSelector<'_>,
        endpoint: Option<LabelRef<'_>>,
        mut visit: impl FnMut(Item<'a>),
    ) -> Option<usize> {
        if self.hidden {
            return None;
        }
        match self.tag {
            Tag::External => {
                let plain =
                    endpoint.is_none() && selector.port.is_empty() && selector.protocol.is_empty();
                let target = self.target().filter(|_| plain)?;
                visit(Item {
                    host: Host::Name(target),
                    port: None,
                    endpoint: None,
                    repeats_port: false,
                    repeats_address: false,
                    repeats_glue: false,
                });
                Some(1)
            }
            Tag::ClusterIp if endpoint.is_none() => self.cluster_ip_items(selector, visit),
            _ => {
                let mut count = 0;
                let mut each = |number: usize, slice: &'a EndpointSlice, index: usize| {
                    let place = (number, slice, index);
                    count += self.endpoint_items(selector, |_, _| true, place, &mut visit);
                };
                match endpoint {
                    Some(label) => {
                        self.endpoints_named(label.octets, || label.hash, &mut each);
                    }
                    None => self.all_endpoints(&mut each),
                }
                (count > 0).then_some(count)
            }
        }
    }

    /// Visits the endpoints of a topology zone, or all of them if the selector says so and the zone
    /// has none, and returns how many combinations with ports there are. `None` means that there is
    /// no such name: only headless Services have it, those without any endpoint as well.
    pub fn items_in_zone<'a>(
        &'a self,
        zone: &ZoneSelector<'_>,
        mut visit: impl FnMut(Item<'a>),
    ) -> Option<usize> {
        if self.tag != Tag::Headless {
            return None;
        }
        let ports = PortSelector::default();
        let mut of_zone = 0;
        self.all_endpoints(&mut |number, slice, index| {
            if zone.holds(slice, index) {
                let (place, counts) = ((number, slice, index), |slice: &_, at| {
                    zone.holds(slice, at)
                });
                of_zone += self.endpoint_items(ports, counts, place, &mut visit);
            }
        });
        if of_zone == 0 && zone.falls_back {
            return Some(self.items(ports, None, visit).unwrap_or_default());
        }
        Some(of_zone)
    }

    fn cluster_ip_items<'a>(
        &self,
        selector: PortSelector<'_>,
        mut visit: impl FnMut(Item<'a>),
    ) -> Option<usize> {
        let (mut ports, mut count) = (0, 0);
        for (nth, number) in selector.numbers(&self.ports).enumerate() {
            ports += 1;
            let repeats_port = selector
                .numbers(&self.ports)
                .take(nth)
                .any(|earlier| earlier == number);
            for (index, address) in self.cluster_ips().enumerate() {
                count += 1;
                visit(Item {
                    host: Host::Ip(address),
                    port: number,
                    endpoint: None,
                    repeats_port: repeats_port || index > 0,
                    repeats_address: nth > 0,
                    repeats_glue: nth > 0,
                });
            }
        }
        (ports > 0).then_some(count)
    }

    /// Visits one endpoint's combinations; returns how many there are. `counts` says which others
    /// are visited as well.
    fn endpoint_items<'a>(
        &'a self,
        selector: PortSelector<'_>,
        counts: impl Fn(&EndpointSlice, usize) -> bool,
        (number, slice, index): (usize, &'a EndpointSlice, usize),
        visit: &mut impl FnMut(Item<'a>),
    ) -> usize {
        let host = slice.addresses.host(index);
        let mut count = 0;
        for (nth, port) in selector.numbers(&slice.ports).enumerate() {
            count += 1;
            // Endpoints that share their name (one pod's two families, say) share SRV records.
            let mut repeats_port = selector
                .numbers(&slice.ports)
                .take(nth)
                .any(|earlier| earlier == port);
            let mut repeats_address = nth > 0;
            let mut repeats_glue = selector
                .numbers(&slice.ports)
                .take(nth)
                .any(|port| port.is_some());
            if self.names_repeat(slice, index) {
                let mut buf = LabelBuf::default();
                let name = slice.name(index, &mut buf);
                let hash = || label_hash(name);
                self.endpoints_named(name, hash, &mut |other, other_slice, other_index| {
                    if other < number && counts(other_slice, other_index) {
                        let mut ports = selector.numbers(&other_slice.ports);
                        repeats_port |= ports.any(|earlier| earlier == port);
                        if other_slice.addresses.host(other_index) == host {
                            let mut ports = selector.numbers(&other_slice.ports);
                            repeats_address |= ports.next().is_some();
                            let mut ports = selector.numbers(&other_slice.ports);
                            repeats_glue |= ports.any(|port| port.is_some());
                        }
                    }
                });
            }
            visit(Item {
                host,
                port,
                endpoint: Some((slice, index)),
                repeats_port,
                repeats_address,
                repeats_glue,
            });
        }
        count
    }

    /// Whether endpoints of this name may stand in several places.
    fn names_repeat(&self, slice: &EndpointSlice, index: usize) -> bool {
        self.repeats
            || slice
                .names
                .as_ref()
                .is_some_and(|names| names[index].is_some())
    }

    /// Whether an address may be visited more than once by [`Self::items`] under different
    /// endpoints.
    pub const fn repeats_addresses(&self) -> bool {
        self.repeats
    }

    fn all_endpoints<'a>(&'a self, each: &mut impl FnMut(usize, &'a EndpointSlice, usize)) {
        let mut number = 0;
        for slice in &self.slices {
            for index in 0..slice.addresses.len() {
                each(number, slice, index);
                number += 1;
            }
        }
    }

    /// Visits the endpoints of a name in lower case, which has this [`label_hash`].
    fn endpoints_named<'a>(
        &'a self,
        name: &[u8],
        hash: impl FnOnce() -> u32,
        each: &mut impl FnMut(usize, &'a EndpointSlice, usize),
    ) {
        if let Rare::Named(named) = &self.rare {
            self.endpoints_named_otherwise(named, (name, hash()), each);
        }
        let Some(address) = v4_from_dashed(name) else {
            return;
        };
        let mut number = 0;
        for slice in &self.slices {
            slice.with_v4_name(address, |index| each(number + index, slice, index));
            number += slice.addresses.len();
        }
    }

    #[inline(never)]
    fn endpoints_named_otherwise<'a>(
        &'a self,
        named: &[(u32, u32)],
        (name, wanted): (&[u8], u32),
        each: &mut impl FnMut(usize, &'a EndpointSlice, usize),
    ) {
        let first = named.partition_point(|&(hash, _)| hash < wanted);
        for &(_, number) in named[first..].iter().take_while(|it| it.0 == wanted) {
            let mut index = number as usize;
            let slice = self.slices.iter().find(|slice| {
                let here = index < slice.addresses.len();
                if !here {
                    index -= slice.addresses.len();
                }
                here
            });
            if let Some(slice) = slice.filter(|slice| slice.is_name(index, name)) {
                each(number as usize, slice, index);
            }
        }
    }
}
