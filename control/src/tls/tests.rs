use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConnection, ProtocolVersion, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::corefile::Position;
use crate::corefile::directives::tls::ServerTls;

/// A folder with an authority, and pairs signed by it and by another one.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: TempDir::new().unwrap(),
        };
        for authority in ["ours", "theirs"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            files.write(authority, params.self_signed(&key).unwrap().pem());
            let issuer = Issuer::new(params, key);
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["dns.test".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            files.write(&format!("{authority}.pem"), certificate.pem());
            files.write(&format!("{authority}.key"), key.serialize_pem());
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn server(&self, certificate: &str, key: &str, ca: Option<&str>) -> Tls {
        Tls {
            position: Position {
                file: "Corefile".into(),
                line: 1,
                column: 1,
            },
            server: ServerTls {
                certificate: self.path(certificate),
                key: self.path(key),
                ca: ca.map(|ca| self.path(ca)),
            },
            client_auth: ClientAuth::None,
            key_log: None,
        }
    }

    fn client(&self, of: Option<&str>, ca: &str) -> ForwardTls {
        let pair = |of| {
            let (certificate, key) = (format!("{of}.pem"), format!("{of}.key"));
            (self.path(&certificate), self.path(&key))
        };
        ForwardTls {
            identity: of.map(pair),
            ca: Some(self.path(ca)),
        }
    }

    /// An error's text with file names alone.
    fn text(&self, error: &TlsError) -> String {
        let folder = format!("{}/", self.folder.path().display());
        error.to_string().replace(&folder, "")
    }
}

/// Lets a client and a server shake hands without a network; whoever objects first is heard.
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = "dns.test".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    while client.wants_write() || server.wants_write() {
        let mut octets = Vec::new();
        client.write_tls(&mut octets).unwrap();
        server.read_tls(&mut octets.as_slice()).unwrap();
        server.process_new_packets()?;
        octets.clear();
        while server.wants_write() {
            server.write_tls(&mut octets).unwrap();
        }
        let mut unread = octets.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

#[test]
fn both_ends_agree() {
    let files = Files::new();
    let server = server_config(&files.server("ours.pem", "ours.key", None), &[b"h2"]).unwrap();
    let client = client_config(&files.client(None, "ours"), &[b"h3", b"h2"]).unwrap();
    let (first, _) = handshake(&client, &server).unwrap();
    assert_eq!(first.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(first.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(first.handshake_kind(), Some(rustls::HandshakeKind::Full));
    let (second, _) = handshake(&client, &server).unwrap();
    let resumed = Some(rustls::HandshakeKind::Resumed);
    assert_eq!(second.handshake_kind(), resumed, "the session is kept");
    let stranger = client_config(&files.client(None, "theirs"), &[]).unwrap();
    let error = handshake(&stranger, &server).unwrap_err();
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(_)),
        "{error}"
    );
}

#[test]
fn clients_are_asked_for_certificates() {
    let files = Files::new();
    // Who comes without one, with one of somebody else, with one of ours.
    let table = [
        (ClientAuth::None, [true, true, true]),
        (ClientAuth::Request, [true, true, true]),
        (ClientAuth::Require, [false, true, true]),
        (ClientAuth::VerifyIfGiven, [true, false, true]),
        (ClientAuth::RequireAndVerify, [false, false, true]),
    ];
    for (mode, welcome) in table {
        let mut tls = files.server("ours.pem", "ours.key", Some("ours"));
        tls.client_auth = mode;
        let server = server_config(&tls, &[]).unwrap();
        for (of, welcome) in [None, Some("theirs"), Some("ours")]
            .into_iter()
            .zip(welcome)
        {
            let mut client =
                ClientConfig::clone(&client_config(&files.client(of, "ours"), &[]).unwrap());
            // Shows its certificate whether the server knows its authority or not.
            if of.is_some() {
                let resolver = Arc::clone(&client.client_auth_cert_resolver);
                client.client_auth_cert_resolver = Arc::new(Insistent(resolver));
            }
            let outcome = handshake(&Arc::new(client), &server);
            assert_eq!(outcome.is_ok(), welcome, "{mode:?}, certificate of {of:?}");
            if let Ok((_, server)) = outcome {
                let shown = of.is_some() && mode != ClientAuth::None;
                assert_eq!(
                    server.peer_certificates().is_some(),
                    shown,
                    "{mode:?} {of:?}"
                );
            }
        }
    }
}

/// A client that does not heed hints.
#[derive(Debug)]
struct Insistent(Arc<dyn rustls::client::ResolvesClientCert>);

impl rustls::client::ResolvesClientCert for Insistent {
    fn resolve(
        &self,
        _: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.0.resolve(&[], schemes)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn session_keys_are_appended() {
    let files = Files::new();
    files.write("keys", "before\n");
    let mut tls = files.server("ours.pem", "ours.key", None);
    tls.key_log = Some(files.path("keys"));
    let server = server_config(&tls, &[]).unwrap();
    let client = client_config(&files.client(None, "ours"), &[]).unwrap();
    handshake(&client, &server).unwrap();
    let text = fs::read_to_string(files.path("keys")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("before"));
    let labels = lines.map(|line| {
        let [label, random, secret] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let is_hex = |text: &str| text.bytes().all(|octet| octet.is_ascii_hexdigit());
        assert!(random.len() == 64 && is_hex(random), "{line}");
        assert!(secret.len() >= 64 && is_hex(secret), "{line}");
        label
    });
    let labels = labels.collect::<Vec<_>>();
    for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"] {
        assert!(labels.contains(&label), "{labels:?}");
    }
}

#[test]
fn a_new_key_log_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = Files::new();
    KeyLogFile::open(&files.path("keys")).unwrap();
    let mode = fs::metadata(files.path("keys"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0);
}

#[test]
fn names_what_is_wrong_with_a_file() {
    let files = Files::new();
    files.write("text", "certificate");
    files.write("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    files.write(
        "garbled",
        "-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n",
    );
    files.write(
        "hollow",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    files.write(
        "hollow.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    files.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let (pem, key) = ("ours.pem", "ours.key");
    let table = [
        (
            "none",
            key,
            None,
            "cannot read none: No such file or directory",
        ),
        ("text", key, None, "text is not a PEM file"),
        (
            "cut",
            key,
            None,
            "cut is damaged: a section in it does not end",
        ),
        (
            "garbled",
            key,
            None,
            "garbled is damaged: a section in it is not base64",
        ),
        (
            "hollow",
            key,
            None,
            "the certificate in hollow cannot be used: ",
        ),
        (key, key, None, "ours.key has no certificate in it"),
        (pem, "none", None, "cannot read none: No such file"),
        (pem, "text", None, "text is not a PEM file"),
        (
            pem,
            pem,
            None,
            "ours.pem has no private key in it, or only an encrypted one",
        ),
        (
            pem,
            "encrypted.key",
            None,
            "encrypted.key has no private key in it, or only an",
        ),
        (
            pem,
            "hollow.key",
            None,
            "the private key in hollow.key cannot be used: ",
        ),
        (
            pem,
            "theirs.key",
            None,
            "the private key in theirs.key is not that of the certificate in ours.pem",
        ),
        (pem, key, Some("none"), "cannot read none: No such file"),
        (pem, key, Some(key), "ours.key has no certificate in it"),
        (
            pem,
            key,
            Some("hollow"),
            "no certificate in hollow can be used",
        ),
    ];
    for (certificate, key, ca, text) in table {
        let error = server_config(&files.server(certificate, key, ca), &[]).unwrap_err();
        let found = files.text(&error);
        assert!(found.starts_with(text), "{found:?} instead of {text:?}");
        // Upstreams' files are read by the same rules.
        let tls = ForwardTls {
            identity: Some((files.path(certificate), files.path(key))),
            ca: Some(files.path(ca.unwrap_or("ours"))),
        };
        let error = client_config(&tls, &[]).unwrap_err();
        assert_eq!(files.text(&error), found);
    }
    let mut tls = files.server(pem, key, None);
    tls.key_log = Some(files.path("nowhere/keys"));
    let error = server_config(&tls, &[]).unwrap_err();
    let found = files.text(&error);
    assert!(
        found.starts_with("cannot write session keys to nowhere/keys: "),
        "{found}"
    );
}
