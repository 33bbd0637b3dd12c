//! The way of a Kubernetes event: source, store, index.

mod convert;
pub mod decode;
pub mod feed;
mod keeper;
pub mod object;
pub mod selector;
pub mod snapshot;
pub mod source;
pub mod store;
