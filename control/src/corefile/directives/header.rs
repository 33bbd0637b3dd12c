//! `header { query|response set|clear FLAG… }`: flags of queries and replies.

use martlet_engine::plugins::header;
use martlet_engine::wire::Flags;

use super::super::args::Args;
use super::super::error::{Problem, Reason};
use super::{Directive, Second};

/// `header`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header(pub header::Header);

const FLAGS: [(&str, u16); 3] = [("aa", Flags::AA), ("ra", Flags::RA), ("rd", Flags::RD)];

impl Directive for Header {
    const NAME: &'static str = "header";
    const SECOND: Second = Second::Adds;

    fn add(&mut self, later: Self) {
        self.0.query.add(later.0.query);
        self.0.response.add(later.0.response);
    }

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut header = header::Header::default();
        let mut is_empty = true;
        args.options(|option| {
            let change = match &*option.name().to_ascii_lowercase() {
                "query" => &mut header.query,
                "response" => &mut header.response,
                _ => return Err(option.unknown(Self::NAME, &["query", "response"])),
            };
            is_empty = false;
            let on = option
                .required("set or clear, and flags")?
                .keyword(&[("set", true), ("clear", false)])?;
            for flag in option.some("a flag: aa, ra or rd")? {
                change.put(flag.keyword(&FLAGS)?, on);
            }
            Ok(())
        });
        if is_empty {
            return Err(args.problem(Reason::MissingArgument {
                of: Self::NAME.into(),
                expected: "a line such as `response set ra`",
            }));
        }
        Ok(Self(header))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};
    use super::*;

    #[test]
    fn the_last_word_on_a_flag_counts() {
        let text = "header {\n response set ra aa\n response clear aa\n query clear rd\n}";
        let Header(header) = good(text).header.unwrap();
        assert_eq!(
            (header.response.set, header.response.clear),
            (Flags::RA, Flags::AA)
        );
        assert_eq!((header.query.set, header.query.clear), (0, Flags::RD));
    }

    #[test]
    fn a_second_one_goes_on() {
        let text = "header {\n response set ra aa\n}\nwhoami\nheader {\n response clear aa\n query set rd\n}";
        let Header(header) = good(text).header.unwrap();
        let (query, response) = (header.query, header.response);
        assert_eq!((response.set, response.clear), (Flags::RA, Flags::AA));
        assert_eq!((query.set, query.clear), (Flags::RD, 0));
    }

    #[test]
    fn errors_name_the_word() {
        for (text, expected) in [
            ("header", "`header` needs a line"),
            ("header {\n answer set ra\n}", "has no option `answer`"),
            ("header {\n query\n}", "`query` needs set or clear"),
            (
                "header {\n query put ra\n}",
                "`put` is not one of set, clear",
            ),
            ("header {\n query set\n}", "needs a flag"),
            (
                "header {\n query set tc\n}",
                "`tc` is not one of aa, ra, rd",
            ),
        ] {
            let found = bad(text);
            assert!(
                found.iter().any(|line| line.contains(expected)),
                "{text}: {found:?}"
            );
        }
    }
}
