//! What single plugins count, as metric families.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use martlet_engine::plugins::hosts::Hosts;

use super::family::Families;

/// `coredns_hosts_…`
pub(super) fn hosts(hosts: &[Arc<Hosts>], families: &mut Families) {
    let mut entries = BTreeMap::new();
    let mut changed = None;
    for hosts in hosts {
        let file = hosts.file.load();
        entries.insert(
            hosts.path.to_string_lossy(),
            file.len() + hosts.inline.len(),
        );
        changed = changed.max(file.changed);
    }
    for (path, entries) in entries {
        families.gauge(
            "coredns_hosts_entries",
            "The combined number of entries in hosts and Corefile.",
            &[("hostsfile", &path)],
            entries as f64,
        );
    }
    if let Some(age) = changed.and_then(|changed| changed.duration_since(UNIX_EPOCH).ok()) {
        families.gauge(
            "coredns_hosts_reload_timestamp_seconds",
            "The timestamp of the last reload of hosts file.",
            &[],
            age.as_secs_f64(),
        );
    }
}
