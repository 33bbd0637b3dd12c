//! An [`Outcome`] in words: for terminals, for Markdown, for plots.

use std::fmt;

use super::{Outcome, share};
use crate::load::{Latency, Tally};

impl Outcome {
    /// The table in Markdown, and who was left out.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (at, row) in self.rows().into_iter().enumerate() {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
            if at == 0 {
                text.push_str(&format!("|{}\n", "---|".repeat(row.len())));
            }
        }
        for absent in &self.absent {
            text.push_str(&format!("\n{absent}.\n"));
        }
        text
    }

    /// The table with commas, for plots: one head line, then a line for each server. Commas in names
    /// become spaces; a latency that was not taken is empty.
    pub fn csv(&self) -> String {
        let mut csv =
            String::from("name,rate,ratio,cpu_us,share_mib,start_ms,sent,lost,wrong,idle");
        for rate in &self.rates {
            csv.push_str(&format!(
                ",p50_us@{rate:.0},p99_us@{rate:.0},p999_us@{rate:.0}"
            ));
        }
        csv.push('\n');
        for standing in &self.standings {
            let (sent, lost, wrong) = standing.faults();
            csv.push_str(&standing.name.replace(',', " "));
            csv.push_str(&format!(
                ",{:.3},{:.3},{:.3},{:.3},{:.3},{sent},{lost},{wrong},{:.3}",
                standing.rate,
                standing.ratio,
                standing.cpu_us,
                mebibytes(standing.memory_end.share_kib),
                standing.start_ms,
                standing.idle
            ));
            for latency in &standing.latencies_us {
                match latency {
                    Some(Latency { p50, p99, p999, .. }) => {
                        csv.push_str(&format!(",{p50:.3},{p99:.3},{p999:.3}"));
                    }
                    None => csv.push_str(",,,"),
                }
            }
            csv.push('\n');
        }
        csv
    }

    /// What both tables show, the head first.
    fn rows(&self) -> Vec<Vec<String>> {
        let mut head = ["server", "answers/s", "of the echo", "CPU µs/query"]
            .map(String::from)
            .to_vec();
        let at = |rate| format!("p50 / p99 / p99.9 µs at {rate:.0}/s");
        head.extend(self.rates.iter().map(at));
        head.extend(["PSS MiB", "lost", "wrong", "generator idle"].map(String::from));
        let rows = self.standings.iter().map(|standing| {
            let (sent, lost, wrong) = standing.faults();
            let mut row = vec![
                standing.name.clone(),
                format!("{:.0}", standing.rate),
                format!("{:.3}", standing.ratio),
                format!("{:.2}", standing.cpu_us),
            ];
            row.extend(standing.latencies_us.iter().map(latency));
            row.extend([
                format!("{:.0}", mebibytes(standing.memory_end.share_kib)),
                part(lost, sent),
                part(wrong, sent),
                format!("{:.0} %", standing.idle * 100.0),
            ]);
            row
        });
        std::iter::once(head).chain(rows).collect()
    }
}

fn latency(latency: &Option<Latency>) -> String {
    latency.map_or_else(
        || "-".into(),
        |Latency { p50, p99, p999, .. }| format!("{p50:.0} / {p99:.0} / {p999:.0}"),
    )
}

/// A count and its share.
fn part(count: u64, all: u64) -> String {
    match count {
        0 => "0".into(),
        _ => format!("{count} ({:.3} %)", share(count, all) * 100.0),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let columns = rows.first().map_or(0, Vec::len);
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        for row in &rows {
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match at {
                    0 => write!(f, "{cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        for standing in &self.standings {
            writeln!(
                f,
                "{}: ready after {:.0} ms; closed loops: {}; open loops: {}, {} not sent",
                standing.name,
                standing.start_ms,
                counts(&standing.closed),
                counts(&standing.open),
                standing.behind
            )?;
        }
        for absent in &self.absent {
            writeln!(f, "{absent}")?;
        }
        Ok(())
    }
}

fn counts(tally: &Tally) -> String {
    format!(
        "{} sent, {} lost, {} wrong, {} truncated ({})",
        tally.sent,
        tally.lost,
        tally.wrong,
        tally.truncated,
        tally.rcodes_text()
    )
}

fn mebibytes(kibibytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let kibibytes = kibibytes as f64;
    kibibytes / 1024.0
}
