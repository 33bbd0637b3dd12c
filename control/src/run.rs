//! From the command line to a running server and to its end.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use martlet_engine::log::LogSink;
use martlet_engine::server::StartError;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{Args, ServeArgs};
use crate::assemble::{self, AssembleError, Assembled, Kept};
use crate::cluster::feed::FeedError;
use crate::corefile::{self, ConfigHash, Corefile, Options, Problems};
use crate::http::HttpError;
use crate::metrics::own::OWN;
use crate::reload::Watch;
use crate::running::Running;
use crate::telemetry::{Format, Printer};
use crate::tools::{self, ToolError};
use crate::{metrics, telemetry};

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

fn load(args: &ServeArgs) -> Result<Corefile, Problems> {
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
}

fn serve(args: &ServeArgs) -> Result<(), RunError> {
    telemetry::init(args.log_format);
    metrics::own::count_panics();
    let corefile = load(args).map_err(RunError::Corefile)?;
    warn(&corefile);
    let (log, lines) = LogSink::new();
    let assembled = assemble::assemble(&corefile, args.port, &Kept::new(log))?;
    let printer = Printer::start(lines, args.log_format).map_err(system("start the log thread"))?;
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
    runtime.block_on(serve_until_signal(args, assembled, corefile.hash, &printer))?;
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

fn warn(corefile: &Corefile) {
    for warning in &corefile.warnings {
        tracing::warn!("{warning}");
    }
}

async fn serve_until_signal(
    args: &ServeArgs,
    assembled: Assembled,
    hash: ConfigHash,
    printer: &Printer,
) -> Result<(), RunError> {
    let banner = assembled.banner.clone();
    // Before the first query: whoever is answered may count on an orderly end.
    let mut ends = Ends::catch().map_err(system("catch signals"))?;
    let reload_signal = signal(SignalKind::user_defined1());
    let mut reload_signal = reload_signal.map_err(system("catch signals"))?;
    let started = tokio::select! {
        started = Running::start(assembled, args, printer) => Some(started?),
        () = ends.any() => None,
    };
    let Some(mut running) = started else {
        return Ok(());
    };
    if !args.quiet {
        let version = version();
        for line in banner.iter().chain([&version]) {
            match args.log_format {
                Format::Text => println!("{line}"),
                Format::Json => tracing::info!("{line}"),
            }
        }
    }
    let mut watch = Watch::new(|| load(args), hash, running.reload);
    loop {
        let (read, failed) = tokio::select! {
            () = ends.any() => break,
            _ = reload_signal.recv() => {
                tracing::info!("SIGUSR1: Reloading");
                (watch.read(), "SIGUSR1: reload failed")
            }
            read = watch.changed() => {
                (read, "plugin/reload: Corefile changed but reload failed")
            }
        };
        let reload = async {
            let corefile = read.map_err(RunError::Corefile)?;
            tracing::info!("Reloading");
            warn(&corefile);
            running.replace(&corefile, printer).await?;
            Ok::<_, RunError>(corefile.hash)
        };
        let reloaded = tokio::select! {
            reloaded = reload => reloaded,
            () = ends.any() => break,
        };
        match reloaded {
            Ok(hash) => {
                watch.serves(hash, running.reload);
                tracing::info!("Reloading complete");
            }
            Err(error) => {
                OWN.reload_failures.inc();
                tracing::error!("{failed}: {error}");
            }
        }
    }
    running.leave();
    let lameduck = running.lameduck;
    if !lameduck.is_zero() {
        tracing::info!("plugin/health: Going into lameduck mode for {lameduck:?}");
        ends.wait_or_forced(lameduck).await;
    }
    running.stop().await;
    Ok(())
}

/// The signals that end the process, caught from the moment that this exists.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Ends {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Returns at SIGTERM, SIGINT or SIGQUIT, and says which.
    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: Shutting down servers then terminating"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT: Shutting down"),
            _ = self.quit.recv() => tracing::info!("SIGQUIT: Shutting down"),
        }
    }

    /// Waits for `duration`; another SIGINT, or SIGQUIT, cuts it short.
    async fn wait_or_forced(&mut self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}
