//! stub
use crate::corefile::directives::forward::ForwardTls;
use std::sync::Arc;
/// stub
#[derive(Debug, thiserror::Error)]
#[error("TLS is not there yet")]
pub struct TlsError;
/// stub
pub fn client_config(_: &ForwardTls, _: &[&[u8]]) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    Err(TlsError)
}
