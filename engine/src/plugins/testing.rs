//! One question to a few stages, for the tables beside the plugins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::chain::{Block, Listener, Peer, Protocol, Stage};
use crate::log::LogSink;
use crate::metrics::Scope;
use crate::respond::{Response, Scratch, respond};
use crate::wire::name::{NameText, wire_from_presentation};
use crate::wire::{Answer, Flags, RType, Record};

/// A peer that asks over UDP.
pub(crate) fn peer(remote: &str) -> Peer {
    Peer {
        remote: SocketAddr::new(remote.parse().unwrap(), 5353),
        local: "192.0.2.53:53".parse().unwrap(),
        stream: false,
        answer_from: None,
        received: Instant::now(),
    }
}

/// The wire form of a name.
pub(crate) fn name(text: &str) -> Vec<u8> {
    wire_from_presentation(text).unwrap()
}

/// A query: name, type, and what else is in it.
pub(crate) fn query(text: &str, qtype: RType, opt: &[u8]) -> Vec<u8> {
    let mut packet = vec![
        0x12,
        0x34,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(!opt.is_empty()),
    ];
    packet.extend(name(text));
    packet.extend(qtype.0.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(opt);
    packet
}

/// What becomes of a packet: `None` if there is no reply, otherwise the whole message.
pub(crate) fn ask_from(stages: &[Stage], peer: Peer, packet: &[u8]) -> Option<Vec<u8>> {
    messages(stages, peer, packet).into_iter().next()
}

/// All messages of a reply.
pub(crate) fn messages(stages: &[Stage], peer: Peer, packet: &[u8]) -> Vec<Vec<u8>> {
    let listener = Listener {
        addresses: vec![peer.local],
        protocol: Protocol::Dns,
        blocks: vec![Block::new(Box::new([0]), Arc::from(stages), Scope::NONE)],
        timeouts: crate::plugins::timeouts::Timeouts::default(),
        other_classes: true,
        scope: Scope::NONE,
    };
    let ((log, _lines), mut scratch) = (LogSink::new(), Scratch::default());
    let mut buf = vec![0; crate::limits::MESSAGE_LEN_MAX];
    let mut messages = match respond(packet, peer, &listener, &log, &mut scratch, &mut buf) {
        Response::Reply(len) => vec![buf[..len].to_vec()],
        Response::None => Vec::new(),
        other => panic!("{other:?}"),
    };
    while let Some(outgoing) = &mut scratch.outgoing
        && let Some(len) = outgoing.next_message(&mut buf)
    {
        messages.push(buf[..len].to_vec());
    }
    messages
}

/// The answer to a question, as text: code, flags that answers differ in, records.
pub(crate) fn ask(stages: &[Stage], text: &str, qtype: RType) -> String {
    let reply = ask_from(stages, peer("192.0.2.1"), &query(text, qtype, &[]));
    reply.map_or_else(|| "silence".to_owned(), |reply| describe(&reply))
}

/// A message as text.
pub(crate) fn describe(message: &[u8]) -> String {
    let answer = Answer::read(message).unwrap();
    let mut text = answer.rcode.to_string();
    for (flag, name) in [(Flags::AA, "aa"), (Flags::TC, "tc"), (Flags::RA, "ra")] {
        if answer.flags.has(flag) {
            text += &format!(" {name}");
        }
    }
    for (section, records) in ["", "ns ", "ar "].into_iter().zip(&answer.sections) {
        for record in records {
            text += &format!(" | {section}{}", line(record));
        }
    }
    text
}

/// A record as text; of its data what matters most.
pub(crate) fn line(record: &Record) -> String {
    let owner = NameText::of(&record.owner);
    let data = match record.rdata.as_slice() {
        &[a, b, c, d] if record.rtype == RType::A => format!("{a}.{b}.{c}.{d}"),
        rdata if record.rtype == RType::AAAA => {
            let octets: [u8; 16] = rdata.try_into().unwrap();
            std::net::Ipv6Addr::from(octets).to_string()
        }
        rdata if record.rtype == RType::TXT => {
            String::from_utf8_lossy(rdata.get(1..).unwrap_or_default()).into_owned()
        }
        _ => record.target().map_or_else(
            || format!("{:?}", record.rdata),
            |target| NameText::of(target).as_str().to_owned(),
        ),
    };
    format!("{} {} {} {data}", owner.as_str(), record.ttl, record.rtype)
}
