//! The load generator's command line, and that of its ceiling: the bare echo.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use martlet_bench::echo::{Echo, Mode};
use martlet_bench::load::{self, Expect, Pace, QuerySet, Settings, Zone};

/// Loads a DNS server over UDP, or is the server that does least: the limit of what can be reached.
#[derive(Parser)]
enum Command {
    Ask(Ask),
    Echo(Serve),
}

/// Asks a server, as fast as it answers or at a fixed rate, and checks the replies.
#[derive(Args)]
struct Ask {
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
    /// Master file with the records that replies about its names must have, without wildcards and
    /// delegations; several may be given
    #[arg(long)]
    zone: Vec<PathBuf>,
    /// Right replies about other names: answer, nodata, noerror, nxdomain, … (several with commas);
    /// default any
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

/// Sends every datagram back with the QR bit set, from one thread.
#[derive(Args)]
struct Serve {
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
    let done = match Command::parse() {
        Command::Ask(args) => ask(args),
        Command::Echo(args) => echo(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => martlet_bench::fail(&*error),
    }
}

fn ask(args: Ask) -> Result<(), Box<dyn Error>> {
    let mut queries = QuerySet::read(&args.queries, args.edns)?;
    let known = queries.know(&Zone::read(&args.zone)?);
    if !args.zone.is_empty() {
        let all = queries.len();
        eprintln!("{known} of {all} questions are about names of the zones");
    }
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
        expect: args.expect,
        core: args.core,
        ..Settings::new(args.address)
    };
    let report = load::run(&settings, &queries)?;
    let text = if args.json {
        serde_json::to_string_pretty(&report)?
    } else {
        report.to_string()
    };
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

fn echo(args: &Serve) -> Result<(), Box<dyn Error>> {
    let mode = if args.one_by_one {
        Mode::OneByOne
    } else {
        Mode::Batched
    };
    Echo::start(args.address, mode, args.core)?.join()?;
    Ok(())
}
