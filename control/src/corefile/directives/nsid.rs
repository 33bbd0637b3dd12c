//! `nsid [WORDS…]`: the identifier for clients that ask for one; the machine's name if not given.

use super::super::args::Args;
use super::super::error::Problem;
use super::Directive;

/// `nsid`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Nsid {
    /// The identifier; `None` for the machine's name.
    pub id: Option<Box<str>>,
}

impl Directive for Nsid {
    const NAME: &'static str = "nsid";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let words = args.rest();
        let words = words.iter().map(|word| word.text()).collect::<Vec<_>>();
        let id = (!words.is_empty()).then(|| words.join(" ").into());
        Ok(Self { id })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn words_are_joined() {
        assert_eq!(good("nsid").nsid.unwrap().id, None);
        assert_eq!(
            good("nsid some id").nsid.unwrap().id.as_deref(),
            Some("some id")
        );
        assert_eq!(bad("nsid a\nnsid b").len(), 1);
    }
}
