//! `acl`: who may ask what, by zone, type and network, and by the namespace of a pod.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::template::extended_error;
use super::zones::Zones;
use crate::chain::{Context, Step};
use crate::index::{ClusterIndex, Namespace};
use crate::metrics::{AclCount, AclEvent, Event, Labelled};
use crate::wire::name::NameText;
use crate::wire::{Edns, RType, Rcode, Reply};

/// The `acl`s of a block.
pub struct Acl {
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// Where namespaces of clients are looked up; rules about namespaces fit nobody without.
    pub index: Option<Arc<ClusterIndex>>,
    /// Where is counted what does not go on.
    pub counts: Arc<Labelled<AclCount>>,
}

/// One `acl`.
pub struct Rule {
    zones: Zones,
    /// The zones' names, in their order.
    names: Box<[Arc<str>]>,
    policies: Vec<Policy>,
}

/// One line of an `acl`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What is done.
    pub action: Action,
    /// With queries of these types; all if empty.
    pub types: Vec<RType>,
    /// From these networks; all if empty.
    pub networks: Vec<IpNet>,
    /// From pods in these namespaces; all clients if empty.
    pub namespaces: Vec<Arc<Namespace>>,
}

/// What is done with a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// It goes on.
    Allow,
    /// REFUSED.
    Block,
    /// An empty answer.
    Filter,
    /// Silence.
    Drop,
}

/// Codes of extended errors (RFC 8914 §4.16, §4.18).
const BLOCKED: u16 = 15;
const FILTERED: u16 = 17;

impl Acl {
    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let decided = self.rules.iter().find_map(|rule| {
            let zone = rule.zones.place(context.name)?;
            let mut policies = rule.policies.iter();
            let fitting = policies.find(|policy| policy.fits(context, self.index.as_deref()));
            fitting.map(|policy| (policy.action, &rule.names[zone]))
        });
        let Some((action @ (Action::Block | Action::Filter | Action::Drop), zone)) = decided else {
            context.count(Event::AclAllowed);
            return Step::Next;
        };
        let (event, code, rcode) = match action {
            Action::Block => (AclEvent::Blocked, BLOCKED, Rcode::REFUSED),
            Action::Filter => (AclEvent::Filtered, FILTERED, Rcode::NOERROR),
            Action::Allow | Action::Drop => (AclEvent::Dropped, 0, Rcode::NOERROR),
        };
        let zone = Arc::clone(zone);
        context.count_at_end(&self.counts, AclCount { zone, event });
        if action == Action::Drop {
            return Step::Dropped;
        }
        reply.set_opt(Edns::DO, extended_error(code, ""));
        reply.set_rcode(rcode);
        Step::Answered
    }
}

impl Rule {
    /// The rule for these zones. The first policy that fits decides; if none does, the next rule is
    /// asked.
    pub fn new(zones: Zones, policies: Vec<Policy>) -> Self {
        let name = |zone: &[u8]| NameText::of(zone).as_str().into();
        Self {
            names: zones.iter().map(name).collect(),
            zones,
            policies,
        }
    }
}

impl Policy {
    fn fits(&self, context: &Context<'_>, index: Option<&ClusterIndex>) -> bool {
        let client: IpAddr = context.peer.remote.ip().to_canonical();
        let is_type = self.types.is_empty() || self.types.contains(&context.query.qtype);
        let is_near = || {
            let mut networks = self.networks.iter();
            self.networks.is_empty() || networks.any(|network| network.contains(&client))
        };
        let is_ours = || {
            let mut namespaces = self.namespaces.iter();
            let pods = |namespace: &Arc<Namespace>| {
                index.map_or(0, |index| index.pods(namespace.label(), client))
            };
            self.namespaces.is_empty() || namespaces.any(|namespace| pods(namespace) > 0)
        };
        is_type && is_near() && is_ours()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask_from, describe, name, peer, query};
    use super::*;
    use crate::chain::Stage;

    fn policy(action: Action, types: &[RType], networks: &[&str], namespaces: &[&str]) -> Policy {
        let namespaces = namespaces.iter().map(|name| Arc::new(Namespace::new(name)));
        Policy {
            action,
            types: types.to_vec(),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
            namespaces: namespaces.collect(),
        }
    }

    #[test]
    fn the_first_line_that_fits_decides() {
        use Action as A;
        let index = ClusterIndex::default();
        let pod = "10.1.0.7".parse().unwrap();
        index.put_pods(Arc::new(Namespace::new("prod")), pod, 1);
        let rule = |zone: &str, policies: Vec<Policy>| {
            Rule::new(Zones::new([name(zone).into()]), policies)
        };
        let acl = Acl {
            rules: vec![
                rule(
                    "test",
                    vec![
                        policy(A::Block, &[RType::AAAA], &[], &[]),
                        policy(A::Allow, &[], &["10.0.0.0/8"], &[]),
                        policy(A::Drop, &[], &["192.0.2.0/24", "fd00::/8"], &[]),
                    ],
                ),
                rule("test", vec![policy(A::Filter, &[], &[], &[])]),
                rule("ns", vec![policy(A::Allow, &[], &[], &["prod"])]),
                rule("ns", vec![policy(A::Block, &[], &[], &[])]),
            ],
            index: Some(Arc::new(index)),
            counts: Arc::default(),
        };
        let stages = [
            Stage::Acl(Arc::new(acl)),
            Stage::Fixed(|_, reply| {
                reply.set_rcode(Rcode::NXDOMAIN);
                Step::Answered
            }),
        ];
        for (asked, qtype, from, expected) in [
            ("a.test.", RType::AAAA, "10.0.0.1", Some("REFUSED")),
            ("a.test.", RType::A, "10.0.0.1", Some("NXDOMAIN")),
            ("a.test.", RType::A, "::ffff:10.0.0.1", Some("NXDOMAIN")),
            ("a.test.", RType::A, "192.0.2.1", None),
            ("a.test.", RType::A, "fd00::1", None),
            ("a.test.", RType::A, "198.51.100.1", Some("NOERROR")),
            ("other.", RType::AAAA, "192.0.2.1", Some("NXDOMAIN")),
            ("ns.", RType::A, "10.1.0.7", Some("NXDOMAIN")),
            ("ns.", RType::A, "10.1.0.8", Some("REFUSED")),
        ] {
            let packet = query(asked, qtype, &[]);
            let found = ask_from(&stages, peer(from), &packet);
            let found = found.map(|reply| describe(&reply));
            assert_eq!(found.as_deref(), expected, "{asked} {qtype} {from}");
        }
    }
}
