//! SIGTERM: what it loses (nothing), and what goes on until the end.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use martlet_tests::dns::Query;
use martlet_tests::flood::Flood;
use martlet_tests::ways::{each_way, with_io};
use martlet_tests::{FakeApi, Fault, Setup, Upstream, cpu_time, wait_until};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::fixtures::{becomes, becomes_ready, cluster, forward, resolver, service, status};

/// Queries that wait in sockets, in connections and for upstreams when the order comes.
#[test]
fn what_had_arrived_is_answered() {
    const EACH: usize = 100;
    each_way(|io| {
        let upstream = Upstream::start("a");
        for n in 0..EACH {
            let name = format!("q{n}.wild.test.");
            upstream.misbehave(&name, Fault::Late(Duration::from_millis(300)));
        }
        let to = forward(&[upstream.address()], "max_fails 0");
        let mut martlet = with_io(resolver(&to), io).start();
        let client = martlet.client();
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a free port");
        socket.connect(client.server).expect("it can be reached");
        let patience = Some(Duration::from_secs(5));
        socket
            .set_read_timeout(patience)
            .expect("more than nothing");
        let mut session = client.connect();
        let mut other = client.connect();
        for n in 0..EACH {
            let late = Query::new(&format!("q{n}.wild.test."), "A").wire(n as u16);
            socket.send(&late).expect("it is open");
            session.send(&late).expect("it is open");
            let local = Query::new("x.ready.local.", "A").wire(n as u16);
            socket.send(&local).expect("it is open");
            other.send(&local).expect("it is open");
        }
        // Connections that the server has not even seen.
        martlet.process.signal(Signal::STOP);
        let unseen = (0..10).map(|_| {
            let mut session = client.connect();
            let query = Query::new("x.ready.local.", "A").wire(7);
            session.send(&query).expect("it is open");
            session
        });
        let unseen = unseen.collect::<Vec<_>>();
        martlet.process.signal(Signal::TERM);
        martlet.process.signal(Signal::CONT);
        for (n, mut session) in unseen.into_iter().enumerate() {
            let reply = session.receive();
            let reply = reply.unwrap_or_else(|e| panic!("{io}: unseen, after {n}: {e}"));
            assert_eq!(reply.rcode, "NOERROR");
        }
        let mut buffer = [0; 4_096];
        for n in 0..2 * EACH {
            let received = socket.recv(&mut buffer);
            assert!(received.is_ok(), "{io}: UDP, after {n}: {}", martlet.log());
            assert_eq!(buffer[3] & 0xf, 0, "{io}: no error");
        }
        for (what, session) in [("late", &mut session), ("local", &mut other)] {
            for n in 0..EACH {
                let reply = session.receive();
                let reply = reply.unwrap_or_else(|e| panic!("{io}: {what}, after {n}: {e}"));
                assert_eq!(reply.rcode, "NOERROR");
            }
        }
        let ended = martlet.process.wait(Duration::from_secs(10));
        assert!(ended.is_some_and(|status| status.success()), "{io}");
    });
}

/// A connection that is to end waits for its last reply, and does nothing else meanwhile.
#[test]
fn waiting_for_the_last_reply_costs_nothing() {
    let upstream = Upstream::start("a");
    for (name, millis) in [("first.wild.test.", 1_500), ("last.wild.test.", 3_500)] {
        upstream.misbehave(name, Fault::Late(Duration::from_millis(millis)));
    }
    let to = forward(&[upstream.address()], "max_fails 0\nread_timeout 4s");
    let mut martlet = resolver(&to).start();
    let mut session = martlet.client().connect();
    for (id, name) in [(1, "first.wild.test."), (2, "last.wild.test.")] {
        let query = Query::new(name, "A").wire(id);
        session.send(&query).expect("it is open");
    }
    let asked = wait_until(Duration::from_secs(5), || {
        (upstream.count("last.wild.test.") > 0).then_some(())
    });
    assert!(asked.is_some(), "{}", martlet.log());
    martlet.process.signal(Signal::TERM);
    session.receive().expect("the first reply");
    let taken = || cpu_time(martlet.process.id()).expect("it runs");
    let (before, since) = (taken(), Instant::now());
    thread::sleep(Duration::from_secs(1));
    let (took, passed) = (taken() - before, since.elapsed());
    assert!(took < passed / 4, "{took:?} of {passed:?}");
    session.receive().expect("the last reply");
    let ended = martlet.process.wait(Duration::from_secs(10));
    assert!(ended.is_some_and(|status| status.success()));
}

/// Lameduck: nobody is sent here any more, and whoever still comes is served as before, with data
/// that is not frozen.
#[test]
fn lameduck_goes_on_with_everything() {
    let api = FakeApi::start(cluster());
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    health :{{PORT2}} {{\n        lameduck 3s\n    }}\n    \
         ready :{{PORT3}}\n    kubernetes cluster.local {{\n        kubeconfig {}\n    }}\n}}\n",
        kubeconfig.display()
    );
    let mut martlet = Setup::new(&corefile).start();
    becomes_ready(Ipv4Addr::LOCALHOST, martlet.nth_port(3));
    let flood = Flood::start(martlet.client().server, "web.shop.svc.cluster.local.");
    martlet.process.signal(Signal::TERM);
    let unready = wait_until(Duration::from_secs(2), || {
        (status(martlet.nth_port(3), "/ready") == "503").then_some(())
    });
    assert!(unready.is_some(), "it is still ready");
    assert_eq!(status(martlet.nth_port(2), "/health"), "200");
    api.upsert(service("shop", "late", "10.96.0.99"));
    let name = "late.shop.svc.cluster.local.";
    becomes(
        martlet.client(),
        name,
        &["10.96.0.99"],
        Duration::from_secs(2),
    );
    assert!(martlet.process.ended().is_none());
    let tally = flood.stop();
    assert_eq!(tally.sent, tally.answered, "{tally:?}");
    let ended = martlet.process.wait(Duration::from_secs(10));
    assert!(ended.is_some_and(|status| status.success()));
}
