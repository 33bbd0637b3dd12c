//! `errors`: what is logged of queries that failed, and what is counted instead.

use std::time::Duration;

use martlet_tests::{Client, Fault, Martlet, Upstream, wait_until};

use crate::fixtures::{forward, resolver};

/// A server whose upstream never replies to names below `silent.wild.test`.
fn serve(upstream: &Upstream, errors: &str) -> Martlet {
    for number in 0..3 {
        upstream.misbehave(&silent(number), Fault::Silence);
    }
    upstream.misbehave("refused.wild.test.", Fault::Garbage);
    let forward = forward(&[upstream.address()], "read_timeout 200ms\nmax_fails 0");
    resolver(&format!("errors {{\n{errors}\n}}\n{forward}")).start()
}

fn silent(number: usize) -> String {
    format!("n{number}.silent.wild.test.")
}

fn ask(martlet: &Martlet, name: &str) {
    let client = Client {
        patience: Duration::from_secs(8),
        ..martlet.client()
    };
    assert_eq!(client.ask(name, "A").rcode, "SERVFAIL", "{name}");
}

/// The lines of `errors`.
fn lines(martlet: &Martlet) -> Vec<String> {
    let log = martlet.log();
    let lines = log.lines().filter(|line| line.contains("plugin/errors: "));
    lines.map(str::to_owned).collect()
}

/// `cancel` is less patient than `read_timeout`, and an upstream's reply that comes later is nobody's.
#[test]
fn a_query_waits_as_long_as_it_may() {
    let upstream = Upstream::start("a");
    upstream.misbehave(&silent(0), Fault::Silence);
    let forward = forward(&[upstream.address()], "read_timeout 60s\nmax_fails 0");
    let martlet = resolver(&format!("cancel 300ms\nerrors\n{forward}")).start();
    ask(&martlet, &silent(0));
    let found = wait_until(Duration::from_secs(5), || lines(&martlet).pop());
    let found = found.unwrap_or_default();
    assert!(found.ends_with("A: no reply so far"), "{found}");
    let reply = martlet.client().ask("a.up.test.", "A");
    assert_eq!(reply.rcode, "NOERROR", "{reply:?}");
}

#[test]
fn errors_of_a_kind_are_counted() {
    let upstream = Upstream::start("a");
    let pattern = "^read udp .* i/o timeout$";
    let martlet = serve(
        &upstream,
        &format!("consolidate 3s \"{pattern}\" warning show_first"),
    );
    for number in 0..3 {
        ask(&martlet, &silent(number));
    }
    ask(&martlet, "refused.wild.test.");
    let found = wait_until(Duration::from_secs(10), || {
        let lines = lines(&martlet);
        (lines.len() >= 3).then_some(lines)
    });
    let found = found.unwrap_or_else(|| lines(&martlet));
    let address = upstream.address();
    let expected = [
        format!(
            "[WARNING] plugin/errors: 2 {} A: read udp {address}: i/o timeout",
            silent(0)
        ),
        "[ERROR] plugin/errors: 2 refused.wild.test. A: the reply is malformed".to_owned(),
        format!("[WARNING] plugin/errors: 3 errors like '{pattern}' occurred in last 3s"),
    ];
    assert_eq!(found, expected, "{}", martlet.log());
}

#[test]
fn what_was_counted_is_told_at_the_end() {
    let upstream = Upstream::start("a");
    let mut martlet = serve(&upstream, "consolidate 1h timeout");
    ask(&martlet, &silent(0));
    ask(&martlet, &silent(1));
    assert_eq!(lines(&martlet), [""; 0]);
    assert!(martlet.stop().success());
    let found = wait_until(Duration::from_secs(5), || lines(&martlet).pop());
    let expected = "[ERROR] plugin/errors: 2 errors like 'timeout' occurred in last 1h0m0s";
    assert_eq!(found.as_deref(), Some(expected));
}
