//! Questions over TCP and TLS: connections that many questions share (RFC 7766 §6.2.1).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
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

/// What connections are made of.
pub(super) trait Octets: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Octets for T {}

/// Opens a connection.
pub(super) type Connect =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Octets>>>>>>;

/// The connections to one server.
pub(super) struct Streams {
    connect: Connect,
    /// How long an idle connection is kept.
    expire: Duration,
    /// How long any is; zero for no limit.
    max_age: Duration,
    /// How many idle ones are kept; 0 for no limit.
    max_idle: usize,
    connections: RefCell<Vec<Rc<Connection>>>,
    counters: (Carrier, Arc<UpstreamCounters>),
}

struct Connection {
    waiting: Rc<Waiting>,
    out: mpsc::UnboundedSender<Vec<u8>>,
    opened: Instant,
    closed: Cell<bool>,
    /// It is one idle connection too many.
    surplus: Notify,
    /// A reply has come over it.
    proven: Cell<bool>,
}

impl Streams {
    pub(super) fn new(
        connect: Connect,
        (expire, max_age): (Duration, Duration),
        max_idle: usize,
        counters: (Carrier, Arc<UpstreamCounters>),
    ) -> Self {
        Self {
            counters,
            connect,
            expire,
            max_age,
            max_idle,
            connections: RefCell::default(),
        }
    }

    /// Sends the question and waits for its reply, for as long as the caller likes.
    pub(super) async fn ask(&self, request: &Rc<[u8]>) -> Result<Message, Fault> {
        let _trim = AtEnd(|| self.trim());
        loop {
            let connection = self.connection();
            if connection.waiting.len() >= IN_FLIGHT_MAX {
                return Err(Fault::Full);
            }
            let ticket = connection.waiting.enter(request);
            let message = ticket.message(request);
            let mut framed = Vec::with_capacity(2 + message.len());
            framed.extend((message.len() as u16).to_be_bytes());
            framed.extend(message);
            // If its task has just ended, the ticket says so.
            let _ = connection.out.send(framed);
            match ticket.outcome().await {
                // It had been idle and the server closed it meanwhile: no reason to complain.
                Err(Fault::Io { reused: true, .. }) => {}
                outcome => return outcome,
            }
        }
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
        let (carrier, counters) = &self.counters;
        connections.retain(|connection| !connection.closed.get());
        let fresh = |connection: &&Rc<Connection>| {
            self.max_age.is_zero() || connection.opened.elapsed() < self.max_age
        };
        let best = connections
            .iter()
            .filter(fresh)
            .min_by_key(|connection| connection.waiting.len());
        if let Some(best) = best
            && (best.waiting.len() < BUSY || connections.len() >= CONNECTIONS_MAX)
        {
            counters.connected(*carrier, true);
            return Rc::clone(best);
        }
        counters.connected(*carrier, false);
        let (out, questions) = mpsc::unbounded_channel();
        let connection = Rc::new(Connection {
            waiting: Rc::default(),
            out,
            opened: Instant::now(),
            closed: Cell::new(false),
            surplus: Notify::new(),
            proven: Cell::new(false),
        });
        connections.push(Rc::clone(&connection));
        let (task, connecting) = (Rc::clone(&connection), (self.connect)());
        let limits = (self.expire, self.max_age);
        tokio::task::spawn_local(async move {
            let end = match connecting.await {
                Ok(stream) => task.run(stream, questions, limits).await,
                Err(error) => Err(error),
            };
            let error = end.err();
            task.close(error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        });
        connection
    }
}

impl Connection {
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
        mut questions: mpsc::UnboundedReceiver<Vec<u8>>,
        (expire, max_age): (Duration, Duration),
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
            }
        };
        let idle = async {
            // Looks from time to time; to the second is exact enough.
            let mut idle_since = Instant::now();
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                if self.waiting.len() > 0 {
                    idle_since = Instant::now();
                }
                let old = !max_age.is_zero() && self.opened.elapsed() >= max_age;
                if idle_since.elapsed() >= expire || (old && self.waiting.len() == 0) {
                    return;
                }
            }
        };
        tokio::select! {
            end = write => end,
            end = read => end,
            () = idle => Ok(()),
            () = self.surplus.notified() => Ok(()),
        }
    }
}
