//! What lies in `deploy/`: manifests that Kubernetes would take, scripts that do what they say, and
//! a change of servers that loses nothing.

use std::fs;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use martlet_tests::tools::repository;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};
use serde_json::Value;

mod chart;
mod image;
mod kustomize;
mod manifests;
mod monitoring;
mod node_local;
mod pod;
mod rollout;
mod scripts;

/// The documents of a YAML text, each taken by Kubernetes' own type.
fn documents(text: &str) -> Vec<Value> {
    let documents = yaml_serde::Deserializer::from_str(text);
    let documents = documents.map(|document| Value::deserialize(document).expect("it is YAML"));
    let documents: Vec<_> = documents.filter(|document| !document.is_null()).collect();
    documents.iter().for_each(assert_typed);
    documents
}

/// The manifests of a folder in `deploy/kustomize`.
fn folder(name: &str) -> Vec<Value> {
    let path = repository().join("deploy/kustomize").join(name);
    let entries = fs::read_dir(path).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let mut paths: Vec<_> = paths
        .filter(|path| !path.ends_with("kustomization.yaml"))
        .collect();
    paths.sort();
    let read = |path| fs::read_to_string(path).expect("it can be read");
    paths
        .into_iter()
        .map(read)
        .flat_map(|text| documents(&text))
        .collect()
}

/// The one object of a kind.
fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

fn corefile(objects: &[Value]) -> &str {
    only(objects, "ConfigMap")["data"]["Corefile"]
        .as_str()
        .expect("a text")
}

fn assert_typed(object: &Value) {
    match object["kind"].as_str().expect("each object has a kind") {
        "ClusterRole" => assert_is::<ClusterRole>(object),
        "ClusterRoleBinding" => assert_is::<ClusterRoleBinding>(object),
        "ConfigMap" => assert_is::<ConfigMap>(object),
        "DaemonSet" => assert_is::<DaemonSet>(object),
        "Deployment" => assert_is::<Deployment>(object),
        "HorizontalPodAutoscaler" => assert_is::<HorizontalPodAutoscaler>(object),
        "NetworkPolicy" => assert_is::<NetworkPolicy>(object),
        "PodDisruptionBudget" => assert_is::<PodDisruptionBudget>(object),
        "Service" => assert_is::<Service>(object),
        "ServiceAccount" => assert_is::<ServiceAccount>(object),
        // Types of the Prometheus operator.
        "ServiceMonitor" | "PrometheusRule" => {
            assert_eq!(object["apiVersion"], "monitoring.coreos.com/v1");
        }
        kind => panic!("no type for {kind}"),
    }
}

/// Nothing is lost on the way through the type: unknown fields would be ignored by it.
fn assert_is<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("{error}: {object:#}"));
    let known = serde_json::to_value(typed).expect("it is JSON again");
    assert_known(object, &known, "");
}

fn assert_known(object: &Value, known: &Value, path: &str) {
    match (object, known) {
        (Value::Object(fields), Value::Object(known)) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let known = known.get(name);
                assert_known(
                    value,
                    known.unwrap_or_else(|| panic!("no field {path}")),
                    &path,
                );
            }
        }
        (Value::Array(items), Value::Array(known)) => {
            assert_eq!(items.len(), known.len(), "{path}");
            for (item, known) in items.iter().zip(known) {
                assert_known(item, known, path);
            }
        }
        _ => assert_eq!(object, known, "{path}"),
    }
}

#[test]
#[should_panic(expected = "no field .spec.selectr")]
fn a_field_that_kubernetes_has_not_is_found() {
    documents("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selectr: {a: b}}\n");
}
