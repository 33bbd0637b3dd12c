//! Asking a group of servers one question: whom first, whom next, and when to give up.
//!
//! CoreDNS asks one server after the other and waits for each as long as `read_timeout` says. Here
//! a server that has gone silent is suspect long before that: what waits for it is asked again
//! elsewhere at once, while the first reply to come still counts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{FutureExt, LocalBoxFuture, Shared};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::choice::Choice;
use super::datagram::Datagrams;
use super::https::HttpsClient;
use super::stream::{Limits, Octets, Streams};
use super::waiting::{AtEnd, Fault};
use super::{Carrier, Group, Settings, Transport, Upstream, tls};
use crate::chain::Random;
use crate::gathered::{ExchangeError, Exchanged};
use crate::slow::io::Backend;
use crate::wire::message::folded;
use crate::wire::{Flags, Message, RType, Rcode};

/// How long all attempts together may take, as CoreDNS.
const EXCHANGE_MAX: Duration = Duration::from_secs(5);
/// How long a probe waits for its reply, as CoreDNS; over a stream it has to be opened besides.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Attempts for one question at the same time.
const PARALLEL_MAX: usize = 3;
/// Times that each server is tried without a pause.
const ROUNDS_AT_ONCE: usize = 2;
/// The pause after each round then, for each round so far.
const PAUSE: Duration = Duration::from_millis(20);
/// How often unused sockets are looked for.
const PURGE: Duration = Duration::from_secs(1);

/// One thread's connections to upstreams and questions in flight.
pub(crate) struct Exchanger {
    backend: Backend,
    links: RefCell<HashMap<u64, Rc<Link>>>,
    flights: RefCell<HashMap<FlightKey, Flight>>,
    random: RefCell<Random>,
}

/// Connections to one server.
struct Link {
    upstream: Weak<Upstream>,
    datagrams: Datagrams,
    streams: Streams,
    https: Option<HttpsClient>,
}

/// What makes two questions identical: who is asked, over what, and every octet but the ID and the
/// letter case of the name.
#[derive(Eq, Hash, PartialEq)]
struct FlightKey {
    group: u64,
    stream: bool,
    request: Box<[u8]>,
}

type Flight = Shared<LocalBoxFuture<'static, Exchanged>>;

impl Exchanger {
    pub(crate) fn new(backend: Backend) -> Rc<Self> {
        let new = Rc::new(Self {
            backend,
            links: RefCell::default(),
            flights: RefCell::default(),
            random: RefCell::new(Random::new()),
        });
        tokio::task::spawn_local(Rc::clone(&new).purge());
        new
    }

    /// Asks the group, unless an identical question is on its way already. `stream` says that the
    /// query came over a stream. After `patience` the caller is told to do without; the exchange
    /// itself goes on.
    pub(crate) async fn exchange(
        self: &Rc<Self>,
        group: &Arc<Group>,
        request: Vec<u8>,
        stream: bool,
        patience: Option<Duration>,
    ) -> Exchanged {
        let limit = group.settings.max_concurrent;
        let before = group.concurrent.fetch_add(1, Ordering::Relaxed);
        let _guard = Concurrent(group);
        if limit > 0 && before >= limit {
            let rejects = &group.counters.max_concurrent_rejects;
            rejects.fetch_add(1, Ordering::Relaxed);
            return Err(ExchangeError::Busy(limit));
        }
        let flight = self.flight(group, request, stream);
        match patience {
            None => flight.await,
            Some(patience) => timeout(patience, flight)
                .await
                .unwrap_or(Err(ExchangeError::Impatient)),
        }
    }

    fn flight(self: &Rc<Self>, group: &Arc<Group>, request: Vec<u8>, stream: bool) -> Flight {
        let key = || FlightKey {
            group: group.id,
            stream,
            request: folded(&request),
        };
        if let Some(flight) = self.flights.borrow().get(&key()) {
            group.counters.shared.fetch_add(1, Ordering::Relaxed);
            return flight.clone();
        }
        // A task of its own: whoever began it may lose patience, the others have not.
        let (this, asked) = (Rc::clone(self), Arc::clone(group));
        let (done, landing) = (key(), Rc::<[u8]>::from(request.as_slice()));
        let task = tokio::task::spawn_local(async move {
            // Even if it panics, the next one to ask begins anew.
            let _landed = AtEnd(|| drop(this.flights.borrow_mut().remove(&done)));
            this.run(&asked, &landing, stream).await
        });
        let flight = async move {
            let failed = || Err(ExchangeError::Failed("the exchange broke off".into()));
            task.await.unwrap_or_else(|_| failed())
        };
        let flight = flight.boxed_local().shared();
        self.flights.borrow_mut().insert(key(), flight.clone());
        flight
    }

    /// One question, from the first attempt to the last.
    async fn run(
        self: &Rc<Self>,
        group: &Arc<Group>,
        request: &Rc<[u8]>,
        stream: bool,
    ) -> Exchanged {
        let settings = &group.settings;
        let mut choice = Choice::new(group, &mut self.random.borrow_mut());
        let deadline = Instant::now() + EXCHANGE_MAX;
        let may_try = |tried: usize| {
            settings.max_connect_attempts == 0 || tried < settings.max_connect_attempts
        };
        let mut tried = 0;
        let mut running = FuturesUnordered::new();
        let mut in_use = Vec::new();
        let mut fault = None;
        let mut failed_over = None;
        let mut failovers = 0;
        // When to look after the latest attempt, and what for.
        let mut look = None;
        let mut more = true;
        // Even from a server that is being asked already.
        let mut again = false;
        // No further attempt begins before that.
        let mut pause = None;
        loop {
            if more && may_try(tried) && running.len() < PARALLEL_MAX {
                more = false;
                let avoided = if std::mem::take(&mut again) {
                    &[][..]
                } else {
                    &in_use[..]
                };
                match choice.next(avoided, running.is_empty()) {
                    Some(place) => {
                        tried += 1;
                        in_use.push(place);
                        let upstream = Arc::clone(&group.upstreams[place]);
                        let sent = Instant::now();
                        look = Look::first(&upstream, settings.hedge, sent);
                        let (this, group) = (Rc::clone(self), Arc::clone(group));
                        let request = Rc::clone(request);
                        running.push(async move {
                            let result = this.attempt(&group, &upstream, &request, stream).await;
                            (place, result)
                        });
                    }
                    None if running.is_empty() => {
                        return failed_over.unwrap_or(Err(ExchangeError::NoHealthy));
                    }
                    None => {}
                }
            }
            if running.is_empty() && pause.is_none() {
                break;
            }
            let look_at = look.as_ref().map_or(deadline, |look| look.at);
            tokio::select! {
                Some((place, result)) = running.next() => {
                    // Once of the times that it is there, as other attempts may go on.
                    if let Some(nth) = in_use.iter().position(|&other| other == place) {
                        in_use.remove(nth);
                    }
                    match result {
                        Ok(message) => {
                            let message = Arc::new(message);
                            let fails_over = settings.failover.contains(&message.rcode().0)
                                || (message.rcode() == Rcode::SERVFAIL && choice.has_better(place));
                            failovers += usize::from(fails_over);
                            if !fails_over || failovers >= group.upstreams.len() {
                                return Ok(message);
                            }
                            failed_over = Some(Ok(message));
                        }
                        Err(error) => {
                            // Who answers another question is there; the answer may be forged. And
                            // that we ask too much says nothing of the server.
                            if !matches!(error, Fault::Mismatch | Fault::Full) {
                                self.probe(group, &group.upstreams[place]);
                            }
                            fault = Some(error);
                        }
                    }
                    if !may_try(tried) && running.is_empty() {
                        break;
                    }
                    // What fails at once would do so for ever, with nobody else having a turn.
                    let rounds = tried / group.upstreams.len();
                    more = rounds < ROUNDS_AT_ONCE;
                    pause = (!more).then(|| Instant::now() + PAUSE * rounds as u32);
                }
                () = sleep_until(pause.unwrap_or(deadline)), if pause.is_some() => {
                    (more, pause) = (true, None);
                }
                () = sleep_until(look_at.min(deadline)) => {
                    if Instant::now() >= deadline {
                        break;
                    }
                    let Some(was) = look.take() else { continue };
                    let upstream = &group.upstreams[was.place_in(group)];
                    let silent = upstream.health.is_silent_since(was.sent.into_std());
                    match was.why {
                        Why::Slow => {
                            more = true;
                            group.counters.hedged.fetch_add(1, Ordering::Relaxed);
                            look = was.then_silence();
                        }
                        Why::Silent if silent => {
                            if upstream.health.suspect() {
                                self.probe(group, upstream);
                            }
                            more = group.upstreams.len() > 1;
                            look = was.then_loss(settings.read_timeout);
                        }
                        // It talks to others: it may take its time, within reason.
                        Why::Silent => look = was.then_loss(settings.read_timeout),
                        // The question or its reply was lost on the way.
                        Why::Lost => (more, again) = (true, true),
                    }
                }
            }
        }
        failed_over.unwrap_or_else(|| {
            Err(match fault {
                Some(Fault::Mismatch) => ExchangeError::Mismatch,
                Some(fault) => ExchangeError::Failed(fault.to_string().into()),
                None => {
                    let last = in_use.last().map_or(0, |&place| place);
                    let stream = goes_over_stream(settings, stream);
                    ExchangeError::Failed(silence(&group.upstreams[last], stream).into())
                }
            })
        })
    }

    /// Asks one server once, and tells its health.
    async fn attempt(
        &self,
        group: &Group,
        upstream: &Arc<Upstream>,
        request: &Rc<[u8]>,
        stream: bool,
    ) -> Result<Message, Fault> {
        let settings = &group.settings;
        let sent = Instant::now();
        let stream = goes_over_stream(settings, stream);
        let asking = async {
            let message = match self.ask(group, upstream, request, stream).await {
                // On a connection there is nothing to guess.
                Err(Fault::Forged) => return self.ask(group, upstream, request, true).await,
                replied => replied?,
            };
            let retry = message.flags().has(Flags::TC) && settings.prefer_udp && !stream;
            if retry {
                return self.ask(group, upstream, request, true).await;
            }
            Ok(message)
        };
        let mut result = timeout(settings.read_timeout, asking)
            .await
            .unwrap_or(Err(Fault::Timeout))
            .map_err(|fault| locate(fault, upstream, stream));
        if let Ok(message) = &mut result {
            message.sender = Some(upstream.address);
            let failed = message.rcode() == Rcode::SERVFAIL;
            let rtt = sent.elapsed();
            upstream.health.heard(rtt, failed);
            upstream.counters.replied(message.rcode(), rtt);
        }
        result
    }

    async fn ask(
        &self,
        group: &Group,
        upstream: &Arc<Upstream>,
        request: &Rc<[u8]>,
        stream: bool,
    ) -> Result<Message, Fault> {
        let link = self.link(group, upstream);
        if let Some(https) = &link.https {
            let octets = https.exchange(request).await.map_err(Fault::io)?;
            return Message::parse(request, &octets).map_err(|_| Fault::Malformed);
        }
        if stream || matches!(upstream.transport, Transport::Tls { .. }) {
            link.streams.ask(request).await
        } else {
            link.datagrams.ask(request).await
        }
    }

    fn link(&self, group: &Group, upstream: &Arc<Upstream>) -> Rc<Link> {
        let mut links = self.links.borrow_mut();
        let new = || Rc::new(Link::new(self.backend, group, upstream));
        Rc::clone(links.entry(upstream.id).or_insert_with(new))
    }

    /// Asks a server that failed for something simple, again and again until it replies.
    fn probe(self: &Rc<Self>, group: &Arc<Group>, upstream: &Arc<Upstream>) {
        let check = &group.settings.health_check;
        let off = check.interval.is_zero() || group.settings.max_fails == 0;
        if off || !upstream.health.begin_probing() {
            return;
        }
        let this = Rc::clone(self);
        let (group, upstream) = (Arc::downgrade(group), Arc::clone(upstream));
        tokio::task::spawn_local(async move {
            let _ended = AtEnd(|| upstream.health.end_probing());
            // A group that is no longer served is no longer probed.
            while let Some(group) = group.upgrade() {
                let question = probe_message(&group);
                let asking = this.ask_alone(&group, &upstream, &question);
                // A connection for it has to be there first.
                let is_datagram = matches!(upstream.transport, Transport::Dns);
                let limit = if is_datagram && !group.settings.force_tcp {
                    PROBE_TIMEOUT
                } else {
                    PROBE_TIMEOUT + group.settings.read_timeout
                };
                // Any reply will do: a server that refuses is there.
                let replied = match timeout(limit, asking).await {
                    Ok(Ok(_) | Err(Fault::Mismatch | Fault::Forged)) => true,
                    Ok(Err(_)) | Err(_) => false,
                };
                if replied {
                    upstream.health.probe_succeeded();
                    break;
                }
                upstream.health.probe_failed();
                let pause = group.settings.health_check.interval;
                drop(group);
                sleep(pause).await;
            }
        });
    }

    /// Asks past everybody else: what they wait for, and a connection that has died of old age, say
    /// nothing of the server.
    async fn ask_alone(
        &self,
        group: &Group,
        upstream: &Arc<Upstream>,
        request: &Rc<[u8]>,
    ) -> Result<Message, Fault> {
        let link = self.link(group, upstream);
        match upstream.transport {
            Transport::Https { .. } => self.ask(group, upstream, request, false).await,
            Transport::Dns if !group.settings.force_tcp => link.datagrams.ask_alone(request).await,
            Transport::Dns | Transport::Tls { .. } => link.streams.ask_alone(request).await,
        }
    }

    /// Closes what nobody uses, for as long as the thread runs.
    async fn purge(self: Rc<Self>) {
        loop {
            sleep(PURGE).await;
            self.links
                .borrow_mut()
                .retain(|_, link| link.datagrams.purge() || link.upstream.strong_count() > 0);
        }
    }
}

impl Link {
    fn new(backend: Backend, group: &Group, upstream: &Arc<Upstream>) -> Self {
        let settings = &group.settings;
        let (address, source) = (upstream.address, settings.source_address);
        let max_idle = settings.max_idle_connections;
        let tls = match &upstream.transport {
            Transport::Tls { config, name } => Some((Arc::clone(config), name.clone())),
            Transport::Dns | Transport::Https { .. } => None,
        };
        let carrier = match tls {
            None => Carrier::Tcp,
            Some(_) => Carrier::Tls,
        };
        let connect: super::stream::Connect = Box::new(move || {
            let tls = tls.clone();
            Box::pin(async move {
                let stream: Box<dyn Octets> = match tls {
                    None => Box::new(tls::tcp(address, source).await?),
                    Some((config, name)) => {
                        Box::new(tls::connect(address, source, &config, &name).await?)
                    }
                };
                Ok(stream)
            })
        });
        let https = match &upstream.transport {
            Transport::Https {
                config,
                name,
                host,
                get,
            } => Some(HttpsClient::new(
                address,
                Arc::clone(config),
                name.clone(),
                host.clone(),
                *get,
                source,
            )),
            Transport::Dns | Transport::Tls { .. } => None,
        };
        Self {
            upstream: Arc::downgrade(upstream),
            datagrams: Datagrams::new(
                backend,
                (address, source),
                (settings.expire, max_idle),
                Arc::clone(&upstream.counters),
            ),
            streams: Streams::new(
                connect,
                Limits {
                    expire: settings.expire,
                    max_age: settings.max_age,
                    silence: settings.read_timeout,
                },
                max_idle,
                (carrier, Arc::clone(&upstream.counters)),
            ),
            https,
        }
    }
}

/// Counts a query that is under way.
struct Concurrent<'g>(&'g Group);

impl Drop for Concurrent<'_> {
    fn drop(&mut self) {
        self.0.concurrent.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why an attempt is looked after.
#[derive(Clone, Copy)]
enum Why {
    /// It takes longer than the server's replies usually do.
    Slow,
    /// Nothing comes from the server at all.
    Silent,
    /// Its own reply does not come.
    Lost,
}

/// When to look after an attempt.
struct Look {
    upstream: Arc<Upstream>,
    sent: Instant,
    at: Instant,
    why: Why,
}

impl Look {
    fn first(upstream: &Arc<Upstream>, hedge: bool, sent: Instant) -> Option<Self> {
        let slow = upstream.health.p99().filter(|_| hedge);
        let silent = upstream.health.patience();
        let (after, why) = match slow {
            Some(slow) if slow < silent => (slow, Why::Slow),
            _ => (silent, Why::Silent),
        };
        Some(Self {
            upstream: Arc::clone(upstream),
            sent,
            at: sent + after,
            why,
        })
    }

    fn then_silence(self) -> Option<Self> {
        let at = self.sent + self.upstream.health.patience();
        Some(Self {
            at,
            why: Why::Silent,
            ..self
        })
    }

    /// A quarter of what a server may take: UDP loses packets, and a client waits for seconds only.
    fn then_loss(self, read_timeout: Duration) -> Option<Self> {
        let at = self.sent + (read_timeout / 4).max(self.upstream.health.patience() * 2);
        Some(Self {
            at,
            why: Why::Lost,
            ..self
        })
    }

    fn place_in(&self, group: &Group) -> usize {
        let mut places = group.upstreams.iter();
        let place = places.position(|upstream| Arc::ptr_eq(upstream, &self.upstream));
        place.expect("attempts go to servers of the group")
    }
}

/// Whether a query that came over a stream (or not) is passed on over one.
const fn goes_over_stream(settings: &Settings, stream: bool) -> bool {
    settings.force_tcp || (stream && !settings.prefer_udp)
}

/// What is told of a server that said nothing. Its beginning and end are those of CoreDNS, which
/// the patterns of `errors { consolidate }` rely on.
fn silence(upstream: &Upstream, stream: bool) -> String {
    let datagrams = !stream && matches!(upstream.transport, Transport::Dns);
    let protocol = if datagrams { "udp" } else { "tcp" };
    format!("read {protocol} {}: i/o timeout", upstream.address)
}

/// Says which server a fault is about.
fn locate(fault: Fault, upstream: &Upstream, stream: bool) -> Fault {
    const LATE: std::io::ErrorKind = std::io::ErrorKind::TimedOut;
    let silent = || Fault::io(std::io::Error::new(LATE, silence(upstream, stream)));
    match fault {
        Fault::Timeout => silent(),
        Fault::Io { error, .. } if error.kind() == LATE => silent(),
        Fault::Io { error, reused } => {
            let text = format!("{}: {error}", upstream.address);
            Fault::Io {
                error: Arc::new(std::io::Error::new(error.kind(), text)),
                reused,
            }
        }
        fault => fault,
    }
}

/// The question of a health check.
fn probe_message(group: &Group) -> Rc<[u8]> {
    let check = &group.settings.health_check;
    let flags = if check.recursion_desired {
        Flags::RD
    } else {
        0
    };
    let mut message = vec![0, 0];
    message.extend(flags.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(&check.domain);
    message.extend(RType::NS.0.to_be_bytes());
    message.extend([0, 1]);
    message.into()
}

#[cfg(test)]
mod tests;
