//! The memory budget: when the server comes near its limit, caches give way before the kernel ends
//! it. Nothing else can: the index is what the cluster is.

use std::fs;
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
/// The share of the limit below which caches may grow again, in percent. Near the one above: what else
/// the process has may leave no more, and a cache is small beside that.
const EASY: u64 = 87;
/// By how much each time, in percent of their capacity.
const MORE: usize = 2;

/// Where control groups tell the limit, in version 2 and 1, as a container sees them.
const LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];
/// Where they tell what is in use, in version 2.
const USED: [&str; 2] = [
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory.stat",
];

/// A limit, and what counts against it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// In octets.
    limit: u64,
    of: Of,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    Process,
    Group,
}

impl Budget {
    /// A limit in octets for what is resident of the process.
    pub const fn of_process(limit: u64) -> Self {
        let of = Of::Process;
        Self { limit, of }
    }

    /// The limit of the control group, if it has one. What the kernel keeps for us counts as well.
    pub fn of_group() -> Option<Self> {
        let limit = LIMITS.iter().find_map(|path| read(Path::new(path)))?;
        let of = Of::Group;
        Some(Self { limit, of })
    }

    /// In octets.
    fn used(self) -> Option<u64> {
        match self.of {
            Of::Process => resident(),
            Of::Group => used_by_group(USED.map(Path::new)).or_else(resident),
        }
    }
}

/// `max`, and the huge number that stands for it in version 1, are no limit.
fn read(path: &Path) -> Option<u64> {
    let limit = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (limit < 1 << 60).then_some(limit)
}

/// What is in use, without the pages of files that the kernel would give up first.
fn used_by_group([used, parts]: [&Path; 2]) -> Option<u64> {
    let used = read(used)?;
    let parts = fs::read_to_string(parts).ok()?;
    let parts = parts.lines().filter_map(|line| line.split_once(' '));
    let of_files = parts.filter(|(part, _)| ["inactive_file", "active_file"].contains(part));
    let sizes = of_files.map(|(_, size)| size.parse::<u64>());
    let files = sizes.collect::<Result<Vec<_>, _>>().ok()?;
    Some(used.saturating_sub(files.iter().sum()))
}

/// What is resident of the process, in octets.
fn resident() -> Option<u64> {
    let stat = Process::myself().ok()?.stat().ok()?;
    Some(stat.rss_bytes().get())
}

/// Keeps the caches within the budget: near the limit they shrink, well below it they grow again.
pub async fn watch(budget: Budget, caches: Vec<Arc<Cache>>) {
    let percent = budget.limit / 100;
    let mut shrinking = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let used = budget.used().unwrap_or_default();
        let full = used >= percent * FULL;
        let tables = caches.iter().map(|cache| &cache.table);
        if full {
            let dropped: usize = tables.map(|table| table.shrink(KEPT)).sum();
            if dropped > 0 && !shrinking {
                let limit = budget.limit >> 20;
                tracing::warn!("memory is near its limit of {limit} MiB: caches shrink");
            }
        } else if used < percent * EASY {
            tables.for_each(|table| table.grow(MORE));
        }
        shrinking = full;
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn limits_are_read_as_control_groups_tell_them() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("limit");
        for (text, expected) in [
            ("178257920\n", Some(178_257_920)),
            ("max\n", None),
            ("9223372036854771712\n", None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path), expected, "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&path), None, "no file");
    }

    #[test]
    fn files_that_the_kernel_would_give_up_are_not_in_use() {
        let folder = tempdir().unwrap();
        let [used, parts] = ["memory.current", "memory.stat"].map(|name| folder.path().join(name));
        let read = || used_by_group([&used, &parts]);
        assert_eq!(read(), None);
        fs::write(&used, "5000\n").unwrap();
        assert_eq!(read(), None);
        for (text, expected) in [
            (
                "anon 1\ninactive_anon 7\ninactive_file 1000\nactive_file 9\n",
                Some(3_991),
            ),
            ("inactive_file 6000\n", Some(0)),
            ("active_file much\n", None),
        ] {
            fs::write(&parts, text).unwrap();
            assert_eq!(read(), expected, "{text}");
        }
    }
}
