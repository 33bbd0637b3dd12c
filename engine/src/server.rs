//! The running server: sockets, workers, the current plan.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::chain::{Plan, Protocol};
use crate::counters::Counters;
use crate::metrics::SharedRecorder;
use crate::net::io::{self, Io, IoChoice, IoError};
use crate::net::socket::{self, ListenError};
use crate::net::{tcp, udp};
use crate::respond::Tally;
use crate::slow::Slow;
use crate::slow::io::Backend;

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

/// What workers, TCP tasks and control share.
pub(crate) struct Shared {
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) stopping: AtomicBool,
    /// How workers move datagrams.
    pub(crate) io: Io,
    /// Where queries go that need I/O.
    pub(crate) slow: Arc<Slow>,
    /// One for each worker, then one for TCP.
    pub(crate) counters: Box<[Counters]>,
    /// What queries over streams are counted with.
    pub(crate) stream_recorder: SharedRecorder,
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
    workers: Vec<std::thread::JoinHandle<()>>,
    slow: Vec<std::thread::JoinHandle<()>>,
    acceptors: Vec<tokio::task::JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
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
        let mut of_worker = (0..workers).map(|_| Vec::new()).collect::<Vec<_>>();
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for (index, listener) in plan.listeners.iter().enumerate() {
            for &address in &listener.addresses {
                // A machine without IPv6 still serves IPv4 on all addresses.
                let optional = address.ip().is_unspecified() && address.is_ipv6();
                let open = || -> Result<_, ListenError> {
                    let stream = socket::tcp(address)?;
                    let mut datagrams = Vec::new();
                    if matches!(listener.protocol, Protocol::Dns) {
                        let mut own = Vec::new();
                        if address.ip().is_unspecified() {
                            own = socket::own_addresses(address);
                            own.retain(|own| {
                                !plan
                                    .listeners
                                    .iter()
                                    .any(|other| other.addresses.contains(own))
                            });
                        }
                        own.push(address);
                        for address in own {
                            let sockets =
                                (0..workers).map(|_| Ok((address, socket::udp(address)?)));
                            datagrams.push(sockets.collect::<Result<Vec<_>, _>>()?);
                        }
                    }
                    Ok((stream, datagrams))
                };
                let (stream, datagrams) = match open() {
                    Ok(opened) => opened,
                    Err(error) if optional && !has_ipv6() => {
                        tracing::info!(%error, "serving IPv4 only");
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                for sockets in datagrams {
                    for (of_worker, (address, socket)) in of_worker.iter_mut().zip(sockets) {
                        of_worker.push(udp::WorkerSocket {
                            socket: Arc::new(socket),
                            address,
                            listener: index,
                        });
                    }
                }
                listeners.push((index, stream));
                addresses.push(address);
            }
        }
        let (io, rings) = io::open(io, &of_worker)?;
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
        let stream_recorder = plan.metrics.shared_recorder();
        let shared = Arc::new(Shared {
            stream_recorder,
            plan: ArcSwap::from_pointee(plan),
            stopping: AtomicBool::new(false),
            io,
            slow,
            counters: (0..=workers).map(|_| Counters::default()).collect(),
        });
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let mut threads = Vec::with_capacity(workers);
        for (worker, (sockets, ring)) in of_worker.into_iter().zip(rings).enumerate() {
            // With fewer cores than workers the scheduler places them better than we would.
            let core = cores
                .get(worker)
                .filter(|_| cores.len() >= workers)
                .copied();
            threads.push(udp::spawn(
                Arc::clone(&shared),
                worker,
                core,
                sockets,
                ring,
            )?);
        }
        let mut acceptors = Vec::with_capacity(listeners.len());
        for (index, stream) in listeners {
            let stream = tokio::net::TcpListener::from_std(stream)?;
            acceptors.push(tokio::spawn(tcp::accept(
                Arc::clone(&shared),
                stream,
                index,
            )));
        }
        Ok(Self {
            shared,
            slow: slow_threads,
            workers: threads,
            acceptors,
            addresses,
        })
    }

    /// The addresses served.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A look at the server that anybody may keep.
    pub fn gauges(&self) -> Gauges {
        Gauges(Arc::clone(&self.shared))
    }

    /// Stops accepting, answers what has arrived, and returns when the workers are done.
    pub fn stop(self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        self.shared.stopping.store(true, Ordering::Relaxed);
        let join = |threads: Vec<std::thread::JoinHandle<()>>| {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread had panicked");
                }
            }
        };
        join(self.workers);
        // Whatever the workers handed over is still answered.
        self.shared.slow.stop();
        join(self.slow);
    }
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

fn has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}
