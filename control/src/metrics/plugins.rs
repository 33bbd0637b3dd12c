//! What single plugins count, as metric families.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use martlet_engine::metrics::{AclCount, AclEvent, Event, Metrics, ScopeLabels, TemplateEvent};
use martlet_engine::plugins::hosts::Hosts;

use super::family::Families;

/// `coredns_acl_…`, but for what goes on. As in CoreDNS a row is there once it has counted.
pub(super) fn acls(counts: &Metrics, families: &mut Families) {
    for ((server, view, AclCount { zone, event }), count) in counts.sums(&counts.acls()) {
        let (name, help) = match event {
            AclEvent::Blocked => (
                "coredns_acl_blocked_requests_total",
                "Counter of DNS requests being blocked.",
            ),
            AclEvent::Filtered => (
                "coredns_acl_filtered_requests_total",
                "Counter of DNS requests being filtered.",
            ),
            AclEvent::Dropped => (
                "coredns_acl_dropped_requests_total",
                "Counter of DNS requests being dropped.",
            ),
        };
        let labels = [("server", &*server), ("zone", &zone), ("view", &view)];
        families.counter(name, help, &labels, count);
    }
}

/// What is counted by server, or by server and view: several zones are one row.
pub(super) fn events_of_servers(counts: &Metrics, families: &mut Families) {
    let mut allowed = BTreeMap::<_, u64>::new();
    let mut sums = BTreeMap::<_, [u64; 2]>::new();
    for (ScopeLabels { server, view, .. }, totals) in counts.totals() {
        let sums = sums.entry(Arc::clone(&server)).or_default();
        let events = [Event::AutopathSuccess, Event::Dns64Translated];
        for (sum, event) in sums.iter_mut().zip(events) {
            *sum += totals.event(event);
        }
        *allowed.entry((server, view)).or_default() += totals.event(Event::AclAllowed);
    }
    for ((server, view), count) in allowed.into_iter().filter(|(_, count)| *count > 0) {
        families.counter(
            "coredns_acl_allowed_requests_total",
            "Counter of DNS requests being allowed.",
            &[("server", &server), ("view", &view)],
            count,
        );
    }
    for (server, [found, translated]) in sums {
        for (name, help, count) in [
            (
                "coredns_autopath_success_total",
                "Counter of requests that did autopath.",
                found,
            ),
            (
                "coredns_dns64_requests_translated_total",
                "Counter of DNS requests translated by dns64.",
                translated,
            ),
        ] {
            if count > 0 {
                families.counter(name, help, &[("server", &server)], count);
            }
        }
    }
}

/// `coredns_template_…`
pub(super) fn templates(counts: &Metrics, families: &mut Families) {
    for ((server, view, what), count) in counts.sums(&counts.templates()) {
        let labels = [
            ("server", &*server),
            ("zone", &what.zone),
            ("view", &view),
            ("class", what.class),
            ("type", what.rtype),
        ];
        let (name, help, template) = match &what.event {
            TemplateEvent::Match => (
                "coredns_template_matches_total",
                "Counter of template regex matches.",
                None,
            ),
            TemplateEvent::TemplateFailure(section, template) => (
                "coredns_template_template_failures_total",
                "Counter of go template failures.",
                Some((section, template)),
            ),
            TemplateEvent::RecordFailure(section, template) => (
                "coredns_template_rr_failures_total",
                "Counter of mis-templated RRs.",
                Some((section, template)),
            ),
        };
        let more =
            template.map(|(section, template)| [("section", *section), ("template", &**template)]);
        let labels = labels.into_iter().chain(more.into_iter().flatten());
        families.counter(name, help, &labels.collect::<Vec<_>>(), count);
    }
}

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
