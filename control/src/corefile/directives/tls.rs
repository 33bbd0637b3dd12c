//! `tls CERTIFICATE KEY [CA] { client_auth MODE; keylog FILE }`: the certificate of a server.

use std::path::PathBuf;

use super::super::args::Args;
use super::super::error::{Position, Problem, Reason};
use super::{Directive, Second};

/// `tls`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// Where it stands.
    pub position: Position,
    /// The server's own certificate.
    pub server: ServerTls,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// `keylog`: where session keys are written, for debugging.
    pub key_log: Option<PathBuf>,
}

/// A certificate with its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerTls {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Who signs the certificates of clients, PEM; the system's list if not given.
    pub ca: Option<PathBuf>,
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// A certificate, which may be left out and is not checked.
    Request,
    /// Some certificate.
    Require,
    /// A certificate, which may be left out.
    VerifyIfGiven,
    /// A valid certificate.
    RequireAndVerify,
}

impl Directive for Tls {
    const NAME: &'static str = "tls";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let Some(certificate) = args.next() else {
            return Err(args.problem(Reason::NotSupported {
                name: "`tls` with ACME".into(),
            }));
        };
        let key = args.required("a certificate and a key")?;
        let ca = args.next().map(|ca| ca.path());
        let server = ServerTls {
            certificate: certificate.path(),
            key: key.path(),
            ca,
        };
        let mut tls = Self {
            position: args.position(),
            server,
            client_auth: ClientAuth::default(),
            key_log: None,
        };
        args.options(|option| match option.name() {
            "client_auth" => {
                tls.client_auth = option.required("a mode")?.keyword(&MODES)?;
                Ok(())
            }
            "keylog" => {
                tls.key_log = Some(option.required("a file")?.path());
                Ok(())
            }
            _ => Err(option.unknown(Self::NAME, &["client_auth", "keylog"])),
        });
        Ok(tls)
    }
}

const MODES: [(&str, ClientAuth); 5] = [
    ("nocert", ClientAuth::None),
    ("request", ClientAuth::Request),
    ("require", ClientAuth::Require),
    ("verify_if_given", ClientAuth::VerifyIfGiven),
    ("require_and_verify", ClientAuth::RequireAndVerify),
];

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};
    use super::*;

    #[test]
    fn reads_files_and_options() {
        let tls = good("root /r\ntls c.pem /k.pem ca.pem {\n client_auth require\n keylog l\n}");
        let tls = tls.tls.unwrap();
        assert_eq!(tls.server.certificate, PathBuf::from("/r/c.pem"));
        assert_eq!(tls.server.key, PathBuf::from("/k.pem"));
        assert_eq!(tls.server.ca, Some("/r/ca.pem".into()));
        assert_eq!(tls.client_auth, ClientAuth::Require);
        assert_eq!(tls.key_log, Some("/r/l".into()));
    }

    #[test]
    fn refuses_the_rest() {
        assert_eq!(
            bad("tls {\n acme x\n}"),
            ["Corefile:2:1: `tls` with ACME is not supported yet"]
        );
        for text in [
            "tls a",
            "tls a b c d",
            "tls a b {\n client_auth\n}",
            "tls a b {\n client_auth yes\n}",
            "tls a b {\n email x\n}",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
