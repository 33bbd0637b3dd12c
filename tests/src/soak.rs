//! A server under a steady load while its upstreams fall ill in every way, one after the other.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::{Load, Outcome};
use crate::martlet::{Martlet, Setup};
use crate::process::status_kib;
use crate::upstream::{Fault, Upstream};

/// What the server's process holds at one time.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Since the start.
    pub at: Duration,
    /// Resident memory in KiB.
    pub memory: usize,
    /// Open descriptors.
    pub descriptors: usize,
}

/// What was found.
pub struct Report {
    /// What became of the questions.
    pub outcome: Outcome,
    /// What the process held, second by second.
    pub held: Vec<Held>,
    /// Whether it ended in order.
    pub ended_well: bool,
}

/// Runs a server for so long at so many questions a second.
pub fn run(time: Duration, rate: u32) -> Report {
    let upstreams = ["a", "b"].map(Upstream::start);
    for upstream in &upstreams {
        upstream.be_forgetful();
    }
    let to = upstreams
        .each_ref()
        .map(|upstream| upstream.address().to_string());
    let corefile = format!(
        "ready.local:{{PORT}} {{\n    bind 127.0.0.1\n    whoami\n}}\n\
         .:{{PORT}} {{\n    bind 127.0.0.1\n    cache 30\n    forward . {}\n}}\n",
        to.join(" ")
    );
    let setup = Setup::new(&corefile).until_it_answers("x.ready.local.");
    let mut martlet = setup.start();
    let server = martlet.client().server;
    let done = AtomicBool::new(false);
    let (outcome, held) = thread::scope(|scope| {
        let (done, martlet) = (&done, &martlet);
        scope.spawn(|| fall_ill(&upstreams, done));
        let watching = scope.spawn(move || watch(martlet, done));
        let outcome = load(server, rate, time).run();
        done.store(true, Ordering::Relaxed);
        let held = watching.join().expect("it only reads files");
        (outcome, held)
    });
    let ended_well = martlet.process.ended().is_none() && martlet.stop().success();
    Report {
        outcome,
        held,
        ended_well,
    }
}

const fn load(server: SocketAddr, rate: u32, time: Duration) -> Load {
    Load {
        server,
        rate,
        time,
        new_every: 2,
    }
}

/// One fault after the other, at one upstream, the other, and both.
fn fall_ill(upstreams: &[Upstream; 2], done: &AtomicBool) {
    let faults = [
        Fault::Silence,
        Fault::Rcode(2),
        Fault::Late(Duration::from_millis(150)),
        Fault::WrongId,
        Fault::Garbage,
        Fault::WrongQuestion,
        Fault::Repeated(3),
        Fault::HalfAndClose,
        Fault::Forged(20),
        Fault::OtherSource,
    ];
    let [a, b] = upstreams;
    for (n, fault) in faults.iter().cycle().enumerate() {
        let ill = match n % 4 {
            0 | 2 => vec![a],
            1 => vec![b],
            _ => vec![a, b],
        };
        for upstream in &ill {
            upstream.misbehave("*", fault.clone());
        }
        let until = Instant::now() + ILL;
        while Instant::now() < until {
            if done.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        for upstream in ill {
            upstream.behave();
        }
    }
}

fn watch(martlet: &Martlet, done: &AtomicBool) -> Vec<Held> {
    let start = Instant::now();
    let mut held = Vec::new();
    while !done.load(Ordering::Relaxed) {
        held.extend(look(martlet.process.id(), start.elapsed()));
        thread::sleep(Duration::from_millis(500));
    }
    held
}

fn look(pid: u32, at: Duration) -> Option<Held> {
    let memory = status_kib(pid, "VmRSS")?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some(Held {
        at,
        memory,
        descriptors,
    })
}

impl Report {
    /// The most that was held until a quarter of the time had passed, and from then on.
    fn growth(&self) -> Option<[Held; 2]> {
        let quarter = self.held.last()?.at / 4;
        let (first, rest) = self.held.split_at(
            self.held
                .iter()
                .position(|held| held.at > quarter)
                .unwrap_or(0),
        );
        let most = |held: &[Held]| {
            Some(Held {
                at: held.last()?.at,
                memory: held.iter().map(|held| held.memory).max()?,
                descriptors: held.iter().map(|held| held.descriptors).max()?,
            })
        };
        Some([most(first)?, most(rest)?])
    }

    /// True when every question was answered or shed, and what the process holds does not grow
    /// any more once a quarter of the time has passed.
    pub fn is_good(&self) -> bool {
        let Some([first, rest]) = self.growth() else {
            return false;
        };
        self.ended_well
            && self.outcome.adds_up()
            && self.outcome.right > self.outcome.sent / 2
            && rest.memory <= first.memory + first.memory / 5 + MEMORY_SLACK
            && rest.descriptors <= first.descriptors + DESCRIPTORS_SLACK
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.outcome.summary())?;
        for wrong in self.outcome.wrong.iter().take(5) {
            writeln!(f, "wrong: {wrong}")?;
        }
        if let Some([first, rest]) = self.growth() {
            writeln!(
                f,
                "first quarter: at most {} KiB, {} descriptors; then: {} KiB, {} descriptors",
                first.memory, first.descriptors, rest.memory, rest.descriptors
            )?;
        }
        write!(f, "ended in order: {}", self.ended_well)
    }
}

/// How long an upstream is ill in one way.
const ILL: Duration = Duration::from_millis(700);

/// What a cache that still fills may take, in KiB: ten thousand replies.
const MEMORY_SLACK: usize = 12 << 10;

/// Sockets come and go; with every fault there are some more for a while.
const DESCRIPTORS_SLACK: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen() {
        for (memory, descriptors, ended_well, good) in [
            (0, 0, true, true),
            (10, 0, true, true),
            (1000, 0, true, false),
            (0, 10, true, false),
            (0, 0, false, false),
        ] {
            let held = (0..100).map(|n| Held {
                at: Duration::from_secs(n),
                memory: 10_000 + memory * usize::try_from(n).unwrap(),
                descriptors: 20 + descriptors * usize::try_from(n).unwrap(),
            });
            let report = Report {
                outcome: Outcome {
                    sent: 1,
                    right: 1,
                    ..Outcome::default()
                },
                held: held.collect(),
                ended_well,
            };
            assert_eq!(report.is_good(), good, "{report}");
        }
    }
}
