//! Buffers that the kernel fills with datagrams in the order in which it is given them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// What shared memory is aligned to: the largest page that Linux has for us.
const ALIGNMENT: usize = 1 << 16;

/// Memory that the kernel reads or writes while we hold no reference to it.
struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone, as that of a box does.
unsafe impl Send for Pages {}

impl Pages {
    /// Claims so many octets of zeroes; more than none.
    fn new(len: usize) -> Self {
        let layout = Layout::from_size_align(len, ALIGNMENT).expect("a few megabytes");
        assert!(len > 0);
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, layout }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `start` was allocated with this layout, and is freed here alone.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// `COUNT` buffers for `LEN` octets each and the ring of those that the kernel may fill.
///
/// A buffer is either the kernel's or ours: the kernel's from [`Self::give`] until a completion
/// names it, ours from then until it is given again.
pub(super) struct Buffers<const COUNT: usize, const LEN: usize> {
    entries: Pages,
    octets: Pages,
    /// Entries written so far.
    tail: u16,
}

impl<const COUNT: usize, const LEN: usize> Buffers<COUNT, LEN> {
    const MASK: u16 = {
        assert!(COUNT.is_power_of_two() && COUNT <= 1 << 15);
        COUNT as u16 - 1
    };

    /// From one buffer to the next: a whole number of cache lines, and an odd one, so that buffers
    /// do not compete for the same sets.
    const STRIDE: usize = (LEN.div_ceil(64) | 1) * 64;

    /// Claims the memory; all buffers are the kernel's once it is registered.
    pub(super) fn new() -> Self {
        let mut buffers = Self {
            entries: Pages::new(COUNT * size_of::<BufRingEntry>()),
            octets: Pages::new(COUNT * Self::STRIDE),
            tail: 0,
        };
        for id in 0..=Self::MASK {
            buffers.give(id);
        }
        buffers.publish();
        buffers
    }

    /// Shows the ring of buffers to the kernel. The caller keeps `self` until the group is
    /// unregistered.
    pub(super) fn register(&self, submitter: &Submitter<'_>, group: u16) -> io::Result<()> {
        let address = self.entries.start.as_ptr().addr() as u64;
        // SAFETY: `entries` has room for COUNT entries and is aligned to pages. It is freed when
        // `self` is, which the caller promises to keep.
        unsafe { submitter.register_buf_ring_with_flags(address, COUNT as u16, group, 0) }
    }

    /// Where a buffer starts; any number leads to one.
    fn place(&self, id: u16) -> NonNull<u8> {
        let offset = usize::from(id & Self::MASK) * Self::STRIDE;
        // SAFETY: the mask keeps the offset inside of the COUNT * STRIDE octets.
        unsafe { self.octets.start.add(offset) }
    }

    /// The first `len` octets of a buffer that is ours.
    pub(super) fn octets(&self, id: u16, len: usize) -> &[u8] {
        // SAFETY: a buffer has LEN octets, which have been zeroed at least, and while it is ours
        // nobody writes there.
        unsafe { std::slice::from_raw_parts(self.place(id).as_ptr(), len.min(LEN)) }
    }

    /// Gives a buffer of ours to the kernel, which sees it after [`Self::publish`].
    pub(super) fn give(&mut self, id: u16) {
        let id = id & Self::MASK;
        let buffer = self.place(id);
        let entries = self.entries.start.cast::<BufRingEntry>();
        // SAFETY: the mask keeps the place inside of the COUNT entries.
        let mut entry = unsafe { entries.add(usize::from(self.tail & Self::MASK)) };
        // SAFETY: the entry is initialised, as zeroes are one. The kernel only reads entries before
        // the published tail that it has not taken yet; this one comes after it, since there are as
        // many entries as buffers and this buffer is ours.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(buffer.as_ptr().addr() as u64);
        entry.set_len(LEN as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was given.
    pub(super) fn publish(&self) {
        let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `entries` is the start of the ring and leads to an initialised entry.
        let tail = unsafe { BufRingEntry::tail(entries) };
        // SAFETY: the tail lies in `entries`, is aligned as a u16, and is only read by the kernel;
        // no reference to it exists beside this one.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
