//! Asking the processor for memory that will be read soon.

/// A line of the processor's caches, in octets.
pub const LINE: usize = 64;

/// Has the first `LINES` lines of what `object` begins with fetched, without waiting for them. They
/// may reach past its end.
#[inline]
pub fn prefetch<T: ?Sized, const LINES: usize>(object: &T) {
    for line in 0..LINES {
        let at = std::ptr::from_ref(object).cast::<u8>();
        fetch(at.wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn fetch(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: SSE is part of x86-64. A prefetch is a hint: it reads nothing that the program could
    // see, and does nothing at an address that is not mapped.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline]
fn fetch(at: *const u8) {
    // SAFETY: as above: `prfm` is a hint that never faults; it changes neither registers, flags nor
    // memory.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) at, options(nostack, readonly, preserves_flags));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
fn fetch(_: *const u8) {}
