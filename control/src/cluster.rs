//! The way of a Kubernetes event: source, store, index.

mod convert;
pub mod object;
pub mod store;
