//! stub
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
/// stub
pub struct HttpsClient;
impl HttpsClient {
    /// stub
    pub fn new(
        _: SocketAddr,
        _: Arc<ClientConfig>,
        _: ServerName<'static>,
        _: Box<str>,
        _: bool,
        _: Option<IpAddr>,
    ) -> Self {
        Self
    }
    /// stub
    pub async fn exchange(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
