//! Servers inside the bench's own process, one worker each.

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
    /// Reads the arguments: `cargo bench` says `--bench`; `cargo test --benches` does not, and wants a
    /// quick try.
    pub fn from_arguments() -> Self {
        let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
        if has("--bench") && !has("--test") {
            Self::Measure
        } else {
            Self::Try
        }
    }

    /// As [`Self::from_arguments`], for a bench that criterion knows nothing of. `None` if the arguments
    /// ask for a list, or for benches that this name is none of. The value of an option passes for a name.
    pub fn for_bench(name: &str) -> Option<Self> {
        let mut arguments = std::env::args().skip(1);
        let skips = |argument: String| {
            argument == "--list" || !argument.starts_with('-') && !name.contains(&argument)
        };
        (!arguments.any(skips)).then(Self::from_arguments)
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
