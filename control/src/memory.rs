//! The memory budget: when the process comes near its limit, caches give way before the kernel ends
//! it. Nothing else can: the index is what the cluster is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::plugins::cache::Cache;
use procfs::WithCurrentSystemInfo as _;
use procfs::process::Process;

/// How often to look.
const EVERY: Duration = Duration::from_millis(500);
/// The share of the limit from which on caches shrink, in percent.
const FULL: u64 = 90;
/// What a cache keeps each time, in percent of its entries.
const KEPT: usize = 75;

/// Where control groups tell the limit, in version 2 and 1, as a container sees them.
const LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// The limit of the control group in octets, if it has one.
pub fn limit() -> Option<u64> {
    LIMITS.iter().find_map(|path| read(Path::new(path)))
}

/// `max`, and the huge number that stands for it in version 1, are no limit.
fn read(path: &Path) -> Option<u64> {
    let limit = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (limit < 1 << 60).then_some(limit)
}

/// Shrinks the caches as long as the process is near `limit` octets.
pub async fn watch(limit: u64, caches: Vec<Arc<Cache>>) {
    let mut shrinking = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let full = resident().is_some_and(|octets| octets >= limit / 100 * FULL);
        if full {
            let dropped: usize = caches.iter().map(|cache| cache.table.shrink(KEPT)).sum();
            if dropped > 0 && !shrinking {
                let limit = limit >> 20;
                tracing::warn!("memory is near its limit of {limit} MiB: caches shrink");
            }
        }
        shrinking = full;
    }
}

fn resident() -> Option<u64> {
    let stat = Process::myself().ok()?.stat().ok()?;
    Some(stat.rss_bytes().get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_control_groups_tell_them() {
        let path = std::env::temp_dir().join(format!("martlet-limit-{}", std::process::id()));
        for (text, expected) in [
            ("178257920\n", Some(178_257_920)),
            ("max\n", None),
            ("9223372036854771712\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path), expected, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&path), None, "no file");
    }
}
