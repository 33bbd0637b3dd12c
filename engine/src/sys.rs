//! The only module that may say `unsafe`: system calls and the memory layouts they want, and memory that
//! is read while it is replaced, behind safe signatures.
#![allow(unsafe_code)]

mod address;
pub mod batch;
pub mod epoch;
pub mod poll;
pub mod prefetch;
pub mod ring;
pub mod send;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Sets a socket option, an int, that socket2 has no name for.
pub fn set_option(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the value is a live int of the length given; the descriptor is open because `socket`
    // is borrowed.
    let result = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Datagrams that a socket had no room for since it was opened (`SO_MEMINFO`).
pub fn drops(socket: &impl AsFd) -> io::Result<u32> {
    /// The kernel's order of what it tells, and how much that is.
    const DROPS: usize = 8;
    let mut told = [0_u32; DROPS + 1];
    let mut len = size_of_val(&told) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    let to = (&raw mut told).cast();
    // SAFETY: the kernel writes at most `len` octets to `told`, any value of which is valid; the
    // descriptor is open because `socket` is borrowed.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, to, &raw mut len) };
    if result == 0 {
        Ok(told[DROPS])
    } else {
        Err(io::Error::last_os_error())
    }
}
