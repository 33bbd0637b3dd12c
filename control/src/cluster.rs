//! The way of a Kubernetes event: source, store, index.

pub mod object;
