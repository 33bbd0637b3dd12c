//! Objects and Corefiles that several modules use.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use martlet_tests::{Client, Setup, wait_until};
use serde_json::{Value, json};

/// A namespace with one label.
pub(crate) fn namespace(name: &str, tier: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, "tier": tier}},
    })
}

/// A Service with a cluster IP and the port `http` (80/TCP), or a headless one for `None`.
pub(crate) fn service(namespace: &str, name: &str, cluster_ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "type": "ClusterIP", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}],
        },
    })
}

/// An EndpointSlice of a Service with ready IPv4 endpoints.
pub(crate) fn slice(namespace: &str, service: &str, addresses: &[&str]) -> Value {
    let endpoint = |address: &&str| json!({"addresses": [address], "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-1"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    })
}

/// A running pod.
pub(crate) fn pod(namespace: &str, name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

/// Two namespaces, Services of both kinds, a pod.
pub(crate) fn cluster() -> Vec<Value> {
    vec![
        namespace("default", "front"),
        namespace("shop", "front"),
        service("default", "kubernetes", "10.96.0.1"),
        service("shop", "web", "10.96.0.20"),
        slice("shop", "web", &["10.244.0.20"]),
        service("shop", "db", "None"),
        slice("shop", "db", &["10.244.0.31", "10.244.0.32"]),
        pod("shop", "web-1", "10.244.0.20"),
    ]
}

/// A headless Service `shop/big` with 100 endpoints: too much for 512 octets.
pub(crate) fn big_service() -> [Value; 2] {
    let addresses: Vec<_> = (1..=100).map(|n| format!("10.244.7.{n}")).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    [
        service("shop", "big", "None"),
        slice("shop", "big", &addresses),
    ]
}

/// The objects as a manifest file: JSON is YAML.
pub(crate) fn manifest(objects: &[Value]) -> String {
    objects
        .iter()
        .map(|object| format!("---\n{object}\n"))
        .collect()
}

/// A Corefile for [`cluster`] in `cluster.yaml`.
pub(crate) const COREFILE: &str = "\
.:{PORT} {
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa {
        manifests cluster.yaml
        pods insecure
    }
}
";

/// A server with these directives. That it is up is seen without them, so that upstreams hear only
/// what a test asks.
pub(crate) fn resolver(directives: &str) -> Setup {
    let corefile = format!(
        "ready.local:{{PORT}} {{\n    bind 127.0.0.1\n    whoami\n}}\n\
         .:{{PORT}} {{\n    bind 127.0.0.1\n    {directives}\n}}\n"
    );
    Setup::new(&corefile).until_it_answers("x.ready.local.")
}

/// `forward .` to these addresses with these options, one a line.
pub(crate) fn forward(to: &[SocketAddr], options: &str) -> String {
    let to: Vec<_> = to.iter().map(SocketAddr::to_string).collect();
    format!("forward . {} {{\n{options}\n}}", to.join(" "))
}

/// Asks until the answer holds exactly these addresses, at most so long.
pub(crate) fn becomes(client: Client, name: &str, addresses: &[&str], patience: Duration) {
    let mut expected: Vec<IpAddr> = addresses
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    expected.sort_unstable();
    let mut last = None;
    let found = wait_until(patience, || {
        let reply = client.ask(name, "A");
        let mut found = reply.addresses();
        found.sort_unstable();
        let equal = found == expected;
        last = Some((reply.rcode, found));
        equal.then_some(())
    });
    assert!(
        found.is_some(),
        "{name}: expected {expected:?}, last was {last:?}"
    );
}

/// The status of a path on a port of 127.0.0.1.
pub(crate) fn status(port: u16, path: &str) -> String {
    status_at(Ipv4Addr::LOCALHOST, port, path)
}

/// Waits for `/ready` to say so: that is a moment after the first answer, as the sockets are open before.
pub(crate) fn becomes_ready(address: Ipv4Addr, port: u16) {
    let ready = wait_until(Duration::from_secs(5), || {
        (status_at(address, port, "/ready") == "200").then_some(())
    });
    assert!(ready.is_some(), "it does not become ready");
}

/// The status of a path on a port of this address.
pub(crate) fn status_at(address: Ipv4Addr, port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((address, port)).expect("it is open");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers");
    reply.split(' ').nth(1).unwrap_or_default().to_owned()
}
