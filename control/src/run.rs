//! From the command line to a running server and to its end.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::server::{Server, StartError};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Args, ServeArgs};
use crate::assemble::{self, AssembleError, Assembled};
use crate::cluster::feed::{self, FeedError};
use crate::corefile::{self, Corefile, Options, Problems};
use crate::http::{self, HttpError, Readiness};
use crate::telemetry::Printer;
use crate::tools::{self, ToolError};
use crate::{loops, metrics, telemetry};

/// Why the process ends with code 1.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The Corefile cannot be used.
    #[error("{0}")]
    Corefile(Problems),
    /// The Corefile is sound, but what it asks for is not to be had on this machine.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A source of cluster data cannot be used.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// An HTTP endpoint cannot be opened.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The DNS server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A tool could not do its work.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::System { what, source }
}

/// Does what the command line asks for.
///
/// # Errors
///
/// What the process should tell before it ends with code 1.
pub fn run(args: Args) -> Result<(), RunError> {
    match args {
        Args::Version => {
            println!("{}", version());
            Ok(())
        }
        Args::Plugins => {
            for name in corefile::directives::supported() {
                println!("dns.{name}");
            }
            Ok(())
        }
        tool @ (Args::Check(_)
        | Args::Explain(_)
        | Args::Dump(_)
        | Args::Top(_)
        | Args::Completions(_)
        | Args::Man) => tools::run(tool),
        Args::Serve(args) => serve(&args),
    }
}

/// The lines that CoreDNS prints of itself, told of martlet.
fn version() -> String {
    let (name, version) = ("martlet", env!("CARGO_PKG_VERSION"));
    format!(
        "{name}-{version}\n{}/{}",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

fn load(args: &ServeArgs) -> Result<Corefile, RunError> {
    let default = PathBuf::from("Corefile");
    let options = Options {
        dns_port: args.port,
        ..Options::process()
    };
    match &args.corefile {
        Some(path) => corefile::load_with(path, &options),
        None if default.exists() => corefile::load_with(&default, &options),
        None => Ok(corefile::default_corefile()),
    }
    .map_err(RunError::Corefile)
}

fn serve(args: &ServeArgs) -> Result<(), RunError> {
    telemetry::init();
    metrics::own::count_panics();
    let corefile = load(args)?;
    for warning in &corefile.warnings {
        tracing::warn!("{warning}");
    }
    let mut assembled = assemble::assemble(&corefile, args.port)?;
    let (lines, consolidations) = (
        assembled.lines.clone(),
        std::mem::take(&mut assembled.consolidations),
    );
    let printer = Printer::start(lines, consolidations).map_err(system("start the log thread"))?;
    if let Some(path) = &args.pid_file {
        std::fs::write(path, format!("{}\n", std::process::id())).map_err(system(format!(
            "write the process ID to {}",
            path.display()
        )))?;
    }
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.get().min(CONTROL_THREADS_MAX))
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    runtime.block_on(serve_until_signal(args, assembled, cores))?;
    // Watches and connections end with the process; nothing is waited for.
    runtime.shutdown_background();
    printer.finish();
    if let Some(path) = &args.pid_file {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Threads for TCP, the API server and HTTP.
const CONTROL_THREADS_MAX: usize = 2;

async fn serve_until_signal(
    args: &ServeArgs,
    assembled: Assembled,
    cores: NonZeroUsize,
) -> Result<(), RunError> {
    let Assembled {
        plan,
        clusters,
        health,
        ready,
        prometheus,
        monitored,
        lameduck,
        banner,
        weights,
        loops,
        ..
    } = assembled;
    let readiness = Readiness::new(
        clusters
            .iter()
            .map(|cluster| cluster.index.clone())
            .collect(),
    );
    for endpoint in &health {
        http::serve_health(endpoint).await?;
    }
    for (endpoint, continuous) in &ready {
        http::serve_ready(endpoint, readiness.clone(), *continuous).await?;
    }
    let mut scraped = Vec::new();
    for endpoint in &prometheus {
        scraped.push(metrics::listen(endpoint).await?);
    }
    feed::start(clusters).await?;
    let server = Server::start(plan, cores)?;
    let monitored = Arc::new(monitored);
    for listening in scraped {
        metrics::serve(listening, Arc::clone(&monitored), server.gauges());
    }
    for file in weights {
        tokio::spawn(file.watch());
    }
    for probe in loops {
        tokio::spawn(loops::watch(probe));
    }
    if !args.quiet {
        banner.iter().for_each(|line| println!("{line}"));
        println!("{}", version());
    }
    wait_for_end().await.map_err(system("wait for signals"))?;
    readiness.leave();
    if !lameduck.is_zero() {
        tracing::info!("plugin/health: Going into lameduck mode for {lameduck:?}");
        wait_or_forced(lameduck).await;
    }
    // The workers are joined: that blocks for as long as it takes to answer what had arrived.
    tokio::task::spawn_blocking(|| server.stop())
        .await
        .map_err(|error| RunError::System {
            what: "stop the workers".into(),
            source: io::Error::other(error),
        })
}

/// Returns at SIGTERM, SIGINT or SIGQUIT.
async fn wait_for_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut reload = signal(SignalKind::user_defined1())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: Shutting down servers then terminating"),
            _ = interrupt.recv() => tracing::info!("SIGINT: Shutting down"),
            _ = quit.recv() => tracing::info!("SIGQUIT: Shutting down"),
            _ = reload.recv() => {
                tracing::warn!("SIGUSR1: reloading is not supported yet; the Corefile stays as it was");
                continue;
            }
        }
        return Ok(());
    }
}

/// Waits for `duration`; a second SIGINT, or SIGQUIT, cuts it short.
async fn wait_or_forced(duration: Duration) {
    let (Ok(mut interrupt), Ok(mut quit)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::quit()))
    else {
        return;
    };
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        _ = interrupt.recv() => {}
        _ = quit.recv() => {}
    }
}
