//! Dashboard and alerts ask for metrics, and labels of them, that a server has.

use std::collections::BTreeSet;
use std::fs;

use martlet_tests::tools::repository;
use martlet_tests::{Scrape, Setup, Upstream};
use regex::Regex;
use serde_json::Value;

use super::{folder, only};
use crate::fixtures::{cluster, manifest};

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:coredns|martlet|process|go)_\w+").expect("a pattern");
    let found = name.find_iter(expression);
    found.map(|name| name.as_str().to_owned()).collect()
}

/// The expressions of all alerts.
fn alerts() -> Vec<String> {
    let objects = folder("components/monitoring");
    let groups = &only(&objects, "PrometheusRule")["spec"]["groups"];
    let rules = groups[0]["rules"].as_array().expect("a list");
    let expression = |rule: &Value| rule["expr"].as_str().expect("a text").to_owned();
    rules.iter().map(expression).collect()
}

/// The expressions of all panels.
fn panels() -> Vec<String> {
    let path = repository().join("deploy/grafana/martlet.json");
    let text = fs::read_to_string(path).expect("it can be read");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("a list"));
    let expression = |target: &Value| target["expr"].as_str().expect("a text").to_owned();
    targets.map(expression).collect()
}

#[test]
fn what_they_ask_for_is_there() {
    let upstream = Upstream::start("a");
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    errors\n    kubernetes cluster.local {{\n        \
         manifests cluster.yaml\n    }}\n    prometheus 127.0.0.1:{{PORT2}}\n    forward . {}\n    \
         cache\n    reload\n}}\n",
        upstream.address()
    );
    let setup = Setup::new(&corefile).file("cluster.yaml", &manifest(&cluster()));
    let martlet = setup.start();
    for _ in 0..2 {
        martlet.client().ask("a.wild.test.", "A");
    }
    let scrape = Scrape::of(martlet.nth_port(2));
    let families = scrape.types.keys().cloned();
    let samples = scrape.samples.iter().map(|sample| sample.name.clone());
    let known: BTreeSet<_> = families.chain(samples).collect();
    let (alerts, panels) = (alerts(), panels());
    assert!(alerts.len() > 5 && panels.len() > 10);
    for expression in alerts.iter().chain(&panels) {
        let named = named(expression);
        assert!(!named.is_empty(), "{expression}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {expression}");
    }
}
