//! An upstream for measuring forwarding.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use martlet_bench::upstream::{Behaviour, serve};

/// Answers every A and AAAA question over UDP, or none.
#[derive(Parser)]
struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:5301")]
    address: SocketAddr,
    /// TTL of its records, in seconds
    #[arg(long, default_value_t = 300)]
    ttl: u32,
    /// Milliseconds before each reply
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Never reply
    #[arg(long)]
    silent: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let behaviour = Behaviour {
        ttl: args.ttl,
        delay: Duration::from_millis(args.delay),
        silent: args.silent,
    };
    match serve(args.address, behaviour) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => martlet_bench::fail(&error),
    }
}
