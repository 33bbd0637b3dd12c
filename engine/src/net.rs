//! Sockets and the loops on them. The loops own the buffers and call `respond`.

pub mod socket;
pub mod tcp;
pub mod udp;
