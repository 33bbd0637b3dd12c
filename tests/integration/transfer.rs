//! `transfer` with a secondary that other people wrote: NSD.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use martlet_tests::{Client, Martlet, Process, Setup, Upstream, tools, wait_until};

use crate::fixtures::{cluster, manifest, service};

/// More than what a secondary is left alone after it was told, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const COREFILE: &str = "\
z.test:{PORT} {
    bind 127.0.0.1
    file db.z {
        reload 1s
    }
    transfer {
        to 127.0.0.1:{PORT2}
    }
}
.:{PORT} {
    bind 127.0.0.1
    transfer cluster.local {
        to 127.0.0.1:{PORT2}
    }
    kubernetes cluster.local {
        manifests cluster.yaml
    }
}
";

fn zone(serial: u32, rest: &str) -> String {
    format!("$TTL 60\n@ SOA ns admin {serial} 3600 3600 86400 60\n@ NS ns\nns A 192.0.2.1\n{rest}")
}

/// NSD on `port`, with zones that `primary` has.
fn nsd(dir: &Path, port: u16, primary: u16) -> Process {
    let mut text = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  \
         chroot: \"\"\n  zonesdir: \"{0}\"\n  pidfile: \"{0}/nsd.pid\"\n  xfrdfile: \"{0}/xfrd\"\n  \
         xfrdir: \"{0}\"\n  zonelistfile: \"{0}/zones\"\n  database: \"\"\n  verbosity: 2\n\
         remote-control:\n  control-enable: no\n",
        dir.display()
    );
    for zone in ["z.test", "cluster.local"] {
        text += &format!(
            "zone:\n  name: {zone}\n  zonefile: {zone}.zone\n  allow-notify: 127.0.0.1 NOKEY\n  \
             request-xfr: 127.0.0.1@{primary} NOKEY\n"
        );
    }
    let config = dir.join("nsd.conf");
    fs::write(&config, text).expect("the directory is writable");
    let mut command = Command::new("nsd");
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-d", "-c"])
        .arg(&config);
    Process::start(&mut command)
}

/// Asks until both say the same, and that there is something.
fn agree(martlet: &Martlet, nsd: &Process, (name, rtype): (&str, &str)) {
    let secondary = Client {
        patience: Duration::from_millis(300),
        ..Client::new(([127, 0, 0, 1], martlet.nth_port(2)).into())
    };
    let query = martlet_tests::dns::Query::new(name, rtype);
    let mut last = None;
    let agreed = wait_until(PATIENCE, || {
        let [ours, theirs] = [&martlet.client(), &secondary].map(|it| it.send(&query));
        let [ours, theirs] = [ours?, theirs?].map(|reply| (reply.rcode, reply.an));
        let same = ours == theirs && !ours.1.is_empty();
        last = Some((ours, theirs));
        same.then_some(())
    });
    assert!(
        agreed.is_some(),
        "{name} {rtype}: {last:?}\n{}\n{}",
        nsd.output(),
        martlet.log()
    );
}

#[test]
fn nsd_has_the_zones_and_is_told_of_changes() {
    if !tools::available(&["nsd"]) {
        return;
    }
    let mut objects = cluster();
    let martlet = Setup::new(COREFILE)
        .file("db.z", &zone(1, ""))
        .file("cluster.yaml", &manifest(&objects))
        .start();
    let nsd = nsd(martlet.dir(), martlet.nth_port(2), martlet.port());
    for question in [
        ("z.test.", "SOA"),
        ("ns.z.test.", "A"),
        ("cluster.local.", "SOA"),
        ("web.shop.svc.cluster.local.", "A"),
        ("db.shop.svc.cluster.local.", "A"),
        ("10-244-0-31.db.shop.svc.cluster.local.", "A"),
        ("_http._tcp.web.shop.svc.cluster.local.", "SRV"),
        ("_http._tcp.db.shop.svc.cluster.local.", "SRV"),
    ] {
        agree(&martlet, &nsd, question);
    }
    // It would not look again for hours.
    martlet.write("db.z", &zone(2, "new A 192.0.2.2\n"));
    objects.push(service("shop", "new", "10.96.0.77"));
    martlet.write("cluster.yaml", &manifest(&objects));
    for question in [
        ("new.z.test.", "A"),
        ("z.test.", "SOA"),
        ("new.shop.svc.cluster.local.", "A"),
        ("cluster.local.", "SOA"),
    ] {
        agree(&martlet, &nsd, question);
    }
    assert!(
        martlet.said("records of zone cluster.local.") >= 2,
        "{}",
        martlet.log()
    );
}

/// Nobody here has the zone, so the question is the upstream's.
#[test]
fn what_is_not_transferred_here_is_forwarded() {
    let upstream = Upstream::start("u1");
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    transfer {{\n        to *\n    }}\n    \
         forward . {}\n}}\n",
        upstream.address()
    );
    let martlet = Setup::new(&corefile).start();
    let reply = martlet.client().ask_tcp("a.up.test.", "AXFR");
    assert_eq!(reply.rcode, "NOERROR");
    assert_eq!(upstream.count("a.up.test."), 1);
}
