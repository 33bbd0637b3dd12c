//! `errors`: a log line for every query that failed.

use std::fmt::Write as _;

use crate::chain::Context;
use crate::log::{Counted, Level, Line};
use crate::wire::Rcode;

/// The plugin's settings.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// The list of `consolidate` rules at the printing end of the log, if there are any.
    pub rules: Option<usize>,
}

impl Errors {
    /// Logs a failure, unless its code is none to speak of.
    #[cold]
    pub(crate) fn failed(&self, context: &Context<'_>, rcode: Rcode, cause: &'static str) {
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
