//! What a name is about, for tools that explain answers. Serving does not come here.

use std::net::IpAddr;

use super::name::Cut;
use super::{Kubernetes, Missing, Zone, reverse};
use crate::wire::FoldedName;

/// What a name inside a zone of the plugin is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'n> {
    /// The zone itself.
    Apex,
    /// `ns.dns.ZONE`, the name server.
    NameServer,
    /// `dns-version.ZONE`.
    Version,
    /// A name of a reverse zone, and the address that it spells in full.
    Reverse(Option<IpAddr>),
    /// `svc.ZONE` or `pod.ZONE`, which hold names only.
    Branch,
    /// A namespace, a Service, an endpoint, or a pod.
    Object(Cut<'n>),
    /// None of the forms that names have.
    Other,
}

impl Kubernetes {
    /// The zone that a name is in, and what the name is about by its form alone.
    pub fn subject<'n>(&self, name: &'n FoldedName) -> Option<(&Zone, Subject<'n>)> {
        let (zone, above) = self.zone(name)?;
        let subject = match (above, Cut::new(above, name, zone.grammar)) {
            (0, _) => Subject::Apex,
            _ if zone.reverse => Subject::Reverse(reverse::address_of(name)),
            (1, _) if name.label(0) == b"dns-version" => Subject::Version,
            (2, _) if name.label(0) == b"ns" && name.label(1) == b"dns" => Subject::NameServer,
            (_, Ok(cut)) => Subject::Object(cut),
            (_, Err(Missing::Data)) => Subject::Branch,
            (_, Err(Missing::Name)) => Subject::Other,
        };
        Some((zone, subject))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plugins::kubernetes::{Fallthrough, Grammar, Part, PodMode};
    use crate::wire::name::wire_from_text;

    #[test]
    fn names_are_told_apart_by_their_form() {
        let zone = |text: &str| Zone::new(wire_from_text(text).unwrap());
        let kubernetes = Kubernetes {
            index: Arc::default(),
            zones: vec![
                zone("cluster.local").with_grammar(Grammar::Zonal),
                zone("clusterset.local").with_grammar(Grammar::Multicluster),
                zone("in-addr.arpa"),
            ],
            primary: wire_from_text("cluster.local").unwrap(),
            pods: PodMode::Disabled,
            ttl: 5,
            fallthrough: Fallthrough::default(),
            filters_reverse: false,
            local_addresses: Arc::default(),
        };
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let said = |name: &str| {
            let mut folded = FoldedName::default();
            folded.parse(&wire_from_text(name).unwrap(), 0).unwrap();
            let (_, subject) = kubernetes.subject(&folded)?;
            Some(match subject {
                Subject::Object(cut) => format!(
                    "{} {}/{} {}",
                    if cut.is_pod { "pod" } else { "svc" },
                    text(cut.namespace().octets),
                    cut.own_label().map_or_else(String::new, text),
                    match cut.part {
                        part if part.is_whole() => "whole".to_owned(),
                        Part::Ports(ports) =>
                            format!("port {} {}", text(ports.port), text(ports.protocol)),
                        Part::Endpoint(label) => format!("endpoint {}", text(label.octets)),
                        Part::Member { endpoint, cluster } =>
                            format!("endpoint {} of {}", text(endpoint), text(cluster)),
                        Part::Zone(zone) => format!("{} of zone", zone.labels),
                    }
                ),
                other => format!("{other:?}"),
            })
        };
        for (name, expected) in [
            ("example.org", None),
            ("cluster.local", Some("Apex")),
            ("svc.cluster.local", Some("Branch")),
            ("shop.svc.cluster.local", Some("svc shop/ whole")),
            ("Web.shop.svc.cluster.local", Some("svc shop/web whole")),
            (
                "e.web.shop.svc.cluster.local",
                Some("svc shop/web endpoint e"),
            ),
            (
                "_http._tcp.web.shop.svc.cluster.local",
                Some("svc shop/web port http tcp"),
            ),
            ("a.b.c.web.shop.svc.cluster.local", Some("Other")),
            (
                "10-0-0-1.shop.pod.cluster.local",
                Some("pod shop/10-0-0-1 whole"),
            ),
            (
                "a.b.pin._zone.web.shop.svc.cluster.local",
                Some("svc shop/web 2 of zone"),
            ),
            (
                "a.prefer._zone.web.shop.svc.cluster.local",
                Some("svc shop/web 1 of zone"),
            ),
            (
                "pin._zone.web.shop.svc.cluster.local",
                Some("svc shop/web port pin zone"),
            ),
            ("a.near._zone.web.shop.svc.cluster.local", Some("Other")),
            ("a.pin._zone.web.shop.pod.cluster.local", Some("Other")),
            ("a.pin._zone.web.shop.svc.clusterset.local", Some("Other")),
            (
                "e.c1.web.shop.svc.clusterset.local",
                Some("svc shop/web endpoint e of c1"),
            ),
            (
                "e._tcp.web.shop.svc.clusterset.local",
                Some("svc shop/web port e tcp"),
            ),
            (
                "_http.tcp.web.shop.svc.clusterset.local",
                Some("svc shop/web port http tcp"),
            ),
            ("web.shop.cluster.local", Some("Other")),
            ("ns.dns.cluster.local", Some("NameServer")),
            ("dns-version.cluster.local", Some("Version")),
            ("4.3.2.1.in-addr.arpa", Some("Reverse(Some(1.2.3.4))")),
            ("3.2.1.in-addr.arpa", Some("Reverse(None)")),
        ] {
            assert_eq!(said(name).as_deref(), expected, "{name}");
        }
    }
}
