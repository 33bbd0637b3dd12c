//! Fetching memory ahead of its use.

/// Octets that the processor fetches at once.
const LINE_LEN: usize = 64;

/// Has the `len` octets at `address` brought near this core, if there is memory. Any address will
/// do.
#[inline]
pub fn prefetch(address: usize, len: usize) {
    let mut at = address & !(LINE_LEN - 1);
    let end = address.saturating_add(len);
    while at < end {
        prefetch_line(at);
        let Some(next) = at.checked_add(LINE_LEN) else {
            return;
        };
        at = next;
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch_line(address: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    let pointer = std::ptr::without_provenance::<i8>(address);
    // SAFETY: the instruction (part of SSE, which every x86-64 processor has) reads nothing that
    // the program can see and faults at no address, mapped or not.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(pointer) };
}

#[cfg(target_arch = "aarch64")]
#[inline]
fn prefetch_line(address: usize) {
    // SAFETY: PRFM reads nothing that the program can see and faults at no address, mapped or not.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, readonly, preserves_flags)
        );
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
const fn prefetch_line(_: usize) {}
