//! Side by side, with real processes: the echo and the upstream.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use martlet_bench::load::{Expect, QuerySet};
use martlet_bench::versus::{self, Contender, Plan};

fn contender(name: &str, command: &str, expect: &[Expect]) -> Contender {
    // Free now, and soon the server's.
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address: SocketAddr = free.expect("a free port");
    Contender {
        name: name.into(),
        command: format!("{command} --address {address} 2>/dev/null"),
        address,
        expect: expect.to_vec(),
        check: true,
        own: false,
    }
}

fn plan(contenders: Vec<Contender>) -> Plan {
    Plan {
        contenders,
        rounds: 2,
        duration: Duration::from_millis(100),
        rates: vec![400.0, 1e9],
        window: 8,
        sockets: 2,
        server_core: 0,
        load_core: 0,
    }
}

const ECHO: &str = concat!("'", env!("CARGO_BIN_EXE_martlet-load"), "' echo");
const UPSTREAM: &str = concat!("'", env!("CARGO_BIN_EXE_martlet-upstream"), "'");

#[test]
fn who_does_not_start_is_left_out_and_told() {
    let queries = QuerySet::parse("a.example A", None).expect("a question");
    let mut plan = plan(vec![
        contender("echo", ECHO, &[]),
        contender("none", "'/nowhere/server'", &[]),
        contender("upstream", UPSTREAM, &[Expect::Answer]),
    ]);
    let outcome = versus::run(&plan, &queries).expect("the others go on");
    let names: Vec<_> = outcome
        .standings
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["echo", "upstream"]);
    assert_eq!(outcome.absent.len(), 1);
    assert!(
        outcome.absent[0].starts_with("none takes no part: "),
        "{:?}",
        outcome.absent
    );
    for standing in &outcome.standings {
        assert_eq!(standing.rates.len(), 2);
        assert!(standing.memory_end.share_kib > 0, "{}", standing.name);
        // The one that all carry was taken in each round, the other one by nobody.
        assert!(standing.latencies_us[0].is_some() && standing.latencies_us[1].is_none());
        // Two rounds at 400 a second; a busy machine sends fewer than are due.
        assert!((1..=20).contains(&standing.open.sent), "{outcome}");
    }
    assert!(outcome.markdown().contains("\n\nnone takes no part"));
    assert!(
        outcome
            .csv()
            .lines()
            .all(|line| line.matches(',').count() == 15)
    );

    plan.contenders[1].own = true;
    let error = versus::run(&plan, &queries).expect_err("the run is about it");
    assert!(
        error.to_string().starts_with("`'/nowhere/server'"),
        "{error}"
    );
}

#[test]
fn the_faults_of_whom_the_run_is_about_fail_it() {
    // The upstream has no SRV records.
    for (list, fails) in [("a.example A", false), ("a.example A\nb.example SRV", true)] {
        let queries = QuerySet::parse(list, None).expect("questions");
        let upstream = contender("upstream", UPSTREAM, &[Expect::Answer]);
        let mut plan = plan(vec![contender("echo", ECHO, &[]), upstream]);
        let outcome = versus::run(&plan, &queries).expect("both start");
        assert!(outcome.check().is_ok(), "others may have faults");
        plan.contenders[1].own = true;
        let outcome = versus::run(&plan, &queries).expect("both start");
        assert_eq!(outcome.check().is_err(), fails, "{list}");
        let (sent, lost, wrong) = outcome.standings[1].faults();
        assert!(
            lost == 0 && (wrong > sent / 3) == fails,
            "{wrong} of {sent}"
        );
    }
}
