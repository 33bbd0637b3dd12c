//! TCP and TLS connections to upstreams.
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream};
/// tcp
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
    stream.set_nodelay(true)?;
    Ok(stream)
}
/// tls
pub async fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = tcp(address, source).await?;
    tokio_rustls::TlsConnector::from(Arc::clone(config))
        .connect(name.clone(), stream)
        .await
}
