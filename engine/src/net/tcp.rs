//! DNS over TCP (RFC 7766): pipelined queries, each answered through `respond`, on tokio.
//!
//! A connection costs one task and the octets it has outstanding. Replies are gathered while
//! complete queries are at hand and written together; while a client does not read, its task
//! waits and reads nothing more from it, which costs the others nothing.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::chain::Peer;
use crate::limits::{MESSAGE_LEN_MAX, TCP_CONNECTIONS_MAX};
use crate::respond::{Response, Scratch, respond};
use crate::server::Shared;

/// A connection without a query for this long is closed, as CoreDNS does.
const IDLE: Duration = Duration::from_secs(10);
/// How long a client may take to read what waits for it.
const WRITE: Duration = Duration::from_secs(5);
/// Replies gathered before they are written, in octets.
const GATHERED_MAX: usize = 64 << 10;
const READ_LEN: usize = 4 << 10;

/// Accepts connections until the runtime ends.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, index: usize) {
    let slots = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: those in use will be given back.
                tracing::warn!(%error, "cannot accept a TCP connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A connection that breaks is the client's affair.
            let _ = serve(&shared, stream, remote, index).await;
            drop(slot);
        });
    }
}

async fn serve(
    shared: &Shared,
    mut stream: TcpStream,
    remote: SocketAddr,
    index: usize,
) -> io::Result<()> {
    let local = stream.local_addr()?;
    let mut scratch = Box::new(Scratch::default());
    let mut unread = Vec::with_capacity(READ_LEN);
    let mut replies = Vec::new();
    loop {
        let mut taken = 0;
        while let Some(message) = split_message(&unread[taken..]) {
            let peer = Peer {
                remote,
                local,
                stream: true,
                received: Instant::now(),
            };
            answer(shared, index, message, peer, &mut scratch, &mut replies);
            taken += 2 + message.len();
            if replies.len() >= GATHERED_MAX {
                break;
            }
        }
        unread.drain(..taken);
        if !replies.is_empty() {
            shared.tcp_counters().add(&mut scratch.tally);
            timeout(WRITE, stream.write_all(&replies)).await??;
            replies.clear();
            replies.shrink_to(READ_LEN);
            continue;
        }
        unread.reserve(READ_LEN);
        if timeout(IDLE, stream.read_buf(&mut unread)).await?? == 0 {
            return Ok(());
        }
    }
}

/// The first complete message of `octets`, without its length.
fn split_message(octets: &[u8]) -> Option<&[u8]> {
    let (len, rest) = octets.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

fn answer(
    shared: &Shared,
    index: usize,
    message: &[u8],
    peer: Peer,
    scratch: &mut Scratch,
    replies: &mut Vec<u8>,
) {
    let plan = shared.plan.load();
    let Some(listener) = plan.listeners.get(index) else {
        return;
    };
    ROOM.with_borrow_mut(|room| {
        room.resize(MESSAGE_LEN_MAX, 0);
        let response = respond(message, peer, listener, &plan.log, scratch, room);
        if let Response::Reply(len) = response {
            let prefix = u16::try_from(len).expect("replies are limited to 65,535 octets");
            replies.extend(prefix.to_be_bytes());
            replies.extend(&room[..len]);
        }
    });
}

thread_local! {
    /// Where a reply of any size is written before its connection keeps just what it needs.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
