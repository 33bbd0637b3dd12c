//! `deploy.sh` and `rollback.sh`, with a `kubectl` that knows what a test tells it.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use martlet_tests::binary;
use martlet_tests::tools::{available, repository};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::manifests::{assert_consistent, assert_passes_check, assert_serves};
use super::{corefile, documents, folder, only};
use crate::deployed::{AKS, GARDENER, K3S, KUBEADM, OPENSHIFT};

/// A cluster as far as `kubectl get` shows it: file names are the words of the question.
struct Cluster {
    dir: TempDir,
    /// The program that checks.
    martlet: PathBuf,
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
            martlet: binary().to_owned(),
        };
        cluster.has("service-kube-dns", &service());
        cluster.has(
            "service-kubernetes",
            &json!({"spec": {"ports": [{"port": 443, "targetPort": 6443}]}}),
        );
        let kubectl = cluster.path("kubectl");
        fs::write(&kubectl, KUBECTL).expect("it is writable");
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).expect("it is ours");
        cluster
    }

    fn has(&self, name: &str, object: &Value) {
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
            .env("MARTLET", &self.martlet)
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

/// The Service as kube-dns's manifest makes it.
fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system", "uid": "1",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "KubeDNS"},
        },
        "spec": {
            "clusterIP": "10.3.0.10", "clusterIPs": ["10.3.0.10"], "type": "ClusterIP",
            "selector": {"k8s-app": "kube-dns"},
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    })
}

/// A Deployment of the old server with these volumes.
fn deployment(name: &str, replicas: u32, volumes: &Value) -> Value {
    let labels = json!({"k8s-app": if name.ends_with("-autoscaler") { name } else { "kube-dns" }});
    let template = json!({"metadata": {"labels": labels}, "spec": {"volumes": volumes}});
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "template": template}})
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
    // Those of the base are asked what CoreDNS was asked.
    assert_eq!(corefile(&objects), corefile(&folder("base")));
    // The Service stays as it is, but for the port that kube-dns has not.
    let (mut printed, service) = (only(&objects, "Service").clone(), service());
    let ports = printed["spec"]["ports"].as_array_mut().expect("a list");
    assert_eq!(ports.pop().expect("a third")["name"], "metrics");
    assert_eq!(printed["spec"]["ports"], service["spec"]["ports"]);
    assert_eq!(printed["spec"]["clusterIP"], service["spec"]["clusterIP"]);
    assert_eq!(printed["metadata"]["labels"], service["metadata"]["labels"]);
    assert!(printed["metadata"].get("uid").is_none());
}

/// Without a program to check with, the default Corefile is what the base has.
#[test]
fn without_martlet_only_the_default_is_printed() {
    if !ready() {
        return;
    }
    let cluster = Cluster {
        martlet: "/nowhere/martlet".into(),
        ..Cluster::new()
    };
    let objects = documents(&cluster.deploy(&["-s"]));
    assert_consistent(&objects);
    assert_serves(&objects);
    let stub = json!({"data": {"stubDomains": "{\"acme.local\": [\"1.2.3.4\"]}"}});
    let corefile = json!({"data": {"Corefile": ".:53 {\n    whoami\n}\n"}});
    for (name, map) in [
        ("configmap-kube-dns", stub),
        ("configmap-coredns", corefile),
    ] {
        cluster.has(name, &map);
        let told = cluster.refuses("deploy.sh", &[]);
        assert!(told.contains("without /nowhere/martlet"), "{told}");
    }
}

/// A Service that would send its questions elsewhere than to these pods.
#[test]
fn a_service_that_does_not_fit_is_refused() {
    if !ready() {
        return;
    }
    let cases = [
        (
            "/spec/selector",
            json!({"k8s-app": "kube-dns", "app": "coredns"}),
            "selects pods",
        ),
        ("/spec/selector", json!({"app": "coredns"}), "selects pods"),
        ("/spec/ports/0/targetPort", json!(8053), "8053"),
        ("/spec/ports/1/targetPort", json!("dns-tcp"), "dns-tcp"),
        ("/spec/clusterIP", json!("None"), "-i"),
    ];
    for (place, value, words) in cases {
        let cluster = Cluster::new();
        let mut service = service();
        *service.pointer_mut(place).expect("it is there") = value.clone();
        cluster.has("service-kube-dns", &service);
        let told = cluster.refuses("deploy.sh", &[]);
        assert!(told.contains(words), "{place} {value}: {told}");
    }
    let told = Cluster::new().refuses("deploy.sh", &["-i", "10.3.0.11"]);
    assert!(told.contains("cannot be changed"), "{told}");
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
            &["-i", "10.3.0.10"],
            "10.3.0.10",
            "kubernetes cluster.local in",
        ),
        (
            &["-i", "fd00::a", "-s"],
            "fd00::a",
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
        (
            json!({"stubDomains": "{\"b.test\": [\"[fd00::1]:54\"]}", "upstreamNameservers": " "}),
            "forward . /etc/resolv.conf {",
            vec![block("b.test", "[fd00::1]:54")],
        ),
    ];
    for (data, forward, blocks) in cases {
        let cluster = Cluster::new();
        cluster.has("configmap-kube-dns", &json!({"data": data}));
        let objects = documents(&cluster.deploy(&[]));
        // The policy lets questions out to the ports of stub domains, too.
        assert_consistent(&objects);
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
        json!({"stubDomains": "{\"acme.local\": []}"}),
        json!({"stubDomains": "{\"acme.local\": \"1.2.3.4\"}"}),
        json!({"stubDomains": "{\"acme.local\": [1]}"}),
        json!({"stubDomains": "{\"acme.local {\": [\"1.2.3.4\"]}"}),
        json!({"stubDomains": "{\"acme.local\": [\"1.2.3.4\\n}\"]}"}),
        json!({"upstreamNameservers": "{\"a\": \"8.8.8.8\"}"}),
        json!({"upstreamNameservers": "[\"8.8.8.8 {\"]"}),
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

    // The time that a pod is given to end follows lameduck.
    let patient = old.replace("lameduck 5s", "lameduck 20s");
    cluster.has("configmap-coredns", &json!({"data": {"Corefile": patient}}));
    let objects = documents(&cluster.deploy(&[]));
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 45);
    // A first line with white space before it.
    let indented = format!("    # ours\n{old}");
    cluster.has(
        "configmap-coredns",
        &json!({"data": {"Corefile": indented}}),
    );
    assert_eq!(corefile(&documents(&cluster.deploy(&[]))), indented);

    for (from, to, words) in [
        ("errors", "erors", "erors"),
        (".:53", ".:8053", "no port 53"),
        ("    ready\n", "", "no `ready`"),
        ("    ready\n", "    ready :8182\n", "no `ready`"),
        ("    ready\n", "    ready 127.0.0.1:8181\n", "no `ready`"),
        ("health {", "health :8081 {", "no `health`"),
    ] {
        let corefile = old.replace(from, to);
        assert_ne!(corefile, old, "{from}");
        cluster.has(
            "configmap-coredns",
            &json!({"data": {"Corefile": corefile}}),
        );
        let told = cluster.refuses("deploy.sh", &[]);
        assert!(told.contains(words), "{to}: {told}");
    }
}

#[test]
fn corefiles_of_clusters_are_taken_over_where_the_service_reaches_them() {
    if !ready() {
        return;
    }
    for (of, text, is_taken) in [
        ("kubeadm", KUBEADM, true),
        ("AKS", AKS, true),
        ("k3s", K3S, true),
        ("Gardener", GARDENER, false),
        ("OpenShift", OPENSHIFT, false),
    ] {
        let cluster = Cluster::new();
        cluster.has("configmap-coredns", &json!({"data": {"Corefile": text}}));
        if is_taken {
            let objects = documents(&cluster.deploy(&[]));
            assert_eq!(corefile(&objects), text, "{of}");
            assert_consistent(&objects);
        } else {
            let told = cluster.refuses("deploy.sh", &[]);
            assert!(told.contains("no port 53"), "{of}: {told}");
        }
    }
}

/// As k3s has it: a file beside the Corefile, and files of the operator in a ConfigMap of their own.
#[test]
fn files_beside_the_corefile_are_seen_and_mounted() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let old = ".:53 {\n    health\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n        \
               pods insecure\n    }\n    hosts /etc/coredns/NodeHosts {\n        fallthrough\n    }\n    \
               forward . tls://9.9.9.9\n    import custom/*.override\n}\n\
               import /etc/coredns/custom/*.server\n";
    let data = json!({"Corefile": old, "NodeHosts": "192.0.2.7 node-7\n"});
    cluster.has("configmap-coredns", &json!({"data": data}));
    let custom = |own: &str| {
        let more = "forward . 192.0.2.53:5353\n";
        json!({"data": {"own.server": own, "own.override": "errors\n", "more": more}})
    };
    let own = "own.test:5300 {\n    import /etc/coredns/custom/more\n}\n";
    cluster.has("configmap-coredns-custom", &custom(own));
    cluster.has(
        "service-kubernetes",
        &json!({"spec": {"ports": [{"port": 443, "targetPort": 8443}]}}),
    );
    let volumes = json!([
        {"name": "config", "configMap": {"name": "coredns"}},
        {"name": "custom", "configMap": {"name": "coredns-custom", "optional": true}},
        {"name": "tmp", "emptyDir": {}},
    ]);
    cluster.has(
        "deployment",
        &json!({"items": [deployment("coredns", 2, &volumes)]}),
    );
    let objects = documents(&cluster.deploy(&[]));
    assert_eq!(corefile(&objects), old);
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    let sources = &pod["volumes"][0]["projected"]["sources"];
    let beside = json!({"name": "coredns", "optional": true, "items": [{"key": "NodeHosts", "path": "NodeHosts"}]});
    assert_eq!(sources[0]["configMap"], json!({"name": "martlet"}));
    assert_eq!(sources[1]["configMap"], beside);
    assert_eq!(pod["volumes"][1]["configMap"]["name"], "coredns-custom");
    let mounts = &pod["containers"][0]["volumeMounts"];
    assert_eq!(mounts[0]["mountPath"], "/etc/coredns");
    assert_eq!(mounts[1]["mountPath"], "/etc/coredns/custom");
    let policy = &only(&objects, "NetworkPolicy")["spec"];
    for (direction, port, protocol) in [
        ("ingress", 5300, "UDP"),
        ("ingress", 5300, "TCP"),
        ("egress", 853, "TCP"),
        ("egress", 5353, "UDP"),
        ("egress", 8443, "TCP"),
    ] {
        let open = policy[direction].to_string();
        let port = json!({"port": port, "protocol": protocol}).to_string();
        assert!(open.contains(&port), "{direction} {port}: {open}");
    }

    cluster.has(
        "configmap-coredns-custom",
        &custom("own.test {\n    whoamii\n}\n"),
    );
    let told = cluster.refuses("deploy.sh", &[]);
    assert!(told.contains("whoamii"), "{told}");

    // What martlet's pods would not have.
    cluster.has("configmap-coredns-custom", &custom(own));
    let secret = json!([{"name": "zone-keys", "secret": {"secretName": "keys"}}]);
    cluster.has(
        "deployment",
        &json!({"items": [deployment("coredns", 2, &secret)]}),
    );
    let told = cluster.refuses("deploy.sh", &[]);
    assert!(told.contains("zone-keys"), "{told}");
}

#[test]
fn a_template_is_filled() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let template = cluster.path("template");
    let text = "ip: CLUSTER_DNS_IP\nCorefile: |\n  COREFILE\nrules:\n  RULES\n";
    fs::write(&template, text).expect("it is writable");
    let template = template.display().to_string();
    let filled = cluster.deploy(&["-t", &template, "-k", "/kube config"]);
    assert!(filled.starts_with("ip: 10.3.0.10\nCorefile: |\n  .:53 {\n      errors\n"));
    let rules = "rules:\n  - {\"apiGroups\":[\"\"],\"resources\":[\"namespaces\",\"services\"]";
    assert!(filled.contains(rules), "{filled}");
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
    // What scales the old one would scale it up again.
    let autoscaler = deployment("coredns-autoscaler", 1, &json!([]));
    let other = deployment("other-autoscaler", 1, &json!([]));
    let old = deployment("coredns", 3, &json!([]));
    cluster.has("deployment", &json!({"items": [old, autoscaler, other]}));
    let told = String::from_utf8_lossy(&cluster.run("deploy.sh", &[]).stderr).into_owned();
    let down = ["coredns-autoscaler --replicas=0", "coredns --replicas=0"];
    let places = down.map(|words| {
        told.find(words)
            .unwrap_or_else(|| panic!("{words}: {told}"))
    });
    assert!(places.is_sorted(), "{told}");
    assert!(!told.contains("other"), "{told}");
    let objects = documents(&cluster.deploy(&[]));
    let martlet = only(&objects, "Deployment");
    assert_eq!(
        martlet["metadata"]["annotations"]["martlet/replaces"],
        "coredns-autoscaler=1,coredns=3"
    );
    // The second time the old one is scaled down; what was noted counts.
    let idle = deployment("coredns", 0, &json!([]));
    cluster.has("deployment", &json!({"items": [idle, martlet]}));
    let again = documents(&cluster.deploy(&[]));
    assert_eq!(only(&again, "Deployment"), martlet);

    cluster.has("deployment-martlet", martlet);
    fs::remove_file(cluster.path("asked")).expect("it was asked");
    let output = cluster.run("rollback.sh", &["-w", "9s"]);
    assert!(output.status.success());
    let asked = cluster.asked();
    let places = [
        "scale deployment coredns-autoscaler --replicas=1",
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
