//! Log lines on their way from workers to the thread that prints them.
//!
//! A worker never waits for a terminal or a pipe: lines go into a bounded queue, and one that
//! finds it full is counted and dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

/// Lines that may wait for the printing thread.
const WAITING_MAX: usize = 16_384;

/// How grave a line is, as CoreDNS prefixes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// `[INFO]`
    Info,
    /// `[ERROR]`
    Error,
}

/// A line of the query log or the error log.
#[derive(Debug)]
pub struct Line {
    /// How grave it is.
    pub level: Level,
    /// The text, without prefix and line end.
    pub text: String,
    /// Whether it may be counted instead of printed.
    pub counted: Option<Counted>,
}

/// An error that `consolidate` rules are about. The printing end has them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counted {
    /// The number of the list of rules.
    pub rules: usize,
    /// Where in the line the text begins that they are matched with.
    pub cause_at: usize,
}

/// The workers' end of the queue.
#[derive(Clone)]
pub struct LogSink {
    lines: Sender<Line>,
    lost: Arc<AtomicU64>,
}

impl LogSink {
    /// The two ends of a new queue.
    pub fn new() -> (Self, Receiver<Line>) {
        let (lines, receiver) = bounded(WAITING_MAX);
        (
            Self {
                lines,
                lost: Arc::default(),
            },
            receiver,
        )
    }

    /// Hands a line over, or counts it as lost.
    pub fn send(&self, level: Level, text: String) {
        self.send_line(Line {
            level,
            text,
            counted: None,
        });
    }

    /// The same with all that can be said of a line.
    pub fn send_line(&self, line: Line) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let (sink, lines) = LogSink::new();
        for number in 0..WAITING_MAX + 3 {
            sink.send(Level::Info, number.to_string());
        }
        assert_eq!(sink.lost(), 3);
        assert_eq!(lines.try_iter().count(), WAITING_MAX);
        sink.send(Level::Info, "there is room again".to_owned());
        assert_eq!((sink.lost(), lines.len()), (3, 1));
    }
}
