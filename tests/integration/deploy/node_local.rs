//! The form that serves each node for itself answers as the cluster and its upstream do.

use std::time::Duration;

use martlet_tests::{Setup, Transport, Upstream, wild_address};

use super::{corefile, folder};
use crate::fixtures::{COREFILE, becomes, cluster, manifest};

#[test]
fn the_node_local_form_answers() {
    let cluster_dns = Setup::new(COREFILE)
        .file("cluster.yaml", &manifest(&cluster()))
        .start();
    let upstream = Upstream::start("a");
    let to_cluster = format!("forward . 127.0.0.1:{} {{", cluster_dns.port());
    let to_upstream = format!("forward . {}", upstream.address());
    let replaced = [
        ("forward . 10.96.0.10 {", &*to_cluster),
        ("forward . /etc/resolv.conf", &*to_upstream),
        (":53", ":{PORT}"),
        (":9253", "127.0.0.1:{PORT2}"),
        ("169.254.20.10:8080", "127.0.0.1:{PORT3}"),
        ("169.254.20.10:8181", "127.0.0.1:{PORT4}"),
        ("169.254.20.10", "127.0.0.1"),
    ];
    let objects = folder("node-local");
    let corefile = replaced
        .iter()
        .fold(corefile(&objects).to_owned(), |text, (old, new)| {
            assert!(text.contains(old), "{old}");
            text.replace(old, new)
        });
    let node = Setup::new(&corefile)
        .until_it_answers("web.shop.svc.cluster.local.")
        .start();
    let patience = Duration::from_secs(5);
    becomes(
        node.client(),
        "web.shop.svc.cluster.local.",
        &["10.96.0.20"],
        patience,
    );
    let client = node.client();
    let reverse = client.ask("20.0.96.10.in-addr.arpa.", "PTR");
    assert_eq!((reverse.rcode.as_str(), reverse.an.len()), ("NOERROR", 1));
    let outside = client.ask("n.wild.test.", "A");
    assert_eq!(outside.addresses(), [wild_address("n.wild.test.")]);
    let asked = upstream.asked();
    let outside = asked.iter().filter(|asked| asked.name == "n.wild.test.");
    assert!(outside.clone().count() > 0);
    assert!(outside.clone().all(|asked| asked.over == Transport::Udp));
    assert!(
        asked
            .iter()
            .all(|asked| !asked.name.ends_with("cluster.local.")),
        "what is the cluster's leaves it for nobody: {asked:?}"
    );
}
