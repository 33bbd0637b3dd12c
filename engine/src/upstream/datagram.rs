//! Questions over UDP, on a few connected sockets each.
//!
//! A socket carries many questions, told apart by random IDs, and is given up after some of them:
//! source ports change all the time, and whoever wants to forge a reply has to guess both
//! (RFC 5452). A socket at which somebody guesses is given up at once. Connected sockets take datagrams of the server's address only, and tell at once when
//! nobody listens there.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::waiting::{AtEnd, Fault, Waiting};
use super::{Carrier, UpstreamCounters};
use crate::limits::MESSAGE_LEN_MAX;
use crate::slow::io::{Backend, Socket};
use crate::wire::Message;

/// Sockets among which a question chooses by chance.
const SOCKETS: usize = 8;
/// Sockets at most, when many questions are in flight.
const SOCKETS_MAX: usize = 64;
/// Questions that one socket carries in its life.
const QUESTIONS_MAX: u32 = 256;
/// Questions in flight on one socket.
const IN_FLIGHT_MAX: usize = 128;

/// The sockets to one server.
pub(super) struct Datagrams {
    backend: Backend,
    address: SocketAddr,
    source: Option<IpAddr>,
    /// How long an idle socket is kept.
    expire: Duration,
    /// How many idle ones are kept; 0 for no limit.
    max_idle: usize,
    channels: RefCell<Vec<Rc<Channel>>>,
    counters: Arc<UpstreamCounters>,
}

struct Channel {
    socket: Rc<Socket>,
    waiting: Rc<Waiting>,
    left: Cell<u32>,
    used: Cell<Instant>,
    broken: Rc<Cell<bool>>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        // The task that reads ends with this.
        self.socket.close();
    }
}

impl Datagrams {
    pub(super) fn new(
        backend: Backend,
        (address, source): (SocketAddr, Option<IpAddr>),
        (expire, max_idle): (Duration, usize),
        counters: Arc<UpstreamCounters>,
    ) -> Self {
        Self {
            counters,
            backend,
            address,
            source,
            expire,
            max_idle,
            channels: RefCell::default(),
        }
    }

    /// Sends the question and waits for its reply, for as long as the caller likes.
    pub(super) async fn ask(&self, request: &Rc<[u8]>) -> Result<Message, Fault> {
        let _trim = AtEnd(|| self.trim());
        let channel = self.channel()?;
        channel.ask(request).await
    }

    /// The same from a socket of its own.
    pub(super) async fn ask_alone(&self, request: &Rc<[u8]>) -> Result<Message, Fault> {
        self.open()?.ask(request).await
    }

    /// Closes idle sockets beyond the limit.
    fn trim(&self) {
        if self.max_idle == 0 {
            return;
        }
        let mut idle = 0;
        self.channels.borrow_mut().retain(|channel| {
            let is_idle = Rc::strong_count(channel) == 1 && channel.waiting.len() == 0;
            idle += usize::from(is_idle);
            !is_idle || idle <= self.max_idle
        });
    }

    /// Closes sockets that nobody uses any more. `false` if none is left.
    pub(super) fn purge(&self) -> bool {
        let mut channels = self.channels.borrow_mut();
        channels.retain(|channel| {
            Rc::strong_count(channel) > 1
                || channel.waiting.len() > 0
                || channel.used.get().elapsed() < self.expire
        });
        !channels.is_empty()
    }

    fn channel(&self) -> Result<Rc<Channel>, Fault> {
        let mut channels = self.channels.borrow_mut();
        let is_open = |channel: &Channel| channel.left.get() > 0 && !channel.broken.get();
        let has_room =
            |channel: &&Rc<Channel>| is_open(channel) && channel.waiting.len() < IN_FLIGHT_MAX;
        // Spent sockets stay until their last reply is in.
        channels.retain(|channel| is_open(channel) || Rc::strong_count(channel) > 1);
        let usable = channels.iter().filter(has_room).count();
        let want = rand::random_range(0..SOCKETS);
        if usable > want || (usable > 0 && channels.len() >= SOCKETS_MAX) {
            let nth = want % usable;
            let mut rooms = channels.iter().filter(has_room);
            self.counters.connected(Carrier::Udp, true);
            return Ok(Rc::clone(rooms.nth(nth).expect("fewer than were counted")));
        }
        if channels.len() >= SOCKETS_MAX {
            return Err(Fault::Full);
        }
        let channel = Rc::new(self.open()?);
        channels.push(Rc::clone(&channel));
        Ok(channel)
    }

    fn open(&self) -> Result<Channel, Fault> {
        self.counters.connected(Carrier::Udp, false);
        let socket = Socket::connect(self.backend, self.address, self.source);
        let socket = Rc::new(socket.map_err(Fault::io)?);
        let waiting = Rc::<Waiting>::default();
        let broken = Rc::<Cell<bool>>::default();
        tokio::task::spawn_local(read(
            Rc::clone(&socket),
            Rc::clone(&waiting),
            Rc::clone(&broken),
            Arc::clone(&self.counters),
        ));
        Ok(Channel {
            socket,
            waiting,
            left: Cell::new(QUESTIONS_MAX),
            used: Cell::new(Instant::now()),
            broken,
        })
    }
}

impl Channel {
    async fn ask(&self, request: &Rc<[u8]>) -> Result<Message, Fault> {
        self.left.set(self.left.get() - 1);
        self.used.set(Instant::now());
        let ticket = self.waiting.enter(request);
        let message = ticket.message(request);
        self.socket.send(message).await.map_err(Fault::io)?;
        ticket.outcome().await
    }
}

/// Delivers replies until the socket is closed.
async fn read(
    socket: Rc<Socket>,
    waiting: Rc<Waiting>,
    broken: Rc<Cell<bool>>,
    counters: Arc<UpstreamCounters>,
) {
    let mut buf = Vec::with_capacity(MESSAGE_LEN_MAX);
    loop {
        buf.clear();
        let result;
        (result, buf) = socket.receive(buf).await;
        match result {
            Ok(()) if socket.is_closed() => return,
            Ok(()) => {
                waiting.deliver(&buf);
                if waiting.is_guessed_at() && !broken.replace(true) {
                    counters.forged();
                    waiting.fail(&Fault::Forged);
                }
            }
            // Nobody listens there, says an ICMP message: that ends every question in flight.
            Err(error) => {
                let gone = socket.is_closed();
                waiting.fail(&Fault::io(error));
                broken.set(true);
                if gone {
                    return;
                }
            }
        }
    }
}
