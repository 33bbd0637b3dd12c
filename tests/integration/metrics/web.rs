//! `prometheus { tls FILE }`: metrics over TLS, and over nothing else.

use std::path::Path;
use std::process::Command;

use martlet_tests::{Identity, Martlet, Setup, run_binary, tools};
use tempfile::TempDir;

const WEB: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

fn start(identity: &Identity, web: &str) -> Martlet {
    // The second block is at the same address, and says nothing of TLS.
    let corefile = "a.test:{PORT} {\n    prometheus 127.0.0.1:{PORT2} {\n        tls {DIR}/web.yml\n    }\n    \
                    whoami\n}\nb.test:{PORT} {\n    prometheus 127.0.0.1:{PORT2}\n    whoami\n}\n";
    let [certificate, key] = identity.client_pem();
    Setup::new(corefile)
        .file("web.yml", web)
        .file("ca.pem", identity.authority_pem())
        .file("cert.pem", identity.certificate_pem())
        .file("key.pem", identity.key_pem())
        .file("client.pem", certificate)
        .file("client.key", key)
        .start()
}

/// What `curl` gets from the metrics' address; `None` if there is no whole response.
fn curl(martlet: &Martlet, scheme: &str, arguments: &[&str]) -> Option<String> {
    let url = format!("{scheme}://127.0.0.1:{}/metrics", martlet.nth_port(2));
    let output = Command::new("curl")
        .current_dir(martlet.dir())
        .args(["-sf", "-m", "5", "--cacert", "ca.pem", &url])
        .args(arguments)
        .output()
        .expect("curl is installed");
    let body = String::from_utf8(output.stdout).expect("metrics are text");
    output.status.success().then_some(body)
}

#[test]
fn metrics_are_told_over_tls() {
    if !tools::available(&["curl"]) {
        return;
    }
    let identity = Identity::new(&["127.0.0.1"]);
    let martlet = start(&identity, WEB);
    // Somebody who never says a word keeps nobody from asking.
    let _silent = std::net::TcpStream::connect(("127.0.0.1", martlet.nth_port(2)));
    let told = curl(&martlet, "https", &[]).expect("it is served");
    assert!(told.contains("\ncoredns_build_info{"), "{told}");
    assert_eq!(curl(&martlet, "http", &[]), None);

    let mutual =
        format!("{WEB}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n");
    let martlet = start(&identity, &mutual);
    assert_eq!(curl(&martlet, "https", &[]), None);
    let own = ["--cert", "client.pem", "--key", "client.key"];
    assert!(curl(&martlet, "https", &own).is_some());
    // What was asked for is not lost with a reload.
    let corefile = std::fs::read_to_string(martlet.dir().join("Corefile")).expect("it is there");
    martlet.reload(&(corefile + "c.test:{PORT} {\n    whoami\n}\n"));
    assert_eq!(curl(&martlet, "https", &[]), None);
    assert!(curl(&martlet, "https", &own).is_some());
}

#[test]
fn what_cannot_be_served_over_tls_is_told_by_its_line() {
    let dir = TempDir::new().expect("the temporary directory is writable");
    let write = |name: &str, text: &str| {
        std::fs::write(Path::new(dir.path()).join(name), text).expect("as before");
    };
    let corefile = ".:27353 {\n    prometheus {\n        tls web.yml\n    }\n    whoami\n}\n";
    write("Corefile", corefile);
    for (web, code, words) in [
        (
            None,
            0,
            "warning: Corefile:2:5: prometheus: cannot read web.yml",
        ),
        (
            Some("{}"),
            1,
            "error: Corefile:2:5: prometheus: web.yml has no `tls_server_config`",
        ),
        (
            Some("basic_auth_users: {a: b}\n"),
            1,
            "error: Corefile:2:5: prometheus: web.yml cannot be used",
        ),
    ] {
        if let Some(text) = web {
            write("web.yml", text);
        }
        let finished = run_binary(dir.path(), &["check", "Corefile"]);
        assert_eq!(finished.code, Some(code), "{}", finished.stderr);
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
    }
    let served = run_binary(dir.path(), &["-conf", "Corefile"]);
    assert_eq!(served.code, Some(1), "{}", served.stderr);
}
