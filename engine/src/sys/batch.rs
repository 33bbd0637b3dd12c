//! A batch of datagrams: received by one `recvmmsg`, answered in place, sent by one `sendmmsg`.
//!
//! ```text
//! rx  headers ─► iovecs ─► octets (a slot of SLOT_LEN each)
//!        └─────► names, control           ▲ reply n points to the name and
//! tx  headers ─► iovecs ─► arena ─────────┘ control of the slot that it answers
//! ```
//!
//! All memory is claimed at start. The arrays are boxed and never grow, so the pointers between
//! them are set once (receive side) or once a reply (send side). Replies are packed one behind the
//! other, which keeps a whole batch of them in a few pages.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::address::{CONTROL_LEN, ControlBuf, socket_address};
use super::send::{in_fragments, is_too_large};
use crate::limits::{BATCH_MAX, MESSAGE_LEN_MAX, QUERY_LEN_MAX};

/// Room for the replies of a batch: most are below 512 octets, and one of any size must fit when
/// the rest is full.
const ARENA_LEN: usize = BATCH_MAX * 1_024 + MESSAGE_LEN_MAX;
/// From one slot's octets to the next one's: a line of the processor's caches more than they are long.
/// Multiples of 2,048 would all compete for the same few places of the first-level cache.
const SLOT_LEN: usize = QUERY_LEN_MAX + 64;
const ADDRESS_LEN: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// One received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'b> {
    /// The message; cut at `QUERY_LEN_MAX`.
    pub message: &'b [u8],
    /// The sender.
    pub remote: SocketAddr,
    /// The address it was sent to, where the socket tells.
    pub local: Option<IpAddr>,
}

/// Buffers of one worker.
pub struct Batch {
    received: Received,
    replies: Replies,
}

/// The receive side.
pub struct Received {
    headers: Box<[libc::mmsghdr]>,
    /// Only reached through the pointers in `headers`.
    _iovecs: Box<[libc::iovec]>,
    octets: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    control: Box<[ControlBuf]>,
    /// The addresses that datagrams were sent to, where the socket tells.
    locals: Box<[Option<IpAddr>]>,
}

/// The send side, whose headers point into the receive side.
struct Replies {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    arena: Box<[u8]>,
    used: usize,
    queued: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Claims the memory.
    pub fn new() -> Self {
        let mut octets = vec![0; BATCH_MAX * SLOT_LEN].into_boxed_slice();
        // SAFETY: zero is a valid value of this plain C struct.
        let name = unsafe { std::mem::zeroed::<libc::sockaddr_storage>() };
        let mut names = vec![name; BATCH_MAX].into_boxed_slice();
        let mut control = vec![ControlBuf::EMPTY; BATCH_MAX].into_boxed_slice();
        let empty = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        let mut iovecs = vec![empty; BATCH_MAX].into_boxed_slice();
        // SAFETY: zero (null pointers, no lengths) is a valid value of this plain C struct.
        let header = unsafe { std::mem::zeroed::<libc::mmsghdr>() };
        let mut headers = vec![header; BATCH_MAX].into_boxed_slice();
        for (slot, header) in headers.iter_mut().enumerate() {
            let octets = &mut octets[slot * SLOT_LEN..][..QUERY_LEN_MAX];
            iovecs[slot] = libc::iovec {
                iov_base: octets.as_mut_ptr().cast(),
                iov_len: QUERY_LEN_MAX,
            };
            header.msg_hdr.msg_iov = &raw mut iovecs[slot];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut names[slot]).cast();
            header.msg_hdr.msg_control = control[slot].as_mut_ptr();
        }
        let received = Received {
            headers,
            _iovecs: iovecs,
            octets,
            names,
            control,
            locals: vec![None; BATCH_MAX].into(),
        };
        let replies = Replies {
            headers: vec![header; BATCH_MAX].into(),
            iovecs: vec![empty; BATCH_MAX].into(),
            arena: vec![0; ARENA_LEN].into(),
            used: 0,
            queued: 0,
        };
        Self { received, replies }
    }

    /// Receives waiting datagrams; an empty socket is `Ok(0)`, not an error.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let received = &mut self.received;
        for header in &mut received.headers {
            header.msg_hdr.msg_namelen = ADDRESS_LEN;
            header.msg_hdr.msg_controllen = CONTROL_LEN;
        }
        let headers = received.headers.as_mut_ptr();
        // SAFETY: `headers` starts BATCH_MAX initialised headers. Their iovec, name and control
        // pointers lead into boxed arrays of this batch, with the lengths just set, which our
        // exclusive borrow keeps alive and in place until the call returns. The descriptor is open
        // because `socket` borrows it; a null time-out is allowed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers,
                BATCH_MAX as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).or_else(|_| match io::Error::last_os_error() {
            error if is_nothing(&error) => Ok(0),
            error => Err(error),
        })?;
        for slot in 0..count {
            let len = received.headers[slot].msg_hdr.msg_controllen;
            received.locals[slot] = received.control[slot].local_address(len);
        }
        Ok(count)
    }

    /// What the last [`Self::receive`] brought, and the place for the replies to it.
    pub const fn split(&mut self) -> (&Received, Answers<'_>) {
        let Self { received, replies } = self;
        (received, Answers { received, replies })
    }
}

/// The place for the replies to what a batch received. The two sides come together, so that no reply
/// ever points into another batch.
pub struct Answers<'b> {
    received: &'b Received,
    replies: &'b mut Replies,
}

impl Received {
    /// The message of datagram `slot`.
    #[inline]
    pub fn message(&self, slot: usize) -> &[u8] {
        let len = (self.headers[slot].msg_len as usize).min(QUERY_LEN_MAX);
        &self.octets[slot * SLOT_LEN..][..len]
    }

    /// Whether the sender of datagram `slot` has an IPv6 address; `None` if it has no IP address.
    #[inline]
    pub fn is_ipv6(&self, slot: usize) -> Option<bool> {
        match i32::from(self.names[slot].ss_family) {
            libc::AF_INET => Some(false),
            libc::AF_INET6 => Some(true),
            _ => None,
        }
    }

    /// Datagram `slot`. `None` if its sender has no address that can be answered.
    #[inline]
    pub fn datagram(&self, slot: usize) -> Option<Datagram<'_>> {
        Some(Datagram {
            message: self.message(slot),
            remote: socket_address(&self.names[slot])?,
            local: self.locals[slot],
        })
    }
}

impl Answers<'_> {
    /// The room for the next reply.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.replies.arena[self.replies.used..]
    }

    /// Queues the first `len` octets of [`Self::room`] as the reply to datagram `slot`.
    pub fn queue(&mut self, slot: usize, len: usize) {
        let received = &self.received.headers[slot].msg_hdr;
        let replies = &mut *self.replies;
        let reply = &mut replies.arena[replies.used..][..len];
        replies.iovecs[replies.queued] = libc::iovec {
            iov_base: reply.as_mut_ptr().cast(),
            iov_len: len,
        };
        let header = &mut replies.headers[replies.queued].msg_hdr;
        header.msg_name = received.msg_name;
        header.msg_namelen = received.msg_namelen;
        header.msg_iov = &raw mut replies.iovecs[replies.queued];
        header.msg_iovlen = 1;
        header.msg_controllen = received.msg_controllen;
        // A socket bound to one address tells no PKTINFO, and then none may be sent.
        header.msg_control = if received.msg_controllen > 0 {
            received.msg_control
        } else {
            ptr::null_mut()
        };
        replies.used += len;
        replies.queued += 1;
    }

    /// Whether the largest reply still fits. If not, [`Self::send`] first.
    pub const fn has_room(&self) -> bool {
        ARENA_LEN - self.replies.used >= MESSAGE_LEN_MAX && self.replies.queued < BATCH_MAX
    }

    /// Sends the queued replies; returns how many could not be sent. One that the kernel refuses (no
    /// route, too large for the path) must not hold up the others.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        let mut next = 0;
        let mut failed = 0;
        while next < self.replies.queued {
            let headers = &mut self.replies.headers[next..self.replies.queued];
            // SAFETY: `headers` are initialised headers. Their name and control pointers lead into
            // the boxed arrays of `self.received`, which nobody writes while it is borrowed, as
            // `queue` alone sets them and the two sides of a batch are never parted; their iovecs
            // lead into the arena, with the lengths that `queue` set. None of it moves while our
            // exclusive borrow lasts. The descriptor is open because `socket` borrows it.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as libc::c_uint,
                    0,
                )
            };
            match usize::try_from(sent) {
                Ok(sent @ 1..) => next += sent,
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() == io::ErrorKind::Interrupted {
                        continue;
                    }
                    if error.kind() == io::ErrorKind::WouldBlock {
                        // The send buffer is full: wait for the kernel instead of losing replies.
                        let _ = super::poll::wait_writable(socket);
                        continue;
                    }
                    let is_too_large = is_too_large(&error);
                    let sent = is_too_large && self.send_in_fragments(next, socket).is_ok();
                    failed += usize::from(!sent);
                    next += 1;
                }
            }
        }
        self.replies.queued = 0;
        self.replies.used = 0;
        failed
    }

    /// Sends the queued reply at this place, which does not fit its path.
    #[cold]
    fn send_in_fragments(&self, place: usize, socket: BorrowedFd<'_>) -> io::Result<()> {
        let header = &raw const self.replies.headers[place].msg_hdr;
        in_fragments(socket, || {
            // SAFETY: as in `send`: `header` is one of the headers there.
            match unsafe { libc::sendmsg(socket.as_raw_fd(), header, 0) } {
                0.. => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
    }
}

/// Errors of a receive that mean "nothing there": an empty queue, a signal, or an ICMP error that
/// belongs to an earlier reply.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_batch_is_received_and_answered() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut batch = Batch::new();
        assert_eq!(
            batch.receive(server.as_fd()).unwrap(),
            0,
            "an empty socket is no error"
        );
        for round in 0..3_u8 {
            for number in 0..10 {
                client
                    .send_to(&[round, number], server.local_addr().unwrap())
                    .unwrap();
            }
            let received = batch.receive(server.as_fd()).unwrap();
            assert_eq!(received, 10);
            let (datagrams, mut replies) = batch.split();
            for slot in 0..received {
                let datagram = datagrams.datagram(slot).unwrap();
                assert_eq!(datagram.remote, client.local_addr().unwrap());
                assert_eq!(datagram.message, [round, slot as u8]);
                let reply = replies.room();
                reply[..2].copy_from_slice(datagram.message);
                reply[2] = 0xff;
                replies.queue(slot, 3);
            }
            assert!(replies.has_room());
            assert_eq!(replies.send(server.as_fd()), 0);
            for number in 0..10 {
                let mut buf = [0; 16];
                let len = client.recv(&mut buf).unwrap();
                assert_eq!(buf[..len], [round, number, 0xff]);
            }
        }
    }
}
