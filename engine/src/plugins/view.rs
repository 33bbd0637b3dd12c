//! `view`: a server block for some clients or questions only. The listener asks before it picks the
//! block; see [`crate::chain::Listener`].

use std::sync::Arc;

use super::metadata::Metadata;
use super::surroundings::Asked;
use crate::chain::Peer;
use crate::script::Value;
use crate::script::expr::Expression;
use crate::wire::{FoldedName, Query};

/// One `view`.
pub struct View {
    /// Its name.
    pub name: Box<str>,
    /// All of them must be true.
    pub conditions: Vec<Expression>,
    /// Where labels come from, with `metadata`.
    pub labels: Option<Arc<Metadata>>,
}

impl View {
    /// Whether the block takes this query. An expression that goes wrong is not true.
    #[cold]
    pub(crate) fn takes(&self, query: &Query<'_>, name: &FoldedName, peer: &Peer) -> bool {
        let asked = Asked::new(query, name, peer).with(self.labels.as_deref());
        let mut conditions = self.conditions.iter();
        conditions.all(|condition| condition.evaluate(&asked) == Ok(Value::Bool(true)))
    }
}
