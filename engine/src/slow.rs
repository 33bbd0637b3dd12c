//! The slow path: queries that need I/O, on threads of their own.
//!
//! ```text
//! worker ──► bounded queue ──► task: walk the chain, see to its need, walk it again … ──► reply
//! ```
//!
//! A worker hands over a copy of the packet and forgets it; the reply leaves through the socket
//! that the query came in on. A full queue is the worker's answer (SERVFAIL), never its problem.
//! Identical questions come to the same thread, so that what they share needs no locks.

pub mod io;

use std::cell::RefCell;
use std::future::Future;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use tokio::sync::{Notify, mpsc};

use self::io::Backend;
use crate::chain::{Peer, Plan};
use crate::counters::Counters;
use crate::gathered::{Gathered, Need};
use crate::limits::{MESSAGE_LEN_MAX, NEEDS_MAX, SLOW_IN_FLIGHT_MAX, SLOW_QUEUE_LEN};
use crate::metrics::{Metrics, Recorder};
use crate::respond::{Response, Resumed, Scratch, after_fault, resume, unless_panic};
use crate::upstream::Exchanger;
use crate::wire::FoldedName;
use crate::wire::message::question_of;

/// How long queries under way may take to end once the server stops: as long as an exchange.
const DRAIN: Duration = Duration::from_secs(5);

/// Where a reply goes.
pub(crate) enum ReplyTo {
    /// Nowhere: the query only refreshes the cache.
    Nobody,
    /// To the peer, through this socket.
    Datagram(Arc<UdpSocket>),
    /// To the task of a connection.
    Stream(StreamReply),
}

/// A reply that a connection waits for. It gets one, if only an empty one, whatever happens.
pub(crate) struct StreamReply(Option<mpsc::Sender<Vec<u8>>>);

impl StreamReply {
    /// The channel must have room for as many replies as there are of these.
    pub(crate) const fn new(sender: mpsc::Sender<Vec<u8>>) -> Self {
        Self(Some(sender))
    }

    /// The connection is told otherwise.
    pub(crate) fn cancel(&mut self) {
        self.0 = None;
    }

    fn send(&mut self, reply: Vec<u8>) {
        if let Some(sender) = self.0.take() {
            // A connection that is gone wants nothing.
            let _ = sender.try_send(reply);
        }
    }
}

impl Drop for StreamReply {
    fn drop(&mut self) {
        self.send(Vec::new());
    }
}

/// A query on its way to the slow path.
pub(crate) struct Job {
    packet: Vec<u8>,
    /// What it is answered by, even if a newer plan is served meanwhile.
    plan: Arc<Plan>,
    listener: usize,
    peer: Peer,
    reply: ReplyTo,
}

/// One thread's queue.
struct Lane {
    queue: ArrayQueue<Job>,
    wake: Notify,
    /// Packet buffers to use again.
    spare: ArrayQueue<Vec<u8>>,
    in_flight: AtomicUsize,
    counters: Counters,
}

/// The queues, and the threads behind them.
pub(crate) struct Slow {
    lanes: Box<[Lane]>,
    stopping: AtomicBool,
    backend: Backend,
    metrics: Arc<Metrics>,
}

impl Slow {
    /// Queues for so many threads.
    pub(crate) fn new(threads: usize, backend: Backend, metrics: Arc<Metrics>) -> Self {
        let lane = |_| Lane {
            queue: ArrayQueue::new(SLOW_QUEUE_LEN),
            wake: Notify::new(),
            spare: ArrayQueue::new(SLOW_QUEUE_LEN),
            in_flight: AtomicUsize::new(0),
            counters: Counters::default(),
        };
        Self {
            lanes: (0..threads).map(lane).collect(),
            stopping: AtomicBool::new(false),
            backend,
            metrics,
        }
    }

    /// Starts the threads.
    pub(crate) fn spawn(self: &Arc<Self>) -> std::io::Result<Vec<JoinHandle<()>>> {
        let start = |lane: usize| {
            let slow = Arc::clone(self);
            let run = move || {
                let backend = slow.backend;
                if let Err(error) = backend.block_on(run(slow, lane)) {
                    tracing::error!(%error, "the slow path cannot run; what needs upstreams is shed");
                }
            };
            std::thread::Builder::new()
                .name(format!("slow-{lane}"))
                .spawn(run)
        };
        (0..self.lanes.len()).map(start).collect()
    }

    /// Hands a query over.
    ///
    /// # Errors
    ///
    /// If there is no room: then the reply's way comes back, and a shed query gets its reply there.
    pub(crate) fn submit(
        &self,
        message: &[u8],
        name: &FoldedName,
        (plan, listener): (&Arc<Plan>, usize),
        peer: Peer,
        reply: ReplyTo,
    ) -> Result<(), ReplyTo> {
        let lane = &self.lanes[spread(name, self.lanes.len())];
        // Before anything is copied: a full queue must cost next to nothing.
        if lane.queue.is_full() {
            return Err(reply);
        }
        let mut packet = lane.spare.pop().unwrap_or_default();
        packet.clear();
        packet.extend(message);
        let job = Job {
            packet,
            plan: Arc::clone(plan),
            listener,
            peer,
            reply,
        };
        lane.queue.push(job).map_err(|job| job.reply)?;
        lane.wake.notify_one();
        Ok(())
    }

    /// Lets the threads end once nothing is under way.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.lanes.iter().for_each(|lane| lane.wake.notify_one());
    }

    /// The counters of each thread.
    pub(crate) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.lanes.iter().map(|lane| &lane.counters)
    }

    /// Queries waiting, and queries under way.
    pub(crate) fn depth(&self) -> (usize, usize) {
        self.lanes.iter().fold((0, 0), |(waiting, running), lane| {
            let in_flight = lane.in_flight.load(Ordering::Relaxed);
            (waiting + lane.queue.len(), running + in_flight)
        })
    }

    /// What drives the sockets to upstreams.
    pub(crate) const fn backend(&self) -> Backend {
        self.backend
    }
}

/// The lane of a name: always the same one.
fn spread(name: &FoldedName, lanes: usize) -> usize {
    ((u128::from(name.hash_all()) * lanes as u128) >> 64) as usize
}

/// What the tasks of one thread share.
struct Thread {
    slow: Arc<Slow>,
    lane: usize,
    exchanger: Rc<Exchanger>,
    scratch: RefCell<Scratch>,
    recorder: RefCell<Recorder>,
    /// Room for a reply. Nobody holds it over an await.
    room: RefCell<Vec<u8>>,
}

/// Takes queries from a lane until the server stops.
async fn run(slow: Arc<Slow>, lane: usize) {
    let thread = Rc::new(Thread {
        exchanger: Exchanger::new(slow.backend),
        slow: Arc::clone(&slow),
        lane,
        scratch: RefCell::default(),
        recorder: RefCell::new(slow.metrics.recorder()),
        room: RefCell::new(vec![0; MESSAGE_LEN_MAX]),
    });
    let lane = &slow.lanes[lane];
    loop {
        while lane.in_flight.load(Ordering::Relaxed) < SLOW_IN_FLIGHT_MAX
            && let Some(job) = lane.queue.pop()
        {
            lane.in_flight.fetch_add(1, Ordering::Relaxed);
            tokio::task::spawn_local(Rc::clone(&thread).finish(job));
        }
        if slow.stopping.load(Ordering::Relaxed) && lane.queue.is_empty() {
            break;
        }
        lane.wake.notified().await;
    }
    let drained = async {
        while lane.in_flight.load(Ordering::Relaxed) > 0 {
            lane.wake.notified().await;
        }
    };
    // Whoever still waits after that has long asked somebody else.
    let _ = tokio::time::timeout(DRAIN, drained).await;
}

/// Says that a query is done, even if its task panics.
struct InFlight(Rc<Thread>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let lane = &self.0.slow.lanes[self.0.lane];
        let before = lane.in_flight.fetch_sub(1, Ordering::Relaxed);
        // Somebody may wait for room, or for the last one.
        if before == SLOW_IN_FLIGHT_MAX || before == 1 {
            lane.wake.notify_one();
        }
    }
}

impl Thread {
    /// Sees a query to its end.
    async fn finish(self: Rc<Self>, mut job: Job) {
        let _in_flight = InFlight(Rc::clone(&self));
        let mut gathered = Gathered::new(matches!(job.reply, ReplyTo::Nobody));
        let (mut reply, peer) = (std::mem::replace(&mut job.reply, ReplyTo::Nobody), job.peer);
        let refreshes = self
            .walk(&job, &job.packet, &mut gathered, 0, |message| {
                send(&mut reply, peer, message);
            })
            .await;
        drop(reply);
        let lane = &self.slow.lanes[self.lane];
        lane.counters.publish(&self.scratch.borrow().tally);
        if refreshes {
            let mut gathered = Gathered::new(true);
            self.walk(&job, &job.packet, &mut gathered, 0, |_| {}).await;
        }
        // A full store of spares frees this one.
        let _ = lane.spare.push(std::mem::take(&mut job.packet));
    }

    /// Walks the chain until nothing is missing, then hands out the reply, if there is one. `true`
    /// if the query is to be asked again behind the client's back.
    async fn walk(
        self: &Rc<Self>,
        job: &Job,
        packet: &[u8],
        gathered: &mut Gathered,
        nesting: u8,
        take: impl FnOnce(&[u8]),
    ) -> bool {
        let Some(listener) = job.plan.listeners.get(job.listener) else {
            return false;
        };
        for needs in 0.. {
            let stuck = {
                let (mut room, mut scratch) = (self.room.borrow_mut(), self.scratch.borrow_mut());
                let resumed = Resumed { gathered, nesting };
                let plan = (&**listener, &job.plan.log);
                let walked = if needs < NEEDS_MAX {
                    unless_panic(|| {
                        resume(packet, job.peer, plan, resumed, &mut scratch, &mut room)
                    })
                } else {
                    tracing::error!("a query needs more than {NEEDS_MAX} things; it gets SERVFAIL");
                    None
                };
                let (response, stuck) = walked.unwrap_or_else(|| {
                    let at = (job.peer, &**listener);
                    let len = after_fault(packet, at, &mut scratch, &mut room);
                    (len.map_or(Response::None, Response::Reply), None)
                });
                if nesting == 0 && response != Response::Slow {
                    let mut recorder = self.recorder.borrow_mut();
                    if !recorder.counts(&scratch.seen) {
                        *recorder = job.plan.metrics.recorder();
                    }
                    recorder.record(&scratch.seen);
                    recorder.end_batch(|| job.peer.received.elapsed());
                }
                match response {
                    Response::Reply(len) | Response::ReplyAndRefresh(len) => {
                        take(&room[..len]);
                        return matches!(response, Response::ReplyAndRefresh(_));
                    }
                    Response::None => return false,
                    Response::Slow => stuck,
                }
            };
            let Some(stuck) = stuck else { break };
            match stuck.need {
                Need::Exchange { group, request } => {
                    let stream = job.peer.stream;
                    let patience = stuck.patience;
                    let question = question_of(&request).into();
                    let asking = self.exchanger.exchange(&group, request, stream, patience);
                    let result = asking.await;
                    gathered.add_exchange(group, question, result);
                }
                Need::LookUp(look_up) => {
                    let reply = self.look_up(job, look_up.packet.clone(), nesting + 1).await;
                    gathered.add_look_up(look_up, reply);
                }
                Need::Pause { wait, number } => {
                    tokio::time::sleep(wait).await;
                    gathered.pause = Some(number);
                }
            }
        }
        false
    }

    /// The reply to a question inside a question.
    fn look_up<'a>(
        self: &'a Rc<Self>,
        job: &'a Job,
        packet: Vec<u8>,
        nesting: u8,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + 'a>> {
        Box::pin(async move {
            let mut gathered = Gathered::new(false);
            let mut reply = None;
            self.walk(job, &packet, &mut gathered, nesting, |message| {
                reply = Some(message.to_vec());
            })
            .await;
            reply
        })
    }
}

fn send(reply: &mut ReplyTo, peer: Peer, message: &[u8]) {
    match reply {
        ReplyTo::Nobody => {}
        ReplyTo::Datagram(socket) => {
            let local = peer.answer_from;
            // A client that cannot be reached is its own affair, as on the fast path.
            let _ = crate::sys::send::send_from(socket.as_fd(), message, peer.remote, local);
        }
        ReplyTo::Stream(stream) => stream.send(message.to_vec()),
    }
}
