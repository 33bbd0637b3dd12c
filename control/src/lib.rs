//! The half of martlet that knows Kubernetes, the Corefile and the operator.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod corefile;
