use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::chain::{Block, Stage};
use crate::index::{ClusterIndex, Namespace, ServiceKind, ServiceName, ServiceNode, ServiceParts};
use crate::metrics::Scope;
use crate::plugins::cache::{Cache, Prefetch, Table, TtlRange};
use crate::plugins::dns64::Dns64;
use crate::plugins::hosts::{Hosts, Table as Names};
use crate::plugins::kubernetes::{
    ExternalOptions, ExternalZone, Fallthrough, K8sExternal, Kubernetes, PodMode, Zone,
};
use crate::plugins::log;
use crate::plugins::template::{Rule as TemplateRule, Templates};
use crate::plugins::testing::{name, peer, query};
use crate::plugins::zones::Zones;
use crate::wire::RType;
use crate::wire::name::count_labels;

/// Services `s0` to `s299` of a namespace, whose addresses begin with `net`: so many that some have
/// hashes which look alike in the table.
fn stages(zone: &str, namespace: &str, net: u8) -> Arc<[Stage]> {
    let index = Arc::new(ClusterIndex::default());
    let namespace = Arc::new(Namespace::new(namespace));
    namespace.set_exposed(true);
    index.put_namespace(Arc::clone(&namespace));
    for number in 0..300_u16 {
        let [high, low] = number.to_be_bytes();
        let address = IpAddr::from(Ipv4Addr::new(net, 0, high, low));
        let node = ServiceNode::build(ServiceParts {
            kind: ServiceKind::ClusterIp([address].into()),
            ports: Arc::default(),
            slices: Box::default(),
            ttl: 5,
            ignore_empty: false,
        });
        let name = ServiceName::new(Arc::clone(&namespace), &format!("s{number}"));
        index.put_service(Arc::new(name), node);
    }
    index.set_synced();
    let apex = name(zone).into_boxed_slice();
    let kubernetes = Kubernetes {
        index,
        zones: vec![Zone::new(apex.clone())],
        primary: apex,
        pods: PodMode::Disabled,
        ttl: 5,
        fallthrough: Fallthrough::default(),
        filters_reverse: false,
        local_addresses: [].into(),
    };
    Arc::new([Stage::Kubernetes(Arc::new(kubernetes))])
}

struct Messages<'m> {
    messages: &'m [Vec<u8>],
    /// One that nobody can answer.
    unknown: usize,
}

impl<'m> Datagrams<'m> for Messages<'m> {
    fn message(&self, slot: usize) -> &'m [u8] {
        &self.messages[slot]
    }

    fn is_ipv6(&self, slot: usize) -> Option<bool> {
        self.peer(slot).map(|peer| peer.remote.is_ipv6())
    }

    fn received(&self) -> Instant {
        Instant::now()
    }

    fn peer(&self, slot: usize) -> Option<Peer> {
        (slot != self.unknown).then(|| peer("192.0.2.1"))
    }
}

#[derive(Default)]
struct Kept {
    scratch: Scratch,
    buf: Vec<u8>,
    replies: Vec<(usize, Option<Vec<u8>>)>,
}

impl Replies for Kept {
    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    fn parts(&mut self) -> (&mut Scratch, &mut [u8]) {
        (&mut self.scratch, &mut self.buf)
    }

    fn done(&mut self, slot: usize, response: Response) {
        let reply = match response {
            Response::Reply(len) => Some(self.buf[..len].to_vec()),
            _ => None,
        };
        self.replies.push((slot, reply));
    }
}

/// Of two clusters, of none, of names that are not there, and no queries at all.
#[test]
fn messages_that_are_read_ahead_get_what_each_gets_alone() {
    let listener = Listener {
        addresses: Vec::new(),
        protocol: Protocol::Dns,
        blocks: vec![
            Block::new(
                name("k8s.test").into(),
                stages("k8s.test", "default", 20),
                Scope::NONE,
            ),
            Block::new(
                [0].into(),
                stages("cluster.local", "default", 10),
                Scope::NONE,
            ),
        ],
        timeouts: Default::default(),
        other_classes: false,
        scope: Scope::NONE,
    };
    let texts = (0..310).flat_map(|number| {
        [
            format!("s{number}.default.svc.cluster.local"),
            format!("S{number}.Default.svc.cluster.local"),
            format!("x.s{number}.default.svc.cluster.local"),
            format!("s{number}.default.svc.k8s.test"),
            format!("s{number}.cluster.local"),
            format!("s{number}.example.org"),
            "svc.cluster.local".to_owned(),
            format!("s{number}.default.svc.cluster.local"),
        ]
    });
    let mut messages: Vec<_> = texts.map(|text| query(&text, RType::A, &[])).collect();
    for (slot, message) in messages.iter_mut().enumerate() {
        match slot % 11 {
            3 => message.truncate(slot % 40),
            5 => message[2] |= 0x80,
            7 => message.truncate(message.len() - 4),
            _ => {}
        }
    }
    let (log, _lines) = LogSink::new();
    let unknown = 23;
    let arrived = Messages {
        messages: &messages,
        unknown,
    };
    let mut together = Kept {
        buf: vec![0; 65_535],
        ..Kept::default()
    };
    let mut at = 0;
    let all = 0..messages.len();
    respond_to_all(all, (&arrived, &mut together), (&listener, &log), &mut at);
    assert_eq!(at, messages.len() - 1);
    let mut addresses = 0;
    let alone = messages
        .iter()
        .enumerate()
        .filter(|(slot, _)| *slot != unknown);
    let alone = alone.map(|(slot, message)| {
        let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
        let peer = peer("192.0.2.1");
        let reply = match respond(message, peer, &listener, &log, &mut scratch, &mut buf) {
            Response::Reply(len) => Some(buf[..len].to_vec()),
            _ => None,
        };
        addresses += usize::from(reply.as_ref().is_some_and(|reply| reply[7] == 1));
        (slot, reply)
    });
    let alone: Vec<_> = alone.collect();
    assert!(addresses > 400, "{addresses} answers");
    assert_eq!(together.replies, alone);
}

/// What an upstream replies: records by the name's first label.
fn upstream() -> Stage {
    Stage::Fixed(|context, reply| {
        let record = |rtype: u8, rdata: &[u8]| {
            let fixed = [0xc0, 12, 0, rtype, 0, 1, 0, 0, 0, 60, 0, rdata.len() as u8];
            [&fixed, rdata].concat()
        };
        let address = |last| record(1, &[192, 0, 2, last]);
        let soa = record(6, &[&[0, 0][..], &[0; 20]].concat());
        let (rcode, counts, records) = match context.name.label(0) {
            b"one" => (0, [1, 0, 0], address(1)),
            b"three" => (0, [3, 0, 0], [address(1), address(2), address(3)].concat()),
            b"many" => (0, [40, 0, 0], (0..40).flat_map(address).collect()),
            b"mixed" => (0, [2, 0, 0], [address(1), record(16, b"\x01t")].concat()),
            b"alias" => (0, [1, 0, 0], record(5, &[0xc0, 12])),
            b"nodata" => (0, [0, 1, 0], soa),
            b"missing" => (3, [0, 1, 0], soa),
            b"failing" => (2, [0, 0, 0], Vec::new()),
            _ => return crate::chain::Step::Failed(Rcode::SERVFAIL, "not asked for"),
        };
        let request = context.query.packet;
        let question = crate::wire::message::question_of(request);
        let mut octets = [
            &request[..2],
            &[0x81, 0xa0 | rcode, 0, 1],
            &[0; 6],
            question,
        ]
        .concat();
        for (place, count) in counts.into_iter().enumerate() {
            octets[7 + 2 * place] = count;
        }
        octets.extend(records);
        let message = crate::wire::Message::parse(&octets, &octets).unwrap();
        reply.adopt(&message, false);
        context.upstream = Some(Arc::new(message));
        crate::chain::Step::Answered
    })
}

/// A cluster, a cache and an upstream, behind these stages, and another block.
fn keeping(cache: Cache, before: &[Stage]) -> Listener {
    let cache = Arc::new(cache);
    let cluster = stages("cluster.local", "default", 10);
    let stages = before
        .iter()
        .cloned()
        .chain([Stage::Clamp(Arc::clone(&cache))])
        .chain(cluster.iter().cloned())
        .chain([Stage::Store(cache), upstream()]);
    let other = Block::new(
        name("k8s.test").into(),
        Arc::new([Stage::Whoami]),
        Scope::NONE,
    );
    Listener {
        addresses: Vec::new(),
        protocol: Protocol::Dns,
        blocks: vec![other, Block::new([0].into(), stages.collect(), Scope::NONE)],
        timeouts: Default::default(),
        other_classes: false,
        scope: Scope::NONE,
    }
}

/// What the short way has for a message, and nothing of the chain.
fn ask_nameless(
    message: &[u8],
    listener: &Listener,
    log: &LogSink,
) -> (Option<Vec<u8>>, Observation, Vec<u8>) {
    let mut kept = Kept {
        buf: vec![0; 65_535],
        ..Kept::default()
    };
    let arrived = Nameless(message);
    respond_to_all(0..1, (&arrived, &mut kept), (listener, log), &mut 0);
    let (_, reply) = kept.replies.remove(0);
    let octets = kept.scratch.octets().to_vec();
    (reply, kept.scratch.seen, octets)
}

fn cache(prefetch: Option<Prefetch>) -> Cache {
    let ttls = TtlRange { min: 5, max: 3600 };
    Cache {
        zones: vec![([0].into(), 0)],
        success: ttls,
        denial: ttls,
        success_disabled: Vec::new(),
        denial_disabled: Vec::new(),
        servfail: 5,
        prefetch,
        stale: None,
        keep_ttl: false,
        table: Table::new(1_024, 1_024),
    }
}

/// A message whose sender the chain is not told, so that it cannot answer.
struct Nameless<'m>(&'m [u8]);

impl<'m> Datagrams<'m> for Nameless<'m> {
    fn message(&self, _: usize) -> &'m [u8] {
        self.0
    }

    fn is_ipv6(&self, _: usize) -> Option<bool> {
        Some(false)
    }

    fn received(&self) -> Instant {
        Instant::now()
    }

    fn peer(&self, _: usize) -> Option<Peer> {
        None
    }
}

#[test]
fn what_is_kept_is_answered_at_once_as_the_chain_would() {
    let opt = |size: u16, flags: u8| {
        let [s1, s2] = size.to_be_bytes();
        [0, 0, 41, s1, s2, 0, 0, flags, 0, 0, 0]
    };
    let plain = |text| query(text, RType::A, &[]);
    let with = |text, opt: [u8; 11]| query(text, RType::A, &opt);
    let flagged = |text, octet: usize, bits: u8| {
        let mut message = query(text, RType::A, &[]);
        message[octet] |= bits;
        message
    };
    let cases = [
        (plain("one.test"), true),
        (plain("One.TEST"), true),
        (with("one.test", opt(1232, 0)), true),
        (with("one.test", opt(100, 0)), true),
        (with("one.test", opt(1232, 0x80)), true),
        (flagged("one.test", 3, 0x10), true),
        (flagged("one.test", 3, 0x20), true),
        (plain("three.test"), true),
        (plain("nodata.test"), true),
        (plain("missing.test"), true),
        (plain("failing.test"), true),
        (query("alias.test", RType::CNAME, &[]), true),
        (with("many.test", opt(1232, 0)), true),
        // It would have to be cut.
        (plain("many.test"), false),
        // Not the chain's only business.
        (query("one.test", RType::ANY, &[]), false),
        (query("one.test", RType::DS, &[]), false),
        (
            query(
                "one.test",
                RType::A,
                &[opt(1232, 0).as_slice(), &[0; 9]].concat(),
            ),
            false,
        ),
        // Of the cluster, where the cache is not asked.
        (plain("1-2-3-4.default.pod.cluster.local"), false),
        // Of another block.
        (plain("one.k8s.test"), false),
    ];
    let eager = Prefetch {
        hits: 1,
        pause: Duration::from_secs(60),
        percentage: 100,
    };
    let patient = Prefetch {
        percentage: 10,
        ..eager
    };
    for (prefetch, may) in [(None, true), (Some(patient), true), (Some(eager), false)] {
        let listener = keeping(cache(prefetch), &[]);
        let (log, _lines) = LogSink::new();
        for (message, is_kept) in &cases {
            let ask = || {
                let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
                let peer = peer("192.0.2.1");
                let plan = (&listener, &log);
                let reply = walk((message, &peer), plan, &mut scratch, &mut buf);
                let (Response::Reply(len) | Response::ReplyAndRefresh(len)) = reply else {
                    panic!("{reply:?}")
                };
                (buf[..len].to_vec(), scratch.seen, scratch.octets().to_vec())
            };
            // The first one fills the cache.
            ask();
            let (reply, seen, octets) = ask();
            let at_once = ask_nameless(message, &listener, &log);
            let expected = (*is_kept && may).then_some(reply);
            assert_eq!(at_once.0, expected, "{message:?}");
            if expected.is_some() {
                assert_eq!((at_once.1, at_once.2), (seen, octets), "{message:?}");
                assert_eq!(seen.plugin, Plugin::Cache);
            }
        }
    }
}

#[test]
fn stages_have_a_say_about_their_queries_and_no_others() {
    let zones = |texts: &[&str]| Zones::new(texts.iter().map(|text| name(text).into()));
    let hosts = |known: &[&str], fallthrough: &str| {
        let mut inline = Names::default();
        for text in known {
            inline.add(&name(text), Ipv4Addr::new(10, 9, 9, 9).into(), true);
        }
        Stage::Hosts(Arc::new(Hosts {
            zones: zones(&["."]),
            path: Default::default(),
            file: Arc::default(),
            inline,
            ttl: 60,
            fallthrough: zones(&[fallthrough]),
            fallthrough_unsupported: false,
        }))
    };
    let nodes = || hosts(&["node-1", "node-2"], ".");
    let template = |rtype, zone| {
        Stage::Templates(Arc::new(Templates {
            rules: vec![TemplateRule {
                class: Class::IN,
                rtype,
                zones: zones(&[zone]),
                patterns: Vec::new(),
                variables: Vec::new(),
                conditions: Vec::new(),
                sections: Default::default(),
                rcode: Rcode::NXDOMAIN,
                extended_error: None,
                fallthrough: Zones::default(),
            }],
            labels: None,
            counts: Arc::default(),
        }))
    };
    let log = |classes| {
        let rules = vec![log::Rule {
            zone: ([0].into(), 0),
            format: Vec::new(),
            classes,
        }];
        Stage::Log(log::Log {
            rules,
            labels: None,
        })
    };
    let failures = log::Classes {
        error: true,
        ..Default::default()
    };
    let denials = log::Classes {
        denial: true,
        ..Default::default()
    };
    let dns64 = Stage::Dns64(Dns64 {
        prefix: "64:ff9b::/96".parse().unwrap(),
        translate_all: false,
        allow_ipv4: false,
    });
    let external = |zone| {
        let [Stage::Kubernetes(cluster)] = &*stages("cluster.local", "default", 10) else {
            panic!("one stage")
        };
        let options = ExternalOptions {
            ttl: 5,
            headless: false,
            fallthrough: Zones::default(),
        };
        let zone = ExternalZone::new(name(zone).into(), b"\x03dns");
        let external = K8sExternal::new(Arc::clone(cluster), vec![zone], options);
        Stage::K8sExternal(Arc::new(external))
    };
    let no_aaaa = |zone| Stage::NoAaaa(Arc::new(zones(&[zone])));
    const SERVICE: &str = "s1.default.svc.cluster.local";
    let (a, aaaa, ptr) = (RType::A, RType::AAAA, RType::PTR);
    for (place, (stage, asked, qtype, size, expected)) in [
        (hosts(&[], "."), SERVICE, a, 0, true),
        (nodes(), SERVICE, a, 0, true),
        (nodes(), "one.test", a, 0, true),
        (nodes(), "node-1", a, 0, false),
        (nodes(), "nodata.in-addr.arpa", a, 0, true),
        (nodes(), "nodata.in-addr.arpa", ptr, 0, false),
        (hosts(&["one.test"], "."), "one.test", a, 0, false),
        (hosts(&["*.test"], "."), "three.test", a, 0, false),
        (hosts(&["x.cluster.local"], "."), SERVICE, a, 0, false),
        (hosts(&["x.cluster.local"], "."), "one.test", a, 0, true),
        // What it does not know is an error then.
        (hosts(&["node-1"], "test"), SERVICE, a, 0, false),
        (template(RType::ANY, "cloudapp.net"), SERVICE, a, 0, true),
        (template(RType::ANY, "cloudapp.net"), "one.test", a, 0, true),
        (template(RType::ANY, "one.test"), "one.test", a, 0, false),
        (template(a, "one.test"), "one.test", a, 0, false),
        (template(aaaa, "."), "one.test", a, 0, true),
        (template(a, "."), "one.test", a, 0, false),
        (template(aaaa, "."), SERVICE, aaaa, 0, false),
        // Nothing can be told from so few octets.
        (template(a, "lan"), "one.test", a, 0, false),
        (external("example.org"), SERVICE, a, 0, true),
        (external("one.test"), "one.test", a, 0, false),
        (no_aaaa("cluster.local"), SERVICE, a, 0, true),
        (no_aaaa("cluster.local"), SERVICE, aaaa, 0, false),
        (no_aaaa("cluster.local"), "nodata.test", aaaa, 0, true),
        (dns64.clone(), SERVICE, a, 0, true),
        (dns64, SERVICE, aaaa, 0, false),
        (Stage::Bufsize(1232), SERVICE, a, 0, true),
        (Stage::Bufsize(1232), SERVICE, a, 1232, true),
        (Stage::Bufsize(1232), SERVICE, a, 1233, false),
        (Stage::Bufsize(1232), "one.test", a, 4096, false),
        (log(failures), SERVICE, a, 0, true),
        (log(failures), SERVICE, aaaa, 0, true),
        (log(failures), "one.test", a, 0, true),
        (log(failures), "missing.test", a, 0, true),
        (log(failures), "failing.test", a, 0, false),
        (log(denials), "one.test", a, 0, false),
        (Stage::LoadBalance, "one.test", a, 0, true),
        (Stage::LoadBalance, "mixed.test", a, 0, false),
        (Stage::Nsid([1].into()), "mixed.test", a, 0, true),
        (Stage::Minimal, "one.test", a, 0, false),
    ]
    .into_iter()
    .enumerate()
    {
        let listener = keeping(cache(None), &[stage]);
        let (log, _lines) = LogSink::new();
        let [s1, s2] = u16::to_be_bytes(size);
        let opt = [0, 0, 41, s1, s2, 0, 0, 0, 0, 0, 0];
        let message = query(asked, qtype, if size > 0 { &opt } else { &[] });
        let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
        let peer = peer("192.0.2.1");
        respond(&message, peer, &listener, &log, &mut scratch, &mut buf);
        let at_once = ask_nameless(&message, &listener, &log).0;
        let by_chain = walk((&message, &peer), (&listener, &log), &mut scratch, &mut buf);
        let expected = expected.then(|| match by_chain {
            Response::Reply(len) => buf[..len].to_vec(),
            other => panic!("{other:?}"),
        });
        assert_eq!(at_once, expected, "{place}: {asked} {qtype} {size}");
    }
}

/// A block for a part of the names, beside one for all.
#[test]
fn what_a_block_keeps_is_answered_at_once() {
    for (block, zones, is_kept) in [
        ("test", &["test"][..], true),
        ("test", &["test", "one.test"], true),
        ("one.test", &["one.test"], true),
        // Not all of its names, and names of other blocks.
        ("test", &["one.test"], false),
        ("test", &["test", "other"], false),
        ("test", &["."], false),
    ] {
        let mut cache = cache(None);
        let zones = zones.iter().map(|zone| name(zone));
        cache.zones = zones
            .map(|zone| (zone.clone().into(), count_labels(&zone)))
            .collect();
        let mut listener = keeping(self::cache(None), &[]);
        let stages = [Stage::Store(Arc::new(cache)), upstream()];
        listener.blocks[0] = Block::new(name(block).into(), Arc::new(stages), Scope::NONE);
        let (log, _lines) = LogSink::new();
        let message = query("one.test", RType::A, &[]);
        let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
        let peer = peer("192.0.2.1");
        respond(&message, peer, &listener, &log, &mut scratch, &mut buf);
        let at_once = ask_nameless(&message, &listener, &log).0;
        let expected = is_kept.then(|| {
            let reply = respond(&message, peer, &listener, &log, &mut scratch, &mut buf);
            let Response::Reply(len) = reply else {
                panic!("{reply:?}")
            };
            buf[..len].to_vec()
        });
        assert_eq!(at_once, expected, "{block}");
        // Octets of a zone do not make a name of it. The other block answers this one, and keeps it;
        // at once only where it seems to be nobody else's.
        let mut message = query("one.x_test", RType::A, &[]);
        let at = message.len() - 4 - b"_test\0".len();
        message[at] = b"test".len() as u8;
        respond(&message, peer, &listener, &log, &mut scratch, &mut buf);
        let at_once = ask_nameless(&message, &listener, &log).0;
        assert_eq!(at_once.is_some(), block != "test", "{block}");
    }
}

#[test]
fn what_is_kept_is_rotated() {
    let listener = keeping(cache(None), &[Stage::LoadBalance]);
    let (log, _lines) = LogSink::new();
    let message = query("three.test", RType::A, &[]);
    let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
    let peer = peer("192.0.2.1");
    respond(&message, peer, &listener, &log, &mut scratch, &mut buf);
    let mut first = [0; 3];
    for _ in 0..100 {
        let reply = ask_nameless(&message, &listener, &log).0.unwrap();
        let last_octets = [1, 2, 3].map(|nth| reply[message.len() + 16 * nth - 1]);
        let place = usize::from(last_octets[0] - 1);
        assert_eq!(
            last_octets,
            [0, 1, 2].map(|nth| ((place + nth) % 3) as u8 + 1)
        );
        first[place] += 1;
    }
    assert!(first.iter().all(|times| *times > 10), "{first:?}");
}

/// The low four bits of BADCOOKIE are those of YXRRSET.
#[test]
fn codes_that_need_an_opt_are_failures_without_one() {
    let stage = Stage::Fixed(|_, reply| {
        reply.set_rcode(Rcode::BADCOOKIE);
        crate::chain::Step::Answered
    });
    let listener = Listener {
        addresses: Vec::new(),
        protocol: Protocol::Dns,
        blocks: vec![Block::new([0].into(), Arc::new([stage]), Scope::NONE)],
        timeouts: Default::default(),
        other_classes: false,
        scope: Scope::NONE,
    };
    let (log, _lines) = LogSink::new();
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    for (opt, expected) in [(&[][..], (2, None)), (&opt, (7, Some(1)))] {
        let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
        let packet = query("a.test.", RType::A, opt);
        let peer = peer("192.0.2.1");
        let Response::Reply(len) = respond(&packet, peer, &listener, &log, &mut scratch, &mut buf)
        else {
            panic!("no reply")
        };
        // The extended part stands in the TTL of the OPT, which ends the message.
        let extended = (!opt.is_empty()).then(|| buf[len - 6]);
        assert_eq!((buf[3] & 15, extended), expected);
    }
}
