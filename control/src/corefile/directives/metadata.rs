//! `metadata [ZONES…]`: what plugins know of a query, under labels that `log` shows and `view`,
//! `template` and `rewrite` decide by.

use martlet_engine::plugins::metadata::Label;
use martlet_engine::plugins::rewrite::{Action, EdnsOption, Variable};

use super::super::args::Args;
use super::super::error::Problem;
use super::super::zone::ZoneName;
use super::{Directive, Directives, Log, Rewrite, Second, Template, View};

/// `metadata`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata {
    /// For which names plugins tell something.
    pub zones: Vec<ZoneName>,
}

impl Directive for Metadata {
    const NAME: &'static str = "metadata";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let zones = args.zones_or_block()?;
        Ok(Self { zones })
    }
}

/// A label that a directive reads, if it is known in advance which.
pub(super) type Read = Option<Label>;

impl Directives {
    /// The directives that read labels, and which.
    fn readers(&self) -> impl Iterator<Item = (&'static str, Read)> {
        let logged = self.log.iter().flat_map(|log| labels_in(&log.format));
        let logged = logged.map(|label| (Log::NAME, Some(label)));
        let rewritten = self
            .rewrite
            .iter()
            .filter_map(|Rewrite(rule)| match &rule.action {
                Action::Edns(edns) => match edns.option {
                    EdnsOption::Variable(_, Variable::Label(Some(label))) => {
                        Some((Rewrite::NAME, Some(label)))
                    }
                    _ => None,
                },
                _ => None,
            });
        let expressions = self.view.iter().flat_map(|view| &view.conditions);
        let viewed = expressions.map(|it| (View::NAME, it.mentions(Metadata::NAME)));
        let templated = self.template.iter().map(|template| {
            let variables = template.variables.iter().map(|(_, it)| it);
            let mut expressions = template.conditions.iter().chain(variables);
            let mut texts = template.sections.iter().flatten();
            let reads = expressions.any(|it| it.mentions(Metadata::NAME))
                || texts.any(|text| text.mentions(".Meta"));
            (Template::NAME, reads)
        });
        let scripts = viewed.chain(templated).filter(|(_, reads)| *reads);
        let scripts = scripts.map(|(name, _)| (name, None));
        logged.chain(rewritten).chain(scripts)
    }

    /// Whether the pods that ask have to be known query by query.
    pub fn reads_clients(&self) -> bool {
        let mut readers = self.readers();
        self.metadata.is_some() && readers.any(|(_, label)| label.is_none_or(Label::is_of_client))
    }

    /// The first directive that reads labels, if there are none for want of `metadata`.
    pub(super) fn lacks_labels(&self) -> Option<&'static str> {
        let mut readers = self.readers();
        readers
            .next()
            .filter(|_| self.metadata.is_none())
            .map(|(name, _)| name)
    }
}

/// The labels in a log format.
fn labels_in(format: &str) -> impl Iterator<Item = Label> {
    let names = format.split("{/").skip(1);
    names.filter_map(|rest| Label::named(rest.split('}').next()?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, warnings};

    #[test]
    fn reads_its_zones() {
        for (text, expected) in [
            ("metadata", &["."][..]),
            ("metadata a.test B.test", &["a.test.", "b.test."]),
        ] {
            let zones = good(text).metadata.unwrap().zones;
            let zones = zones.iter().map(|zone| zone.as_str()).collect::<Vec<_>>();
            assert_eq!(zones, expected, "{text}");
        }
        for (text, expected) in [
            ("metadata a..b", "a label is empty"),
            ("metadata {\n x\n}", "takes no block"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_is_read_of_clients_is_known_in_advance() {
        for (text, of_clients) in [
            ("log . {/kubernetes/service}", false),
            ("log . \"{name} {/kubernetes/client-namespace}\"", true),
            ("rewrite edns0 local set 9 {kubernetes/namespace}", false),
            (
                "rewrite edns0 local set 9 {kubernetes/client-pod-name}",
                true,
            ),
            ("view a {\n expr name() == 'a.'\n}", false),
            (
                "view a {\n expr metadata('kubernetes/kind') == 'svc'\n}",
                true,
            ),
            (
                "template IN A {\n answer \"{{ .Name }} A 10.0.0.1\"\n}",
                false,
            ),
            (
                "template IN TXT {\n answer \"{{ .Meta \\\"a/b\\\" }}\"\n}",
                true,
            ),
            ("template IN A {\n expr metadata('a/b') == ''\n}", true),
            ("template IN A {\n var a metadata('a/b')\n}", true),
        ] {
            assert!(!good(text).reads_clients(), "{text}");
            let with = format!("metadata\n{text}");
            assert_eq!(good(&with).reads_clients(), of_clients, "{text}");
            assert_eq!(warnings(&with), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn labels_that_nobody_gives_are_told() {
        for (text, expected) in [
            (
                "log . {/kubernetes/service}",
                "`log` reads labels, which are there with `metadata`",
            ),
            ("log . {name}", ""),
            (
                "metadata\nlog . {/geoip/city/name}",
                "no plugin gives the label `geoip/city/name`",
            ),
            ("metadata\nlog . {/log/class}", ""),
            (
                "metadata\nrewrite edns0 local set 9 {geoip/city/name}",
                "no plugin gives the label `geoip/city/name`",
            ),
        ] {
            let found = warnings(text);
            assert_eq!(
                found.len(),
                usize::from(!expected.is_empty()),
                "{text}: {found:?}"
            );
            assert!(
                found.iter().all(|it| it.contains(expected)),
                "{text}: {found:?}"
            );
        }
    }
}
