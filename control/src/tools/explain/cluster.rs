//! What a name is for `kubernetes`: the objects behind it, and why there is nothing.

use std::net::IpAddr;

use martlet_engine::index::{ClusterIndex, Host, Kind, LabelBuf, Port, ServiceName, ServiceNode};
use martlet_engine::plugins::kubernetes::{Cut, Grammar, Kubernetes, Part, PodMode, Subject, Zone};
use martlet_engine::wire::{FoldedName, RType, Rcode};

use crate::corefile::nearest;
use crate::tools::record::{label_text, name_text};

/// How many things of a kind are listed.
const LISTED_MAX: usize = 6;

/// What a name is.
pub(super) struct Meaning {
    /// The plugin's zone that it is in.
    pub(super) zone: String,
    /// Its parts.
    pub(super) means: String,
    /// The objects that it stands for.
    pub(super) objects: Vec<String>,
    /// What is not there.
    missing: Option<String>,
}

impl Meaning {
    /// What `name` is for a `kubernetes`; `None` if it is in none of its zones.
    pub(super) fn of(kubernetes: &Kubernetes, name: &[u8]) -> Option<Self> {
        let mut folded = FoldedName::default();
        folded.parse(name, 0).ok()?;
        let (within, subject) = kubernetes.subject(&folded)?;
        let mut meaning = Self {
            zone: name_text(&within.apex),
            means: String::new(),
            objects: Vec::new(),
            missing: None,
        };
        let zone = &meaning.zone;
        meaning.means = match subject {
            Subject::Apex => "the zone itself".to_owned(),
            Subject::NameServer => "the zone's name server, this server".to_owned(),
            Subject::Version => "the version of the DNS specification".to_owned(),
            Subject::Branch => "nothing but the names below it".to_owned(),
            Subject::Other => {
                let text = format!("names end in NAMESPACE.svc.{zone} or NAMESPACE.pod.{zone}");
                meaning.missing = Some(text);
                "no form that names of the cluster have".to_owned()
            }
            Subject::Reverse(None) => {
                meaning.missing = Some("it does not spell a whole address".to_owned());
                "a part of a reverse name".to_owned()
            }
            Subject::Reverse(Some(address)) => {
                meaning.owners(kubernetes, address);
                format!("the address {address}")
            }
            Subject::Object(cut) if cut.is_pod => meaning.pod(kubernetes, &cut),
            Subject::Object(cut) => meaning.service(kubernetes, within, &cut),
        };
        Some(meaning)
    }

    /// Why a name has no records of a type.
    pub(super) fn missing(&self, rcode: Rcode, qtype: RType) -> Option<String> {
        match rcode {
            Rcode::NXDOMAIN => self.missing.clone(),
            Rcode::NOERROR => Some(format!("the name exists, {qtype} records of it do not")),
            _ => None,
        }
    }

    fn owners(&mut self, kubernetes: &Kubernetes, address: IpAddr) {
        kubernetes.index.address(address, |node| {
            let (services, endpoints) = node.parts();
            for service in services {
                self.objects
                    .push(format!("cluster IP of Service {}", service_text(service)));
            }
            for endpoint in endpoints.iter().take(LISTED_MAX) {
                let service = service_text(&endpoint.service);
                self.objects
                    .push(format!("ready endpoint of Service {service}"));
            }
        });
        self.missing = Some(match self.objects.is_empty() {
            true => format!("no Service and no ready endpoint has the address {address}"),
            false => "the Corefile does not expose the namespace".to_owned(),
        });
    }

    fn pod(&mut self, kubernetes: &Kubernetes, cut: &Cut<'_>) -> String {
        let (namespace, index) = (label_text(cut.namespace().octets), &kubernetes.index);
        let Some(pod) = cut.own_label() else {
            self.missing = namespace_missing(index, &namespace);
            return format!("pods of namespace `{namespace}`");
        };
        let pod = label_text(pod);
        self.missing = match kubernetes.pods {
            PodMode::Disabled => Some("`pods disabled`: names of pods are not answered".to_owned()),
            _ => namespace_missing(index, &namespace).or_else(|| match kubernetes.pods {
                PodMode::Verified => Some(format!("no pod of `{namespace}` has this address")),
                _ => Some(format!("`{pod}` is no address with dashes in it")),
            }),
        };
        format!("the pod with the address `{pod}` in namespace `{namespace}`")
    }

    fn service(&mut self, kubernetes: &Kubernetes, zone: &Zone, cut: &Cut<'_>) -> String {
        let (namespace, index) = (label_text(cut.namespace().octets), &kubernetes.index);
        let Some(key) = cut.service() else {
            self.missing = namespace_missing(index, &namespace);
            return format!("namespace `{namespace}`");
        };
        let service = cut.own_label().map_or_else(String::new, label_text);
        let kind = kind(zone);
        let whole = format!("{kind} `{service}` in namespace `{namespace}`");
        let means = match part_text(cut.part) {
            Some(part) => format!("{part} of {whole}"),
            None => whole,
        };
        let services = kubernetes.index_of(zone).unwrap_or(index);
        let found = services.service(key, |name, node, is_exposed| {
            self.objects.push(service_object(kind, name, node));
            match is_exposed {
                true => why_nothing(node, cut.part),
                false => None,
            }
        });
        self.missing = namespace_missing(index, &namespace).or_else(|| match found {
            Some(why) => why,
            None => Some(service_missing((services, kind), &namespace, &service)),
        });
        means
    }
}

/// What Services are called in a zone.
const fn kind(zone: &Zone) -> &'static str {
    match zone.grammar {
        Grammar::Multicluster => "ServiceImport",
        Grammar::Usual | Grammar::Zonal => "Service",
    }
}

/// What a part of a Service is; `None` for all of it.
fn part_text(part: Part<'_>) -> Option<String> {
    Some(match part {
        _ if part.is_whole() => return None,
        Part::Ports(ports) => {
            let (port, protocol) = (label_text(ports.port), label_text(ports.protocol));
            format!("port `{port}`, protocol `{protocol}`")
        }
        Part::Endpoint(label) => format!("endpoint `{}`", label_text(label.octets)),
        Part::Member { endpoint, cluster } => {
            let (endpoint, cluster) = (label_text(endpoint), label_text(cluster));
            format!("endpoint `{endpoint}` in cluster `{cluster}`")
        }
        Part::Zone(zone) => {
            let labels = (0..zone.labels).map(|place| label_text(zone.name.label(place)));
            let labels = labels.collect::<Vec<_>>().join(".");
            let all = match zone.falls_back {
                true => ", or else all endpoints,",
                false => "",
            };
            format!("endpoints in topology zone `{labels}`{all}")
        }
    })
}

fn service_text(name: &ServiceName) -> String {
    let (namespace, label) = (name.namespace().label().octets, name.label());
    format!("{}/{}", label_text(namespace), label_text(label))
}

/// The first few, and how many more there are.
fn listed(mut items: Vec<String>) -> String {
    items.sort_unstable();
    items.dedup();
    let more = items.len().saturating_sub(LISTED_MAX);
    items.truncate(LISTED_MAX);
    let mut text = items.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn ports_text<'a>(ports: impl Iterator<Item = &'a Port>) -> String {
    listed(
        ports
            .map(|port| {
                let number = port
                    .number
                    .map_or_else(String::new, |number| format!(" {number}"));
                let (name, protocol) = (label_text(&port.name), label_text(&port.protocol));
                format!("{name}{number}/{protocol}").trim_start().to_owned()
            })
            .collect(),
    )
}

/// The ports that the names of a Service are about.
fn ports(node: &ServiceNode) -> impl Iterator<Item = &Port> {
    let is_headless = node.kind() == Kind::Headless;
    let own = node.ports().iter().filter(move |_| !is_headless);
    let of_slices = node.slices().iter().filter(move |_| is_headless);
    own.chain(of_slices.flat_map(|slice| &*slice.ports))
}

fn service_object(kind: &str, name: &ServiceName, node: &ServiceNode) -> String {
    let mut text = format!("{kind} {}: ", service_text(name));
    match node.kind() {
        Kind::ClusterIp => {
            text.push_str("ClusterIP ");
            text.push_str(&listed(
                node.cluster_ips().map(|it| it.to_string()).collect(),
            ));
        }
        Kind::Headless => text.push_str("headless"),
        Kind::External(Some(target)) => {
            text.push_str("ExternalName ");
            text.push_str(&name_text(target));
            return text;
        }
        Kind::External(None) => {
            text.push_str("ExternalName that is no host name");
            return text;
        }
    }
    let ports = ports_text(ports(node));
    if !ports.is_empty() {
        text.push_str("; ports ");
        text.push_str(&ports);
    }
    let hosts = node.slices().iter().flat_map(|slice| slice.hosts());
    let hosts = hosts.map(|host| match host {
        Host::Ip(address) => address.to_string(),
        Host::Name(name) => name_text(name),
    });
    let hosts = hosts.collect::<Vec<_>>();
    let (slices, ready) = (node.slices().len(), hosts.len());
    text.push_str(&format!(
        "; EndpointSlices: {slices}, ready endpoints: {ready}"
    ));
    if ready > 0 {
        text.push_str(&format!(" ({})", listed(hosts)));
    }
    text
}

/// Why an exposed Service has no such name.
fn why_nothing(node: &ServiceNode, part: Part<'_>) -> Option<String> {
    let is_plain = part.is_whole();
    match node.kind() {
        Kind::External(None) => {
            return Some("its externalName is no host name".to_owned());
        }
        Kind::External(Some(_)) if !is_plain => {
            return Some("an ExternalName Service has no names below it".to_owned());
        }
        _ if node.is_hidden() => {
            let text = "it has no ready endpoint, and the Corefile has `ignore empty_service`";
            return Some(text.to_owned());
        }
        Kind::Headless if matches!(part, Part::Zone(_)) => return None,
        _ if matches!(part, Part::Zone(_)) => {
            return Some("only headless Services have names by topology zone".to_owned());
        }
        Kind::Headless if !node.exists() => {
            return Some("the Service is headless and has no ready endpoint".to_owned());
        }
        _ => {}
    }
    let wanted = match part {
        Part::Endpoint(label) => Some(label_text(label.octets)),
        Part::Member { endpoint, cluster } => {
            Some(format!("{}.{}", label_text(endpoint), label_text(cluster)))
        }
        Part::Ports(_) | Part::Zone(_) => None,
    };
    if let Some(wanted) = wanted {
        let mut buf = LabelBuf::default();
        let mut names = Vec::new();
        for slice in node.slices() {
            names.extend((0..slice.addresses.len()).map(|at| label_text(slice.name(at, &mut buf))));
        }
        let known = match names.is_empty() {
            true => "the Service has none".to_owned(),
            false => format!("there are {}", listed(names)),
        };
        return Some(format!("no ready endpoint is called `{wanted}`; {known}"));
    }
    if !is_plain {
        let known = ports_text(ports(node));
        return Some(format!("the Service has no such port; there are {known}"));
    }
    None
}

/// Why names of a namespace are not answered at all.
fn namespace_missing(index: &ClusterIndex, wanted: &str) -> Option<String> {
    let (mut found, mut known) = (None, Vec::new());
    index.each_namespace(|namespace| {
        let name = label_text(namespace.label().octets);
        if name == wanted {
            found = Some(namespace.is_exposed());
        }
        known.push(name);
    });
    match found {
        Some(true) => None,
        Some(false) => Some(format!(
            "the Corefile does not expose the namespace `{wanted}`"
        )),
        None => {
            let near = near(wanted, &known);
            Some(format!("there is no namespace `{wanted}`{near}"))
        }
    }
}

/// What may have been meant by the name of a Service that is not there.
fn service_missing((index, kind): (&ClusterIndex, &str), namespace: &str, wanted: &str) -> String {
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    index.each_service(|name, _, is_exposed| {
        let service = label_text(name.label());
        let of = label_text(name.namespace().label().octets);
        if of == namespace {
            here.push(service);
        } else if service == wanted && is_exposed {
            elsewhere.push(format!("`{of}`"));
        }
    });
    let mut text = format!("namespace `{namespace}` has no {kind} `{wanted}`");
    text.push_str(&near(wanted, &here));
    if !elsewhere.is_empty() {
        let of = listed(elsewhere);
        text.push_str(&format!("; there is one of this name in {of}"));
    }
    text
}

fn near(wanted: &str, known: &[String]) -> String {
    let near = nearest(wanted, known.iter().map(|name| &**name));
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}
