//! `deploy.sh` and `rollback.sh`, with a `kubectl` that knows what a test tells it.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use martlet_tests::binary;
use martlet_tests::tools::{available, repository};
use serde_json::json;
use tempfile::TempDir;

use super::manifests::{assert_consistent, assert_passes_check, assert_serves};
use super::{corefile, documents, only};

/// A cluster as far as `kubectl get` shows it: file names are the words of the question.
struct Cluster {
    dir: TempDir,
}

/// Prints the object that is asked for, if there is one, and notes down everything else.
const KUBECTL: &str = "#!/bin/sh
here=$(dirname \"$0\")
echo \"$*\" >>\"$here/asked\"
[ \"$1\" != --kubeconfig ] || shift 2
[ \"$3\" = get ] || exit \"$(cat \"$here/fails\" 2>/dev/null || echo 0)\"
case $5 in -*) file=$4 ;; *) file=$4-$5 ;; esac
[ ! -e \"$here/$file\" ] || cat \"$here/$file\"
";

impl Cluster {
    /// One with a Service `kube-dns`.
    fn new() -> Self {
        let cluster = Self {
            dir: TempDir::new().expect("the temporary directory is writable"),
        };
        cluster.has(
            "service-kube-dns",
            &json!({"spec": {"clusterIP": "10.3.0.10"}}),
        );
        let kubectl = cluster.path("kubectl");
        fs::write(&kubectl, KUBECTL).expect("it is writable");
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).expect("it is ours");
        cluster
    }

    fn has(&self, name: &str, object: &serde_json::Value) {
        fs::write(self.path(name), object.to_string()).expect("it is writable");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.path("asked")).unwrap_or_default()
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let path = env::var("PATH").unwrap_or_default();
        Command::new(repository().join("deploy").join(script))
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.dir.path().display()))
            .env("MARTLET", binary())
            .output()
            .expect("bash is installed")
    }

    /// What `deploy.sh` prints.
    fn deploy(&self, arguments: &[&str]) -> String {
        let output = self.run("deploy.sh", arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {told}");
        String::from_utf8(output.stdout).expect("it is text")
    }

    /// What it says where it prints nothing.
    fn refuses(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.run(script, arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: it printed");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn ready() -> bool {
    available(&["bash", "jq"])
}

#[test]
fn shellcheck_has_nothing_to_say() {
    if !available(&["shellcheck"]) {
        return;
    }
    let mut command = Command::new("shellcheck");
    for script in ["deploy.sh", "rollback.sh", "memory", "image/check-static"] {
        command.arg(repository().join("deploy").join(script));
    }
    let output = command.output().expect("it is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn what_it_prints_is_consistent_and_serves() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let objects = documents(&cluster.deploy(&[]));
    assert_consistent(&objects);
    assert_serves(&objects);
    assert_eq!(only(&objects, "Service")["spec"]["clusterIP"], "10.3.0.10");
}

#[test]
fn options_go_where_they_belong() {
    if !ready() {
        return;
    }
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &[],
            "10.3.0.10",
            "kubernetes cluster.local in-addr.arpa ip6.arpa {",
        ),
        (
            &["-i", "10.9.0.2"],
            "10.9.0.2",
            "kubernetes cluster.local in",
        ),
        (
            &["-d", "k8s.test"],
            "10.3.0.10",
            "kubernetes k8s.test in-addr.arpa",
        ),
        (
            &["-r", "10.3.0.0/24", "-r", "10.2.0.0/16"],
            "10.3.0.10",
            "kubernetes cluster.local 10.3.0.0/24 10.2.0.0/16 {",
        ),
        (
            &["10.3.0.0/24"],
            "10.3.0.10",
            "kubernetes cluster.local 10.3.0.0/24 {",
        ),
        (
            &["10.3.0.0/24", "k8s.test"],
            "10.3.0.10",
            "kubernetes k8s.test 10.3.0.0/24 {",
        ),
    ];
    for (arguments, ip, line) in cases {
        let cluster = Cluster::new();
        let objects = documents(&cluster.deploy(arguments));
        assert_eq!(only(&objects, "Service")["spec"]["clusterIP"], *ip);
        let corefile = corefile(&objects);
        assert!(corefile.contains(line), "{arguments:?}: {corefile}");
        assert_passes_check(corefile);
    }
}

#[test]
fn kube_dns_settings_are_translated() {
    if !ready() {
        return;
    }
    let block = |zone: &str, to: &str| {
        format!("{zone}:53 {{\n    errors\n    cache 30\n    loop\n    forward . {to}\n}}")
    };
    let cases = [
        (json!({}), "forward . /etc/resolv.conf {", vec![]),
        (
            json!({"upstreamNameservers": "[\"8.8.8.8\", \"8.8.4.4\"]"}),
            "forward . 8.8.8.8 8.8.4.4 {",
            vec![],
        ),
        (
            json!({"stubDomains": "{\"acme.local\": [\"1.2.3.4\"]}"}),
            "forward . /etc/resolv.conf {",
            vec![block("acme.local", "1.2.3.4")],
        ),
        (
            json!({
                "stubDomains": "{\"acme.local\": [\"1.2.3.4\", \"1.2.3.5:5353\"],\n \"b.test\": [\"::1\"]}",
                "upstreamNameservers": "[\"9.9.9.9\"]",
                "federations": "{}",
            }),
            "forward . 9.9.9.9 {",
            vec![
                block("acme.local", "1.2.3.4 1.2.3.5:5353"),
                block("b.test", "::1"),
            ],
        ),
    ];
    for (data, forward, blocks) in cases {
        let cluster = Cluster::new();
        cluster.has("configmap-kube-dns", &json!({"data": data}));
        let objects = documents(&cluster.deploy(&[]));
        let translated = corefile(&objects);
        assert!(translated.contains(forward), "{data}: {translated}");
        assert_eq!(translated.matches(":53 {").count(), 1 + blocks.len());
        for block in blocks {
            assert!(translated.contains(&block), "{data}: {translated}");
        }
        let plain = documents(&cluster.deploy(&["-s"]));
        assert!(corefile(&plain).contains("forward . /etc/resolv.conf"));
    }
    for data in [
        json!({"stubDomains": "acme.local"}),
        json!({"upstreamNameservers": "8.8.8.8"}),
        json!({"stubDomains": "{\"acme.local\": [\"1.2.3.4:99999\"]}"}),
    ] {
        let cluster = Cluster::new();
        cluster.has("configmap-kube-dns", &json!({"data": data}));
        cluster.refuses("deploy.sh", &[]);
    }
}

#[test]
fn a_corefile_is_taken_over_once_it_is_checked() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let old = ".:53 {\n    errors\n    health {\n        lameduck 5s\n    }\n    ready\n\n    kubernetes \
               cluster.local in-addr.arpa ip6.arpa {\n        pods verified\n        ttl 7\n    }\n    \
               prometheus :9153\n}\n";
    cluster.has("configmap-coredns", &json!({"data": {"Corefile": old}}));
    let objects = documents(&cluster.deploy(&[]));
    assert_eq!(corefile(&objects), old);
    // `pods verified` is the one thing that needs one more right.
    assert_serves(&objects);
    // Another right for imports, which most clusters do not know.
    let set = old.replace(
        "cluster.local in-addr",
        "cluster.local clusterset.local in-addr",
    );
    let set = set.replace("ttl 7", "multicluster clusterset.local");
    cluster.has("configmap-coredns", &json!({"data": {"Corefile": set}}));
    assert_serves(&documents(&cluster.deploy(&[])));
    cluster.has("configmap-coredns", &json!({"data": {"Corefile": old}}));
    let plain = documents(&cluster.deploy(&["-s"]));
    assert!(corefile(&plain).contains("pods insecure"));

    let wrong = old.replace("errors", "erors");
    cluster.has("configmap-coredns", &json!({"data": {"Corefile": wrong}}));
    let told = cluster.refuses("deploy.sh", &[]);
    assert!(told.contains("erors"), "{told}");

    let files = json!({"data": {"Corefile": old, "acme.db": "acme."}});
    cluster.has("configmap-coredns", &files);
    let told = cluster.refuses("deploy.sh", &[]);
    assert!(told.contains("acme.db"), "{told}");
}

#[test]
fn a_template_is_filled() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let template = cluster.path("template");
    let text = "ip: CLUSTER_DNS_IP\nCorefile: |\n    COREFILE\nrights: [POD_RESOURCEservices]\n";
    fs::write(&template, text).expect("it is writable");
    let template = template.display().to_string();
    let filled = cluster.deploy(&["-t", &template, "-k", "/kube config"]);
    assert!(filled.starts_with("ip: 10.3.0.10\nCorefile: |\n    .:53 {\n        errors\n"));
    assert!(filled.ends_with("    }\nrights: [services]\n"), "{filled}");
    for line in cluster.asked().lines() {
        assert!(line.starts_with("--kubeconfig /kube config "), "{line}");
    }
}

#[test]
fn what_it_cannot_do_it_says() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    for arguments in [
        &["-i", "10.0.0.1; x"][..],
        &["-d", "a b"],
        &["-r", "{}"],
        &["-x"],
        &["10.3.0.0/24", "cluster.local", "more"],
        &["-t", "/nowhere"],
    ] {
        cluster.refuses("deploy.sh", arguments);
    }
    fs::remove_file(cluster.path("service-kube-dns")).expect("it is there");
    let told = cluster.refuses("deploy.sh", &[]);
    assert!(told.contains("-i"), "{told}");
}

#[test]
fn there_and_back() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let old = json!({"metadata": {"name": "coredns"}, "spec": {"replicas": 3}});
    cluster.has("deployment", &json!({"items": [old]}));
    let objects = documents(&cluster.deploy(&[]));
    let martlet = only(&objects, "Deployment");
    assert_eq!(
        martlet["metadata"]["annotations"]["martlet/replaces"],
        "coredns=3"
    );
    // The second time the old one is scaled down; what was noted counts.
    let idle = json!({"metadata": {"name": "coredns"}, "spec": {"replicas": 0}});
    cluster.has("deployment", &json!({"items": [idle, martlet]}));
    let again = documents(&cluster.deploy(&[]));
    assert_eq!(only(&again, "Deployment"), martlet);

    cluster.has("deployment-martlet", martlet);
    fs::remove_file(cluster.path("asked")).expect("it was asked");
    let output = cluster.run("rollback.sh", &["-w", "9s"]);
    assert!(output.status.success());
    let asked = cluster.asked();
    let places = [
        "scale deployment coredns --replicas=3",
        "rollout status deployment coredns --timeout=9s",
        "delete --ignore-not-found deployment/martlet",
        "clusterrole/system:martlet",
    ]
    .map(|words| {
        asked
            .find(words)
            .unwrap_or_else(|| panic!("{words}: {asked}"))
    });
    assert!(places.is_sorted(), "{asked}");
    assert!(!asked.contains("service/"), "the Service stays: {asked}");
}

/// The old server does not come up: martlet stays.
#[test]
fn there_is_no_way_back_to_nothing() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    cluster.has("deployment-martlet", &json!({"metadata": {}}));
    assert!(cluster.refuses("rollback.sh", &[]).contains("coredns=2"));
    for wrong in ["coredns", "coredns=0", "a b=1"] {
        cluster.refuses("rollback.sh", &[wrong]);
    }
    fs::write(cluster.path("fails"), "1").expect("it is writable");
    cluster.run("rollback.sh", &["coredns=2"]);
    assert!(!cluster.asked().contains("delete"), "{}", cluster.asked());
}
