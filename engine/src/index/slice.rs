//! Ports and endpoints, as EndpointSlices list them, and the names of endpoints.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::limits::LABEL_LEN_MAX;
use crate::wire::FoldedName;
use crate::wire::name::is_same;

/// A port's name or protocol: names of Services' ports have at most 15 octets, so that these stand in
/// the port itself and cost no walk through memory.
pub type PortLabel = SmallVec<[u8; 16]>;

/// A named or unnamed port. Name and protocol are in lower case, as names are matched.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Port {
    /// The port's name; empty when it has none.
    pub name: PortLabel,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: PortLabel,
    /// The number; `None` stands for "no particular port", which no SRV record can show.
    pub number: Option<u16>,
}

/// Which ports a name is about: `_port._protocol.…`, or any.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortSelector<'a> {
    /// The port's name, lower case, without its underscore; empty for any.
    pub port: &'a [u8],
    /// The protocol, likewise.
    pub protocol: &'a [u8],
}

impl PortSelector<'_> {
    #[inline]
    pub(super) fn selects(&self, port: &Port) -> bool {
        (self.port.is_empty() || *self.port == *port.name)
            && (self.protocol.is_empty() || *self.protocol == *port.protocol)
    }

    /// The numbers of the selected ports. Something without any port counts as having one nameless
    /// port without a number: its addresses are answered, but no SRV record shows it.
    pub(super) fn numbers<'p>(&self, ports: &'p [Port]) -> impl Iterator<Item = Option<u16>> + 'p
    where
        Self: 'p,
    {
        let portless = ports.is_empty() && self.port.is_empty() && self.protocol.is_empty();
        let selector = *self;
        portless.then_some(None).into_iter().chain(
            ports
                .iter()
                .filter(move |port| selector.selects(port))
                .map(|port| port.number),
        )
    }
}

/// Which endpoints a name is about: those of a topology zone.
#[derive(Clone, Copy, Debug)]
pub struct ZoneSelector<'a> {
    /// The question's name, whose first labels are the zone. A zone may hold dots.
    pub name: &'a FoldedName,
    /// How many labels.
    pub labels: usize,
    /// Whether all endpoints stand for a zone that has none.
    pub falls_back: bool,
}

impl ZoneSelector<'_> {
    fn selects(&self, zone: &[u8]) -> bool {
        let mut labels = zone.split(|&octet| octet == b'.');
        (0..self.labels).all(|place| labels.next() == Some(self.name.label(place)))
            && labels.next().is_none()
    }

    /// Whether an endpoint is in the zone.
    pub(super) fn holds(&self, slice: &EndpointSlice, index: usize) -> bool {
        slice.zone(index).is_some_and(|zone| self.selects(zone))
    }
}

/// The ready addresses of a slice, packed by family.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Addresses {
    /// IPv4.
    V4(Box<[Ipv4Addr]>),
    /// IPv6.
    V6(Box<[Ipv6Addr]>),
    /// Host names, as uncompressed wire names in the API's spelling.
    Fqdn(Box<[Box<[u8]>]>),
}

impl Addresses {
    /// How many there are.
    pub const fn len(&self) -> usize {
        match self {
            Self::V4(list) => list.len(),
            Self::V6(list) => list.len(),
            Self::Fqdn(list) => list.len(),
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn host(&self, index: usize) -> Host<'_> {
        match self {
            Self::V4(list) => Host::Ip(IpAddr::V4(list[index])),
            Self::V6(list) => Host::Ip(IpAddr::V6(list[index])),
            Self::Fqdn(list) => Host::Name(&list[index]),
        }
    }
}

/// A name for each endpoint of a slice that has one of its own, in presentation format.
pub type EndpointNames = Box<[Option<Box<[u8]>>]>;

/// The endpoints of one EndpointSlice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointSlice {
    /// The slice's ports; none means the addresses alone are answered.
    pub ports: Arc<[Port]>,
    /// The ready addresses.
    pub addresses: Addresses,
    /// Names of the endpoints (`hostname`, or the pod's name), where they have one; absent when
    /// none has.
    pub names: Option<EndpointNames>,
    /// The topology zone of each endpoint that has one, lower case; absent when nobody asks for it.
    /// Behind a pointer of its own, so that slices without it are no larger.
    pub zones: Option<Box<EndpointNames>>,
}

// With the counts of an `Arc` this fills the allocator's class of 80 octets.
const _: () = assert!(size_of::<EndpointSlice>() <= 64);

impl EndpointSlice {
    /// The hosts, in the API's order.
    pub fn hosts(&self) -> impl Iterator<Item = Host<'_>> {
        (0..self.addresses.len()).map(|index| self.addresses.host(index))
    }

    /// Whether an endpoint has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.hosts().any(|host| host == Host::Ip(address))
    }

    /// The topology zone of endpoint `index`, if that is known.
    pub fn zone(&self, index: usize) -> Option<&[u8]> {
        self.zones.as_ref()?[index].as_deref()
    }

    /// The name of endpoint `index`: its own, or its address with dashes. Empty for a host name
    /// without one.
    pub fn name<'a>(&'a self, index: usize, buf: &'a mut LabelBuf) -> &'a [u8] {
        if let Some(Some(name)) = self.names.as_ref().map(|names| &names[index]) {
            return name;
        }
        match self.addresses.host(index) {
            Host::Ip(address) => buf.dashed(address),
            Host::Name(_) => &[],
        }
    }
}

impl EndpointSlice {
    /// Whether this, in lower case, is the name of endpoint `index`.
    pub(super) fn is_name(&self, index: usize, name: &[u8]) -> bool {
        let mut buf = LabelBuf::default();
        match self
            .names
            .as_ref()
            .and_then(|names| names[index].as_deref())
        {
            // Nearly all are in lower case.
            Some(own) => is_same(own, name) || own.eq_ignore_ascii_case(name),
            None => *self.name(index, &mut buf) == *name,
        }
    }

    /// The address of endpoint `index`, if that is an IPv4 one and makes its name.
    pub(super) fn v4_named_by_address(&self, index: usize) -> Option<Ipv4Addr> {
        let has_own = self.names.as_ref().is_some_and(|it| it[index].is_some());
        match &self.addresses {
            Addresses::V4(list) if !has_own => Some(list[index]),
            _ => None,
        }
    }

    /// Visits the endpoints whose name is made from this address.
    #[inline]
    pub(super) fn with_v4_name(&self, address: Ipv4Addr, mut each: impl FnMut(usize)) {
        /// So many at a time are compared without a branch.
        const AT_ONCE: usize = 16;
        let Addresses::V4(list) = &self.addresses else {
            return;
        };
        for (nth, chunk) in list.chunks(AT_ONCE).enumerate() {
            if !chunk.iter().fold(false, |any, it| any | (*it == address)) {
                continue;
            }
            for (place, _) in chunk.iter().enumerate().filter(|(_, it)| **it == address) {
                let index = nth * AT_ONCE + place;
                if self.v4_named_by_address(index).is_some() {
                    each(index);
                }
            }
        }
    }
}

/// The address that a name spells as [`LabelBuf::dashed`] would.
#[inline]
pub(super) fn v4_from_dashed(name: &[u8]) -> Option<Ipv4Addr> {
    /// The least number of so many digits.
    const LEAST: [u32; 4] = [u32::MAX, 0, 10, 100];
    let (mut address, mut numbers) = (0, 0);
    let (mut number, mut digits) = (0, 0_usize);
    for &octet in name.iter().chain(b"-") {
        let digit = octet.wrapping_sub(b'0');
        if digit < 10 {
            number = number * 10 + u32::from(digit);
            digits += 1;
        } else if octet == b'-' && number <= 255 && number >= *LEAST.get(digits)? {
            address = address << 8 | number;
            numbers += 1;
            (number, digits) = (0, 0);
        } else {
            return None;
        }
        if digits > 3 || numbers > 4 {
            return None;
        }
    }
    (numbers == 4).then(|| Ipv4Addr::from_bits(address))
}

/// Room for a name made from an address.
#[derive(Clone)]
pub struct LabelBuf {
    octets: [u8; LABEL_LEN_MAX + 1],
    len: usize,
}

impl Default for LabelBuf {
    fn default() -> Self {
        Self {
            octets: [0; LABEL_LEN_MAX + 1],
            len: 0,
        }
    }
}

impl std::fmt::Write for LabelBuf {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.octets
            .get_mut(self.len..end)
            .ok_or(std::fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl LabelBuf {
    /// `10.1.2.3` as `10-1-2-3`, `fd00::` as `fd00--0`: CoreDNS appends the zero because a label
    /// must not end with a dash.
    pub fn dashed(&mut self, address: IpAddr) -> &[u8] {
        self.spelled(address);
        if self.octets[..self.len].ends_with(b"-") {
            self.octets[self.len] = b'0';
            self.len += 1;
        }
        &self.octets[..self.len]
    }

    /// The address in its canonical form (RFC 5952), with a dash for each dot or colon.
    pub fn spelled(&mut self, address: IpAddr) -> &[u8] {
        self.len = 0;
        match address {
            IpAddr::V4(v4) => {
                for (place, octet) in v4.octets().into_iter().enumerate() {
                    if place > 0 {
                        self.push(b'-');
                    }
                    self.push_decimal(octet);
                }
            }
            IpAddr::V6(v6) => {
                write!(self, "{v6}").expect("an address is shorter than a label");
                for octet in &mut self.octets[..self.len] {
                    if matches!(*octet, b':' | b'.') {
                        *octet = b'-';
                    }
                }
            }
        }
        &self.octets[..self.len]
    }

    fn push(&mut self, octet: u8) {
        self.octets[self.len] = octet;
        self.len += 1;
    }

    /// The formatting machinery would cost more than the rest of an endpoint's answer.
    fn push_decimal(&mut self, number: u8) {
        if number >= 100 {
            self.push(b'0' + number / 100);
        }
        if number >= 10 {
            self.push(b'0' + number / 10 % 10);
        }
        self.push(b'0' + number % 10);
    }
}

/// A host: an address, or a name that has to be looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Host<'a> {
    /// An address.
    Ip(IpAddr),
    /// An uncompressed wire name.
    Name(&'a [u8]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_spelling_of_an_address_is_read_as_one() {
        for address in [[0, 0, 0, 0], [10, 1, 20, 255], [255, 100, 9, 0]] {
            let address = Ipv4Addr::from(address);
            let mut buf = LabelBuf::default();
            assert_eq!(v4_from_dashed(buf.dashed(address.into())), Some(address));
        }
        let others = [
            "",
            "10",
            "10-1-2",
            "10-1-2-",
            "-10-1-2-3",
            "10--1-2",
            "10-1-2-3-4",
            "10-1-2-3-",
            "10-01-2-3",
            "10-1-2-00",
            "256-1-2-3",
            "1000-1-2-3",
            "10.1.2.3",
            "10-1-2-x",
            "a-b-c-d",
        ];
        for name in others {
            assert_eq!(v4_from_dashed(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn an_address_names_only_endpoints_without_a_name_of_their_own() {
        let address = |number: usize| Ipv4Addr::from_bits(0x0a00_0000 + number as u32 % 20);
        let mut names = vec![None; 40];
        names[3] = Some(b"own".as_slice().into());
        let slice = EndpointSlice {
            ports: Arc::default(),
            addresses: Addresses::V4((0..40).map(address).collect()),
            names: Some(names.into()),
            zones: None,
        };
        let named = |number| {
            let mut found = Vec::new();
            slice.with_v4_name(address(number), |index| found.push(index));
            found
        };
        assert_eq!(named(3), [23]);
        assert_eq!(named(19), [19, 39]);
        assert!(slice.v4_named_by_address(3).is_none());
    }
}
