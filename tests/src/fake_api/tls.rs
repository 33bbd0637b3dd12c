//! A certificate authority for one test, and the server's certificate.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// The authority and what it signed.
pub(super) struct Identity {
    authority: String,
    config: Arc<ServerConfig>,
}

impl Identity {
    /// A new authority, and a certificate for 127.0.0.1.
    pub(super) fn new() -> Self {
        let key = || KeyPair::generate().expect("ring makes keys");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, key()).expect("the parameters are valid");
        let server_key = key();
        let server = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])
            .and_then(|server| server.signed_by(&server_key, &authority))
            .expect("the parameters are valid");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the default versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![server.der().clone()],
                PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
            )
            .expect("the key fits the certificate");
        Self {
            authority: authority.pem(),
            config: Arc::new(config),
        }
    }

    /// The authority's certificate.
    pub(super) fn authority_pem(&self) -> &str {
        &self.authority
    }

    /// The server's side of TLS.
    pub(super) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}
