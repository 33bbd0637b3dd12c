//! Where log lines end up: on standard output, with CoreDNS's level in brackets before them.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};
use martlet_engine::log::{Level, Line};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::consolidate::{Consolidation, Verdict};

pub mod consolidate;

/// Sends what control and the libraries log to standard output.
pub fn init() {
    // The kube crates tell each failed attempt; our own sources tell each outage, once.
    let targets = Targets::new()
        .with_default(tracing::Level::INFO)
        .with_target("kube_client", LevelFilter::OFF)
        .with_target("kube_runtime", LevelFilter::OFF);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stdout)
        .event_format(Bracketed);
    // A second initialisation (in tests) changes nothing.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(targets))
        .try_init();
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
    pub fn start(lines: Receiver<Line>) -> io::Result<Self> {
        let (stop, stopped) = channel::bounded(1);
        let (end, ended) = channel::bounded(1);
        let (consolidations, added) = channel::unbounded();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || {
                print(&lines, &stopped, &added);
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

fn print(
    lines: &Receiver<Line>,
    stopped: &Receiver<()>,
    added: &Receiver<(usize, Vec<Consolidation>)>,
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
        let mut text = String::new();
        let now = Instant::now();
        for line in first.into_iter().chain(lines.try_iter().take(1_024)) {
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
                // Writing to a string cannot fail.
                let _ = writeln!(text, "[{level}] {}", line.text);
            }
        }
        consolidate::summarize(&mut consolidations, goes_on.then_some(now), &mut text);
        // With standard output gone there is nobody left to tell.
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }
}

/// `[LEVEL] message key=value…`
struct Bracketed;

impl<S, N> FormatEvent<S, N> for Bracketed
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            tracing::Level::WARN => "WARNING",
            level => level.as_str(),
        };
        write!(out, "[{level}] ")?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(out, "{}{}", fields.message, fields.others)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.others, " {}={value:?}", field.name())
        };
    }
}
