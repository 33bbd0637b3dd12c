//! The manifests agree with each other, and with what the server does.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use martlet_tests::{FakeApi, Setup, run_binary, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{corefile, folder, only};
use crate::fixtures::{becomes, becomes_ready, cluster, status};

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
        (":5300 {", ":{PORT5} {\n    bind 127.0.0.1".to_owned()),
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

/// Returns what it needs of its manifests.
pub(super) fn assert_passes_check(corefile: &str) -> Value {
    let dir = TempDir::new().expect("the temporary directory is writable");
    fs::write(dir.path().join("Corefile"), corefile).expect("it is writable");
    let checked = run_binary(dir.path(), &["check", "--needs", "Corefile"]);
    assert_eq!(checked.code, Some(0), "{}{corefile}", checked.stderr);
    serde_json::from_str(&checked.stdout).expect("it is JSON")
}

fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
}

/// The policy lets in who asks and scrapes, and out what the Corefile and the API server need.
fn assert_lets_through(policy: &Value, container: &Value, needs: &Value) {
    let open = |direction: &str| {
        let rules = list(&policy["spec"][direction]).iter();
        let ports = rules.flat_map(|rule| list(&rule["ports"]).clone());
        // Without a protocol it is TCP.
        let ports = ports.map(|port| (port["port"].clone(), port.get("protocol").cloned()));
        ports
            .map(|(port, protocol)| (port, protocol.unwrap_or_else(|| json!("TCP"))))
            .collect::<Vec<_>>()
    };
    let (ingress, egress) = (open("ingress"), open("egress"));
    for port in list(&container["ports"]) {
        let port = (port["containerPort"].clone(), port["protocol"].clone());
        assert!(ingress.contains(&port), "closed: {port:?}");
    }
    let api = json!({"port": 6443, "protocol": "TCP"});
    for (open, needed, of) in [
        (&ingress, list(&needs["ports"]).clone(), "ports"),
        (&egress, list(&needs["upstreams"]).clone(), "upstreams"),
        (&egress, vec![api], "the API server"),
    ] {
        for port in needed {
            let port = (port["port"].clone(), port["protocol"].clone());
            assert!(open.contains(&port), "{of}: closed: {port:?}");
        }
    }
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
    assert_eq!(names[..3], ["dns", "dns-tcp", "metrics"]);

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
    let needs = assert_passes_check(corefile(objects));
    for port in list(&needs["ports"]) {
        assert!(has_port(&port["port"], &port["protocol"]), "{port}");
    }
    if let Some(policy) = objects.iter().find(|o| o["kind"] == "NetworkPolicy") {
        assert_lets_through(policy, container, &needs);
    }

    for (probe, path, port) in [
        ("livenessProbe", "/health", 8080),
        ("readinessProbe", "/ready", 8181),
    ] {
        let get = &container[probe]["httpGet"];
        assert_eq!((&get["path"], &get["port"]), (&json!(path), &json!(port)));
        assert!(has_port(&get["port"], &json!("TCP")));
        let served = path.trim_start_matches('/');
        assert!(list(&needs[served]).contains(&json!(port)), "{needs}");
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
    let config = &pod["volumes"][0];
    let map = config
        .pointer("/projected/sources/0/configMap/name")
        .unwrap_or_else(|| &config["configMap"]["name"]);
    assert_eq!(map, &only(objects, "ConfigMap")["metadata"]["name"]);
    let mount = &container["volumeMounts"][0];
    assert_eq!(mount["name"], config["name"]);
    let path = mount["mountPath"].as_str().expect("a path");
    assert_eq!(
        container["args"],
        json!(["-conf", format!("{path}/Corefile")])
    );

    // After lameduck, those who wait for upstreams are answered, in five seconds at most.
    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    assert!(grace >= needs["lameduck"].as_u64().map(|lameduck| lameduck + 10));
    let update = &deployment["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(update, &json!({"maxUnavailable": 0, "maxSurge": 1}));
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    let security = &pod["securityContext"];
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    for spread in list(&pod["topologySpreadConstraints"]) {
        assert!(selects(&spread["labelSelector"]["matchLabels"], labels));
    }
    assert!(pod["affinity"].is_object());
    assert_hardened(container);
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
    assert!(container["resources"]["requests"]["cpu"].is_string());
}

/// The role grants what the server asks for, the server asks for all that it grants, and the
/// Corefile answers.
pub(super) fn assert_serves(objects: &[Value]) {
    let rules = &only(objects, "ClusterRole")["rules"];
    let needs = assert_passes_check(corefile(objects));
    assert_eq!(granted(rules), granted(&needs["rules"]));
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
    becomes_ready(Ipv4Addr::LOCALHOST, martlet.nth_port(3));
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

/// The resources of rules with their groups.
fn granted(rules: &Value) -> BTreeSet<String> {
    let rules = list(rules).iter();
    let of_rule = |rule: &Value| {
        let group = rule["apiGroups"][0].clone();
        let resources = list(&rule["resources"]).clone().into_iter();
        resources.map(move |resource| format!("{group} {resource}"))
    };
    rules.flat_map(of_rule).collect()
}

#[test]
fn the_base_agrees_with_itself() {
    let objects = folder("base");
    assert_consistent(&objects);
    let pod = &only(&objects, "Deployment")["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    let apart = "/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/\
                 podAffinityTerm/labelSelector/matchLabels";
    assert!(selects(pod.pointer(apart).expect("it is there"), labels));
    assert!(!list(&pod["spec"]["topologySpreadConstraints"]).is_empty());
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
