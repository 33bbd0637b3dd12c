//! The commands beside serving: what an operator asks of a Corefile, of a cluster, of a running
//! server. Each writes text to standard output; what goes wrong is said on standard error, with code
//! 1 at the end.

mod check;
mod dump;
mod explain;
mod needs;
mod record;
mod top;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use martlet_engine::chain::Peer;
use martlet_engine::log::LogSink;

use crate::args::{Args, command};
use crate::assemble::{self, Assembled, Kept};
use crate::cluster::feed::{self, Feed};
use crate::corefile::{self, Corefile, Options};
use crate::run::RunError;

/// Why a tool could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// `check` has found something; it has said what.
    #[error("{file}: {count} {}", if *count == 1 { "problem" } else { "problems" })]
    Check {
        /// The Corefile.
        file: String,
        /// How many problems there are.
        count: usize,
    },
    /// A name that is none.
    #[error("`{0}` is not a domain name")]
    Name(String),
    /// A type that is none.
    #[error("`{0}` is not a record type; say A, AAAA, SRV, PTR or the like, or TYPE and a number")]
    Type(String),
    /// The Corefile serves no plain DNS, or not on this port.
    #[error("the Corefile has no server block for plain DNS{}", port_text(*.0))]
    NoListener(Option<u16>),
    /// A zone that no `kubernetes` has.
    #[error("no `kubernetes` of the Corefile has the zone `{wanted}`; there are: {known}")]
    Zone {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// No metrics from there.
    #[error("cannot read the metrics at {url}: {cause}")]
    Metrics {
        /// The URL.
        url: String,
        /// Why not.
        cause: String,
    },
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

fn port_text(port: Option<u16>) -> String {
    port.map_or_else(String::new, |port| format!(" on port {port}"))
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ToolError {
    move |source| ToolError::System { what, source }
}

/// Does what a command other than serving asks for.
///
/// # Errors
///
/// What the process should tell before it ends with code 1.
pub fn run(args: Args) -> Result<(), RunError> {
    match args {
        Args::Check(args) => check::check(&args),
        Args::Explain(args) => explain::explain(&args),
        Args::Dump(args) => dump::dump(&args),
        Args::Top(args) => Ok(top::top(&args)?),
        Args::Completions(shell) => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command(), "martlet", &mut text);
            Ok(print(&text)?)
        }
        Args::Man => Ok(print(&manual().map_err(system("write the manual page"))?)?),
        Args::Serve(_) | Args::Version | Args::Plugins => unreachable!("these are no tools"),
    }
}

/// The manual page: the program's own, and the commands' behind it.
fn manual() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let command = command();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    for tool in command.get_subcommands() {
        let mut tool = tool
            .clone()
            .bin_name(format!("martlet {}", tool.get_name()));
        let usage = tool.render_long_help().to_string();
        let name = tool.get_name().to_uppercase();
        writeln!(text, ".SH \"MARTLET {name}\"\n.nf")?;
        for line in usage.lines() {
            // A dot or a quote at the start of a line would be a request.
            writeln!(
                text,
                "\\&{}",
                line.replace('\\', "\\\\").replace('-', "\\-")
            )?;
        }
        writeln!(text, ".fi")?;
    }
    Ok(text)
}

/// Writes to standard output. That the reader has seen enough is no error.
fn print(text: &[u8]) -> Result<(), ToolError> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(system("write to standard output")(error))
        }
        _ => Ok(()),
    }
}

/// The client whose queries tools walk through the chain: this machine, over TCP.
fn nobody() -> Peer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Peer {
        remote: address,
        local: address,
        stream: true,
        answer_from: None,
        received: Instant::now(),
    }
}

/// No plan before this one. Nobody reads the log.
fn nothing_kept() -> Kept {
    Kept::new(LogSink::new().0)
}

/// A Corefile with its plan and its clusters' data, but nothing that serves.
struct Offline {
    corefile: Corefile,
    assembled: Assembled,
    _feeds: Vec<Feed>,
    /// Keeps the clusters' sources going.
    _runtime: tokio::runtime::Runtime,
}

impl Offline {
    /// Reads the Corefile and waits until its clusters are there, as a start would.
    fn load(path: &Path) -> Result<Self, RunError> {
        let options = Options::process();
        let corefile = corefile::load_with(path, &options).map_err(RunError::Corefile)?;
        let mut assembled = assemble::assemble(&corefile, options.dns_port, &nothing_kept())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(system("start the runtime"))?;
        let mut clusters = std::mem::take(&mut assembled.clusters);
        for cluster in &mut clusters {
            // That is the server's, to read and to write.
            cluster.snapshot = None;
        }
        let indexes = clusters
            .iter()
            .map(|cluster| cluster.index.clone())
            .collect::<Vec<_>>();
        let feeds = runtime.block_on(feed::start(clusters))?;
        if indexes.iter().any(|index| !index.is_synced()) {
            eprintln!("warning: the API server has not sent everything yet; names may be missing");
        }
        Ok(Self {
            corefile,
            assembled,
            _feeds: feeds,
            _runtime: runtime,
        })
    }
}
