//! `multicluster`: what the clusters of a set offer together, by the names of its own zone.

use std::fs;
use std::time::Duration;

use martlet_tests::{Client, FakeApi, Martlet, Setup, run_binary, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{becomes, cluster, manifest, slice};

const PATIENCE: Duration = Duration::from_secs(30);

fn import(name: &str, import_type: &str, ips: &[&str]) -> Value {
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "type": import_type, "ips": ips,
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    })
}

/// A slice of an import, from one cluster.
fn imported(import: &str, cluster: &str, endpoints: &Value) -> Value {
    let mut slice = slice("shop", import, &[]);
    slice["metadata"] = json!({
        "name": format!("{import}-{cluster}"), "namespace": "shop",
        "labels": {
            "multicluster.kubernetes.io/service-name": import,
            "multicluster.kubernetes.io/source-cluster": cluster,
        },
    });
    slice["endpoints"] = endpoints.clone();
    slice
}

fn objects() -> Vec<Value> {
    let mut portless = import("portless", "ClusterSetIP", &["10.97.0.9"]);
    portless["spec"]["ports"] = json!([]);
    let mut elsewhere = import("web", "ClusterSetIP", &["10.97.0.99"]);
    elsewhere["metadata"]["namespace"] = json!("nowhere");
    let mut all = cluster();
    all.extend([
        import("web", "ClusterSetIP", &["10.97.0.20", "fd00:97::20"]),
        import("db", "Headless", &[]),
        import("bare", "Headless", &[]),
        import("lone", "ClusterSetIP", &["10.97.0.30"]),
        portless,
        elsewhere,
        imported("web", "c1", &json!([{"addresses": ["10.245.0.20"]}])),
        imported(
            "db",
            "c1",
            &json!([
                {"addresses": ["10.245.0.31"], "hostname": "db-0"},
                {"addresses": ["10.245.0.32"], "conditions": {"ready": false}},
            ]),
        ),
        imported(
            "db",
            "c2",
            &json!([{"addresses": ["10.246.0.31"], "hostname": "db-0"}, {"addresses": ["10.246.0.33"]}]),
        ),
    ]);
    all
}

const COREFILE: &str = "\
.:{PORT} {
    bind 127.0.0.1
    kubernetes cluster.local clusterset.local in-addr.arpa {
        {SOURCE}
        pods insecure
        multicluster clusterset.local
        {OPTIONS}
    }
}
";

fn corefile(source: &str, options: &str) -> String {
    COREFILE
        .replace("{SOURCE}", source)
        .replace("{OPTIONS}", options)
}

fn from_manifests(options: &str) -> Martlet {
    let corefile = corefile("manifests cluster.yaml", options);
    Martlet::start(&corefile, &[("cluster.yaml", &manifest(&objects()))])
}

/// Code and data of the records that answer, sorted.
fn told(client: &Client, name: &str, rtype: &str) -> String {
    let reply = client.ask(name, rtype);
    let mut data: Vec<_> = reply.an.iter().map(|record| record.rdata()).collect();
    data.sort_unstable();
    if data.is_empty() {
        assert_eq!(reply.ns.len(), 1, "{name} {rtype}: no SOA");
    }
    format!("{} {}", reply.rcode, data.join(", "))
}

#[test]
fn names_of_the_set_are_those_of_imports() {
    let martlet = from_manifests("");
    let client = martlet.client();
    let srv =
        |target: &str, weight: u8| format!("0 {weight} 80 {target}.shop.svc.clusterset.local.");
    let of_db = [
        srv("10-246-0-33.c2.db", 33),
        srv("db-0.c1.db", 33),
        srv("db-0.c2.db", 33),
    ]
    .join(", ");
    for (name, rtype, expected) in [
        ("web.shop.svc", "A", "NOERROR 10.97.0.20"),
        ("web.shop.svc", "AAAA", "NOERROR fd00:97::20"),
        ("web.shop.svc", "TXT", "NOERROR "),
        (
            "web.shop.svc",
            "SRV",
            &format!("NOERROR {}", srv("web", 50)),
        ),
        (
            "_http._tcp.web.shop.svc",
            "SRV",
            &format!("NOERROR {}", srv("web", 50)),
        ),
        ("_http._udp.web.shop.svc", "SRV", "NXDOMAIN "),
        ("10-245-0-20.c1.web.shop.svc", "A", "NOERROR 10.245.0.20"),
        ("lone.shop.svc", "A", "NOERROR 10.97.0.30"),
        ("portless.shop.svc", "A", "NXDOMAIN "),
        ("web.nowhere.svc", "A", "NXDOMAIN "),
        (
            "db.shop.svc",
            "A",
            "NOERROR 10.245.0.31, 10.246.0.31, 10.246.0.33",
        ),
        ("db.shop.svc", "AAAA", "NOERROR "),
        ("_http._tcp.db.shop.svc", "SRV", &format!("NOERROR {of_db}")),
        ("db-0.c1.db.shop.svc", "A", "NOERROR 10.245.0.31"),
        ("DB-0.C2.db.shop.svc", "A", "NOERROR 10.246.0.31"),
        (
            "db-0.c1.db.shop.svc",
            "SRV",
            &format!("NOERROR {}", srv("db-0.c1.db", 100)),
        ),
        ("db-0.c1.db.shop.svc", "MX", "NOERROR "),
        ("10-246-0-33.c2.db.shop.svc", "A", "NOERROR 10.246.0.33"),
        ("10-245-0-32.c1.db.shop.svc", "A", "NXDOMAIN "),
        ("db-0.c3.db.shop.svc", "A", "NXDOMAIN "),
        ("db-0.db.shop.svc", "A", "NXDOMAIN "),
        ("bare.shop.svc", "A", "NXDOMAIN "),
        ("x.db-0.c1.db.shop.svc", "A", "NXDOMAIN "),
        // Of the cluster alone, or of no kind of import.
        ("kubernetes.default.svc", "A", "NXDOMAIN "),
        ("shop.svc", "A", "NOERROR "),
        ("svc", "A", "NOERROR "),
        ("other.svc", "A", "NXDOMAIN "),
        ("10-1-2-3.shop.pod", "A", "NOERROR 10.1.2.3"),
        ("dns-version", "TXT", "NOERROR \"1.1.0\""),
    ] {
        let found = told(&client, &format!("{name}.clusterset.local."), rtype);
        assert_eq!(found, expected, "{name} {rtype}");
    }
    for (name, expected) in [
        ("web.shop.svc", "NOERROR 10.96.0.20"),
        ("db.shop.svc", "NOERROR 10.244.0.31, 10.244.0.32"),
        ("lone.shop.svc", "NXDOMAIN "),
        // Two labels are a port and a protocol here.
        ("db-0.c1.db.shop.svc", "NXDOMAIN "),
    ] {
        let found = told(&client, &format!("{name}.cluster.local."), "A");
        assert_eq!(found, expected, "{name}");
    }
    // Endpoints of other clusters have no reverse names.
    let reverse = "31.0.245.10.in-addr.arpa.";
    assert_eq!(told(&client, reverse, "PTR"), "NXDOMAIN ");
}

#[test]
fn imports_without_endpoints_can_be_ignored() {
    let martlet = from_manifests("ignore empty_service");
    let client = martlet.client();
    let lone = "lone.shop.svc.clusterset.local.";
    assert_eq!(told(&client, lone, "A"), "NXDOMAIN ");
    let web = "web.shop.svc.clusterset.local.";
    assert_eq!(told(&client, web, "A"), "NOERROR 10.97.0.20");
}

/// The paths that the API server was asked for, with the selectors.
fn asked(api: &FakeApi) -> Vec<String> {
    let requests = api.recorded();
    let text = |request: &martlet_tests::Recorded| {
        let labels = request.parameter("labelSelector").unwrap_or_default();
        format!("{} {labels}", request.path)
    };
    let mut all: Vec<_> = requests.iter().map(text).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn imports_are_followed() {
    let api = FakeApi::start(objects());
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let source = format!("kubeconfig {}", kubeconfig.display());
    let martlet = Setup::new(&corefile(&source, "")).start();
    let client = martlet.client();
    let web = "web.shop.svc.clusterset.local.";
    let lone = "lone.shop.svc.clusterset.local.";
    becomes(client, web, &["10.97.0.20"], PATIENCE);
    api.upsert(import("web", "ClusterSetIP", &["10.97.0.21"]));
    becomes(client, web, &["10.97.0.21"], PATIENCE);
    api.upsert(import("web", "Headless", &[]));
    becomes(client, web, &["10.245.0.20"], PATIENCE);
    api.upsert(imported(
        "web",
        "c2",
        &json!([{"addresses": ["10.246.0.20"]}]),
    ));
    becomes(client, web, &["10.245.0.20", "10.246.0.20"], PATIENCE);
    api.delete("EndpointSlice", "shop", "web-c1");
    becomes(client, web, &["10.246.0.20"], PATIENCE);
    api.delete("ServiceImport", "shop", "lone");
    becomes(client, lone, &[], PATIENCE);
    let asked = asked(&api);
    let imports = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports ";
    assert!(asked.iter().any(|path| path == imports), "{asked:?}");
}

#[test]
fn only_slices_of_imports_are_asked_for_without_endpoints() {
    let api = FakeApi::start(objects());
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let source = format!("kubeconfig {}", kubeconfig.display());
    let martlet = Setup::new(&corefile(&source, "noendpoints")).start();
    let client = martlet.client();
    let db = ["10.245.0.31", "10.246.0.31", "10.246.0.33"];
    becomes(client, "db.shop.svc.clusterset.local.", &db, PATIENCE);
    becomes(client, "db.shop.svc.cluster.local.", &[], PATIENCE);
    let slices: Vec<_> = asked(&api)
        .into_iter()
        .filter(|path| path.contains("endpointslices"))
        .collect();
    let expected =
        "/apis/discovery.k8s.io/v1/endpointslices multicluster.kubernetes.io/service-name";
    assert_eq!(slices, [expected]);
}

#[test]
fn a_snapshot_holds_imports() {
    let api = FakeApi::start(objects());
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let state = dir.path().join("state");
    let source = format!(
        "kubeconfig {}\n        snapshot {}",
        kubeconfig.display(),
        state.display()
    );
    let corefile = corefile(&source, "startup_timeout 10m");
    let mut martlet = Setup::new(&corefile).start();
    let written = wait_until(PATIENCE, || state.exists().then_some(()));
    assert!(written.is_some(), "{}", martlet.log());
    assert!(martlet.stop().success());
    api.go_down();
    let martlet = Setup::new(&corefile)
        .until_it_answers("web.shop.svc.cluster.local.")
        .start();
    let client = martlet.client();
    for (name, expected) in [
        ("web.shop.svc", "NOERROR 10.97.0.20"),
        ("db-0.c2.db.shop.svc", "NOERROR 10.246.0.31"),
        ("10-246-0-33.c2.db.shop.svc", "NOERROR 10.246.0.33"),
    ] {
        let found = told(&client, &format!("{name}.clusterset.local."), "A");
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn tools_know_imports() {
    let dir = TempDir::new().expect("the temporary directory is writable");
    let corefile = corefile("manifests cluster.yaml", "").replace("{PORT}", "27362");
    fs::write(dir.path().join("Corefile"), corefile).expect("the directory is writable");
    fs::write(dir.path().join("cluster.yaml"), manifest(&objects())).expect("as before");
    let run = |arguments: &[&str]| run_binary(dir.path(), arguments).stdout;
    let dump = run(&["dump", "--zone", "clusterset.local"]);
    for line in [
        "db-0.c1.db.shop.svc.clusterset.local.",
        "10.97.0.20",
        "_http._tcp.db.shop",
    ] {
        assert!(dump.contains(line), "{line}: {dump}");
    }
    assert!(!dump.contains("10.96.0.20"), "{dump}");
    let explain = run(&["explain", "db-0.c1.db.shop.svc.clusterset.local"]);
    let means = "endpoint `db-0` in cluster `c1` of ServiceImport `db` in namespace `shop`";
    assert!(explain.contains(means), "{explain}");
    let explain = run(&["explain", "db-0.c9.db.shop.svc.clusterset.local"]);
    assert!(explain.contains("is called `db-0.c9`"), "{explain}");
    let explain = run(&["explain", "none.shop.svc.clusterset.local"]);
    assert!(explain.contains("has no ServiceImport `none`"), "{explain}");
}
