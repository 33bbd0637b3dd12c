//! Pinning threads, so that server and generator never share a core.

use core_affinity::CoreId;

/// A core that a thread could not be pinned to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot pin to core {core}: not in the set this process may use (see `taskset -p`)")]
pub struct PinError {
    /// The core that was asked for, counted from 0 as `taskset -c` does.
    pub core: usize,
}

/// Pins the calling thread to `core`; `None` leaves it to the scheduler.
pub fn pin(core: Option<usize>) -> Result<(), PinError> {
    match core {
        Some(core) if !core_affinity::set_for_current(CoreId { id: core }) => {
            Err(PinError { core })
        }
        _ => Ok(()),
    }
}
