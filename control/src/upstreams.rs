//! From a `forward` directive to the upstreams that the engine asks: files are read, host names
//! looked up, certificates loaded, all of it once.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::upstream::{self as engine, Group, Settings};
use martlet_engine::wire::message::{Message, MessageError};
use martlet_engine::wire::walk::records;
use martlet_engine::wire::{Flags, RType};
use rustls::pki_types::ServerName;

use crate::corefile::directives::forward::{
    Destination, Forward, Policy, Transport, Upstream, nameservers,
};
use crate::corefile::{Position, ZoneName};
use crate::tls::{self, TlsError};

/// How many upstreams one `forward` may have, as in CoreDNS.
const UPSTREAMS_MAX: usize = 15;
/// How long a resolver may take to say where an upstream is.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Upstreams that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{position}: forward: {cause}")]
pub struct UpstreamError {
    position: Position,
    cause: Box<Cause>,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} names no name server", path.display())]
    NoNameServers { path: PathBuf },
    #[error("cannot look up the upstream `{name}`: {source}")]
    Resolve { name: ZoneName, source: io::Error },
    #[error("{found} upstreams are more than the {UPSTREAMS_MAX} that there may be")]
    TooMany { found: usize },
    #[error("`{name}` is no name that a certificate can have")]
    ServerName { name: Box<str> },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl UpstreamError {
    /// Whether a file is not there at all, or a host cannot be looked up from here.
    pub fn is_absent(&self) -> bool {
        match &*self.cause {
            Cause::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Cause::Resolve { .. } => true,
            Cause::Tls(error) => error.is_absent(),
            Cause::NoNameServers { .. } | Cause::TooMany { .. } | Cause::ServerName { .. } => false,
        }
    }
}

/// Makes the group of upstreams of one `forward`.
///
/// # Errors
///
/// What the directive names and this machine does not have, with the directive's place.
pub fn group(forward: &Forward) -> Result<Arc<Group>, UpstreamError> {
    let located = |cause| UpstreamError {
        position: forward.position.clone(),
        cause: Box::new(cause),
    };
    let upstreams = upstreams(forward).map_err(located)?;
    let settings = Settings {
        policy: match forward.policy {
            Policy::Random => engine::Policy::Random,
            Policy::RoundRobin => engine::Policy::RoundRobin,
            Policy::Sequential => engine::Policy::Sequential,
            Policy::Latency => engine::Policy::Latency,
        },
        force_tcp: forward.force_tcp,
        prefer_udp: forward.prefer_udp,
        read_timeout: forward.read_timeout,
        max_fails: forward.max_fails,
        max_connect_attempts: match forward.max_connect_attempts {
            None => 2 * upstreams.len(),
            Some(attempts) => attempts as usize,
        },
        health_check: engine::HealthCheck {
            interval: forward.health_check.interval,
            recursion_desired: forward.health_check.recursion_desired,
            domain: forward.health_check.domain.wire(),
        },
        fail_fast: forward.fail_fast,
        max_concurrent: forward.max_concurrent.unwrap_or(0) as usize,
        expire: forward.expire,
        max_age: forward.max_age,
        max_idle_connections: forward.max_idle_connections,
        failover: forward.failover.clone(),
        source_address: forward.source_address,
        hedge: forward.hedge,
    };
    Ok(Arc::new(Group::new(upstreams, settings)))
}

fn upstreams(forward: &Forward) -> Result<Vec<Arc<engine::Upstream>>, Cause> {
    let mut seen = HashSet::new();
    let mut upstreams = Vec::new();
    let mut https = None;
    let mut over_tls = None;
    for to in &forward.to {
        for address in addresses(to, &forward.resolvers)? {
            if !seen.insert(address) {
                continue;
            }
            let name = || server_name(forward, to, address);
            let transport = match to.transport {
                Transport::Dns => engine::Transport::Dns,
                Transport::Tls => engine::Transport::Tls {
                    config: config(&mut over_tls, forward, &[])?,
                    name: name()?,
                },
                Transport::Https => engine::Transport::Https {
                    config: config(&mut https, forward, &[b"h2"])?,
                    name: name()?,
                    host: address.to_string().into(),
                    get: forward.doh_get,
                },
            };
            upstreams.push(Arc::new(engine::Upstream::new(address, transport)));
        }
    }
    if upstreams.len() > UPSTREAMS_MAX {
        let found = upstreams.len();
        return Err(Cause::TooMany { found });
    }
    Ok(upstreams)
}

/// One configuration for all upstreams of a `forward`, so that they share sessions.
fn config(
    known: &mut Option<Arc<rustls::ClientConfig>>,
    forward: &Forward,
    alpn: &[&[u8]],
) -> Result<Arc<rustls::ClientConfig>, Cause> {
    if known.is_none() {
        *known = Some(tls::client_config(&forward.tls, alpn)?);
    }
    Ok(Arc::clone(known.as_ref().expect("made above")))
}

/// The name that an upstream's certificate must have: as configured, or its host name or address.
fn server_name(
    forward: &Forward,
    to: &Upstream,
    address: SocketAddr,
) -> Result<ServerName<'static>, Cause> {
    let configured = to.server_name.as_ref().or(forward.tls_server_name.as_ref());
    let name = match (configured, &to.destination) {
        (Some(name), _) => name.clone(),
        (None, Destination::Host { name, .. }) => name.as_str().trim_end_matches('.').into(),
        (None, Destination::Address(_) | Destination::File(_)) => {
            return Ok(ServerName::from(address.ip()));
        }
    };
    ServerName::try_from(name.to_string()).map_err(|_| Cause::ServerName { name })
}

fn addresses(to: &Upstream, resolvers: &[Box<str>]) -> Result<Vec<SocketAddr>, Cause> {
    match &to.destination {
        Destination::Address(address) => Ok(vec![*address]),
        Destination::File(path) => {
            let path = path.clone();
            match std::fs::read_to_string(&path) {
                Err(source) => Err(Cause::File { path, source }),
                Ok(text) => match nameservers(&text) {
                    found if found.is_empty() => Err(Cause::NoNameServers { path }),
                    found => Ok(found),
                },
            }
        }
        Destination::Host { name, port } => {
            let found = if resolvers.is_empty() {
                let host = name.as_str().trim_end_matches('.');
                (host, *port).to_socket_addrs().map(Iterator::collect)
            } else {
                resolve(name, *port, resolvers)
            };
            let name = name.clone();
            let none = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
            match found {
                Ok(found) if Vec::is_empty(&found) => Err(Cause::Resolve {
                    name,
                    source: none(),
                }),
                Ok(found) => Ok(found),
                Err(source) => Err(Cause::Resolve { name, source }),
            }
        }
    }
}

/// Asks the configured resolvers, one after the other, for a host's addresses.
fn resolve(name: &ZoneName, port: u16, resolvers: &[Box<str>]) -> io::Result<Vec<SocketAddr>> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for resolver in resolvers {
        let address = match resolver.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) => match resolver.parse::<IpAddr>() {
                Ok(ip) => SocketAddr::new(ip, 53),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
            },
        };
        let asked = ask(address, name, RType::A).and_then(|mut found| {
            found.extend(ask(address, name, RType::AAAA)?);
            Ok(found)
        });
        match asked {
            Ok(found) => {
                let with_port = found.into_iter().map(|ip| SocketAddr::new(ip, port));
                return Ok(with_port.collect());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks one resolver for one type of address.
fn ask(resolver: SocketAddr, name: &ZoneName, rtype: RType) -> io::Result<Vec<IpAddr>> {
    let any = match resolver {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(resolver)?;
    socket.set_read_timeout(Some(RESOLVE_TIMEOUT))?;
    let mut request = rand::random::<u16>().to_be_bytes().to_vec();
    request.extend(Flags::RD.to_be_bytes());
    request.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    request.extend(name.wire());
    request.extend(rtype.0.to_be_bytes());
    request.extend([0, 1]);
    socket.send(&request)?;
    let mut buf = [0; 4_096];
    loop {
        let len = socket.recv(&mut buf)?;
        if buf[..len].get(..2) != Some(&request[..2]) {
            continue;
        }
        match Message::parse(&request, &buf[..len]) {
            Ok(message) => return Ok(addresses_in(&message, rtype)),
            Err(MessageError::Question) => {}
            Err(error @ MessageError::Malformed) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

fn addresses_in(message: &Message, rtype: RType) -> Vec<IpAddr> {
    let [answers, ..] = message.counts();
    let octets = message.octets();
    records(octets, message.records_at(), usize::from(answers))
        .filter(|record| record.rtype == rtype)
        .filter_map(|record| {
            let rdata = &octets[record.rdata_at..record.end];
            if rtype == RType::A {
                Some(<[u8; 4]>::try_from(rdata).ok()?.into())
            } else {
                Some(<[u8; 16]>::try_from(rdata).ok()?.into())
            }
        })
        .collect()
}
