//! `snapshot`: a start without the API server answers what was known before.

use std::fs;
use std::path::Path;
use std::time::Duration;

use martlet_tests::{FakeApi, Martlet, Scrape, Setup, wait_until};
use tempfile::TempDir;

use crate::fixtures::{becomes, cluster, service};

const WEB: &str = "web.shop.svc.cluster.local.";
/// Long enough for a client's back-off on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn setup(api: &FakeApi, dir: &Path, options: &str) -> Setup {
    let (kubeconfig, state) = (api.write_kubeconfig(dir), dir.join("state"));
    let (kubeconfig, state) = (kubeconfig.display(), state.display());
    Setup::new(&format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    prometheus 127.0.0.1:{{PORT2}}\n    kubernetes \
         cluster.local in-addr.arpa {{\n        kubeconfig {kubeconfig}\n        snapshot {state}\n        \
         {options}\n    }}\n}}\n"
    ))
}

fn is_served(martlet: &Martlet) -> bool {
    let scrape = Scrape::of(martlet.nth_port(2));
    scrape.sum("martlet_kubernetes_snapshot_served", &[]) > 0.0
}

/// Runs a server until it has written its snapshot.
fn write(api: &FakeApi, dir: &Path) {
    let mut martlet = setup(api, dir, "").start();
    let written = wait_until(PATIENCE, || dir.join("state").exists().then_some(()));
    assert!(written.is_some(), "{}", martlet.log());
    assert!(!is_served(&martlet));
    assert!(martlet.stop().success());
}

#[test]
fn a_start_without_the_api_server_serves_what_was_known() {
    let api = FakeApi::start(cluster());
    let dir = TempDir::new().unwrap();
    write(&api, dir.path());
    api.go_down();
    // Whoever waited for the API server would wait for long.
    let options = "startup_timeout 10m";
    let martlet = setup(&api, dir.path(), options)
        .until_it_answers(WEB)
        .start();
    let client = martlet.client();
    let addresses = |name| {
        client
            .ask(name, "A")
            .rdata("A")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(addresses(WEB), ["10.96.0.20"]);
    assert_eq!(addresses("db.shop.svc.cluster.local.").len(), 2);
    let reverse = client.ask("31.0.244.10.in-addr.arpa.", "PTR");
    assert_eq!(reverse.rcode, "NOERROR");
    assert_eq!(
        client.ask("none.shop.svc.cluster.local.", "A").rcode,
        "NXDOMAIN"
    );
    assert!(is_served(&martlet));
    assert!(
        martlet.log().contains("serving the snapshot"),
        "{}",
        martlet.log()
    );
    // The API server comes back, and not all is as it was.
    api.delete("Service", "shop", "web");
    api.upsert(service("shop", "new", "10.96.0.77"));
    api.come_up();
    becomes(
        martlet.client(),
        "new.shop.svc.cluster.local.",
        &["10.96.0.77"],
        PATIENCE,
    );
    let gone = wait_until(PATIENCE, || {
        (client.ask(WEB, "A").rcode == "NXDOMAIN").then_some(())
    });
    assert!(gone.is_some());
    let over = wait_until(PATIENCE, || (!is_served(&martlet)).then_some(()));
    assert!(over.is_some(), "{}", martlet.log());
}

#[test]
fn a_snapshot_that_is_none_is_told_and_ignored() {
    let api = FakeApi::start(cluster());
    let dir = TempDir::new().unwrap();
    write(&api, dir.path());
    let whole = fs::read(dir.path().join("state")).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let cases: [(&[u8], &str, &str); 3] = [
        (b"apiVersion: v1", "", "is no snapshot"),
        (&damaged, "", "is damaged"),
        (&whole, "pods verified", "of other settings"),
    ];
    for (content, options, expected) in cases {
        fs::write(dir.path().join("state"), content).unwrap();
        let martlet = setup(&api, dir.path(), options).start();
        becomes(martlet.client(), WEB, &["10.96.0.20"], PATIENCE);
        let log = martlet.log();
        assert!(
            log.contains(expected) && !log.contains("serving the snapshot"),
            "{log}"
        );
        let scrape = Scrape::of(martlet.nth_port(2));
        assert!(scrape.sum("martlet_kubernetes_snapshot_failures_total", &[]) > 0.0);
    }
}

#[test]
fn changes_show_while_the_next_snapshot_is_not_due() {
    let api = FakeApi::start(cluster());
    let dir = TempDir::new().unwrap();
    let martlet = setup(&api, dir.path(), "").start();
    let written = wait_until(PATIENCE, || dir.path().join("state").exists().then_some(()));
    assert!(written.is_some(), "{}", martlet.log());
    for address in ["10.96.0.71", "10.96.0.72", "10.96.0.73"] {
        api.upsert(service("shop", "new", address));
        let name = "new.shop.svc.cluster.local.";
        becomes(martlet.client(), name, &[address], PATIENCE);
    }
}
