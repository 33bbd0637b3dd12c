//! The only module that may say `unsafe`: system calls and the memory layouts they want, behind
//! safe signatures.
#![allow(unsafe_code)]

mod address;
pub mod batch;
pub mod poll;
pub mod ring;
pub mod send;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Sets a boolean socket option that socket2 has no name for.
pub fn enable(socket: &impl AsFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the value is a live int of the length given; the descriptor is open because `socket`
    // is borrowed.
    let result = unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
