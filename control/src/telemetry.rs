//! Where log lines end up: on standard output, with CoreDNS's level in brackets before them, or as
//! JSON objects.

use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};
use martlet_engine::log::{Level, Line};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use self::consolidate::{Consolidation, Verdict};
pub use self::format::Format;
use self::format::Lines;

pub mod consolidate;
mod format;

/// Sends what control and the libraries log to standard output.
pub fn init(format: Format) {
    let _ = FORMAT.set(format);
    // The kube crates tell each failed attempt; our own sources tell each outage, once.
    let targets = Targets::new()
        .with_default(tracing::Level::INFO)
        .with_target("kube_client", LevelFilter::OFF)
        .with_target("kube_runtime", LevelFilter::OFF);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stdout)
        .event_format(format);
    // A second initialisation (in tests) changes nothing.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(targets))
        .try_init();
}

/// For lines that go out without a thread or a subscriber.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Writes what is told right before the process ends by itself.
pub fn fatal(message: &str) {
    let mut out = Lines::new(FORMAT.get().copied().unwrap_or_default());
    out.add("FATAL", message);
    let _ = io::stdout().lock().write_all(out.text.as_bytes());
}

/// The thread that prints the lines of the workers.
pub struct Printer {
    stop: Sender<()>,
    ended: Receiver<()>,
    consolidations: Sender<(usize, Vec<Consolidation>)>,
}

impl Printer {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If there can be no more threads.
    pub fn start(lines: Receiver<Line>, format: Format) -> io::Result<Self> {
        let (stop, stopped) = channel::bounded(1);
        let (end, ended) = channel::bounded(1);
        let (consolidations, added) = channel::unbounded();
        thread::Builder::new().name("log".into()).spawn(move || {
            print(&lines, &stopped, &added, format);
            let _ = end.send(());
        })?;
        Ok(Self {
            stop,
            ended,
            consolidations,
        })
    }

    /// Adds what lines from now on may name by number, from `first` on. What had these numbers was
    /// never named.
    pub fn consolidate(&self, (first, new): (usize, Vec<Consolidation>)) {
        // Without a printer there is nobody to tell.
        let _ = self.consolidations.send((first, new));
    }

    /// Prints what was sent so far and what was counted, and ends. Whoever reads our output may have
    /// stopped reading: that is waited for a second.
    pub fn finish(self) {
        if self.stop.send(()).is_ok() {
            let _ = self.ended.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// How long to wait for a line when nothing else is to be done: as long as one likes.
const IDLE: Duration = Duration::from_secs(3_600);

/// How long lines gather after some were printed. A thread that waits for the next line is woken for
/// it, which costs the worker that sends it more than the line does.
const GATHER: Duration = Duration::from_millis(1);

/// Lines printed at once: more than gather at any rate, and less than find room in the queue.
const TOGETHER_MAX: usize = 4_096;

fn print(
    lines: &Receiver<Line>,
    stopped: &Receiver<()>,
    added: &Receiver<(usize, Vec<Consolidation>)>,
    format: Format,
) {
    let mut consolidations = Vec::new();
    let mut goes_on = true;
    while goes_on {
        let wait = consolidate::next_end(&consolidations)
            .map_or(IDLE, |end| end.saturating_duration_since(Instant::now()));
        let mut first = None;
        channel::select! {
            recv(lines) -> line => {
                goes_on = line.is_ok();
                first = line.ok();
            }
            recv(stopped) -> _ => goes_on = false,
            default(wait) => {}
        }
        let gathers = goes_on && first.is_some();
        let mut out = Lines::new(format);
        let now = Instant::now();
        for line in first.into_iter().chain(lines.try_iter().take(TOGETHER_MAX)) {
            // Those that a line names were sent before it.
            for (first, new) in added.try_iter() {
                consolidations.truncate(first);
                consolidations.extend(new);
            }
            let level = match consolidate::judge(&mut consolidations, &line, now) {
                Verdict::Counted => None,
                Verdict::First(level) => level,
                Verdict::Other => Some(match line.level {
                    Level::Info => "INFO",
                    Level::Error => "ERROR",
                }),
            };
            if let Some(level) = level {
                out.add(level, &line.text);
            }
        }
        consolidate::summarize(&mut consolidations, goes_on.then_some(now), &mut out);
        // With standard output gone there is nobody left to tell.
        let _ = io::stdout().lock().write_all(out.text.as_bytes());
        if gathers {
            thread::sleep(GATHER);
        }
    }
}
