//! `recvmmsg` and `sendmmsg`: the only module of this package that may say `unsafe`.
//!
//! A [`Batch`] owns the buffers of up to [`BATCH_MAX`] datagrams, claimed once. The headers that the
//! kernel reads are pointed at those buffers again before each call: a few stores a datagram, and no
//! pointer outlives the call it was made for.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use socket2::SockAddrStorage;

/// Datagrams that one call moves at most.
pub const BATCH_MAX: usize = 64;

/// Bytes kept of one datagram; the rest of a longer one is cut off.
pub const DATAGRAM_LEN_MAX: usize = 2048;

/// Whether [`Batch::receive`] waits for a first datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// For one, as long as the socket's own timeout allows; then it takes what else is there.
    ForOne,
    /// Not at all.
    No,
}

/// Whose addresses the headers carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peers {
    /// Each datagram has a peer: noted on receipt, replied to on sending.
    Each,
    /// The socket is connected.
    Connected,
}

/// Buffers for one batch of datagrams.
pub struct Batch {
    bytes: Box<[[u8; DATAGRAM_LEN_MAX]]>,
    /// How much of each buffer is in use, at most [`DATAGRAM_LEN_MAX`].
    lengths: Box<[usize]>,
    peers: Box<[SockAddrStorage]>,
    /// How much of each entry in `peers` is in use.
    peer_lengths: Box<[libc::socklen_t]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    addressed: Peers,
}

impl Batch {
    /// Claims the buffers.
    pub fn new(addressed: Peers) -> Self {
        let iovec = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        let headers = (0..BATCH_MAX)
            // SAFETY: `mmsghdr` is plain integers and pointers; all zeroes are valid for both, and
            // zero is what its padding (on musl) has to be.
            .map(|_| unsafe { mem::zeroed::<libc::mmsghdr>() })
            .collect();
        Self {
            bytes: vec![[0; DATAGRAM_LEN_MAX]; BATCH_MAX].into_boxed_slice(),
            lengths: vec![0; BATCH_MAX].into_boxed_slice(),
            peers: (0..BATCH_MAX).map(|_| SockAddrStorage::zeroed()).collect(),
            peer_lengths: vec![0; BATCH_MAX].into_boxed_slice(),
            iovecs: vec![iovec; BATCH_MAX].into_boxed_slice(),
            headers,
            addressed,
        }
    }

    /// Receives waiting datagrams into the front of the batch and returns their number; none, if
    /// none came in time.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: Wait) -> io::Result<usize> {
        self.lengths.fill(DATAGRAM_LEN_MAX);
        self.peer_lengths.fill(SockAddrStorage::zeroed().size_of());
        self.point(BATCH_MAX);
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::No => libc::MSG_DONTWAIT,
        };
        let (fd, headers) = (socket.as_raw_fd(), self.headers.as_mut_ptr());
        // SAFETY: `headers` starts BATCH_MAX initialised headers, all pointed by `point` just now
        // at one iovec, one buffer and at most one address each, of the lengths given there. They
        // belong to `self`, which stays exclusively borrowed until the call returns; the kernel
        // keeps no pointer. `fd` is open because `socket` borrows it. A null timeout is allowed.
        let received = unsafe { libc::recvmmsg(fd, headers, COUNT, flags as _, ptr::null_mut()) };
        let Ok(received) = usize::try_from(received) else {
            return or_nothing(io::Error::last_os_error());
        };
        for (at, header) in self.headers.iter().take(received).enumerate() {
            self.lengths[at] = usize::try_from(header.msg_len).expect("u32 fits usize");
            self.peer_lengths[at] = header.msg_hdr.msg_namelen;
        }
        Ok(received)
    }

    /// Sends the first `count` datagrams and returns how many the socket took, in order; none, if
    /// its buffer is full.
    pub fn send(&mut self, socket: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        let count = count.min(BATCH_MAX);
        self.point(count);
        let (fd, headers) = (socket.as_raw_fd(), self.headers.as_mut_ptr());
        let wanted = u32::try_from(count).expect("at most BATCH_MAX");
        // SAFETY: `headers` starts `count` initialised headers, all pointed by `point` just now at
        // one iovec, one buffer and at most one address each, of the lengths given there. They
        // belong to `self`, which stays exclusively borrowed until the call returns; the kernel
        // keeps no pointer. `fd` is open because `socket` borrows it.
        let sent = unsafe { libc::sendmmsg(fd, headers, wanted, libc::MSG_DONTWAIT as _) };
        usize::try_from(sent).or_else(|_| or_nothing(io::Error::last_os_error()))
    }

    /// Datagram `at`, as received or put.
    pub fn datagram(&self, at: usize) -> &[u8] {
        &self.bytes[at][..self.lengths[at]]
    }

    /// Datagram `at`, to change in place.
    pub fn datagram_mut(&mut self, at: usize) -> &mut [u8] {
        &mut self.bytes[at][..self.lengths[at]]
    }

    /// Copies a datagram of at most [`DATAGRAM_LEN_MAX`] bytes into place `at`.
    pub fn put(&mut self, at: usize, datagram: &[u8]) {
        self.lengths[at] = datagram.len();
        self.bytes[at][..datagram.len()].copy_from_slice(datagram);
    }

    /// Points the first `count` headers at their buffers, with the lengths noted for each.
    fn point(&mut self, count: usize) {
        for at in 0..count {
            self.iovecs[at].iov_base = self.bytes[at].as_mut_ptr().cast();
            self.iovecs[at].iov_len = self.lengths[at];
            let header = &mut self.headers[at].msg_hdr;
            header.msg_iov = &raw mut self.iovecs[at];
            header.msg_iovlen = 1;
            if self.addressed == Peers::Each {
                header.msg_name = (&raw mut self.peers[at]).cast();
                header.msg_namelen = self.peer_lengths[at];
            }
        }
    }
}

/// An empty or full socket, or an interrupted call, moved nothing; that is no error.
fn or_nothing(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "64")]
const COUNT: u32 = BATCH_MAX as u32;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_batch_travels_whole_and_in_order() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let (mut near, mut far) = (Batch::new(Peers::Connected), Batch::new(Peers::Each));
        assert_eq!(far.receive(server.as_fd(), Wait::No).unwrap(), 0);
        // Two rounds of different lengths: nothing of the first may show in the second.
        for (count, length) in [(BATCH_MAX, 700), (3, 17)] {
            for at in 0..count {
                near.put(at, &vec![u8::try_from(at).unwrap(); length + at]);
            }
            assert_eq!(near.send(client.as_fd(), count).unwrap(), count);
            assert_eq!(far.receive(server.as_fd(), Wait::ForOne).unwrap(), count);
            for at in 0..count {
                assert_eq!(
                    far.datagram(at),
                    vec![u8::try_from(at).unwrap(); length + at]
                );
                far.datagram_mut(at)[0] ^= 0x80;
            }
            // Back to whoever sent it.
            assert_eq!(far.send(server.as_fd(), count).unwrap(), count);
            assert_eq!(near.receive(client.as_fd(), Wait::No).unwrap(), count);
            for at in 0..count {
                assert_eq!(near.datagram(at).len(), length + at);
                assert_eq!(near.datagram(at)[0], u8::try_from(at).unwrap() | 0x80);
            }
        }
    }
}
