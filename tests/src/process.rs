//! Child processes that do not outlive their test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running child and what it has printed so far.
pub struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts a command; stdout and stderr are gathered together, line by line.
    pub fn start(command: &mut Command) -> Self {
        let started = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = started
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().map(|pipe| gather(pipe, &output));
        let stderr = child.stderr.take().map(|pipe| gather(pipe, &output));
        Self {
            child,
            output,
            readers: stdout.into_iter().chain(stderr).collect(),
        }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// As long as this is held, what it prints is not read.
    pub fn unread(&self) -> impl Drop + '_ {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("the child is ours to wait for")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // A child that has ended meanwhile is noticed by whoever waits for it.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Sends SIGTERM and waits; kills it when that takes too long.
    pub fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        self.wait(patience)
    }

    /// Waits for its end; kills it when that takes too long.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let status = wait_until(patience, || self.ended());
        if status.is_none() {
            self.kill();
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn gather(pipe: impl Read + Send + 'static, output: &Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// A figure in KiB of `/proc/PID/status`, such as `VmRSS`; None if there is no such process.
pub fn status_kib(pid: u32, field: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The CPU time that all threads of a process have taken so far; None if there is no such process.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    // Nanoseconds on a CPU come first. A thread may end while we look.
    let times = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(times.sum()))
}

/// Looks again and again until there is something, at most so long.
pub fn wait_until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
