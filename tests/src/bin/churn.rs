//! `churn`: what changes of the cluster cost. An API server on loopback replaces an EndpointSlice so
//! many times a second, each time with another address. For each change it is measured how long it
//! takes until the server answers with the new address; besides, a client asks for a name that does
//! not change as fast as it is answered, with and without changes.
//!
//! Usage: `churn [CHANGES-PER-SECOND [SECONDS [SERVICES]]]`; `perf/churn` runs it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use martlet_tests::dns::{Query, decode};
use martlet_tests::{FakeApi, Setup};
use serde_json::{Value, json};

fn main() {
    let argument = |at, default| {
        let given = std::env::args().nth(at);
        given.map_or(default, |text| text.parse().expect("a number"))
    };
    let (rate, seconds, services) = (argument(1, 200), argument(2, 10), argument(3, 1_000));
    let time = Duration::from_secs(u64::from(seconds));

    let mut objects = vec![namespace()];
    objects
        .extend((0..services).flat_map(|at| [service(at), slice(at, Ipv4Addr::new(10, 0, 0, 1))]));
    let api = FakeApi::start(objects);
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    kubernetes cluster.local {{\n        \
         kubeconfig {}\n        ttl 0\n    }}\n}}\n",
        api.write_kubeconfig(dir.path()).display()
    );
    let mut martlet = Setup::new(&corefile)
        .until_it_answers(&format!("{}.", name(0)))
        .start();
    let server = martlet.client().server;

    println!("{services} Services, {rate} changes a second wanted");
    let mut number = 0;
    let mut churn = || change(&api, server, &mut number, (rate, time), services);
    let alone = churn();
    tell("with nothing else to do", &alone, time);
    let quiet = asking(server, || thread::sleep(time));
    let mut delays = Vec::new();
    let busy = asking(server, || delays = churn());
    tell(
        "while another name is asked for without pause",
        &delays,
        time,
    );
    println!(
        "answers of that name meanwhile: {:.3} of those without changes",
        busy as f64 / quiet.max(1) as f64
    );
    martlet.stop();
}

fn tell(when: &str, delays: &[Duration], time: Duration) {
    let at = |thousandths: usize| {
        let delay = delays[(delays.len() - 1) * thousandths / 1_000];
        delay.as_secs_f64() * 1e3
    };
    println!(
        "{when}: {:.0} changes a second, change to answer p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms",
        delays.len() as f64 / time.as_secs_f64(),
        at(500),
        at(990),
        at(1_000)
    );
}

/// Makes changes at a steady rate; returns the times from each to its answer, in their order. A change leaves when it
/// is due and the one before was seen, so that no answer is ascribed to the wrong one.
fn change(
    api: &FakeApi,
    server: SocketAddr,
    number: &mut u32,
    (rate, time): (u32, Duration),
    services: u32,
) -> Vec<Duration> {
    let socket = socket(server);
    let start = Instant::now();
    let mut delays = Vec::new();
    while start.elapsed() < time {
        let due = start + Duration::from_secs(1) * delays.len() as u32 / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        *number += 1;
        // Not the first one: that is asked about meanwhile.
        let at = 1 + *number % (services - 1).max(1);
        let [_, high, middle, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(11 + high, middle, low, 1);
        let changed = Instant::now();
        api.upsert(slice(at, address));
        let expected = IpAddr::from(address);
        while !ask(&socket, at).contains(&expected) {
            assert!(
                changed.elapsed() < PATIENCE,
                "change {number} was never answered"
            );
        }
        delays.push(changed.elapsed());
    }
    delays.sort_unstable();
    delays
}

/// How many answers a client gets that asks for the first name while `meanwhile` runs.
fn asking(server: SocketAddr, meanwhile: impl FnOnce()) -> u64 {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let socket = socket(server);
            let mut answers = 0;
            while !done.load(Ordering::Relaxed) {
                answers += u64::from(!ask(&socket, 0).is_empty());
            }
            answers
        });
        meanwhile();
        done.store(true, Ordering::Relaxed);
        asking.join().expect("it only asks")
    })
}

fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(server).expect("loopback can be reached");
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("sockets can wait so long");
    socket
}

/// The addresses of a Service; none when no reply came.
fn ask(socket: &UdpSocket, at: u32) -> Vec<IpAddr> {
    let query = Query::new(&format!("{}.", name(at)), "A").wire(7);
    socket.send(&query).expect("the server's port is open");
    let mut buffer = [0; 4_096];
    match socket.recv(&mut buffer) {
        Ok(len) => decode(&buffer[..len], 0).addresses(),
        Err(_) => Vec::new(),
    }
}

fn name(at: u32) -> String {
    format!("web-{at}.churn.svc.cluster.local")
}

fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "churn"}})
}

/// A headless Service: its answers are its endpoints.
fn service(at: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("web-{at}"), "namespace": "churn"},
        "spec": {
            "clusterIP": "None", "clusterIPs": ["None"], "type": "ClusterIP",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    })
}

fn slice(at: u32, address: Ipv4Addr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("web-{at}-1"), "namespace": "churn",
            "labels": {"kubernetes.io/service-name": format!("web-{at}")},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

/// Long enough for any change.
const PATIENCE: Duration = Duration::from_secs(10);
