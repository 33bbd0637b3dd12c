//! The running server: sockets, workers, the current plan.

mod sockets;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::sockets::Sockets;
use crate::chain::Plan;
use crate::counters::Counters;
use crate::metrics::SharedRecorder;
use crate::net::io::{self, Io, IoChoice, IoError};
use crate::net::socket::ListenError;
use crate::net::tcp::{self, Acceptor};
use crate::net::udp::{self, WorkerSocket};
use crate::respond::Tally;
use crate::slow::Slow;
use crate::slow::io::Backend;
use crate::sys;
use crate::top::{Busiest, Window};

/// Workers that share one thread of the slow path.
const WORKERS_PER_SLOW: usize = 4;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// What was chosen for datagrams cannot be had.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A thread could not be started, or a socket not be handed to the runtime.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] std::io::Error),
}

/// What is served, and on which sockets. Swapped as a whole.
pub(crate) struct Serving {
    pub(crate) plan: Arc<Plan>,
    /// The sockets of each worker.
    pub(crate) sockets: Box<[Box<[WorkerSocket]>]>,
    /// What queries over streams are counted with.
    pub(crate) stream_recorder: Arc<SharedRecorder>,
}

/// What workers, TCP tasks and control share.
pub(crate) struct Shared {
    pub(crate) serving: ArcSwap<Serving>,
    pub(crate) stopping: AtomicBool,
    /// How workers move datagrams.
    pub(crate) io: Io,
    /// Where queries go that need I/O.
    pub(crate) slow: Arc<Slow>,
    /// Places for connections, whatever address they come to.
    pub(crate) connections: Arc<Semaphore>,
    /// One for each worker, then one for TCP.
    pub(crate) counters: Box<[Counters]>,
    /// What queries are about, for each worker.
    pub(crate) windows: Box<[Window]>,
}

impl Shared {
    pub(crate) fn tcp_counters(&self) -> &Counters {
        self.counters
            .last()
            .expect("one more than there are workers")
    }
}

/// A server that answers.
pub struct Server {
    shared: Arc<Shared>,
    sockets: Sockets,
    workers: Vec<std::thread::JoinHandle<()>>,
    slow: Vec<std::thread::JoinHandle<()>>,
    acceptors: Vec<Acceptor>,
}

impl Server {
    /// Opens every socket of the plan, then starts one pinned thread a worker and the TCP tasks on
    /// the current tokio runtime.
    ///
    /// # Errors
    ///
    /// If a socket cannot be opened, or `io` not be had; nothing is served then.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(plan: Plan, workers: NonZeroUsize, io: IoChoice) -> Result<Self, StartError> {
        let workers = workers.get();
        let mut sockets = Sockets::default();
        let mut opened = sockets.open(&plan, workers)?;
        let streams = registered(std::mem::take(&mut opened.new_streams))?;
        let of_workers = opened.of_workers(workers);
        let (io, rings) = io::open(io, &of_workers)?;
        let (backend, reason) = Backend::choose(&[Backend::IoUring, Backend::Epoll]);
        match reason {
            None => tracing::info!("upstreams are asked through {}", backend.name()),
            Some(error) => {
                tracing::info!(%error, "upstreams are asked through {}", backend.name());
            }
        }
        let slow = Arc::new(Slow::new(
            (workers / WORKERS_PER_SLOW).max(1),
            backend,
            Arc::clone(&plan.metrics),
        ));
        let slow_threads = slow.spawn()?;
        let serving = Arc::new(Serving {
            stream_recorder: Arc::new(plan.metrics.shared_recorder()),
            plan: Arc::new(plan),
            sockets: of_workers,
        });
        let shared = Arc::new(Shared {
            serving: ArcSwap::new(Arc::clone(&serving)),
            stopping: AtomicBool::new(false),
            io,
            slow,
            connections: Arc::new(Semaphore::new(tcp::connections_max().1)),
            counters: (0..=workers).map(|_| Counters::default()).collect(),
            windows: (0..workers).map(|_| Window::default()).collect(),
        });
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let mut threads = Vec::with_capacity(workers);
        for (worker, ring) in rings.into_iter().enumerate() {
            // With fewer cores than workers the scheduler places them better than we would.
            let core = cores
                .get(worker)
                .filter(|_| cores.len() >= workers)
                .copied();
            let (shared, serving) = (Arc::clone(&shared), Arc::clone(&serving));
            threads.push(udp::spawn(shared, worker, core, serving, ring)?);
        }
        sockets.take(&opened);
        let mut server = Self {
            shared,
            sockets,
            slow: slow_threads,
            workers: threads,
            acceptors: Vec::new(),
        };
        server.accept(streams);
        Ok(server)
    }

    /// Serves another plan from now on, without losing a query. Sockets whose addresses stay are
    /// not touched; new ones are opened before the change. What had arrived on those that go is
    /// still answered, with the plan before.
    ///
    /// # Errors
    ///
    /// If a socket cannot be opened. Then nothing has changed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn replace(&mut self, plan: Plan) -> Result<(), StartError> {
        let workers = self.workers.len();
        let mut opened = self.sockets.open(&plan, workers)?;
        let streams = registered(std::mem::take(&mut opened.new_streams))?;
        let before = self.shared.serving.load_full();
        let stream_recorder = match Arc::ptr_eq(&before.plan.metrics, &plan.metrics) {
            true => Arc::clone(&before.stream_recorder),
            false => Arc::new(plan.metrics.shared_recorder()),
        };
        self.sockets.take(&opened);
        self.shared.serving.store(Arc::new(Serving {
            plan: Arc::new(plan),
            sockets: opened.of_workers(workers),
            stream_recorder,
        }));
        self.acceptors.retain_mut(|acceptor| {
            let stays = opened.streams.contains(&acceptor.address());
            if !stays {
                acceptor.close();
            }
            stays
        });
        self.accept(streams);
        Ok(())
    }

    fn accept(&mut self, streams: Vec<(SocketAddr, TcpListener)>) {
        let shared = &self.shared;
        let acceptors = streams.into_iter();
        let acceptors = acceptors.map(|(address, stream)| Acceptor::start(shared, stream, address));
        self.acceptors.extend(acceptors);
    }

    /// The addresses served.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.sockets.addresses()
    }

    /// A look at the server that anybody may keep.
    pub fn gauges(&self) -> Gauges {
        Gauges(Arc::clone(&self.shared))
    }

    /// Stops accepting, answers what has arrived, and returns when the workers are done and the
    /// connections closed.
    pub async fn stop(mut self) {
        self.acceptors.iter_mut().for_each(Acceptor::close);
        self.shared.stopping.store(true, Ordering::Relaxed);
        join(self.workers).await;
        for acceptor in self.acceptors {
            acceptor.closed().await;
        }
        // Whatever was handed over to it is still answered.
        self.shared.slow.stop();
        join(self.slow).await;
    }
}

/// Hands listeners to the runtime.
fn registered(
    streams: Vec<(SocketAddr, std::net::TcpListener)>,
) -> std::io::Result<Vec<(SocketAddr, TcpListener)>> {
    let register = |(address, stream)| Ok((address, TcpListener::from_std(stream)?));
    streams.into_iter().map(register).collect()
}

/// Waits for threads without keeping the runtime.
async fn join(threads: Vec<std::thread::JoinHandle<()>>) {
    let join = || {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread had panicked");
            }
        }
    };
    // It can only fail with the runtime itself.
    let _ = tokio::task::spawn_blocking(join).await;
}

/// How a server does.
#[derive(Clone)]
pub struct Gauges(Arc<Shared>);

impl Gauges {
    /// The counts of all threads since the start.
    pub fn tally(&self) -> Tally {
        let mut sum = [0; Tally::LEN];
        let slow = self.0.slow.counters();
        for counters in self.0.counters.iter().chain(slow) {
            counters.sum_into(&mut sum);
        }
        Tally::from_values(&sum)
    }

    /// The counts of each worker since the start.
    pub fn workers(&self) -> Vec<Tally> {
        // The last one is that of TCP.
        let workers = self.0.windows.len();
        let counters = self.0.counters.iter().take(workers);
        counters.map(Counters::tally).collect()
    }

    /// For each worker the datagrams that its sockets had no room for since they were opened.
    pub fn drops(&self) -> Vec<u64> {
        let serving = self.0.serving.load();
        let of_worker = |sockets: &[WorkerSocket]| {
            let drops = sockets.iter().map(|it| sys::drops(&*it.socket));
            drops.flatten().map(u64::from).sum()
        };
        let workers = serving.sockets.iter();
        workers.map(|sockets| of_worker(sockets)).collect()
    }

    /// The busiest clients and names of late, of queries over UDP: an estimate from a sample.
    pub fn busiest(&self) -> Busiest {
        Busiest::of(&self.0.windows, Instant::now())
    }

    /// Queries that wait for the slow path, and queries that it works on.
    pub fn slow_depth(&self) -> (usize, usize) {
        self.0.slow.depth()
    }

    /// How workers move datagrams.
    pub fn io(&self) -> Io {
        self.0.io
    }

    /// What drives the sockets to upstreams.
    pub fn backend(&self) -> Backend {
        self.0.slow.backend()
    }
}

#[cfg(test)]
mod tests;
