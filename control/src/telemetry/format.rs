//! How log lines are written: as CoreDNS has them, or as JSON objects, one a line.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// `[LEVEL] message key=value…`
    #[default]
    Text,
    /// `{"time":…,"level":…,"message":…,"fields":{…}}`, without `fields` where there are none.
    Json,
}

impl Format {
    /// What the command line calls them.
    pub const fn names() -> [&'static str; 2] {
        ["text", "json"]
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("no format of log lines is called `{other}`")),
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    time: &'a str,
    level: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl Object<'_> {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can be written")
    }
}

/// In RFC 3339, UTC.
fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Lines that go out together, with the time at which they do.
pub(super) struct Lines {
    format: Format,
    time: String,
    /// All lines, with their ends.
    pub(super) text: String,
}

impl Lines {
    /// No lines yet.
    pub(super) fn new(format: Format) -> Self {
        let time = match format {
            Format::Text => String::new(),
            Format::Json => now(),
        };
        Self {
            format,
            time,
            text: String::new(),
        }
    }

    /// One more.
    pub(super) fn add(&mut self, level: &str, message: &str) {
        // Writing to a string cannot fail.
        let _ = match self.format {
            Format::Text => writeln!(self.text, "[{level}] {message}"),
            Format::Json => {
                let object = Object {
                    time: &self.time,
                    level,
                    message,
                    fields: Map::new(),
                };
                writeln!(self.text, "{}", object.text())
            }
        };
    }
}

impl<S, N> FormatEvent<S, N> for Format
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
        match self {
            Self::Text => {
                let mut fields = TextFields::default();
                event.record(&mut fields);
                writeln!(out, "[{level}] {}{}", fields.message, fields.others)
            }
            Self::Json => {
                let mut fields = JsonFields::default();
                event.record(&mut fields);
                let object = Object {
                    time: &now(),
                    level,
                    message: &fields.message,
                    fields: fields.others,
                };
                writeln!(out, "{}", object.text())
            }
        }
    }
}

const MESSAGE: &str = "message";

#[derive(Default)]
struct TextFields {
    message: String,
    others: String,
}

impl Visit for TextFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == MESSAGE {
            write!(self.message, "{value:?}")
        } else {
            write!(self.others, " {}={value:?}", field.name())
        };
    }
}

/// Numbers stay numbers.
#[derive(Default)]
struct JsonFields {
    message: String,
    others: Map<String, Value>,
}

impl JsonFields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for JsonFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == MESSAGE {
            self.message = text;
        } else {
            self.add(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.add(field, value),
            Err(_) => self.add(field, value.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(format)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let help = None::<String>;
            tracing::warn!(lasting_s = 3_u64, ms = 7_u128, kind = %"Pod", help, "a \"watch\"\nfailed");
            tracing::info!("started");
        });
        let octets = written.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn events_are_written_in_either_format() {
        assert_eq!(
            logged(Format::Text),
            "[WARNING] a \"watch\"\nfailed lasting_s=3 ms=7 kind=Pod\n[INFO] started\n"
        );
        let text = logged(Format::Json);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["level"], "WARNING");
        assert_eq!(lines[0]["message"], "a \"watch\"\nfailed");
        let fields = serde_json::json!({"lasting_s": 3, "ms": 7, "kind": "Pod"});
        assert_eq!(lines[0]["fields"], fields);
        assert_eq!(lines[1]["fields"], Value::Null, "{text}");
        let time = lines[1]["time"].as_str().unwrap();
        assert!(time.contains('T') && time.ends_with('Z'), "{time}");
    }

    #[test]
    fn lines_of_workers_are_written_in_either_format() {
        let mut lines = Lines::new(Format::Text);
        lines.add("INFO", "127.0.0.1:5 - 1 \"A IN a. udp\"");
        assert_eq!(lines.text, "[INFO] 127.0.0.1:5 - 1 \"A IN a. udp\"\n");
        let mut lines = Lines::new(Format::Json);
        lines.add("ERROR", "a\u{1}\"");
        assert_eq!(lines.text.lines().count(), 1);
        let object: Value = serde_json::from_str(&lines.text).unwrap();
        assert_eq!(object["level"], "ERROR");
        assert_eq!(object["message"], "a\u{1}\"");
    }
}
