//! The Corefile changes while the server runs.

mod kept;
mod watched;

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use martlet_tests::dns::Query;
use martlet_tests::flood::Flood;
use martlet_tests::ways::{each_way, with_io};
use martlet_tests::{Client, Martlet, Scrape, Setup, wait_until};

use crate::fixtures::{cluster, manifest};

/// A block on one of the test's ports.
fn block(zone: &str, port: &str, rest: &str) -> String {
    format!("{zone}:{{{port}}} {{\n    bind 127.0.0.1\n    {rest}\n}}\n")
}

/// A server with three ports; `{PORT2}` and `{PORT3}` are free for whatever comes.
fn start(corefile: &str) -> Martlet {
    Setup::new(&format!("{corefile}# {{PORT2}} {{PORT3}}\n"))
        .file("cluster.yaml", &manifest(&cluster()))
        .start()
}

/// What a client on one of the other ports is told; `None` if nobody is there.
fn rcode(martlet: &Martlet, port: usize, name: &str) -> Option<String> {
    let client = Client {
        server: ([127, 0, 0, 1], martlet.nth_port(port)).into(),
        patience: Duration::from_millis(500),
    };
    Some(client.send(&Query::new(name, "A"))?.rcode)
}

fn is_open(martlet: &Martlet, port: usize) -> bool {
    TcpStream::connect(("127.0.0.1", martlet.nth_port(port))).is_ok()
}

/// Waits until nobody listens on a port.
fn closes(martlet: &Martlet, port: usize) {
    let closed = wait_until(Duration::from_secs(5), || {
        (!is_open(martlet, port) && rcode(martlet, port, "a.test.").is_none()).then_some(())
    });
    assert!(closed.is_some(), "port {port} stays open");
}

const KUBERNETES: &str = "kubernetes cluster.local {\n        manifests cluster.yaml\n    }";
const WEB: &str = "web.shop.svc.cluster.local.";

/// The server's blocks change, ports open and close, and nobody who asks for something that is there
/// all the time notices.
#[test]
fn no_query_is_lost_through_reloads() {
    each_way(|io| {
        let first = block("cluster.local", "PORT", KUBERNETES);
        let others = [
            first.clone() + &block("other.test", "PORT", "whoami"),
            first.clone() + &block(".", "PORT2", "whoami"),
            first.clone(),
            block(
                "cluster.local",
                "PORT",
                &format!("errors\n    cache 30\n    {KUBERNETES}"),
            ),
            first.clone() + &block(".", "PORT2", "whoami") + &block(".", "PORT3", "whoami"),
        ];
        let setup = Setup::new(&format!("{first}# {{PORT2}} {{PORT3}}\n"))
            .file("cluster.yaml", &manifest(&cluster()))
            .until_it_answers(WEB);
        let mut martlet = with_io(setup, io).start();
        let mut session = martlet.client().connect();
        let flood = Flood::start(martlet.client().server, WEB);
        for n in 0..50 {
            martlet.reload(&others[n % others.len()]);
            if n % 5 == 0 {
                martlet.refuses(&format!("{first}other.test {{\n    whoam\n}}\n"));
            }
            let query = Query::new(WEB, "A").wire(n as u16);
            session.send(&query).expect("the connection stays open");
            assert_eq!(session.receive().expect("an answer").rcode, "NOERROR");
        }
        let tally = flood.stop();
        println!("{io}: {tally:?}");
        assert!(tally.sent > 1_000, "{tally:?}");
        assert_eq!(tally.sent, tally.answered, "{io}: {tally:?}");
        assert_eq!(tally.failed, 0);
        assert!(martlet.stop().success());
    });
}

#[test]
fn blocks_and_ports_come_and_go() {
    each_way(come_and_go);
}

fn come_and_go(io: &str) {
    let whoami = |zone: &str, port: &str| block(zone, port, "whoami");
    let corefile = whoami("a.test", "PORT") + "# {PORT2} {PORT3}\n";
    let martlet = with_io(Setup::new(&corefile), io).start();
    let client = martlet.client();
    assert_eq!(client.ask("x.b.test.", "A").rcode, "REFUSED");
    assert!(!is_open(&martlet, 2));

    martlet.reload(&(whoami("b.test", "PORT") + &whoami("c.test", "PORT2")));
    assert_eq!(client.ask("x.a.test.", "A").rcode, "REFUSED");
    assert_eq!(client.ask("x.b.test.", "A").rcode, "NOERROR");
    assert_eq!(client.ask_tcp("x.b.test.", "A").rcode, "NOERROR");
    let second = Client::new(([127, 0, 0, 1], martlet.nth_port(2)).into());
    assert_eq!(second.ask("x.c.test.", "A").rcode, "NOERROR");
    assert_eq!(second.ask_tcp("x.c.test.", "A").rcode, "NOERROR");

    // One port instead of another, and back. Who idles on a third one keeps nothing open.
    let _idle = client.connect();
    martlet.reload(&(whoami("a.test", "PORT") + &whoami("c.test", "PORT3")));
    assert_eq!(rcode(&martlet, 3, "x.c.test.").as_deref(), Some("NOERROR"));
    closes(&martlet, 2);
    martlet.reload(&(whoami("a.test", "PORT") + &whoami("c.test", "PORT2")));
    assert_eq!(second.ask("x.c.test.", "A").rcode, "NOERROR");
    closes(&martlet, 3);
}

/// What stands behind a backslash is part of a label, and counts as one octet.
#[test]
fn zones_with_escapes_are_whole_names() {
    let martlet = start(&block("a.test", "PORT", "whoami"));
    let long = "\\200".repeat(20);
    let zones = ["a\\.b.test", &format!("{long}.test"), "\\099.test"];
    martlet.reload(&zones.map(|zone| block(zone, "PORT", "whoami")).concat());
    for (name, expected) in [
        ("x.a\\.B.test.", "NOERROR"),
        ("x.a.b.test.", "REFUSED"),
        (&format!("x.{long}.test."), "NOERROR"),
        ("x.c.test.", "NOERROR"),
    ] {
        assert_eq!(martlet.client().ask(name, "A").rcode, expected, "{name}");
    }
}

/// A wildcard's sockets and those of a bound address take each other's place.
#[test]
fn the_addresses_of_a_port_change() {
    let all = "a.test:{PORT} {\n    whoami\n}\n";
    let bound = block("a.test", "PORT", "whoami");
    let martlet = start(all);
    let flood = Flood::start(martlet.client().server, "x.a.test.");
    for corefile in [&bound, all, &bound, all] {
        martlet.reload(corefile);
    }
    let tally = flood.stop();
    assert_eq!(tally.sent, tally.answered, "{tally:?}");
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let good = block("a.test", "PORT", "whoami\n    prometheus :{PORT3}");
    let martlet = start(&good);
    let taken = TcpListener::bind(("127.0.0.1", martlet.nth_port(2))).expect("it is free");
    let failures =
        |port: usize| Scrape::of(martlet.nth_port(port)).sum("coredns_reload_failed_total", &[]);
    let faults = [
        ("a.test:{PORT} {\n    whoam\n}\n".to_owned(), "whoam"),
        (
            block("b.test", "PORT", "whoami") + &block(".", "PORT2", "whoami"),
            "cannot listen",
        ),
        (
            block("b.test", "PORT", "whoami\n    health :{PORT2}"),
            "cannot listen",
        ),
        (
            block(
                "b.test",
                "PORT",
                "kubernetes cluster.local {\n        manifests nowhere.yaml\n    }",
            ),
            "nowhere.yaml",
        ),
        (
            block("b.test", "PORT", "forward . missing.conf"),
            "missing.conf",
        ),
    ];
    for (count, (corefile, words)) in faults.iter().enumerate() {
        let said = martlet.refuses(corefile);
        assert!(said.contains(words), "`{words}` is not in: {said}");
        let client = martlet.client();
        assert_eq!(client.ask("x.a.test.", "A").rcode, "NOERROR", "{words}");
        assert_eq!(client.ask("x.b.test.", "A").rcode, "REFUSED", "{words}");
        assert_eq!(failures(3), (count + 1) as f64);
    }
    drop(taken);
    martlet.reload(&faults[1].0);
    let client = martlet.client();
    assert_eq!(client.ask("x.b.test.", "A").rcode, "NOERROR");
    assert!(is_open(&martlet, 2));
}
