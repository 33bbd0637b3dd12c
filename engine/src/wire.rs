//! DNS bytes: what a query says and how a reply is written. Imports no other module of the engine
//! but `limits`.

pub mod codes;
pub mod message;
pub mod name;
pub mod query;
pub mod record;
pub mod reply;
pub mod text;
pub mod walk;

pub use codes::{Class, Flags, Opcode, RType, Rcode};
pub use message::Message;
pub use name::{FoldedName, label_hash};
pub use query::{Edns, PlainQuery, Query, QueryError};
pub use record::{Answer, Record};
pub use reply::{Reply, Section};
