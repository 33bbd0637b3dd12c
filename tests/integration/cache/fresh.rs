//! Cluster names behind a cache: a Service is seen as soon as it is there, whatever was denied
//! before.

use std::time::Duration;

use martlet_tests::{FakeApi, Martlet, Setup, Upstream, wait_until};
use tempfile::TempDir;

use crate::fixtures::{becomes, cluster, forward, service};

/// It takes milliseconds; the rest is for busy machines. Far less than any TTL below.
const SOON: Duration = Duration::from_secs(5);

const NAME: &str = "new.shop.svc.cluster.local.";
const ADDRESS: &str = "10.96.0.40";
const REVERSE: &str = "40.0.96.10.in-addr.arpa.";

struct Cluster {
    api: FakeApi,
    upstream: Upstream,
    martlet: Martlet,
    _kubeconfig: TempDir,
}

fn start() -> Cluster {
    let api = FakeApi::start(cluster());
    let upstream = Upstream::start("a");
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    kubernetes cluster.local in-addr.arpa {{\n        \
         kubeconfig {}\n        fallthrough in-addr.arpa\n    }}\n    \
         cache 600 {{\n        denial 1024 600 600\n    }}\n    {}\n}}\n",
        kubeconfig.display(),
        forward(&[upstream.address()], "")
    );
    let martlet = Setup::new(&corefile).start();
    Cluster {
        api,
        upstream,
        martlet,
        _kubeconfig: dir,
    }
}

#[test]
fn a_cached_denial_does_not_hide_a_new_service() {
    let Cluster {
        api,
        upstream,
        martlet,
        ..
    } = start();
    let client = martlet.client();
    for _ in 0..3 {
        assert_eq!(client.ask(REVERSE, "PTR").rcode, "NXDOMAIN");
        assert_eq!(client.ask(NAME, "A").rcode, "NXDOMAIN");
    }
    assert_eq!(upstream.count(REVERSE), 1, "the denial is kept");
    assert_eq!(upstream.count(NAME), 0, "cluster names stay here");
    api.upsert(service("shop", "new", ADDRESS));
    becomes(client, NAME, &[ADDRESS], SOON);
    let found = wait_until(SOON, || {
        let reply = client.ask(REVERSE, "PTR");
        reply.rdata("PTR").any(|name| name == NAME).then_some(())
    });
    assert!(found.is_some(), "{:?}", client.ask(REVERSE, "PTR"));
    // And what is gone is gone: the upstream's denial is the answer again.
    api.delete("Service", "shop", "new");
    for (name, rtype) in [(NAME, "A"), (REVERSE, "PTR")] {
        let gone = wait_until(SOON, || {
            (client.ask(name, rtype).rcode == "NXDOMAIN").then_some(())
        });
        assert!(gone.is_some(), "{:?}", client.ask(name, rtype));
    }
}

#[test]
fn a_changed_service_is_not_answered_from_a_cache() {
    let Cluster { api, martlet, .. } = start();
    for n in 1..20 {
        let address = format!("10.96.7.{n}");
        api.upsert(service("shop", "web", &address));
        becomes(
            martlet.client(),
            "web.shop.svc.cluster.local.",
            &[&address],
            SOON,
        );
    }
}
