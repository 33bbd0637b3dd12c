//! Entries by address, packed as addresses are: a cluster hands them out one after another, so that
//! neighbours share one entry of the map.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::{Map, map};
use crate::wire::name::combine;

/// Bits of an address that tell it from its neighbours. A change copies what stands beside it; more
/// would save little room.
const BITS: u32 = 4;

/// The bits that neighbours have in common; of an IPv4 address its IPv4-mapped form's (RFC 4291,
/// section 2.5.5.2).
#[derive(Eq, PartialEq)]
struct Prefix(u128);

impl Prefix {
    fn split(address: IpAddr) -> (Self, u32) {
        let bits = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        (Self(bits >> BITS), bits as u32 & ((1 << BITS) - 1))
    }

    fn address(&self, number: u32) -> IpAddr {
        IpAddr::from((self.0 << BITS | u128::from(number)).to_be_bytes()).to_canonical()
    }
}

/// Addresses are dense numbers chosen by the cluster; one multiplication spreads them.
impl Hash for Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let word = (self.0 >> 64) as u64 ^ (self.0 as u64).rotate_left(29);
        state.write_u64(combine((word >> 32) as u32, word as u32));
    }
}

/// The entries of neighbours.
struct Neighbours<V> {
    /// A bit for each that has one.
    present: u16,
    /// In the order of their addresses.
    values: Box<[V]>,
}

const _: () = assert!(1 << BITS == u16::BITS);

impl<V> Neighbours<V> {
    /// Where the entry of a number is, or would be.
    const fn place(&self, number: u32) -> usize {
        (self.present & ((1 << number) - 1)).count_ones() as usize
    }

    const fn has(&self, number: u32) -> bool {
        self.present & 1 << number != 0
    }

    fn get(&self, number: u32) -> Option<&V> {
        self.has(number).then(|| &self.values[self.place(number)])
    }
}

impl<V: Clone> Neighbours<V> {
    /// The same with another entry for a number, or without one.
    fn with(&self, number: u32, value: Option<V>) -> Self {
        let place = self.place(number);
        let after = &self.values[place + usize::from(self.has(number))..];
        let bit = 1 << number;
        Self {
            present: self.present & !bit | u16::from(value.is_some()) << number,
            values: self.values[..place]
                .iter()
                .cloned()
                .chain(value)
                .chain(after.iter().cloned())
                .collect(),
        }
    }
}

/// A table by addresses. An IPv4-mapped address is the IPv4 address.
pub(super) struct ByAddress<V>(Map<Prefix, Neighbours<V>>);

impl<V> Default for ByAddress<V> {
    fn default() -> Self {
        Self(map())
    }
}

impl<V> ByAddress<V> {
    pub(super) fn read<R>(&self, address: IpAddr, read: impl FnOnce(&V) -> R) -> Option<R> {
        let (prefix, number) = Prefix::split(address);
        self.0.pin().get(&prefix)?.get(number).map(read)
    }

    pub(super) fn each(&self, mut visit: impl FnMut(IpAddr, &V)) {
        for (prefix, neighbours) in &self.0.pin() {
            for number in 0..u16::BITS {
                if let Some(value) = neighbours.get(number) {
                    visit(prefix.address(number), value);
                }
            }
        }
    }

    /// The number of entries. Goes through all of them.
    pub(super) fn len(&self) -> usize {
        let counts = self.0.pin();
        let counts = counts.values().map(|neighbours| neighbours.values.len());
        counts.sum()
    }
}

impl<V: Clone> ByAddress<V> {
    /// Publishes an entry; `None` withdraws it. For one writer at a time.
    pub(super) fn put(&self, address: IpAddr, value: Option<V>) {
        let (prefix, number) = Prefix::split(address);
        let map = self.0.pin();
        let none = Neighbours {
            present: 0,
            values: Box::default(),
        };
        let known = map.get(&prefix).unwrap_or(&none);
        if value.is_none() && !known.has(number) {
            return;
        }
        let new = known.with(number, value);
        if new.present == 0 {
            map.remove(&prefix);
        } else {
            map.insert(prefix, new);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn address(number: u16) -> IpAddr {
        let v4 = IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
        let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number);
        if number.is_multiple_of(3) {
            v6.into()
        } else {
            v4
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            steps in prop::collection::vec((0..80_u16, prop::option::weighted(0.6, any::<u32>())), 0..300),
        ) {
            let (table, mut map) = (ByAddress::default(), HashMap::new());
            for (number, value) in steps {
                table.put(address(number), value);
                match value {
                    Some(value) => map.insert(address(number), value),
                    None => map.remove(&address(number)),
                };
                prop_assert_eq!(table.len(), map.len());
                for number in 0..80 {
                    let found = table.read(address(number), |&value| value);
                    prop_assert_eq!(found, map.get(&address(number)).copied());
                }
            }
            let mut each = HashMap::new();
            table.each(|address, &value| assert_eq!(each.insert(address, value), None));
            prop_assert_eq!(each, map);
            prop_assert!(table.0.pin().values().all(|neighbours| neighbours.present != 0));
        }
    }

    #[test]
    fn an_ipv4_address_has_one_entry_however_it_is_written() {
        let table = ByAddress::default();
        table.put("::ffff:192.0.2.1".parse().unwrap(), Some(1));
        assert_eq!(table.read([192, 0, 2, 1].into(), |&value| value), Some(1));
        table.each(|address, _| assert_eq!(address, IpAddr::from([192, 0, 2, 1])));
    }
}
