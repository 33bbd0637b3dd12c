//! `errors`: a log line for every query that failed.

use std::fmt::Write as _;

use crate::chain::{Context, Step};
use crate::log::{Counted, Level, Line};

/// The plugin's settings.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// The list of `consolidate` rules at the printing end of the log, if there are any.
    pub rules: Option<usize>,
}

impl Errors {
    pub(crate) fn response(&self, context: &Context<'_>, step: Step) {
        let Step::Failed(rcode, cause) = step else {
            return;
        };
        if cause.is_empty() {
            return;
        }
        let mut text = String::with_capacity(128);
        let (name, qtype) = (context.name, context.query.qtype);
        // Writing to a string cannot fail.
        let cause = context.cause.as_deref().unwrap_or(cause);
        let _ = write!(text, "plugin/errors: {} {name} {qtype}: ", rcode.0);
        let cause_at = text.len();
        text.push_str(cause);
        context.log.send_line(Line {
            level: Level::Error,
            text,
            counted: self.rules.map(|rules| Counted { rules, cause_at }),
        });
    }
}
