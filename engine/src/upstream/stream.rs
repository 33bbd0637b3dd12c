//! Questions over TCP and TLS: connections that many questions share (RFC 7766 §6.2.1).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use super::waiting::{AtEnd, Fault, Waiting};
use super::{Carrier, UpstreamCounters};
use crate::wire::Message;

/// Questions in flight on a connection before another one is opened beside it.
const BUSY: usize = 64;
/// Questions in flight on one connection at most.
const IN_FLIGHT_MAX: usize = 4_096;
/// Connections to one server at most.
const CONNECTIONS_MAX: usize = 8;

/// How often a connection is looked after; to the second is exact enough.
const LOOK: Duration = Duration::from_millis(500);

/// What connections are made of.
pub(super) trait Octets: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Octets for T {}

/// Opens a connection.
pub(super) type Connect =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Octets>>>>>>;

/// How long connections are kept.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// An idle one.
    pub(super) expire: Duration,
    /// Any; zero for no limit.
    pub(super) max_age: Duration,
    /// One over which nothing comes while a question waits, or that is not there yet. A server may
    /// vanish without a word, and the kernel would go on trying for many minutes.
    pub(super) silence: Duration,
}

/// The connections to one server.
pub(super) struct Streams {
    connect: Connect,
    limits: Limits,
    /// How many idle ones are kept; 0 for no limit.
    max_idle: usize,
    connections: RefCell<Vec<Rc<Connection>>>,
    counters: (Carrier, Arc<UpstreamCounters>),
}

struct Connection {
    waiting: Rc<Waiting>,
    out: mpsc::Sender<Vec<u8>>,
    opened: Instant,
    /// The time of the first question after the last that was heard of the server, whoever still waits.
    unanswered: Cell<Option<Instant>>,
    closed: Cell<bool>,
    /// It is one idle connection too many.
    surplus: Notify,
    /// A reply has come over it.
    proven: Cell<bool>,
}

impl Streams {
    pub(super) fn new(
        connect: Connect,
        limits: Limits,
        max_idle: usize,
        counters: (Carrier, Arc<UpstreamCounters>),
    ) -> Self {
        Self {
            counters,
            connect,
            limits,
            max_idle,
            connections: RefCell::default(),
        }
    }

    /// Sends the question and waits for its reply, for as long as the caller likes.
    pub(super) async fn ask(&self, request: &Rc<[u8]>) -> Result<Message, Fault> {
        let _trim = AtEnd(|| self.trim());
        loop {
            match self.connection().ask(request).await {
                // It had been idle and the server closed it meanwhile: no reason to complain.
                Err(Fault::Io { reused: true, .. }) => {}
                outcome => return outcome,
            }
        }
    }

    /// The same over a connection of its own, which is closed then.
    pub(super) async fn ask_alone(&self, request: &Rc<[u8]>) -> Result<Message, Fault> {
        let connection = self.open();
        let _close = AtEnd(|| connection.surplus.notify_one());
        connection.ask(request).await
    }

    /// Closes idle connections beyond the limit.
    fn trim(&self) {
        if self.max_idle == 0 {
            return;
        }
        let mut idle = 0;
        self.connections.borrow_mut().retain(|connection| {
            idle += usize::from(connection.waiting.len() == 0);
            let stays = connection.waiting.len() > 0 || idle <= self.max_idle;
            if !stays {
                connection.surplus.notify_one();
            }
            stays
        });
    }

    /// The least busy connection, or a new one beside busy ones.
    fn connection(&self) -> Rc<Connection> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.closed.get());
        let max_age = self.limits.max_age;
        let fresh = |connection: &&Rc<Connection>| {
            max_age.is_zero() || connection.opened.elapsed() < max_age
        };
        let best = connections
            .iter()
            .filter(fresh)
            .min_by_key(|connection| connection.waiting.len());
        if let Some(best) = best
            && (best.waiting.len() < BUSY || connections.len() >= CONNECTIONS_MAX)
        {
            let (carrier, counters) = &self.counters;
            counters.connected(*carrier, true);
            return Rc::clone(best);
        }
        let connection = self.open();
        connections.push(Rc::clone(&connection));
        connection
    }

    fn open(&self) -> Rc<Connection> {
        let (carrier, counters) = &self.counters;
        counters.connected(*carrier, false);
        let (out, questions) = mpsc::channel(IN_FLIGHT_MAX);
        let connection = Rc::new(Connection {
            waiting: Rc::default(),
            out,
            opened: Instant::now(),
            unanswered: Cell::new(None),
            closed: Cell::new(false),
            surplus: Notify::new(),
            proven: Cell::new(false),
        });
        let (task, connecting, limits) = (Rc::clone(&connection), (self.connect)(), self.limits);
        tokio::task::spawn_local(async move {
            let run = async { task.run(connecting.await?, questions).await };
            let end = tokio::select! {
                end = run => end,
                end = task.watch(limits) => end,
                () = task.surplus.notified() => Ok(()),
            };
            let error = end.err();
            task.close(error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        });
        connection
    }
}

impl Connection {
    async fn ask(&self, request: &Rc<[u8]>) -> Result<Message, Fault> {
        if self.waiting.len() >= IN_FLIGHT_MAX {
            return Err(Fault::Full);
        }
        let ticket = self.waiting.enter(request);
        let message = ticket.message(request);
        let mut framed = Vec::with_capacity(2 + message.len());
        framed.extend((message.len() as u16).to_be_bytes());
        framed.extend(message);
        match self.out.try_send(framed) {
            // Nobody may wait any more for what is still to be sent.
            Err(TrySendError::Full(_)) => return Err(Fault::Full),
            // If its task has just ended, the ticket says so.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
        }
        if self.unanswered.get().is_none() {
            self.unanswered.set(Some(Instant::now()));
        }
        ticket.outcome().await
    }

    fn close(&self, error: io::Error) {
        self.closed.set(true);
        self.waiting.fail(&Fault::Io {
            error: Arc::new(error),
            reused: self.proven.get(),
        });
    }

    async fn run(
        &self,
        stream: Box<dyn Octets>,
        mut questions: mpsc::Receiver<Vec<u8>>,
    ) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let write = async {
            while let Some(mut octets) = questions.recv().await {
                while let Ok(more) = questions.try_recv() {
                    octets.extend(more);
                }
                writer.write_all(&octets).await?;
                writer.flush().await?;
            }
            Ok(())
        };
        let read = async {
            let mut message = Vec::new();
            loop {
                let len = reader.read_u16().await?;
                message.resize(usize::from(len), 0);
                reader.read_exact(&mut message).await?;
                if self.waiting.deliver(&message) {
                    self.proven.set(true);
                }
                let waits = self.waiting.len() > 0;
                self.unanswered.set(waits.then(Instant::now));
            }
        };
        tokio::select! {
            end = write => end,
            end = read => end,
        }
    }

    /// Returns when it has been kept long enough.
    async fn watch(&self, limits: Limits) -> io::Result<()> {
        let mut idle_since = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let is_idle = self.waiting.len() == 0;
            if !is_idle {
                idle_since = Instant::now();
            }
            let since = self.unanswered.get();
            if since.is_some_and(|since| since.elapsed() >= limits.silence) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let old = !limits.max_age.is_zero() && self.opened.elapsed() >= limits.max_age;
            if idle_since.elapsed() >= limits.expire || (old && is_idle) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::FutureExt as _;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::{LocalSet, spawn_local, yield_now};
    use tokio::time::timeout;

    use super::*;

    const QUERY: &[u8] = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    const SILENCE: Duration = Duration::from_millis(200);

    /// What becomes of a connection.
    #[derive(Clone, Copy)]
    enum Fate {
        /// It never comes to be.
        NeverThere,
        /// It carries so many replies, then nothing more, and stays open.
        Silent { after: usize },
    }

    /// Connections of which the nth has the nth fate; the last one's is that of all others. With them
    /// come how many were opened, and how many are still open.
    fn streams(fates: &'static [Fate]) -> (Streams, Rc<Cell<usize>>, Rc<Cell<usize>>) {
        let (opened, open) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (count, still) = (Rc::clone(&opened), Rc::clone(&open));
        let connect: Connect = Box::new(move || {
            let fate = fates[count.get().min(fates.len() - 1)];
            count.set(count.get() + 1);
            let still = Rc::clone(&still);
            Box::pin(async move {
                let Fate::Silent { after } = fate else {
                    return std::future::pending().await;
                };
                let (ours, theirs) = duplex(4_096);
                still.set(still.get() + 1);
                spawn_local(async move {
                    serve(theirs, after).await;
                    still.set(still.get() - 1);
                });
                Ok(Box::new(ours) as Box<dyn Octets>)
            })
        });
        let limits = Limits {
            expire: Duration::from_secs(10),
            max_age: Duration::ZERO,
            silence: SILENCE,
        };
        let counters = (Carrier::Tcp, Arc::default());
        let streams = Streams::new(connect, limits, 0, counters);
        (streams, opened, open)
    }

    async fn serve(mut stream: DuplexStream, replies: usize) {
        for nth in 0.. {
            let Ok(len) = stream.read_u16().await else {
                return;
            };
            let mut message = vec![0; len.into()];
            stream.read_exact(&mut message).await.unwrap();
            if nth < replies {
                message[2] |= 0x80;
                stream.write_u16(len).await.unwrap();
                stream.write_all(&message).await.unwrap();
            }
        }
    }

    async fn is_answered(streams: &Streams) -> bool {
        // Whoever asks has less patience than the connection.
        matches!(
            timeout(SILENCE / 2, streams.ask(&QUERY.into())).await,
            Ok(Ok(_))
        )
    }

    #[tokio::test]
    async fn a_connection_over_which_nothing_comes_is_given_up() {
        const GOOD: Fate = Fate::Silent { after: usize::MAX };
        let cases: &[(&str, &[Fate])] = &[
            ("never there", &[Fate::NeverThere, GOOD]),
            ("silent from the first", &[Fate::Silent { after: 0 }, GOOD]),
            ("silent later", &[Fate::Silent { after: 3 }, GOOD]),
        ];
        for &(what, fates) in cases {
            let test = async {
                let (streams, opened, _) = streams(fates);
                let asked_for = Instant::now();
                let mut right = 0;
                // Questions follow each other without a pause, so it is never idle.
                while right < 10 && asked_for.elapsed() < Duration::from_secs(10) {
                    right += usize::from(is_answered(&streams).await);
                    yield_now().await;
                }
                assert_eq!((right, opened.get()), (10, 2), "{what}");
            };
            LocalSet::new().run_until(test).await;
        }
    }

    #[tokio::test]
    async fn a_connection_of_its_own_is_closed_with_its_reply() {
        let test = async {
            let (streams, opened, open) = streams(&[Fate::Silent { after: 1 }]);
            for nth in 1..=3 {
                let reply = timeout(SILENCE, streams.ask_alone(&QUERY.into())).await;
                assert!(matches!(reply, Ok(Ok(_))), "{nth}");
                assert_eq!(opened.get(), nth);
            }
            assert!(streams.connections.borrow().is_empty());
            let closed = async {
                while open.get() > 0 {
                    yield_now().await;
                }
            };
            timeout(SILENCE, closed).await.expect("they are closed");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn what_nobody_sends_is_not_kept() {
        let test = async {
            let (streams, ..) = streams(&[Fate::NeverThere]);
            let (connection, query) = (streams.open(), QUERY.into());
            for nth in 0..IN_FLIGHT_MAX {
                // Given up at once, and its octets wait for the connection.
                assert!(connection.ask(&query).now_or_never().is_none(), "{nth}");
            }
            let outcome = connection.ask(&query).await;
            assert!(matches!(outcome, Err(Fault::Full)), "{outcome:?}");
        };
        LocalSet::new().run_until(test).await;
    }
}
