//! Replies that are used after they expired, or fetched anew before.

use std::thread;
use std::time::{Duration, Instant};

use martlet_tests::{Fault, Upstream, wait_until};

use super::{serve, ttl};

/// Expires what it keeps after a second.
const SHORT: &str = "success 1024 1 1\ndenial 1024 1 1\nservfail 0s";
const EXPIRED: Duration = Duration::from_millis(2200);

#[test]
fn without_upstreams_stale_replies_are_served() {
    for (option, expected_ttl) in [
        ("serve_stale", 0),
        ("serve_stale 1h", 0),
        ("serve_stale 1h immediate", 0),
        ("serve_stale 1h immediate 7s", 7),
        ("serve_stale 1h verify", 0),
        ("serve_stale 1h verify 100ms", 0),
    ] {
        let upstream = Upstream::start("a");
        let martlet = serve(&upstream, &format!("cache {{\n{SHORT}\n{option}\n}}"));
        let client = martlet.client();
        client.ask("a.up.test.", "A");
        client.ask("nothing.up.test.", "A");
        thread::sleep(EXPIRED);
        upstream.misbehave("*", Fault::Silence);
        for _ in 0..3 {
            let reply = client.ask("a.up.test.", "A");
            let found: Vec<_> = reply.rdata("A").collect();
            assert_eq!(found, ["192.0.2.1"], "`{option}`: {reply:?}");
            assert_eq!(ttl(&reply), expected_ttl, "`{option}`");
        }
        let denied = client.ask("nothing.up.test.", "A");
        assert_eq!(denied.rcode, "NXDOMAIN", "`{option}`: {denied:?}");
        // What was never known cannot be stale.
        let unknown = client.ask("multi.up.test.", "A");
        assert_eq!(unknown.rcode, "SERVFAIL", "`{option}`: {unknown:?}");
    }
}

#[test]
fn stale_replies_are_renewed() {
    for (option, first) in [
        // At once the old one, behind it a refresh; or the new one at once.
        ("serve_stale 1h", "192.0.2.1"),
        ("serve_stale 1h immediate", "192.0.2.1"),
        ("serve_stale 1h verify", "192.0.2.2"),
    ] {
        let upstream = Upstream::start("a");
        let martlet = serve(&upstream, &format!("cache {{\n{SHORT}\n{option}\n}}"));
        let client = martlet.client();
        let ask = || {
            let reply = client.ask("count1.up.test.", "A");
            let found = reply.rdata("A").next().map(str::to_owned);
            found.unwrap_or_else(|| panic!("{reply:?}"))
        };
        assert_eq!(ask(), "192.0.2.1");
        thread::sleep(EXPIRED);
        assert_eq!(ask(), first, "`{option}`");
        let renewed = wait_until(Duration::from_secs(2), || {
            (upstream.count("count1.up.test.") >= 2 && ask() != "192.0.2.1").then_some(())
        });
        assert!(renewed.is_some(), "`{option}`: {}", ask());
    }
}

#[test]
fn stale_is_only_so_old() {
    let upstream = Upstream::start("a");
    let martlet = serve(&upstream, &format!("cache {{\n{SHORT}\nserve_stale 1s\n}}"));
    let client = martlet.client();
    client.ask("a.up.test.", "A");
    thread::sleep(Duration::from_millis(3500));
    upstream.misbehave("*", Fault::Silence);
    let reply = client.ask("a.up.test.", "A");
    assert_eq!(reply.rcode, "SERVFAIL", "{reply:?}");
}

/// An upstream that fails says nothing about the name.
#[test]
fn failures_do_not_replace_what_is_known() {
    for rcode in [2, 5] {
        let upstream = Upstream::start("a");
        let cache = "cache {\nsuccess 1024 1 1\nserve_stale 1h\nservfail 60s\n}";
        let martlet = serve(&upstream, cache);
        let client = martlet.client();
        client.ask("a.up.test.", "A");
        thread::sleep(EXPIRED);
        upstream.misbehave("*", Fault::Rcode(rcode));
        for _ in 0..4 {
            let reply = client.ask("a.up.test.", "A");
            let found: Vec<_> = reply.rdata("A").collect();
            assert_eq!(found, ["192.0.2.1"], "RCODE {rcode}: {reply:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn popular_replies_are_fetched_before_they_expire() {
    for (option, asks, prefetched) in [
        ("prefetch 2 1m 90%", 4, true),
        ("prefetch 50 1m 90%", 4, false),
        ("", 4, false),
    ] {
        let upstream = Upstream::start("a");
        let martlet = serve(&upstream, &format!("cache 10 {{\n{option}\n}}"));
        let client = martlet.client();
        let name = "count1.up.test.";
        for _ in 0..asks {
            client.ask(name, "A");
        }
        assert_eq!(upstream.count(name), 1, "`{option}`");
        // Of ten seconds less than nine are left.
        thread::sleep(Duration::from_millis(2100));
        let start = Instant::now();
        let reply = client.ask(name, "A");
        let found: Vec<_> = reply.rdata("A").collect();
        assert_eq!(found, ["192.0.2.1"], "nobody waits for it");
        let patience = Duration::from_secs(if prefetched { 3 } else { 1 });
        let fetched = wait_until(patience, || (upstream.count(name) == 2).then_some(()));
        assert_eq!(fetched.is_some(), prefetched, "`{option}`");
        if prefetched && start.elapsed() < Duration::from_secs(5) {
            let renewed = wait_until(Duration::from_secs(2), || {
                let reply = client.ask(name, "A");
                reply
                    .rdata("A")
                    .any(|text| text == "192.0.2.2")
                    .then_some(())
            });
            assert!(renewed.is_some(), "the new one is not used");
        }
    }
}
