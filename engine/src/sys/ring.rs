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
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fixed, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use self::buffers::Buffers;
use super::address::{CONTROL_LEN, ControlBuf, socket_address};
use super::batch::{Datagram, is_nothing};
use crate::limits::{MESSAGE_LEN_MAX, QUERY_LEN_MAX, RING_BUFFERS, RING_REPLIES};

/// Room for the replies of a turn, one of any size included.
const ARENA_LEN: usize = RING_REPLIES * 1_024 + MESSAGE_LEN_MAX;
/// Room for a sender's address, the larger of the two, rounded up so that what follows is aligned.
const NAME_LEN: usize = 32;
/// `struct io_uring_recvmsg_out`, before the address.
const HEADER_LEN: usize = 16;
/// What a buffer holds; the kernel cuts what is longer.
const BUFFER_LEN: usize = HEADER_LEN + NAME_LEN + CONTROL_LEN + QUERY_LEN_MAX;
/// The group of our buffers; a ring has but one.
const GROUP: u16 = 0;
/// The user data of sends; that of a receive is its socket's place.
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
        if self.sending == 0 {
            self.arena_used = 0;
            self.replies_used = 0;
        }
        Ok(())
    }

    /// Hands each datagram that has arrived to `answer`, with its socket's place and room for the
    /// reply, whose length is sent back if there is one. Returns how many there were. What finds no
    /// room comes next time.
    pub fn answer(
        &mut self,
        mut answer: impl FnMut(usize, Datagram<'_>, &mut [u8]) -> Option<usize>,
    ) -> usize {
        let mut count = 0;
        while self.has_room()
            && let Some(arrived) = self.arrived.pop_front()
        {
            count += 1;
            let socket = usize::from(arrived.socket);
            let memory = &mut *self.memory;
            let octets = memory.buffers.octets(arrived.buffer, arrived.len as usize);
            let reply = &mut memory.replies[self.replies_used];
            let room = &mut memory.arena[self.arena_used..];
            if let Ok(received) = RecvMsgOut::parse(octets, &memory.receive)
                && let Some(remote) = reply.set_remote(received.name_data())
            {
                let datagram = Datagram {
                    message: received.payload_data(),
                    remote,
                    local: reply.set_local(received.control_data()),
                };
                if let Some(len) = answer(socket, datagram, room) {
                    self.queue(socket, len);
                }
            }
            self.memory.buffers.give(arrived.buffer);
        }
        self.memory.buffers.publish();
        count
    }

    /// Ends receiving. What has arrived before is still there for [`Self::answer`].
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
            if completion.user_data() == SEND {
                self.sending -= 1;
                self.unsent += u64::from(result < 0);
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

    fn has_room(&self) -> bool {
        ARENA_LEN - self.arena_used >= MESSAGE_LEN_MAX && self.replies_used < RING_REPLIES
    }

    /// Queues the first `len` octets of the room as the reply whose way was set last.
    fn queue(&mut self, socket: usize, len: usize) {
        let memory = &mut *self.memory;
        let reply = &mut memory.replies[self.replies_used];
        let octets = &mut memory.arena[self.arena_used..][..len];
        let entry = reply.entry(Fixed(socket as u32), octets).user_data(SEND);
        // SAFETY: what the entry points to lies in `memory`, which outlives the request, and is not
        // written again before it has ended: `turn` starts again from the front only when no send is
        // under way.
        if unsafe { self.ring.submission().push(&entry) }.is_ok() {
            self.sending += 1;
            self.arena_used += len;
            self.replies_used += 1;
        } else {
            self.unsent += 1;
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
        }
    }

    /// Where it goes: the address that the kernel wrote. `None` if that cannot be answered.
    fn set_remote(&mut self, name: &[u8]) -> Option<std::net::SocketAddr> {
        if name.len() > NAME_LEN {
            return None;
        }
        let to = (&raw mut self.name).cast::<u8>();
        // SAFETY: `name` is no longer than a `sockaddr_storage`, any octets of which are valid, and
        // lies elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(name.as_ptr(), to, name.len()) };
        self.header.msg_namelen = name.len() as libc::socklen_t;
        socket_address(&self.name)
    }

    /// Where it comes from: the address in the control message, where there is one.
    fn set_local(&mut self, control: &[u8]) -> Option<std::net::IpAddr> {
        self.header.msg_controllen = control.len();
        self.control.set(control)
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
