//! `prometheus`: what the engine and control have counted, in the words of CoreDNS.
//!
//! Nothing is kept here. A scrape reads the engine's counts, adds up those of its threads, and
//! writes them with CoreDNS's names, labels and buckets, so that dashboards and alerts made for it
//! go on working. What CoreDNS has no name for is called `martlet_…`.

mod engine;
mod family;
pub mod own;
mod plugins;
mod process;
mod top;
pub mod web;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use martlet_engine::chain::{Block, Stage};
use martlet_engine::index::ClusterIndex;
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Metrics;
use martlet_engine::plugins::cache::Cache;
use martlet_engine::plugins::hosts::Hosts;
use martlet_engine::plugins::kubernetes::Kubernetes;
use martlet_engine::server::Gauges;
use martlet_engine::upstream::Group;
use prometheus::TextEncoder;

use self::family::Families;

/// A `cache` of a server block, and by which labels it is known.
struct CacheRow {
    server: Arc<str>,
    zone: Arc<str>,
    view: Arc<str>,
    /// Its own zones, separated by commas.
    zones: String,
    cache: Arc<Cache>,
}

/// A plugin of a server block with `prometheus`.
struct EnabledRow {
    server: Arc<str>,
    zone: Arc<str>,
    view: Arc<str>,
    plugin: &'static str,
}

/// What there is to tell about a plan.
pub struct Monitored {
    counts: Arc<Metrics>,
    log: LogSink,
    caches: Vec<CacheRow>,
    enabled: Vec<EnabledRow>,
    hosts: Vec<Arc<Hosts>>,
    groups: Vec<Arc<Group>>,
    indexes: Vec<Arc<ClusterIndex>>,
    clusters: Vec<Arc<Kubernetes>>,
}

impl Monitored {
    /// Nothing but the counts.
    pub const fn new(counts: Arc<Metrics>, log: LogSink) -> Self {
        Self {
            counts,
            log,
            caches: Vec::new(),
            enabled: Vec::new(),
            hosts: Vec::new(),
            groups: Vec::new(),
            indexes: Vec::new(),
            clusters: Vec::new(),
        }
    }

    /// Notes what a block of this server has. `zone` is the block's, with the dot at its end.
    pub fn add_block(&mut self, server: &str, zone: &str, block: &Block) {
        let [server, zone, view] = [server, zone, block.view()].map(Arc::<str>::from);
        let mut enabled = Vec::new();
        if block.scope.counted {
            enabled.push("prometheus");
        }
        for stage in &*block.stages {
            let name = stage.plugin().name();
            if block.scope.counted && !enabled.contains(&name) {
                enabled.push(name);
            }
            match stage {
                Stage::Clamp(cache) => self.caches.push(CacheRow {
                    server: Arc::clone(&server),
                    zone: Arc::clone(&zone),
                    view: Arc::clone(&view),
                    zones: zones(cache),
                    cache: Arc::clone(cache),
                }),
                Stage::Hosts(hosts) => push_new(&mut self.hosts, hosts),
                Stage::Forward(forward) => push_new(&mut self.groups, &forward.group),
                Stage::Kubernetes(kubernetes) => {
                    push_new(&mut self.indexes, &kubernetes.index);
                    push_new(&mut self.clusters, kubernetes);
                }
                _ => {}
            }
        }
        for plugin in enabled {
            self.add_enabled(&server, &zone, &view, plugin);
        }
    }

    /// Notes that a block with `prometheus` has a plugin.
    pub fn add_enabled(&mut self, server: &str, zone: &str, view: &str, plugin: &'static str) {
        self.enabled.push(EnabledRow {
            server: server.into(),
            zone: zone.into(),
            view: view.into(),
            plugin,
        });
    }

    /// Everything there is to tell, as text.
    fn scrape(&self, gauges: &Gauges) -> prometheus::Result<String> {
        let mut families = Families::default();
        engine::queries(&self.counts, &mut families);
        plugins::acls(&self.counts, &mut families);
        plugins::events_of_servers(&self.counts, &mut families);
        plugins::templates(&self.counts, &mut families);
        engine::enabled(&self.enabled, &mut families);
        engine::caches(&self.caches, &self.counts, &mut families);
        plugins::hosts(&self.hosts, &mut families);
        engine::upstreams(&self.groups, &mut families);
        engine::slow_path(gauges, &mut families);
        engine::indexes(&self.indexes, &mut families);
        top::busiest(&gauges.busiest(), &self.clusters, &mut families);
        families.counter(
            "martlet_log_lines_lost_total",
            "Lines of the query and error log that found the queue to the printer full.",
            &[],
            self.log.lost(),
        );
        process::describe(&mut families);
        families.extend(own::OWN.gather());
        TextEncoder::new().encode_to_string(&families.sorted())
    }
}

/// Adds what is not in the list yet.
fn push_new<T>(list: &mut Vec<Arc<T>>, item: &Arc<T>) {
    if !list.iter().any(|known| Arc::ptr_eq(known, item)) {
        list.push(Arc::clone(item));
    }
}

fn zones(cache: &Cache) -> String {
    let mut text = String::new();
    for (zone, _) in &cache.zones {
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a string cannot fail.
        let _ = martlet_engine::wire::name::write_presentation(zone, &mut text);
    }
    text
}

/// What `/metrics` tells.
///
/// # Errors
///
/// That it cannot be written.
pub fn answer(monitored: &Monitored, gauges: &Gauges) -> Result<impl IntoResponse, StatusCode> {
    // Reading all counts and writing a few hundred lines takes about a millisecond.
    match monitored.scrape(gauges) {
        Ok(text) => Ok(([(CONTENT_TYPE, CONTENT)], text)),
        Err(error) => {
            tracing::error!(%error, "plugin/prometheus: cannot write the metrics");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// The status page: draws what `/metrics` tells, with nothing from elsewhere.
pub const fn status_page() -> Html<&'static str> {
    Html(include_str!("metrics/status.html"))
}

/// The text format that every Prometheus reads, as Go's client calls it.
const CONTENT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests;
