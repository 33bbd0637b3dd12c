//! Sending one datagram from a chosen local address: how the slow path answers through the socket
//! that the question came in on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::address::{ControlBuf, socket_address_into};

/// Whether datagrams that are too large for their path leave in fragments, as they do by default, or are
/// refused with `EMSGSIZE`. The kernel numbers what may be fragmented, with counters that all cores
/// share. It knows paths' sizes either way. IPv4 only, as IPv6 numbers fragments alone.
pub fn allow_fragments(socket: BorrowedFd<'_>, allowed: bool) -> io::Result<()> {
    let value = if allowed {
        libc::IP_PMTUDISC_WANT
    } else {
        libc::IP_PMTUDISC_DO
    };
    super::set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value)
}

/// Times that fragments are asked for, before a datagram is too large for anything.
const ATTEMPTS: usize = 3;

/// Sends the datagram that was refused for its size, in fragments.
///
/// # Errors
///
/// Those of `send`.
pub(super) fn in_fragments<R>(
    socket: BorrowedFd<'_>,
    mut send: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        allow_fragments(socket, true)?;
        let sent = send();
        // What others send meanwhile leaves as well.
        allow_fragments(socket, false)?;
        match sent {
            // Another thread has done the same with this socket, and was done with it.
            Err(error) if is_too_large(&error) && attempts < ATTEMPTS => {}
            sent => return sent,
        }
    }
}

/// Sends `message` to `remote`; from `local`, if the socket is bound to every address.
///
/// # Errors
///
/// Those of `sendmsg`. A full send buffer is waited for, for a short while.
pub fn send_from(
    socket: BorrowedFd<'_>,
    message: &[u8],
    remote: SocketAddr,
    local: Option<IpAddr>,
) -> io::Result<()> {
    let mut control = ControlBuf::EMPTY;
    let control_len = local.map_or(0, |local| control.set_local_address(local));
    // SAFETY: zero is a valid value of this plain C struct.
    let mut name = unsafe { std::mem::zeroed::<libc::sockaddr_storage>() };
    let name_len = socket_address_into(remote, &mut name);
    let mut iovec = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // SAFETY: zero (null pointers, no lengths) is a valid value of this plain C struct.
    let mut header = unsafe { std::mem::zeroed::<libc::msghdr>() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = name_len;
    header.msg_iov = &raw mut iovec;
    header.msg_iovlen = 1;
    if control_len > 0 {
        header.msg_control = control.as_mut_ptr();
        header.msg_controllen = control_len;
    }
    let send = || {
        // SAFETY: all pointers in `header` lead to locals of this function or into `message`, which
        // outlive the call, with their lengths; the kernel only reads them. The descriptor is open
        // because `socket` borrows it.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, 0) };
        if sent >= 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    for _ in 0..2 {
        let Err(error) = send() else {
            return Ok(());
        };
        match error.kind() {
            _ if is_too_large(&error) => return in_fragments(socket, send),
            io::ErrorKind::WouldBlock => super::poll::wait_writable(socket)?,
            // The message of an earlier reply's ICMP error, or a signal.
            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {}
            _ => return Err(error),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Whether a datagram was refused because it does not fit its path.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn datagrams_leave_from_the_address_asked_for() {
        let cases = [
            ("0.0.0.0:0", "127.0.0.1:0", Some("127.0.0.7")),
            ("0.0.0.0:0", "127.0.0.1:0", None),
            ("[::]:0", "[::1]:0", Some("::1")),
        ];
        for (bound, client, local) in cases {
            let server = UdpSocket::bind(bound).unwrap();
            let client = UdpSocket::bind(client).unwrap();
            let local = local.map(|local| local.parse::<IpAddr>().unwrap());
            let remote = client.local_addr().unwrap();
            send_from(server.as_fd(), b"hello", remote, local).unwrap();
            let mut buf = [0; 16];
            let (len, from) = client.recv_from(&mut buf).unwrap();
            assert_eq!(&buf[..len], b"hello");
            assert_eq!(from.port(), server.local_addr().unwrap().port());
            if let Some(local) = local {
                assert_eq!(from.ip(), local);
            }
        }
    }
}
