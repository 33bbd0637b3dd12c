//! Servers inside the bench's own process, one worker each, for benches that are no criterion benches.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use martlet_engine::chain::{Listener, Plan};
use martlet_engine::index::ClusterIndex;
use martlet_engine::log::{Line, LogSink};
use martlet_engine::net::io::IoChoice;
use martlet_engine::server::Server;

use crate::fixture;

/// What `cargo bench` or `cargo test --benches` asks of a bench.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effort {
    /// To measure.
    Measure,
    /// To see whether it runs at all.
    Try,
}

impl Effort {
    /// Reads the arguments that criterion benches know too. `None` if there is nothing to do.
    pub fn from_arguments(name: &str) -> Option<Self> {
        let (mut measure, mut test, mut list, mut filter) = (false, false, false, None);
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                // `cargo bench` says so; `cargo test --benches` does not, and wants a quick try.
                "--bench" => measure = true,
                "--test" => test = true,
                "--list" => list = true,
                other if !other.starts_with('-') => filter = Some(argument),
                _ => {}
            }
        }
        if list || filter.is_some_and(|filter| !name.contains(&filter)) {
            return None;
        }
        Some(if measure && !test {
            Self::Measure
        } else {
            Self::Try
        })
    }
}

/// A running server.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    server: Server,
    _lines: Receiver<Line>,
}

impl Served {
    /// Starts a server with one worker on a free port. `adapt` may change its listener first.
    ///
    /// # Errors
    ///
    /// If there is no free port.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(
        index: Arc<ClusterIndex>,
        adapt: impl FnOnce(&mut Listener),
    ) -> Result<Self, Box<dyn Error>> {
        let address = free_address()?;
        let (log, lines) = LogSink::new();
        let mut listener = fixture::listener(index, vec![address]);
        adapt(&mut listener);
        let metrics = fixture::count(&mut listener);
        let plan = Plan {
            listeners: vec![Arc::new(listener)],
            log,
            metrics,
        };
        let server = Server::start(plan, NonZeroUsize::MIN, IoChoice::Auto)?;
        Ok(Self {
            address,
            server,
            _lines: lines,
        })
    }

    /// Stops it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, and in its tasks.
    pub fn stop(self) {
        tokio::runtime::Handle::current().block_on(self.server.stop());
    }
}

/// The core of this number, if there is more than one: the first is the servers', the second the
/// generator's.
pub fn core(at: usize) -> Option<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let core = cores.get(at).filter(|_| cores.len() > 1);
    core.map(|core| core.id)
}

/// An address whose port nobody uses, for UDP and for TCP. The server opens it a moment later.
fn free_address() -> io::Result<SocketAddr> {
    let mut tries = 0;
    loop {
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) if tries == PORT_TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// Times that a free port may be taken by somebody else before it is used.
const PORT_TRIES: usize = 8;
