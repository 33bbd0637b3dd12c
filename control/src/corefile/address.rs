//! The addresses of server blocks: `[SCHEME://]ZONE[:PORT]`.

use std::collections::HashMap;
use std::fmt;

use super::ServerBlock;
use super::directives::{Bind, bind};
use super::error::reason::ZoneFault;
use super::error::{Findings, Position, Problem, Reason};
use super::lexer::Token;
use super::nearest;
use super::zone::{self, ZoneName};

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// DNS over UDP and TCP.
    #[default]
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// DNS over gRPC, CoreDNS's own.
    Grpc,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over HTTP/3.
    Https3,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Dns,
        Self::Tls,
        Self::Quic,
        Self::Grpc,
        Self::Https,
        Self::Https3,
    ];

    /// As it is written before `://`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Grpc => "grpc",
            Self::Https => "https",
            Self::Https3 => "https3",
        }
    }

    /// The port of an address that names none. `dns_port` is what `-dns.port` says; the flag does
    /// not concern the other schemes.
    pub const fn default_port(self, dns_port: u16) -> u16 {
        match self {
            Self::Dns => dns_port,
            Self::Tls | Self::Quic => 853,
            Self::Grpc | Self::Https | Self::Https3 => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One zone on one port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Address {
    /// How it is served.
    pub scheme: Scheme,
    /// What is served.
    pub zone: ZoneName,
    /// Where; `None` is [`Scheme::default_port`].
    pub port: Option<u16>,
}

/// Reads one address; an address block gives several.
pub(super) fn parse(token: &Token) -> Result<Vec<Address>, Problem> {
    let fault = |cause| {
        Problem::at(
            token,
            Reason::Zone {
                value: (&*token.text).into(),
                cause,
            },
        )
    };
    let (scheme, rest) = split_scheme(token)?;
    let (zone, port) = split_port(rest).map_err(fault)?;
    let zones = zone::expand(zone).map_err(fault)?;
    Ok(zones
        .into_iter()
        .map(|zone| Address { scheme, zone, port })
        .collect())
}

/// Reads a zone in an argument, where scheme and port are allowed and mean nothing.
pub(super) fn parse_zones(token: &Token) -> Result<Vec<ZoneName>, Problem> {
    Ok(parse(token)?
        .into_iter()
        .map(|address| address.zone)
        .collect())
}

fn split_scheme(token: &Token) -> Result<(Scheme, &str), Problem> {
    let Some((name, rest)) = token.text.split_once("://") else {
        return Ok((Scheme::Dns, &token.text));
    };
    match Scheme::ALL
        .into_iter()
        .find(|scheme| scheme.as_str() == name)
    {
        Some(scheme) => Ok((scheme, rest)),
        None => Err(Problem::at(
            token,
            Reason::UnknownScheme {
                scheme: name.into(),
                nearest: nearest(name, Scheme::ALL.map(Scheme::as_str)),
            },
        )),
    }
}

/// Splits `:PORT` off. The colons of an IPv6 block are no trouble, since its `/MASK` comes between.
fn split_port(text: &str) -> Result<(&str, Option<u16>), ZoneFault> {
    match text.rsplit_once(':') {
        None => Ok((text, None)),
        Some((_, "")) => Err(ZoneFault::NoPort),
        Some((zone, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((zone, Some(port.parse().map_err(|_| ZoneFault::BadPort)?)))
        }
        Some((_, rest)) if rest.contains('/') => Ok((text, None)),
        Some(_) => Err(ZoneFault::BadPort),
    }
}

/// Refuses what cannot be served: the same zone twice on one port, or both on all addresses and on
/// some (two sockets would then compete for the queries of the latter).
///
/// Interfaces named in `bind` are compared by name, so an overlap between an interface and one of
/// its addresses is left for the start to find.
pub(super) fn check_listeners(blocks: &[(ServerBlock, Token)], dns_port: u16, findings: &Findings) {
    type Listener<'a> = (Scheme, &'a ZoneName, u16);
    let mut served: HashMap<(Listener<'_>, String), Position> = HashMap::new();
    let mut any: HashMap<Listener<'_>, Position> = HashMap::new();
    for (block, token) in blocks {
        // Blocks with a view share a zone; which one takes a query is decided by the query.
        if block.directives.view.is_some() {
            continue;
        }
        let hosts = listen_hosts(&block.directives.bind);
        for Address { scheme, zone, port } in &block.addresses {
            let listener = (*scheme, zone, port.unwrap_or(scheme.default_port(dns_port)));
            for host in &hosts {
                let on = if host.is_empty() {
                    String::new()
                } else {
                    format!(" on {host}")
                };
                let address = format!("{scheme}://{zone}:{}{on}", listener.2).into();
                let unbound = served.get(&(listener, String::new()));
                let reason = if let Some(first) = served.get(&(listener, host.clone())) {
                    Reason::AlreadyServed {
                        address,
                        first: first.clone(),
                    }
                } else if let Some(first) = any.get(&listener).filter(|_| host.is_empty()) {
                    Reason::BindOverlap {
                        address,
                        first: first.clone(),
                    }
                } else if let Some(first) = unbound {
                    Reason::BindOverlap {
                        address,
                        first: first.clone(),
                    }
                } else {
                    served.insert((listener, host.clone()), block.position.clone());
                    any.insert(listener, block.position.clone());
                    continue;
                };
                findings.problem(Problem::at(token, reason));
            }
        }
    }
}

/// What a block listens on: the text of its addresses, or one empty text for "all".
fn listen_hosts(binds: &[Bind]) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for Bind { listen, except } in binds {
        let listen = listen.iter().filter(|target| !except.contains(target));
        hosts.extend(listen.map(bind::Target::to_string));
    }
    if binds.is_empty() {
        hosts.push(String::new());
    }
    hosts
}
