//! One cached reply, and what kind of reply may be cached for how long.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::limits::NAME_LEN_MAX;
use crate::metrics::Event;
use crate::plugins::loadbalance;
use crate::sys::prefetch::prefetch;
use crate::wire::message::Message;
use crate::wire::query::HEADER_LEN;
use crate::wire::walk::{RecordAt, expand_name, records};
use crate::wire::{Class, Flags, FoldedName, RType, Rcode};

/// Longer than any exchange takes, in milliseconds.
const REFRESH_MAX: u32 = 6_000;

/// In which half of the cache a reply is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Answers and delegations.
    Success = 0,
    /// NXDOMAIN, NODATA and failures.
    Denial = 1,
}

/// What a reply is, as CoreDNS's cache sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class2308 {
    /// NOERROR that is no denial.
    Success,
    /// NXDOMAIN, or NODATA with an SOA (RFC 2308 §2).
    Denial,
    /// SERVFAIL or NOTIMP.
    Failure,
    /// What is neither kept nor understood.
    Other,
}

/// A cached reply: octets to copy behind a client's question, and where their TTLs are.
pub struct Entry {
    pub(super) kind: Kind,
    pub(crate) rcode: Rcode,
    pub(super) flags: Flags,
    pub(crate) counts: [u16; 3],
    /// The name in lower case, the offsets of the TTLs in the records, the records: in one piece,
    /// so that a hit touches memory in one place.
    octets: Box<[u8]>,
    name_len: u8,
    records_at: u16,
    /// Seconds from `stored` that it is fresh.
    pub(super) ttl: u32,
    pub(super) stored: Instant,
    /// It holds what the question asks for.
    pub(super) answers: bool,
    /// Its records are as `loadbalance` would have them, but for rotation.
    pub(crate) is_in_order: bool,
    hits: AtomicU32,
    /// When it was last hit, in milliseconds after `stored`.
    hit_at: AtomicU32,
    /// No refresh begins before so many milliseconds after `stored`.
    refresh_at: AtomicU32,
}

impl Entry {
    /// Keeps the records of `message`, a reply that is about `name`, for `ttl` seconds.
    pub fn new(
        name: &FoldedName,
        message: &Message,
        (kind, answers): (Kind, bool),
        ttl: u32,
        now: Instant,
    ) -> Self {
        let at = message.records_at();
        let counts = message.counts();
        let count = counts.iter().map(|&count| usize::from(count)).sum();
        let mut octets = name.wire().to_vec();
        for record in records(message.octets(), at, count) {
            octets.extend(((record.ttl_at - at) as u16).to_ne_bytes());
        }
        let records_at = octets.len();
        octets.extend(&message.octets()[at..]);
        Self {
            kind,
            rcode: message.rcode(),
            flags: message.flags(),
            counts,
            name_len: name.wire().len() as u8,
            // A message has fewer octets than can be counted here, and a TTL takes up four of them.
            records_at: records_at as u16,
            octets: octets.into(),
            ttl,
            stored: now,
            answers,
            is_in_order: loadbalance::is_in_order(message.octets(), at, counts),
            hits: AtomicU32::new(0),
            hit_at: AtomicU32::new(0),
            refresh_at: AtomicU32::new(0),
        }
    }

    /// Has fetched what a usual reply is copied from.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch::<_, 3>(&*self.octets);
    }

    /// The flags that its reply still has, for clients that care for AD (RFC 6840 §5.8) and others.
    pub(crate) const fn flags_kept(&self, wants_authentic: bool) -> u16 {
        let ad = if wants_authentic { Flags::AD } else { 0 };
        self.flags.0 & (Flags::RA | ad)
    }

    /// What is counted when it is served.
    pub(crate) const fn hit_event(&self) -> Event {
        match self.kind {
            Kind::Success => Event::CacheHitSuccess,
            Kind::Denial => Event::CacheHitDenial,
        }
    }

    /// The name that it is about, in lower case.
    pub(super) fn name(&self) -> &[u8] {
        &self.octets[..usize::from(self.name_len)]
    }

    /// Offsets of the TTLs in the records.
    pub(crate) fn ttls_at(&self) -> impl Iterator<Item = usize> {
        let offsets = &self.octets[usize::from(self.name_len)..usize::from(self.records_at)];
        let (offsets, _) = offsets.as_chunks::<2>();
        offsets
            .iter()
            .map(|offset| usize::from(u16::from_ne_bytes(*offset)))
    }

    /// The records, as they stood behind the question.
    pub(crate) fn records(&self) -> &[u8] {
        &self.octets[usize::from(self.records_at)..]
    }

    /// Seconds that it is still fresh; negative once it is stale.
    pub fn ttl_left(&self, now: Instant) -> i64 {
        let age = now.saturating_duration_since(self.stored).as_secs();
        i64::from(self.ttl) - i64::try_from(age).unwrap_or(i64::MAX)
    }

    /// Whether it is fresh or stale for less than `stale` seconds.
    pub fn is_usable(&self, now: Instant, stale: u32) -> bool {
        let left = self.ttl_left(now);
        left > 0 || -left < i64::from(stale)
    }

    fn millis(&self, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.stored).as_millis();
        u32::try_from(age).unwrap_or(u32::MAX)
    }

    /// Counts a hit; returns how many there were without a pause longer than `pause`.
    pub fn hit(&self, now: Instant, pause: Duration) -> u32 {
        let at = self.millis(now);
        let last = self.hit_at.swap(at, Ordering::Relaxed);
        let pause = u32::try_from(pause.as_millis()).unwrap_or(u32::MAX);
        if at.saturating_sub(last) > pause {
            self.hits.store(1, Ordering::Relaxed);
            return 1;
        }
        self.hits.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Hits so far; what a refreshed entry inherits.
    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Sets the hits of an entry that replaces another.
    pub fn inherit_hits(&self, hits: u32) {
        self.hits.store(hits, Ordering::Relaxed);
    }

    /// Claims the right to refresh it. One at a time has it, and only for so long: a refresh that
    /// was shed gives nothing back.
    pub fn begin_refresh(&self, now: Instant) -> bool {
        let now = self.millis(now);
        let begin = |at: u32| (now >= at).then(|| now.saturating_add(REFRESH_MAX));
        self.refresh_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin)
            .is_ok()
    }

    /// Whether [`Self::begin_refresh`] would succeed.
    pub fn may_refresh(&self, now: Instant) -> bool {
        self.millis(now) >= self.refresh_at.load(Ordering::Relaxed)
    }

    /// Gives the right back after a failure; for `pause` nobody gets it again.
    pub fn end_refresh(&self, now: Instant, pause: Duration) {
        let pause = u32::try_from(pause.as_millis()).unwrap_or(u32::MAX);
        let at = self.millis(now).saturating_add(pause);
        self.refresh_at.store(at, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn for_test(name: &FoldedName, kind: Kind) -> Self {
        let octets = b"\0\0\x81\x80\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
        let message = Message::parse(octets, octets).expect("a reply without records");
        Self::new(name, &message, (kind, false), 30, Instant::now())
    }
}

/// A reply, judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Verdict {
    /// What it is.
    pub class: Class2308,
    /// Whether it may be kept.
    pub cacheable: bool,
    /// Whether it holds what the question asks for.
    pub answers: bool,
    /// The smallest TTL in it; `None` where it means nothing: without records, in delegations,
    /// failures and what is not understood.
    pub ttl: Option<u32>,
}

/// Judges a reply as CoreDNS's cache does (RFC 2308, and what it adds). `dnssec_ok` says that the
/// client looks at signatures; `now` is in Unix seconds.
pub(super) fn judge(
    message: &Message,
    qtype: RType,
    qclass: Class,
    dnssec_ok: bool,
    now: u32,
) -> Verdict {
    let octets = message.octets();
    let [answer_count, authority_count, additional_count] = message.counts().map(usize::from);
    let all = records(
        octets,
        message.records_at(),
        answer_count + authority_count + additional_count,
    )
    .collect::<Vec<_>>();
    let (answers_section, rest) = all.split_at(answer_count.min(all.len()));
    let authority = &rest[..authority_count.min(rest.len())];
    let has = |section: &[RecordAt], rtype| section.iter().any(|record| record.rtype == rtype);
    let has_soa = has(authority, RType::SOA);
    let answers = message.rcode() == Rcode::NOERROR
        && answers_question(octets, answers_section, qtype, qclass);
    // A chain of aliases that ends nowhere. Records of another type than the one asked for are odd,
    // but an answer; CoreDNS keeps them as well.
    let incomplete = !answers && has(answers_section, RType::CNAME);

    let class = if matches!(qtype, RType::AXFR | RType::IXFR)
        || (dnssec_ok && all.iter().any(|record| is_expired(octets, record, now)))
    {
        Class2308::Other
    } else {
        match message.rcode() {
            Rcode::NOERROR if has_soa && (answer_count == 0 || incomplete) => Class2308::Denial,
            Rcode::NOERROR => Class2308::Success,
            // With an answer as well: it says where the alias leads, and that nothing is there
            // (RFC 2308 §2.1).
            Rcode::NXDOMAIN if has_soa => Class2308::Denial,
            Rcode::SERVFAIL | Rcode::NOTIMP => Class2308::Failure,
            _ => Class2308::Other,
        }
    };
    let cacheable = !message.flags().has(Flags::TC)
        && match class {
            Class2308::Other => false,
            Class2308::Failure => true,
            Class2308::Denial => has_soa,
            // A CNAME chain that ends nowhere, without an SOA that says for how long.
            Class2308::Success => !incomplete,
        };
    let delegates = answer_count == 0 && has(authority, RType::NS) && class == Class2308::Success;
    let ttl = all
        .iter()
        .map(|record| u32_at(octets, record.ttl_at))
        .min()
        .filter(|_| !delegates && matches!(class, Class2308::Success | Class2308::Denial));
    Verdict {
        class,
        cacheable,
        answers,
        ttl,
    }
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    octets
        .get(at..at + 4)
        .and_then(|octets| octets.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// Whether a record is a signature that is not valid now (RFC 4034 §3.1.5).
fn is_expired(octets: &[u8], record: &RecordAt, now: u32) -> bool {
    if record.rtype != RType::RRSIG || record.end < record.rdata_at + 16 {
        return false;
    }
    let expiration = u32_at(octets, record.rdata_at + 8);
    let inception = u32_at(octets, record.rdata_at + 12);
    // Serial number arithmetic: the times go round (RFC 1982).
    (expiration.wrapping_sub(now) as i32) < 0 || (now.wrapping_sub(inception) as i32) < 0
}

/// Whether the answer section leads from the question's name over its CNAMEs to a record of the
/// type asked for (RFC 1034 §3.6.2).
fn answers_question(octets: &[u8], answers: &[RecordAt], qtype: RType, qclass: Class) -> bool {
    let name_at = |at| {
        let mut buf = [0; NAME_LEN_MAX];
        let len = expand_name(octets, at, &mut buf)?;
        buf.make_ascii_lowercase();
        Some(buf[..len].to_vec())
    };
    let Some(mut name) = name_at(HEADER_LEN) else {
        return false;
    };
    let of_class = |record: &&RecordAt| {
        let class = u16::from_be_bytes([octets[record.ttl_at - 2], octets[record.ttl_at - 1]]);
        qclass == Class::ANY || qclass.0 == class
    };
    let records = answers
        .iter()
        .filter(of_class)
        .filter_map(|record| Some((name_at(record.at)?, record)))
        .collect::<Vec<_>>();
    let aliases = records
        .iter()
        .filter(|(_, record)| record.rtype == RType::CNAME)
        .filter_map(|(owner, record)| Some((owner, name_at(record.rdata_at)?)))
        .collect::<Vec<_>>();
    if qtype == RType::ANY {
        return records.iter().any(|(owner, _)| *owner == name);
    }
    if qtype != RType::CNAME {
        let mut steps = 0;
        loop {
            let mut targets = aliases.iter().filter(|(owner, _)| **owner == name);
            let Some((_, target)) = targets.next() else {
                break;
            };
            // Two aliases of one name, or a circle, lead nowhere.
            if targets.any(|(_, other)| other != target) || steps > aliases.len() {
                return false;
            }
            steps += 1;
            name.clone_from(target);
        }
    }
    records
        .iter()
        .any(|(owner, record)| *owner == name && record.rtype == qtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a.test.` of type A, answered by these records; `n` in their data is another name.
    fn reply(rcode: u8, flags: u8, sections: [&[&[u8]]; 3]) -> Message {
        let question = b"\x01a\x04test\0\0\x01\0\x01";
        let mut octets = vec![0, 0, 0x80 | flags, 0x80 | rcode, 0, 1];
        for section in sections {
            octets.extend((section.len() as u16).to_be_bytes());
        }
        octets.extend(question);
        let ask = octets.clone();
        octets.extend(sections.concat().concat());
        Message::parse(&ask, &octets).unwrap()
    }

    const A: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
    const CNAME_B: &[u8] = b"\xc0\x0c\0\x05\0\x01\0\0\0\x28\0\x04\x01b\xc0\x0e";
    const B_A: &[u8] = b"\x01b\xc0\x0e\0\x01\0\x01\0\0\0\x50\0\x04\x0a\0\0\x02";
    const CNAME_SELF: &[u8] = b"\xc0\x0c\0\x05\0\x01\0\0\0\x28\0\x02\xc0\x0c";
    const SOA: &[u8] = b"\xc0\x0e\0\x06\0\x01\0\0\0\x1e\0\x16\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x1e";
    const NS: &[u8] = b"\xc0\x0e\0\x02\0\x01\0\0\0\x46\0\x01\0";
    const OLD_SIG: &[u8] =
        b"\xc0\x0c\0\x2e\0\x01\0\0\0\x3c\0\x13\0\x01\x08\x02\0\0\0\x3c\0\0\x03\xe8\0\0\0\x01\0\0\0";

    #[test]
    fn replies_are_judged() {
        use Class2308::{Denial, Failure, Other, Success};
        let none: [&[&[u8]]; 3] = [&[], &[], &[]];
        type Case<'a> = (&'a str, Message, Class2308, bool, bool, Option<u32>);
        let cases: &[Case<'_>] = &[
            (
                "an answer",
                reply(0, 0, [&[A], &[], &[]]),
                Success,
                true,
                true,
                Some(60),
            ),
            (
                "truncated",
                reply(0, 2, [&[A], &[], &[]]),
                Success,
                false,
                true,
                Some(60),
            ),
            (
                "smallest of all sections",
                reply(0, 0, [&[A], &[NS], &[B_A]]),
                Success,
                true,
                true,
                Some(60),
            ),
            (
                "an alias that is followed",
                reply(0, 0, [&[CNAME_B, B_A], &[], &[]]),
                Success,
                true,
                true,
                Some(40),
            ),
            (
                "order does not matter",
                reply(0, 0, [&[B_A, CNAME_B], &[], &[]]),
                Success,
                true,
                true,
                Some(40),
            ),
            (
                "an alias that leads nowhere",
                reply(0, 0, [&[CNAME_B], &[], &[]]),
                Success,
                false,
                false,
                Some(40),
            ),
            (
                "the same with an SOA",
                reply(0, 0, [&[CNAME_B], &[SOA], &[]]),
                Denial,
                true,
                false,
                Some(30),
            ),
            (
                "a circle",
                reply(0, 0, [&[CNAME_SELF, A], &[], &[]]),
                Success,
                false,
                false,
                Some(40),
            ),
            (
                "NODATA",
                reply(0, 0, [&[], &[SOA], &[]]),
                Denial,
                true,
                false,
                Some(30),
            ),
            (
                "nothing at all",
                reply(0, 0, none),
                Success,
                true,
                false,
                None,
            ),
            (
                "a delegation",
                reply(0, 0, [&[], &[NS], &[]]),
                Success,
                true,
                false,
                None,
            ),
            (
                "NXDOMAIN",
                reply(3, 0, [&[], &[SOA], &[]]),
                Denial,
                true,
                false,
                Some(30),
            ),
            (
                "NXDOMAIN without an SOA",
                reply(3, 0, none),
                Other,
                false,
                false,
                None,
            ),
            (
                "NXDOMAIN behind an alias",
                reply(3, 0, [&[CNAME_B], &[SOA], &[]]),
                Denial,
                true,
                false,
                Some(30),
            ),
            (
                "another type than asked for",
                reply(0, 0, [&[NS], &[], &[]]),
                Success,
                true,
                false,
                Some(70),
            ),
            ("SERVFAIL", reply(2, 0, none), Failure, true, false, None),
            ("NOTIMP", reply(4, 0, none), Failure, true, false, None),
            ("REFUSED", reply(5, 0, none), Other, false, false, None),
            ("FORMERR", reply(1, 0, none), Other, false, false, None),
            (
                "an expired signature",
                reply(0, 0, [&[A, OLD_SIG], &[], &[]]),
                Other,
                false,
                true,
                None,
            ),
        ];
        for (what, message, class, cacheable, answers, ttl) in cases {
            let verdict = judge(message, RType::A, Class::IN, true, 2_000);
            let expected = Verdict {
                class: *class,
                cacheable: *cacheable,
                answers: *answers,
                ttl: *ttl,
            };
            assert_eq!(verdict, expected, "{what}");
        }
        let sig = reply(0, 0, [&[A, OLD_SIG], &[], &[]]);
        assert!(
            judge(&sig, RType::A, Class::IN, false, 2_000).cacheable,
            "nobody looks at it"
        );
    }

    #[test]
    fn an_entry_ages_and_is_refreshed_by_one() {
        let entry = Entry::for_test(&FoldedName::default(), Kind::Success);
        let at = |seconds| entry.stored + Duration::from_secs(seconds);
        assert_eq!((entry.ttl_left(at(0)), entry.ttl_left(at(31))), (30, -1));
        assert!(!entry.is_usable(at(30), 0) && entry.is_usable(at(39), 10));
        assert!(!entry.is_usable(at(40), 10));
        let pause = Duration::from_secs(60);
        assert_eq!(
            [0, 1, 2, 63, 64].map(|s| entry.hit(at(s), pause)),
            [1, 2, 3, 1, 2]
        );
        assert!(entry.begin_refresh(at(1)) && !entry.begin_refresh(at(1)));
        entry.end_refresh(at(1), Duration::from_secs(5));
        assert!(!entry.begin_refresh(at(5)) && entry.begin_refresh(at(6)));
    }
}
