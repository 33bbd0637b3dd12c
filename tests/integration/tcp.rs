//! TCP: many queries on a connection, clients that are slow or idle, too many of them.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use martlet_tests::dns::Query;
use martlet_tests::{Client, Martlet, Setup, TcpSession, Upstream, tools};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fixtures::{COREFILE, big_service, cluster, forward, manifest};

fn start() -> Martlet {
    let mut objects = cluster();
    objects.extend(big_service());
    Martlet::start(COREFILE, &[("cluster.yaml", &manifest(&objects))])
}

const BIG: &str = "big.shop.svc.cluster.local.";
const WEB: &str = "web.shop.svc.cluster.local.";

fn framed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("queries are short");
    [&len.to_be_bytes(), message].concat()
}

#[test]
fn pipelined_queries_are_all_answered() {
    let martlet = start();
    let mut session = martlet.client().connect();
    let queries: Vec<u8> = (0..500)
        .flat_map(|id| framed(&Query::new(BIG, "A").wire(id)))
        .collect();
    let mut writer = session.stream.try_clone().expect("a socket can be shared");
    let written = thread::spawn(move || writer.write_all(&queries));
    let mut ids = BTreeSet::new();
    for _ in 0..500 {
        let octets = session.receive_octets().expect("every query is answered");
        ids.insert(u16::from_be_bytes([octets[0], octets[1]]));
        assert_eq!(octets[2] & 0x02, 0, "TCP has room for everything");
    }
    assert_eq!(ids, (0..500).collect());
    written
        .join()
        .expect("writing does not panic")
        .expect("the server reads");
}

#[test]
fn a_message_may_come_octet_by_octet() {
    let martlet = start();
    let mut session = martlet.client().connect();
    for octet in framed(&Query::new(WEB, "A").wire(7)) {
        session
            .stream
            .write_all(&[octet])
            .expect("the server reads");
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(session.receive().expect("an answer").addresses().len(), 1);
}

#[test]
fn what_is_truncated_over_udp_is_whole_over_tcp() {
    let martlet = start();
    let client = martlet.client();
    let cut = client.ask(BIG, "A");
    assert!(cut.has("TC"), "{cut:?}");
    assert!(cut.len.is_some_and(|len| len <= 512), "{cut:?}");
    let whole = client.ask_tcp(BIG, "A");
    assert!(!whole.has("TC"));
    assert_eq!(whole.addresses().len(), 100);
    assert!(
        cut.addresses()
            .iter()
            .all(|address| whole.addresses().contains(address))
    );
}

/// Ten seconds, as CoreDNS; one that is used meanwhile stays open.
#[test]
fn idle_connections_are_closed() {
    let martlet = start();
    let client = martlet.client();
    let opened = Instant::now();
    let mut idle = client.connect();
    idle.stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("more than nothing");
    idle.send(&Query::new(WEB, "A").wire(1))
        .expect("the connection is open");
    idle.receive().expect("the connection is open");
    let mut used = client.connect();
    let user = thread::spawn(move || {
        for _ in 0..6 {
            used.send(&Query::new(WEB, "A").wire(1))
                .expect("the connection is open");
            used.receive().expect("the connection is open");
            thread::sleep(Duration::from_secs(2));
        }
    });
    let read = idle.stream.read(&mut [0; 1]);
    let after = opened.elapsed().as_secs_f64();
    assert!(matches!(read, Ok(0)), "{read:?}");
    assert!((9.0..14.0).contains(&after), "closed after {after} s");
    user.join()
        .expect("a connection in use outlives the time-out");
}

/// `timeouts`: a connection that brings no query, or only a piece of one, ends sooner than one that has
/// brought some; and no connection brings more than it may.
#[test]
fn connections_have_the_limits_that_are_set() {
    let corefile = COREFILE.replace(
        "bind 127.0.0.1\n",
        "bind 127.0.0.1\n    timeouts {\n read 1s\n idle 60s\n maxtcpqueries 3\n }\n",
    );
    let martlet = Martlet::start(&corefile, &[("cluster.yaml", &manifest(&cluster()))]);
    let client = Client {
        patience: Duration::from_secs(20),
        ..martlet.client()
    };
    let query = framed(&Query::new(WEB, "A").wire(7));
    let mut idle = client.connect();
    idle.stream.write_all(&query).expect("the server reads");
    idle.receive().expect("a query is answered");
    for piece in [&[][..], &query[..20]] {
        let mut silent = client.connect();
        silent.stream.write_all(piece).expect("the server reads");
        let read = silent.stream.read(&mut [0; 1]);
        assert!(matches!(read, Ok(0)), "{read:?}");
    }
    // One that has asked is still there. Of what it asks now it may have two more.
    idle.stream
        .write_all(&query.repeat(5))
        .expect("the connection is open");
    for _ in 0..2 {
        idle.receive().expect("a query is answered");
    }
    let read = idle.stream.read(&mut [0; 1]);
    assert!(matches!(read, Ok(0)), "no reset, and no more: {read:?}");
}

/// A client that asks and never reads fills buffers up to a bound, and costs the others nothing.
#[test]
fn slow_readers_do_not_hold_others_up() {
    let martlet = start();
    let client = martlet.client();
    let queries = framed(&Query::new(BIG, "A").wire(9)).repeat(200);
    let mut slow: Vec<TcpSession> = (0..8).map(|_| client.connect()).collect();
    for session in &mut slow {
        session
            .stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .expect("not nothing");
        // Until the server reads no more.
        while session.stream.write_all(&queries).is_ok() {}
    }
    for _ in 0..50 {
        let asked = Instant::now();
        assert_eq!(client.ask_tcp(WEB, "A").addresses().len(), 1);
        assert_eq!(client.ask(WEB, "A").addresses().len(), 1);
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
    }
}

/// Whoever is one too many waits until another leaves.
#[test]
fn connections_are_limited() {
    const MOST: usize = 4096;
    let limit = getrlimit(Resource::Nofile);
    let wanted = 4 * MOST as u64;
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return tools::cannot("the limit on open files is too low");
    }
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("below the hard limit");
    }
    let martlet = start();
    let client = martlet.client();
    let mut sessions: Vec<_> = (0..MOST).map(|_| client.connect()).collect();
    // The last of those that are served answers.
    let query = Query::new(WEB, "A").wire(1);
    let last = sessions.last_mut().expect("there are many");
    last.send(&query).expect("it is served");
    last.receive().expect("it is served");
    let mut waiting = Client {
        patience: Duration::from_millis(500),
        ..client
    }
    .connect();
    waiting.send(&query).expect("the kernel takes it");
    let early = waiting.receive().map(|reply| reply.rcode);
    let kind = early.as_ref().map_err(std::io::Error::kind);
    assert!(
        matches!(kind, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "{early:?}"
    );
    assert_eq!(client.ask(WEB, "A").addresses().len(), 1, "UDP goes on");
    sessions.pop();
    waiting
        .stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("more than nothing");
    assert_eq!(
        waiting
            .receive()
            .expect("a place is free")
            .addresses()
            .len(),
        1
    );
}

/// However many connections clients open, and to how many addresses, there are descriptors left for
/// upstreams.
#[test]
fn connections_leave_descriptors_to_upstreams() {
    const DESCRIPTORS: u32 = 256;
    if !tools::available(&["prlimit"]) {
        return;
    }
    let upstream = Upstream::start("a");
    let forward = forward(&[upstream.address()], "");
    let hosts: Vec<_> = (1..=6).map(|n| format!("127.0.0.{n}")).collect();
    let corefile = format!(
        "ready.local:{{PORT}} {{\nwhoami\nbind {hosts}\n}}\n.:{{PORT}} {{\n{forward}\nbind {hosts}\n}}\n",
        hosts = hosts.join(" ")
    );
    let martlet = Setup::new(&corefile)
        .until_it_answers("x.ready.local.")
        .descriptors(DESCRIPTORS)
        .start();
    let client = martlet.client();
    let query = Query::new("x.ready.local.", "A").wire(1);
    let to = |host: &String| {
        let address = format!("{host}:{}", martlet.port());
        Client::new(address.parse().expect("an address"))
    };
    let each = |host| (0..DESCRIPTORS / 2).map(move |_| to(host).connect());
    let mut sessions: Vec<_> = hosts.iter().flat_map(each).collect();
    for session in &mut sessions {
        session.send(&query).expect("the kernel takes it");
    }
    sessions[0].receive().expect("it is served");
    for number in 0..20 {
        let reply = client.ask(&format!("n{number}.wild.test."), "A");
        assert_eq!((reply.rcode.as_str(), reply.an.len()), ("NOERROR", 1));
    }
    assert!(
        !martlet.log().contains("cannot accept"),
        "{}",
        martlet.log()
    );
}
