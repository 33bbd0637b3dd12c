//! Dashboard and alerts ask for metrics, and labels of them, that a server has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use martlet_tests::tools::{available, repository};
use martlet_tests::{Scrape, Setup, Upstream};
use regex::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{folder, only};
use crate::fixtures::{cluster, manifest};

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:coredns|martlet|process|go)_\w+").expect("a pattern");
    let found = name.find_iter(expression);
    found.map(|name| name.as_str().to_owned()).collect()
}

/// The labels that it names, but for those that Prometheus adds.
fn labels(expression: &str) -> BTreeSet<String> {
    let lists = Regex::new(r"\bby \(([^)]*)\)|\{([^}]*)\}").expect("a pattern");
    let label = Regex::new(r#"(\w+)(?:!?[=~]+"[^"]*")?(?:, *|$)"#).expect("a pattern");
    let mut found = BTreeSet::new();
    for list in lists.captures_iter(expression) {
        let list = list.get(1).or_else(|| list.get(2)).expect("one of them");
        found.extend(
            label
                .captures_iter(list.as_str())
                .map(|label| label[1].to_owned()),
        );
    }
    found.retain(|label| !["instance", "pod"].contains(&&**label));
    found
}

/// All alerts.
fn rules() -> Vec<Value> {
    let objects = folder("components/monitoring");
    let groups = &only(&objects, "PrometheusRule")["spec"]["groups"];
    groups[0]["rules"].as_array().expect("a list").clone()
}

/// Their expressions.
fn alerts() -> Vec<String> {
    let expression = |rule: &Value| rule["expr"].as_str().expect("a text").to_owned();
    rules().iter().map(expression).collect()
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
        let of_named = scrape
            .samples
            .iter()
            .filter(|sample| named.contains(&sample.name));
        let known: BTreeSet<_> = of_named
            .flat_map(|sample| sample.labels.keys().cloned())
            .collect();
        let labels = labels(expression);
        assert!(
            labels.is_subset(&known),
            "{labels:?}, {known:?}: {expression}"
        );
    }
}

#[test]
fn labels_are_found() {
    let found = labels(r#"sum by (a, b) (x{c="d", e!~"f"}) / sum(y{instance="g"})"#);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "e"]);
}

/// Runs Prometheus' own tool on files of this folder.
fn promtool(folder: &Path, arguments: &[&str]) {
    let mut tool = Command::new("promtool");
    let output = tool.current_dir(folder).args(arguments).output();
    let output = output.expect("it is installed");
    let [told, complaint] = [output.stdout, output.stderr];
    let told = String::from_utf8_lossy(&told) + String::from_utf8_lossy(&complaint);
    assert!(output.status.success(), "{told}");
}

#[test]
fn prometheus_reads_all_expressions() {
    if !available(&["promtool"]) {
        return;
    }
    let record = |(n, panel): (usize, &String)| {
        let expression = panel.replace("$__rate_interval", "5m");
        json!({"record": format!("panel:{n}"), "expr": expression})
    };
    let mut all = rules();
    all.extend(panels().iter().enumerate().map(record));
    let dir = TempDir::new().expect("the temporary directory is writable");
    let groups = json!({"groups": [{"name": "all", "rules": all}]});
    fs::write(dir.path().join("rules"), groups.to_string()).expect("it is writable");
    promtool(dir.path(), &["check", "rules", "rules"]);
}

/// A series without the labels that all have, and its values, a sample a minute, as promtool reads
/// them.
type Series = (&'static str, &'static str);

/// Each alert with series that it is about, and the labels that it has then.
fn faults() -> Vec<(&'static str, Vec<Series>, Value)> {
    let of_pod = || json!({"instance": "10.0.0.1:9153", "pod": "martlet-1"});
    vec![
        (
            "MartletErrors",
            vec![
                (r#"coredns_dns_responses_total{rcode="NOERROR"}"#, "0+98x30"),
                (r#"coredns_dns_responses_total{rcode="SERVFAIL"}"#, "0+2x30"),
            ],
            json!({}),
        ),
        (
            "MartletSlow",
            vec![
                (
                    r#"coredns_dns_request_duration_seconds_bucket{le="1.024"}"#,
                    "0+97x30",
                ),
                (
                    r#"coredns_dns_request_duration_seconds_bucket{le="2.048"}"#,
                    "0+100x30",
                ),
                (
                    r#"coredns_dns_request_duration_seconds_bucket{le="+Inf"}"#,
                    "0+100x30",
                ),
            ],
            json!({}),
        ),
        (
            "MartletNotSynced",
            vec![("martlet_kubernetes_synced", "0x30")],
            of_pod(),
        ),
        (
            "MartletFromSnapshot",
            vec![("martlet_kubernetes_snapshot_served", "1x30")],
            of_pod(),
        ),
        (
            "MartletUpstreamDown",
            vec![(
                r#"coredns_proxy_healthcheck_failures_total{to="192.0.2.1:53"}"#,
                "0+9x30",
            )],
            json!({"to": "192.0.2.1:53"}),
        ),
        (
            "MartletAllUpstreamsDown",
            vec![("coredns_forward_healthcheck_broken_total", "0+9x30")],
            json!({}),
        ),
        (
            "MartletSheds",
            vec![
                ("martlet_slow_path_shed_total", "0+9x30"),
                ("martlet_replies_unsent_total", "0x30"),
            ],
            of_pod(),
        ),
        (
            "MartletReloadFailed",
            vec![("coredns_reload_failed_total", "0x20 1x10")],
            of_pod(),
        ),
        (
            "MartletPanics",
            vec![("coredns_panics_total", "0x20 1x10")],
            of_pod(),
        ),
    ]
}

/// What a server shows that is well.
const WELL: [Series; 12] = [
    (
        r#"coredns_dns_responses_total{rcode="NOERROR"}"#,
        "0+999x30",
    ),
    (r#"coredns_dns_responses_total{rcode="SERVFAIL"}"#, "0+1x30"),
    (
        r#"coredns_dns_request_duration_seconds_bucket{le="0.001"}"#,
        "0+999x30",
    ),
    (
        r#"coredns_dns_request_duration_seconds_bucket{le="+Inf"}"#,
        "0+1000x30",
    ),
    ("martlet_kubernetes_synced", "1x30"),
    ("martlet_kubernetes_snapshot_served", "0x30"),
    (
        r#"coredns_proxy_healthcheck_failures_total{to="192.0.2.1:53"}"#,
        "0x30",
    ),
    ("coredns_forward_healthcheck_broken_total", "0x30"),
    ("martlet_slow_path_shed_total", "0x30"),
    ("martlet_replies_unsent_total", "0x30"),
    ("coredns_reload_failed_total", "0x30"),
    ("coredns_panics_total", "0x30"),
];

/// The series of a pod.
fn input(series: &[Series]) -> Vec<Value> {
    let pod = r#"pod="martlet-1",instance="10.0.0.1:9153""#;
    let of = |(name, values): &Series| {
        let series = match name.strip_suffix('}') {
            Some(labeled) => format!("{labeled},{pod}}}"),
            None => format!("{name}{{{pod}}}"),
        };
        json!({"series": series, "values": values})
    };
    series.iter().map(of).collect()
}

#[test]
fn each_alert_is_raised_by_its_fault_alone() {
    if !available(&["promtool"]) {
        return;
    }
    let rules = rules();
    let (mut names, mut cases) = (Vec::new(), Vec::new());
    let mut quiet = Vec::new();
    for (name, series, labels) in faults() {
        let rule = rules.iter().find(|rule| rule["alert"] == name).expect(name);
        let mut summary = rule["annotations"]["summary"]
            .as_str()
            .expect("a text")
            .to_owned();
        let mut expected = labels.clone();
        for (label, value) in labels.as_object().expect("labels") {
            let value = value.as_str().expect("a text");
            summary = summary.replace(&format!("{{{{ $labels.{label} }}}}"), value);
        }
        expected["severity"] = rule["labels"]["severity"].clone();
        let alerts = json!([{"exp_labels": expected, "exp_annotations": {"summary": summary}}]);
        let at = |alerts| json!({"eval_time": "25m", "alertname": name, "exp_alerts": alerts});
        cases.push(json!({
            "interval": "1m", "input_series": input(&series), "alert_rule_test": [at(alerts)],
        }));
        quiet.push(at(json!([])));
        names.push(name);
    }
    let all: Vec<_> = rules
        .iter()
        .map(|rule| rule["alert"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, all, "each alert has its fault");
    cases.push(json!({
        "interval": "1m", "input_series": input(&WELL), "alert_rule_test": quiet,
    }));
    let dir = TempDir::new().expect("the temporary directory is writable");
    for (file, text) in [
        (
            "rules",
            json!({"groups": [{"name": "martlet", "rules": rules}]}),
        ),
        (
            "tests",
            json!({"rule_files": ["rules"], "evaluation_interval": "1m", "tests": cases}),
        ),
    ] {
        fs::write(dir.path().join(file), text.to_string()).expect("it is writable");
    }
    promtool(dir.path(), &["test", "rules", "tests"]);
}
