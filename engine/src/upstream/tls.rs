//! Connections to upstreams: TCP, and TLS over it (RFC 7858).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens a TCP connection, from `source` if there is one.
///
/// # Errors
///
/// If the server cannot be reached, or `source` is not ours or of another family.
pub async fn tcp(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(source) = source {
        socket.bind((source, 0).into())?;
    }
    let stream = socket.connect(address).await?;
    // A question is one small write that waits for its reply: nothing will come to fill a segment.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a TLS connection to the server that can prove to be `name`. Sessions are resumed between
/// connections with the same `config`.
///
/// # Errors
///
/// If the server cannot be reached, or its certificate is not for `name` or not trusted.
pub async fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = tcp(address, source).await?;
    TlsConnector::from(Arc::clone(config))
        .connect(name.clone(), stream)
        .await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_come_from_the_source_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let source = IpAddr::from([127, 0, 0, 2]);
        for (from, seen) in [(None, [127, 0, 0, 1].into()), (Some(source), source)] {
            let stream = tcp(address, from).await.unwrap();
            assert!(stream.nodelay().unwrap());
            let (_, remote) = listener.accept().await.unwrap();
            assert_eq!(remote.ip(), seen);
        }
        let other_family = Some(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        assert!(tcp(address, other_family).await.is_err());
    }
}
