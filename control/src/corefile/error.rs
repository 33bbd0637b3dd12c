//! What can be wrong with a Corefile, and how it is said.
//!
//! A [`Problem`] has two forms: displayed it is one line for logs (`Corefile:12:5: …`), and as a
//! [`miette::Diagnostic`] it carries the source, the place in it and help. Everything found in one
//! reading comes back together as [`Problems`], because an operator who repairs a ConfigMap pays a
//! rollout for each round.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

pub use self::reason::{Reason, ZoneFault};
use super::lexer::{Source, Span, Token};

pub(super) mod reason;

/// A place in a Corefile or in a file that it imports.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// The file's name, as it was given or as it was imported.
    pub file: Arc<str>,
    /// The line, counted from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Clone)]
pub struct Problem(Box<Details>);

/// What a problem holds; boxed, because it travels in many a `Result`.
#[derive(Clone)]
struct Details {
    reason: Reason,
    source: Arc<Source>,
    span: Span,
}

impl Problem {
    /// A problem with one word.
    pub(super) fn at(token: &Token, reason: Reason) -> Self {
        Self::new(&token.source, token.span, reason)
    }

    /// A problem with a stretch of a file.
    pub(super) fn new(source: &Arc<Source>, span: Span, reason: Reason) -> Self {
        Self(Box::new(Details {
            reason,
            source: Arc::clone(source),
            span,
        }))
    }

    /// Where it is.
    pub fn position(&self) -> Position {
        self.0.source.position(self.0.span)
    }

    /// What is wrong.
    pub fn reason(&self) -> &Reason {
        &self.0.reason
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position(), self.0.reason)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.0
            .reason
            .help()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (self.0.span.line > 0).then(|| self.0.source.code())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Span {
            start, len, line, ..
        } = self.0.span;
        let label = LabeledSpan::new(Some("here".to_owned()), start, len);
        (line > 0)
            .then(|| Box::new(std::iter::once(label)) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// Everything that is wrong with a Corefile; never empty. Displays as one line for each, with the
/// help in parentheses.
#[derive(Clone)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// The report for people: each problem with the lines that it is about. Without colors, since
    /// it is read in `kubectl logs`.
    pub fn render(&self) -> String {
        let printer = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        let mut report = String::new();
        for problem in &self.0 {
            // Writing to a string cannot fail; should a snippet be refused, the line form is left.
            if printer.render_report(&mut report, problem).is_err() {
                report.push_str(&problem.to_string());
                report.push('\n');
            }
        }
        report
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
            if let Some(help) = problem.reason().help() {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(
            self.0.iter().map(|problem| problem as &dyn Diagnostic),
        ))
    }
}

/// Something that works but is not what the operator may think.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// Where it is.
    pub position: Position,
    /// What to know, as one line.
    pub text: Box<str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.text)
    }
}

/// Collects what one reading of a Corefile finds.
///
/// Shared by the parser and all directives, hence the interior mutability. The same finding is kept
/// once: a snippet that is imported into ten server blocks has one mistake, not ten.
#[derive(Default)]
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
}

impl Findings {
    /// Notes a problem.
    pub(super) fn problem(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        let known = problems.len() >= PROBLEMS_MAX
            || problems.iter().any(|old| {
                old.position() == problem.position() && old.reason() == problem.reason()
            });
        if !known {
            problems.push(problem);
        }
    }

    /// Notes a warning about a word.
    pub(super) fn warn(&self, token: &Token, text: impl Into<Box<str>>) {
        let warning = Warning {
            position: token.position(),
            text: text.into(),
        };
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < PROBLEMS_MAX && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// What was found: the warnings, or the problems if there are any.
    pub(super) fn finish(self) -> Result<Vec<Warning>, Problems> {
        let problems = self.problems.into_inner();
        if problems.is_empty() {
            Ok(self.warnings.into_inner())
        } else {
            Err(Problems(problems))
        }
    }
}

/// How many problems (and warnings) are kept; a file with more is not a Corefile.
const PROBLEMS_MAX: usize = 100;
