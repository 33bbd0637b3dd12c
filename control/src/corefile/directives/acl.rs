//! `acl [ZONES…] { allow|block|filter|drop [type TYPE…] [net NETWORK…] [namespace NAMESPACE…] }`:
//! who may ask what. `namespace` is martlet's own: the client is a pod there, by its address.

use std::net::IpAddr;

use ipnet::IpNet;
use martlet_engine::plugins::acl::Action;
use martlet_engine::wire::RType;

use super::super::args::{Arg, Args};
use super::super::error::{Problem, Reason};
use super::super::zone::ZoneName;
use super::Directive;

/// `acl`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Acl {
    /// What it is for.
    pub zones: Vec<ZoneName>,
    /// The first that fits decides.
    pub policies: Vec<Policy>,
}

/// A line of an `acl`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// What is done.
    pub action: Action,
    /// Types; all if empty.
    pub types: Vec<RType>,
    /// Networks; all if empty.
    pub networks: Vec<IpNet>,
    /// Namespaces of pods; all clients if empty.
    pub namespaces: Vec<String>,
}

const ACTIONS: [(&str, Action); 4] = [
    ("allow", Action::Allow),
    ("block", Action::Block),
    ("filter", Action::Filter),
    ("drop", Action::Drop),
];

impl Directive for Acl {
    const NAME: &'static str = "acl";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut acl = Self {
            zones: args.zones_or_block()?,
            policies: Vec::new(),
        };
        args.options(|option| {
            let name = option.name().to_ascii_lowercase();
            let Some((_, action)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
                return Err(option.unknown(Self::NAME, &ACTIONS.map(|(known, _)| known)));
            };
            let policy = policy(*action, option)?;
            acl.policies.push(policy);
            Ok(())
        });
        Ok(acl)
    }
}

/// What the words in a line are about.
#[derive(Clone, Copy)]
enum Section {
    Type,
    Net,
    Namespace,
}

fn section(word: Arg<'_>) -> Option<Section> {
    match &*word.text().to_ascii_lowercase() {
        "type" => Some(Section::Type),
        "net" => Some(Section::Net),
        "namespace" => Some(Section::Namespace),
        _ => None,
    }
}

fn policy(action: Action, option: &mut Args<'_>) -> Result<Policy, Problem> {
    let mut policy = Policy {
        action,
        types: Vec::new(),
        networks: Vec::new(),
        namespaces: Vec::new(),
    };
    let words = option.rest();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let Some(section) = section(word) else {
            return Err(word.unknown_word(["type", "net", "namespace"].into_iter()));
        };
        let is_value = |word: &Arg<'_>| self::section(*word).is_none();
        let mut values = std::iter::from_fn(|| words.next_if(is_value)).peekable();
        if values.peek().is_none() {
            return Err(word.problem(Reason::MissingArgument {
                of: word.text().into(),
                expected: "at least one value",
            }));
        }
        let values = values.collect::<Vec<_>>();
        // One `*` stands for all.
        if values.iter().any(|value| value.text() == "*") {
            continue;
        }
        for value in values {
            match section {
                Section::Type => policy.types.push(value.rtype()?),
                Section::Net => policy.networks.push(network(value)?),
                Section::Namespace => policy.namespaces.push(value.text().to_owned()),
            }
        }
    }
    Ok(policy)
}

fn network(value: Arg<'_>) -> Result<IpNet, Problem> {
    let text = value.text();
    let network = text.parse::<IpNet>().ok();
    let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let bad = || value.is_not("an address or a network, such as 10.0.0.0/8");
    network.map(|network| network.trunc()).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};
    use super::*;

    #[test]
    fn reads_lines() {
        let acl = good(
            "acl a.test {\n block type AAAA TXT net 10.1.2.3/8 192.0.2.1\n Allow\n \
             filter type * net *\n drop namespace prod test\n}\nacl\n\
             kubernetes a.test {\n pods verified\n}",
        )
        .acl;
        let policy = |action, types: &[RType], networks: &[&str], namespaces: &[&str]| Policy {
            action,
            types: types.to_vec(),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            acl[0].policies,
            [
                policy(
                    Action::Block,
                    &[RType::AAAA, RType::TXT],
                    &["10.0.0.0/8", "192.0.2.1/32"],
                    &[]
                ),
                policy(Action::Allow, &[], &[], &[]),
                policy(Action::Filter, &[], &[], &[]),
                policy(Action::Drop, &[], &[], &["prod", "test"]),
            ]
        );
        assert_eq!(acl[1].zones, [ZoneName::root()]);
    }

    #[test]
    fn errors_name_the_word() {
        for (line, expected) in [
            ("blok", "`acl` has no option `blok`"),
            (
                "block typ A",
                "`block`: `typ` is not one of type, net, namespace",
            ),
            ("block type", "`type` needs at least one value"),
            (
                "block type net 10.0.0.0/8",
                "`type` needs at least one value",
            ),
            ("block type X", "`X` is not a record type"),
            ("block net 10.0.0.0/33", "is not an address or a network"),
            ("block namespace a", "`namespace` needs `pods verified`"),
        ] {
            let found = bad(&format!("acl {{\n {line}\n}}"));
            assert_eq!(found.len(), 1, "{line}: {found:?}");
            assert!(found[0].contains(expected), "{line}: {found:?}");
        }
    }
}
