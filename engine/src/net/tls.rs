//! DNS over TLS (RFC 7858): the handshake. What follows is `tcp`'s.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Makes a TLS connection of an accepted one. `limit` is how long a client may take for its part.
///
/// # Errors
///
/// If the client breaks off, is too slow, or has no certificate that satisfies `config`.
pub(crate) async fn accept(
    config: &TlsAcceptor,
    stream: TcpStream,
    limit: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    timeout(limit, config.accept(stream)).await?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ServerConfig;
    use rustls::server::ResolvesServerCertUsingSni;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_that_says_nothing_is_left() {
        let provider = rustls::crypto::ring::default_provider();
        let config = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        tokio::time::pause();
        let limit = Duration::from_secs(3);
        let config = Arc::new(config).into();
        let error = accept(&config, stream, limit).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
