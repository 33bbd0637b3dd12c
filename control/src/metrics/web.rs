//! What `prometheus { tls FILE }` names: the web configuration that Prometheus' exporters share, as far
//! as it is about TLS. What it has besides (passwords, headers) is refused, not passed over.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use serde::Deserialize;

use crate::corefile::{ClientAuth, Position, ServerTls, Tls};
use crate::tls::{self, TlsError};

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no web configuration, or has more in it than TLS.
    #[error("{} cannot be used: {source}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: yaml_serde::Error,
    },
    /// It would leave the metrics without TLS.
    #[error("{} has no `tls_server_config`", .0.display())]
    NoTls(PathBuf),
    /// An authority of clients that nobody asks.
    #[error("{} has a `client_ca_file` and no `client_auth_type`", .0.display())]
    NoClientAuth(PathBuf),
    /// What it names cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl WebError {
    /// Whether a file is not there at all.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Tls(error) => error.is_absent(),
            Self::Yaml { .. } | Self::NoTls(_) | Self::NoClientAuth(_) => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebConfig {
    tls_server_config: Option<TlsServerConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsServerConfig {
    cert_file: PathBuf,
    key_file: PathBuf,
    #[serde(default)]
    client_auth_type: ClientAuthType,
    client_ca_file: Option<PathBuf>,
}

/// Go's names of the modes.
#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
enum ClientAuthType {
    #[default]
    NoClientCert,
    RequestClientCert,
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// The TLS that a web configuration asks for. Files in it are looked for beside it.
///
/// # Errors
///
/// What is wrong with it, or with a file that it names.
pub fn read(path: &Path, position: &Position) -> Result<Arc<ServerConfig>, WebError> {
    let text = std::fs::read_to_string(path).map_err(|source| WebError::Read {
        path: path.into(),
        source,
    })?;
    let web: WebConfig = yaml_serde::from_str(&text).map_err(|source| WebError::Yaml {
        path: path.into(),
        source,
    })?;
    let Some(found) = web.tls_server_config else {
        return Err(WebError::NoTls(path.into()));
    };
    let client_auth = match found.client_auth_type {
        ClientAuthType::NoClientCert if found.client_ca_file.is_some() => {
            return Err(WebError::NoClientAuth(path.into()));
        }
        ClientAuthType::NoClientCert => ClientAuth::None,
        ClientAuthType::RequestClientCert => ClientAuth::Request,
        ClientAuthType::RequireAnyClientCert => ClientAuth::Require,
        ClientAuthType::VerifyClientCertIfGiven => ClientAuth::VerifyIfGiven,
        ClientAuthType::RequireAndVerifyClientCert => ClientAuth::RequireAndVerify,
    };
    let beside = |file: PathBuf| path.parent().unwrap_or_else(|| Path::new("")).join(file);
    let wanted = Tls {
        position: position.clone(),
        server: ServerTls {
            certificate: beside(found.cert_file),
            key: beside(found.key_file),
            ca: found.client_ca_file.map(beside),
        },
        client_auth,
        key_log: None,
    };
    Ok(tls::server_config(&wanted, &[b"http/1.1"])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Position {
        Position {
            file: "Corefile".into(),
            line: 1,
            column: 1,
        }
    }

    #[test]
    fn what_is_not_tls_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        let tls = "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\n";
        let with = |more: &str| format!("{tls}{more}");
        for (text, expected, is_absent) in [
            (String::new(), "has no `tls_server_config`", false),
            ("{}".to_owned(), "has no `tls_server_config`", false),
            ("- a".to_owned(), "cannot be used", false),
            (
                with("basic_auth_users:\n  a: b\n"),
                "basic_auth_users",
                false,
            ),
            (with("  min_version: TLS13\n"), "min_version", false),
            (with("  client_auth_type: Any\n"), "Any", false),
            (
                with("  client_ca_file: ca.pem\n"),
                "no `client_auth_type`",
                false,
            ),
            // Beside the file that names it.
            (
                with(""),
                &*format!("cannot read {}", dir.path().join("c.pem").display()),
                true,
            ),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = read(&path, &place()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert_eq!(error.is_absent(), is_absent, "{text}");
        }
        let missing = read(&dir.path().join("none"), &place()).unwrap_err();
        assert!(missing.is_absent(), "{missing}");
    }
}
