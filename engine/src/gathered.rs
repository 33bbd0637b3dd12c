//! What a query still needs from elsewhere, and what the slow path has found out for it.
//!
//! The chain itself never waits. A stage that needs I/O names its need and says
//! [`Step::Slow`](crate::chain::Step::Slow); the slow path sees to it and walks the chain again from
//! the start, with the result at hand. So a plugin has one form, which workers and the slow path
//! both run, and whatever it did before it got stuck it simply does again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::upstream::Group;
use crate::wire::{Message, Query, RType};

/// What a stage cannot go on without.
pub enum Need {
    /// The reply of an upstream.
    Exchange {
        /// Who is asked.
        group: Arc<Group>,
        /// The message to send; see [`crate::wire::message::request`].
        request: Vec<u8>,
    },
    /// What the whole server answers to another question.
    LookUp(LookUp),
    /// Time.
    Pause {
        /// How much.
        wait: Duration,
        /// What [`Gathered::pause`] is then.
        number: u64,
    },
}

/// A question inside a question.
#[derive(Clone)]
pub struct LookUp {
    /// The name, as it is asked.
    pub name: Box<[u8]>,
    /// The type.
    pub qtype: RType,
    /// The query that asks for it.
    pub packet: Vec<u8>,
}

/// Why upstreams gave no reply.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// More queries than `max_concurrent` are under way.
    #[error("concurrent queries exceeded maximum {0}")]
    Busy(usize),
    /// Replies came, all to another question.
    #[error("the upstream replied to another question")]
    Mismatch,
    /// All upstreams are down, and `failfast_all_unhealthy_upstreams` is set.
    #[error("no healthy proxies")]
    NoHealthy,
    /// The last thing that went wrong when all were tried.
    #[error("{0}")]
    Failed(Arc<str>),
    /// Whoever asked did not want to wait so long. The exchange goes on.
    #[error("no reply so far")]
    Impatient,
}

/// The result of asking upstreams.
pub type Exchanged = Result<Arc<Message>, ExchangeError>;

/// Results for one query.
pub struct Gathered {
    /// Nobody waits for the reply; it is to refresh the cache.
    pub refresh: bool,
    /// What a stage noted when it asked for time, which has passed.
    pub pause: Option<u64>,
    exchanges: Vec<(Arc<Group>, Box<[u8]>, Exchanged)>,
    look_ups: Vec<(LookUp, Option<Vec<u8>>)>,
}

impl Gathered {
    /// Nothing so far. `refresh` says that nobody waits for the reply.
    pub const fn new(refresh: bool) -> Self {
        Self {
            refresh,
            pause: None,
            exchanges: Vec::new(),
            look_ups: Vec::new(),
        }
    }

    /// Whether the chain was walked before.
    pub const fn is_resumed(&self) -> bool {
        !self.exchanges.is_empty() || !self.look_ups.is_empty()
    }

    /// What these upstreams said to the question of `query`, if they were asked.
    pub fn exchange(&self, group: &Arc<Group>, query: &Query<'_>) -> Option<&Exchanged> {
        // By what the query means: its packet may leave out the type and the class.
        let asks = |question: &[u8]| {
            question.split_last_chunk().is_some_and(|(name, codes)| {
                let [t1, t2, c1, c2] = *codes;
                name == query.name_as_sent()
                    && [t1, t2] == query.qtype.0.to_be_bytes()
                    && [c1, c2] == query.qclass.0.to_be_bytes()
            })
        };
        let mut of_group = self
            .exchanges
            .iter()
            .filter(|(known, asked, _)| Arc::ptr_eq(known, group) && asks(asked));
        of_group.next().map(|(.., result)| result)
    }

    /// Who replied to the last exchange that there was a reply to.
    pub fn upstream(&self) -> Option<SocketAddr> {
        let results = self.exchanges.iter().rev().map(|(.., result)| result);
        results.flatten().find_map(|message| message.sender)
    }

    /// The encoded reply to an inner question, if it was asked; `Some(None)` if nobody replied.
    pub fn look_up(&self, name: &[u8], qtype: RType) -> Option<Option<&[u8]>> {
        let mut known = self
            .look_ups
            .iter()
            .filter(|(known, _)| *known.name == *name && known.qtype == qtype);
        known.next().map(|(_, reply)| reply.as_deref())
    }

    /// Keeps the result of an exchange, which began with `question`: name as sent, type, class.
    pub fn add_exchange(&mut self, group: Arc<Group>, question: Box<[u8]>, result: Exchanged) {
        self.exchanges.push((group, question, result));
    }

    /// Keeps the reply to an inner question.
    pub fn add_look_up(&mut self, look_up: LookUp, reply: Option<Vec<u8>>) {
        self.look_ups.push((look_up, reply));
    }
}
