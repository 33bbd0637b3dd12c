//! A worker's io_uring: each socket has one receive that stays armed and fills buffers from a
//! common store; replies are queued and leave with the next wait, one system call for both.
//!
//! ```text
//! kernel ─► buffer (header, name, control, message) ─► answer ─► arena ─► kernel
//!    ▲                                          │
//!    └──────────── given back ──────────────────┘
//! ```
//!
//! What the kernel was shown stays where it is: the memory is claimed at start, and freed when
//! nothing is under way and the buffers are unregistered, or never.

mod buffers;

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fixed, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use self::buffers::Buffers;
use super::address::{CONTROL_LEN, ControlBuf, socket_address};
use super::batch::{Datagram, is_nothing};
use super::send::is_too_large;
use crate::limits::{BATCH_MAX, MESSAGE_LEN_MAX, QUERY_LEN_MAX, RING_BUFFERS, RING_REPLIES};

/// Room for the replies of a turn, a batch of any size included. What is not used is never touched, and
/// so takes no memory.
const ARENA_LEN: usize = RING_REPLIES * 1_024 + BATCH_MAX * MESSAGE_LEN_MAX;
/// Room for a sender's address, the larger of the two, rounded up so that what follows is aligned.
const NAME_LEN: usize = 32;
/// `struct io_uring_recvmsg_out`, before the address.
const HEADER_LEN: usize = 16;
/// Where the message begins in a buffer.
const MESSAGE_AT: usize = HEADER_LEN + NAME_LEN + CONTROL_LEN;
/// What a buffer holds; the kernel cuts what is longer.
const BUFFER_LEN: usize = MESSAGE_AT + QUERY_LEN_MAX;
/// The group of our buffers; a ring has but one.
const GROUP: u16 = 0;
/// The user data of sends, beside the reply's place; that of a receive is its socket's place.
const SEND: u64 = 1 << 32;
/// How long requests may take to end when the ring is dropped.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the kernel's thread looks for work before it sleeps.
const POLL_IDLE: Duration = Duration::from_millis(100);

/// Memory that the kernel was shown.
struct Memory {
    buffers: Buffers<RING_BUFFERS, BUFFER_LEN>,
    /// How much of a buffer the sender's address and the control messages take.
    receive: Box<libc::msghdr>,
    replies: Box<[Reply]>,
    arena: Box<[u8]>,
}

/// A reply's way.
struct Reply {
    /// Where it stands in the arena, and its socket.
    at: Range<usize>,
    socket: u16,
    header: libc::msghdr,
    iovec: libc::iovec,
    name: libc::sockaddr_storage,
    control: ControlBuf,
}

/// A filled buffer that nobody has looked at.
#[derive(Clone, Copy)]
struct Arrived {
    socket: u16,
    buffer: u16,
    len: u32,
}

/// A worker's ring.
pub struct Ring {
    ring: IoUring,
    memory: ManuallyDrop<Memory>,
    /// For each socket, whether its receive is under way.
    armed: Box<[bool]>,
    receiving: usize,
    /// Sends queued or under way.
    sending: usize,
    /// Filled buffers in the order of their arrival, as many as there are buffers at most.
    arrived: VecDeque<Arrived>,
    /// The batch that was taken last.
    taken: Vec<Arrived>,
    /// The places of replies that the kernel refused for their size.
    too_large: Vec<u16>,
    arena_used: usize,
    replies_used: usize,
    unsent: u64,
    stopped: bool,
    error: Option<io::Error>,
}

// SAFETY: the pointers in `memory` lead into memory that this value owns; the ring itself may be
// sent. The kernel wants all calls from the thread that called `enable`, and refuses others.
unsafe impl Send for Ring {}

impl Ring {
    /// Sets a ring up for these sockets; nothing is received before [`Self::enable`]. With
    /// `polled`, a thread of the kernel looks for what is queued, so that it needs no call.
    ///
    /// # Errors
    ///
    /// If the kernel is older than 6.1, or forbids it.
    pub fn new(sockets: &[BorrowedFd<'_>], polled: bool) -> io::Result<Self> {
        let outstanding = RING_REPLIES + sockets.len();
        // The kernel's thread may have ended all that it took before it says that it took it; as much
        // again may be queued by then.
        let entries = if polled { 2 * outstanding } else { outstanding };
        let entries = entries.next_power_of_two();
        let completions = entries + RING_BUFFERS;
        let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
        builder
            .setup_r_disabled()
            .setup_single_issuer()
            .setup_submit_all()
            .setup_cqsize(completions.next_power_of_two() as u32);
        if polled {
            builder.setup_sqpoll(POLL_IDLE.as_millis() as u32);
        } else {
            builder.setup_coop_taskrun().setup_defer_taskrun();
        }
        let ring = builder.build(entries as u32)?;
        let descriptors = sockets.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>();
        ring.submitter().register_files(&descriptors)?;
        let memory = Memory::new();
        memory.buffers.register(&ring.submitter(), GROUP)?;
        Ok(Self {
            ring,
            memory: ManuallyDrop::new(memory),
            armed: vec![false; sockets.len()].into_boxed_slice(),
            receiving: 0,
            sending: 0,
            arrived: VecDeque::with_capacity(RING_BUFFERS),
            taken: Vec::with_capacity(BATCH_MAX),
            too_large: Vec::new(),
            arena_used: 0,
            replies_used: 0,
            unsent: 0,
            stopped: false,
            error: None,
        })
    }

    /// Binds the ring to the calling thread, the only one that may use it from now on.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_register(2)`.
    pub fn enable(&self) -> io::Result<()> {
        self.ring.submitter().register_enable_rings()
    }

    /// Sends what is queued, and waits until something has arrived or was sent, or `timeout` has
    /// passed.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_enter(2)` that say that the ring is of no use any more.
    pub fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        self.arm();
        self.enter(timeout)?;
        self.reap();
        Ok(())
    }

    /// Takes the datagrams that arrived first, as far as they came to the same socket: its place, and
    /// where the replies go. `None` if there are none, or there is no room for replies so far. The
    /// batch before is done with then.
    pub fn batch(&mut self) -> Option<(usize, Received<'_>, Answers<'_>)> {
        let buffers = &mut self.memory.buffers;
        if !self.taken.is_empty() {
            self.taken.drain(..).for_each(|it| buffers.give(it.buffer));
            buffers.publish();
        }
        if self.sending == 0 && self.too_large.is_empty() {
            self.arena_used = 0;
            self.replies_used = 0;
        }
        let socket = self.arrived.front()?.socket;
        let room = (ARENA_LEN - self.arena_used) / MESSAGE_LEN_MAX;
        let most = room.min(RING_REPLIES - self.replies_used).min(BATCH_MAX);
        while self.taken.len() < most
            && self.arrived.front().is_some_and(|it| it.socket == socket)
            && let Some(arrived) = self.arrived.pop_front()
        {
            self.taken.push(arrived);
        }
        let Memory {
            buffers,
            receive,
            replies,
            arena,
        } = &mut *self.memory;
        let received = Received {
            buffers,
            receive,
            taken: &self.taken,
        };
        let answers = Answers {
            received,
            socket,
            ring: &mut self.ring,
            replies,
            arena,
            arena_used: &mut self.arena_used,
            replies_used: &mut self.replies_used,
            sending: &mut self.sending,
            unsent: &mut self.unsent,
        };
        (!self.taken.is_empty()).then_some((usize::from(socket), received, answers))
    }

    /// Has each reply that the kernel refused for its size sent by other means: `send` gets its
    /// socket's place, the message, the receiver and the address that it is to come from, and says
    /// whether that went well.
    pub fn resend(
        &mut self,
        mut send: impl FnMut(usize, &[u8], SocketAddr, Option<IpAddr>) -> bool,
    ) {
        for place in self.too_large.drain(..) {
            let memory = &mut *self.memory;
            let reply = &mut memory.replies[usize::from(place)];
            let (to, from) = (socket_address(&reply.name), reply.local());
            let octets = &memory.arena[reply.at.clone()];
            let sent = to.is_some_and(|to| send(reply.socket.into(), octets, to, from));
            self.unsent += u64::from(!sent);
        }
    }

    /// Ends receiving. What has arrived before is still there for [`Self::batch`].
    pub fn stop(&mut self) {
        self.stopped = true;
        let timeout = Timespec::from(PATIENCE);
        for (socket, armed) in self.armed.iter().enumerate() {
            if *armed {
                let receive = CancelBuilder::user_data(socket as u64);
                // One that has just ended by itself is not found.
                let _ = self
                    .ring
                    .submitter()
                    .register_sync_cancel(Some(timeout), receive);
            }
        }
    }

    /// Whether nothing is under way, nor waits to be answered or sent.
    pub fn is_idle(&self) -> bool {
        self.receiving == 0 && self.sending == 0 && self.arrived.is_empty()
    }

    /// Takes the number of replies that could not be sent since the last time.
    pub const fn take_unsent(&mut self) -> u64 {
        std::mem::replace(&mut self.unsent, 0)
    }

    /// Takes the last error of a receive that was more than a passing one.
    pub const fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Arms the receives that have ended, for example because there was no buffer.
    fn arm(&mut self) {
        let no_buffer = self.arrived.len() >= RING_BUFFERS;
        if self.stopped || no_buffer || self.receiving == self.armed.len() {
            return;
        }
        for (place, armed) in self.armed.iter_mut().enumerate() {
            if *armed {
                continue;
            }
            let socket = Fixed(place as u32);
            let entry = opcode::RecvMsgMulti::new(socket, &raw const *self.memory.receive, GROUP)
                .build()
                .user_data(place as u64);
            // SAFETY: the header is boxed and the buffers stay where they are; both are in `memory`,
            // which outlives the request.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                *armed = true;
                self.receiving += 1;
            }
        }
    }

    fn enter(&mut self, timeout: Duration) -> io::Result<()> {
        if self.ring.params().is_setup_sqpoll() && !self.ring.completion().is_empty() {
            // The kernel's thread takes what is queued, unless it has gone to sleep.
            return self.ring.submit().map(drop);
        }
        let timeout = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&timeout);
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            // The time is over; a signal; completions to be taken first; no memory for the moment.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the completions.
    fn reap(&mut self) {
        for completion in self.ring.completion() {
            let (result, flags) = (completion.result(), completion.flags());
            if completion.user_data() & SEND != 0 {
                self.sending -= 1;
                if result < 0 && is_too_large(&io::Error::from_raw_os_error(-result)) {
                    self.too_large.push(completion.user_data() as u16);
                } else {
                    self.unsent += u64::from(result < 0);
                }
                continue;
            }
            let socket = completion.user_data() as u16;
            if !cqueue::more(flags) {
                self.armed[usize::from(socket)] = false;
                self.receiving -= 1;
            }
            if let Some(buffer) = cqueue::buffer_select(flags) {
                let len = u32::try_from(result).unwrap_or(0);
                self.arrived.push_back(Arrived {
                    socket,
                    buffer,
                    len,
                });
            } else if result < 0 {
                let error = io::Error::from_raw_os_error(-result);
                let is_expected = matches!(-result, libc::ENOBUFS | libc::ECANCELED);
                if !is_expected && !is_nothing(&error) {
                    self.error = Some(error);
                }
            }
        }
    }
}

/// A batch of datagrams in the buffers of a ring.
#[derive(Clone, Copy)]
pub struct Received<'r> {
    buffers: &'r Buffers<RING_BUFFERS, BUFFER_LEN>,
    receive: &'r libc::msghdr,
    taken: &'r [Arrived],
}

impl<'r> Received<'r> {
    /// How many there are, one at least.
    pub const fn count(&self) -> usize {
        self.taken.len()
    }

    /// What the kernel wrote, and the message in it.
    fn parse(&self, slot: usize) -> Option<(RecvMsgOut<'r>, &'r [u8])> {
        let Arrived { buffer, len, .. } = self.taken[slot];
        let octets = self.buffers.octets(buffer, len as usize);
        let parsed = RecvMsgOut::parse(octets, self.receive).ok()?;
        let message = octets.get(MESSAGE_AT..)?;
        let message = message.get(..parsed.payload_data().len())?;
        Some((parsed, message))
    }

    /// The message of datagram `slot`; cut at `QUERY_LEN_MAX`.
    #[inline]
    pub fn message(&self, slot: usize) -> &'r [u8] {
        self.parse(slot).map_or(&[], |(_, message)| message)
    }

    /// Whether the sender of datagram `slot` has an IPv6 address; `None` if it has no IP address.
    #[inline]
    pub fn is_ipv6(&self, slot: usize) -> Option<bool> {
        let (parsed, _) = self.parse(slot)?;
        let family = u16::from_ne_bytes(*parsed.name_data().first_chunk()?);
        match i32::from(family) {
            libc::AF_INET => Some(false),
            libc::AF_INET6 => Some(true),
            _ => None,
        }
    }

    /// Datagram `slot`. `None` if its sender has no address that can be answered.
    pub fn datagram(&self, slot: usize) -> Option<Datagram<'r>> {
        let (parsed, message) = self.parse(slot)?;
        let mut way = Reply::new(*self.receive);
        way.set_remote(parsed.name_data());
        let local = way.control.set(parsed.control_data());
        Some(Datagram {
            message,
            remote: socket_address(&way.name)?,
            local,
        })
    }
}

/// Where the replies to a batch go. There is room for one of any size to each of its datagrams.
pub struct Answers<'r> {
    received: Received<'r>,
    socket: u16,
    ring: &'r mut IoUring,
    replies: &'r mut [Reply],
    arena: &'r mut [u8],
    arena_used: &'r mut usize,
    replies_used: &'r mut usize,
    sending: &'r mut usize,
    unsent: &'r mut u64,
}

impl Answers<'_> {
    /// The room for the next reply.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.arena[*self.arena_used..]
    }

    /// Queues the first `len` octets of the room as the reply to datagram `slot`.
    ///
    /// # Panics
    ///
    /// If there is no room, as may be when there are more replies than datagrams.
    pub fn queue(&mut self, slot: usize, len: usize) {
        let Some((parsed, _)) = self.received.parse(slot) else {
            return;
        };
        let place = *self.replies_used;
        let reply = &mut self.replies[place];
        reply.set_remote(parsed.name_data());
        reply.set_local(parsed.control_data());
        (reply.socket, reply.at) = (self.socket, *self.arena_used..*self.arena_used + len);
        let octets = &mut self.arena[reply.at.clone()];
        let user_data = SEND | place as u64;
        let entry = reply
            .entry(Fixed(self.socket.into()), octets)
            .user_data(user_data);
        // SAFETY: what the entry points to lies in the ring's `memory`, which outlives the request, and
        // is not written again before it has ended: `batch` starts again from the front only when no
        // send is under way.
        if unsafe { self.ring.submission().push(&entry) }.is_ok() {
            *self.sending += 1;
            *self.arena_used += len;
            *self.replies_used += 1;
        } else {
            *self.unsent += 1;
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.stopped = true;
        let timeout = Timespec::from(PATIENCE);
        for _ in 0..10 {
            if self.receiving + self.sending == 0 {
                break;
            }
            let submitter = self.ring.submitter();
            let _ = submitter.register_sync_cancel(Some(timeout), CancelBuilder::any());
            if self.turn(PATIENCE / 10).is_err() {
                break;
            }
        }
        let submitter = self.ring.submitter();
        let _ = submitter.unregister_files();
        let unregistered = submitter.unregister_buf_ring(GROUP).is_ok();
        if unregistered && self.receiving + self.sending == 0 {
            // SAFETY: this is the only place that drops it, and the last that sees it. The kernel
            // has no request under way and has forgotten the buffers, so nothing leads there.
            unsafe { ManuallyDrop::drop(&mut self.memory) }
        }
    }
}

impl Memory {
    fn new() -> Self {
        // SAFETY: zero (null pointers, no lengths) is a valid value of this plain C struct.
        let mut header = unsafe { std::mem::zeroed::<libc::msghdr>() };
        let replies = (0..RING_REPLIES).map(|_| Reply::new(header)).collect();
        header.msg_namelen = NAME_LEN as libc::socklen_t;
        header.msg_controllen = CONTROL_LEN;
        Self {
            buffers: Buffers::new(),
            receive: Box::new(header),
            replies,
            arena: vec![0; ARENA_LEN].into_boxed_slice(),
        }
    }
}

impl Reply {
    fn new(header: libc::msghdr) -> Self {
        Self {
            header,
            iovec: libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
            // SAFETY: zero is a valid value of this plain C struct.
            name: unsafe { std::mem::zeroed::<libc::sockaddr_storage>() },
            control: ControlBuf::EMPTY,
            at: 0..0,
            socket: 0,
        }
    }

    /// Where it goes: the address that the kernel wrote.
    fn set_remote(&mut self, name: &[u8]) {
        let name = &name[..name.len().min(NAME_LEN)];
        let to = (&raw mut self.name).cast::<u8>();
        // SAFETY: `name` is no longer than a `sockaddr_storage`, any octets of which are valid, and
        // lies elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(name.as_ptr(), to, name.len()) };
        self.header.msg_namelen = name.len() as libc::socklen_t;
    }

    /// Where it comes from: the address in the control message, where there is one.
    fn set_local(&mut self, control: &[u8]) {
        self.header.msg_controllen = control.len();
        self.control.set(control);
    }

    /// The address that was set last.
    fn local(&mut self) -> Option<IpAddr> {
        self.control.local_address(self.header.msg_controllen)
    }

    /// The request that sends `octets` from here to there.
    fn entry(&mut self, socket: Fixed, octets: &mut [u8]) -> squeue::Entry {
        let name = &raw mut self.name;
        if self.header.msg_controllen == 0 {
            // A socket bound to one address: the kernel has less to read than for a message.
            return opcode::Send::new(socket, octets.as_ptr(), octets.len() as u32)
                .dest_addr(name.cast())
                .dest_addr_len(self.header.msg_namelen)
                .build();
        }
        self.iovec = libc::iovec {
            iov_base: octets.as_mut_ptr().cast(),
            iov_len: octets.len(),
        };
        self.header.msg_name = name.cast();
        self.header.msg_iov = &raw mut self.iovec;
        self.header.msg_iovlen = 1;
        self.header.msg_control = self.control.as_mut_ptr();
        opcode::SendMsg::new(socket, &raw const self.header).build()
    }
}

#[cfg(test)]
mod tests;
