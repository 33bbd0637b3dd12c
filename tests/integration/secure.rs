//! DNS over TLS and HTTPS: our own listeners, and upstreams that we ask so.

use std::fs;
use std::process::Command;
use std::time::Duration;

use martlet_tests::dns::{Query, decode};
use martlet_tests::{
    Client, Fault, Identity, Martlet, TlsFront, Upstream, run_binary, tools, wait_until,
    wild_address,
};
use tempfile::TempDir;

use crate::fixtures::resolver;

/// A server on three ports: plain (`ready.local` only), TLS and HTTPS; the latter two forward. Its
/// certificate is for `dns.test`.
fn serve(upstream: &Upstream) -> Martlet {
    let identity = Identity::new(&["dns.test", "127.0.0.1"]);
    let to = upstream.address();
    let block = |url: &str| {
        format!("{url} {{\n    bind 127.0.0.1\n    tls cert.pem key.pem\n    forward . {to}\n}}\n")
    };
    let corefile = format!(
        "ready.local:{{PORT}} {{\n    bind 127.0.0.1\n    whoami\n}}\n{}{}",
        block("tls://.:{PORT2}"),
        block("https://.:{PORT3}")
    );
    martlet_tests::Setup::new(&corefile)
        .until_it_answers("x.ready.local.")
        .file("ca.pem", identity.authority_pem())
        .file("cert.pem", identity.certificate_pem())
        .file("key.pem", identity.key_pem())
        .start()
}

#[test]
fn kdig_is_answered_over_tls_and_https() {
    if !tools::available(&["kdig"]) {
        return;
    }
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream);
    let authority = format!("+tls-ca={}", martlet.dir().join("ca.pem").display());
    for (port, transport) in [
        (martlet.nth_port(2), "+tls"),
        (martlet.nth_port(3), "+https"),
        (martlet.nth_port(3), "+https-get"),
    ] {
        for (name, rtype, expected) in [
            ("a.up.test", "A", "192.0.2.1"),
            ("both.up.test", "AAAA", "2001:db8::2"),
            ("nothing.up.test", "A", "NXDOMAIN"),
            // 3 KB, which would not fit a datagram.
            ("big.up.test", "TXT", "llllllll"),
        ] {
            let arguments = [name, rtype, transport, &authority, "+tls-hostname=dns.test"];
            let output = tools::kdig(port, &arguments);
            assert!(output.contains(expected), "{transport} {name}: {output}");
            assert!(!output.contains("WARNING"), "{transport} {name}: {output}");
        }
        // It is the certificate that was configured: another name does not fit.
        let arguments = [
            "a.up.test",
            "A",
            transport,
            &authority,
            "+tls-hostname=b.test",
        ];
        let output = tools::kdig(port, &arguments);
        assert!(!output.contains("192.0.2.1"), "{transport}: {output}");
    }
}

#[test]
fn curl_is_answered_over_https() {
    if !tools::available(&["curl"]) {
        return;
    }
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream);
    let dir = martlet.dir();
    fs::write(dir.join("query"), Query::new("a.up.test.", "A").wire(0)).expect("it is writable");
    let url = format!("https://dns.test:{}", martlet.nth_port(3));
    let resolve = format!("dns.test:{}:127.0.0.1", martlet.nth_port(3));
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command
            .current_dir(dir)
            .args(["-sS", "--max-time", "5", "--http2", "--cacert", "ca.pem"])
            .args(["--resolve", &resolve, "-o", "reply", "-D", "head"])
            .args(["-w", "%{http_code} %{content_type} %{http_version}"])
            .args(arguments);
        let output = command.output().expect("curl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let message = "content-type: application/dns-message";
    let query = ["--data-binary", "@query", "-H", message];
    let ask = format!("{url}/dns-query");
    // RFC 8484 §4.1.1: the same question in the URL, base64url without padding.
    let in_url = format!("{ask}?dns=AAABAAABAAAAAAAAAWECdXAEdGVzdAAAAQAB");
    for arguments in [
        &[ask.as_str(), query[0], query[1], query[2], query[3]][..],
        &[&in_url],
    ] {
        let said = curl(arguments);
        assert_eq!(said, "200 application/dns-message 2", "{arguments:?}");
        let reply = fs::read(dir.join("reply")).expect("curl wrote it");
        let reply = decode(&reply, 0);
        assert_eq!(reply.rdata("A").collect::<Vec<_>>(), ["192.0.2.1"]);
        // RFC 8484 §5.1: as long as the records live.
        let head = fs::read_to_string(dir.join("head")).expect("curl wrote it");
        assert!(
            head.to_lowercase().contains("cache-control: max-age=60"),
            "{head}"
        );
    }
    let post = |url: &str, kind: &str| {
        let header = format!("content-type: {kind}");
        ["--data-binary", "@query", "-H", &header, url]
            .map(str::to_owned)
            .to_vec()
    };
    for (arguments, status) in [
        (
            post(&format!("{url}/elsewhere"), "application/dns-message"),
            "404",
        ),
        (post(&ask, "text/plain"), "415"),
        (vec![format!("{url}/elsewhere?dns=AAAB")], "404"),
        (vec![format!("{ask}?dns=!!!")], "400"),
        (vec![ask.clone()], "400"),
        (vec![ask.clone(), "-X".into(), "DELETE".into()], "405"),
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        // A refusal must not overtake what the client still sends.
        for _ in 0..5 {
            let said = curl(&arguments);
            assert!(
                said.starts_with(status),
                "{arguments:?}: {said}, not {status}"
            );
        }
    }
    // It is still there.
    let said = curl(&[&ask, query[0], query[1], query[2], query[3]]);
    assert!(said.starts_with("200"), "{said}");
}

#[test]
fn clients_can_be_asked_who_they_are() {
    if !tools::available(&["kdig"]) {
        return;
    }
    let (identity, other) = (Identity::new(&["dns.test"]), Identity::new(&["dns.test"]));
    let answered = "192.0.2.1";
    // Mode; then whether a client is answered without a certificate, with ours, with another's.
    for (mode, expected) in [
        ("nocert", [true, true, true]),
        ("request", [true, true, true]),
        ("require", [false, true, true]),
        ("verify_if_given", [true, true, false]),
        ("require_and_verify", [false, true, false]),
    ] {
        let upstream = Upstream::start("a");
        let corefile = format!(
            "ready.local:{{PORT}} {{\n    bind 127.0.0.1\n    whoami\n}}\n\
             tls://.:{{PORT2}} {{\n    bind 127.0.0.1\n    tls cert.pem key.pem ca.pem {{\n        \
             client_auth {mode}\n    }}\n    forward . {}\n}}\n",
            upstream.address()
        );
        let martlet = martlet_tests::Setup::new(&corefile)
            .until_it_answers("x.ready.local.")
            .file("ca.pem", identity.authority_pem())
            .file("cert.pem", identity.certificate_pem())
            .file("key.pem", identity.key_pem())
            .start();
        let files = |client: &Identity, name: &str| {
            let [certificate, key] = client.client_pem();
            [("certfile", certificate), ("keyfile", key)].map(|(kind, text)| {
                let path = martlet.dir().join(format!("{name}-{kind}"));
                fs::write(&path, text).expect("the directory is writable");
                format!("+tls-{kind}={}", path.display())
            })
        };
        let clients = [
            Vec::new(),
            files(&identity, "ours").to_vec(),
            files(&other, "another").to_vec(),
        ];
        for (client, expected) in clients.iter().zip(expected) {
            let mut arguments = vec!["a.up.test", "A", "+short", "+tls"];
            arguments.extend(client.iter().map(String::as_str));
            let output = tools::kdig(martlet.nth_port(2), &arguments);
            assert_eq!(
                output.contains(answered),
                expected,
                "{mode}, {client:?}: {output}"
            );
        }
    }
}

/// Clients that say nothing, or nothing sensible, hold nobody up.
#[test]
fn noise_on_a_tls_port_harms_nobody() {
    if !tools::available(&["kdig"]) {
        return;
    }
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream);
    for port in [martlet.nth_port(2), martlet.nth_port(3)] {
        let client = Client::new(([127, 0, 0, 1], port).into());
        let silent: Vec<_> = (0..20).map(|_| client.connect()).collect();
        for octets in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 2000], b"\x16\x03\x01"] {
            // A server that closes at the first octet is right.
            let _ = std::io::Write::write_all(&mut client.connect().stream, octets);
        }
        let transport = if port == martlet.nth_port(2) {
            "+tls"
        } else {
            "+https"
        };
        let output = tools::kdig(port, &["a.up.test", "A", transport]);
        assert!(output.contains("192.0.2.1"), "{transport}: {output}");
        drop(silent);
    }
    assert!(!martlet.log().contains("panicked"), "{}", martlet.log());
}

#[test]
fn upstreams_are_asked_over_tls() {
    let identity = Identity::new(&["dns.test"]);
    let upstream = Upstream::start("a");
    let front = TlsFront::start(&identity, &upstream);
    let to = front.address();
    for directive in [
        format!("forward . tls://{to} {{\ntls {{DIR}}/ca.pem\ntls_servername dns.test\n}}"),
        format!("forward . tls://{to}%dns.test {{\ntls {{DIR}}/ca.pem\n}}"),
    ] {
        let setup = resolver(&directive).file("ca.pem", identity.authority_pem());
        let martlet = setup.start();
        let before = front.handshakes();
        let client = martlet.client();
        for n in 0..20 {
            let name = format!("n{n}.wild.test.");
            let reply = client.ask(&name, "A");
            assert_eq!(reply.addresses(), [wild_address(&name)], "{directive}");
            let reply = client.ask_tcp(&name, "A");
            assert_eq!(reply.addresses(), [wild_address(&name)], "{directive}");
        }
        let handshakes = front.handshakes() - before;
        assert!(
            (1..=8).contains(&handshakes),
            "connections are used again: {handshakes} for 40"
        );
    }
}

/// The HTTPS listener of one server is the upstream of another.
#[test]
fn upstreams_are_asked_over_https() {
    let upstream = Upstream::start("a");
    let front = serve(&upstream);
    let to = front.nth_port(3);
    let ca = fs::read_to_string(front.dir().join("ca.pem")).expect("it was written");
    for options in ["", "doh_method GET", "doh_method POST"] {
        let directive = format!(
            "forward . https://127.0.0.1:{to} {{\ntls {{DIR}}/ca.pem\ntls_servername dns.test\n\
             {options}\n}}"
        );
        let martlet = resolver(&directive).file("ca.pem", &ca).start();
        let client = martlet.client();
        for n in 0..10 {
            let name = format!("n{n}.wild.test.");
            for reply in [client.ask(&name, "A"), client.ask_tcp(&name, "A")] {
                assert_eq!(reply.addresses(), [wild_address(&name)], "`{options}`");
                assert_eq!(reply.q[0][0], name);
            }
        }
        let whole = client.ask_tcp("big.up.test.", "TXT");
        assert_eq!(whole.an.len(), 1, "`{options}`: {whole:?}");
        assert!(client.ask("big.up.test.", "TXT").has("TC"), "`{options}`");
    }
}

#[test]
fn upstreams_must_be_who_they_say() {
    let (identity, other) = (Identity::new(&["dns.test"]), Identity::new(&["dns.test"]));
    let upstream = Upstream::start("a");
    let front = TlsFront::start(&identity, &upstream);
    let to = front.address();
    for (ca, name) in [
        (identity.authority_pem(), "tls_servername other.test"),
        // The certificate has no address.
        (identity.authority_pem(), ""),
        (other.authority_pem(), "tls_servername dns.test"),
    ] {
        let directive = format!("forward . tls://{to} {{\ntls {{DIR}}/ca.pem\n{name}\n}}");
        let martlet = resolver(&directive).file("ca.pem", ca).start();
        let client = Client {
            patience: Duration::from_secs(8),
            ..martlet.client()
        };
        let reply = client.ask("a.up.test.", "A");
        assert_eq!((reply.rcode.as_str(), reply.an.len()), ("SERVFAIL", 0));
    }
    assert_eq!(upstream.count("a.up.test."), 0, "nothing was said");
    // Nor is a server without TLS spoken to in the clear.
    let plain = upstream.address();
    let directive = format!("forward . tls://{plain} {{\ntls {{DIR}}/ca.pem\n}}");
    let setup = resolver(&directive).file("ca.pem", identity.authority_pem());
    let martlet = setup.start();
    let client = Client {
        patience: Duration::from_secs(8),
        ..martlet.client()
    };
    assert_eq!(client.ask("a.up.test.", "A").rcode, "SERVFAIL");
    assert_eq!(upstream.count("a.up.test."), 0, "nothing was said");
}

#[test]
fn a_tls_upstream_that_breaks_off_is_asked_again() {
    let identity = Identity::new(&["dns.test"]);
    let upstream = Upstream::start("a");
    let front = TlsFront::start(&identity, &upstream);
    let to = front.address();
    let directive =
        format!("forward . tls://{to}%dns.test {{\ntls {{DIR}}/ca.pem\nmax_fails 0\n}}");
    let setup = resolver(&directive).file("ca.pem", identity.authority_pem());
    let martlet = setup.start();
    let client = martlet.client();
    let right = |name: &str| client.ask(name, "A").addresses() == [wild_address(name)];
    assert!(right("n0.wild.test."));
    upstream.misbehave_times(1, "*", Fault::HalfAndClose);
    assert!(right("n1.wild.test."));
    assert!(right("n2.wild.test."));
}

/// Code 1, the place in the Corefile, and what is wrong.
#[test]
fn certificates_that_cannot_be_used_are_named() {
    let identity = Identity::new(&["dns.test"]);
    let other = Identity::new(&["dns.test"]);
    let dir = TempDir::new().expect("the temporary directory is writable");
    identity.write(dir.path());
    for (name, text) in [
        ("other.pem", other.key_pem()),
        ("empty.pem", ""),
        ("words.pem", "no certificate at all\n"),
    ] {
        fs::write(dir.path().join(name), text).expect("the directory is writable");
    }
    let listener = |arguments: &str| {
        format!("tls://.:27361 {{\n    bind 127.0.0.1\n    whoami\n    tls {arguments}\n}}\n")
    };
    let upstream = |arguments: &str| {
        format!(
            ".:27361 {{\n    bind 127.0.0.1\n    forward . tls://127.0.0.1 {{\n        \
             tls {arguments}\n    }}\n}}\n"
        )
    };
    for (corefile, line, word) in [
        (listener("missing.pem key.pem"), "Corefile:4", "missing.pem"),
        (
            listener("cert.pem missing.pem"),
            "Corefile:4",
            "missing.pem",
        ),
        (listener("empty.pem key.pem"), "Corefile:4", "empty.pem"),
        (listener("words.pem key.pem"), "Corefile:4", "words.pem"),
        (listener("cert.pem words.pem"), "Corefile:4", "words.pem"),
        (listener("cert.pem other.pem"), "Corefile:4", ""),
        (upstream("missing.pem"), "Corefile:3", "missing.pem"),
        (upstream("words.pem"), "Corefile:3", "words.pem"),
        (
            upstream("cert.pem missing.pem"),
            "Corefile:3",
            "missing.pem",
        ),
    ] {
        fs::write(dir.path().join("Corefile"), &corefile).expect("the directory is writable");
        let finished = run_binary(dir.path(), &["-conf", "Corefile"]);
        let text = &finished.stderr;
        assert_eq!(finished.code, Some(1), "{corefile}{text}");
        for expected in [line, word] {
            assert!(text.contains(expected), "`{expected}` is not in: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// A listener for TLS without a certificate cannot work.
#[test]
fn tls_needs_a_certificate() {
    let dir = TempDir::new().expect("the temporary directory is writable");
    for scheme in ["tls", "https"] {
        let corefile = format!("{scheme}://.:27362 {{\n    bind 127.0.0.1\n    whoami\n}}\n");
        fs::write(dir.path().join("Corefile"), &corefile).expect("the directory is writable");
        let finished = run_binary(dir.path(), &["-conf", "Corefile"]);
        assert_eq!(finished.code, Some(1), "{scheme}: {}", finished.stderr);
        assert!(
            finished.stderr.contains("Corefile:1") && finished.stderr.contains("tls"),
            "{}",
            finished.stderr
        );
    }
}

#[test]
fn a_tls_server_ends_in_order() {
    let upstream = Upstream::start("a");
    let mut martlet = serve(&upstream);
    let ports = [martlet.nth_port(2), martlet.nth_port(3)];
    let clients = ports.map(|port| Client::new(([127, 0, 0, 1], port).into()));
    // Connections that are open do not keep it.
    let _open = clients.map(|client| client.connect());
    assert!(martlet.stop().success());
    let closed = wait_until(Duration::from_secs(2), || {
        let refused = |port: &u16| std::net::TcpStream::connect(("127.0.0.1", *port)).is_err();
        ports.iter().all(refused).then_some(())
    });
    assert!(closed.is_some());
}
