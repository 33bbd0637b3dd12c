//! Clients that ask again as soon as they are answered, until they are told to stop.
//!
//! A client never has more questions open than its window: whatever is lost then was lost by the
//! server, and not by a buffer that was full.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::dns::Query;

/// Sockets of a client; the kernel spreads them over the server's workers.
const SOCKETS: usize = 4;
/// Questions that a socket may have open. All of them together fit into the smallest buffer that a
/// worker's socket may have.
const WINDOW: usize = 16;
/// Whoever is not answered for so long is not answered at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Clients at work.
pub struct Flood {
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<Tally>>,
    start: Instant,
}

/// What became of their questions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Questions asked.
    pub sent: usize,
    /// Those with a reply without error.
    pub answered: usize,
    /// Those with an error.
    pub failed: usize,
    /// Questions a second.
    pub rate: usize,
}

impl Flood {
    /// Two clients that ask for the addresses of `name`.
    pub fn start(server: SocketAddr, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let query = Query::new(name, "A").wire(0);
        let client = |_| {
            let (stop, query) = (Arc::clone(&stop), query.clone());
            thread::spawn(move || ask(server, &query, &stop))
        };
        Self {
            clients: (0..2).map(client).collect(),
            stop,
            start: Instant::now(),
        }
    }

    /// Has them ask no more and wait for what is open.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until they are told to stop, or get no reply any more.
    pub fn finish(self) -> Tally {
        let mut sum = Tally::default();
        for client in self.clients {
            let tally = client.join().expect("clients do not panic");
            sum.sent += tally.sent;
            sum.answered += tally.answered;
            sum.failed += tally.failed;
        }
        sum.rate = (sum.sent as f64 / self.start.elapsed().as_secs_f64()) as usize;
        sum
    }
}

fn ask(server: SocketAddr, query: &[u8], stop: &AtomicBool) -> Tally {
    let open = |_| {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a free port");
        socket.connect(server).expect("loopback can be reached");
        let patience = socket.set_read_timeout(Some(PATIENCE));
        patience.expect("patience is more than nothing");
        socket
    };
    let sockets = (0..SOCKETS).map(open).collect::<Vec<_>>();
    let mut tally = Tally::default();
    let (mut query, mut reply) = (query.to_vec(), [0; 4_096]);
    let mut asks = true;
    while asks {
        asks = !stop.load(Ordering::Relaxed);
        for socket in &sockets {
            // The IDs tell a second reply from the first one to something else.
            let mut open = [false; WINDOW];
            for (id, open) in open.iter_mut().enumerate() {
                query[..2].copy_from_slice(&(id as u16).to_be_bytes());
                *open = socket.send(&query).is_ok();
                tally.sent += usize::from(*open);
            }
            while open.contains(&true) {
                let Ok(len) = socket.recv(&mut reply) else {
                    return tally;
                };
                let id = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
                let is_first = len > 3 && open.get_mut(id).is_some_and(std::mem::take);
                let is_good = reply[3] & 0xf == 0;
                tally.answered += usize::from(is_first && is_good);
                tally.failed += usize::from(!(is_first && is_good));
            }
        }
    }
    tally
}
