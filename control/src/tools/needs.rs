//! `check --needs`: what a Corefile needs around it, as JSON, for those who write manifests: a Service
//! and a network policy have to know its ports and those of its upstreams, probes where it is asked,
//! a role what it reads.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::assemble::source_settings;
use crate::cluster::source::api;
use crate::corefile::{
    Corefile, Destination, Forward, KubernetesSource, ListenAddress, Scheme, ServerBlock,
    Transport, Upstream,
};

/// What a Corefile needs. The field names are part of the command line's promises.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Needs {
    /// Where clients ask.
    ports: BTreeSet<Port>,
    /// Where others than this machine ask for `/health`, `/ready` and `/metrics`.
    health: BTreeSet<u16>,
    ready: BTreeSet<u16>,
    metrics: BTreeSet<u16>,
    /// Seconds, of which a part counts as a whole one.
    lameduck: u64,
    /// Ports of upstreams.
    upstreams: BTreeSet<Port>,
    /// What is read from the API server, as rules of a ClusterRole.
    rules: Vec<Rule>,
}

/// A port as manifests have it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Port {
    port: u16,
    protocol: &'static str,
}

/// A rule of a ClusterRole.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: [&'static str; 1],
    resources: Vec<&'static str>,
    verbs: [&'static str; 2],
}

impl Needs {
    /// Those of a Corefile; `dns_port` is that of addresses that name none.
    pub(super) fn of(corefile: &Corefile, dns_port: u16) -> Self {
        let mut needs = Self::default();
        let mut resources = BTreeSet::new();
        for block in &corefile.blocks {
            for address in &block.addresses {
                let port = address
                    .port
                    .unwrap_or_else(|| address.scheme.default_port(dns_port));
                let is_dns = address.scheme == Scheme::Dns;
                needs.ports.extend(ports(port, is_dns));
            }
            needs.probes(block);
            for forward in &block.directives.forward {
                needs.upstreams.extend(upstreams(forward));
            }
            if let Some(kubernetes) = &block.directives.kubernetes
                && !matches!(kubernetes.source, KubernetesSource::Manifests(_))
                && let Ok(settings) = source_settings(kubernetes, &block.position)
            {
                resources.extend(settings.kinds().map(api::resource));
            }
        }
        for (group, resource) in resources {
            match needs
                .rules
                .last_mut()
                .filter(|rule| rule.api_groups == [group])
            {
                Some(rule) => rule.resources.push(resource),
                None => needs.rules.push(Rule {
                    api_groups: [group],
                    resources: vec![resource],
                    verbs: ["list", "watch"],
                }),
            }
        }
        needs
    }

    fn probes(&mut self, block: &ServerBlock) {
        let directives = &block.directives;
        if let Some(health) = &directives.health {
            self.health.extend(reachable(&health.address));
            let lameduck = health.lameduck.as_millis().div_ceil(1_000);
            self.lameduck = self
                .lameduck
                .max(u64::try_from(lameduck).unwrap_or(u64::MAX));
        }
        if let Some(ready) = &directives.ready {
            self.ready.extend(reachable(&ready.address));
        }
        if let Some(prometheus) = &directives.prometheus {
            self.metrics.extend(reachable(&prometheus.address));
        }
    }
}

/// A port over TCP and, for plain DNS, over UDP.
fn ports(port: u16, is_dns: bool) -> impl Iterator<Item = Port> {
    let protocols = ["TCP", "UDP"].into_iter().take(1 + usize::from(is_dns));
    protocols.map(move |protocol| Port { port, protocol })
}

/// The port of an address that others can reach.
fn reachable(address: &ListenAddress) -> Option<u16> {
    let is_local = match address.host.parse::<std::net::IpAddr>() {
        Ok(host) => host.is_loopback(),
        Err(_) => &*address.host == "localhost",
    };
    (!is_local).then_some(address.port)
}

fn upstreams(forward: &Forward) -> impl Iterator<Item = Port> {
    let all = forward.to.iter().map(|to: &Upstream| {
        let is_dns = to.transport == Transport::Dns;
        match &to.destination {
            Destination::Address(address) => (address.port(), is_dns),
            Destination::Host { port, .. } => (*port, is_dns),
            Destination::File(_) => (to.transport.default_port(), is_dns),
        }
    });
    all.flat_map(|(port, is_dns)| ports(port, is_dns))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn needs(text: &str) -> Value {
        let corefile = crate::corefile::parse("Corefile", text).expect("it is sound");
        serde_json::to_value(Needs::of(&corefile, 53)).expect("it is plain data")
    }

    fn rule(group: &str, resources: &[&str]) -> Value {
        json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]})
    }

    #[test]
    fn what_manifests_must_know_is_told() {
        let both = |port: u16| {
            [
                json!({"port": port, "protocol": "TCP"}),
                json!({"port": port, "protocol": "UDP"}),
            ]
        };
        let tcp = |port: u16| json!({"port": port, "protocol": "TCP"});
        let cases = [
            (". {\n whoami\n}", "ports", json!(both(53))),
            (".:8053 {\n whoami\n}", "ports", json!(both(8053))),
            (
                "a b:54 {\n whoami\n}\ntls://c {\n tls c k\n whoami\n}",
                "ports",
                json!([both(53).to_vec(), both(54).to_vec(), vec![tcp(853)]].concat()),
            ),
            (". {\n health\n}", "health", json!([8080])),
            (
                ". {\n health 127.0.0.1:80\n ready [::1]:81\n}",
                "health",
                json!([]),
            ),
            (". {\n ready 0.0.0.0:81\n}", "ready", json!([81])),
            (". {\n prometheus localhost:9153\n}", "metrics", json!([])),
            (
                "a {\n prometheus\n}\nb {\n prometheus :1\n}",
                "metrics",
                json!([1]),
            ),
            (". {\n whoami\n}", "lameduck", json!(0)),
            (
                "a {\n health {\n lameduck 1500ms\n }\n}\nb {\n whoami\n}",
                "lameduck",
                json!(2),
            ),
            (
                ". {\n forward . /etc/resolv.conf\n}",
                "upstreams",
                json!(both(53)),
            ),
            (
                ". {\n forward a 1.1.1.1:5353 tls://1.1.1.1\n forward . https://1.1.1.1 tls://[::1]:54\n}",
                "upstreams",
                json!([vec![tcp(54), tcp(443), tcp(853)], both(5353).to_vec()].concat()),
            ),
            (". {\n whoami\n}", "rules", json!([])),
            (
                ". {\n kubernetes {\n manifests a\n pods verified\n }\n}",
                "rules",
                json!([]),
            ),
            (
                ". {\n kubernetes {\n noendpoints\n pods insecure\n }\n}",
                "rules",
                json!([rule("", &["namespaces", "services"])]),
            ),
            (
                "a {\n kubernetes {\n noendpoints\n }\n}\nb {\n kubernetes {\n pods verified\n multicluster b\n }\n}",
                "rules",
                json!([
                    rule("", &["namespaces", "pods", "services"]),
                    rule("discovery.k8s.io", &["endpointslices"]),
                    rule("multicluster.x-k8s.io", &["serviceimports"]),
                ]),
            ),
        ];
        for (text, field, expected) in cases {
            let mut expected = expected;
            let mut found = needs(text)[field].take();
            for list in [&mut expected, &mut found] {
                if let (true, Value::Array(list)) = (field != "rules", list) {
                    list.sort_by_key(ToString::to_string);
                }
            }
            assert_eq!(found, expected, "{field} of {text}");
        }
    }
}
