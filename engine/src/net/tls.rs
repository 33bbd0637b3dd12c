//! DNS over TLS (RFC 7858): the handshake. What follows is `tcp`'s.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take for its part of the handshake; CoreDNS gives reads as much.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Makes a TLS connection of an accepted one.
///
/// # Errors
///
/// If the client breaks off, is too slow, or has no certificate that satisfies `config`.
pub(crate) async fn accept(
    config: &TlsAcceptor,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    timeout(HANDSHAKE, config.accept(stream)).await?
}
