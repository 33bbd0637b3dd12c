//! What kustomize makes of the folders, where a kubectl is at hand that knows components; Debian's
//! does not.

use std::process::Command;

use martlet_tests::tools::repository;
use serde_json::Value;

use super::manifests::{assert_consistent, assert_scales_and_is_scraped};
use super::{documents, folder, only};

/// What `kubectl kustomize` prints for a folder in `deploy/kustomize`; None without kubectl.
fn build(name: &str) -> Option<Vec<Value>> {
    let folder = repository().join("deploy/kustomize").join(name);
    let mut kubectl = Command::new("kubectl");
    let version = kubectl.args(["version", "--client"]).output().ok()?;
    // Versions before it was told beside kubectl's own have an old one inside.
    if !String::from_utf8_lossy(&version.stdout).contains("Kustomize Version: v5") {
        println!("skipped: no kubectl with kustomize 5");
        return None;
    }
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(folder)
        .output();
    let output = output.expect("it has just been started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{name}: {told}");
    Some(documents(&String::from_utf8_lossy(&output.stdout)))
}

#[test]
fn folders_are_what_their_files_say() {
    for (name, count) in [("base", 8), ("node-local", 3)] {
        let Some(built) = build(name) else { return };
        assert_eq!(built.len(), count, "{name}");
        assert_eq!(built.len(), folder(name).len(), "{name}");
        let is_workload = |object: &&Value| object["spec"]["template"].is_object();
        let workload = built.iter().find(is_workload).expect("one that runs");
        let image = &workload["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(image, "martlet:0.1.0");
        if name == "base" {
            assert_consistent(&built);
        }
    }
}

/// The example of how the base is used: its own image and address, and all components.
#[test]
fn the_example_has_all_that_it_asks_for() {
    let Some(built) = build("example") else {
        return;
    };
    assert_consistent(&built);
    assert_scales_and_is_scraped(&built, &built);
    let deployment = only(&built, "Deployment");
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "example.org/dns/martlet:0.1.0");
    assert_eq!(only(&built, "Service")["spec"]["clusterIP"], "10.43.0.10");
    only(&built, "PrometheusRule");
    // Whoever scales has the last word on replicas.
    assert!(deployment["spec"].get("replicas").is_none());
}
