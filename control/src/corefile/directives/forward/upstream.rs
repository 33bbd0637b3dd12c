//! The upstreams of `forward`: addresses, host names, and files like `/etc/resolv.conf`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::super::super::args::Arg;
use super::super::super::error::{Problem, Reason};
use super::super::super::value;
use super::super::super::zone::ZoneName;

/// One `TO` of a `forward`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// How it is asked.
    pub transport: Transport,
    /// Where it is.
    pub destination: Destination,
    /// The name in its certificate (`tls://ADDRESS%NAME`).
    pub server_name: Option<Box<str>>,
}

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Transport {
    /// DNS over UDP and TCP.
    #[default]
    Dns,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS, at `/dns-query`.
    Https,
}

impl Transport {
    /// The port of an upstream that names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls => 853,
            Self::Https => 443,
        }
    }
}

/// Where an upstream is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// This address.
    Address(SocketAddr),
    /// The name servers in this file; see [`nameservers`].
    File(PathBuf),
    /// The addresses of a host, which are looked up once, at the start.
    Host {
        /// Its name.
        name: ZoneName,
        /// The port on each address.
        port: u16,
    },
}

impl Upstream {
    /// Reads `[SCHEME://]HOST[%NAME][:PORT]` or a path.
    pub(super) fn parse(argument: Arg<'_>) -> Result<Self, Problem> {
        let text = argument.text();
        let (transport, rest) = match text.split_once("://") {
            None => (Transport::Dns, text),
            Some(("dns", rest)) => (Transport::Dns, rest),
            Some(("tls", rest)) => (Transport::Tls, rest),
            Some(("https", rest)) => (Transport::Https, rest),
            Some(_) => {
                let value = text.into();
                return Err(argument.problem(Reason::UpstreamScheme { value }));
            }
        };
        let (host, zone) = split_zone(rest);
        let server_name = zone.filter(|_| transport == Transport::Tls).map(Box::from);
        if let (Some(zone), None) = (zone, &server_name) {
            argument.warn(format!("`%{zone}` is ignored, as in CoreDNS"));
        }
        let destination = match address(&host, transport.default_port()) {
            Some(address) => Destination::Address(address),
            None => Self::file_or_host(argument, transport, &host)?,
        };
        Ok(Self {
            transport,
            destination,
            server_name,
        })
    }

    fn file_or_host(
        argument: Arg<'_>,
        transport: Transport,
        text: &str,
    ) -> Result<Destination, Problem> {
        let fault = || argument.is_not("an IP address, a file or a host name");
        let (looks_for_files, path) = (argument.looks_for_files(), PathBuf::from(text));
        if transport == Transport::Dns {
            if looks_for_files && path.is_file() {
                return Ok(Destination::File(path));
            }
            if text.contains('/') {
                let port = text
                    .rsplit_once(':')
                    .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                let missing = looks_for_files || port;
                return if missing {
                    Err(fault())
                } else {
                    Ok(Destination::File(path))
                };
            }
        }
        let (name, port) =
            value::split_host_port(text).unwrap_or_else(|| (text, transport.default_port()));
        // A mistyped address must not end up as a name that nobody can resolve.
        let digits = name
            .trim_end_matches('.')
            .rsplit('.')
            .next()
            .unwrap_or_default();
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number || name.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)) {
            return Err(fault());
        }
        Ok(Destination::Host {
            name: ZoneName::parse(name).map_err(|_| fault())?,
            port,
        })
    }
}

/// The name servers in a text like `/etc/resolv.conf`, on port 53. What is not an address is left
/// out, and so is the interface behind a `%`.
pub fn nameservers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            if words.next() != Some("nameserver") {
                return None;
            }
            let word = words.next()?;
            let (host, _) = split_zone(word);
            Some(SocketAddr::new(
                host.parse().ok()?,
                Transport::Dns.default_port(),
            ))
        })
        .collect()
}

/// Takes `%NAME` out of `HOST%NAME`, `HOST%NAME:PORT` or `[HOST%NAME]:PORT`.
fn split_zone(text: &str) -> (String, Option<&str>) {
    let Some((head, tail)) = text.rsplit_once('%') else {
        return (text.to_owned(), None);
    };
    let end = tail.find([']', ':']).unwrap_or(tail.len());
    let (zone, tail) = tail.split_at(end);
    (format!("{head}{tail}"), Some(zone))
}

/// Reads `IP`, `[IP]`, `IPV4:PORT` or `[IP]:PORT`.
pub(in super::super) fn address(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, default_port));
    }
    let (host, port) = value::split_host_port(text)?;
    Some(SocketAddr::new(host.parse().ok()?, port))
}
