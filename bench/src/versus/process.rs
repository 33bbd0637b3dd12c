//! A server under test: a child process on its own core, and what the kernel says about it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::Process;

use super::VersusError;
use crate::load::{Expect, QuerySet};

/// A started server. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    process: Process,
}

/// What a server uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Memory {
    /// Its share of what is resident, in kibibytes (`Pss`): a page that several processes have mapped
    /// counts in parts.
    pub share_kib: u64,
}

impl Server {
    /// Starts `command` through the shell, pinned to `core`, and waits until it answers the first
    /// question rightly. Also returns how long that took.
    pub(super) fn start(
        command: &str,
        core: usize,
        address: SocketAddr,
        queries: &QuerySet,
        expect: &[Expect],
    ) -> Result<(Self, Duration), VersusError> {
        let fail = |source| VersusError::Start {
            command: command.into(),
            source,
        };
        // A server that already runs there would answer in place of the one to be measured.
        let probe = connect(address).map_err(fail)?;
        if ask(&probe, queries, expect).is_some() {
            return Err(VersusError::Busy { address });
        }
        let started = Instant::now();
        let child = Command::new("taskset")
            // `exec` makes the server itself the child, whose clock and memory are read below.
            .args([
                "-c",
                &core.to_string(),
                "sh",
                "-c",
                &format!("exec {command}"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(fail)?;
        let id = i32::try_from(child.id()).expect("Linux process ids fit");
        let process = Process::new(id).map_err(|source| VersusError::Process {
            command: command.into(),
            source,
        })?;
        let mut server = Self { child, process };
        loop {
            if ask(&probe, queries, expect) == Some(true) {
                return Ok((server, started.elapsed()));
            }
            if let Some(status) = server.child.try_wait().map_err(fail)? {
                return Err(VersusError::Exited {
                    command: command.into(),
                    status,
                });
            }
            if started.elapsed() > START_MAX {
                return Err(VersusError::Silent {
                    command: command.into(),
                    address,
                });
            }
            thread::sleep(PROBE_EVERY);
        }
    }

    /// CPU time of all its threads so far, in user and kernel space, and of the processes that it
    /// started and that still run. The kernel counts it in hundredths of a second.
    pub(super) fn cpu(&self) -> Result<Duration, procfs::ProcError> {
        let mut ticks = 0;
        for process in self.processes()? {
            let stat = process.stat()?;
            ticks += stat.utime + stat.stime;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let ticks = ticks as f64;
        #[expect(clippy::cast_precision_loss, reason = "100, usually")]
        let per_second = procfs::ticks_per_second() as f64;
        Ok(Duration::from_secs_f64(ticks / per_second))
    }

    /// The memory of all its processes.
    pub(super) fn memory(&self) -> Result<Memory, procfs::ProcError> {
        let mut memory = Memory::default();
        for process in self.processes()? {
            for map in &process.smaps_rollup()?.memory_map_rollup {
                memory.share_kib +=
                    map.extension.map.get("Pss").copied().unwrap_or_default() / 1024;
            }
        }
        Ok(memory)
    }

    /// The process and all that it started: NSD answers from a child.
    fn processes(&self) -> Result<Vec<Process>, procfs::ProcError> {
        let parents: Vec<(i32, i32)> = procfs::process::all_processes()?
            .filter_map(|process| process.ok()?.stat().ok())
            .map(|stat| (stat.pid, stat.ppid))
            .collect();
        let mut ids = vec![self.process.pid];
        let mut at = 0;
        while let Some(&id) = ids.get(at) {
            let children = parents.iter().filter(|(_, parent)| *parent == id);
            ids.extend(children.map(|(child, _)| child));
            at += 1;
        }
        ids.into_iter().map(Process::new).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a child that will not die, or is dead already. What it started
        // notices and ends as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PROBE_TIMEOUT))?;
    Ok(socket)
}

/// Asks the first question: whether the reply was right, or nothing, if none came.
fn ask(socket: &UdpSocket, queries: &QuerySet, expect: &[Expect]) -> Option<bool> {
    let mut reply = [0; 2048];
    socket.send(queries.datagram(0)).ok()?;
    let length = socket.recv(&mut reply).ok()?;
    let header = reply[..length].first_chunk()?;
    let right = |expect: &Expect| expect.matches(header);
    // Without a wish, an answer or a "no": but not the SERVFAIL of a server that is not ready.
    let expect = if expect.is_empty() {
        &[Expect::Rcode(0), Expect::Rcode(3)]
    } else {
        expect
    };
    Some(header[2] & 0x80 != 0 && expect.iter().any(right))
}

const PROBE_TIMEOUT: Duration = Duration::from_millis(20);
const PROBE_EVERY: Duration = Duration::from_millis(1);
const START_MAX: Duration = Duration::from_secs(60);
