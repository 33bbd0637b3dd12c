//! `root PATH`: where the relative paths of other directives start.

use std::path::PathBuf;

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

/// `root`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Root {
    /// The directory. It need not exist yet.
    pub path: PathBuf,
}

impl Directive for Root {
    const NAME: &'static str = "root";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let path = args.required("a directory")?;
        if args.context().directory.is_some() && !PathBuf::from(path.text()).exists() {
            path.warn(format!("the directory `{}` does not exist", path.text()));
        }
        Ok(Self {
            path: path.text().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::{LoadBalance, Shuffle};
    use super::super::testing::{bad, good};

    #[test]
    fn moves_relative_paths_wherever_it_stands() {
        let block = good("loadbalance weighted w.txt\nroot /etc/x");
        assert_eq!(block.root.unwrap().path, Path::new("/etc/x"));
        let Some(LoadBalance {
            shuffle: Shuffle::Weighted { file, .. },
            ..
        }) = block.loadbalance
        else {
            panic!("is weighted");
        };
        assert_eq!(file, Path::new("/etc/x/w.txt"));
        for text in ["root", "root a b"] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
