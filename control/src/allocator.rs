//! The allocator: mimalloc, told to give memory back soon.
//!
//! It does so with later allocations of the same thread, and the threads that decode a cluster's
//! objects make none once they are done: what they freed last stays resident for good. Within a
//! millisecond that is little; the allocator's own ten would be 2 MB of a large cluster's 47, and
//! giving back at once, only to ask again, took a quarter longer to read one.

use libmimalloc_sys::{mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's header: for how many milliseconds free pages are kept.
const PURGE_DELAY: mi_option_t = 15;

/// Has free pages returned to the system soon. To be called before there are other threads.
#[allow(unsafe_code)]
pub(crate) fn give_back_soon() {
    // SAFETY: the option is one of the header's, and no other thread reads it meanwhile.
    unsafe { mi_option_set(PURGE_DELAY, 1) }
}
