//! Corefiles as clusters have them start as they are: but for ports, which others may use here, for
//! the place of files, and for the source of the cluster.

use std::fs;

use martlet_tests::{Martlet, Setup, Upstream, wild_address};

use crate::fixtures::{cluster, manifest};

pub(crate) const KUBEADM: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// Azure's.
pub(crate) const AKS: &str = "\
.:53 {
    errors
    ready
    health {
      lameduck 5s
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
      ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
    import custom/*.override
    template ANY ANY internal.cloudapp.net {
      match \"^(?:[^.]+\\.){4,}internal\\.cloudapp\\.net\\.$\"
      rcode NXDOMAIN
      fallthrough
    }
    template ANY ANY reddog.microsoft.com {
      rcode NXDOMAIN
    }
}
import custom/*.server
";

pub(crate) const K3S: &str = "\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
}
import /etc/coredns/custom/*.server
";

pub(crate) const GARDENER: &str = "\
.:8053 {
    errors
    log . {
        class error
    }
    health {
        lameduck 15s
    }
    ready
    rewrite stop {
        name regex (.*)\\.svc\\.cluster\\.local\\.svc\\.cluster\\.local {1}.svc.cluster.local
        answer name (.*)\\.svc\\.cluster\\.local {1}.svc.cluster.local.svc.cluster.local
        answer value (.*)\\.svc\\.cluster\\.local {1}.svc.cluster.local.svc.cluster.local
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance round_robin
    import custom/*.override
}
import custom/*.server
";

pub(crate) const OPENSHIFT: &str = "\
# servers of the operator's own
example.com:5353 {
    prometheus 127.0.0.1:9153
    forward . /etc/resolv.conf {
        policy random
    }
    errors
    log . {
        class error
    }
    bufsize 512
    cache 900 {
        denial 9984 30
    }
}
.:5353 {
    bufsize 512
    errors
    log . {
        class error
    }
    health {
        lameduck 20s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus 127.0.0.1:9153
    forward . /etc/resolv.conf {
        policy sequential
    }
    cache 900 {
        denial 9984 30
    }
    reload
}
hostname.bind:5353 {
    chaos
}
";

/// Starts one, with what operators add in files of their own.
fn start(corefile: &str, upstream: &Upstream) -> Martlet {
    let to = upstream.address().to_string();
    let replaced = [
        (":5353 {", ":{PORT} {"),
        (":8053 {", ":{PORT} {"),
        (":53 {", ":{PORT} {"),
        ("health {", "health 127.0.0.1:{PORT2} {"),
        ("health\n", "health 127.0.0.1:{PORT2}\n"),
        ("ready\n", "ready 127.0.0.1:{PORT3}\n"),
        ("prometheus :9153", "prometheus 127.0.0.1:{PORT4}"),
        ("prometheus 127.0.0.1:9153", "prometheus 127.0.0.1:{PORT4}"),
        ("/etc/coredns", "{DIR}"),
        ("/etc/resolv.conf", &to),
        (
            "ip6.arpa {\n",
            "ip6.arpa {\n        manifests cluster.yaml\n",
        ),
    ];
    let corefile = replaced
        .iter()
        .fold(corefile.to_owned(), |text, (old, new)| {
            text.replace(old, new)
        });
    Setup::new(&corefile)
        .file("cluster.yaml", &manifest(&cluster()))
        .file("NodeHosts", "192.0.2.7 node-7\n")
        .until_it_answers("web.shop.svc.cluster.local.")
        .start()
}

#[test]
fn they_start_and_answer() {
    let upstream = Upstream::start("a");
    for (of, corefile) in [
        ("kubeadm", KUBEADM),
        ("AKS", AKS),
        ("k3s", K3S),
        ("Gardener", GARDENER),
        ("OpenShift", OPENSHIFT),
    ] {
        let martlet = start(corefile, &upstream);
        let client = martlet.client();
        let addresses = |name: &str| {
            let found = client.ask(name, "A").addresses();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            addresses("web.shop.svc.cluster.local."),
            ["10.96.0.20"],
            "{of}"
        );
        let outside = format!("{}.wild.test.", of.to_lowercase());
        assert_eq!(
            addresses(&outside),
            [wild_address(&outside).to_string()],
            "{of}"
        );
        match of {
            "AKS" => {
                let reply = client.ask("x.reddog.microsoft.com.", "A");
                assert_eq!(reply.rcode, "NXDOMAIN");
            }
            "k3s" => assert_eq!(addresses("node-7."), ["192.0.2.7"]),
            "Gardener" => {
                let twice = "web.shop.svc.cluster.local.svc.cluster.local.";
                assert_eq!(addresses(twice), ["10.96.0.20"]);
            }
            _ => {}
        }
        let log = martlet.log();
        assert!(
            !log.contains("[ERROR]") && !log.contains("panicked"),
            "{of}: {log}"
        );
    }
}

/// Rules in files of one's own count from the next reading on.
#[test]
fn what_operators_add_is_read() {
    let upstream = Upstream::start("a");
    let martlet = start(AKS, &upstream);
    let custom = martlet.dir().join("custom");
    fs::create_dir(&custom).expect("it is writable");
    let own = format!("own.test:{} {{\n    whoami\n}}\n", martlet.port());
    fs::write(custom.join("own.server"), own).expect("it is writable");
    let rule = "rewrite name shop.example.com web.shop.svc.cluster.local\n";
    fs::write(custom.join("own.override"), rule).expect("it is writable");
    let corefile = fs::read_to_string(martlet.dir().join("Corefile")).expect("it is there");
    martlet.reload(&corefile);
    let client = martlet.client();
    assert_eq!(client.ask("shop.example.com.", "A").addresses().len(), 1);
    assert_eq!(
        client.ask("x.own.test.", "A").ar.len(),
        2,
        "whoami tells two things"
    );
}
