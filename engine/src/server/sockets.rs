//! Which sockets are open, and what a new plan changes about that.
//!
//! A socket belongs to an address, not to a listener: one that two plans have in common stays open,
//! with all that waits in it, whatever becomes of the server blocks behind it.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Weak};

use crate::chain::{Plan, Protocol};
use crate::net::socket::{self, ListenError};
use crate::net::udp::WorkerSocket;

/// The UDP sockets of an address, one for each worker.
#[derive(Clone)]
struct Datagrams {
    address: SocketAddr,
    by_worker: Box<[Arc<UdpSocket>]>,
}

/// UDP sockets that nobody serves any more. The slow path may still have replies for them.
struct Closing {
    address: SocketAddr,
    by_worker: Box<[Weak<UdpSocket>]>,
}

/// What is open for the plan that is served.
#[derive(Default)]
pub(super) struct Sockets {
    datagrams: Vec<Datagrams>,
    closing: Vec<Closing>,
    /// The addresses of the TCP listeners.
    streams: Vec<SocketAddr>,
}

/// What a plan needs, all of it open.
pub(super) struct Opened {
    datagrams: Vec<(usize, Datagrams)>,
    /// The addresses that are served, in the plan's order.
    pub(super) streams: Vec<SocketAddr>,
    /// The listeners that are not accepted from yet.
    pub(super) new_streams: Vec<(SocketAddr, TcpListener)>,
}

impl Opened {
    /// The sockets of each worker and the listeners that they belong to.
    pub(super) fn of_workers(&self, workers: usize) -> Box<[Box<[WorkerSocket]>]> {
        let of_worker = |worker: usize| {
            let sockets = self.datagrams.iter();
            let sockets = sockets.map(|(listener, datagrams)| WorkerSocket {
                socket: Arc::clone(&datagrams.by_worker[worker]),
                address: datagrams.address,
                listener: *listener,
            });
            sockets.collect()
        };
        (0..workers).map(of_worker).collect()
    }
}

impl Sockets {
    /// Opens what a plan needs and is not open yet. What the plan does not need stays open.
    ///
    /// # Errors
    ///
    /// If a socket cannot be opened; those that were opened for the plan are closed then.
    pub(super) fn open(&self, plan: &Plan, workers: usize) -> Result<Opened, ListenError> {
        let mut opened = Opened {
            datagrams: Vec::new(),
            streams: Vec::new(),
            new_streams: Vec::new(),
        };
        for (index, listener) in plan.listeners.iter().enumerate() {
            for &address in &listener.addresses {
                // A machine without IPv6 still serves IPv4 on all addresses.
                let optional = address.ip().is_unspecified() && address.is_ipv6();
                let open = || -> Result<_, ListenError> {
                    let mut datagrams = Vec::new();
                    if matches!(listener.protocol, Protocol::Dns) {
                        for address in self.with_own_addresses(address, plan) {
                            datagrams.push((index, self.datagrams(address, workers)?));
                        }
                    }
                    // Last: whoever waits for a server tries to connect, and then asks over UDP.
                    let is_open = self.streams.contains(&address);
                    let stream = (!is_open).then(|| socket::tcp(address)).transpose()?;
                    Ok((stream, datagrams))
                };
                match open() {
                    Ok((stream, datagrams)) => {
                        let stream = stream.map(|stream| (address, stream));
                        opened.new_streams.extend(stream);
                        opened.datagrams.extend(datagrams);
                        opened.streams.push(address);
                    }
                    Err(error) if optional && !has_ipv6() => {
                        tracing::info!(%error, "serving IPv4 only");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        // Those that stay keep their order, so that workers can tell that nothing has changed.
        let place = |address| self.datagrams.iter().position(|it| it.address == address);
        opened
            .datagrams
            .sort_by_key(|(_, datagrams)| place(datagrams.address).unwrap_or(usize::MAX));
        Ok(opened)
    }

    /// Takes over what was opened, and forgets what it does not have.
    pub(super) fn take(&mut self, opened: &Opened) {
        let kept = |address| opened.datagrams.iter().any(|(_, it)| it.address == address);
        let is_alive = |closing: &Closing| {
            let mut sockets = closing.by_worker.iter();
            sockets.any(|socket| socket.strong_count() > 0) && !kept(closing.address)
        };
        self.closing.retain(is_alive);
        for old in std::mem::take(&mut self.datagrams) {
            if !kept(old.address) {
                self.closing.push(Closing {
                    address: old.address,
                    by_worker: old.by_worker.iter().map(Arc::downgrade).collect(),
                });
            }
        }
        let datagrams = opened.datagrams.iter();
        self.datagrams = datagrams.map(|(_, datagrams)| datagrams.clone()).collect();
        self.streams.clone_from(&opened.streams);
    }

    /// The addresses that are served.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.streams
    }

    /// The UDP sockets of an address: those that are open, and new ones where none are.
    ///
    /// Sockets that are on their way out are taken back: as long as they are open the kernel gives
    /// them their share of the datagrams.
    fn datagrams(&self, address: SocketAddr, workers: usize) -> Result<Datagrams, ListenError> {
        if let Some(open) = self.datagrams.iter().find(|it| it.address == address) {
            return Ok(open.clone());
        }
        let closing = self.closing.iter().find(|it| it.address == address);
        let of_worker = |worker: usize| {
            let found = closing.and_then(|closing| closing.by_worker[worker].upgrade());
            found.map_or_else(|| socket::udp(address).map(Arc::new), Ok)
        };
        let by_worker = (0..workers).map(of_worker).collect::<Result<_, _>>()?;
        Ok(Datagrams { address, by_worker })
    }

    /// An address, before it, if it stands for all addresses, those of the machine which get
    /// sockets of their own. They are the listener's as long as no other one names them.
    fn with_own_addresses(&self, address: SocketAddr, plan: &Plan) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        if address.ip().is_unspecified() {
            let is_ours = |own| self.datagrams.iter().any(|it| it.address == own);
            all = socket::own_addresses(address, is_ours);
            all.retain(|own| plan.find(*own).is_none());
        }
        all.push(address);
        all
    }
}

fn has_ipv6() -> bool {
    UdpSocket::bind("[::1]:0").is_ok()
}
