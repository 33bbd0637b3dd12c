//! Whatever octets come in over the real socket, the server says something sensible or nothing,
//! and lives.

use std::net::UdpSocket;
use std::time::Duration;

use martlet_tests::dns::{Edns, Query, name_to_wire};
use martlet_tests::ways::{each_way, with_io};
use martlet_tests::{Client, Martlet, Setup, netns};

use crate::fixtures::{COREFILE, big_service, cluster, manifest};

const WEB: &str = "web.shop.svc.cluster.local.";
const BIG: &str = "big.shop.svc.cluster.local.";

fn setup() -> Setup {
    let mut objects = cluster();
    objects.extend(big_service());
    Setup::new(COREFILE).file("cluster.yaml", &manifest(&objects))
}

fn start() -> Martlet {
    setup().start()
}

/// A header with the given flags and counts, and what follows it.
fn message(flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let words = [7, flags, counts[0], counts[1], counts[2], counts[3]];
    words
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .chain(rest.iter().copied())
        .collect()
}

#[test]
fn odd_messages_get_a_sensible_reply_or_none() {
    let martlet = start();
    let client = Client {
        patience: Duration::from_millis(400),
        ..martlet.client()
    };
    let question = [name_to_wire(WEB), vec![0, 1, 0, 1]].concat();
    let one = [1, 0, 0, 0];
    for (what, octets, expected) in [
        (
            "a good query",
            message(0x0100, one, &question),
            Some("NOERROR"),
        ),
        ("one octet", vec![0], None),
        ("half a header", vec![0; 11], None),
        ("a response", message(0x8100, one, &question), None),
        (
            "a promised question",
            message(0x0100, one, &[]),
            Some("SERVFAIL"),
        ),
        (
            "a name that breaks off",
            message(0x0100, one, &question[..9]),
            Some("FORMERR"),
        ),
        (
            "a name that points at itself",
            message(0x0100, one, &[0xc0, 12, 0, 1, 0, 1]),
            Some("FORMERR"),
        ),
        (
            "a reserved label type",
            message(0x0100, one, &[0x80, 0, 0, 1, 0, 1]),
            Some("FORMERR"),
        ),
        (
            "opcode STATUS with a question",
            message(0x1000, one, &question),
            Some("NOTIMP"),
        ),
        ("no question", message(0x0100, [0; 4], &[]), Some("FORMERR")),
    ] {
        let reply = client.send_octets(&octets);
        let rcode = reply.as_ref().map(|reply| reply.rcode.as_str());
        assert_eq!(rcode, expected, "{what}: {reply:?}");
        assert!(
            reply.is_none_or(|reply| reply.malformed.is_none()),
            "{what}"
        );
    }
}

/// Good queries with octets changed, cut off or added, thousands of them.
#[test]
fn noise_does_no_harm() {
    let mut martlet = start();
    let client = martlet.client();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket
        .connect(client.server)
        .expect("loopback can be reached");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for round in 0..20_000 {
        let name = [WEB, BIG, "1.0.96.10.in-addr.arpa.", "."][random(4)];
        let mut octets = Query::new(name, "A").with_edns(Edns::default()).wire(1);
        for _ in 0..random(4) {
            let place = random(octets.len());
            octets[place] = u8::try_from(random(256)).expect("below 256");
        }
        if random(4) == 0 {
            octets.truncate(random(octets.len()));
        }
        if random(8) == 0 {
            octets.extend((0..random(600)).map(|n| n.to_le_bytes()[0]));
        }
        // Before 12 octets there is nothing to answer to; a full buffer loses a few.
        let _ = socket.send(&octets);
        if round % 1000 == 0 {
            assert_eq!(client.ask(WEB, "A").addresses().len(), 1, "after {round}");
            assert!(martlet.process.ended().is_none(), "{}", martlet.log());
        }
    }
    assert_eq!(client.ask(WEB, "A").addresses().len(), 1);
    assert!(!martlet.log().contains("panicked"), "{}", martlet.log());
}

#[test]
fn letter_case_is_kept() {
    let martlet = start();
    let reply = martlet.client().ask("wEB.sHop.SVC.clusteR.LOCAL.", "A");
    assert_eq!(reply.q[0][0], "wEB.sHop.SVC.clusteR.LOCAL.");
    assert_eq!(reply.an[0].owner(), "wEB.sHop.SVC.clusteR.LOCAL.");
}

#[test]
fn edns_decides_how_much_fits() {
    let martlet = start();
    let client = martlet.client();
    let ask = |name, size, version, flags| {
        let edns = Edns {
            size,
            version,
            flags,
            options: Vec::new(),
        };
        client
            .send(&Query::new(name, "A").with_edns(edns))
            .expect("an answer")
    };
    let reply = ask(BIG, 4096, 0, 0x8000);
    assert!(
        !reply.has("TC") && reply.addresses().len() == 100,
        "{reply:?}"
    );
    let opt = reply.edns.expect("OPT is answered with OPT");
    assert_eq!(
        (opt.size, opt.version, opt.flags.as_str()),
        (4096, 0, "8000")
    );

    for size in [0, 100, 512, 700, 1232] {
        let reply = ask(BIG, size, 0, 0);
        let most = usize::from(size.max(512));
        assert!(reply.has("TC"), "{size}: {reply:?}");
        assert!(
            reply.len.is_some_and(|len| len <= most),
            "{size}: {reply:?}"
        );
    }
    let reply = ask(WEB, 1232, 1, 0);
    assert_eq!(reply.rcode, "BADVERS");
    assert!(reply.an.is_empty());
    let reply = client.ask(WEB, "A");
    assert!(
        reply.edns.is_none(),
        "no OPT unless asked with one: {reply:?}"
    );
}

/// A reply that is larger than its path can carry in one piece comes in fragments, and those after it
/// come as always.
#[test]
fn large_replies_cross_small_paths() {
    netns::isolated("wire::large_replies_cross_small_paths", || {
        netns::loopback_mtu(1_280);
        each_way(|io| {
            let martlet = with_io(setup(), io).start();
            let client = martlet.client();
            for _ in 0..3 {
                let edns = Edns {
                    size: 4_096,
                    version: 0,
                    flags: 0,
                    options: Vec::new(),
                };
                let reply = client.send(&Query::new(BIG, "A").with_edns(edns));
                let addresses = reply.map(|reply| reply.addresses().len());
                assert_eq!(addresses, Some(100), "{io}: {}", martlet.log());
                assert_eq!(client.ask(WEB, "A").addresses().len(), 1, "{io}");
            }
        });
    });
}
