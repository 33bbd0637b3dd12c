//! The process: how it starts, why it does not, how it ends.

use std::fs;
use std::net::{TcpListener, UdpSocket};

use martlet_tests::{Finished, Martlet, Setup, run_binary};
use rustix::process::Signal;
use std::time::Duration;
use tempfile::TempDir;

use crate::fixtures::{COREFILE, cluster, manifest};

/// Runs the binary with a Corefile that is expected to stop it.
fn run(corefile: &str, arguments: &[&str]) -> Finished {
    let dir = TempDir::new().expect("the temporary directory is writable");
    fs::write(dir.path().join("Corefile"), corefile).expect("the directory is writable");
    fs::write(dir.path().join("cluster.yaml"), manifest(&cluster())).expect("as before");
    run_binary(dir.path(), arguments)
}

/// Asserts a failed start: code 1, these words on standard error, said once and without panic.
fn fails(finished: &Finished, words: &[&str]) {
    let text = &finished.stderr;
    assert_eq!(finished.code, Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(
        (1..=12).contains(&text.lines().count()),
        "one clear message: {text}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = udp.local_addr().expect("it is bound").port();
    let corefile = format!("example.org:{port} {{\n    bind 127.0.0.1\n    whoami\n}}\n");
    fails(
        &run(&corefile, &["-conf", "Corefile"]),
        &[&format!("127.0.0.1:{port}")],
    );
    drop(udp);
    let tcp = TcpListener::bind(("127.0.0.1", port)).expect("it was just free");
    fails(
        &run(&corefile, &["-conf", "Corefile"]),
        &[&format!("127.0.0.1:{port}")],
    );
    drop(tcp);
}

#[test]
fn faults_of_the_corefile_have_their_place() {
    for (corefile, words) in [
        (
            ".:{P} {\n    kubernets cluster.local\n}\n",
            &["Corefile:2", "kubernets", "kubernetes"][..],
        ),
        (
            ".:{P} {\n    kubernetes cluster.local {\n        ttl x\n    }\n}\n",
            &["Corefile:3", "`x`"],
        ),
        (".:{P} {\n    whoami\n", &["Corefile"]),
        (
            ".:{P} {\n    whoami\n}\n.:{P} {\n    whoami\n}\n",
            &["Corefile:4"],
        ),
        (
            ".:{P} {\n    kubernetes cluster.local {\n        manifests missing.yaml\n    }\n}\n",
            &["missing.yaml"],
        ),
        (
            ".:{P} {\n    kubernetes cluster.local {\n        kubeconfig missing.conf\n    }\n}\n",
            &["missing.conf"],
        ),
    ] {
        let corefile = corefile.replace("{P}", "27353");
        fails(&run(&corefile, &["-conf", "Corefile"]), words);
    }
    fails(&run("", &["-conf", "elsewhere"]), &["elsewhere"]);
}

#[test]
fn broken_manifests_are_named() {
    let dir = TempDir::new().expect("the temporary directory is writable");
    let corefile = COREFILE.replace("{PORT}", "27354");
    fs::write(dir.path().join("Corefile"), corefile).expect("the directory is writable");
    fs::write(dir.path().join("cluster.yaml"), "kind: [Service\n").expect("as before");
    fails(
        &run_binary(dir.path(), &["-conf", "Corefile"]),
        &["cluster.yaml"],
    );
}

#[test]
fn signals_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let objects = manifest(&cluster());
        let mut martlet = Martlet::start(COREFILE, &[("cluster.yaml", &objects)]);
        martlet.process.signal(signal);
        let status = martlet.process.wait(Duration::from_secs(10));
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?}: {}",
            martlet.log()
        );
    }
}

#[test]
fn the_command_line_is_corednss() {
    for (arguments, code, words) in [
        (&["-version"][..], 0, &["martlet-"][..]),
        (&["--version"], 0, &["martlet-"]),
        (
            &["-plugins"],
            0,
            &["dns.kubernetes", "dns.cache", "dns.whoami"],
        ),
        (&["-help"], 0, &["-conf", "-dns.port"]),
        (&["-nope"], 2, &[]),
        (&["surplus"], 2, &[]),
    ] {
        let finished = run("", arguments);
        assert_eq!(
            finished.code,
            Some(code),
            "{arguments:?}: {}",
            finished.stderr
        );
        for word in words {
            assert!(
                finished.stdout.contains(word),
                "{arguments:?}: {}",
                finished.stdout
            );
        }
    }
}

#[test]
fn check_says_what_is_wrong_and_serves_nothing() {
    let good = COREFILE.replace("{PORT}", "27355");
    let finished = run(&good, &["check", "Corefile"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let bad = good.replace("pods insecure", "pods secure");
    fails(
        &run(&bad, &["check", "Corefile"]),
        &["Corefile:5", "secure"],
    );
}

#[test]
fn the_process_id_is_written() {
    let objects = manifest(&cluster());
    let setup = Setup::new(COREFILE).file("cluster.yaml", &objects);
    let mut martlet = setup.argument("-pidfile").argument("{DIR}/pid").start();
    let written = fs::read_to_string(martlet.dir().join("pid")).expect("-pidfile writes it");
    assert_eq!(written.trim(), martlet.process.id().to_string());
    assert!(martlet.stop().success());
}

#[test]
fn the_default_port_is_an_argument() {
    let corefile = COREFILE.replace(":{PORT}", "") + "# {PORT}\n";
    let setup = Setup::new(&corefile).file("cluster.yaml", &manifest(&cluster()));
    let martlet = setup.argument("-dns.port").argument("{PORT}").start();
    assert_eq!(
        martlet
            .client()
            .ask("web.shop.svc.cluster.local.", "A")
            .addresses()
            .len(),
        1
    );
}

/// Whatever is written to standard output then: the banner, control's lines, the query log.
#[test]
fn every_log_line_can_be_an_object() {
    let corefile = "example.org:{PORT} {\n    bind 127.0.0.1\n    log\n    whoami\n}\n";
    let setup = Setup::new(corefile).argument("-log-format=json");
    let mut martlet = setup.start();
    martlet.client().ask("a.example.org.", "A");
    martlet.stop();
    let log = martlet.log();
    let messages: Vec<_> = log
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).expect(line);
            assert_eq!(object["level"], "INFO", "{line}");
            assert!(object["time"].is_string(), "{line}");
            object["message"].as_str().expect(line).to_owned()
        })
        .collect();
    for part in ["example.org.:", "\"A IN a.example.org. udp", "SIGTERM"] {
        let is_there = messages.iter().any(|message| message.contains(part));
        assert!(is_there, "`{part}` is not in: {log}");
    }
}
