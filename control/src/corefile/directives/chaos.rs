//! `chaos [VERSION] [AUTHORS…]`: what the server tells of itself in class CH.

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `chaos`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chaos {
    /// The answer for `version.bind`.
    pub version: Box<str>,
    /// The answers for `authors.bind`, each once.
    pub authors: Vec<Box<str>>,
}

impl Directive for Chaos {
    const NAME: &'static str = "chaos";
    const SECOND: Second = Second::Ignored;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let version = args.next().map(|version| version.text().into());
        let authors = args.rest();
        let mut authors: Vec<Box<str>> =
            authors.iter().map(|author| author.text().into()).collect();
        authors.sort();
        authors.dedup();
        if authors.is_empty() {
            authors.push("the authors of martlet".into());
        }
        Ok(Self {
            version: version
                .unwrap_or_else(|| concat!("martlet-", env!("CARGO_PKG_VERSION")).into()),
            authors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_version_and_authors() {
        let plain = good("chaos").chaos.unwrap();
        assert!(plain.version.starts_with("martlet-"));
        assert_eq!(plain.authors.len(), 1);
        let full = good("chaos v1 \"b c\" a a").chaos.unwrap();
        assert_eq!(
            (&*full.version, &*full.authors),
            ("v1", &["a".into(), "b c".into()][..])
        );
        assert_eq!(bad("chaos {\n x\n}").len(), 1);
    }
}
