//! Side by side: servers against the bare echo, in one run.
//!
//! On a shared machine the same server is a third faster in one minute than in the next, so only
//! ratios between runs made in turn mean anything. All servers are started first, each pinned to
//! the same core; the generator, on another core, then takes them in turns, round after round,
//! the echo first. Idle servers wait in a system call and disturb nobody.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use serde::Serialize;

use crate::load::{self, Expect, Latency, LoadError, Pace, QuerySet, Report, Settings};
use process::Server;

pub use process::Memory;

mod process;

/// A server to measure.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What to call it.
    pub name: String,
    /// The shell command that starts it in the foreground.
    pub command: String,
    /// Where it then listens.
    pub address: SocketAddr,
    /// What its right replies look like; any NOERROR or NXDOMAIN at the start, and anything under
    /// load, when empty.
    pub expect: Vec<Expect>,
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers. The first is what the others are compared with: the echo.
    pub contenders: Vec<Contender>,
    /// Rounds; the median counts.
    pub rounds: usize,
    /// Measured time of each server in each round.
    pub duration: Duration,
    /// The common rate at which latencies are taken; half of what the slowest server reaches, when
    /// none is given.
    pub rate: Option<f64>,
    /// Queries in flight in the closed loop.
    pub window: usize,
    /// The generator's sockets.
    pub sockets: usize,
    /// The servers' core.
    pub server_core: usize,
    /// The generator's core.
    pub load_core: usize,
}

/// Why no comparison was made.
#[derive(Debug, thiserror::Error)]
pub enum VersusError {
    /// The load could not be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The command could not be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: Box<str>,
        /// The cause.
        source: io::Error,
    },
    /// The server ended before it answered, or the shell did not find it.
    #[error("`{command}` ended before its first right answer: {status}")]
    Exited {
        /// The command.
        command: Box<str>,
        /// How it ended.
        status: ExitStatus,
    },
    /// The server runs but gives no right answer.
    #[error("`{command}` gave no right answer at {address} within a minute")]
    Silent {
        /// The command.
        command: Box<str>,
        /// Where it was asked.
        address: SocketAddr,
    },
    /// Something else answers there.
    #[error("another server already answers at {address}")]
    Busy {
        /// The address.
        address: SocketAddr,
    },
    /// The kernel tells nothing about the server.
    #[error("cannot read the state of `{command}`")]
    Process {
        /// The command.
        command: Box<str>,
        /// The cause.
        source: procfs::ProcError,
    },
}

/// What one server showed.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Right answers a second in each round, closed loop.
    pub rates: Vec<f64>,
    /// Their median.
    pub rate: f64,
    /// The median of the ratios to the first server's rate in the same round.
    pub ratio: f64,
    /// Its CPU time per query in the closed loops, in microseconds.
    pub cpu_us: f64,
    /// Latencies at the common rate, in microseconds.
    pub latency_us: Latency,
    /// Its memory before any load.
    pub memory_start: Memory,
    /// Its memory after all rounds.
    pub memory_end: Memory,
    /// From starting the process to the first right answer, in milliseconds.
    pub start_ms: f64,
    /// The last closed-loop run, for its RCODEs and losses.
    pub last: Report,
}

/// The result of a [`Plan`].
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The common rate at which latencies were taken.
    pub rate: f64,
    /// By server, in the plan's order.
    pub standings: Vec<Standing>,
}

struct Running<'p> {
    contender: &'p Contender,
    server: Server,
    started: Duration,
    memory: Memory,
    reports: Vec<Report>,
    cpu: Duration,
    queries: u64,
}

/// Starts the servers, measures them, stops them.
pub fn run(plan: &Plan, queries: &QuerySet) -> Result<Outcome, VersusError> {
    let mut running = Vec::with_capacity(plan.contenders.len());
    for contender in &plan.contenders {
        running.push(start(plan, contender, queries)?);
    }
    for _ in 0..plan.rounds.max(1) {
        for entry in &mut running {
            entry.round(plan, queries)?;
        }
    }
    let slowest = running
        .iter()
        .map(Running::median_rate)
        .fold(f64::INFINITY, f64::min);
    let rate = plan.rate.unwrap_or_else(|| (slowest / 2.0).max(1.0));
    let base: Vec<f64> = running
        .first()
        .into_iter()
        .flat_map(|entry| entry.rates())
        .collect();
    let standings = running
        .into_iter()
        .map(|entry| entry.finish(plan, queries, rate, &base))
        .collect::<Result<_, _>>()?;
    Ok(Outcome { rate, standings })
}

fn start<'p>(
    plan: &Plan,
    contender: &'p Contender,
    queries: &QuerySet,
) -> Result<Running<'p>, VersusError> {
    let Contender {
        command,
        address,
        expect,
        ..
    } = contender;
    let (server, started) = Server::start(command, plan.server_core, *address, queries, expect)?;
    let memory = server.memory().map_err(unreadable(contender))?;
    let (reports, cpu, queries) = (Vec::new(), Duration::ZERO, 0);
    Ok(Running {
        contender,
        server,
        started,
        memory,
        reports,
        cpu,
        queries,
    })
}

impl Running<'_> {
    fn settings(&self, plan: &Plan, pace: Pace) -> Settings {
        Settings {
            pace,
            sockets: plan.sockets,
            duration: plan.duration,
            expect: self.contender.expect.clone(),
            core: Some(plan.load_core),
            ..Settings::new(self.contender.address)
        }
    }

    fn round(&mut self, plan: &Plan, queries: &QuerySet) -> Result<(), VersusError> {
        let settings = Settings {
            // The CPU clock spans the whole run, so all of it has to be counted.
            warm_up: Duration::ZERO,
            ..self.settings(
                plan,
                Pace::Closed {
                    window: plan.window,
                },
            )
        };
        let before = self.server.cpu().map_err(unreadable(self.contender))?;
        let report = load::run(&settings, queries)?;
        self.cpu += self.server.cpu().map_err(unreadable(self.contender))? - before;
        self.queries += report.tally.sent;
        self.reports.push(report);
        Ok(())
    }

    fn rates(&self) -> impl Iterator<Item = f64> {
        self.reports.iter().map(|report| report.rate)
    }

    fn median_rate(&self) -> f64 {
        median(self.rates())
    }

    fn finish(
        mut self,
        plan: &Plan,
        queries: &QuerySet,
        rate: f64,
        base: &[f64],
    ) -> Result<Standing, VersusError> {
        let latency = load::run(&self.settings(plan, Pace::Open { rate }), queries)?.latency_us;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let count = self.queries.max(1) as f64;
        Ok(Standing {
            name: self.contender.name.clone(),
            rates: self.rates().collect(),
            rate: self.median_rate(),
            ratio: median(self.rates().zip(base).map(|(own, base)| own / base)),
            cpu_us: self.cpu.as_secs_f64() * 1e6 / count,
            latency_us: latency,
            memory_start: self.memory,
            memory_end: self.server.memory().map_err(unreadable(self.contender))?,
            start_ms: self.started.as_secs_f64() * 1e3,
            last: self.reports.pop().expect("at least one round"),
        })
    }
}

fn unreadable(contender: &Contender) -> impl FnOnce(procfs::ProcError) -> VersusError {
    let command = contender.command.as_str().into();
    move |source| VersusError::Process { command, source }
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => f64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

impl Outcome {
    /// The table with commas, for plots: one head line, then a line for each server. Commas in names
    /// become spaces.
    pub fn csv(&self) -> String {
        let mut csv = String::from(
            "name,rate,ratio,cpu_us,p50_us,p99_us,p999_us,resident_mib,peak_mib,start_ms,lost,common_rate\n",
        );
        for standing in &self.standings {
            let latency = standing.latency_us;
            let figures = [
                standing.rate,
                standing.ratio,
                standing.cpu_us,
                latency.p50,
                latency.p99,
                latency.p999,
                mebibytes(standing.memory_end.resident_kib),
                mebibytes(standing.memory_end.peak_kib),
                standing.start_ms,
            ];
            csv.push_str(&standing.name.replace(',', " "));
            for figure in figures {
                csv.push_str(&format!(",{figure:.3}"));
            }
            csv.push_str(&format!(",{},{:.0}\n", standing.last.tally.lost, self.rate));
        }
        csv
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:>9} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "",
            "answers/s",
            "ratio",
            "CPU µs/q",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "RSS MiB",
            "peak MiB",
            "start ms"
        )?;
        for standing in &self.standings {
            let latency = standing.latency_us;
            writeln!(
                f,
                "{:<16} {:>9.0} {:>6.3} {:>8.3} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1}",
                standing.name,
                standing.rate,
                standing.ratio,
                standing.cpu_us,
                latency.p50,
                latency.p99,
                latency.p999,
                mebibytes(standing.memory_end.resident_kib),
                mebibytes(standing.memory_end.peak_kib),
                standing.start_ms
            )?;
        }
        writeln!(
            f,
            "latencies at {:.0} queries/s; last closed loop of each:",
            self.rate
        )?;
        for standing in &self.standings {
            let tally = &standing.last.tally;
            writeln!(
                f,
                "{:<16} {} sent, {} lost, {} wrong, {} truncated; {}; generator idle {:.0} %",
                standing.name,
                tally.sent,
                tally.lost,
                tally.wrong,
                tally.truncated,
                standing.last.rcodes(),
                standing.last.idle * 100.0
            )?;
        }
        Ok(())
    }
}

fn mebibytes(kibibytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let kibibytes = kibibytes as f64;
    kibibytes / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let cases: &[(&[f64], f64)] = &[
            (&[3.0], 3.0),
            (&[9.0, 1.0, 2.0], 2.0),
            (&[4.0, 1.0, 2.0, 9.0], 3.0),
        ];
        for (values, expected) in cases {
            assert_eq!(median(values.iter().copied()), *expected, "{values:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_start_is_named() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let plan = Plan {
            contenders: vec![Contender {
                name: "none".into(),
                command: "/nowhere/server 2>/dev/null".into(),
                address: free,
                expect: Vec::new(),
            }],
            rounds: 1,
            duration: Duration::from_millis(10),
            rate: None,
            window: 8,
            sockets: 1,
            server_core: 0,
            load_core: 0,
        };
        let queries = QuerySet::parse("a.example A", None).unwrap();
        let error = run(&plan, &queries).unwrap_err().to_string();
        assert!(
            error.starts_with("`/nowhere/server 2>/dev/null` ended before"),
            "{error}"
        );
    }
}
