//! The Helm chart: `deploy/helm/rendered.yaml` is what it gives with its default values.

use std::fs;
use std::process::Command;

use martlet_tests::tools::repository;

use super::documents;
use super::manifests::{assert_consistent, assert_serves};

fn rendered() -> String {
    let path = repository().join("deploy/helm/rendered.yaml");
    fs::read_to_string(path).expect("it can be read")
}

#[test]
fn it_is_consistent_and_serves() {
    let objects = documents(&rendered());
    assert_consistent(&objects);
    assert_serves(&objects);
}

/// Where Helm's engine is at hand; it is in no package of Debian.
#[test]
fn what_is_rendered_is_the_chart() {
    let python = Command::new("python3")
        .args(["-c", "import helm_python, yaml"])
        .output();
    if !python.is_ok_and(|output| output.status.success()) {
        println!("skipped: helm-python-sdk is not installed");
        return;
    }
    let script = repository().join("deploy/helm/render");
    let output = Command::new("python3").arg(script).output();
    let output = output.expect("it has just been started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), rendered());
}
