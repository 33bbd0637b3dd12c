//! `view`: a server block for some clients or questions only. The listener asks before it picks the
//! block; see [`crate::chain::Listener`].

use super::surroundings::Asked;
use crate::chain::Peer;
use crate::script::Value;
use crate::script::expr::Expression;
use crate::wire::Query;

/// One `view`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// Its name.
    pub name: Box<str>,
    /// All of them must be true.
    pub conditions: Vec<Expression>,
}

impl View {
    /// Whether the block takes this query. An expression that goes wrong is not true.
    #[cold]
    pub(crate) fn takes(&self, query: &Query<'_>, name: &[u8], peer: &Peer) -> bool {
        let asked = Asked::new(query, name, peer);
        let mut conditions = self.conditions.iter();
        conditions.all(|condition| condition.evaluate(&asked) == Ok(Value::Bool(true)))
    }
}
