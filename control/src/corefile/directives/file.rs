//! `file FILE [ZONES…] { reload DURATION; reload_by_mtime; fallthrough [ZONES…] }`: zones from a master
//! file.

use std::path::PathBuf;
use std::time::Duration;

use super::super::args::Args;
use super::super::error::Problem;
use super::super::zone::ZoneName;
use super::Directive;
use super::kubernetes::Fallthrough;

/// `file`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// The master file.
    pub path: PathBuf,
    /// The zones that it is the file of.
    pub zones: Vec<ZoneName>,
    /// How often the file is looked at; zero for once.
    pub reload: Duration,
    /// Whether each change of the file counts, not only one with a new serial.
    pub by_mtime: bool,
    /// Which unknown names are left to the directives behind.
    pub fallthrough: Fallthrough,
}

const RELOAD: Duration = Duration::from_secs(60);
const OPTIONS: [&str; 4] = ["reload", "reload_by_mtime", "fallthrough", "upstream"];

impl Directive for File {
    const NAME: &'static str = "file";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let path = args.required("the path of a zone file")?.path();
        let mut file = Self {
            path,
            zones: args.zones_or_block()?,
            reload: RELOAD,
            by_mtime: false,
            fallthrough: Fallthrough::None,
        };
        args.options(|option| {
            match option.name() {
                "reload" => file.reload = option.required("a duration")?.duration()?,
                "reload_by_mtime" => file.by_mtime = true,
                "fallthrough" => file.fallthrough = Fallthrough::parse(option)?,
                // Of old; aliases are followed through the server itself.
                "upstream" => option.drop_rest(),
                _ => return Err(option.unknown(Self::NAME, &OPTIONS)),
            }
            Ok(())
        });
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good_in};
    use super::*;

    #[test]
    fn reads_a_path_zones_and_options() {
        let plain = &good_in("a.test b.test", "file db.test").file[0];
        assert_eq!(
            (plain.zones.len(), plain.reload, plain.by_mtime),
            (2, RELOAD, false)
        );
        let options = "file /z/db c.test {\n reload 5s\n reload_by_mtime\n fallthrough c.test\n upstream 1.1.1.1\n}";
        let full = &good_in("a.test", options).file[0];
        assert_eq!(full.path, PathBuf::from("/z/db"));
        assert_eq!((full.zones.len(), full.reload), (1, Duration::from_secs(5)));
        assert!(full.by_mtime && full.fallthrough != Fallthrough::None);
        let twice = good_in("a.test", "file a\nfile b b.test").file;
        assert_eq!(twice.len(), 2);
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, expected) in [
            ("file", "the path of a zone file"),
            ("file db {\n reload\n}", "a duration"),
            ("file db {\n reload soon\n}", "`soon`"),
            ("file db {\n relaod 5s\n}", "no option `relaod`"),
        ] {
            let said = bad(text).concat();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
