//! Exchanges with servers on loopback that behave as told, on each backend that this machine has.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::upstream::{Policy, Settings};
use crate::wire::{Class, Message};

/// A server: replies as `behave` says, or not at all, and counts what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(mut behave: impl FnMut(usize, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut buf = [0; 512];
            while let Ok((len, client)) = socket.recv_from(&mut buf) {
                // Health checks are not what is counted.
                let is_probe = buf[12] == 0;
                let nth = if is_probe {
                    0
                } else {
                    counter.fetch_add(1, Ordering::Relaxed)
                };
                if let Some(reply) = behave(nth, &buf[..len]) {
                    let _ = socket.send_to(&reply, client);
                }
            }
        });
        Self { address, asked }
    }

    /// Replies without records.
    fn with_rcode(rcode: Rcode) -> Self {
        Self::start(move |_, query| Some(reply(query, rcode)))
    }

    fn silent() -> Self {
        Self::start(|_, _| None)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn reply(query: &[u8], rcode: Rcode) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | rcode.0 as u8;
    reply
}

fn group(policy: Policy, servers: &[&Server], change: impl FnOnce(&mut Settings)) -> Arc<Group> {
    let upstreams = servers
        .iter()
        .map(|server| Arc::new(Upstream::new(server.address, Transport::Dns)))
        .collect::<Vec<_>>();
    let mut settings = Settings::for_test(policy);
    settings.max_connect_attempts = 2 * upstreams.len();
    change(&mut settings);
    Arc::new(Group::new(upstreams, settings))
}

/// A request for a name of its own.
fn request(number: usize) -> Vec<u8> {
    let label = format!("n{number}");
    let mut out = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, label.len() as u8];
    out.extend(label.bytes());
    out.push(0);
    out.extend(RType::A.0.to_be_bytes());
    out.extend(Class::IN.0.to_be_bytes());
    out
}

/// Runs `test` on every backend that this machine has.
fn on_each<F: Future<Output = ()>>(test: impl Fn(Rc<Exchanger>) -> F) {
    for backend in [Backend::IoUring, Backend::Epoll] {
        if Backend::choose(&[backend]).0 == backend {
            backend
                .block_on(async { test(Exchanger::new(backend)).await })
                .unwrap();
        }
    }
}

async fn ask(exchanger: &Rc<Exchanger>, group: &Arc<Group>, number: usize) -> Exchanged {
    exchanger
        .exchange(group, request(number), false, None)
        .await
}

fn rcode(exchanged: &Exchanged) -> Option<Rcode> {
    exchanged.as_deref().map(Message::rcode).ok()
}

#[test]
fn identical_questions_share_an_exchange() {
    on_each(|exchanger| async move {
        let server = Server::start(|_, query| {
            std::thread::sleep(Duration::from_millis(50));
            Some(reply(query, Rcode::NOERROR))
        });
        let group = group(Policy::Random, &[&server], |_| {});
        let asking = (0..50).map(|_| ask(&exchanger, &group, 1));
        let replies = futures_util::future::join_all(asking).await;
        assert!(
            replies
                .iter()
                .all(|reply| rcode(reply) == Some(Rcode::NOERROR))
        );
        assert_eq!(server.asked(), 1);
        assert_eq!(group.counters.shared.load(Ordering::Relaxed), 49);
        ask(&exchanger, &group, 1).await.unwrap();
        assert_eq!(
            server.asked(),
            2,
            "an exchange that has ended is not shared"
        );
    });
}

/// HTTPS is type 65, an `A`; 97 is an `a`.
#[test]
fn questions_that_differ_in_what_looks_like_letter_case_share_none() {
    on_each(|exchanger| async move {
        let server = Server::start(|_, query| {
            std::thread::sleep(Duration::from_millis(20));
            Some(reply(query, Rcode::NOERROR))
        });
        let group = group(Policy::Random, &[&server], |_| {});
        let of_type = |rtype: u8, letter| {
            let mut request = request(1);
            let len = request.len();
            (request[13], request[len - 3]) = (letter, rtype);
            exchanger.exchange(&group, request, false, None)
        };
        let asked = [(b'A', b'n'), (b'a', b'n'), (b'a', b'N')];
        let asking = asked.map(|(rtype, letter)| of_type(rtype, letter));
        for (reply, (rtype, _)) in futures_util::future::join_all(asking)
            .await
            .iter()
            .zip(asked)
        {
            let octets = reply.as_ref().unwrap().octets();
            assert_eq!(octets[octets.len() - 3], rtype);
        }
        assert_eq!(server.asked(), 2, "the letter case of a name means nothing");
    });
}

/// Whether a question or its whole connection was given up: patterns of `errors` know one text.
#[test]
fn silence_has_one_text() {
    let upstream = Upstream::new(([127, 0, 0, 1], 53).into(), Transport::Dns);
    let given_up = || Fault::io(std::io::ErrorKind::TimedOut.into());
    for (fault, stream, expected) in [
        (Fault::Timeout, false, "read udp 127.0.0.1:53: i/o timeout"),
        (Fault::Timeout, true, "read tcp 127.0.0.1:53: i/o timeout"),
        (given_up(), true, "read tcp 127.0.0.1:53: i/o timeout"),
    ] {
        assert_eq!(locate(fault, &upstream, stream).to_string(), expected);
    }
}

#[test]
fn a_silent_server_is_left_alone() {
    on_each(|exchanger| async move {
        let (silent, good) = (Server::silent(), Server::with_rcode(Rcode::NOERROR));
        let group = group(Policy::Sequential, &[&silent, &good], |_| {});
        for number in 0..50 {
            let reply = ask(&exchanger, &group, number).await;
            assert_eq!(rcode(&reply), Some(Rcode::NOERROR), "{number}");
        }
        assert_eq!(good.asked(), 50);
        assert!(silent.asked() < 10, "asked {} times", silent.asked());
        assert!(group.upstreams[0].health.is_suspect());
    });
}

#[test]
fn a_port_that_is_closed_costs_nothing() {
    on_each(|exchanger| async move {
        let gone = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let gone = Server {
            address: gone,
            asked: Arc::default(),
        };
        let good = Server::with_rcode(Rcode::NOERROR);
        let both = group(Policy::Sequential, &[&gone, &good], |_| {});
        let reply = ask(&exchanger, &both, 1).await;
        assert_eq!(rcode(&reply), Some(Rcode::NOERROR));
        let alone = group(Policy::Sequential, &[&gone], |_| {});
        let error = ask(&exchanger, &alone, 1).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Failed(_)), "{error}");
    });
}

/// With attempts without limit, which fail before they have waited for anything: all of them, as they
/// have no address to come from, or those that find the sockets full of questions that wait.
#[test]
fn what_fails_at_once_lets_others_have_their_turn() {
    const SOCKETS_FULL: usize = 64 * 128;
    for (questions, source_address) in [
        (1, Some(IpAddr::from([192, 0, 2, 1]))),
        (SOCKETS_FULL + 10, None),
    ] {
        on_each(|exchanger| async move {
            let server = Server::silent();
            let group = group(Policy::Sequential, &[&server], |settings| {
                settings.max_connect_attempts = 0;
                settings.source_address = source_address;
            });
            let begun = Instant::now();
            let asking = (0..questions).map(|number| ask(&exchanger, &group, number));
            let waiting = async {
                sleep(Duration::from_millis(50)).await;
                begun.elapsed()
            };
            let (replies, waited) = tokio::join!(futures_util::future::join_all(asking), waiting);
            assert!(waited < EXCHANGE_MAX, "{waited:?}");
            for reply in replies {
                let error = reply.unwrap_err();
                assert!(matches!(error, ExchangeError::Failed(_)), "{error}");
            }
            let took = begun.elapsed();
            assert!(took < 3 * EXCHANGE_MAX, "{took:?}");
        });
    }
}

#[test]
fn a_server_that_mostly_fails_is_passed_over_while_another_does_not() {
    on_each(|exchanger| async move {
        let failing = Server::with_rcode(Rcode::SERVFAIL);
        let good = Server::with_rcode(Rcode::NOERROR);
        let both = group(Policy::RoundRobin, &[&failing, &good], |_| {});
        for number in 0..40 {
            ask(&exchanger, &both, number).await.unwrap();
        }
        for number in 40..140 {
            let reply = ask(&exchanger, &both, number).await;
            assert_eq!(rcode(&reply), Some(Rcode::NOERROR), "{number}");
        }
        assert!(failing.asked() < 60, "asked {} times", failing.asked());
        // Alone, or first by order, it is still asked: its SERVFAIL is the answer.
        let alone = group(Policy::RoundRobin, &[&failing], |_| {});
        let first = group(Policy::Sequential, &[&failing, &good], |_| {});
        for number in 0..40 {
            for group in [&alone, &first] {
                let reply = ask(&exchanger, group, number).await;
                assert_eq!(rcode(&reply), Some(Rcode::SERVFAIL), "{number}");
            }
        }
    });
}

#[test]
fn failover_asks_the_next_server_and_settles_for_the_last() {
    on_each(|exchanger| async move {
        let refusing = Server::with_rcode(Rcode::REFUSED);
        let good = Server::with_rcode(Rcode::NOERROR);
        let failover = |settings: &mut Settings| settings.failover = vec![Rcode::REFUSED.0];
        let both = group(Policy::Sequential, &[&refusing, &good], failover);
        let reply = ask(&exchanger, &both, 1).await;
        assert_eq!(rcode(&reply), Some(Rcode::NOERROR));
        let other = Server::with_rcode(Rcode::REFUSED);
        let none = group(Policy::Sequential, &[&refusing, &other], failover);
        let reply = ask(&exchanger, &none, 1).await;
        assert_eq!(rcode(&reply), Some(Rcode::REFUSED));
        assert_eq!(other.asked(), 1);
    });
}

#[test]
fn a_server_slower_than_usual_gets_company_if_asked_for() {
    on_each(|exchanger| async move {
        assert_eq!(hedged(&exchanger, false).await, 0);
        // On a busy machine all replies may be slow, so that these are as usual: once is enough.
        for _ in 0..10 {
            if hedged(&exchanger, true).await > 0 {
                return;
            }
        }
        panic!("the other server was never asked");
    });
}

/// How many questions went to a second server because the first was late.
async fn hedged(exchanger: &Rc<Exchanger>, hedge: bool) -> u64 {
    // Quick for long enough to be known, then late by less than would make it suspect.
    let slow = Server::start(|nth, query| {
        if nth >= 40 {
            std::thread::sleep(Duration::from_millis(25));
        }
        Some(reply(query, Rcode::NOERROR))
    });
    let other = Server::with_rcode(Rcode::NOERROR);
    let both = group(Policy::Sequential, &[&slow, &other], |settings| {
        settings.hedge = hedge;
    });
    for number in 0..45 {
        ask(exchanger, &both, number).await.unwrap();
    }
    both.counters.hedged.load(Ordering::Relaxed)
}

#[test]
fn more_than_max_concurrent_are_refused() {
    on_each(|exchanger| async move {
        let silent = Server::silent();
        let group = group(Policy::Random, &[&silent], |settings| {
            settings.max_concurrent = 2;
            settings.read_timeout = Duration::from_millis(50);
        });
        let asking = (0..3).map(|number| ask(&exchanger, &group, number));
        let replies = futures_util::future::join_all(asking).await;
        assert_eq!(replies[2], Err(ExchangeError::Busy(2)));
        assert!(matches!(replies[0], Err(ExchangeError::Failed(_))));
        let again = ask(&exchanger, &group, 9).await;
        assert!(
            matches!(again, Err(ExchangeError::Failed(_))),
            "places are given back"
        );
    });
}

#[test]
fn who_loses_patience_leaves_the_exchange_to_others() {
    on_each(|exchanger| async move {
        let slow = Server::start(|_, query| {
            std::thread::sleep(Duration::from_millis(150));
            Some(reply(query, Rcode::NOERROR))
        });
        let group = group(Policy::Random, &[&slow], |_| {});
        let patience = Some(Duration::from_millis(20));
        let first = exchanger
            .exchange(&group, request(1), false, patience)
            .await;
        assert_eq!(first, Err(ExchangeError::Impatient));
        let second = ask(&exchanger, &group, 1).await;
        assert_eq!(rcode(&second), Some(Rcode::NOERROR));
        assert_eq!(slow.asked(), 1);
    });
}

#[test]
fn servers_that_are_down_come_last_or_not_at_all() {
    on_each(|exchanger| async move {
        let (down, up) = (Server::silent(), Server::with_rcode(Rcode::NOERROR));
        let both = group(Policy::Sequential, &[&down, &up], |_| {});
        (0..3).for_each(|_| both.upstreams[0].health.probe_failed());
        ask(&exchanger, &both, 1).await.unwrap();
        assert_eq!(down.asked(), 0);
        // With all of them down, any of them might work after all.
        let alone = group(Policy::Sequential, &[&up], |_| {});
        (0..3).for_each(|_| alone.upstreams[0].health.probe_failed());
        ask(&exchanger, &alone, 1).await.unwrap();
        let broken = &alone.counters.healthcheck_broken;
        assert_eq!(broken.load(Ordering::Relaxed), 1);
        let fast = group(Policy::Sequential, &[&up], |settings| {
            settings.fail_fast = true
        });
        (0..3).for_each(|_| fast.upstreams[0].health.probe_failed());
        assert_eq!(
            ask(&exchanger, &fast, 1).await,
            Err(ExchangeError::NoHealthy)
        );
    });
}

#[test]
fn a_server_that_failed_is_probed_until_it_replies() {
    on_each(|exchanger| async move {
        // Silent for the question and two probes.
        let mut silences = 3;
        let server = Server::start(move |_, query| {
            if silences > 0 {
                silences -= 1;
                return None;
            }
            Some(reply(query, Rcode::REFUSED))
        });
        let group = group(Policy::Random, &[&server], |settings| {
            settings.read_timeout = Duration::from_millis(50);
            settings.max_connect_attempts = 1;
            settings.health_check.interval = Duration::from_millis(10);
        });
        ask(&exchanger, &group, 1).await.unwrap_err();
        let health = &group.upstreams[0].health;
        for _ in 0..500 {
            sleep(Duration::from_millis(10)).await;
            if health.probe_failures.load(Ordering::Relaxed) >= 2 && !health.is_suspect() {
                return;
            }
        }
        panic!("still suspect: {health:?}");
    });
}

#[test]
fn replies_to_another_question_are_waited_out() {
    on_each(|exchanger| async move {
        // The forgery comes first, the truth right behind it.
        let forged = |query: &[u8]| {
            let mut forged = reply(query, Rcode::NOERROR);
            forged[13] ^= 1;
            forged
        };
        let liar = Server::start(move |_, query| Some(forged(query)));
        let alone = group(Policy::Random, &[&liar], |_| {});
        assert_eq!(
            ask(&exchanger, &alone, 1).await,
            Err(ExchangeError::Mismatch)
        );
        let honest = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = honest.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buf = [0; 512];
            while let Ok((len, client)) = honest.recv_from(&mut buf) {
                for reply in [forged(&buf[..len]), reply(&buf[..len], Rcode::NXDOMAIN)] {
                    let _ = honest.send_to(&reply, client);
                }
            }
        });
        let server = Server {
            address,
            asked: Arc::default(),
        };
        let attacked = group(Policy::Random, &[&server], |_| {});
        let reply = ask(&exchanger, &attacked, 1).await;
        assert_eq!(rcode(&reply), Some(Rcode::NXDOMAIN));
    });
}
