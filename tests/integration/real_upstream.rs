//! A resolver that other people wrote as upstream: Unbound with a zone of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use martlet_tests::{Client, Process, tools, wait_until};
use tempfile::TempDir;

use crate::fixtures::{forward, resolver};

/// Unbound, answering for `real.test.` and nothing else.
struct Unbound {
    address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

fn start() -> Unbound {
    let dir = TempDir::new().expect("the temporary directory is writable");
    let port = free_port();
    let mut zone = String::new();
    for record in [
        "www.real.test. 300 IN A 192.0.2.80",
        "www.real.test. 300 IN AAAA 2001:db8::80",
        "alias.real.test. 120 IN CNAME www.real.test.",
        "real.test. 600 IN MX 10 mail.real.test.",
        "_http._tcp.real.test. 60 IN SRV 1 2 80 www.real.test.",
        "80.2.0.192.in-addr.arpa. 60 IN PTR www.real.test.",
    ] {
        zone += &format!("  local-data: \"{record}\"\n");
    }
    for n in 0..100 {
        zone += &format!("  local-data: \"wide.real.test. 60 IN A 198.51.100.{n}\"\n");
    }
    let text = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  port: {port}\n  do-daemonize: no\n  \
         username: \"\"\n  chroot: \"\"\n  directory: \"{0}\"\n  pidfile: \"{0}/pid\"\n  \
         use-syslog: no\n  logfile: \"\"\n  do-not-query-localhost: yes\n  \
         module-config: \"iterator\"\n  local-zone: \"real.test.\" static\n  \
         local-zone: \".\" refuse\n  local-zone: \"2.0.192.in-addr.arpa.\" static\n{zone}\
         remote-control:\n  control-enable: no\n",
        dir.path().display()
    );
    let config = dir.path().join("unbound.conf");
    fs::write(&config, text).expect("the directory is writable");
    let mut command = Command::new("unbound");
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-d", "-c"])
        .arg(&config);
    let mut process = Process::start(&mut command);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client = Client {
        patience: Duration::from_millis(300),
        ..Client::new(address)
    };
    let query = martlet_tests::dns::Query::new("www.real.test.", "A");
    let up = wait_until(Duration::from_secs(10), || {
        if process.ended().is_some() {
            return Some(false);
        }
        client.send(&query).map(|reply| !reply.an.is_empty())
    });
    assert_eq!(up, Some(true), "unbound: {}", process.output());
    Unbound {
        address,
        _process: process,
        _dir: dir,
    }
}

fn free_port() -> u16 {
    let taken = |port: u16| {
        UdpSocket::bind(("127.0.0.1", port)).is_err()
            || TcpListener::bind(("127.0.0.1", port)).is_err()
    };
    let start = 31_000 + u16::try_from(std::process::id() % 900).expect("below 900");
    (start..32_700)
        .find(|port| !taken(*port))
        .expect("some port is free")
}

#[test]
fn dig_gets_unbounds_answers() {
    if !tools::available(&["dig", "unbound"]) {
        return;
    }
    let unbound = start();
    for (options, plugins) in [("", ""), ("force_tcp", ""), ("prefer_udp", "cache 60")] {
        let directives = format!("{plugins}\n{}", forward(&[unbound.address], options));
        let martlet = resolver(&directives).start();
        for (arguments, expected) in [
            ("www.real.test A +short", "192.0.2.80\n"),
            ("www.real.test A +short +tcp", "192.0.2.80\n"),
            ("www.real.test AAAA +short", "2001:db8::80\n"),
            ("WWW.Real.TEST A +short", "192.0.2.80\n"),
            ("real.test MX +short", "10 mail.real.test.\n"),
            ("_http._tcp.real.test SRV +short", "1 2 80 www.real.test.\n"),
            ("-x 192.0.2.80 +short", "www.real.test.\n"),
            ("none.real.test A +short", ""),
        ] {
            let arguments: Vec<_> = arguments.split(' ').collect();
            let output = tools::dig(martlet.port(), &arguments);
            assert_eq!(output, expected, "`{options}`, `{plugins}`: {arguments:?}");
        }
        for (arguments, words) in [
            ("none.real.test A", &["status: NXDOMAIN"][..]),
            ("www.real.test TXT", &["status: NOERROR", "ANSWER: 0"]),
            ("alias.real.test A", &["status: NOERROR", "www.real.test."]),
            ("elsewhere.example A", &["status: REFUSED"]),
            ("www.real.test A +dnssec", &["flags: do;", "192.0.2.80"]),
            ("wide.real.test A +noedns +ignore", &["flags: qr", " tc "]),
            ("wide.real.test A +tcp", &["ANSWER: 100"]),
            // dig asks again over TCP by itself.
            ("wide.real.test A +noedns", &["ANSWER: 100"]),
        ] {
            let arguments: Vec<_> = arguments.split(' ').collect();
            let output = tools::dig(martlet.port(), &arguments);
            for word in words {
                assert!(output.contains(word), "`{options}`, `{word}`: {output}");
            }
            for complaint in ["malformed", "bad packet", "mismatch", "extra bytes"] {
                assert!(!output.contains(complaint), "{output}");
            }
        }
    }
}

/// The same facts whether asked directly or through us.
#[test]
fn nothing_is_lost_on_the_way() {
    if !tools::available(&["unbound"]) {
        return;
    }
    let unbound = start();
    let martlet = resolver(&forward(&[unbound.address], "")).start();
    let direct = Client::new(unbound.address);
    for (name, rtype) in [
        ("www.real.test.", "A"),
        ("www.real.test.", "AAAA"),
        ("www.real.test.", "ANY"),
        ("alias.real.test.", "CNAME"),
        ("real.test.", "MX"),
        ("_http._tcp.real.test.", "SRV"),
        ("none.real.test.", "A"),
        ("elsewhere.example.", "A"),
        ("wide.real.test.", "A"),
    ] {
        let [expected, found] =
            [direct, martlet.client()].map(|client| client.ask_tcp(name, rtype));
        assert_eq!(found, expected, "{name} {rtype}");
    }
}
