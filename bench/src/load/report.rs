//! What a run found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use hickory_proto::op::ResponseCode;
use serde::Serialize;

/// Counts of a run's measured part. `sent` = `answered` + `lost` + `wrong`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Queries that the kernel took.
    pub sent: u64,
    /// Queries whose reply was right.
    pub answered: u64,
    /// Queries that got no reply in time.
    pub lost: u64,
    /// Queries whose reply was not right: the sum of the next four.
    pub wrong: u64,
    /// Replies without QR.
    pub not_response: u64,
    /// Replies that repeat another question than was asked.
    pub other_question: u64,
    /// Replies that are not among the expected ones.
    pub not_expected: u64,
    /// Replies that do not say what the zone does: the RCODE, or the records of the answer section.
    pub other_records: u64,
    /// Datagrams that belong to no waiting query: duplicates, latecomers, strangers. They answer
    /// nothing, so they are no part of the sum.
    pub unexpected: u64,
    /// Times that a socket said that nobody listens at the server's address.
    pub refused: u64,
    /// Right replies with TC set.
    pub truncated: u64,
    /// Replies by RCODE; those to the right question only.
    #[serde(serialize_with = "by_name")]
    pub rcodes: [u64; 16],
}

/// Latencies of right replies, in microseconds, from when the query was meant to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 of 100 were faster.
    pub p90: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// 999 of 1000 were faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Tally {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.not_response += other.not_response;
        self.other_question += other.other_question;
        self.not_expected += other.not_expected;
        self.other_records += other.other_records;
        self.unexpected += other.unexpected;
        self.refused += other.refused;
        self.truncated += other.truncated;
        for (sum, count) in self.rcodes.iter_mut().zip(other.rcodes) {
            *sum += count;
        }
    }

    /// The RCODEs that occurred and how often, in words.
    pub fn rcodes_text(&self) -> String {
        let rcodes = named(&self.rcodes).map(|(rcode, count)| format!("{rcode} {count}"));
        rcodes.collect::<Vec<_>>().join(", ")
    }
}

impl Latency {
    /// Reads them off what was recorded in nanoseconds.
    pub fn new(nanoseconds: &Histogram<u32>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "three digits are kept anyway")]
        let at = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mean: nanoseconds.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Right replies that arrived in the measured time, a second.
    pub rate: f64,
    /// The measured time.
    #[serde(serialize_with = "seconds")]
    pub measured: Duration,
    /// What became of the queries sent in it.
    #[serde(flatten)]
    pub tally: Tally,
    /// Queries of an open loop that were due but could not be sent by the end.
    pub behind: u64,
    /// Share of the generator's looks at a socket that found nothing. Near 0 in a closed loop, the
    /// generator is the limit, not the server.
    pub idle: f64,
    /// How long right replies took.
    pub latency_us: Latency,
    /// The same as they were recorded, in nanoseconds, to be merged with those of other runs.
    #[serde(skip)]
    pub latencies_ns: Histogram<u32>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rate,
            measured,
            tally,
            latency_us: latency,
            ..
        } = self;
        writeln!(
            f,
            "rate        {rate:.0} answers/s over {:.2} s",
            measured.as_secs_f64()
        )?;
        writeln!(
            f,
            "queries     {} sent = {} answered + {} lost + {} wrong",
            tally.sent, tally.answered, tally.lost, tally.wrong
        )?;
        if tally.wrong > 0 {
            writeln!(
                f,
                "wrong       {} without QR, {} to another question, {} not as expected, {} not as in \
                 the zone",
                tally.not_response, tally.other_question, tally.not_expected, tally.other_records
            )?;
        }
        writeln!(f, "rcodes      {}", tally.rcodes_text())?;
        writeln!(
            f,
            "datagrams   {} truncated, {} unexpected, {} refused",
            tally.truncated, tally.unexpected, tally.refused
        )?;
        if self.behind > 0 {
            writeln!(
                f,
                "behind      {} queries were due but never left",
                self.behind
            )?;
        }
        writeln!(
            f,
            "idle        {:.1} % of the generator's looks at a socket",
            self.idle * 100.0
        )?;
        write!(
            f,
            "latency/µs  mean {:.1}, p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}",
            latency.mean, latency.p50, latency.p90, latency.p99, latency.p999, latency.max
        )
    }
}

/// The RCODEs that occurred, by their mnemonics.
fn named(rcodes: &[u64; 16]) -> impl Iterator<Item = (String, u64)> {
    (0u8..)
        .zip(rcodes)
        .filter(|&(_, &count)| count > 0)
        .map(|(rcode, &count)| {
            let name = format!("{:?}", ResponseCode::from(0, rcode)).to_ascii_uppercase();
            (name, count)
        })
}

fn by_name<S: serde::Serializer>(rcodes: &[u64; 16], serializer: S) -> Result<S::Ok, S::Error> {
    named(rcodes)
        .collect::<BTreeMap<_, _>>()
        .serialize(serializer)
}

fn seconds<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.as_secs_f64())
}
