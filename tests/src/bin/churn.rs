//! `churn`: what changes of the cluster cost. An API server on loopback replaces an EndpointSlice so
//! many times a second, each time with another address. For each change it is measured how long it
//! takes from when it was due until the server answers with the new address, with nothing else to do
//! and in rounds in which clients ask for another name as fast as they are answered. Between those are
//! rounds without changes: the ratios to them are what changes cost who asks.
//!
//! Usage: `churn [CHANGES-PER-SECOND [SECONDS [SERVICES]]]`; `perf/churn` runs it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use martlet_tests::dns::{Query, decode};
use martlet_tests::measured::{corefile, median, under_load};
use martlet_tests::{FakeApi, Setup};
use serde_json::{Value, json};

fn main() {
    let argument = |at, default| {
        let given = std::env::args().nth(at);
        given.map_or(default, |text| text.parse().expect("a number"))
    };
    let (rate, seconds) = (argument(1, 200).max(1), argument(2, 10).max(1));
    let services = argument(3, 10_000).max(2);
    let time = Duration::from_secs(u64::from(seconds));

    let mut objects = vec![namespace()];
    // As in a cluster each pod has an address of its own.
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 1));
    let objects_of = |at| [service(at), slice(at, Ipv4Addr::from(first + at))];
    objects.extend((0..services).flat_map(objects_of));
    let api = FakeApi::start(objects);
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let asked = format!("{}.", name(0));
    let mut martlet = Setup::new(&corefile(&api.write_kubeconfig(dir.path())))
        .until_it_answers(&asked)
        .start();
    let mut churn = Churn {
        api: &api,
        client: Client::new(martlet.client().server),
        rate,
        services,
        number: 0,
    };

    println!("{services} Services, {rate} changes a second");
    tell("with nothing else to do", churn.run(time));
    let part = time / ROUNDS;
    let (mut delays, mut rates, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (quiet, ()) = under_load(&martlet, &asked, || thread::sleep(part));
        let (busy, more) = under_load(&martlet, &asked, || churn.run(part));
        delays.extend(more);
        rates.push(busy.rate / quiet.rate);
        costs.push(busy.cpu_us / quiet.cpu_us);
    }
    tell("while clients ask for another name without pause", delays);
    println!(
        "answers of that name meanwhile, of those without changes, median of {ROUNDS} rounds: {:.3}; CPU time \
         of an answer: {:.3}",
        median(rates),
        median(costs)
    );
    martlet.stop();
}

fn tell(when: &str, mut delays: Vec<Duration>) {
    delays.sort_unstable();
    let at = |thousandths: usize| {
        let delay = delays[(delays.len() - 1) * thousandths / 1_000];
        delay.as_secs_f64() * 1e3
    };
    println!(
        "{when}: {} changes, due to answered p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms",
        delays.len(),
        at(500),
        at(990),
        at(1_000)
    );
}

struct Churn<'a> {
    api: &'a FakeApi,
    client: Client,
    /// Changes a second.
    rate: u32,
    services: u32,
    /// Changes so far; each has an address of its own.
    number: u32,
}

impl Churn<'_> {
    /// Makes changes at a steady rate for so long. Returns the time of each from when it was due until it was
    /// answered: one that is late because the one before took long is late for whoever waits for it, too.
    fn run(&mut self, time: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let interval = Duration::from_secs(1) / self.rate;
        let mut delays = Vec::new();
        for due in (0_u32..).map(|count| interval * count) {
            if due >= time {
                break;
            }
            let due = start + due;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.number += 1;
            // Not the first one: that is asked for meanwhile.
            let at = 1 + self.number % (self.services - 1).max(1);
            let [_, high, middle, low] = self.number.to_be_bytes();
            let address = Ipv4Addr::new(11 + high, middle, low, 1);
            self.api.upsert(slice(at, address));
            while !self.client.ask(at).contains(&IpAddr::from(address)) {
                assert!(
                    due.elapsed() < time + PATIENCE,
                    "change {} was never answered",
                    self.number
                );
            }
            delays.push(due.elapsed());
        }
        delays
    }
}

/// Asks one question at a time.
struct Client {
    socket: UdpSocket,
    id: u16,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(server).expect("loopback can be reached");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("sockets can wait so long");
        Self { socket, id: 0 }
    }

    /// The addresses of a Service; none when no reply came.
    fn ask(&mut self, at: u32) -> Vec<IpAddr> {
        self.id = self.id.wrapping_add(1);
        let query = Query::new(&format!("{}.", name(at)), "A").wire(self.id);
        self.socket.send(&query).expect("the server's port is open");
        let mut buffer = [0; 4_096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            // A late reply to an earlier question is none to this one.
            if buffer[..len].starts_with(&self.id.to_be_bytes()) {
                return decode(&buffer[..len], 0).addresses();
            }
        }
        Vec::new()
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

/// Rounds with changes, and as many without.
const ROUNDS: u32 = 5;

/// Long enough for any change.
const PATIENCE: Duration = Duration::from_secs(10);
