//! `view NAME { expr EXPRESSION }`: the server block is for some clients or questions only.

use martlet_engine::plugins::surroundings::FUNCTIONS;
use martlet_engine::script::expr::Expression;

use super::super::args::Args;
use super::super::error::Problem;
use super::Directive;
use super::template::expression;

/// `view`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// Its name.
    pub name: Box<str>,
    /// All of them must be true.
    pub conditions: Vec<Expression>,
}

impl Directive for View {
    const NAME: &'static str = "view";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let name = args.required("a name")?.text().into();
        let mut conditions = Vec::new();
        args.options(|option| match option.name() {
            "expr" => {
                conditions.push(expression(option, &FUNCTIONS, &[])?);
                Ok(())
            }
            _ => Err(option.unknown(Self::NAME, &["expr"])),
        });
        Ok(Self { name, conditions })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Corefile, Problems, parse};
    use super::super::testing::{bad, good};

    #[test]
    fn reads_expressions() {
        let text =
            "view a {\n expr name() == 'x.' && do()\n expr incidr(client_ip(), '10.0.0.0/8')\n}";
        let view = good(text).view.unwrap();
        assert_eq!((&*view.name, view.conditions.len()), ("a", 2));
        for (text, expected) in [
            ("view", "`view` needs a name"),
            ("view a b", "takes no argument `b`"),
            ("view a {\n exp 1\n}", "`view` has no option `exp`"),
            ("view a {\n expr\n}", "`expr` needs an expression"),
            ("view a {\n expr group(1)\n}", "no function `group`"),
            ("view a\nview b", "may be given once"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }

    #[test]
    fn blocks_with_views_may_share_a_zone() {
        let read = |text: &str| -> Result<Corefile, Problems> { parse("Corefile", text) };
        let seen = "a.test {\nview a {\nexpr true\n}\nwhoami\n}\n";
        let plain = "a.test {\nwhoami\n}\n";
        for (text, is_good) in [
            (format!("{seen}{seen}{plain}"), true),
            (format!("{plain}{plain}"), false),
        ] {
            assert_eq!(read(&text).is_ok(), is_good, "{text}");
        }
    }
}
