//! The bare echo server: the ceiling that servers are measured against.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use martlet_bench::echo::{Echo, Mode};

/// Sends every datagram back with the QR bit set, from one thread.
#[derive(Parser)]
struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:5300")]
    address: SocketAddr,
    /// recvfrom and sendto instead of recvmmsg and sendmmsg
    #[arg(long)]
    one_by_one: bool,
    /// Core to pin the thread to
    #[arg(long)]
    core: Option<usize>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mode = if args.one_by_one {
        Mode::OneByOne
    } else {
        Mode::Batched
    };
    match Echo::start(args.address, mode, args.core).and_then(Echo::join) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => martlet_bench::fail(&error),
    }
}
