//! Waiting for sockets.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// The descriptors that a worker waits for, laid out once.
pub struct PollSet(Vec<libc::pollfd>);

impl PollSet {
    /// A set that waits for each of these to become readable. The caller keeps them open.
    pub fn new<'a>(descriptors: impl IntoIterator<Item = BorrowedFd<'a>>) -> Self {
        // Whatever arrived before is found by the first look, not by the first wait.
        let entry = |fd: BorrowedFd<'_>| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: libc::POLLIN,
        };
        Self(descriptors.into_iter().map(entry).collect())
    }

    /// Waits until one is readable or `timeout` has passed. A signal counts as a time-out.
    ///
    /// # Errors
    ///
    /// As `poll(2)`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        poll(&mut self.0, timeout)
    }

    /// Whether descriptor number `place` had something to read, or an error to tell, and has not
    /// been found empty since.
    pub fn is_ready(&self, place: usize) -> bool {
        self.0[place].revents != 0
    }

    /// Notes that descriptor number `place` has nothing left.
    pub fn set_empty(&mut self, place: usize) {
        self.0[place].revents = 0;
    }

    /// Has every descriptor looked at once more.
    pub fn set_all_ready(&mut self) {
        for entry in &mut self.0 {
            entry.revents = libc::POLLIN;
        }
    }
}

/// Waits, for a short while, until a socket can be written.
pub(super) fn wait_writable(socket: BorrowedFd<'_>) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let mut entry = [libc::pollfd {
        fd,
        events: libc::POLLOUT,
        revents: 0,
    }];
    poll(&mut entry, Duration::from_millis(10))
}

fn poll(entries: &mut [libc::pollfd], timeout: Duration) -> io::Result<()> {
    let count = entries.len() as libc::nfds_t;
    let timeout = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `entries` is an initialised array of `count` elements that we borrow exclusively.
    // Descriptors that were closed meanwhile are reported by the kernel, not followed.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), count, timeout) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}
