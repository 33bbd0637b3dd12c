//! The way of a Kubernetes event: source, store, index.

mod convert;
pub mod decode;
pub mod feed;
pub mod object;
pub mod selector;
pub mod source;
pub mod store;
