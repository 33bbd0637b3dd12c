use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::chain::{Block, Stage};
use crate::index::{ClusterIndex, Namespace, ServiceKind, ServiceName, ServiceNode, ServiceParts};
use crate::metrics::Scope;
use crate::plugins::kubernetes::{Fallthrough, Kubernetes, PodMode, Zone};
use crate::plugins::testing::{name, peer, query};
use crate::wire::RType;

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
