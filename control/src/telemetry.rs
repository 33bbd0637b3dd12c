//! Where log lines end up: on standard output, with CoreDNS's level in brackets before them.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use crossbeam::channel::Receiver;
use martlet_engine::log::{Level, Line};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

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

/// Starts the thread that prints the lines of the workers.
pub fn print_lines(lines: Receiver<Line>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || {
            while let Ok(first) = lines.recv() {
                let mut text = String::new();
                for line in std::iter::once(first).chain(lines.try_iter().take(1_024)) {
                    let level = match line.level {
                        Level::Info => "INFO",
                        Level::Error => "ERROR",
                    };
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "[{level}] {}", line.text);
                }
                // With standard output gone there is nobody left to tell.
                let _ = io::stdout().lock().write_all(text.as_bytes());
            }
        })?;
    Ok(())
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
