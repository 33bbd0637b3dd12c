//! A certificate authority for one test, and a server's certificate.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// The authority and what it signed.
pub struct Identity {
    authority: String,
    certificate: String,
    key: String,
    client: [String; 2],
    config: Arc<ServerConfig>,
}

impl Identity {
    /// A new authority, and a certificate for these names and addresses.
    pub fn new(names: &[&str]) -> Self {
        let key = || KeyPair::generate().expect("ring makes keys");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // With the default name, which the server's certificate has too, OpenSSL would take that for
        // signed by itself.
        let name = &mut authority.distinguished_name;
        name.push(DnType::CommonName, "authority of one test");
        let authority =
            CertifiedIssuer::self_signed(authority, key()).expect("the parameters are valid");
        let server_key = key();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let server = CertificateParams::new(names)
            .and_then(|server| server.signed_by(&server_key, &authority))
            .expect("the parameters are valid");
        let client_key = key();
        let client = CertificateParams::new(["client.test".to_owned()])
            .and_then(|client| client.signed_by(&client_key, &authority))
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
            certificate: server.pem(),
            key: server_key.serialize_pem(),
            client: [client.pem(), client_key.serialize_pem()],
            config: Arc::new(config),
        }
    }

    /// The authority's certificate.
    pub fn authority_pem(&self) -> &str {
        &self.authority
    }

    /// The server's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The server's key.
    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// A client's certificate and its key, of the same authority.
    pub fn client_pem(&self) -> [&str; 2] {
        self.client.each_ref().map(String::as_str)
    }

    /// The server's side of TLS.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Writes `ca.pem`, `cert.pem` and `key.pem`.
    pub fn write(&self, dir: &Path) {
        for (name, text) in [
            ("ca.pem", &self.authority),
            ("cert.pem", &self.certificate),
            ("key.pem", &self.key),
        ] {
            fs::write(dir.join(name), text).expect("the directory is writable");
        }
    }
}
