//! Tests of the whole server over real sockets: the binary as a child process.

mod api_faults;
mod api_source;
mod bind;
mod cache;
mod clients;
mod deploy;
mod errors;
mod external_name;
mod fixtures;
mod forward;
mod loadbalance;
mod loop_;
mod metrics;
mod real_upstream;
mod reload;
mod secure;
mod selftest;
mod shutdown;
mod snapshot;
mod startup;
mod steady;
mod tcp;
mod tidy;
mod tools;
mod wire;
mod worker_io;
