//! The load generator's command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use martlet_bench::load::{self, Expect, Pace, QuerySet, Settings};

/// Asks a DNS server over UDP, as fast as it answers or at a fixed rate, and checks the replies.
#[derive(Parser)]
struct Args {
    /// The server
    #[arg(long, default_value = "127.0.0.1:5300")]
    address: SocketAddr,
    /// File of questions, one `NAME TYPE` a line
    #[arg(long)]
    queries: PathBuf,
    /// Queries in flight (closed loop)
    #[arg(long, default_value_t = load::WINDOW)]
    window: usize,
    /// Queries a second (open loop, instead of --window)
    #[arg(long, conflicts_with = "window")]
    rate: Option<f64>,
    /// Sockets, each with a source port of its own
    #[arg(long, default_value_t = load::SOCKETS)]
    sockets: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 2.0)]
    duration: f64,
    /// Seconds before them
    #[arg(long, default_value_t = 0.2)]
    warm_up: f64,
    /// Seconds after which a query is lost
    #[arg(long, default_value_t = 1.0)]
    timeout: f64,
    /// Right replies: answer, nodata, noerror, nxdomain, … (several with commas); default any
    #[arg(long, value_delimiter = ',')]
    expect: Vec<Expect>,
    /// Payload size to offer with EDNS; without, queries have no OPT record
    #[arg(long)]
    edns: Option<u16>,
    /// Core to pin to
    #[arg(long)]
    core: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => martlet_bench::fail(&*error),
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let queries = QuerySet::read(&args.queries, args.edns)?;
    let settings = Settings {
        pace: match args.rate {
            Some(rate) => Pace::Open { rate },
            None => Pace::Closed {
                window: args.window,
            },
        },
        sockets: args.sockets,
        warm_up: Duration::try_from_secs_f64(args.warm_up)?,
        duration: Duration::try_from_secs_f64(args.duration)?,
        timeout: Duration::try_from_secs_f64(args.timeout)?,
        expect: args.expect.clone(),
        core: args.core,
        ..Settings::new(args.address)
    };
    let report = load::run(&settings, &queries)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}
