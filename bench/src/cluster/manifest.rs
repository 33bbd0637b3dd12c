//! Writing a cluster down the way `kubectl get … -o yaml` (or `-o json`) prints it.
//!
//! One file lists the Namespaces; then each namespace has a file with its Services and
//! EndpointSlices. Objects are printed one at a time into the file, so the writer's memory does
//! not grow with the cluster, and a reader that takes file by file stays small too.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::workload::Slice;
use super::{Cluster, Family, Workload};

/// How manifests are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// As `-o yaml`.
    Yaml,
    /// As `-o json`.
    Json,
}

impl Format {
    const fn extension(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
        }
    }
}

/// Why a cluster could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// What is written besides Namespaces, Services and EndpointSlices, as few settings need it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extras {
    /// The Pods themselves, by far the largest part.
    pub pods: bool,
    /// The Endpoints of `v1`.
    pub v1_endpoints: bool,
}

/// Writes `cluster` into the folder `directory`, which is created when missing.
pub fn write(
    cluster: &Cluster,
    directory: &Path,
    format: Format,
    extras: Extras,
) -> Result<(), WriteError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { path, source }
    };
    std::fs::create_dir_all(directory).map_err(fail(directory))?;
    let path = directory.join(format!("namespaces.{}", format.extension()));
    let namespaces = (0..)
        .zip(cluster.namespaces())
        .map(|(index, name)| namespace(index, &name));
    write_list(&path, format, namespaces).map_err(fail(&path))?;
    for (index, name) in (0..).zip(cluster.namespaces()) {
        let of_namespace = cluster.workloads_of(index).filter(|_| extras.pods);
        let pods = of_namespace.flat_map(|workload| {
            let endpoints = workload.endpoints.clone();
            endpoints.map(move |endpoint| pod(&workload, endpoint))
        });
        let path = directory.join(format!("{name}.{}", format.extension()));
        let services = cluster
            .workloads_of(index)
            .map(|workload| service(&workload));
        let slices = cluster.workloads_of(index).flat_map(|workload| {
            let slices: Vec<_> = workload.slices().collect();
            slices
                .into_iter()
                .map(move |slice| endpoint_slice(&workload, &slice))
        });
        let of_namespace = cluster.workloads_of(index).filter(|_| extras.v1_endpoints);
        let endpoints = of_namespace.map(|workload| v1_endpoints(&workload));
        let items = services.chain(slices).chain(endpoints).chain(pods);
        write_list(&path, format, items).map_err(fail(&path))?;
    }
    Ok(())
}

fn write_list(path: &Path, format: Format, items: impl Iterator<Item = Value>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    match format {
        Format::Yaml => write_yaml(&mut out, items)?,
        Format::Json => write_json(&mut out, items)?,
    }
    out.flush()
}

/// Prints a `List` in YAML. kubectl sorts keys and does not indent sequences.
fn write_yaml(out: &mut impl Write, items: impl Iterator<Item = Value>) -> io::Result<()> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    let mut items = items.peekable();
    if items.peek().is_none() {
        out.write_all(b"apiVersion: v1\nitems: []\n")?;
    } else {
        out.write_all(b"apiVersion: v1\nitems:\n")?;
    }
    for item in items {
        let text = serde_saphyr::to_string_with_options(&item, options.clone())
            .map_err(io::Error::other)?;
        let mut lead = "- ";
        for line in text.lines() {
            writeln!(out, "{lead}{line}")?;
            lead = "  ";
        }
    }
    out.write_all(b"kind: List\nmetadata:\n  resourceVersion: \"\"\n")
}

/// Prints a `List` in JSON, four spaces an indent.
fn write_json(out: &mut impl Write, items: impl Iterator<Item = Value>) -> io::Result<()> {
    out.write_all(b"{\n    \"apiVersion\": \"v1\",\n    \"items\": [")?;
    let mut lead = "\n";
    for item in items {
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        serde::Serialize::serialize(&item, &mut serializer)?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        out.write_all(lead.as_bytes())?;
        out.write_all(b"        ")?;
        out.write_all(text.replace('\n', "\n        ").as_bytes())?;
        lead = ",\n";
    }
    out.write_all(b"\n    ],\n    \"kind\": \"List\",\n    \"metadata\": {\n")?;
    out.write_all(b"        \"resourceVersion\": \"\"\n    }\n}\n")
}

fn namespace(index: u32, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "creationTimestamp": CREATED,
            "labels": { "kubernetes.io/metadata.name": name },
            "name": name,
            "resourceVersion": version(index),
            "uid": uid("0001", index),
        },
        "spec": { "finalizers": ["kubernetes"] },
        "status": { "phase": "Active" },
    })
}

fn service(workload: &Workload) -> Value {
    let ports: Vec<Value> = workload
        .ports
        .iter()
        .map(|port| {
            let mut value = json!({
                "port": port.number,
                "protocol": port.protocol,
                "targetPort": port.target,
            });
            if !port.name.is_empty() {
                value["name"] = port.name.into();
            }
            value
        })
        .collect();
    let cluster_ips: Vec<String> = if workload.headless {
        vec!["None".into()]
    } else {
        workload.cluster_ips().map(|ip| ip.to_string()).collect()
    };
    let families: Vec<&str> = workload
        .families()
        .iter()
        .map(|family| family.as_str())
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "creationTimestamp": CREATED,
            "labels": { "app": workload.name },
            "name": workload.name,
            "namespace": workload.namespace,
            "resourceVersion": version(workload.index),
            "uid": uid("0002", workload.index),
        },
        "spec": {
            "clusterIP": cluster_ips[0],
            "clusterIPs": cluster_ips,
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": families,
            "ipFamilyPolicy": if workload.dual_stack { "PreferDualStack" } else { "SingleStack" },
            "ports": ports,
            "selector": { "app": workload.name },
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": { "loadBalancer": {} },
    })
}

fn pod(workload: &Workload, endpoint: u32) -> Value {
    let addresses = workload
        .families()
        .iter()
        .map(|&family| workload.pod_ip(endpoint, family).to_string());
    let addresses: Vec<Value> = addresses.map(|ip| json!({ "ip": ip })).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "creationTimestamp": CREATED,
            "labels": { "app": workload.name },
            "name": workload.pod_name(endpoint),
            "namespace": workload.namespace,
            "resourceVersion": version(endpoint),
            "uid": uid("0004", endpoint),
        },
        "spec": {
            "containers": [{ "image": "registry.example/app:1", "name": "app" }],
            "nodeName": format!("node-{}", endpoint % NODES),
        },
        "status": {
            "phase": "Running",
            "podIP": addresses[0]["ip"],
            "podIPs": addresses,
        },
    })
}

/// The ports that pods listen on. Unlike a Service's, an unnamed one is printed with an empty name.
fn target_ports(workload: &Workload) -> Vec<Value> {
    let ports = workload.ports.iter();
    ports
        .map(|port| json!({ "name": port.name, "port": port.target, "protocol": port.protocol }))
        .collect()
}

/// The addresses of the first family, as the endpoints controller lists them.
fn v1_endpoints(workload: &Workload) -> Value {
    let addresses: Vec<Value> = workload
        .endpoints
        .clone()
        .map(|index| {
            let mut address = json!({ "ip": workload.pod_ip(index, Family::V4).to_string() });
            if let Some(hostname) = workload.hostname(index) {
                address["hostname"] = hostname.into();
            }
            address
        })
        .collect();
    let ports = target_ports(workload);
    let subsets = match addresses.is_empty() {
        true => json!([]),
        false => json!([{ "addresses": addresses, "ports": ports }]),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "creationTimestamp": CREATED,
            "name": workload.name,
            "namespace": workload.namespace,
            "resourceVersion": version(workload.index),
            "uid": uid("0005", workload.index),
        },
        "subsets": subsets,
    })
}

fn endpoint_slice(workload: &Workload, slice: &Slice) -> Value {
    let endpoints: Vec<Value> = slice
        .endpoints
        .clone()
        .map(|index| endpoint(workload, index, slice.family))
        .collect();
    let ports = target_ports(workload);
    let mut labels = json!({
        "app": workload.name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": workload.name,
    });
    if workload.headless {
        labels["service.kubernetes.io/headless"] = "".into();
    }
    json!({
        "addressType": slice.family.as_str(),
        "apiVersion": "discovery.k8s.io/v1",
        "endpoints": endpoints,
        "kind": "EndpointSlice",
        "metadata": {
            "creationTimestamp": CREATED,
            "generateName": format!("{}-", workload.name),
            "generation": 1,
            "labels": labels,
            "name": slice.name,
            "namespace": workload.namespace,
            "ownerReferences": [{
                "apiVersion": "v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "Service",
                "name": workload.name,
                "uid": uid("0002", workload.index),
            }],
            "resourceVersion": version(workload.index),
            "uid": uid(slice.family.uid_part(), slice.endpoints.start),
        },
        "ports": ports,
    })
}

fn endpoint(workload: &Workload, index: u32, family: Family) -> Value {
    let mut value = json!({
        "addresses": [workload.pod_ip(index, family).to_string()],
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "nodeName": format!("node-{}", index % NODES),
        "targetRef": {
            "kind": "Pod",
            "name": workload.pod_name(index),
            "namespace": workload.namespace,
            "uid": uid("0004", index),
        },
        "zone": super::pick(&ZONES, index % NODES),
    });
    if let Some(hostname) = workload.hostname(index) {
        value["hostname"] = hostname.into();
    }
    value
}

impl Family {
    const fn uid_part(self) -> &'static str {
        match self {
            Self::V4 => "0003",
            Self::V6 => "0006",
        }
    }
}

fn version(index: u32) -> String {
    (1_000 + index).to_string()
}

fn uid(kind: &str, index: u32) -> String {
    format!("{index:08x}-{kind}-4000-8000-{index:012x}")
}

const CREATED: &str = "2025-01-01T00:00:00Z";
const NODES: u32 = 500;
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
