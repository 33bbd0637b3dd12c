//! What upstreams would be asked, and what they say.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use martlet_engine::gathered::{ExchangeError, Exchanged};
use martlet_engine::limits::MESSAGE_LEN_MAX;
use martlet_engine::upstream::{Group, Policy, Transport, Upstream};
use martlet_engine::wire::{Flags, Message};

/// How long one upstream may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who would be asked.
pub(super) fn describe(group: &Group) -> String {
    let policy = match group.settings.policy {
        Policy::Random => "any of",
        Policy::RoundRobin => "in turn",
        Policy::Sequential => "the first that is up of",
        Policy::Latency => "the quickest of",
    };
    let upstreams = group.upstreams.iter().map(|upstream| text(upstream));
    let upstreams = upstreams.collect::<Vec<_>>().join(", ");
    format!("forward asks {policy} {upstreams}")
}

fn text(upstream: &Upstream) -> String {
    let scheme = match upstream.transport {
        Transport::Dns => "",
        Transport::Tls { .. } => "tls://",
        Transport::Https { .. } => "https://",
    };
    format!("{scheme}{}", upstream.address)
}

/// Asks every upstream of plain DNS over UDP, once. Returns a line for each, and the first reply.
pub(super) fn ask(group: &Group, mut request: Vec<u8>) -> (Vec<String>, Exchanged) {
    request[..2].copy_from_slice(&rand::random::<[u8; 2]>());
    let mut result = Err(ExchangeError::Failed("no upstream replied".into()));
    let mut lines = Vec::new();
    for upstream in &group.upstreams {
        let name = text(upstream);
        if !matches!(upstream.transport, Transport::Dns) {
            lines.push(format!(
                "{name} is not asked: this tool only speaks plain DNS"
            ));
            continue;
        }
        let start = Instant::now();
        match exchange(upstream.address, &request) {
            Ok(message) => {
                let [answers, ..] = message.counts();
                let cut = if message.flags().has(Flags::TC) {
                    ", truncated"
                } else {
                    ""
                };
                lines.push(format!(
                    "{name} says {}, {answers} in the answer{cut}, after {:.1} ms",
                    message.rcode(),
                    start.elapsed().as_secs_f64() * 1e3,
                ));
                result = result.or_else(|_| Ok(Arc::new(message)));
            }
            Err(error) => lines.push(format!("{name} does not answer: {error}")),
        }
    }
    (lines, result)
}

fn exchange(to: SocketAddr, request: &[u8]) -> io::Result<Message> {
    let from = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(request)?;
    let mut buf = vec![0; MESSAGE_LEN_MAX];
    let len = socket.recv(&mut buf)?;
    let reply = &buf[..len];
    if reply.get(..2) != Some(&request[..2]) {
        return Err(io::Error::other("the reply is to another question"));
    }
    Message::parse(request, reply).map_err(io::Error::other)
}
