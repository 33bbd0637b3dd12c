//! What Go's client tells of a process, read from procfs.

use std::sync::LazyLock;

use procfs::process::Process;
use procfs::{ProcResult, WithCurrentSystemInfo as _};

use super::family::Families;

/// Unix seconds of the process's start; it does not change.
static STARTED: LazyLock<Option<f64>> = LazyLock::new(|| {
    let ticks = procfs::ticks_per_second() as f64;
    let boot = procfs::boot_time_secs().ok()? as f64;
    let stat = Process::myself().ok()?.stat().ok()?;
    Some(boot + stat.starttime as f64 / ticks)
});

/// Adds the `process_…` metrics. Where there is no procfs they are left out.
pub(super) fn describe(families: &mut Families) {
    // Nothing else depends on them, and the next scrape tries again.
    let _ = read(families);
}

fn read(families: &mut Families) -> ProcResult<()> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let cpu = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    families.float_counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        cpu,
    );
    let mut gauge = |name, help, value| families.gauge(name, help, &[], value);
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        stat.rss_bytes().get() as f64,
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        stat.vsize as f64,
    );
    gauge(
        "process_threads",
        "Number of OS threads in the process.",
        stat.num_threads as f64,
    );
    if let Some(started) = *STARTED {
        gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            started,
        );
    }
    gauge(
        "process_open_fds",
        "Number of open file descriptors.",
        process.fd_count()? as f64,
    );
    let limit = match process.limits()?.max_open_files.soft_limit {
        procfs::process::LimitValue::Value(limit) => limit as f64,
        procfs::process::LimitValue::Unlimited => f64::INFINITY,
    };
    gauge(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        limit,
    );
    Ok(())
}
