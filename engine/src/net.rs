//! Sockets and the loops on them. The loops own the buffers and call `respond`.

#[cfg_attr(not(test), expect(dead_code, reason = "no listener speaks HTTPS yet"))]
pub(crate) mod https;
pub mod socket;
pub mod tcp;
#[cfg_attr(not(test), expect(dead_code, reason = "no listener speaks TLS yet"))]
pub(crate) mod tls;
pub mod udp;
