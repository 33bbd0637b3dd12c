//! Opening sockets: SO_REUSEPORT so that each worker has its own, PKTINFO on wildcard addresses so
//! that a reply leaves from the address that was asked.
//!
//! PKTINFO costs the kernel work for every datagram. So the addresses that the machine has at the
//! start get sockets of their own beside the wildcard ones, which then see only what comes later.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// What a burst may fill before the kernel drops; it grants no more than `net.core.rmem_max`.
const RECEIVE_BUFFER_LEN: usize = 4 << 20;
const BACKLOG: i32 = 1_024;
/// Addresses with sockets of their own; a machine with more is served through the wildcard.
const OWN_ADDRESSES_MAX: usize = 8;

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {protocol}://{address}: {source}{}", hint(source))]
pub struct ListenError {
    protocol: &'static str,
    address: SocketAddr,
    source: std::io::Error,
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => " (another server uses this port)",
        std::io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need root or the capability NET_BIND_SERVICE)"
        }
        std::io::ErrorKind::AddrNotAvailable => " (no interface has this address)",
        _ => "",
    }
}

/// The addresses that deserve sockets of their own beside those of the wildcard address `any`. Once
/// that is open there are no more than those that `is_ours` says are open as well. One that somebody
/// else listens on is left to them, as it would be without us.
pub fn own_addresses(any: SocketAddr, is_ours: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
    let mut own = Vec::new();
    if any.port() == 0 {
        return own; // Each would get a port of its own.
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    for ip in interfaces.iter().map(if_addrs::Interface::ip) {
        // A link-local address means nothing without its interface.
        let is_plain = match ip {
            IpAddr::V4(v4) => !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        };
        let address = SocketAddr::new(ip, any.port());
        if ip.is_ipv4() == any.is_ipv4()
            && is_plain
            && own.len() < OWN_ADDRESSES_MAX
            && !own.contains(&address)
            && (is_ours(address) || UdpSocket::bind(address).is_ok())
        {
            own.push(address);
        }
    }
    own
}

/// Opens one worker's UDP socket.
pub fn udp(address: SocketAddr) -> Result<UdpSocket, ListenError> {
    let open = || {
        let socket = new_socket(address, Type::DGRAM, Protocol::UDP)?;
        // The kernel clips this silently; a small buffer is no reason not to serve.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_LEN);
        if address.ip().is_unspecified() {
            set_packet_info(&socket, address)?;
        }
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    open().map_err(|source| ListenError {
        protocol: "udp",
        address,
        source,
    })
}

/// Opens the TCP listener.
pub fn tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| ListenError {
        protocol: "tcp",
        address,
        source,
    })
}

fn new_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own, so that no address is ever a mapped one.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn set_packet_info(socket: &Socket, address: SocketAddr) -> std::io::Result<()> {
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    crate::sys::set_option(socket, level, option, 1)
}
