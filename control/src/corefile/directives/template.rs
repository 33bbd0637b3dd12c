//! `template CLASS TYPE [ZONES…] { match REGEX…; var NAME EXPR; expr EXPR; answer|authority|additional
//! RECORD…; rcode CODE; ederror CODE [TEXT]; fallthrough [ZONES…] }`: answers from the question.

use martlet_engine::pattern::Pattern;
use martlet_engine::plugins::surroundings::FUNCTIONS;
use martlet_engine::plugins::template::FIELDS;
use martlet_engine::script::expr::{Expression, Known};
use martlet_engine::script::template::Template as Text;
use martlet_engine::wire::{Class, RType, Rcode};

use super::super::args::Args;
use super::super::error::{Problem, Reason};
use super::super::zone::ZoneName;
use super::Directive;
use super::kubernetes::Fallthrough;

/// `template`.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The class; ANY for all.
    pub class: Class,
    /// The type; ANY for all.
    pub rtype: RType,
    /// The zones.
    pub zones: Vec<ZoneName>,
    /// Which names; all if empty.
    pub patterns: Vec<Pattern>,
    /// Values under names.
    pub variables: Vec<(String, Expression)>,
    /// What must be true.
    pub conditions: Vec<Expression>,
    /// Records of the answer, authority and additional section.
    pub sections: [Vec<Text>; 3],
    /// The response code.
    pub rcode: Rcode,
    /// The extended error.
    pub extended_error: Option<(u16, String)>,
    /// Which names that do not match are left to what is behind.
    pub fallthrough: Fallthrough,
}

const OPTIONS: [&str; 9] = [
    "match",
    "var",
    "expr",
    "answer",
    "authority",
    "additional",
    "rcode",
    "ederror",
    "fallthrough",
];

impl Directive for Template {
    const NAME: &'static str = "template";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let expected = "a class and a type, such as IN A or ANY ANY";
        let mut template = Self {
            class: args.required(expected)?.class()?,
            rtype: args.required(expected)?.rtype()?,
            zones: args.zones_or_block()?,
            patterns: Vec::new(),
            variables: Vec::new(),
            conditions: Vec::new(),
            sections: Default::default(),
            rcode: Rcode::NOERROR,
            extended_error: None,
            fallthrough: Fallthrough::None,
        };
        args.options(|option| template.option(option));
        Ok(template)
    }
}

impl Template {
    fn option(&mut self, option: &mut Args<'_>) -> Result<(), Problem> {
        match option.name() {
            "match" => {
                for argument in option.some("a regular expression")? {
                    self.patterns.push(argument.pattern()?);
                }
            }
            "var" => {
                let name = option.required("a name and an expression")?;
                let text = name.text();
                let is_name = text
                    .starts_with(|letter: char| letter == '_' || letter.is_ascii_alphabetic())
                    && text
                        .chars()
                        .all(|letter| letter == '_' || letter.is_ascii_alphanumeric());
                let is_taken = functions().iter().any(|(known, _)| *known == text);
                if !is_name || is_taken {
                    return Err(name.is_not("a name that is free: letters, digits and `_`"));
                }
                let expression = self.expression(option)?;
                self.variables.push((text.to_owned(), expression));
            }
            "expr" => {
                let expression = self.expression(option)?;
                self.conditions.push(expression);
            }
            section @ ("answer" | "authority" | "additional") => {
                let place = match section {
                    "answer" => 0,
                    "authority" => 1,
                    _ => 2,
                };
                for argument in option.some("a record")? {
                    let text = Text::new(argument.text(), FIELDS).map_err(|error| {
                        argument.problem(Reason::Script {
                            of: section.into(),
                            cause: error.to_string().into(),
                        })
                    })?;
                    self.sections[place].push(text);
                }
            }
            "rcode" => self.rcode = option.required("a response code")?.rcode()?,
            "ederror" => {
                let code = option.required("the code of an extended error")?.number()?;
                let text = option.next().map_or("", |text| text.text());
                self.extended_error = Some((code, text.to_owned()));
            }
            "fallthrough" => self.fallthrough = Fallthrough::parse(option)?,
            "upstream" => {
                option.warn("`upstream` is no longer needed: aliases are always followed");
                option.rest();
            }
            _ => return Err(option.unknown(Self::NAME, &OPTIONS)),
        }
        Ok(())
    }

    fn expression(&self, option: &mut Args<'_>) -> Result<Expression, Problem> {
        let variables = self.variables.iter().map(|(name, _)| name.clone());
        let variables = variables.collect::<Vec<_>>();
        expression(option, &functions(), &variables)
    }
}

fn functions() -> Vec<(&'static str, usize)> {
    [&FUNCTIONS[..], &[("group", 1)]].concat()
}

/// All further words as one expression.
pub(super) fn expression(
    option: &mut Args<'_>,
    functions: &[(&str, usize)],
    variables: &[String],
) -> Result<Expression, Problem> {
    let words = option.some("an expression")?;
    let text = words
        .iter()
        .map(|word| word.text())
        .collect::<Vec<_>>()
        .join(" ");
    let known = Known {
        functions,
        variables,
    };
    Expression::new(&text, known).map_err(|error| {
        words[0].problem(Reason::Script {
            of: option.name().into(),
            cause: error.to_string().into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_all_options() {
        let directives = good(
            "template IN A a.test b.test {\n match ^x ^y\n var two group(1)\n expr two == 'b'\n \
             answer \"{{ .Name }} 1 IN A 10.0.0.1\" \"{{ .Name }} 1 IN A 10.0.0.2\"\n \
             authority \"a. NS b.\"\n additional \"b. A 10.0.0.3\"\n rcode NXDOMAIN\n \
             ederror 21 \"not here\"\n fallthrough a.test\n upstream\n}\ntemplate ANY ANY",
        );
        let [full, plain] = &*directives.template else {
            panic!("two of them");
        };
        assert_eq!((full.zones.len(), full.patterns.len()), (2, 2));
        assert_eq!((full.variables.len(), full.conditions.len()), (1, 1));
        assert_eq!(full.sections.each_ref().map(Vec::len), [2, 1, 1]);
        assert_eq!(full.rcode, super::Rcode::NXDOMAIN);
        assert_eq!(full.extended_error, Some((21, "not here".to_owned())));
        assert_eq!(plain.zones[0].as_str(), ".");
    }

    #[test]
    fn errors_name_the_word() {
        for (text, expected) in [
            ("template", "`template` needs a class and a type"),
            ("template IN", "`template` needs a class and a type"),
            ("template XX A", "`XX` is not a class"),
            ("template IN XX", "`XX` is not a record type"),
            ("template IN A {\n match\n}", "`match` needs a regular"),
            ("template IN A {\n match (\n}", "bad regular expression"),
            ("template IN A {\n answer\n}", "`answer` needs a record"),
            (
                "template IN A {\n answer \"{{ .Nome }}\"\n}",
                "no field `.Nome`",
            ),
            (
                "template IN A {\n rcode NOPE\n}",
                "`NOPE` is not a response code",
            ),
            ("template IN A {\n ederror x\n}", "`x` is not a number"),
            (
                "template IN A {\n var 1a 2\n}",
                "`1a` is not a name that is free",
            ),
            (
                "template IN A {\n var name 2\n}",
                "`name` is not a name that is free",
            ),
            ("template IN A {\n var a\n}", "`var` needs an expression"),
            ("template IN A {\n expr 1 +\n}", "ends too early"),
            (
                "template IN A {\n expr later == 1\n}",
                "no variable `later`",
            ),
            ("template IN A {\n anser x\n}", "has no option `anser`"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
