//! The commands beside serving: what they print, and that it is true.

use std::fs;
use std::process::Command;

use martlet_tests::tools::available;
use martlet_tests::{Finished, Setup, Upstream, run_binary};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{cluster, manifest, namespace, service};

/// The cluster of [`cluster`], and what tools have more to say about.
fn objects() -> Vec<Value> {
    let mut web6 = service("shop", "dual", "10.96.0.60");
    web6["spec"]["clusterIPs"] = json!(["10.96.0.60", "fd00:96::60"]);
    let alias = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "alias", "namespace": "shop"},
        "spec": {"type": "ExternalName", "externalName": "www.example.org"},
    });
    let named = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "named-1", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "named"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.244.9.1"], "hostname": "one", "conditions": {"ready": true}},
            {"addresses": ["10.244.9.2"], "hostname": "two", "conditions": {"ready": false}},
        ],
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
    });
    let more = [
        web6,
        alias,
        service("shop", "named", "None"),
        named,
        service("shop", "empty", "None"),
        namespace("hidden", "back"),
        service("hidden", "secret", "10.96.0.99"),
    ];
    cluster().into_iter().chain(more).collect()
}

const COREFILE: &str = "\
.:{PORT} {
    bind 127.0.0.1
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests cluster.yaml
        pods verified
        namespaces default shop
    }
    cache 30
    forward . {UPSTREAM}
}
";

/// Runs a command with this Corefile and the objects of [`objects`].
fn run(corefile: &str, arguments: &[&str]) -> Finished {
    let dir = TempDir::new().expect("the temporary directory is writable");
    fs::write(dir.path().join("Corefile"), corefile).expect("the directory is writable");
    fs::write(dir.path().join("cluster.yaml"), manifest(&objects())).expect("as before");
    for (name, text) in [
        ("weights", "www.x\n10.0.0.1 999\n"),
        ("bad.yaml", "a: [\n"),
        ("zone", "@ 5 IN SOA a b 1 1 1 1 1\n"),
    ] {
        fs::write(dir.path().join(name), text).expect("as before");
    }
    run_binary(dir.path(), arguments)
}

fn offline(upstream: &str) -> String {
    let corefile = COREFILE.replace("{PORT}", "27361");
    corefile.replace("{UPSTREAM}", upstream)
}

fn says(finished: &Finished, words: &[&str]) {
    for word in words {
        assert!(
            finished.stdout.contains(word),
            "`{word}` is not in:\n{}{}",
            finished.stdout,
            finished.stderr
        );
    }
}

#[test]
fn check_says_everything_at_once() {
    let corefile = "\
tls://.:27853 {
    whoami
}
grpc://. {
    whoami
}
.:27362 {
    kubernetes cluster.local {
        manifests bad.yaml
    }
    loadbalance weighted weights
}
.:27363 {
    kubernetes cluster.local {
        manifests missing.yaml
        labels a=%%
    }
    tls cert.pem key.pem
    file zone a.test
    file bad.yaml b.test
}
";
    let finished = run(corefile, &["check", "Corefile"]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    for words in [
        "error: Corefile:1:1: `tls://` needs a certificate",
        "error: Corefile:4:1: `grpc://` is not supported",
        "error: Corefile:8:5: kubernetes: bad.yaml:",
        "error: Corefile:11:5: loadbalance: weights:2: `999`",
        "error: Corefile:14:5: kubernetes: `labels a=%%`",
        "warning: Corefile:18:5: tls: cannot read cert.pem",
        "error: Corefile:20:5: file: bad.yaml:1:",
        "Corefile: 6 problems",
    ] {
        assert!(
            finished.stderr.contains(words),
            "{words}: {}",
            finished.stderr
        );
    }
    // What only this machine lacks does not make a Corefile wrong.
    let elsewhere = ".:27364 {\n    bind nosuch0\n    tls cert.pem key.pem\n    whoami\n}\n";
    let finished = run(elsewhere, &["check", "Corefile"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("warning: Corefile:3:5"),
        "{}",
        finished.stderr
    );
}

#[test]
fn explain_tells_what_answers_and_why_not() {
    let upstream = "127.0.0.1:27365";
    for (arguments, words) in [
        (
            &["web.shop"][..],
            &[
                "1. web.shop.default.svc.cluster.local.  NXDOMAIN: namespace `default` has no Service `shop`",
                "2. web.shop.svc.cluster.local.  1 record",
                "and stops there",
                "block     . (Corefile:1:1)",
                "stages    errors > kubernetes answers",
                "Service shop/web: ClusterIP 10.96.0.20; ports http 80/tcp; EndpointSlices: 1, ready endpoints: 1 (10.244.0.20)",
                "web.shop.svc.cluster.local. 5 IN A 10.96.0.20",
            ][..],
        ),
        (
            &["web", "--namespace", "shop"],
            &["1. web.shop.svc.cluster.local.  1 record"],
        ),
        // Five dots: as it is, first.
        (
            &["a.web.shop.svc.cluster.local", "AAAA"],
            &[
                "1. a.web.shop.svc.cluster.local.  NXDOMAIN: no ready endpoint is called `a`; there are 10-244-0-20",
                "2. a.web.shop.svc.cluster.local.default.svc.cluster.local.",
            ],
        ),
        (
            &["wep.shop.svc.cluster.local."],
            &["NXDOMAIN", "did you mean `web`?"],
        ),
        (
            &["web.shup.svc.cluster.local."],
            &["no namespace `shup`; did you mean `shop`?"],
        ),
        (
            &["kubernetes.shop.svc.cluster.local."],
            &["there is one of this name in `default`"],
        ),
        (
            &["secret.hidden.svc.cluster.local."],
            &[
                "the Corefile does not expose the namespace `hidden`",
                "Service hidden/secret",
            ],
        ),
        (
            &["empty.shop.svc.cluster.local."],
            &["the Service is headless and has no ready endpoint"],
        ),
        (
            &["two.named.shop.svc.cluster.local."],
            &["no ready endpoint is called `two`; there are one"],
        ),
        (
            &["_htp._tcp.web.shop.svc.cluster.local.", "SRV"],
            &["no such port; there are http 80/tcp"],
        ),
        (
            &["web.shop.svc.cluster.local.", "AAAA"],
            &["NOERROR", "AAAA records of it do not"],
        ),
        (
            &["web.shop.cluster.local."],
            &["names end in NAMESPACE.svc.cluster.local."],
        ),
        (
            &["10-244-0-21.shop.pod.cluster.local."],
            &["no pod of `shop` has this address"],
        ),
        (
            &["20.0.244.10.in-addr.arpa.", "PTR"],
            &[
                "ready endpoint of Service shop/web",
                "PTR 10-244-0-20.web.shop.svc.cluster.local.",
            ],
        ),
        (
            &["1.1.1.10.in-addr.arpa.", "PTR"],
            &["no Service and no ready endpoint has the address 10.1.1.1"],
        ),
        (
            &["10.96.0.20"],
            &[
                "question  20.0.96.10.in-addr.arpa. PTR",
                "cluster IP of Service shop/web",
                "PTR web.shop.svc.cluster.local.",
            ],
        ),
        (
            &["fd00:96::60"],
            &["ip6.arpa. PTR", "cluster IP of Service shop/dual"],
        ),
        (
            &["www.example.org."],
            &[
                "cache > forward needs what is elsewhere",
                "forward asks any of 127.0.0.1:27365",
            ],
        ),
        (
            &["alias.shop.svc.cluster.local."],
            &[
                "ExternalName www.example.org.",
                "leads to www.example.org. A",
                "127.0.0.1:27365",
            ],
        ),
    ] {
        let finished = run(&offline(upstream), &[&["explain"], arguments].concat());
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
        says(&finished, words);
    }
    for (arguments, words) in [
        (&["explain", "a..b"][..], "`a..b"),
        (&["explain", "a", "NONSENSE"], "`NONSENSE`"),
        (&["explain", "a", "--port", "1"], "on port 1"),
        (&["explain", "a", "--conf", "none"], "none"),
    ] {
        let finished = run(&offline(upstream), arguments);
        assert_eq!(finished.code, Some(1), "{arguments:?}");
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
    }
}

/// Blocks of one zone are told apart by who asks, and by where.
#[test]
fn explain_knows_who_asks() {
    let corefile = "\
cluster.local:27361 {
    view inside {
        expr incidr(client_ip(), '10.0.0.0/8') || incidr(client_ip(), 'fd00::/8')
    }
    acl {
        block net 10.9.0.0/16
    }
    kubernetes {
        manifests cluster.yaml
    }
}
cluster.local:27361 {
    chaos
    erratic
}
cluster.local:27362 {
    bind 127.0.0.1
    whoami
}
cluster.local:27362 {
    bind ::1
    erratic
}
";
    let name = "web.shop.svc.cluster.local.";
    for (arguments, words) in [
        (
            &["--client", "10.1.2.3"][..],
            &[
                "cluster.local., view inside (Corefile:1:1)",
                "IN A 10.96.0.20",
            ][..],
        ),
        (
            &["--client", "fd00::7"],
            &["view inside (Corefile:1:1)", "IN A 10.96.0.20"],
        ),
        (
            &["--client", "10.9.2.3"],
            &["view inside (Corefile:1:1)", "answer    REFUSED"],
        ),
        (
            &[],
            &[
                "block     cluster.local. (Corefile:12:1)",
                "chaos > erratic",
            ],
        ),
        (
            &["--port", "27362"],
            &["listener  127.0.0.1:27362", "(Corefile:16:1)"],
        ),
    ] {
        let finished = run(corefile, &[&["explain", name], arguments].concat());
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
        says(&finished, words);
    }
}

#[test]
fn explain_asks_upstreams_when_told_to() {
    let upstream = Upstream::start("one");
    let corefile = offline(&upstream.address().to_string());
    let quiet = run(&corefile, &["explain", "x.wild.test."]);
    says(&quiet, &["not known without asking"]);
    assert!(upstream.asked().is_empty(), "nothing goes out unasked");
    let asked = run(&corefile, &["explain", "x.wild.test.", "--ask"]);
    says(
        &asked,
        &["says NOERROR, 1 in the answer", "x.wild.test. ", " IN A "],
    );
}

#[test]
fn a_dump_is_what_the_server_answers() {
    let corefile = COREFILE.replace("{UPSTREAM}", "127.0.0.1:27365");
    let martlet = Setup::new(&corefile)
        .file("cluster.yaml", &manifest(&objects()))
        .until_it_answers("web.shop.svc.cluster.local.")
        .start();
    let finished = run_binary(martlet.dir(), &["dump"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let client = martlet.client();
    let mut count = 0;
    for line in finished
        .stdout
        .lines()
        .filter(|line| !line.starts_with(';'))
    {
        let [owner, ttl, _, rtype, data] = line.splitn(5, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let reply = client.ask(owner, rtype);
        // The serial is when a process has read its cluster.
        let same = |found: &str| found == data || rtype == "SOA" && found.starts_with(&data[..30]);
        let mut found = reply.an.iter().filter(|record| record.rtype() == rtype);
        assert!(
            found.any(|record| same(record.rdata()) && record.ttl().to_string() == ttl),
            "{line}: the server says {:?}",
            reply.an
        );
        count += 1;
    }
    assert!(count > 30, "{}", finished.stdout);
    says(
        &finished,
        &[
            "web.shop.svc.cluster.local. 5 IN A 10.96.0.20\n",
            "dual.shop.svc.cluster.local. 5 IN AAAA fd00:96::60\n",
            "alias.shop.svc.cluster.local. 5 IN CNAME www.example.org.\n",
            "_http._tcp.web.shop.svc.cluster.local. 5 IN SRV 0 100 80 web.shop.svc.cluster.local.\n",
            "_sql._tcp.named.shop.svc.cluster.local. 5 IN SRV 0 100 5432 one.named.shop.svc.cluster.local.\n",
            "one.named.shop.svc.cluster.local. 5 IN A 10.244.9.1\n",
            "10-244-0-31.db.shop.svc.cluster.local. 5 IN A 10.244.0.31\n",
            "10-244-0-20.shop.pod.cluster.local. 5 IN A 10.244.0.20\n",
            "20.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local.\n",
            ".ip6.arpa. 5 IN PTR dual.shop.svc.cluster.local.\n",
            // As `cache 30` has it.
            "dns-version.cluster.local. 30 IN TXT \"1.1.0\"\n",
        ],
    );
    assert!(!finished.stdout.contains("secret"), "{}", finished.stdout);
    assert!(
        !finished.stdout.contains("10.244.9.2"),
        "{}",
        finished.stdout
    );

    let none = run_binary(martlet.dir(), &["dump", "--zone", "other.local"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("cluster.local."), "{}", none.stderr);
    if !available(&["nsd-checkzone"]) {
        return;
    }
    for zone in ["cluster.local", "in-addr.arpa", "ip6.arpa"] {
        let dump = run_binary(martlet.dir(), &["dump", "-zone", zone]);
        let file = martlet.dir().join("zone");
        fs::write(&file, dump.stdout).expect("the directory is writable");
        let path = format!(
            "/usr/sbin:/sbin:{}",
            std::env::var("PATH").unwrap_or_default()
        );
        let checked = Command::new("nsd-checkzone")
            .env("PATH", path)
            .arg(zone)
            .arg(&file)
            .output()
            .expect("it is installed");
        assert!(checked.status.success(), "{zone}: {checked:?}");
    }
}

#[test]
fn top_prints_a_look_where_there_is_no_terminal() {
    let corefile = COREFILE.replace("{UPSTREAM}", "127.0.0.1:27365").replace(
        "    errors\n",
        "    errors\n    prometheus 127.0.0.1:{PORT2}\n",
    );
    let martlet = Setup::new(&corefile)
        .file("cluster.yaml", &manifest(&objects()))
        .until_it_answers("web.shop.svc.cluster.local.")
        .start();
    let client = martlet.client();
    let asking = std::thread::spawn(move || {
        for _ in 0..300 {
            client.ask("nope.shop.svc.cluster.local.", "SRV");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    let url = format!("http://127.0.0.1:{}/metrics", martlet.nth_port(2));
    let look = run_binary(
        martlet.dir(),
        &["top", "--metrics", &url, "--interval", "2"],
    );
    asking.join().expect("the questions are answered");
    assert_eq!(look.code, Some(0), "{}", look.stderr);
    // The web Service, the default one, dual, alias, named, empty and db; not the hidden one.
    says(
        &look,
        &[
            "q/s",
            "NXDOMAIN",
            "100%",
            "SRV",
            "kubernetes",
            "in sync;",
            "Services",
        ],
    );
    assert!(!look.stdout.contains("NOERROR"), "{}", look.stdout);
    let port = martlet.port();
    let none = run_binary(
        martlet.dir(),
        &["top", "--metrics", &format!("127.0.0.1:{port}")],
    );
    assert_eq!(none.code, Some(1));
    assert!(
        none.stderr.contains("cannot read the metrics"),
        "{}",
        none.stderr
    );
}

#[test]
fn completions_and_the_manual_know_the_commands() {
    for arguments in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["completions", "fish"],
        &["man"],
    ] {
        let finished = run("", arguments);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        says(&finished, &["explain", "namespace", "pidfile", "interval"]);
    }
}
