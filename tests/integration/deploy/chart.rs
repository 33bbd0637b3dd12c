//! The Helm chart: `deploy/helm/rendered.yaml` is what it gives with its default values,
//! `deploy/helm/rendered-all.yaml` with those that switch all of it on.

use std::fs;
use std::process::Command;

use martlet_tests::tools::repository;

use super::manifests::{assert_consistent, assert_scales_and_is_scraped, assert_serves};
use super::{documents, only};

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
    ] {
        assert_eq!(
            [count(&own, kind), count(&all, kind)],
            [with_own, with_all],
            "{kind}"
        );
    }
    let objects = documents(&all);
    assert_scales_and_is_scraped(&objects, &objects);
    // Whoever scales has the last word on replicas.
    assert!(
        only(&objects, "Deployment")["spec"]
            .get("replicas")
            .is_none()
    );
    assert_eq!(only(&documents(&own), "Deployment")["spec"]["replicas"], 2);
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
    let folder = repository().join("deploy/helm");
    for (rendered, values) in RENDERED {
        let mut script = Command::new("python3");
        script.arg(folder.join("render"));
        script.args(values.map(|values| folder.join(values)));
        let output = script.output().expect("it has just been started");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), read(rendered));
    }
}
