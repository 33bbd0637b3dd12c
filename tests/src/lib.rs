//! Everything that the tests share.
//!
//! [`Martlet`] is the server as a child process, [`Client`] asks it over real sockets, [`dns`] reads
//! what comes back. [`FakeApi`] plays the API server, [`Upstream`] a name server to forward to,
//! [`load`] many clients, [`flood`] impatient ones, by which [`measured`] goes. [`conformance`] asks
//! thousands of questions and compares with the answers that CoreDNS gave; [`netns`] gives it a network
//! of its own. [`ways`] are those of moving datagrams. [`fuzz`] alone calls the server instead of
//! starting it.
//!
//! The harness may panic: it runs in tests only, and a panic that says what went wrong is a failed
//! test. It reads the clock and starts processes as it likes.

pub mod conformance;
pub mod dns;
pub mod flood;
pub mod fuzz;
pub mod load;
pub mod measured;
pub mod netns;
pub mod soak;
pub mod tools;
pub mod upheaval;
pub mod ways;

mod client;
mod fake_api;
mod identity;
mod martlet;
mod process;
mod scrape;
mod upstream;

pub use client::{Client, TcpSession};
pub use fake_api::{FakeApi, Gone, Recorded};
pub use identity::Identity;
pub use martlet::{Finished, Martlet, Setup, binary, run_binary};
pub use process::{Process, cpu_time, status_kib, wait_until};
pub use scrape::{Sample, Scrape, http_get};
pub use upstream::{Asked, FORGED, Fault, TlsFront, Transport, Upstream, wild_address};
