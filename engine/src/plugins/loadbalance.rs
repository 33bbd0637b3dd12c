//! `loadbalance`: RRsets of addresses leave in a new order each time.
//!
//! CoreDNS shuffles; clients and resolvers only ask that no address always comes first. A
//! precomputed RRset is rotated while it is copied (see `Reply::copy_rrset`), other answers are
//! put in order afterwards: CNAMEs, the rest, addresses rotated, MX. An [`Order`] puts some addresses
//! first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::chain::{Context, Random, Step};
use crate::limits::NAME_LEN_MAX;
use crate::wire::walk::{expand_name, record_at, records};
use crate::wire::{Answer, RType, Rcode, Reply};

/// Which addresses come first.
pub enum Order {
    /// `prefer`: after rotation those in the first of these networks, then those in the second, and
    /// so on. Authority sections stay as they are.
    Networks(Box<[IpNet]>),
    /// `weighted`: one that is drawn by weight changes places with the first; nothing rotates.
    Weights(Arc<ArcSwap<Weights>>),
}

/// The weights of a name's addresses, by lower-case wire name. Addresses that are not there weigh 1.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Weights(pub HashMap<Box<[u8]>, Vec<(IpAddr, NonZeroU8)>>);

impl Weights {
    fn weight(&self, name: &[u8], address: IpAddr) -> u32 {
        let known = self.0.get(name).into_iter().flatten();
        let found = known.clone().find(|(known, _)| *known == address);
        found.map_or(1, |(_, weight)| u32::from(weight.get()))
    }
}

/// Rotates what was not rotated when it was written.
pub(crate) fn response(context: &mut Context<'_>, step: Step, reply: &mut Reply<'_>) {
    if !std::mem::take(&mut context.rotates) || !is_for_us(context, step, reply) {
        return;
    }
    let (message, at, counts) = reply.message_mut();
    if !is_in_order(message, at, counts)
        && let Some(mut answer) = Answer::take_whole(reply)
    {
        for section in &mut answer.sections {
            section.sort_by_key(|record| rank(record.rtype));
        }
        answer.put(reply);
    }
    let (message, at, counts) = reply.message_mut();
    rotate(message, at, counts, context.random);
}

/// Which records of a section come first: aliases before what they lead to.
const fn rank(rtype: RType) -> u8 {
    match rtype {
        RType::CNAME => 0,
        RType::A | RType::AAAA => 2,
        RType::MX => 3,
        _ => 1,
    }
}

/// Whether the sections of so many records that begin at octet `at` have no record before one that
/// comes first.
pub(crate) fn is_in_order(message: &[u8], mut at: usize, counts: [u16; 3]) -> bool {
    counts.map(usize::from).into_iter().all(|count| {
        let found = records(message, at, count).inspect(|record| at = record.end);
        found.map(|record| rank(record.rtype)).is_sorted()
    })
}

/// Rotates the addresses in the sections of so many records that begin at octet `at`.
#[inline]
pub(crate) fn rotate(message: &mut [u8], mut at: usize, counts: [u16; 3], random: &mut Random) {
    if counts.iter().all(|count| *count < 2) {
        return; // Each record has its place already.
    }
    let rotation = random.next();
    for count in counts {
        at = for_each_run(message, at, count, |message, run| {
            run.rotate(message, rotation);
        });
    }
}

fn is_for_us(context: &Context<'_>, step: Step, reply: &Reply<'_>) -> bool {
    step == Step::Answered
        && reply.rcode() == Rcode::NOERROR
        && !matches!(context.query.qtype, RType::AXFR | RType::IXFR)
}

impl Order {
    pub(crate) const fn query(&self, context: &mut Context<'_>) -> Step {
        context.rotates = matches!(self, Self::Networks(_));
        Step::Next
    }

    pub(crate) fn response(&self, context: &mut Context<'_>, step: Step, reply: &mut Reply<'_>) {
        response(context, step, reply);
        let weighable = matches!(context.query.qtype, RType::A | RType::AAAA | RType::SRV);
        if !is_for_us(context, step, reply) || (matches!(self, Self::Weights(_)) && !weighable) {
            return;
        }
        let (message, at, counts) = reply.message_mut();
        self.arrange(message, at, counts, context.random);
    }

    /// Puts the address records of the answer and the additional section in order.
    fn arrange(&self, message: &mut [u8], mut at: usize, counts: [u16; 3], random: &mut Random) {
        for (section, count) in counts.into_iter().enumerate() {
            at = for_each_run(message, at, count, |message, run| match self {
                _ if section == 1 => {}
                Self::Networks(networks) => run.prefer(message, networks),
                Self::Weights(weights) => run.draw(message, &weights.load(), random),
            });
        }
    }
}

/// Hands each run of address records of one type in the section of `count` records at `at` to
/// `act`; returns where the section ends. Their owners are pointers backwards, so they may change
/// places.
fn for_each_run(
    message: &mut [u8],
    mut at: usize,
    count: u16,
    mut act: impl FnMut(&mut [u8], &Run),
) -> usize {
    let mut run = Run::new(at, RType::A);
    for _ in 0..count {
        let Some(record) = record_at(message, at) else {
            break;
        };
        let movable = matches!(record.rtype, RType::A | RType::AAAA)
            && message[record.at] >= 0xc0
            && record.end - record.rdata_at == address_len(record.rtype);
        if !movable || record.rtype != run.rtype {
            if run.len > 1 {
                act(message, &run);
            }
            run = Run::new(at, record.rtype);
        }
        at = record.end;
        run.end = at;
        if movable {
            run.len += 1;
        } else {
            run.start = at;
        }
    }
    if run.len > 1 {
        act(message, &run);
    }
    at
}

const fn address_len(rtype: RType) -> usize {
    if rtype.0 == RType::A.0 { 4 } else { 16 }
}

/// Address records of one type and so of one size, one behind the other; at least two.
struct Run {
    start: usize,
    end: usize,
    len: usize,
    rtype: RType,
}

impl Run {
    const fn new(at: usize, rtype: RType) -> Self {
        Self {
            start: at,
            end: at,
            len: 0,
            rtype,
        }
    }

    /// Octets of one record.
    const fn size(&self) -> usize {
        (self.end - self.start) / self.len
    }

    fn rotate(&self, message: &mut [u8], rotation: u32) {
        let run = &mut message[self.start..self.end];
        run.rotate_left(rotation as usize % self.len * self.size());
    }

    fn prefer(&self, message: &mut [u8], networks: &[IpNet]) {
        let mut rest = &mut message[self.start..self.end];
        for network in networks {
            let first = to_front(rest, self.size(), &|record| {
                address(record).is_some_and(|address| network.contains(&address))
            });
            rest = &mut rest[first..];
        }
    }

    fn draw(&self, message: &mut [u8], weights: &Weights, random: &mut Random) {
        let size = self.size();
        let mut name = [0; NAME_LEN_MAX];
        // Mostly all have one owner.
        let mut owner = None;
        let mut weigh = |nth: usize| {
            let record = &message[self.start + nth * size..][..size];
            if owner.is_none_or(|(pointer, _)| pointer != record[..2]) {
                let len = expand_name(message, self.start + nth * size, &mut name).unwrap_or(0);
                name.make_ascii_lowercase();
                owner = Some(([record[0], record[1]], len));
            }
            let len = owner.map_or(0, |(_, len)| len);
            address(record).map_or(1, |address| weights.weight(&name[..len], address))
        };
        let sum = (0..self.len).map(&mut weigh).sum::<u32>();
        let mut drawn = random.below(sum as usize) as u32;
        let chosen = (0..self.len).find(|&nth| {
            let weight = weigh(nth);
            let found = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            found
        });
        if let Some(chosen @ 1..) = chosen {
            let (head, tail) = message[self.start..].split_at_mut(chosen * size);
            head[..size].swap_with_slice(&mut tail[..size]);
        }
    }
}

/// The address at the end of a record.
fn address(record: &[u8]) -> Option<IpAddr> {
    // Pointer, type, class, TTL, length.
    match record.get(12..)? {
        octets if octets.len() == 4 => Some(IpAddr::from(<[u8; 4]>::try_from(octets).ok()?)),
        octets => Some(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?)),
    }
}

/// Moves the records of `size` octets each for which `is_first` holds before all others, and keeps
/// their order otherwise. Returns how many octets they have.
fn to_front(records: &mut [u8], size: usize, is_first: &impl Fn(&[u8]) -> bool) -> usize {
    let count = records.len() / size;
    if count < 2 {
        return if count == 1 && is_first(records) {
            size
        } else {
            0
        };
    }
    let middle = count / 2 * size;
    let (left, right) = records.split_at_mut(middle);
    let (left, right) = (
        to_front(left, size, is_first),
        to_front(right, size, is_first),
    );
    records[left..middle + right].rotate_left(middle - left);
    left + right
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Stage;
    use crate::plugins::testing::{ask_from, peer, query};
    use crate::wire::Section;
    use crate::wire::reply::Owner;

    /// Octets of the header and the question.
    const BEGIN: &[u8] = b"\x12\x34\x80\0\0\x01\0\0\0\0\0\0\x03WWW\x04test\0\0\x01\0\x01";
    const CNAME: &[u8] = b"\xc0\x0c\0\x05\0\x01\0\0\0\x05\0\x02\xc0\x0c";

    fn record(address: &str) -> Vec<u8> {
        let (rtype, octets) = match address.parse().unwrap() {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        };
        let mut record = vec![0xc0, 12, 0, rtype, 0, 1, 0, 0, 0, 5, 0, octets.len() as u8];
        record.extend(octets);
        record
    }

    /// A message with a CNAME and these addresses in each section.
    fn message(addresses: &[&str]) -> (Vec<u8>, usize, [u16; 3]) {
        let mut message = BEGIN.to_vec();
        for _ in 0..3 {
            message.extend(CNAME);
            message.extend(addresses.iter().flat_map(|address| record(address)));
        }
        (message, BEGIN.len(), [addresses.len() as u16 + 1; 3])
    }

    /// The addresses of each section, which must have stayed well-formed.
    fn addresses(written: &(Vec<u8>, usize, [u16; 3])) -> [Vec<String>; 3] {
        let (message, mut at, counts) = (&written.0, written.1, written.2);
        counts.map(|count| {
            let records = (0..count).map(|_| {
                let record = record_at(message, at).expect("as many as there were");
                at = record.end;
                &message[record.at..record.end]
            });
            let records = records.collect::<Vec<_>>();
            assert_eq!(records[0], CNAME);
            let addresses = records[1..].iter().map(|record| address(record).unwrap());
            addresses.map(|address| address.to_string()).collect()
        })
    }

    #[test]
    fn aliases_come_first_and_addresses_behind_the_rest() {
        let stages = [
            Stage::LoadBalance,
            Stage::Fixed(|context, reply| {
                for section in [Section::Answer, Section::Authority, Section::Additional] {
                    for letter in context.name.label(0) {
                        let (rtype, data): (_, &[u8]) = match letter {
                            b'a' => (RType::A, &[10, 0, 0, 1]),
                            b'q' => (RType::AAAA, &[0; 16]),
                            b'c' => (RType::CNAME, b"\x01c\0"),
                            b'd' => (RType::DNAME, b"\x01d\0"),
                            b't' => (RType::TXT, b"\x01t"),
                            _ => (RType::MX, b"\0\x01\x01m\0"),
                        };
                        reply.record(section, Owner::Question, rtype, 5, data);
                    }
                }
                Step::Answered
            }),
        ];
        for (asked, expected) in [
            ("a", "A"),
            ("dca", "CNAME DNAME A"),
            ("caca", "CNAME CNAME A A"),
            ("caqt", "CNAME TXT A AAAA"),
            ("qa", "AAAA A"),
            ("mta", "TXT A MX"),
            ("td", "TXT DNAME"),
        ] {
            let message = query(&format!("{asked}.test."), RType::A, &[]);
            let reply = ask_from(&stages, peer("192.0.2.1"), &message).unwrap();
            for section in Answer::read(&reply).unwrap().sections {
                let types = section.iter().map(|record| record.rtype.to_string());
                assert_eq!(types.collect::<Vec<_>>().join(" "), expected, "{asked}");
            }
        }
    }

    /// As servers may still send it, its data points to a name before it.
    #[test]
    fn old_types_keep_the_names_that_they_point_to() {
        for rtype in [3, 4, 7, 8, 9, 14, 17, 18, 21, 24, 26, 30, 36] {
            let fixed = [
                Stage::LoadBalance,
                Stage::Fixed(|context, reply| {
                    let rtype = context.name.label(0)[0];
                    let (before, names) = match rtype {
                        14 | 17 => (0, 2),
                        18 | 21 | 36 => (2, 1),
                        24 => (18, 1),
                        26 => (2, 2),
                        _ => (0, 1),
                    };
                    let answer = Section::Answer;
                    reply.record(answer, Owner::Question, RType::MX, 5, b"\0\x01\x01m\0");
                    let at = (reply.len() - 3) as u16 | 0xc000;
                    let pointers = at.to_be_bytes().repeat(names);
                    let data = [&[0; 18][..before], &pointers].concat();
                    reply.record(answer, Owner::Question, RType(rtype.into()), 5, &data);
                    reply.record(answer, Owner::Question, RType::A, 5, &[10, 0, 0, 1]);
                    Step::Answered
                }),
            ];
            let mut message = query("x.test.", RType::A, &[]);
            message[13] = rtype;
            let reply = ask_from(&fixed, peer("192.0.2.1"), &message).unwrap();
            let [answers, ..] = Answer::read(&reply).unwrap().sections;
            let types = answers.iter().map(|record| record.rtype);
            let expected = [RType(rtype.into()), RType::A, RType::MX];
            assert_eq!(types.collect::<Vec<_>>(), expected);
            assert!(answers[0].rdata.ends_with(b"\x01m\0"), "{answers:?}");
            assert_eq!(answers[0].target(), Some(&b"\x01m\0"[..]));
        }
    }

    #[test]
    fn preferred_networks_come_first() {
        let networks = ["10.9.0.0/16", "fd00::/8", "192.168.1.0/24"];
        let order = Order::Networks(networks.map(|text| text.parse().unwrap()).into());
        let cases: &[(&[&str], &[&str])] = &[
            (&["1.1.1.1", "10.9.0.1"], &["10.9.0.1", "1.1.1.1"]),
            (
                &[
                    "1.1.1.1",
                    "192.168.1.1",
                    "2.2.2.2",
                    "10.9.0.1",
                    "192.168.1.2",
                    "10.9.255.1",
                ],
                &[
                    "10.9.0.1",
                    "10.9.255.1",
                    "192.168.1.1",
                    "192.168.1.2",
                    "1.1.1.1",
                    "2.2.2.2",
                ],
            ),
            (&["1.1.1.1", "2.2.2.2"], &["1.1.1.1", "2.2.2.2"]),
            (&["2001:db8::1", "fd00::1"], &["fd00::1", "2001:db8::1"]),
            // Each type by itself.
            (
                &["1.1.1.1", "10.9.0.1", "2001:db8::1", "fd00::1"],
                &["10.9.0.1", "1.1.1.1", "fd00::1", "2001:db8::1"],
            ),
            (&["1.1.1.1"], &["1.1.1.1"]),
            (&[], &[]),
        ];
        for (given, expected) in cases {
            let mut message = message(given);
            order.arrange(&mut message.0, message.1, message.2, &mut Random::new());
            let [answer, authority, additional] = addresses(&message);
            assert_eq!(answer, *expected);
            assert_eq!(authority, *given, "not there");
            assert_eq!(additional, *expected);
        }
    }

    #[test]
    fn the_first_address_is_drawn_by_weight() {
        let weigh = |text: &str, weight| (text.parse().unwrap(), NonZeroU8::new(weight).unwrap());
        let of_name = vec![
            weigh("10.0.0.1", 3),
            weigh("10.0.0.3", 2),
            weigh("fd00::2", 255),
        ];
        let weights = Weights(HashMap::from([(b"\x03www\x04test\0"[..].into(), of_name)]));
        let order = Order::Weights(Arc::new(ArcSwap::from_pointee(weights)));
        let given = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2"];
        let mut random = Random::new();
        let mut firsts = HashMap::<_, u32>::new();
        let rounds = 6_000;
        for _ in 0..rounds {
            let mut message = message(&given);
            order.arrange(&mut message.0, message.1, message.2, &mut random);
            let [answer, authority, _] = addresses(&message);
            assert_eq!(authority, given);
            *firsts.entry(answer[0].clone()).or_default() += 1;
            *firsts.entry(answer[3].clone()).or_default() += 1;
            let mut sorted = answer;
            sorted[..3].sort();
            sorted[3..].sort();
            assert_eq!(sorted, given, "none is lost");
        }
        for (address, share) in [
            ("10.0.0.1", 3.0 / 6.0),
            ("10.0.0.2", 1.0 / 6.0),
            ("10.0.0.3", 2.0 / 6.0),
            ("fd00::2", 255.0 / 256.0),
        ] {
            let found = f64::from(firsts[address]) / f64::from(rounds);
            assert!(
                (found - share).abs() < 0.05,
                "{address}: {found}, not {share}"
            );
        }
    }

    #[test]
    fn addresses_of_an_odd_size_stay() {
        let mut message = message(&["10.0.0.1", "10.0.0.2"]);
        // The first A record of the answer says that it has five octets.
        let mut odd = record("10.0.0.1");
        (odd[11], odd[15]) = (5, 9);
        odd.push(9);
        let at = BEGIN.len() + CNAME.len();
        message.0.splice(at..at + 16, odd);
        let before = message.0.clone();
        let networks = Order::Networks(["10.0.0.2/32".parse().unwrap()].into());
        networks.arrange(&mut message.0, message.1, [3, 0, 0], &mut Random::new());
        assert_eq!(message.0, before);
    }
}
