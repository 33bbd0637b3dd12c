//! What `kubernetes` tells of a query under labels; see [`crate::plugins::metadata`].

use std::net::IpAddr;

use super::name::{Cut, Part};
use super::{Grammar, Kubernetes, Missing};
use crate::plugins::metadata::Label;
use crate::wire::FoldedName;
use crate::wire::name::NameText;

impl Kubernetes {
    /// The value of one of its labels for a name and a client.
    pub(crate) fn label(&self, label: Label, name: &FoldedName, client: IpAddr) -> Option<String> {
        match label {
            Label::ClientNamespace => self.index.client(client, |pod| pod.namespace.to_string()),
            Label::ClientPodName => self.index.client(client, |pod| pod.name.to_string()),
            _ => self.label_of_name(label, name),
        }
    }

    /// As in CoreDNS: a name in a zone has all these labels, empty where it does not say anything,
    /// or, if it has none of the forms that names have, just the one that says so.
    fn label_of_name(&self, label: Label, name: &FoldedName) -> Option<String> {
        let (zone, above) = self.zone(name)?;
        let cut = match Cut::new(above, name, zone.grammar) {
            Err(Missing::Name) => {
                let text = "invalid query name".to_owned();
                return (label == Label::ParseError).then_some(text);
            }
            Err(Missing::Data) => None,
            Ok(cut) => Some(cut),
        };
        let is_given = match label {
            Label::Cluster => zone.grammar == Grammar::Multicluster,
            Label::TopologyZone => zone.grammar == Grammar::Zonal,
            Label::ParseError => false,
            _ => true,
        };
        let value = cut.map(|cut| match (label, cut.part) {
            (Label::Kind, _) => (if cut.is_pod { "pod" } else { "svc" }).to_owned(),
            (Label::Namespace, _) => text(cut.namespace().octets),
            (Label::Service, _) => text(cut.own_label().unwrap_or_default()),
            (Label::PortName, Part::Ports(ports)) => text(ports.port),
            (Label::Protocol, Part::Ports(ports)) => text(ports.protocol),
            (Label::Endpoint, Part::Endpoint(endpoint)) => text(endpoint.octets),
            (Label::Endpoint, Part::Member { endpoint, .. }) => text(endpoint),
            (Label::Cluster, Part::Member { cluster, .. }) => text(cluster),
            (Label::TopologyZone, Part::Zone(zone)) => {
                let labels = (0..zone.labels).map(|place| text(name.label(place)));
                labels.collect::<Vec<_>>().join(".")
            }
            _ => String::new(),
        });
        is_given.then(|| value.unwrap_or_default())
    }
}

/// A label as text, as it stands in a name.
fn text(label: &[u8]) -> String {
    let wire = [&[label.len() as u8], label, &[0]].concat();
    let text = NameText::of(&wire);
    text.as_str()
        .strip_suffix('.')
        .unwrap_or_default()
        .to_owned()
}
