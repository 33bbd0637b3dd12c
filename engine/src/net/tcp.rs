//! DNS over TCP (RFC 7766), and over whatever else is a stream: pipelined queries, each answered
//! through `respond`, on tokio.
//!
//! A connection costs one task and the octets it has outstanding. Replies are gathered while
//! complete queries are at hand and written together; while a client does not read, its task
//! waits and reads nothing more from it, which costs the others nothing. Queries for the slow path
//! are answered when their replies are there, others overtake them.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, sleep_until, timeout};

use super::{https, tls};
use crate::chain::{Peer, Plan, Protocol};
use crate::limits::{MESSAGE_LEN_MAX, STREAM_IN_FLIGHT_MAX, TCP_CONNECTIONS_MAX};
use crate::plugins::timeouts::Timeouts;
use crate::plugins::transfer::Outgoing;
use crate::respond::{Response, Scratch, after_fault, respond, shed, unless_panic};
use crate::server::Shared;
use crate::slow::{ReplyTo, StreamReply};

/// Replies gathered before they are written, in octets.
const GATHERED_MAX: usize = 64 << 10;
const READ_LEN: usize = 4 << 10;

/// How long connections may take to end once they are to: as long as an exchange.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client may go on with a connection that is to end.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long to wait for what the kernel has and the runtime does not know of yet.
const LAST_READ: Duration = Duration::from_millis(50);

/// What accepts the connections to one address.
pub(crate) struct Acceptor {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Acceptor {
    /// Accepts from now on.
    pub(crate) fn start(shared: &Arc<Shared>, listener: TcpListener, address: SocketAddr) -> Self {
        let (closing, closes) = watch::channel(false);
        let task = tokio::spawn(accept(Arc::clone(shared), listener, address, closes));
        Self {
            address,
            closing,
            task,
        }
    }

    /// The address.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it take what waits to be accepted, and answer what has arrived, and close everything.
    pub(crate) fn close(&mut self) {
        self.closing.send_replace(true);
    }

    /// Waits until that is done, if it does not take too long.
    pub(crate) async fn closed(self) {
        // What is late has been told, and is not waited for.
        let _ = timeout(DRAIN, self.task).await;
    }
}

/// Accepts connections until it is to close, and returns when they are at their end.
async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    mut closes: watch::Receiver<bool>,
) {
    let (most, _) = connections_max();
    let slots = Arc::new(Semaphore::new(most));
    // Clients may go on coming for ever; what counts is what was there before.
    let mut end = None;
    loop {
        let next = async {
            let own = Arc::clone(&slots).acquire_owned().await;
            let common = Arc::clone(&shared.connections).acquire_owned().await;
            ((own, common), listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = sleep_until(end.unwrap_or_else(Instant::now).into()), if end.is_some() => break,
            () = is_closing(&mut closes), if end.is_none() => {
                end = Some(Instant::now() + LAST_READ);
                continue;
            }
            next = next => next,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: those in use will be given back.
                tracing::warn!(%error, "cannot accept a TCP connection");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let client = Client::new(Arc::clone(&shared), stream.local_addr(), remote, address);
        let closes = closes.clone();
        tokio::spawn(async move {
            // A connection that breaks is the client's affair.
            if let Ok(client) = client {
                let _ = greet(client, stream, closes).await;
            }
            drop(slot);
        });
    }
    drop(listener);
    let _ = slots.acquire_many(most as u32).await;
}

/// Connections that are served at once, those of an address and all: no more than a quarter and a half
/// of the descriptors that the process may have, so that some are left for upstreams whatever clients
/// do.
pub(crate) fn connections_max() -> (usize, usize) {
    let descriptors = getrlimit(Resource::Nofile).current;
    let all = descriptors.map_or(Semaphore::MAX_PERMITS, |most| (most / 2) as usize);
    let all = all.clamp(2, Semaphore::MAX_PERMITS);
    ((all / 2).min(TCP_CONNECTIONS_MAX), all)
}

async fn greet(client: Client, stream: TcpStream, closes: watch::Receiver<bool>) -> io::Result<()> {
    let Some((plan, index)) = client.plan() else {
        return Ok(());
    };
    let listener = &plan.listeners[index];
    let (protocol, timeouts) = (listener.protocol.clone(), listener.timeouts);
    drop(plan);
    match protocol {
        Protocol::Dns => serve(&client, stream, timeouts, closes).await,
        Protocol::Tls(config) => {
            let stream = tls::accept(&config.into(), stream, timeouts.read).await?;
            serve(&client, stream, timeouts, closes).await
        }
        Protocol::Https(config, statuses) => {
            let stream = tls::accept(&config.into(), stream, timeouts.read).await?;
            let client = Arc::new(client);
            let answer = move |message| answer_one(Arc::clone(&client), message);
            https::serve(stream, answer, (statuses, timeouts), closes).await
        }
    }
}

/// Returns once a connection is to end; never if there is nobody left to say so.
pub(super) async fn is_closing(closes: &mut watch::Receiver<bool>) {
    if closes.wait_for(|closing| *closing).await.is_err() {
        std::future::pending().await
    }
}

/// The reply to one message that came by itself.
async fn answer_one(client: Arc<Client>, message: Vec<u8>) -> Option<Vec<u8>> {
    let (sender, mut slow_reply) = mpsc::channel(1);
    let mut reply = None;
    let slow = {
        let mut scratch = Box::new(Scratch::default());
        let slow = answer(&client, &message, &mut scratch, &sender, |octets| {
            reply = Some(octets.to_vec());
        });
        client.shared.tcp_counters().add(&mut scratch.tally);
        slow
    };
    if slow {
        reply = slow_reply.recv().await.filter(|reply| !reply.is_empty());
    }
    reply
}

/// Who is at the other end, and what serves it.
struct Client {
    shared: Arc<Shared>,
    /// What was served here last. Without its sockets, which close when nobody has them any more.
    last: ArcSwap<Plan>,
    /// The listener's address.
    listener: SocketAddr,
    remote: SocketAddr,
    local: SocketAddr,
}

impl Client {
    fn new(
        shared: Arc<Shared>,
        local: io::Result<SocketAddr>,
        remote: SocketAddr,
        listener: SocketAddr,
    ) -> io::Result<Self> {
        Ok(Self {
            last: ArcSwap::new(Arc::clone(&shared.serving.load().plan)),
            shared,
            listener,
            remote,
            local: local?,
        })
    }

    /// What is served here, and the place of the listener. Where there is no listener any more, what
    /// has arrived is answered as before.
    fn plan(&self) -> Option<(Arc<Plan>, usize)> {
        let newest = Arc::clone(&self.shared.serving.load().plan);
        if let Some(index) = newest.find(self.listener) {
            if !Arc::ptr_eq(&newest, &self.last.load()) {
                self.last.store(Arc::clone(&newest));
            }
            return Some((newest, index));
        }
        let last = self.last.load_full();
        let index = last.find(self.listener)?;
        Some((last, index))
    }
}

/// Serves one connection until it ends or idles.
async fn serve(
    client: &Client,
    stream: impl AsyncRead + AsyncWrite,
    timeouts: Timeouts,
    mut closes: watch::Receiver<bool>,
) -> io::Result<()> {
    let stream = std::pin::pin!(stream);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut scratch = Box::new(Scratch::default());
    let mut unread = Vec::with_capacity(READ_LEN);
    let mut replies = Vec::new();
    let (sender, mut slow_replies) = mpsc::channel(STREAM_IN_FLIGHT_MAX);
    let mut in_flight = 0;
    let mut ended = false;
    let mut queries_left = timeouts
        .queries_max
        .map_or(u64::MAX, |most| most.get().into());
    // When the next query must be there, all of it.
    let mut next_query = Instant::now() + timeouts.read;
    // Until when a connection that is to end is read from.
    let mut goodbye = None;
    loop {
        let mut taken = 0;
        while queries_left > 0
            && in_flight < STREAM_IN_FLIGHT_MAX
            && replies.len() < GATHERED_MAX
            && let Some(message) = split_message(&unread[taken..])
        {
            taken += 2 + message.len();
            queries_left -= 1;
            let slow = answer(client, message, &mut scratch, &sender, |reply| {
                frame(reply, &mut replies);
            });
            in_flight += usize::from(slow);
            if let Some(mut outgoing) = scratch.outgoing.take() {
                // One message at a time, as fast as the client reads them.
                while next_message(&mut outgoing, &mut replies) {
                    write_out(&mut writer, &mut replies, timeouts.write).await?;
                    // The others have their turn between two messages.
                    yield_now().await;
                }
                tracing::info!("plugin/transfer: sent {outgoing} to {}", client.remote.ip());
            }
        }
        unread.drain(..taken);
        ended |= queries_left == 0;
        if taken > 0 {
            next_query = Instant::now() + timeouts.idle;
        }
        while let Ok(reply) = slow_replies.try_recv() {
            in_flight -= 1;
            frame(&reply, &mut replies);
        }
        if !replies.is_empty() {
            client.shared.tcp_counters().add(&mut scratch.tally);
            write_out(&mut writer, &mut replies, timeouts.write).await?;
            next_query = Instant::now() + timeouts.idle;
            continue;
        }
        if taken > 0 {
            continue;
        }
        if ended && in_flight == 0 {
            if queries_left == 0 {
                part(&mut reader, &mut writer).await;
            }
            return Ok(());
        }
        if !ended && goodbye.is_some_and(|end| end <= Instant::now()) {
            ended = true;
            continue;
        }
        unread.reserve(READ_LEN);
        tokio::select! {
            biased;
            read = reader.read_buf(&mut unread), if !ended && in_flight < STREAM_IN_FLIGHT_MAX => {
                ended = read? == 0;
            }
            Some(reply) = slow_replies.recv() => {
                in_flight -= 1;
                frame(&reply, &mut replies);
                if !replies.is_empty() {
                    write_out(&mut writer, &mut replies, timeouts.write).await?;
                }
                next_query = Instant::now() + timeouts.idle;
            }
            () = is_closing(&mut closes), if goodbye.is_none() => {
                goodbye = Some(Instant::now() + GOODBYE);
            }
            () = sleep(LAST_READ), if goodbye.is_some() && !ended => ended = true,
            () = sleep_until(next_query.into()) => {
                if in_flight == 0 {
                    return Ok(());
                }
                next_query = Instant::now() + timeouts.idle;
            }
        }
    }
}

/// Sends what was gathered.
async fn write_out(
    writer: &mut (impl AsyncWrite + Unpin),
    replies: &mut Vec<u8>,
    limit: Duration,
) -> io::Result<()> {
    timeout(limit, writer.write_all(replies)).await??;
    timeout(limit, writer.flush()).await??;
    replies.clear();
    replies.shrink_to(READ_LEN);
    Ok(())
}

/// Ends a connection that a client still writes to. Closing it at once would be a reset, which may
/// take replies away that the client has not read yet.
async fn part(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) {
    let leave = async {
        writer.shutdown().await?;
        tokio::io::copy(reader, &mut tokio::io::sink()).await
    };
    // What a client makes of it is its own affair.
    let _ = timeout(GOODBYE, leave).await;
}

/// Appends the next message of a transfer. `false` after the last.
fn next_message(outgoing: &mut Outgoing, replies: &mut Vec<u8>) -> bool {
    ROOM.with_borrow_mut(|room| {
        room.resize(MESSAGE_LEN_MAX, 0);
        let len = outgoing.next_message(room);
        len.inspect(|&len| frame(&room[..len], replies)).is_some()
    })
}

/// Appends a reply with its length; an empty one stands for none.
fn frame(reply: &[u8], replies: &mut Vec<u8>) {
    if !reply.is_empty() {
        let prefix = u16::try_from(reply.len()).expect("replies are limited to 65,535 octets");
        replies.extend(prefix.to_be_bytes());
        replies.extend(reply);
    }
}

/// The first complete message of `octets`, without its length.
fn split_message(octets: &[u8]) -> Option<&[u8]> {
    let (len, rest) = octets.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

/// Answers one message through `take`, or hands it to the slow path, which sends exactly one reply,
/// an empty one if there is none; then it is `true`.
fn answer(
    client: &Client,
    message: &[u8],
    scratch: &mut Scratch,
    slow_replies: &mpsc::Sender<Vec<u8>>,
    take: impl FnOnce(&[u8]),
) -> bool {
    let Some((plan, index)) = client.plan() else {
        return false;
    };
    let listener = &plan.listeners[index];
    let peer = Peer {
        remote: client.remote,
        local: client.local,
        stream: true,
        answer_from: None,
        received: Instant::now(),
    };
    let slow = &client.shared.slow;
    let at = (&plan, index);
    let recorder = Arc::clone(&client.shared.serving.load().stream_recorder);
    ROOM.with_borrow_mut(|room| {
        room.resize(MESSAGE_LEN_MAX, 0);
        let response = unless_panic(|| respond(message, peer, listener, &plan.log, scratch, room));
        let Some(response) = response else {
            let len = after_fault(message, (peer, listener), scratch, room);
            recorder.record(&scratch.seen, || peer.received.elapsed());
            if let Some(len) = len {
                take(&room[..len]);
            }
            return false;
        };
        let len = match response {
            Response::Reply(len) => Some(len),
            Response::None => None,
            Response::ReplyAndRefresh(len) => {
                // No room: somebody else will find it worth refreshing.
                let _ = slow.submit(message, scratch.name(), at, peer, ReplyTo::Nobody);
                Some(len)
            }
            Response::Slow => {
                let reply = ReplyTo::Stream(StreamReply::new(slow_replies.clone()));
                match slow.submit(message, scratch.name(), at, peer, reply) {
                    Ok(()) => {
                        recorder.record(&scratch.seen, || peer.received.elapsed());
                        return true;
                    }
                    Err(ReplyTo::Stream(mut reply)) => reply.cancel(),
                    Err(_) => {}
                }
                shed(message, true, scratch, room)
            }
        };
        recorder.record(&scratch.seen, || peer.received.elapsed());
        if let Some(len) = len {
            take(&room[..len]);
        }
        false
    })
}

thread_local! {
    /// Where a reply of any size is written before its connection keeps just what it needs.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
