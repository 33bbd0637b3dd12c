//! Comparison with recorded answers of CoreDNS.
//!
//! `tests/conformance/` holds generated clusters, a corpus of questions about each, Corefiles, and
//! what CoreDNS 1.13.1 answered. A [`Case`] is one Corefile over one cluster. It runs as a child
//! process in namespaces of its own, where the machine has only the addresses that the Corefile's
//! first line names: CoreDNS answers NS questions with those. The way of a case:
//!
//! ```text
//! vectors → template → [inner: server, ask] → compare → deviations → report
//! ```

mod ask;
mod case;
mod compare;
mod corpus;
mod deviations;
mod report;
mod template;
mod vectors;

pub use case::{Case, Source};
pub use compare::{Kind, causes, full_answer};
pub use corpus::{Question, parse_corpus};
pub use deviations::Deviations;
pub use report::Report;
pub use vectors::{Answers, root};
