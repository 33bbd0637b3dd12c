//! Tests of the whole server over real sockets: the binary as a child process.

mod api_source;
mod bind;
mod clients;
mod fixtures;
mod selftest;
mod startup;
mod tcp;
mod tidy;
mod wire;
