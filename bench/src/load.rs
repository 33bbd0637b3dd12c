//! The load generator: one thread that asks as much as a server can take, and checks each reply.
//!
//! Queries are encoded once ([`QuerySet`]); sending one copies it into a batch and writes its ID.
//! What waits for a reply is found by that ID, in a table per socket ([`in_flight`]). In a run,
//! nothing is allocated and nothing waits: the thread goes round its sockets, takes what came,
//! and sends what is due.
//!
//! A *closed* loop keeps a number of queries in flight and so finds the highest rate. An *open*
//! loop sends at a fixed rate, whatever the server does, and so finds latencies: they count from
//! the moment that a query was meant to leave, or a stalled server would slow the questions down
//! and look fast. Nothing is sent twice; a query unanswered for the timeout is lost.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use socket2::{Domain, Protocol, Socket, Type};

use crate::pin::{PinError, pin};
use crate::sys::{BATCH_MAX, Batch, Peers, Wait};
use in_flight::{InFlight, Sent};
use queries::HEADER_LEN;

pub use expect::{Expect, ExpectError};
pub use queries::{ListError, QuerySet};
pub use report::{Latency, Report, Tally};
pub use zone::{Zone, ZoneError};

mod expect;
mod in_flight;
mod queries;
mod report;
mod zone;

/// When queries leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As many as this are kept in flight, over all sockets.
    Closed {
        /// Queries in flight; at least one a socket.
        window: usize,
    },
    /// Queries leave at a fixed rate.
    Open {
        /// Queries a second.
        rate: f64,
    },
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub server: SocketAddr,
    /// When queries leave.
    pub pace: Pace,
    /// Sockets, each with a source port of its own; at least one.
    pub sockets: usize,
    /// Time before anything is counted.
    pub warm_up: Duration,
    /// Time that is counted.
    pub duration: Duration,
    /// A query that waited this long is lost.
    pub timeout: Duration,
    /// What a right reply looks like; any, when empty. Not looked at where the query set knows better.
    pub expect: Vec<Expect>,
    /// Whether replies must say what the query set [knows](QuerySet::know) of their questions.
    pub check: bool,
    /// Core to pin the load's thread to.
    pub core: Option<usize>,
}

impl Settings {
    /// The defaults for a server.
    pub const fn new(server: SocketAddr) -> Self {
        Self {
            server,
            pace: Pace::Closed { window: WINDOW },
            sockets: SOCKETS,
            warm_up: Duration::from_millis(200),
            duration: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            expect: Vec::new(),
            check: true,
            core: None,
        }
    }
}

/// Queries in flight by default: enough that a server always finds a full batch, and few enough
/// that all of them fit the receive buffer of a socket that asks for none in particular: 212,992 octets,
/// of which each takes some 1,100 in the kernel's account.
pub const WINDOW: usize = 160;

/// Sockets by default.
pub const SOCKETS: usize = 32;

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such core.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// No socket towards the server.
    #[error("cannot open a socket to {server}")]
    Socket {
        /// The server.
        server: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// A socket broke.
    #[error("cannot exchange datagrams with {server}")]
    Exchange {
        /// The server.
        server: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// Runs a load, on a thread of its own, as what it is pinned to is to stay with it.
///
/// # Errors
///
/// [`LoadError`].
///
/// # Panics
///
/// If a thread cannot be started.
pub fn run(settings: &Settings, queries: &QuerySet) -> Result<Report, LoadError> {
    let server = settings.server;
    let run = || {
        pin(settings.core)?;
        let mut generator = Generator::new(settings, queries)
            .map_err(|source| LoadError::Socket { server, source })?;
        generator
            .run()
            .map_err(|source| LoadError::Exchange { server, source })
    };
    thread::scope(|scope| scope.spawn(run).join().expect("a load does not panic"))
}

/// One socket and what it waits for.
struct Flow {
    socket: Socket,
    in_flight: InFlight,
}

struct Generator<'a> {
    settings: &'a Settings,
    queries: &'a QuerySet,
    flows: Vec<Flow>,
    /// Queries that one flow may have in flight.
    flow_window: usize,
    received: Batch,
    outgoing: Batch,
    /// The next query of the set.
    next: usize,
    /// Queries taken by the kernel since the start, counted or not.
    issued: u64,
    tally: Tally,
    latencies: Histogram<u32>,
    /// Right replies that arrived in the measured time.
    in_time: u64,
    receives: u64,
    /// Those of `receives` that found an empty socket.
    idle_receives: u64,
    start: Instant,
    warm_ns: u64,
    end_ns: u64,
}

impl<'a> Generator<'a> {
    fn new(settings: &'a Settings, queries: &'a QuerySet) -> io::Result<Self> {
        let sockets = settings.sockets.max(1);
        let flow_window = match settings.pace {
            Pace::Closed { window } => window.div_ceil(sockets),
            // Room for whatever is sent until it times out, as far as IDs reach.
            Pace::Open { .. } => usize::MAX,
        };
        let flows: io::Result<Vec<Flow>> = (0..sockets)
            .map(|_| {
                let socket = connect(settings.server)?;
                Ok(Flow {
                    socket,
                    in_flight: InFlight::new(flow_window.min(OPEN_FLOW_MAX)),
                })
            })
            .collect();
        Ok(Self {
            settings,
            queries,
            flows: flows?,
            flow_window: flow_window.min(OPEN_FLOW_MAX),
            received: Batch::new(Peers::Connected),
            outgoing: Batch::new(Peers::Connected),
            next: 0,
            issued: 0,
            tally: Tally::default(),
            latencies: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("valid bounds"),
            in_time: 0,
            receives: 0,
            idle_receives: 0,
            start: Instant::now(),
            warm_ns: nanoseconds(settings.warm_up),
            end_ns: nanoseconds(settings.warm_up + settings.duration),
        })
    }

    fn run(&mut self) -> io::Result<Report> {
        let timeout_ns = nanoseconds(self.settings.timeout);
        let mut expired_ns = 0;
        self.start = Instant::now();
        loop {
            for at in 0..self.flows.len() {
                self.receive(at)?;
                self.send(at)?;
            }
            let now_ns = self.now_ns();
            if now_ns >= expired_ns + EXPIRE_EVERY_NS {
                expired_ns = now_ns;
                self.expire(now_ns.saturating_sub(timeout_ns));
            }
            if now_ns >= self.end_ns && self.flows.iter().all(|flow| flow.in_flight.len() == 0) {
                return Ok(self.report());
            }
        }
    }

    /// Takes what one socket has, one batch at most, and settles it.
    fn receive(&mut self, at: usize) -> io::Result<()> {
        let socket = self.flows[at].socket.as_fd();
        let count = match self.received.receive(socket, Wait::No) {
            Ok(count) => count,
            Err(error) => self.note(error)?,
        };
        self.receives += 1;
        if count == 0 {
            self.idle_receives += 1;
            return Ok(());
        }
        let now_ns = self.now_ns();
        for datagram in 0..count {
            self.settle(at, datagram, now_ns);
        }
        Ok(())
    }

    fn settle(&mut self, flow: usize, datagram: usize, now_ns: u64) {
        let reply = self.received.datagram(datagram);
        let header = reply.first_chunk::<HEADER_LEN>();
        let sent = header.and_then(|header| {
            self.flows[flow]
                .in_flight
                .take(u16::from_be_bytes([header[0], header[1]]))
        });
        let (Some(header), Some(sent)) = (header, sent) else {
            self.tally.unexpected += u64::from(now_ns >= self.warm_ns);
            return;
        };
        let question = self.queries.question(sent.query);
        let mut verdict = Tally::default();
        if header[2] & QR == 0 {
            verdict.not_response = 1;
        } else if !reply[HEADER_LEN..].starts_with(question) {
            verdict.other_question = 1;
        } else {
            if sent.counted {
                self.tally.rcodes[usize::from(header[3] & RCODE)] += 1;
            }
            let expected = &self.settings.expect;
            let known = self.queries.wanted(sent.query);
            let (right, wrong) = match known.filter(|_| self.settings.check) {
                Some(wanted) => (
                    wanted.is_said(reply, question.len()),
                    &mut verdict.other_records,
                ),
                None => (
                    expected.is_empty() || expected.iter().any(|it| it.matches(header)),
                    &mut verdict.not_expected,
                ),
            };
            *wrong = u64::from(!right);
            verdict.answered = u64::from(right);
            verdict.truncated = u64::from(right && header[2] & TC != 0);
        }
        if verdict.answered == 1 && (self.warm_ns..self.end_ns).contains(&now_ns) {
            self.in_time += 1;
        }
        if sent.counted {
            self.tally.answered += verdict.answered;
            self.tally.truncated += verdict.truncated;
            self.tally.not_response += verdict.not_response;
            self.tally.other_question += verdict.other_question;
            self.tally.not_expected += verdict.not_expected;
            self.tally.other_records += verdict.other_records;
            self.tally.wrong += 1 - verdict.answered;
            if verdict.answered == 1 {
                self.latencies
                    .saturating_record(now_ns.saturating_sub(sent.at_ns).max(1));
            }
        }
    }

    /// Sends what is due and has room on one socket, one batch at most.
    fn send(&mut self, at: usize) -> io::Result<()> {
        let now_ns = self.now_ns();
        if now_ns >= self.end_ns {
            return Ok(());
        }
        let room = self
            .flow_window
            .saturating_sub(self.flows[at].in_flight.len());
        let count = room.min(self.due(now_ns)).min(BATCH_MAX);
        if count == 0 {
            return Ok(());
        }
        let mut ids = [0; BATCH_MAX];
        for (place, entered) in ids.iter_mut().take(count).enumerate() {
            let query = (self.next + place) % self.queries.len();
            let at_ns = self.meant_ns(place, now_ns);
            let sent = Sent {
                query,
                at_ns,
                counted: at_ns >= self.warm_ns,
            };
            let id = self.flows[at]
                .in_flight
                .enter(sent)
                .expect("room was counted");
            self.outgoing.put(place, self.queries.datagram(query));
            self.outgoing.datagram_mut(place)[..2].copy_from_slice(&id.to_be_bytes());
            *entered = id;
        }
        let taken = match self.outgoing.send(self.flows[at].socket.as_fd(), count) {
            Ok(taken) => taken,
            Err(error) => self.note(error)?,
        };
        // What the kernel did not take was not sent: it comes again, as the next in turn.
        for &id in ids[taken..count].iter().rev() {
            self.flows[at].in_flight.take(id);
        }
        for place in 0..taken {
            self.tally.sent += u64::from(self.meant_ns(place, now_ns) >= self.warm_ns);
        }
        self.next = (self.next + taken) % self.queries.len();
        self.issued += u64::try_from(taken).expect("usize fits u64");
        Ok(())
    }

    /// How many queries should leave now, at most a batch.
    fn due(&self, now_ns: u64) -> usize {
        match self.settings.pace {
            Pace::Closed { .. } => BATCH_MAX,
            Pace::Open { rate } => {
                let due = due(rate, now_ns).saturating_sub(self.issued);
                usize::try_from(due).unwrap_or(BATCH_MAX)
            }
        }
    }

    /// When the query `place` behind the last issued one is meant to leave.
    fn meant_ns(&self, place: usize, now_ns: u64) -> u64 {
        match self.settings.pace {
            Pace::Closed { .. } => now_ns,
            Pace::Open { rate } => {
                let number = self.issued + u64::try_from(place).expect("usize fits u64");
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "exact for 2^53 queries or nanoseconds"
                )]
                let meant = (number as f64 / rate * 1e9) as u64;
                meant
            }
        }
    }

    fn expire(&mut self, before_ns: u64) {
        for flow in &mut self.flows {
            flow.in_flight
                .expire(before_ns, |sent| self.tally.lost += u64::from(sent.counted));
        }
    }

    /// A connected socket reports here that nobody listens (yet): nothing was moved, the run goes
    /// on. All else ends it.
    fn note(&mut self, error: io::Error) -> io::Result<usize> {
        if error.kind() != io::ErrorKind::ConnectionRefused {
            return Err(error);
        }
        self.tally.refused += 1;
        Ok(0)
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    fn report(&mut self) -> Report {
        let measured = self.settings.duration;
        let behind = match self.settings.pace {
            Pace::Closed { .. } => 0,
            Pace::Open { rate } => due(rate, self.end_ns).saturating_sub(self.issued),
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        Report {
            rate: self.in_time as f64 / measured.as_secs_f64(),
            measured,
            tally: std::mem::take(&mut self.tally),
            behind,
            idle: self.idle_receives as f64 / self.receives.max(1) as f64,
            latency_us: Latency::new(&self.latencies),
            latencies_ns: self.latencies.clone(),
        }
    }
}

/// How many queries an open loop should have sent by `now_ns`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "exact for 2^53 queries or nanoseconds"
)]
fn due(rate: f64, now_ns: u64) -> u64 {
    (rate * now_ns as f64 / 1e9) as u64
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn connect(server: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(server),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    socket.bind(&any.into())?;
    socket.connect(&server.into())?;
    Ok(socket)
}

/// In the third byte of a DNS header (RFC 1035 §4.1.1).
const QR: u8 = 0x80;
const TC: u8 = 0x02;
/// In the fourth.
const RCODE: u8 = 0x0f;

/// Slots of one socket in an open loop: with 32 sockets, a second's worth at a million a second.
const OPEN_FLOW_MAX: usize = 1 << 15;
const SOCKET_BUFFER: usize = 4 << 20;
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Looking for lost queries walks all slots, so not in every round.
const EXPIRE_EVERY_NS: u64 = 20_000_000;

#[cfg(test)]
mod tests;
