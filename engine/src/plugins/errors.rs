//! `errors`: a log line for every query that failed.

use std::fmt::Write as _;

use crate::chain::{Context, Step};
use crate::log::Level;

/// The plugin's settings. Consolidation comes with the rest of the logging.
#[derive(Clone, Debug, Default)]
pub struct Errors;

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
        let _ = write!(text, "plugin/errors: {} {name} {qtype}: {cause}", rcode.0);
        context.log.send(Level::Error, text);
    }
}
