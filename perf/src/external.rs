//! Names that are not the cluster's: made-up upstreams, and their replies in the cache.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::chain::{Listener, Stage};
use martlet_engine::gathered::Gathered;
use martlet_engine::log::LogSink;
use martlet_engine::plugins::forward::Forward;
use martlet_engine::respond::{Response, Resumed, Scratch, resume};
use martlet_engine::upstream::{Group, HealthCheck, Policy, Settings, Transport, Upstream};
use martlet_engine::wire::message::question_of;
use martlet_engine::wire::query::HEADER_LEN;
use martlet_engine::wire::reply::Owner;
use martlet_engine::wire::{FoldedName, Message, Query, RType, Reply, Section};

use crate::seam::{TTL, peer};

/// What upstreams have as `forward`'s defaults.
fn settings() -> Settings {
    Settings {
        policy: Policy::Random,
        force_tcp: false,
        prefer_udp: false,
        read_timeout: Duration::from_secs(2),
        max_fails: 2,
        max_connect_attempts: 0,
        health_check: HealthCheck {
            interval: Duration::from_millis(500),
            recursion_desired: true,
            domain: Box::new([0]),
        },
        fail_fast: false,
        max_concurrent: 0,
        expire: Duration::from_secs(10),
        max_age: Duration::ZERO,
        max_idle_connections: 0,
        failover: Vec::new(),
        source_address: None,
        hedge: false,
    }
}

/// Adds `forward . ADDRESS…` to every block of a listener.
pub fn forward(listener: &mut Listener, addresses: &[SocketAddr]) -> Arc<Group> {
    let upstream = |&address| Arc::new(Upstream::new(address, Transport::Dns));
    let group = Arc::new(Group::new(
        addresses.iter().map(upstream).collect(),
        settings(),
    ));
    let stage = Stage::Forward(Forward {
        from: Box::new([0]),
        from_labels: 0,
        except: Vec::new(),
        group: Arc::clone(&group),
        next: Vec::new(),
        next_on_nodata: false,
    });
    for block in &mut listener.blocks {
        let stages = block.stages.iter().cloned().chain([stage.clone()]);
        block.stages = stages.collect();
    }
    group
}

/// The addresses of a name, given in lower case on the wire, at an upstream that knows every name: hardly
/// any two have the same ones.
pub fn addresses(name: &[u8]) -> (Ipv4Addr, Ipv6Addr) {
    let mix = |sum: u32, octet: &u8| sum.wrapping_mul(31).wrapping_add(u32::from(*octet));
    let [a, b, c, d] = name.iter().fold(0, mix).to_be_bytes();
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d];
    (Ipv4Addr::new(10, b, c, d), v6.into())
}

/// Writes what an upstream that knows every name replies: A and AAAA have one record, of the name's
/// [`addresses`]; everything else is NODATA. `None` if the message is no query.
pub fn reply(message: &[u8], ttl: u32, name: &mut FoldedName, buf: &mut [u8]) -> Option<usize> {
    if message.len() < HEADER_LEN {
        return None;
    }
    let query = Query::parse(message, name).ok()?;
    let mut reply = Reply::new(buf, &query, false);
    let (v4, v6) = addresses(name.wire());
    let rdata: &[u8] = match query.qtype {
        RType::A => &v4.octets(),
        RType::AAAA => &v6.octets(),
        _ => &[],
    };
    if !rdata.is_empty() {
        reply.record(Section::Answer, Owner::Question, query.qtype, ttl, rdata);
    }
    Some(reply.finish(query.edns.as_ref()))
}

/// The reply of the upstreams to a query that the fast path left to them.
///
/// # Panics
///
/// If the octets are no query.
pub fn exchanged(group: &Arc<Group>, query: &[u8]) -> Gathered {
    let mut buf = [0; 4_096];
    let len = reply(query, TTL, &mut FoldedName::default(), &mut buf).expect("a query");
    let message = Message::parse(query, &buf[..len]).expect("the reply to it");
    let mut gathered = Gathered::new(false);
    let question = question_of(query).into();
    gathered.add_exchange(Arc::clone(group), question, Ok(Arc::new(message)));
    gathered
}

/// Walks the chain with the upstreams' reply at hand, as the slow path does: the client's reply is
/// written and what it says goes into the cache.
pub fn store(
    listener: &Listener,
    log: &LogSink,
    gathered: &Gathered,
    query: &[u8],
    scratch: &mut Scratch,
    buf: &mut [u8],
) -> Response {
    let resumed = Resumed {
        gathered,
        nesting: 0,
    };
    resume(query, peer(), (listener, log), resumed, scratch, buf).0
}
