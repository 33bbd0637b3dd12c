//! Tests of the whole server over real sockets: the binary as a child process.

mod selftest;
