//! The machine's clock jumps, by days and back: what is served does not change, and what
//! changes is followed as before. Only the clock that tells the date jumps, as on a real machine.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use martlet_tests::{FakeApi, Setup, Upstream, tools, wait_until, wild_address};
use tempfile::TempDir;

use crate::fixtures::{becomes, cluster, service};

/// Debian's place for what stands between a program and the clock.
fn library() -> Option<String> {
    let path = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1",
        std::env::consts::ARCH
    );
    if Path::new(&path).exists() {
        return Some(path);
    }
    tools::cannot("not installed: faketime");
    None
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let Some(library) = library() else { return };
    let dir = TempDir::new().expect("the temporary directory is writable");
    let clock = dir.path().join("clock");
    let jump = |to: &str| fs::write(&clock, to).expect("the directory is writable");
    jump("+0");
    let api = FakeApi::start(cluster());
    let upstream = Upstream::start("a");
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    errors\n    kubernetes cluster.local {{\n        \
         kubeconfig {}\n    }}\n    cache 3600\n    forward . {}\n}}\n",
        api.write_kubeconfig(dir.path()).display(),
        upstream.address()
    );
    let clock_path = clock.display().to_string();
    let martlet = [
        ("LD_PRELOAD", &*library),
        ("FAKETIME_TIMESTAMP_FILE", &clock_path),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
    .into_iter()
    .fold(Setup::new(&corefile), |setup, (name, value)| {
        setup.environment(name, value)
    })
    .start();
    let client = martlet.client();
    let (kept, other) = ("kept.wild.test.", "web.shop.svc.cluster.local.");
    let first = client.ask(kept, "A").an[0].1;
    let mut last = 0;
    for (number, (to, days)) in [("+5d", 5), ("-9d", -9)].into_iter().enumerate() {
        jump(to);
        assert_eq!(client.ask(other, "A").addresses().len(), 1, "{to}");
        let again = client.ask(kept, "A");
        assert_eq!(again.addresses(), [wild_address(kept)], "{to}");
        let ttl = again.an[0].1;
        assert!(
            first - 10 <= ttl && ttl <= first,
            "{to}: {first} became {ttl}"
        );
        assert_eq!(upstream.count(kept), 1, "{to}: it is kept");
        let name = format!("new-{number}");
        let address = format!("10.96.1.{number}");
        api.upsert(service("shop", &name, &address));
        let full = format!("{name}.shop.svc.cluster.local.");
        becomes(client, &full, &[&address], Duration::from_secs(5));
        // The zone's serial is the date of its last change, but never goes back: secondaries would
        // think that they have newer zones, and stay with those.
        let serial = wait_until(Duration::from_secs(5), || {
            let soa = client.ask("cluster.local.", "SOA");
            let serial = soa.an[0].rdata().split(' ').nth(2).map(str::parse);
            let serial: u64 = serial.expect("a serial").expect("a number");
            (serial > last).then_some(serial)
        });
        let serial = serial.expect("the serial of the change");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let expected = last.max(now.as_secs().strict_add_signed(days * 86_400));
        assert!(
            serial.abs_diff(expected) < 60,
            "{to}: {serial}, not {expected}"
        );
        last = serial;
    }
    let log = martlet.log();
    assert!(
        !log.contains("[ERROR]") && !log.contains("panicked"),
        "{log}"
    );
}
