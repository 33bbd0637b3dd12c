//! What plugins count by labels of their own, so that there is no table of them.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Scope;

/// What one count of `template` is of.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TemplateCount {
    /// The zone of the template, with the dot at its end.
    pub zone: Box<str>,
    /// The class that was asked for, empty if it has no name.
    pub class: &'static str,
    /// The type that was asked for, empty if it has no name. No label has another value, so there
    /// are not more counts than types.
    pub rtype: &'static str,
    /// What happened.
    pub event: TemplateEvent,
}

/// What happened to a template.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TemplateEvent {
    /// A question matched.
    Match,
    /// Its text could not be made. The section, and the template as it is written.
    TemplateFailure(&'static str, Box<str>),
    /// Its text is no record. Likewise.
    RecordFailure(&'static str, Box<str>),
}

/// What one count of `acl` is of.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AclCount {
    /// The zone of the rule that decided, with the dot at its end.
    pub zone: Arc<str>,
    /// What became of the query.
    pub event: AclEvent,
}

/// What `acl` does with queries that do not go on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AclEvent {
    /// They are refused.
    Blocked,
    /// They are answered with nothing.
    Filtered,
    /// They are met with silence.
    Dropped,
}

/// Counts, which last from plan to plan.
pub struct Labelled<W>(papaya::HashMap<(u16, W), AtomicU64>);

impl<W: Eq + Hash> Default for Labelled<W> {
    fn default() -> Self {
        Self(papaya::HashMap::new())
    }
}

impl<W: Clone + Eq + Hash> Labelled<W> {
    /// Counts one; nothing is kept for [`Scope::NONE`].
    pub(crate) fn add(&self, scope: Scope, what: W) {
        if scope != Scope::NONE {
            let counts = self.0.pin();
            let count = counts.get_or_insert_with((scope.place, what), AtomicU64::default);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The place of the scope, what was counted, and how often.
    pub(super) fn totals(&self) -> Vec<((u16, W), u64)> {
        let counts = self.0.pin();
        let load =
            |(what, count): (&(u16, W), &AtomicU64)| (what.clone(), count.load(Ordering::Relaxed));
        counts.iter().map(load).collect()
    }
}
