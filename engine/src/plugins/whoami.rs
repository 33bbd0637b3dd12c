//! `whoami`: the client's address, port and transport as additional records.

use std::net::IpAddr;

use crate::chain::{Context, Step};
use crate::wire::reply::Owner;
use crate::wire::{Class, RType, Reply, Section};

/// Answers every query.
pub(crate) fn query(context: &Context<'_>, reply: &mut Reply<'_>) -> Step {
    reply.set_authoritative();
    let class = context.query.qclass;
    let (rtype, octets): (_, &[u8]) = match &context.peer.remote.ip() {
        IpAddr::V4(v4) => (RType::A, &v4.octets()),
        IpAddr::V6(v6) => (RType::AAAA, &v6.octets()),
    };
    let begun = reply.begin(Section::Additional, Owner::Question, rtype, class, 0);
    reply.put(octets);
    reply.end(begun);
    srv(context, class, reply);
    Step::Answered
}

/// The SRV record `_udp.QNAME` with the client's port and the root as target.
fn srv(context: &Context<'_>, class: Class, reply: &mut Reply<'_>) {
    let mut owner = Vec::with_capacity(context.query.name_len + 5);
    owner.extend(if context.peer.stream {
        b"\x04_tcp"
    } else {
        b"\x04_udp"
    });
    owner.extend(context.query.name_as_sent());
    let begun = reply.begin(
        Section::Additional,
        Owner::Name(&owner),
        RType::SRV,
        class,
        0,
    );
    reply.put(&[0; 4]);
    reply.put(&context.peer.remote.port().to_be_bytes());
    reply.put(&[0]);
    reply.end(begun);
}
