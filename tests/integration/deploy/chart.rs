//! The Helm chart: `deploy/helm/rendered.yaml` is what it gives with its default values,
//! `deploy/helm/rendered-all.yaml` with those that switch all of it on.

use std::env;
use std::fs;
use std::process::Command;

use martlet_tests::tools::{cannot, repository};
use tempfile::TempDir;

use super::manifests::{assert_consistent, assert_scales_and_is_scraped, assert_serves};
use super::{documents, folder, only};

const ALL: &str = "all-values.yaml";

/// What it gives with its own values, and with those of [`ALL`].
const RENDERED: [(&str, Option<&str>); 2] =
    [("rendered.yaml", None), ("rendered-all.yaml", Some(ALL))];

fn read(name: &str) -> String {
    let path = repository().join("deploy/helm").join(name);
    fs::read_to_string(path).expect("it can be read")
}

#[test]
fn it_is_consistent_and_serves() {
    for (rendered, _) in RENDERED {
        let objects = documents(&read(rendered));
        assert_consistent(&objects);
        assert_serves(&objects);
    }
}

#[test]
fn what_is_switched_on_is_there_and_nothing_else() {
    let count = |text: &str, kind: &str| {
        let objects = documents(text);
        objects
            .iter()
            .filter(|object| object["kind"] == kind)
            .count()
    };
    let [own, all] = RENDERED.map(|(rendered, _)| read(rendered));
    for (kind, with_own, with_all) in [
        ("NetworkPolicy", 1, 1),
        ("HorizontalPodAutoscaler", 0, 1),
        ("ServiceMonitor", 0, 1),
        ("PrometheusRule", 0, 1),
    ] {
        assert_eq!(
            [count(&own, kind), count(&all, kind)],
            [with_own, with_all],
            "{kind}"
        );
    }
    let objects = documents(&all);
    assert_scales_and_is_scraped(&objects, &objects);
    // The alerts are those of the Kustomize component.
    assert_eq!(
        only(&objects, "PrometheusRule")["spec"],
        only(&folder("components/monitoring"), "PrometheusRule")["spec"]
    );
    // Whoever scales has the last word on replicas.
    assert!(
        only(&objects, "Deployment")["spec"]
            .get("replicas")
            .is_none()
    );
    assert_eq!(only(&documents(&own), "Deployment")["spec"]["replicas"], 2);
}

/// Python with Helm's engine, which `tests/run` installs; None where it is not to be had.
fn python() -> Option<Command> {
    let engine = repository().join("target/helm");
    let found = env::var("PYTHONPATH").unwrap_or_default();
    let python = || {
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", format!("{}:{found}", engine.display()));
        python
    };
    let tried = python().args(["-c", "import helm_python, yaml"]).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        cannot("helm-python-sdk is not installed");
        return None;
    }
    let mut python = python();
    python.arg(repository().join("deploy/helm/render"));
    Some(python)
}

#[test]
fn what_is_rendered_is_the_chart() {
    for (rendered, values) in RENDERED {
        let Some(mut script) = python() else { return };
        script.args(values.map(|values| repository().join("deploy/helm").join(values)));
        let output = script.output().expect("it has just been started");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), read(rendered));
    }
}

#[test]
fn values_that_would_not_serve_are_refused() {
    let server = |port: u32, plugins: &str| {
        format!("servers: [{{zones: [{{zone: .}}], port: {port}, plugins: [{plugins}]}}]")
    };
    let probes = "{name: health}, {name: ready}";
    for (values, words) in [
        (server(53, probes), None),
        (server(5353, probes), Some("port 53")),
        (server(53, "{name: ready}"), Some("plugin `health`")),
        (server(53, "{name: health}"), Some("plugin `ready`")),
        (server(70_000, probes), Some("servers")),
        ("replicas: 3".to_owned(), Some("replicas")),
        ("replicaCount: 0".to_owned(), Some("replicaCount")),
        (
            "service: {name: a, clusterIP: None}".to_owned(),
            Some("clusterIP"),
        ),
    ] {
        let Some(mut script) = python() else { return };
        let dir = TempDir::new().expect("the temporary directory is writable");
        let file = dir.path().join("values.yaml");
        fs::write(&file, &values).expect("it is writable");
        let output = script.arg(file).output().expect("it has just been started");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), words.is_none(), "{values}: {told}");
        assert!(
            words.is_none_or(|words| told.contains(words)),
            "{values}: {told}"
        );
    }
}
