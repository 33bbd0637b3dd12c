//! The manifests agree with each other, and with what the server does.

use std::fs;
use std::time::Duration;

use martlet_tests::{FakeApi, Setup, run_binary, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{corefile, folder, only};
use crate::fixtures::{becomes, cluster, status};

/// A pod's one container.
fn container(workload: &Value) -> &Value {
    let containers = workload["spec"]["template"]["spec"]["containers"].as_array();
    let containers = containers.expect("a list");
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// Every label that is asked for is there.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().expect("labels");
    selector
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

/// A Corefile of a manifest on free ports of the loopback, with the fixture as its API server.
pub(super) fn on_loopback(corefile: &str, kubeconfig: &str) -> String {
    let replaced = [
        (".:53 {", ".:{PORT} {\n    bind 127.0.0.1".to_owned()),
        (
            ".local:53 {",
            ".local:{PORT} {\n    bind 127.0.0.1".to_owned(),
        ),
        ("health {", "health 127.0.0.1:{PORT2} {".to_owned()),
        ("    ready\n", "    ready 127.0.0.1:{PORT3}\n".to_owned()),
        (
            "prometheus :9153",
            "prometheus 127.0.0.1:{PORT4}".to_owned(),
        ),
        (
            "ip6.arpa {",
            format!("ip6.arpa {{\n        kubeconfig {kubeconfig}"),
        ),
    ];
    replaced
        .iter()
        .fold(corefile.to_owned(), |text, (old, new)| {
            text.replace(old, new)
        })
}

pub(super) fn assert_passes_check(corefile: &str) {
    let dir = TempDir::new().expect("the temporary directory is writable");
    fs::write(dir.path().join("Corefile"), corefile).expect("it is writable");
    let checked = run_binary(dir.path(), &["check", "Corefile"]);
    assert_eq!(checked.code, Some(0), "{}{corefile}", checked.stderr);
}

/// Ports, probes, selectors and rights; of the base, and of what scripts and charts print.
pub(super) fn assert_consistent(objects: &[Value]) {
    let deployment = only(objects, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let container = container(deployment);
    let has_port = |port: &Value, protocol: &Value| {
        let ports = container["ports"].as_array().expect("a list");
        ports
            .iter()
            .any(|own| own["containerPort"] == *port && own["protocol"] == *protocol)
    };

    let service = only(objects, "Service");
    assert_eq!(service["metadata"]["name"], "kube-dns");
    assert_eq!(service["spec"]["selector"], json!({"k8s-app": "kube-dns"}));
    assert!(selects(&service["spec"]["selector"], labels));
    let mut names = Vec::new();
    for port in service["spec"]["ports"].as_array().expect("a list") {
        assert!(has_port(&port["targetPort"], &port["protocol"]), "{port}");
        names.push(port["name"].as_str().expect("a name"));
    }
    assert_eq!(names, ["dns", "dns-tcp", "metrics"]);

    // The server that is replaced may select by `k8s-app` alone; these pods are told apart.
    let own = &deployment["spec"]["selector"]["matchLabels"];
    assert!(selects(own, labels));
    assert!(!selects(own, &json!({"k8s-app": "kube-dns"})));
    for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
        for object in objects.iter().filter(|object| object["kind"] == kind) {
            let spec = &object["spec"];
            let selector = spec.get("selector").unwrap_or_else(|| &spec["podSelector"]);
            assert!(selects(&selector["matchLabels"], labels), "{kind}");
        }
    }
    if let Some(policy) = objects.iter().find(|o| o["kind"] == "NetworkPolicy") {
        let rules = policy["spec"]["ingress"].as_array().expect("a list");
        let open: Vec<_> = rules
            .iter()
            .flat_map(|rule| rule["ports"].as_array().expect("a list"))
            .collect();
        for port in container["ports"].as_array().expect("a list") {
            let is_open = |open: &&&Value| {
                open["port"] == port["containerPort"] && open["protocol"] == port["protocol"]
            };
            assert!(open.iter().any(|open| is_open(&open)), "closed: {port}");
        }
    }

    for (probe, path, port) in [
        ("livenessProbe", "/health", 8080),
        ("readinessProbe", "/ready", 8181),
    ] {
        let get = &container[probe]["httpGet"];
        assert_eq!((&get["path"], &get["port"]), (&json!(path), &json!(port)));
        assert!(has_port(&get["port"], &json!("TCP")));
    }

    let pod = &deployment["spec"]["template"]["spec"];
    let account = only(objects, "ServiceAccount");
    assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
    let binding = only(objects, "ClusterRoleBinding");
    let role = only(objects, "ClusterRole");
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    let subject = &binding["subjects"][0];
    assert_eq!(subject["name"], account["metadata"]["name"]);
    assert_eq!(subject["namespace"], account["metadata"]["namespace"]);
    assert_eq!(
        pod["volumes"][0]["configMap"]["name"],
        only(objects, "ConfigMap")["metadata"]["name"]
    );

    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    assert!(corefile(objects).contains("lameduck 5s") && grace >= Some(15));
    let update = &deployment["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(update["maxUnavailable"], 0);
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_hardened(container);
    assert_passes_check(corefile(objects));
}

fn assert_hardened(container: &Value) {
    let security = &container["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(
        security["capabilities"],
        json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})
    );
    for amount in ["requests", "limits"] {
        assert!(container["resources"][amount]["memory"].is_string());
    }
}

/// The role grants what the server asks for, the server asks for all that it grants, and the
/// Corefile answers.
pub(super) fn assert_serves(objects: &[Value]) {
    let rules = &only(objects, "ClusterRole")["rules"];
    let api = FakeApi::start(cluster());
    api.allow_only(rules.as_array().expect("a list").clone());
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let corefile = on_loopback(corefile(objects), &kubeconfig.display().to_string());
    let martlet = Setup::new(&corefile).start();
    let soon = Duration::from_secs(5);
    let name = "web.shop.svc.cluster.local.";
    becomes(martlet.client(), name, &["10.96.0.20"], soon);
    assert_eq!(status(martlet.nth_port(2), "/health"), "200");
    assert_eq!(status(martlet.nth_port(3), "/ready"), "200");
    let requests = api.recorded();
    let refused: Vec<_> = requests.iter().filter(|r| r.status != 200).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    for rule in rules.as_array().expect("a list") {
        assert_eq!(rule["verbs"], json!(["list", "watch"]));
        for resource in rule["resources"].as_array().expect("a list") {
            let resource = resource.as_str().expect("a name");
            let is_asked = requests.iter().any(|r| r.path.ends_with(resource));
            assert!(is_asked, "granted but not needed: {resource}");
        }
    }
}

#[test]
fn the_base_agrees_with_itself() {
    assert_consistent(&folder("base"));
}

#[test]
fn the_base_serves_with_its_role() {
    assert_serves(&folder("base"));
}

/// The fixture does refuse what is not granted; else the test above would show nothing.
#[test]
fn without_a_right_the_server_is_refused() {
    let api = FakeApi::start(cluster());
    api.allow_only(vec![
        json!({"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]}),
    ]);
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let corefile = on_loopback(corefile(&folder("base")), &kubeconfig.display().to_string());
    let _martlet = Setup::new(&corefile).at_once().start();
    let refused = wait_until(Duration::from_secs(20), || {
        let requests = api.recorded();
        requests.iter().any(|r| r.status == 403).then_some(())
    });
    assert!(refused.is_some());
}

#[test]
fn the_node_local_form_agrees_with_itself() {
    let objects = folder("node-local");
    let corefile = corefile(&objects);
    assert_passes_check(corefile);
    let set = only(&objects, "DaemonSet");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    assert!(selects(
        &set["spec"]["selector"]["matchLabels"],
        &set["spec"]["template"]["metadata"]["labels"]
    ));
    let container = container(set);
    assert_hardened(container);
    for (probe, directive) in [("livenessProbe", "health"), ("readinessProbe", "ready")] {
        let get = &container[probe]["httpGet"];
        let (host, port) = (get["host"].as_str().expect("an address"), &get["port"]);
        assert!(corefile.contains(&format!("{directive} {host}:{port}")));
        assert!(corefile.contains(&format!("bind {host}")));
        let command = pod["initContainers"][0]["command"].to_string();
        assert!(command.contains(&format!("{host}/32")));
    }
    let metrics = &container["ports"][2]["containerPort"];
    assert!(corefile.contains(&format!("prometheus :{metrics}")));
}

#[test]
fn the_components_fit_the_base() {
    let mut components = folder("components/autoscale");
    components.extend(folder("components/monitoring"));
    assert_scales_and_is_scraped(&components, &folder("base"));
}

/// The autoscaler and the scraper are about these objects.
pub(super) fn assert_scales_and_is_scraped(components: &[Value], objects: &[Value]) {
    let target = &only(components, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"];
    assert_eq!(
        target["name"],
        only(objects, "Deployment")["metadata"]["name"]
    );
    let monitor = &only(components, "ServiceMonitor")["spec"];
    let service = only(objects, "Service");
    assert!(selects(
        &monitor["selector"]["matchLabels"],
        &service["metadata"]["labels"]
    ));
    assert_eq!(
        monitor["endpoints"][0]["port"],
        service["spec"]["ports"][2]["name"]
    );
}
