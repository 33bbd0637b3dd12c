//! A batch of datagrams: received by one `recvmmsg`, answered in place, sent by one `sendmmsg`.
//!
//! ```text
//! rx  headers ─► iovecs ─► octets (a slot of QUERY_LEN_MAX each)
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
use crate::limits::{BATCH_MAX, MESSAGE_LEN_MAX, QUERY_LEN_MAX};

/// Room for the replies of a batch: most are below 512 octets, and one of any size must fit when
/// the rest is full.
const ARENA_LEN: usize = BATCH_MAX * 1_024 + MESSAGE_LEN_MAX;
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
    sent: Sent,
}

/// The receive side.
pub struct Received {
    headers: Box<[libc::mmsghdr]>,
    /// Only reached through the pointers in `headers`.
    _iovecs: Box<[libc::iovec]>,
    octets: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    control: Box<[ControlBuf]>,
}

/// The send side.
struct Sent {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    arena: Box<[u8]>,
    arena_used: usize,
    queued: usize,
}

/// The replies to a received batch, while they are written and sent.
pub struct Replies<'b> {
    received: &'b Received,
    sent: &'b mut Sent,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Claims the memory.
    pub fn new() -> Self {
        let mut octets = vec![0; BATCH_MAX * QUERY_LEN_MAX].into_boxed_slice();
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
            let octets = &mut octets[slot * QUERY_LEN_MAX..][..QUERY_LEN_MAX];
            iovecs[slot] = libc::iovec {
                iov_base: octets.as_mut_ptr().cast(),
                iov_len: QUERY_LEN_MAX,
            };
            header.msg_hdr.msg_iov = &raw mut iovecs[slot];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut names[slot]).cast();
            header.msg_hdr.msg_control = control[slot].as_mut_ptr();
        }
        Self {
            received: Received {
                headers,
                _iovecs: iovecs,
                octets,
                names,
                control,
            },
            sent: Sent {
                headers: vec![header; BATCH_MAX].into_boxed_slice(),
                iovecs: vec![empty; BATCH_MAX].into_boxed_slice(),
                arena: vec![0; ARENA_LEN].into_boxed_slice(),
                arena_used: 0,
                queued: 0,
            },
        }
    }

    /// Receives waiting datagrams; an empty socket is `Ok(0)`, not an error.
    ///
    /// # Errors
    ///
    /// As `recvmmsg(2)`.
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
        match usize::try_from(count) {
            Ok(count) => {
                let headers = received.headers[..count].iter();
                for (header, control) in headers.zip(&mut received.control) {
                    control.clear_interface(header.msg_hdr.msg_controllen);
                }
                Ok(count)
            }
            Err(_) => match io::Error::last_os_error() {
                error if is_nothing(&error) => Ok(0),
                error => Err(error),
            },
        }
    }

    /// The datagrams of the last [`Self::receive`], and room for their replies.
    pub const fn split(&mut self) -> (&Received, Replies<'_>) {
        let Self { received, sent } = self;
        let received = &*received;
        (sent.arena_used, sent.queued) = (0, 0);
        (received, Replies { received, sent })
    }
}

impl Received {
    /// Datagram number `slot`. `None` if its sender has no address that can be answered.
    pub fn datagram(&self, slot: usize) -> Option<Datagram<'_>> {
        let header = &self.headers[slot];
        let len = (header.msg_len as usize).min(QUERY_LEN_MAX);
        Some(Datagram {
            message: &self.octets[slot * QUERY_LEN_MAX..][..len],
            remote: socket_address(&self.names[slot])?,
            local: self.control[slot].local_address(header.msg_hdr.msg_controllen),
        })
    }
}

impl Replies<'_> {
    /// The room for the next reply.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.sent.arena[self.sent.arena_used..]
    }

    /// Queues the first `len` octets of [`Self::room`] as the reply to datagram `slot`.
    pub fn queue(&mut self, slot: usize, len: usize) {
        let sent = &mut *self.sent;
        let reply = &mut sent.arena[sent.arena_used..][..len];
        sent.iovecs[sent.queued] = libc::iovec {
            iov_base: reply.as_mut_ptr().cast(),
            iov_len: len,
        };
        let received = &self.received.headers[slot].msg_hdr;
        let header = &mut sent.headers[sent.queued].msg_hdr;
        header.msg_name = received.msg_name;
        header.msg_namelen = received.msg_namelen;
        header.msg_iov = &raw mut sent.iovecs[sent.queued];
        header.msg_iovlen = 1;
        header.msg_controllen = received.msg_controllen;
        // A socket bound to one address tells no PKTINFO, and then none may be sent.
        header.msg_control = if received.msg_controllen > 0 {
            received.msg_control
        } else {
            ptr::null_mut()
        };
        sent.arena_used += len;
        sent.queued += 1;
    }

    /// Whether the largest reply still fits. If not, [`Self::send`] first.
    pub const fn has_room(&self) -> bool {
        ARENA_LEN - self.sent.arena_used >= MESSAGE_LEN_MAX && self.sent.queued < BATCH_MAX
    }

    /// Sends the queued replies; returns how many could not be sent. One that the kernel refuses
    /// (no route, too large for the path) must not hold up the others.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        let sent = &mut *self.sent;
        let mut next = 0;
        let mut failed = 0;
        while next < sent.queued {
            let headers = &mut sent.headers[next..sent.queued];
            // SAFETY: `headers` are initialised headers that `queue` filled since this value was
            // made. Their name and control pointers lead into the boxed arrays of `received`, which
            // this value borrows, so that none of it moves or is written; their iovecs lead into
            // the arena, which is borrowed exclusively. The descriptor is open because `socket`
            // borrows it.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as libc::c_uint,
                    0,
                )
            };
            match usize::try_from(count) {
                Ok(count @ 1..) => next += count,
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
                    next += 1;
                    failed += 1;
                }
            }
        }
        (sent.arena_used, sent.queued) = (0, 0);
        failed
    }
}

/// Errors of a receive that mean "nothing there": an empty queue, a signal, or an ICMP error that
/// belongs to an earlier reply.
fn is_nothing(error: &io::Error) -> bool {
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
                let reply = replies.room();
                assert_eq!(datagram.remote, client.local_addr().unwrap());
                assert_eq!(datagram.message, [round, slot as u8]);
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
