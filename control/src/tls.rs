//! From the `tls` of a Corefile to what rustls needs: certificates, keys, whom we trust.
//!
//! TLS 1.2 and 1.3 with ring, as everywhere in the process. What is wrong with a file is found here,
//! before anything is served; the caller knows the line that names it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};

use self::any_client::AnyClient;
use self::key_log::KeyLogFile;
use crate::corefile::directives::forward::ForwardTls;
use crate::corefile::directives::tls::{ClientAuth, Tls};

mod any_client;
mod key_log;

/// What a `tls` names and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of another kind.
    #[error("{} is not a PEM file", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// A PEM file that is cut or garbled.
    #[error("{} is damaged: {fault}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In which way.
        fault: &'static str,
    },
    /// A PEM file of something else than certificates.
    #[error("{} has no certificate in it", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A PEM file without a key, or with an encrypted one.
    #[error("{} has no private key in it, or only an encrypted one", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that does not parse.
    #[error("the certificate in {} cannot be used: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// No certificate of an authority parses.
    #[error("no certificate in {} can be used", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// A key that does not parse, or of a kind that is not supported.
    #[error("the private key in {} cannot be used: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Certificate and key are no pair.
    #[error(
        "the private key in {} is not that of the certificate in {}",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Nobody to trust.
    #[error("this system has no certificates of authorities; name a file with some")]
    NoSystemAuthorities,
    /// The key log cannot be opened.
    #[error("cannot write session keys to {}: {source}", path.display())]
    KeyLog {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key for session tickets cannot be made.
    #[error("cannot make a key for session tickets: {0}")]
    Tickets(rustls::Error),
}

impl TlsError {
    /// Whether a file is not there at all.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The TLS of a server that speaks one of the protocols in `alpn`; with none, whatever follows.
///
/// # Errors
///
/// What is wrong with one of the files.
pub fn server_config(tls: &Tls, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let identity = identity(&tls.server.certificate, &tls.server.key, &provider)?;
    let clients = client_verifier(tls, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for both versions")
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(identity));
    // Tickets keep sessions on the client's side: many clients cost no memory.
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Tickets)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    if let Some(path) = &tls.key_log {
        let log = KeyLogFile::open(path).map_err(|source| TlsError::KeyLog {
            path: path.clone(),
            source,
        })?;
        tracing::warn!("TLS session keys are written to {}", path.display());
        config.key_log = Arc::new(log);
    }
    Ok(Arc::new(config))
}

/// The TLS towards upstreams that speak one of the protocols in `alpn`.
///
/// # Errors
///
/// What is wrong with one of the files, or that the system trusts nobody.
pub fn client_config(tls: &ForwardTls, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let identity = match &tls.identity {
        Some((certificate, key)) => Some(identity(certificate, key, &provider)?),
        None => None,
    };
    let trusted = match &tls.ca {
        Some(path) => authorities(path)?,
        None => system_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for both versions")
        .with_root_certificates(trusted);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(identity)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// What is asked of clients, with the meaning that the five modes have in Go.
fn client_verifier(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    // Read in any mode, as CoreDNS does: a file that is named should be there.
    let named = tls.server.ca.as_deref().map(authorities).transpose()?;
    let optional = match tls.client_auth {
        ClientAuth::None => return Ok(Arc::new(NoClientAuth)),
        mode @ (ClientAuth::Request | ClientAuth::Require) => {
            let mandatory = mode == ClientAuth::Require;
            let hints = named.map_or_else(Vec::new, |named| named.subjects());
            return Ok(Arc::new(AnyClient::new(mandatory, hints, provider)));
        }
        ClientAuth::VerifyIfGiven => true,
        ClientAuth::RequireAndVerify => false,
    };
    // The names of the system's authorities say nothing about whose certificate to choose, and
    // fill a handshake with kilobytes.
    let hide = named.is_none();
    let trusted = match named {
        Some(named) => named,
        None => system_authorities()?,
    };
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(provider));
    if optional {
        builder = builder.allow_unauthenticated();
    }
    if hide {
        builder = builder.clear_root_hint_subjects();
    }
    let verifier = builder.build();
    Ok(verifier.expect("there are authorities, and no revocation lists that could not be read"))
}

/// A certificate chain with its key.
fn identity(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<SingleCertAndKey, TlsError> {
    let chain = certificates(certificate)?;
    let octets = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&octets).map_err(|error| {
        damage(key, &error).unwrap_or_else(|| TlsError::NoKey { path: key.into() })
    })?;
    let private = provider
        .key_provider
        .load_private_key(private)
        .map_err(|source| TlsError::Key {
            path: key.into(),
            source,
        })?;
    let identity = CertifiedKey::new(chain, private);
    match identity.keys_match() {
        // Unknown is a key that does not tell its public half; handshakes will show.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(identity.into())
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
            certificate: certificate.into(),
            key: key.into(),
        }),
        Err(source) => Err(TlsError::Certificate {
            path: certificate.into(),
            source,
        }),
    }
}

/// The authorities in a file. Those that do not parse are left out, as in CoreDNS.
fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates(path)?);
    if store.is_empty() {
        return Err(TlsError::Authorities { path: path.into() });
    }
    Ok(store)
}

/// The authorities that the system trusts.
fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read a certificate of the system");
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        return Err(TlsError::NoSystemAuthorities);
    }
    Ok(store)
}

/// The certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let octets = read(path)?;
    let found = CertificateDer::pem_slice_iter(&octets).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Err(error) if let Some(error) = damage(path, &error) => Err(error),
        _ => Err(TlsError::NoCertificate { path: path.into() }),
    }
}

/// The octets of a file that looks like PEM.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let octets = std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.into(),
        source,
    })?;
    if octets.windows(BEGIN.len()).any(|octets| octets == BEGIN) {
        Ok(octets)
    } else {
        Err(TlsError::NotPem { path: path.into() })
    }
}

/// What is wrong with a PEM file that is more than empty.
fn damage(path: &Path, error: &pem::Error) -> Option<TlsError> {
    let fault = match error {
        pem::Error::NoItemsFound => return None,
        pem::Error::MissingSectionEnd { .. } => "a section in it does not end",
        pem::Error::Base64Decode(_) => "a section in it is not base64",
        _ => "a section in it cannot be read",
    };
    let path = path.into();
    Some(TlsError::Damaged { path, fault })
}

#[cfg(test)]
mod tests;
