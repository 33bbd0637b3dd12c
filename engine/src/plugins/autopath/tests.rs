use super::super::testing::{ask_from, describe, name, peer, query};
use super::*;
use crate::index::Namespace;
use crate::wire::Section;
use crate::wire::reply::Owner;

/// `web.prod.svc.cluster.local.` and `www.example.org.` have A records; `other.test` fails.
fn zone() -> Stage {
    Stage::Fixed(|context, reply| {
        let text = context.name.to_string();
        match &*text {
            "web.prod.svc.cluster.local." | "www.example.org." => {
                if context.query.qtype == RType::A {
                    reply.record(
                        Section::Answer,
                        Owner::Question,
                        RType::A,
                        9,
                        &[10, 0, 0, 1],
                    );
                }
            }
            "other.test." => return Step::Failed(Rcode::SERVFAIL, "as asked for"),
            _ => reply.set_rcode(Rcode::NXDOMAIN),
        }
        Step::Answered
    })
}

fn ask(stage: &Stage, from: &str, asked: &str, qtype: RType) -> String {
    let packet = query(asked, qtype, &[]);
    let reply = ask_from(&[stage.clone(), zone()], peer(from), &packet);
    describe(&reply.unwrap())
}

fn pods() -> Stage {
    let index = ClusterIndex::default();
    let (prod, test) = (
        Arc::new(Namespace::new("prod")),
        Arc::new(Namespace::new("test")),
    );
    index.put_pods(Arc::clone(&prod), "10.1.0.7".parse().unwrap(), 1);
    index.put_pods(Arc::clone(&test), "10.1.0.8".parse().unwrap(), 1);
    // Two pods in the network of their machine.
    index.put_pods(prod, "10.9.0.1".parse().unwrap(), 2);
    Stage::Autopath(Arc::new(Autopath {
        zones: Zones::new([name(".").into()]),
        source: Source::Pods {
            index: Arc::new(index),
            zones: Zones::new([name("cluster.local").into()]),
            more: vec![name("corp").into()],
        },
    }))
}

#[test]
fn pods_get_what_their_search_list_leads_to() {
    const FOUND: &str = "NOERROR | www.example.org.prod.svc.cluster.local. 9 CNAME www.example.org. | \
         www.example.org. 9 A 10.0.0.1";
    for (from, asked, qtype, expected) in [
        (
            "10.1.0.7",
            "www.example.org.prod.svc.cluster.local.",
            RType::A,
            FOUND,
        ),
        // The name exists, so it is the answer for the other type as well.
        (
            "10.1.0.7",
            "www.example.org.prod.svc.cluster.local.",
            RType::AAAA,
            "NOERROR",
        ),
        (
            "10.1.0.7",
            "web.prod.svc.cluster.local.",
            RType::A,
            "NOERROR | web.prod.svc.cluster.local. 9 A 10.0.0.1",
        ),
        (
            "10.1.0.7",
            "none.prod.svc.cluster.local.",
            RType::A,
            "NXDOMAIN",
        ),
        (
            "10.1.0.7",
            "www.example.org.svc.cluster.local.",
            RType::A,
            "NXDOMAIN",
        ),
        (
            "10.1.0.7",
            "www.example.org.",
            RType::A,
            "NOERROR | www.example.org. 9 A 10.0.0.1",
        ),
        (
            "10.1.0.7",
            "other.test.prod.svc.cluster.local.",
            RType::A,
            "SERVFAIL",
        ),
        // Pods of other namespaces, unknown clients, pods in the network of their machine.
        (
            "10.1.0.8",
            "www.example.org.prod.svc.cluster.local.",
            RType::A,
            "NXDOMAIN",
        ),
        (
            "10.1.0.9",
            "www.example.org.prod.svc.cluster.local.",
            RType::A,
            "NXDOMAIN",
        ),
        (
            "10.9.0.1",
            "www.example.org.prod.svc.cluster.local.",
            RType::A,
            "NXDOMAIN",
        ),
    ] {
        assert_eq!(
            ask(&pods(), from, asked, qtype),
            expected,
            "{from} {asked} {qtype}"
        );
    }
}

#[test]
fn a_list_may_be_the_same_for_all() {
    let domains = ["a.test", "b.test"].map(|text| name(text).into());
    let stage = Stage::Autopath(Arc::new(Autopath {
        zones: Zones::new([name("test").into()]),
        source: Source::Fixed(domains.to_vec()),
    }));
    let found = ask(&stage, "192.0.2.1", "www.example.org.a.test.", RType::A);
    assert!(
        found.ends_with("| www.example.org. 9 A 10.0.0.1"),
        "{found}"
    );
    let other = ask(&stage, "192.0.2.1", "www.example.org.b.test.", RType::A);
    assert_eq!(other, "NXDOMAIN");
}
