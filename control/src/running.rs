//! What runs: the server, the clusters' feeds, the HTTP endpoints; and how all of it changes with
//! the Corefile.
//!
//! A change is made beside what runs: everything that can fail comes first and changes nothing,
//! then a step without any waiting swaps the plans. What both have in common is not touched.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::server::Server;

use crate::args::ServeArgs;
use crate::assemble::{self, Assembled, Kept};
use crate::cluster::feed::{self, Feed};
use crate::corefile::{Corefile, Reload};
use crate::http::{Endpoint, Endpoints, Opened, Readiness, Role};
use crate::loops;
use crate::memory::{self, Budget};
use crate::run::RunError;
use crate::task::Task;
use crate::telemetry::Printer;

/// A server with all that belongs to it.
pub struct Running {
    server: Server,
    workers: NonZeroUsize,
    /// The port of addresses that name none.
    port: u16,
    kept: Kept,
    feeds: Vec<Feed>,
    endpoints: Endpoints,
    readiness: Readiness,
    memory_limit: Option<Budget>,
    /// What goes on beside the plan and is started anew with each.
    tasks: Vec<Task>,
    /// How long to go on answering after the order to stop.
    pub lameduck: Duration,
    /// When to look whether the Corefile has changed.
    pub reload: Option<Reload>,
}

impl Running {
    /// Starts everything, and waits for the clusters as long as they may take.
    ///
    /// # Errors
    ///
    /// What cannot be had.
    pub async fn start(
        mut assembled: Assembled,
        args: &ServeArgs,
        printer: &Printer,
    ) -> Result<Self, RunError> {
        let workers = assembled.workers.unwrap_or_else(assemble::cores);
        let mut endpoints = Endpoints::default();
        let mut opened = endpoints.open(&wanted(&assembled)).await?;
        let readiness = Readiness::default().with(assembled.indexes.clone());
        serve_probes(&mut endpoints, &assembled, &readiness, &mut opened);
        let feeds = feed::start(std::mem::take(&mut assembled.clusters)).await?;
        printer.consolidate(std::mem::take(&mut assembled.consolidations));
        let server = Server::start(assembled.plan.clone(), workers, args.io)?;
        readiness.open();
        serve_metrics(&mut endpoints, &assembled, &server, &mut opened);
        Ok(Self {
            server,
            workers,
            port: args.port,
            feeds,
            endpoints,
            readiness,
            tasks: tasks(&mut assembled, args.memory_limit),
            memory_limit: args.memory_limit,
            lameduck: assembled.lameduck,
            reload: assembled.reload,
            kept: assembled.kept,
        })
    }

    /// Goes over to another Corefile.
    ///
    /// # Errors
    ///
    /// What cannot be had. Then, and if this is dropped half-way, everything is as it was.
    pub async fn replace(
        &mut self,
        corefile: &Corefile,
        printer: &Printer,
    ) -> Result<(), RunError> {
        // Looking up the names of upstreams takes its time.
        let assemble = || assemble::assemble(corefile, self.port, &self.kept);
        let mut assembled = tokio::task::block_in_place(assemble)?;
        let mut opened = self.endpoints.open(&wanted(&assembled)).await?;
        let feeds = feed::start(std::mem::take(&mut assembled.clusters)).await?;
        let workers = assembled.workers.unwrap_or_else(assemble::cores);
        if workers != self.workers {
            tracing::warn!(
                "multisocket: {} workers go on; for {workers}, restart",
                self.workers
            );
        }

        printer.consolidate(std::mem::take(&mut assembled.consolidations));
        self.server.replace(assembled.plan.clone())?;
        self.feeds.extend(feeds);
        let indexes = &assembled.indexes;
        let is_used = |feed: &Feed| indexes.iter().any(|index| Arc::ptr_eq(index, &feed.index));
        self.feeds.retain(is_used);
        self.readiness = self.readiness.with(assembled.indexes.clone());
        self.endpoints.retain(&wanted(&assembled));
        serve_probes(
            &mut self.endpoints,
            &assembled,
            &self.readiness,
            &mut opened,
        );
        serve_metrics(&mut self.endpoints, &assembled, &self.server, &mut opened);
        self.tasks = tasks(&mut assembled, self.memory_limit);
        self.lameduck = assembled.lameduck;
        self.reload = assembled.reload;
        self.kept = assembled.kept;
        Ok(())
    }

    /// Says that it is not ready any more, and goes on as before.
    pub fn leave(&self) {
        self.readiness.leave();
    }

    /// Answers what has arrived, then ends.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// The addresses of all HTTP endpoints, by plugin.
fn wanted(assembled: &Assembled) -> Vec<(&'static str, &Endpoint)> {
    let health = assembled.health.iter().map(|it| ("health", it));
    let ready = assembled.ready.iter().map(|(it, _)| ("ready", it));
    let prometheus = assembled.prometheus.iter();
    let prometheus = prometheus.map(|(it, _)| ("prometheus", it));
    health.chain(ready).chain(prometheus).collect()
}

fn serve_probes(
    endpoints: &mut Endpoints,
    assembled: &Assembled,
    readiness: &Readiness,
    opened: &mut Vec<Opened>,
) {
    for endpoint in &assembled.health {
        endpoints.serve(endpoint, Role::Health, opened);
    }
    for (endpoint, continuous) in &assembled.ready {
        let role = Role::Ready(readiness.clone(), *continuous);
        endpoints.serve(endpoint, role, opened);
    }
}

fn serve_metrics(
    endpoints: &mut Endpoints,
    assembled: &Assembled,
    server: &Server,
    opened: &mut Vec<Opened>,
) {
    for (endpoint, tls) in &assembled.prometheus {
        let monitored = Arc::clone(&assembled.monitored);
        let role = Role::Prometheus(monitored, server.gauges(), tls.clone());
        endpoints.serve(endpoint, role, opened);
    }
}

fn tasks(assembled: &mut Assembled, memory_limit: Option<Budget>) -> Vec<Task> {
    let caches = assembled.kept.caches().cloned().collect::<Vec<_>>();
    let limit = memory_limit.filter(|_| !caches.is_empty());
    let memory = limit.map(|limit| Task::spawn(memory::watch(limit, caches)));
    let watches = assembled.watches.drain(..);
    let watches = watches.map(Task::spawn);
    let loops = assembled.loops.drain(..);
    let loops = loops.map(|probe| Task::spawn(loops::watch(probe)));
    watches.chain(loops).chain(memory).collect()
}
