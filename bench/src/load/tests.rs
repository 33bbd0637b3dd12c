//! The accounting, against a server that misbehaves by script.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

/// What the server did, by kind; the kinds take turns.
#[derive(Debug, Default)]
struct Script {
    right: u64,
    dropped: u64,
    duplicated: u64,
    other_id: u64,
    other_question: u64,
    not_response: u64,
    servfail: u64,
    short: u64,
}

/// Serves until told to stop, then says what it did.
fn misbehave(socket: &UdpSocket, stop: &AtomicBool) -> Script {
    let mut script = Script::default();
    let mut buffer = [0; 512];
    for turn in 0u64.. {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            continue;
        };
        let reply = &mut buffer[..length];
        reply[2] |= QR;
        match turn % 40 {
            1 => script.dropped += 1,
            2 => script.duplicated += 1,
            3 => script.other_id += 1,
            4 => script.other_question += 1,
            5 => script.not_response += 1,
            6 => script.servfail += 1,
            7 => script.short += 1,
            _ => script.right += 1,
        }
        match turn % 40 {
            1 => continue,
            2 => drop(socket.send_to(reply, peer).unwrap()),
            // The top bit counts a slot's uses: this ID belongs to a query of another time.
            3 => reply[0] ^= 0x80,
            4 => reply[HEADER_LEN + 1] ^= 1,
            5 => reply[2] &= !QR,
            6 => reply[3] |= 2,
            _ => {}
        }
        let length = if turn % 40 == 7 {
            HEADER_LEN - 1
        } else {
            length
        };
        socket.send_to(&buffer[..length], peer).unwrap();
    }
    script
}

fn settings(server: SocketAddr, pace: Pace) -> Settings {
    Settings {
        pace,
        sockets: 4,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(400),
        timeout: Duration::from_millis(100),
        expect: vec![Expect::Rcode(0)],
        ..Settings::new(server)
    }
}

#[test]
fn every_query_is_answered_lost_or_wrong() {
    let queries = QuerySet::parse("a.example A\nb.example AAAA\nc.example SRV", None).unwrap();
    for pace in [Pace::Closed { window: 32 }, Pace::Open { rate: 5_000.0 }] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let server = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || misbehave(&socket, &stopped));
        let report = run(&settings(server, pace), &queries).unwrap();
        stop.store(true, Ordering::Relaxed);
        let script = thread.join().unwrap();

        let tally = &report.tally;
        assert_eq!(
            tally.sent,
            tally.answered + tally.lost + tally.wrong,
            "{tally:?}"
        );
        assert!(tally.sent > 80, "each kind had its turn: {tally:?}");
        assert_eq!(
            tally.answered,
            script.right + script.duplicated,
            "{script:?}"
        );
        assert_eq!(
            tally.lost,
            script.dropped + script.other_id + script.short,
            "{script:?}"
        );
        assert_eq!(tally.other_question, script.other_question, "{script:?}");
        assert_eq!(tally.not_response, script.not_response, "{script:?}");
        assert_eq!(tally.not_expected, script.servfail, "{script:?}");
        assert_eq!(tally.rcodes[2], script.servfail, "{script:?}");
        // The last duplicate may arrive after the end of the run.
        let strays = script.duplicated + script.other_id + script.short;
        assert!(
            (strays - 1..=strays).contains(&tally.unexpected),
            "{script:?} {tally:?}"
        );
        assert_eq!(tally.refused, 0);
    }
}

#[test]
fn the_warm_up_is_not_counted() {
    let echo = crate::echo::Echo::start(
        "127.0.0.1:0".parse().unwrap(),
        crate::echo::Mode::Batched,
        None,
    )
    .unwrap();
    let queries = QuerySet::parse("a.example A", None).unwrap();
    let settings = Settings {
        warm_up: Duration::from_millis(300),
        duration: Duration::from_millis(100),
        ..settings(echo.address(), Pace::Open { rate: 1_000.0 })
    };
    let report = run(&settings, &queries).unwrap();
    // With the warm-up it would be 400; a busy machine sends fewer than are due.
    assert!((1..=101).contains(&report.tally.sent), "{report}");
    assert_eq!(report.tally.sent, report.tally.answered);
}

#[test]
fn nobody_listening_is_loss_not_failure() {
    let address = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let queries = QuerySet::parse("a.example A", None).unwrap();
    let report = run(&settings(address, Pace::Closed { window: 8 }), &queries).unwrap();
    assert_eq!(report.tally.lost, report.tally.sent);
    assert!(report.tally.refused > 0);
}

#[test]
fn latency_counts_from_the_intended_moment() {
    // A server that sleeps 50 ms before each reply to one query a millisecond: only the first
    // reply is that fast, the others wait for all before them.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let server = socket.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            thread::sleep(Duration::from_millis(50));
            buffer[2] |= QR;
            socket.send_to(&buffer[..length], peer).unwrap();
        }
    });
    let settings = Settings {
        duration: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
        ..settings(server, Pace::Open { rate: 1_000.0 })
    };
    let report = run(&settings, &QuerySet::parse("a.example A", None).unwrap()).unwrap();
    thread.join().unwrap();
    assert_eq!(report.tally.answered, report.tally.sent);
    // A busy machine sends fewer than are due.
    let sent = u32::try_from(report.tally.sent).unwrap();
    assert!((1..=10).contains(&sent), "{report}");
    let latency = report.latency_us;
    assert!(latency.max > 40_000.0 * f64::from(sent), "{report}");
    assert!(latency.p50 > 20_000.0 * f64::from(sent), "{report}");
}

/// The upstream knows every name; the zone has one of them as it is there and one otherwise.
#[test]
fn other_records_than_the_zones_are_wrong() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    let behaviour = crate::upstream::Behaviour {
        ttl: 30,
        delay: Duration::ZERO,
        silent: false,
    };
    thread::spawn(move || crate::upstream::serve_on(&socket, behaviour));
    let (right, _) = martlet_perf::external::addresses(b"\x01a\x07example\0");
    let text = format!("$TTL 5\na.example. A {right}\nb.example. A {right}\n");
    let mut zone = Zone::default();
    zone.add(text.as_bytes(), std::path::Path::new("test"))
        .unwrap();
    for (list, check, expected) in [
        ("a.example A", true, [true, false]),
        ("b.example A", true, [false, true]),
        ("b.example A", false, [true, false]),
        // Not in the zone, so that any reply will do.
        ("c.example A", true, [true, false]),
    ] {
        let mut queries = QuerySet::parse(list, Some(1232)).unwrap();
        queries.know(&zone);
        let settings = Settings {
            check,
            duration: Duration::from_millis(50),
            ..settings(server, Pace::Closed { window: 4 })
        };
        let tally = run(&settings, &queries).unwrap().tally;
        let found = [tally.answered > 0, tally.other_records > 0];
        assert_eq!(found, expected, "{list}: {tally:?}");
        assert_eq!(tally.wrong, tally.other_records);
    }
}
