//! How workers move datagrams: the choice, and what it takes.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;

use crate::net::udp::WorkerSocket;
use crate::sys::ring::Ring;

/// How workers move datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Io {
    /// `recvmmsg` and `sendmmsg`.
    Recvmmsg,
    /// io_uring.
    IoUring,
    /// io_uring with a thread of the kernel for each worker, which looks for work all the time.
    IoUringSqpoll,
}

impl Io {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Recvmmsg, Self::IoUring, Self::IoUringSqpoll];

    /// The name on the command line, in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recvmmsg => "recvmmsg",
            Self::IoUring => "io_uring",
            Self::IoUringSqpoll => "io_uring_sqpoll",
        }
    }
}

/// The ring that a worker with these sockets needs, if any.
pub(crate) fn ring(io: Io, sockets: &[WorkerSocket]) -> io::Result<Option<Ring>> {
    let descriptors = sockets.iter().map(|socket| socket.socket.as_fd());
    match io {
        Io::Recvmmsg => Ok(None),
        Io::IoUring | Io::IoUringSqpoll => {
            let polled = io == Io::IoUringSqpoll;
            Ring::new(&descriptors.collect::<Vec<_>>(), polled).map(Some)
        }
    }
}

/// What workers are to use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IoChoice {
    /// What has been measured to be the fastest.
    #[default]
    Auto,
    /// Just this.
    Only(Io),
}

impl IoChoice {
    /// What that is. ARCHITECTURE.md has the figures; and what is the fastest needs nothing that a
    /// container may be denied, so that there is nothing to fall back to.
    const fn io(self) -> Io {
        match self {
            Self::Auto => Io::Recvmmsg,
            Self::Only(io) => io,
        }
    }

    /// The names of all choices.
    pub fn names() -> impl Iterator<Item = &'static str> {
        std::iter::once(AUTO).chain(Io::ALL.map(Io::name))
    }
}

const AUTO: &str = "auto";

/// A word that is none of [`IoChoice::names`].
#[derive(Debug, thiserror::Error)]
#[error("there is no such way to move datagrams")]
pub struct UnknownIo;

impl FromStr for IoChoice {
    type Err = UnknownIo;

    fn from_str(word: &str) -> Result<Self, UnknownIo> {
        if word == AUTO {
            return Ok(Self::Auto);
        }
        let found = Io::ALL.into_iter().find(|io| io.name() == word);
        found.map(Self::Only).ok_or(UnknownIo)
    }
}

/// What was chosen cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} for datagrams: {source}{}", .io.name(), hint(.source))]
pub struct IoError {
    io: Io,
    source: io::Error,
}

fn hint(error: &io::Error) -> Hint {
    Hint(match error.raw_os_error() {
        Some(libc::EPERM) => "kernel.io_uring_disabled or a seccomp profile forbids it",
        Some(libc::EINVAL | libc::ENOSYS) => "it needs Linux 6.1 or newer",
        Some(libc::ENOMEM) => "the limit of locked memory is too low",
        _ => "",
    })
}

struct Hint(&'static str);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            hint => write!(f, " ({hint}; `-io auto` needs nothing of the kind)"),
        }
    }
}

/// Opens what the workers need and says in the log what they use.
///
/// # Errors
///
/// If the system does not give it.
pub(crate) fn open(
    choice: IoChoice,
    sockets: &[Box<[WorkerSocket]>],
) -> Result<(Io, Vec<Option<Ring>>), IoError> {
    let io = choice.io();
    let rings = sockets.iter().map(|own| ring(io, own));
    let rings = rings.collect::<io::Result<_>>();
    let rings = rings.map_err(|source| IoError { io, source })?;
    tracing::info!("workers move datagrams through {}", io.name());
    Ok((io, rings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let cases = [
            (libc::EPERM, "io_uring_disabled"),
            (libc::ENOSYS, "6.1"),
            (libc::EINVAL, "6.1"),
            (libc::ENOMEM, "locked memory"),
            (libc::EMFILE, "Too many open files"),
        ];
        for (code, words) in cases {
            let error = IoError {
                io: Io::IoUring,
                source: io::Error::from_raw_os_error(code),
            };
            let text = error.to_string();
            assert!(
                text.starts_with("cannot use io_uring for datagrams: "),
                "{text}"
            );
            assert!(text.contains(words), "{text}");
        }
    }
}
