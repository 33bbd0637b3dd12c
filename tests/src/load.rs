//! Clients at a steady rate, each asking something new, and what became of their questions.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::dns::{Query, decode};
use crate::upstream::wild_address;

/// What is asked, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Who is asked.
    pub server: SocketAddr,
    /// Questions a second.
    pub rate: u32,
    /// For how long.
    pub time: Duration,
    /// One question in so many is about a name of its own; the others are about a hundred names
    /// that come again and again. 1 for names of their own only.
    pub new_every: u32,
}

/// What became of the questions.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Questions asked.
    pub sent: usize,
    /// Those with the right answer.
    pub right: usize,
    /// Those with an error and nothing else: SERVFAIL, REFUSED; or FORMERR, CoreDNS's word for an
    /// upstream that answers something else.
    pub shed: usize,
    /// Those with any other reply.
    pub wrong: Vec<String>,
    /// Those without a reply after [`PATIENCE`].
    pub unanswered: usize,
    /// Replies to nothing that was asked, and second ones.
    pub surplus: usize,
    /// When each answered question was asked, from the start on, and how long the reply took.
    pub delays: Vec<(Duration, Duration)>,
}

impl Outcome {
    /// The delay that this share of the replies (0 to 1) does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut delays: Vec<_> = self.delays.iter().map(|(_, delay)| *delay).collect();
        delays.sort_unstable();
        let place = (delays.len().saturating_sub(1) as f64 * share).round() as usize;
        delays.get(place).copied().unwrap_or_default()
    }

    /// How many replies took longer than this, of the questions asked after `from`.
    pub fn later_than(&self, limit: Duration, from: Duration) -> usize {
        let late = |(at, delay): &&(Duration, Duration)| *at >= from && *delay > limit;
        self.delays.iter().filter(late).count()
    }

    /// True when every question had its one reply, and none a wrong one.
    pub fn adds_up(&self) -> bool {
        self.wrong.is_empty()
            && self.unanswered == 0
            && self.surplus == 0
            && self.sent == self.right + self.shed
    }

    /// The figures in one line.
    pub fn summary(&self) -> String {
        format!(
            "{} sent: {} right, {} errors, {} wrong, {} unanswered, {} surplus; \
             delays: median {:?}, 99 % {:?}, most {:?}",
            self.sent,
            self.right,
            self.shed,
            self.wrong.len(),
            self.unanswered,
            self.surplus,
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
        )
    }
}

/// A question that waits for its reply.
struct Waiting {
    name: String,
    at: Instant,
}

impl Load {
    /// Asks for as long as told, then waits for what is missing.
    pub fn run(&self) -> Outcome {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let socket = UdpSocket::bind((any, 0)).expect("a free port");
        socket
            .connect(self.server)
            .expect("loopback can be reached");
        socket
            .set_nonblocking(true)
            .expect("sockets can be without blocking");
        SockRef::from(&socket)
            .set_recv_buffer_size(RECEIVE_BUFFER)
            .expect("a larger buffer, as far as the kernel allows");
        let mut outcome = Outcome::default();
        let mut waiting: HashMap<u16, Waiting> = HashMap::new();
        let start = Instant::now();
        let mut id = 0_u16;
        loop {
            let now = Instant::now();
            let due = (self.time.min(now - start).as_secs_f64() * f64::from(self.rate)) as usize;
            // After a pause of the machine what is due is asked late, not in one burst.
            for _ in outcome.sent..due.min(outcome.sent + BURST) {
                id = next_free(id, &waiting);
                let name = self.name(outcome.sent);
                let query = Query::new(&name, "A").wire(id);
                let at = Instant::now();
                socket.send(&query).expect("the server's port is open");
                waiting.insert(id, Waiting { name, at });
                outcome.sent += 1;
            }
            receive(&socket, &mut waiting, &mut outcome, start);
            let asking = now - start < self.time || outcome.sent < due;
            let asked = waiting.len();
            waiting.retain(|_, waiting| waiting.at.elapsed() < PATIENCE);
            outcome.unanswered += asked - waiting.len();
            if !asking && waiting.is_empty() {
                break;
            }
            thread::sleep(TICK);
        }
        // A second reply to the last question would come now.
        thread::sleep(Duration::from_millis(50));
        receive(&socket, &mut waiting, &mut outcome, start);
        outcome
    }

    fn name(&self, n: usize) -> String {
        if n.is_multiple_of(self.new_every as usize) {
            format!("q{n}.wild.test.")
        } else {
            format!("popular{}.wild.test.", n % 100)
        }
    }
}

fn next_free(mut id: u16, waiting: &HashMap<u16, Waiting>) -> u16 {
    loop {
        id = id.wrapping_add(1);
        if !waiting.contains_key(&id) {
            return id;
        }
    }
}

fn receive(
    socket: &UdpSocket,
    waiting: &mut HashMap<u16, Waiting>,
    outcome: &mut Outcome,
    start: Instant,
) {
    let mut buffer = [0; 4096];
    while let Ok(len) = socket.recv(&mut buffer) {
        let reply = decode(&buffer[..len], 0);
        let id = buffer[..len].first_chunk();
        let id = id.map_or(0, |id| u16::from_be_bytes(*id));
        let Some(done) = waiting.remove(&id) else {
            outcome.surplus += 1;
            continue;
        };
        outcome.delays.push((done.at - start, done.at.elapsed()));
        let asked = reply.q.first().is_some_and(|[name, ..]| *name == done.name);
        if ERRORS.contains(&reply.rcode.as_str()) && asked && reply.an.is_empty() {
            outcome.shed += 1;
        } else if asked && reply.addresses() == [wild_address(&done.name)] {
            outcome.right += 1;
        } else {
            outcome.wrong.push(format!("{}: {reply:?}", done.name));
        }
    }
}

/// Longer than the five seconds that the server gives its upstreams.
pub const PATIENCE: Duration = Duration::from_secs(7);
const ERRORS: [&str; 3] = ["SERVFAIL", "REFUSED", "FORMERR"];
const TICK: Duration = Duration::from_micros(500);
const BURST: usize = 32;
const RECEIVE_BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Fault, Upstream};

    #[test]
    fn what_goes_wrong_shows() {
        for (fault, adds_up, right, shed) in [
            (None, true, 40, 0),
            (Some(Fault::Rcode(2)), true, 0, 40),
            (Some(Fault::Rcode(3)), false, 0, 0),
            (Some(Fault::WrongQuestion), false, 0, 0),
            (Some(Fault::Repeated(2)), false, 40, 0),
        ] {
            let upstream = Upstream::start("a");
            if let Some(fault) = &fault {
                upstream.misbehave("*", fault.clone());
            }
            let load = Load {
                server: upstream.address(),
                rate: 400,
                time: Duration::from_millis(100),
                new_every: 2,
            };
            let outcome = load.run();
            assert_eq!(outcome.sent, 40);
            assert_eq!(
                (outcome.right, outcome.shed),
                (right, shed),
                "{fault:?}: {}",
                outcome.summary()
            );
            assert_eq!(outcome.adds_up(), adds_up, "{}", outcome.summary());
            assert_eq!(upstream.count("q0.wild.test."), 1);
        }
    }

    #[test]
    fn quantiles_and_late_replies_are_counted() {
        let millis = Duration::from_millis;
        let outcome = Outcome {
            delays: (1..=100).map(|n| (millis(n), millis(n))).collect(),
            ..Outcome::default()
        };
        assert_eq!(outcome.quantile(0.0), millis(1));
        assert_eq!(outcome.quantile(1.0), millis(100));
        assert_eq!(outcome.later_than(millis(90), Duration::ZERO), 10);
        assert_eq!(outcome.later_than(millis(90), millis(96)), 5);
    }
}
