//! `loadbalance`: which address comes first.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use martlet_tests::dns::Query;
use martlet_tests::{Martlet, Setup, TcpSession, wait_until};

use crate::fixtures::{manifest, namespace, service, slice};

const NAME: &str = "db.default.svc.cluster.local.";

/// A server with a headless Service of four endpoints.
fn setup(loadbalance: &str) -> Setup {
    let addresses = ["10.1.0.1", "10.2.0.1", "10.1.0.2", "10.3.0.1"];
    let objects = [
        namespace("default", "front"),
        service("default", "db", "None"),
        slice("default", "db", &addresses),
    ];
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    loadbalance {loadbalance}\n    \
         kubernetes cluster.local {{\n        manifests cluster.yaml\n    }}\n}}\n"
    );
    Setup::new(&corefile).file("cluster.yaml", &manifest(&objects))
}

/// The addresses in the order of the answer, which taken apart would be sorted.
fn answer(session: &mut TcpSession) -> Vec<String> {
    const RECORD_LEN: usize = 16;
    let query = Query::new(NAME, "A").wire(7);
    session.send(&query).expect("it reads");
    let reply = session.receive_octets().expect("it answers");
    let records = &reply[reply.len() - 4 * RECORD_LEN..];
    let addresses = records.chunks(RECORD_LEN).map(|record| {
        let octets: [u8; 4] = record[12..].try_into().expect("an address");
        IpAddr::from(octets).to_string()
    });
    addresses.collect()
}

/// How often each address comes first.
fn firsts(martlet: &Martlet) -> HashMap<String, usize> {
    let (mut session, mut firsts) = (martlet.client().connect(), HashMap::new());
    for _ in 0..400 {
        let first = answer(&mut session).swap_remove(0);
        *firsts.entry(first).or_default() += 1;
    }
    firsts
}

#[test]
fn preferred_networks_come_first() {
    let martlet = setup("round_robin {\n prefer 10.3.0.0/16 10.1.0.0/16\n}").start();
    let mut session = martlet.client().connect();
    let mut seconds = HashMap::<_, usize>::new();
    for _ in 0..100 {
        let answer = answer(&mut session);
        assert_eq!((&*answer[0], &*answer[3]), ("10.3.0.1", "10.2.0.1"));
        *seconds.entry(answer[1].clone()).or_default() += 1;
    }
    assert_eq!(seconds.len(), 2, "those of one network rotate: {seconds:?}");
}

#[test]
fn addresses_are_drawn_by_weight_and_weights_can_change() {
    let weights = |heavy: &str| format!("# weights\n{NAME}\n{heavy} 97\n");
    let martlet = setup("weighted weights {\n reload 1s\n}")
        .file("weights", &weights("10.2.0.1"))
        .start();
    let found = firsts(&martlet);
    assert!(found["10.2.0.1"] > 350, "97 in 100: {found:?}");
    let file = martlet.dir().join("weights");
    fs::write(&file, "no weights\n").expect("the directory is writable");
    let told = wait_until(Duration::from_secs(10), || {
        martlet.log().contains("weights:1: ").then_some(())
    });
    assert!(told.is_some(), "{}", martlet.log());
    assert!(firsts(&martlet)["10.2.0.1"] > 350, "the old ones stay");
    fs::write(&file, weights("10.3.0.1")).expect("the directory is writable");
    let changed = wait_until(Duration::from_secs(10), || {
        (firsts(&martlet).get("10.3.0.1") > Some(&350)).then_some(())
    });
    assert!(changed.is_some(), "{:?}", firsts(&martlet));
}
