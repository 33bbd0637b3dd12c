//! `cache`: what is answered without asking upstreams, for how long, and what never is.

mod fresh;
mod stale;

use std::thread;
use std::time::Duration;

use martlet_tests::dns::{Edns, Query, Reply};
use martlet_tests::{Client, Fault, Martlet, Upstream};

use crate::fixtures::{forward, resolver};

/// A server with this cache in front of the upstream.
fn serve(upstream: &Upstream, cache: &str) -> Martlet {
    let to = forward(&[upstream.address()], "max_fails 0\nread_timeout 500ms");
    resolver(&format!("{cache}\n{to}")).start()
}

/// The one TTL of all records of a reply.
fn ttl(reply: &Reply) -> u32 {
    let records = [&reply.an, &reply.ns, &reply.ar];
    let mut ttls: Vec<_> = records.into_iter().flatten().map(|r| r.ttl()).collect();
    ttls.dedup();
    assert_eq!(ttls.len(), 1, "one TTL for all records: {reply:?}");
    ttls[0]
}

/// Asks so often, over UDP and TCP by turns, and returns the last reply.
fn ask_often(client: &Client, times: usize, name: &str, rtype: &str) -> Reply {
    let ask = |n| match n % 2 {
        0 => client.ask(name, rtype),
        _ => client.ask_tcp(name, rtype),
    };
    (1..times).fold(ask(0), |_, n| ask(n))
}

/// What is kept and what is not: asked four times, the upstream hears of it once or each time.
#[test]
fn replies_are_kept_by_their_kind() {
    const KEPT: usize = 1;
    const NOT_KEPT: usize = 4;
    for (cache, name, rtype, expected) in [
        ("cache", "a.up.test.", "A", KEPT),
        ("cache", "A.up.TEST.", "A", KEPT),
        ("cache", "c1.up.test.", "A", KEPT),
        ("cache", "both.up.test.", "TXT", KEPT),
        ("cache", "odd.up.test.", "TYPE65280", KEPT),
        ("cache", "nothing.up.test.", "A", KEPT),
        ("cache", "cnx.up.test.", "A", KEPT),
        ("cache", "a.up.test.", "MX", KEPT),
        ("cache", "nodata1.up.test.", "A", KEPT),
        ("cache", "ttl0.up.test.", "A", KEPT),
        ("cache", "servfail.up.test.", "A", KEPT),
        ("cache", "notimp.up.test.", "A", KEPT),
        ("cache", "refused.up.test.", "A", NOT_KEPT),
        ("cache", "formerr.up.test.", "A", NOT_KEPT),
        ("cache", "yxdomain.up.test.", "A", NOT_KEPT),
        ("cache", "nosoa.up.test.", "A", NOT_KEPT),
        (
            "cache {\nservfail 0s\n}",
            "servfail.up.test.",
            "A",
            NOT_KEPT,
        ),
        ("cache up.test", "a.up.test.", "A", KEPT),
        ("cache up.test", "www.outside.example.", "A", NOT_KEPT),
        (
            "cache {\ndisable success up.test\n}",
            "a.up.test.",
            "A",
            NOT_KEPT,
        ),
        (
            "cache {\ndisable success up.test\n}",
            "nothing.up.test.",
            "A",
            KEPT,
        ),
        (
            "cache {\ndisable denial up.test\n}",
            "nothing.up.test.",
            "A",
            NOT_KEPT,
        ),
        (
            "cache {\ndisable denial up.test\n}",
            "a.up.test.",
            "MX",
            NOT_KEPT,
        ),
        (
            "cache {\ndisable denial up.test\n}",
            "a.up.test.",
            "A",
            KEPT,
        ),
        (
            "cache {\ndisable denial example\n}",
            "nothing.up.test.",
            "A",
            KEPT,
        ),
        ("cache {\ndisable success\n}", "a.up.test.", "A", NOT_KEPT),
        (
            "cache {\nsuccess 1024 30 0\n}",
            "ttl0.up.test.",
            "A",
            NOT_KEPT,
        ),
    ] {
        let upstream = Upstream::start("a");
        let martlet = serve(&upstream, cache);
        let reply = ask_often(&martlet.client(), 4, name, rtype);
        let asked = upstream.count(name);
        assert_eq!(asked, expected, "`{cache}`, {name} {rtype}: {reply:?}");
    }
}

/// A truncated reply is no answer to a client that can take the whole.
#[test]
fn truncated_replies_are_not_kept() {
    for name in ["tconly.up.test.", "wide.up.test."] {
        let upstream = Upstream::start("a");
        let martlet = serve(&upstream, "cache 30");
        let client = martlet.client();
        assert!(client.ask(name, "A").has("TC"));
        let whole = client.ask_tcp(name, "A");
        assert!(!whole.has("TC") && !whole.an.is_empty(), "{whole:?}");
        // The whole one is kept, and cut for those who cannot take it.
        let asked = upstream.count(name);
        assert!(!client.ask_tcp(name, "A").has("TC"));
        assert_eq!(client.ask(name, "A").has("TC"), name.starts_with("wide"));
        assert_eq!(upstream.count(name), asked, "{name}");
    }
}

#[test]
fn ttls_are_clamped_and_count_down() {
    for (cache, name, first) in [
        ("cache 30", "a.up.test.", 30),
        ("cache", "a.up.test.", 60),
        ("cache", "ttl4000.up.test.", 3600),
        ("cache", "ttlmax.up.test.", 3600),
        ("cache", "ttl1.up.test.", 5),
        ("cache", "mixttl.up.test.", 8),
        ("cache", "nx9999.up.test.", 1800),
        ("cache {\nsuccess 1024 300 100\n}", "a.up.test.", 100),
        ("cache {\ndenial 1024 20\n}", "nothing.up.test.", 20),
        ("cache {\ndenial 1024 300 90\n}", "nothing.up.test.", 90),
        ("cache {\ndisable success\n}", "ttl4000.up.test.", 3600),
    ] {
        let upstream = Upstream::start("a");
        let martlet = serve(&upstream, cache);
        let reply = martlet.client().ask(name, "A");
        // A second may begin between the upstream's reply and ours.
        let found = ttl(&reply);
        assert!((first - 1..=first).contains(&found), "`{cache}`: {reply:?}");
    }
    for (cache, counts_down) in [("cache 30", true), ("cache 30 {\nkeepttl\n}", false)] {
        let upstream = Upstream::start("a");
        let martlet = serve(&upstream, cache);
        martlet.client().ask("a.up.test.", "A");
        thread::sleep(Duration::from_millis(2100));
        let later = ttl(&martlet.client().ask("a.up.test.", "A"));
        let expected = if counts_down { 15..=28 } else { 30..=30 };
        assert!(expected.contains(&later), "`{cache}`: {later}");
        assert_eq!(upstream.count("a.up.test."), 1);
    }
}

#[test]
fn what_is_kept_expires() {
    let upstream = Upstream::start("a");
    let cache = "cache {\nsuccess 1024 2 1\ndenial 1024 2 1\nservfail 1s\n}";
    let martlet = serve(&upstream, cache);
    let client = martlet.client();
    let names = ["a.up.test.", "nothing.up.test.", "servfail.up.test."];
    for _ in 0..2 {
        names.iter().for_each(|name| drop(client.ask(name, "A")));
        assert_eq!(names.map(|name| upstream.count(name)), [1; 3]);
    }
    thread::sleep(Duration::from_millis(3200));
    names.iter().for_each(|name| drop(client.ask(name, "A")));
    assert_eq!(names.map(|name| upstream.count(name)), [2; 3]);
}

#[test]
fn each_client_gets_its_own_spelling() {
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream, "cache 30");
    for name in ["c1.up.test.", "C1.UP.test.", "c1.Up.TeSt."] {
        let reply = martlet.client().ask(name, "A");
        assert_eq!(reply.q[0][0], name);
        let owners = reply.an.iter().map(|record| record.owner());
        let own = owners.filter(|owner| owner.eq_ignore_ascii_case(name));
        assert_eq!(own.collect::<Vec<_>>(), [name], "{reply:?}");
        assert_eq!(reply.addresses().len(), 1, "{reply:?}");
    }
    assert_eq!(upstream.count("c1.up.test."), 1);
}

#[test]
fn do_and_cd_are_apart() {
    let edns = |flags| Edns {
        flags,
        ..Edns::default()
    };
    let plain = Query::new("signed.up.test.", "A");
    let with_cd = Query {
        flags: plain.flags | 0x0010,
        ..plain.clone()
    };
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream, "cache 30");
    let client = martlet.client();
    let send = |query: &Query| client.send(query).expect("it answers");
    // Query, records, how often the upstream has been asked by then.
    for (query, records, asked) in [
        (plain.clone(), 1, 1),
        (plain.clone().with_edns(edns(0)), 1, 1),
        (plain.clone().with_edns(edns(0x8000)), 2, 2),
        (plain.clone().with_edns(edns(0x8000)), 2, 2),
        (plain.clone(), 1, 2),
        (with_cd.clone(), 1, 3),
        (with_cd.clone(), 1, 3),
        (with_cd.clone().with_edns(edns(0x8000)), 2, 4),
        (plain, 1, 4),
    ] {
        let reply = send(&query);
        assert_eq!(reply.an.len(), records, "{query:?}: {reply:?}");
        assert_eq!(upstream.count("signed.up.test."), asked, "{query:?}");
        let dnssec = query.edns.as_ref().is_some_and(|edns| edns.flags != 0);
        assert_eq!(reply.edns.is_some(), query.edns.is_some(), "{reply:?}");
        let flags = reply.edns.map(|opt| opt.flags);
        assert_eq!(flags.as_deref() == Some("8000"), dnssec);
    }
}

#[test]
fn the_other_blocks_cache_is_another() {
    let upstream = Upstream::start("a");
    let to = forward(&[upstream.address()], "");
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    cache 30\n    {to}\n}}\n\
         .:{{PORT2}} {{\n    bind 127.0.0.1\n    cache 30\n    {to}\n}}\n"
    );
    let martlet = Martlet::start(&corefile, &[]);
    let second = std::net::SocketAddr::from(([127, 0, 0, 1], martlet.nth_port(2)));
    for client in [martlet.client(), Client::new(second)] {
        assert_eq!(ask_often(&client, 3, "count1.up.test.", "A").an.len(), 1);
    }
    assert_eq!(upstream.count("count1.up.test."), 2);
}

/// A popular name that expires is asked for once, however many want it.
#[test]
fn a_crowd_asks_the_upstream_once() {
    let upstream = Upstream::start("a");
    upstream.misbehave("*", Fault::Late(Duration::from_millis(300)));
    // With its time-out as it is: a question is asked again when a quarter of that has passed.
    let to = forward(&[upstream.address()], "");
    let martlet = resolver(&format!("cache 30\n{to}")).start();
    let client = martlet.client();
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let reply = client.ask("count1.up.test.", "A");
                assert_eq!(reply.rdata("A").collect::<Vec<_>>(), ["192.0.2.1"]);
            });
        }
    });
    assert_eq!(upstream.count("count1.up.test."), 1);
}

/// Near the memory limit, which one mebibyte always is, the cache gives way; answers go on.
#[test]
fn the_cache_gives_way_before_memory_runs_out() {
    let upstream = Upstream::start("up");
    let to = forward(&[upstream.address()], "");
    let martlet = resolver(&format!("cache 3600\n{to}"))
        .argument("-memory-limit")
        .argument("1")
        .start();
    let client = martlet.client();
    let goes_upstream = |nth: usize| {
        let name = format!("n{nth}.wild.test.");
        let (before, _) = (upstream.count(&name), client.ask(&name, "A"));
        upstream.count(&name) > before
    };
    for nth in 0..200 {
        assert!(goes_upstream(nth), "it was not in the cache before");
    }
    martlet.says_again("memory is near its limit of 1 MiB: caches shrink", 0);
    // A quarter of what is left goes every half second.
    thread::sleep(Duration::from_secs(3));
    let forgotten = (0..200).filter(|nth| goes_upstream(*nth)).count();
    assert!(forgotten >= 90, "{forgotten} of 200 were forgotten");
    // It is not filled again meanwhile.
    for nth in 200..400 {
        goes_upstream(nth);
    }
    let forgotten = (200..400).filter(|nth| goes_upstream(*nth)).count();
    assert!(forgotten >= 90, "{forgotten} of 200 were forgotten");
}
