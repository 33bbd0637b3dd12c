//! `errors [stdout] { stacktrace; consolidate DURATION REGEX [LEVEL] [show_first] }`: logs why
//! queries failed.

use std::time::Duration;

use super::super::args::Args;
use super::super::error::Problem;
use super::Directive;

/// `errors`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Errors {
    /// `stacktrace`: with panics, their stack is logged.
    pub stacktrace: bool,
    /// What is counted instead of logged; the first that matches an error is used.
    pub consolidate: Vec<Consolidate>,
}

/// One `consolidate`: errors of a kind give one line in a while.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Consolidate {
    /// How often a line is written.
    pub period: Duration,
    /// Which errors are meant: a regular expression that is known to compile.
    pub pattern: Box<str>,
    /// With which level the line is written.
    pub level: Level,
    /// Whether the first error of a period is logged as well.
    pub show_first: bool,
}

/// A log level.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Level {
    /// Errors.
    #[default]
    Error,
    /// Warnings.
    Warning,
    /// Information.
    Info,
    /// Only with `debug`.
    Debug,
}

impl Directive for Errors {
    const NAME: &'static str = "errors";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        if let Some(argument) = args.next() {
            if argument.text() != "stdout" {
                return Err(argument.is_not("a log file: errors always go to stdout"));
            }
            argument.warn("`stdout` is no longer needed: errors always go there");
        }
        let mut errors = Self::default();
        args.options(|option| match option.name() {
            "stacktrace" => {
                errors.stacktrace = true;
                Ok(())
            }
            "consolidate" => consolidate(option).map(|rule| errors.consolidate.push(rule)),
            _ => Err(option.unknown(Self::NAME, &["stacktrace", "consolidate"])),
        });
        Ok(errors)
    }
}

fn consolidate(option: &mut Args<'_>) -> Result<Consolidate, Problem> {
    let period = option.required("a duration")?.duration()?;
    let pattern = option
        .required("a regular expression")?
        .pattern()?
        .as_str()
        .into();
    let mut next = option.next();
    let mut level = Level::default();
    if let Some(argument) = next.filter(|argument| argument.text() != SHOW_FIRST) {
        level = argument.keyword(&[
            ("warning", Level::Warning),
            ("error", Level::Error),
            ("info", Level::Info),
            ("debug", Level::Debug),
        ])?;
        next = option.next();
    }
    if let Some(argument) = next {
        argument.keyword(&[(SHOW_FIRST, ())])?;
    }
    Ok(Consolidate {
        period,
        pattern,
        level,
        show_first: next.is_some(),
    })
}

const SHOW_FIRST: &str = "show_first";

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, warnings};
    use super::*;

    #[test]
    fn reads_rules() {
        assert_eq!(good("errors").errors, Some(Errors::default()));
        assert_eq!(good("errors stdout").errors, Some(Errors::default()));
        assert_eq!(warnings("errors stdout").len(), 1);
        let errors = good(
            "errors {\n stacktrace\n consolidate 5m \".* timeout$\" warning\n \
             consolidate 30s ^x$ show_first\n consolidate 1s y debug show_first\n}",
        );
        let errors = errors.errors.unwrap();
        assert!(errors.stacktrace);
        let rules: Vec<_> = errors
            .consolidate
            .iter()
            .map(|rule| {
                (
                    rule.period.as_secs(),
                    &*rule.pattern,
                    rule.level,
                    rule.show_first,
                )
            })
            .collect();
        assert_eq!(
            rules,
            [
                (300, ".* timeout$", Level::Warning, false),
                (30, "^x$", Level::Error, true),
                (1, "y", Level::Debug, true),
            ]
        );
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "errors stderr",
            "errors stdout x",
            "errors\nerrors",
            "errors {\n consolidate\n}",
            "errors {\n consolidate 5m\n}",
            "errors {\n consolidate 5 x\n}",
            "errors {\n consolidate 5m (\n}",
            "errors {\n consolidate 5m x fatal\n}",
            "errors {\n consolidate 5m x info error\n}",
            "errors {\n consolidate 5m x show_first info\n}",
            "errors {\n consolidate 5m x info show_first y\n}",
            "errors {\n stacktrace x\n}",
            "errors {\n consolidat 5m x\n}",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
        let long = "x".repeat(10_001);
        assert_eq!(
            bad(&format!("errors {{\n consolidate 5m {long}\n}}")).len(),
            1
        );
    }
}
