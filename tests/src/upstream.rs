//! A name server to forward to: real sockets, scripted answers, scripted faults.
//!
//! It answers over UDP and TCP what [`zone`] says, notes every query with its ID and where it came
//! from, and misbehaves where a test told it to. Names below `wild.test.` have an address that
//! depends on the name, so that an answer to another question shows.

mod fault;
mod message;
mod sockets;
mod tls;
mod zone;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::fault::{FORGED, Fault};
use self::message::Message;
use self::sockets::Sockets;
pub use self::tls::TlsFront;
use self::zone::Zone;
use crate::dns::decode;
use crate::martlet::free_port;

/// How a query came.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    /// As a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

impl Transport {
    const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A query as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// QNAME in lower case, with the dot at its end.
    pub name: String,
    /// QTYPE's mnemonic.
    pub rtype: String,
    /// How it came.
    pub over: Transport,
    /// Its ID.
    pub id: u16,
    /// Where it came from.
    pub peer: SocketAddr,
    /// When.
    pub at: Instant,
}

/// The server. It ends when dropped.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    sockets: Option<Sockets>,
}

/// What all its threads see.
struct Shared {
    zone: Mutex<Zone>,
    asked: Mutex<Vec<Asked>>,
    faults: Mutex<BTreeMap<String, Planned>>,
    /// The notes of a long run would fill the memory.
    forgetful: AtomicBool,
}

struct Planned {
    fault: Fault,
    /// How often still; None for ever.
    left: Option<usize>,
    over: Option<Transport>,
}

impl Upstream {
    /// Starts a server on a free port of 127.0.0.1. `ident` is what it says to `who.up.test. TXT`.
    pub fn start(ident: &str) -> Self {
        Self::start_on(ident, Ipv4Addr::LOCALHOST.into())
    }

    /// As [`Upstream::start`], on another address of this machine.
    pub fn start_on(ident: &str, address: IpAddr) -> Self {
        // Whoever took the port between the look and the bind is not there at the next try.
        let mut last = None;
        for _ in 0..20 {
            match Self::bind(ident, SocketAddr::new(address, free_port())) {
                Ok(upstream) => return upstream,
                Err(error) => last = Some(error),
            }
        }
        panic!("no upstream on {address}: {last:?}");
    }

    /// Starts a server on this address.
    ///
    /// # Errors
    ///
    /// The address cannot be had.
    pub fn bind(ident: &str, address: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            zone: Mutex::new(Zone::new(ident)),
            asked: Mutex::default(),
            faults: Mutex::default(),
            forgetful: AtomicBool::new(false),
        });
        let sockets = Sockets::open(address, &shared)?;
        Ok(Self {
            address,
            shared,
            sockets: Some(sockets),
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on answers about this name go wrong. `*` is every name without a fault of its own.
    pub fn misbehave(&self, name: &str, fault: Fault) {
        self.plan(name, fault, None, None);
    }

    /// As [`Upstream::misbehave`], so many times only.
    pub fn misbehave_times(&self, times: usize, name: &str, fault: Fault) {
        self.plan(name, fault, Some(times), None);
    }

    /// As [`Upstream::misbehave`], over one transport only.
    pub fn misbehave_over(&self, over: Transport, name: &str, fault: Fault) {
        self.plan(name, fault, None, Some(over));
    }

    fn plan(&self, name: &str, fault: Fault, left: Option<usize>, over: Option<Transport>) {
        let planned = Planned { fault, left, over };
        lock(&self.shared.faults).insert(name.to_ascii_lowercase(), planned);
    }

    /// All is well again.
    pub fn behave(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Stops listening and closes all connections.
    pub fn go_down(&mut self) {
        self.sockets = None;
    }

    /// Listens again.
    pub fn come_up(&mut self) {
        let open = || Sockets::open(self.address, &self.shared).ok();
        let sockets = crate::process::wait_until(Duration::from_secs(5), open);
        self.sockets = Some(sockets.expect("the address was ours a moment ago"));
    }

    /// Everything that was asked, health probes (`. NS`) included.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// What was asked about this name.
    pub fn asked_for(&self, name: &str) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.name.eq_ignore_ascii_case(name));
        asked
    }

    /// How often this name was asked for.
    pub fn count(&self, name: &str) -> usize {
        self.asked_for(name).len()
    }

    /// How often this name was asked for over this transport.
    pub fn count_over(&self, over: Transport, name: &str) -> usize {
        let asked = self.asked_for(name);
        asked.iter().filter(|asked| asked.over == over).count()
    }

    /// Places that queries came from.
    pub fn peers(&self) -> HashSet<SocketAddr> {
        let asked = lock(&self.shared.asked);
        asked.iter().map(|asked| asked.peer).collect()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        lock(&self.shared.asked).clear();
    }

    /// Notes nothing from now on.
    pub fn be_forgetful(&self) {
        self.shared.forgetful.store(true, Ordering::Relaxed);
        self.forget();
    }
}

/// The address of a name below `wild.test.`.
pub fn wild_address(name: &str) -> IpAddr {
    zone::wild_address(name).into()
}

impl Shared {
    /// What to do about a query; None for silence. What cannot be read gets no answer either.
    fn handle(&self, query: &[u8], over: Transport, peer: SocketAddr) -> Option<Reaction> {
        let parsed = decode(query, 0);
        let id = u16::from_be_bytes(*query.first_chunk()?);
        let question = parsed.q.first()?;
        if parsed.malformed.is_some() || parsed.qr.is_none() {
            return None;
        }
        let name = question[0].to_ascii_lowercase();
        if !self.forgetful.load(Ordering::Relaxed) {
            lock(&self.asked).push(Asked {
                name: name.clone(),
                rtype: question[2].clone(),
                over,
                id,
                peer,
                at: Instant::now(),
            });
        }
        let fault = self.fault(&name, over);
        let (message, delay) = lock(&self.zone).answer(id, &parsed, over)?;
        Some(Reaction {
            message,
            delay,
            fault,
        })
    }

    fn fault(&self, name: &str, over: Transport) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let key = if faults.contains_key(name) { name } else { "*" };
        let planned = faults.get_mut(key)?;
        if planned.over.is_some_and(|only| only != over) || planned.left == Some(0) {
            return None;
        }
        if let Some(left) = &mut planned.left {
            *left -= 1;
        }
        Some(planned.fault.clone())
    }
}

/// What a query leads to.
struct Reaction {
    message: Message,
    delay: Duration,
    fault: Option<Fault>,
}

/// A panic elsewhere is reported there; the state is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;
    use crate::dns::{Edns, Query};

    #[test]
    fn names_have_their_answers() {
        let upstream = Upstream::start("x");
        let client = Client::new(upstream.address());
        for (name, rtype, rcode, flags, expected) in [
            ("a.up.test.", "A", "NOERROR", "RD RA", "192.0.2.1"),
            ("upper.up.test.", "A", "NOERROR", "RD RA", "192.0.2.61"),
            ("AD.up.test.", "A", "NOERROR", "RD RA AD", "192.0.2.62"),
            ("servfail.up.test.", "A", "SERVFAIL", "RD RA", ""),
            ("count.up.test.", "A", "NOERROR", "RD RA", "192.0.2.1"),
            ("count.up.test.", "A", "NOERROR", "RD RA", "192.0.2.2"),
            ("flip.up.test.", "A", "NOERROR", "RD RA", "192.0.2.1"),
            ("flip.up.test.", "A", "SERVFAIL", "RD RA", ""),
            ("big.up.test.", "TXT", "NOERROR", "TC RD RA", ""),
            ("c1.up.test.", "A", "NOERROR", "RD RA", "192.0.2.30"),
            ("nothing.up.test.", "A", "NXDOMAIN", "RD RA", ""),
            ("nodata1.up.test.", "A", "NOERROR", "RD RA", ""),
        ] {
            let reply = client.ask(name, rtype);
            assert_eq!((reply.rcode.as_str(), reply.flags.as_str()), (rcode, flags));
            assert_eq!(reply.malformed, None, "{name}");
            let found: Vec<_> = reply.addresses().iter().map(IpAddr::to_string).collect();
            assert_eq!(found.join(" "), expected, "{name} {rtype}: {reply:?}");
        }
        let wild = client.ask("Some.wild.test.", "A");
        assert_eq!(wild.addresses(), [wild_address("some.WILD.test.")]);
        assert_eq!(client.ask_tcp("big.up.test.", "TXT").an.len(), 1);
        let dnssec = Edns {
            flags: 0x8000,
            ..Edns::default()
        };
        let signed = client.send(&Query::new("signed.up.test.", "A").with_edns(dnssec));
        assert_eq!(signed.expect("it answers").an.len(), 2);
        assert_eq!(upstream.count("count.up.test."), 2);
        assert_eq!(upstream.count_over(Transport::Tcp, "big.up.test."), 1);
    }

    #[test]
    fn faults_are_played() {
        let mut upstream = Upstream::start("x");
        let client = Client {
            patience: Duration::from_millis(300),
            ..Client::new(upstream.address())
        };
        let ask = || client.send(&Query::new("a.up.test.", "A"));
        upstream.misbehave("A.up.test.", Fault::Silence);
        assert_eq!(ask(), None);
        upstream.misbehave_times(1, "*", Fault::Rcode(5));
        upstream.misbehave_times(0, "a.up.test.", Fault::Silence);
        assert_eq!(ask().map(|reply| reply.rcode), Some("NOERROR".to_owned()));
        upstream.behave();
        upstream.misbehave_over(Transport::Udp, "a.up.test.", Fault::Truncated);
        assert!(ask().is_some_and(|reply| reply.has("TC") && reply.an.is_empty()));
        assert!(!client.ask_tcp("a.up.test.", "A").has("TC"));
        upstream.misbehave("*", Fault::HalfAndClose);
        upstream.misbehave("a.up.test.", Fault::HalfAndClose);
        let mut session = client.connect();
        let query = Query::new("a.up.test.", "A").wire(9);
        session.send(&query).expect("it reads");
        assert!(session.receive().is_err());
        upstream.behave();
        upstream.go_down();
        assert_eq!(ask(), None);
        upstream.come_up();
        assert!(ask().is_some());
    }
}
