//! `autopath [ZONES…] @kubernetes|FILE`: walks the client's search list. FILE is a `resolv.conf`.

use std::path::PathBuf;

use super::super::args::Args;
use super::super::error::Problem;
use super::super::zone::ZoneName;
use super::Directive;

/// `autopath`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Autopath {
    /// What it is for.
    pub zones: Vec<ZoneName>,
    /// The file with the search list; `None` for those that the cluster gives its pods.
    pub file: Option<PathBuf>,
}

impl Directive for Autopath {
    const NAME: &'static str = "autopath";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut words = args.some("`@kubernetes` or a file such as /etc/resolv.conf")?;
        let source = words.pop().map(|source| (source, source.text()));
        let file = match source {
            Some((_, "@kubernetes")) | None => None,
            Some((source, text)) if text.starts_with('@') => {
                return Err(source.is_not("`@kubernetes`, the one plugin that has search lists"));
            }
            Some((source, _)) => Some(source.path()),
        };
        let mut zones = Vec::new();
        for word in words {
            zones.extend(word.zones()?);
        }
        if zones.is_empty() {
            zones = args.context().zones.to_vec();
        }
        Ok(Self { zones, file })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, warnings};

    #[test]
    fn reads_zones_and_source() {
        let file = good("autopath a.test b.test /r").autopath.unwrap();
        assert_eq!((file.zones.len(), file.file), (2, Some("/r".into())));
        let text = "autopath @kubernetes\nkubernetes a.test {\n pods verified\n}";
        let pods = good(text).autopath.unwrap();
        assert_eq!((pods.zones[0].as_str(), pods.file), (".", None));
    }

    #[test]
    fn without_pods_it_does_nothing_and_says_so() {
        for text in [
            "autopath @kubernetes",
            "autopath @kubernetes\nkubernetes a.test",
            "autopath @kubernetes\nkubernetes a.test {\n pods insecure\n}",
        ] {
            assert!(good(text).autopath.is_none(), "{text}");
            let found = warnings(text);
            assert!(
                found[0].contains("does nothing without `pods verified`"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn errors_name_the_word() {
        for (text, expected) in [
            ("autopath", "`autopath` needs `@kubernetes` or a file"),
            ("autopath @erratic", "`@erratic` is not `@kubernetes`"),
            ("autopath a..b /r", "a label is empty"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
