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
