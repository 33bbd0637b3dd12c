//! Sockets and the loops on them. The loops own the buffers and call `respond`.

pub(crate) mod https;
pub mod io;
pub mod socket;
pub mod tcp;
pub(crate) mod tls;
pub mod udp;
