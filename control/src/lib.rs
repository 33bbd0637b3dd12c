//! The half of martlet that knows Kubernetes, the Corefile and the operator.
//!
//! The way of an event: a source ([`cluster::source`]) sends what changed, the store
//! ([`cluster::store`]) folds it in and publishes the entries that it concerns to the engine's
//! index. The way of a Corefile: [`corefile`] makes typed directives of it, [`assemble`] the
//! engine's plan; nothing is opened before the plan is whole.
#![forbid(unsafe_code)]

pub mod args;
pub mod assemble;
pub mod cluster;
pub mod corefile;
pub mod hosts;
pub mod http;
pub mod loops;
pub mod memory;
pub mod metrics;
mod names;
pub mod notify;
pub mod reload;
pub mod run;
pub mod running;
pub mod task;
pub mod telemetry;
pub mod tls;
pub mod tools;
pub mod upstreams;
pub mod weights;
pub mod zone_file;
