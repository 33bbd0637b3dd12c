//! Servers beside the bare echo: the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use martlet_bench::load::{self, Expect, QuerySet, Zone};
use martlet_bench::versus::{self, Contender, Plan};

/// Measures servers in turn with the bare echo server, on one core, from another core.
#[derive(Parser)]
struct Args {
    /// Shell command that starts a server in the foreground; several may be given, each with its
    /// own --address
    #[arg(long)]
    server: Vec<String>,
    /// Where that server listens
    #[arg(long)]
    address: Vec<SocketAddr>,
    /// What to call it; by default the first word of its command
    #[arg(long)]
    name: Vec<String>,
    /// File of questions, one `NAME TYPE` a line
    #[arg(long)]
    queries: PathBuf,
    /// Master file with the records that replies must have, without wildcards and delegations; several
    /// may be given, and all names are theirs
    #[arg(long)]
    zone: Vec<PathBuf>,
    /// Right replies where there is no zone, and the first one of all: answer, nodata, noerror, nxdomain,
    /// … (several with commas); default any
    #[arg(long, value_delimiter = ',')]
    expect: Vec<Expect>,
    /// Where the echo server listens
    #[arg(long, default_value = "127.0.0.1:5399")]
    echo_address: SocketAddr,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each server's closed loop in each round; a quarter of it for each open loop
    #[arg(long, default_value_t = 3.0)]
    duration: f64,
    /// Common rate for latencies, several may be given; default half of the slowest server's and
    /// half of the middle one's
    #[arg(long)]
    rate: Vec<f64>,
    /// Whom the run is about: it fails if this server does not start, or loses or answers wrongly
    /// more than 0.1 %
    #[arg(long)]
    own: Option<String>,
    /// Queries in flight in the closed loop
    #[arg(long, default_value_t = load::WINDOW)]
    window: usize,
    /// The generator's sockets
    #[arg(long, default_value_t = load::SOCKETS)]
    sockets: usize,
    /// Payload size to offer with EDNS; without, queries have no OPT record
    #[arg(long)]
    edns: Option<u16>,
    /// The servers' core
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The generator's core
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write the table to this file as well, with commas
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Write the table to this file as well, in Markdown
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => martlet_bench::fail(&*error),
    }
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    if args.server.len() != args.address.len() {
        return Err("each --server needs one --address".into());
    }
    let mut queries = QuerySet::read(&args.queries, args.edns)?;
    let known = queries.know(&Zone::read(&args.zone)?);
    if !args.zone.is_empty() && known < queries.len() {
        let all = queries.len();
        return Err(format!("only {known} of {all} questions are about names of the zones").into());
    }
    let mut contenders = vec![echo(args.echo_address)?];
    for (at, (command, address)) in args.server.into_iter().zip(args.address).enumerate() {
        let program = command.split_whitespace().next().unwrap_or_default();
        let short = program.rsplit('/').next().unwrap_or_default();
        let name = args
            .name
            .get(at)
            .cloned()
            .unwrap_or_else(|| short.to_owned());
        contenders.push(Contender {
            own: args.own.as_ref() == Some(&name),
            name,
            command,
            address,
            expect: args.expect.clone(),
            check: true,
        });
    }
    if let Some(own) = &args.own
        && !contenders.iter().any(|contender| contender.own)
    {
        return Err(format!("--own {own} is the name of no --server").into());
    }
    let plan = Plan {
        contenders,
        rounds: args.rounds,
        duration: Duration::try_from_secs_f64(args.duration)?,
        rates: args.rate,
        window: args.window,
        sockets: args.sockets,
        server_core: args.server_core,
        load_core: args.load_core,
    };
    let outcome = versus::run(&plan, &queries)?;
    if let Some(path) = args.csv {
        std::fs::write(path, outcome.csv())?;
    }
    if let Some(path) = args.markdown {
        std::fs::write(path, outcome.markdown())?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print!("{outcome}");
    }
    outcome.check()?;
    Ok(())
}

/// The echo server is in the load generator, which is built beside this program.
fn echo(address: SocketAddr) -> std::io::Result<Contender> {
    let program = std::env::current_exe()?.with_file_name("martlet-load");
    Ok(Contender {
        name: "echo".into(),
        command: format!("'{}' echo --address {address}", program.display()),
        address,
        expect: Vec::new(),
        check: false,
        own: false,
    })
}
