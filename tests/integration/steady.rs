//! Many clients for a while: what happens when one upstream is dead, or all of them are ill.
//!
//! The programs `failover` and `soak` do the same for longer, with figures.

use std::net::UdpSocket;
use std::time::Duration;

use martlet_tests::load::Load;
use martlet_tests::{Setup, Upstream, soak, status_kib, upheaval};

use crate::fixtures::{becomes, manifest, namespace, pod, resolver, service, slice};

/// A dead upstream costs hardly anybody anything. How much is for `failover` to measure, on a
/// machine that is not busy; here all are answered, and most of them at once.
#[test]
fn a_dead_upstream_is_not_waited_for() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let dead = silent.local_addr().expect("it is bound");
    let good = Upstream::start("good");
    let martlet = resolver(&format!("forward . {dead} {}", good.address())).start();
    let load = Load {
        server: martlet.client().server,
        rate: 300,
        time: Duration::from_secs(2),
        new_every: 1,
    };
    let outcome = load.run();
    assert!(outcome.adds_up(), "{}", outcome.summary());
    assert_eq!(outcome.right, outcome.sent, "{}", outcome.summary());
    assert!(outcome.sent >= 590, "{}", outcome.summary());
    // Without a time-out of two seconds for every second question.
    let median = outcome.quantile(0.5);
    assert!(median < Duration::from_millis(200), "{}", outcome.summary());
}

#[test]
fn ill_upstreams_leave_no_question_open() {
    let report = soak::run(Duration::from_secs(10), 300);
    println!("{report}");
    assert!(report.is_good(), "{report}");
}

/// Everything changes, again and again: what a day brings, in seconds. Nothing piles up, and a list
/// of the whole cluster is not kept beside what is served.
#[test]
fn memory_stays_as_it_is_through_upheavals() {
    let mut objects = vec![namespace("shop", "front")];
    for number in 0..300 {
        let name = format!("web-{number}");
        let addresses = (1..=40)
            .map(|last| format!("10.{}.{}.{last}", 244 + number / 200, number % 200))
            .collect::<Vec<_>>();
        let addresses = addresses.iter().map(String::as_str).collect::<Vec<_>>();
        objects.push(service("shop", &name, "None"));
        objects.push(slice("shop", &name, &addresses));
        objects.extend(addresses.iter().map(|address| {
            // What is listed takes room enough to be seen.
            let pod_name = format!("{name}-{}-{:a<150}", address.replace('.', "-"), "");
            pod("shop", &pod_name, address)
        }));
    }
    let report = upheaval::run(objects, "verified", 16, Duration::from_millis(300));
    println!("{report}");
    let most = report.upheavals.iter().map(|upheaval| upheaval.most).max();
    let most = most.expect("there were some");
    assert!(
        most <= report.steady + report.steady / 16 + 1_024,
        "{most} KiB at the worst:\n{report}"
    );
    let after = |at: usize| report.upheavals[at].after;
    let (early, late) = (after(6), after(16));
    assert!(
        late <= early + early / 20 + 512,
        "from {early} KiB to {late} KiB:\n{report}"
    );
}

/// Manifests that have changed are not kept beside what is served while they are read. Most of these
/// say the same again, so that the files are large and what is served is not.
#[test]
fn manifests_are_never_in_memory_as_a_whole() {
    let cluster = |address: &str| {
        let mut objects = vec![namespace("shop", "front")];
        let again = pod("shop", &"p".repeat(250), "10.244.0.1");
        objects.extend(std::iter::repeat_n(again, 30_000));
        objects.push(service("shop", "web", address));
        manifest(&objects)
    };
    let corefile = "\
.:{PORT} {
    bind 127.0.0.1
    kubernetes cluster.local {
        manifests cluster.yaml
        pods verified
        ttl 0
    }
}
";
    let martlet = Setup::new(corefile)
        .file("cluster.yaml", &cluster("10.96.0.1"))
        .start();
    let most = || status_kib(martlet.process.id(), "VmHWM").expect("it runs");
    let (name, patience) = ("web.shop.svc.cluster.local.", Duration::from_secs(60));
    becomes(martlet.client(), name, &["10.96.0.1"], patience);
    let first = most();
    martlet.write("cluster.yaml", &cluster("10.96.0.2"));
    becomes(martlet.client(), name, &["10.96.0.2"], patience);
    let second = most();
    assert!(second <= first + 6_144, "from {first} KiB to {second} KiB");
}
