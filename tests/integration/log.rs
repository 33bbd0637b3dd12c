//! `log` and the lines of the process: what is written of queries, and what becomes of it when nobody
//! reads.

use std::time::Duration;

use martlet_tests::dns::{Edns, Query};
use martlet_tests::flood::Flood;
use martlet_tests::{Martlet, Scrape, Setup, wait_until};
use serde_json::Value;

/// The lines of the query log that have this word in them, as soon as there are so many.
fn lines(martlet: &Martlet, word: &str, count: usize) -> Vec<String> {
    let find = || {
        let log = martlet.log();
        let found = log.lines().filter(|line| line.contains(word));
        let found = found.map(str::to_owned).collect::<Vec<_>>();
        (found.len() >= count).then_some(found)
    };
    let found = wait_until(Duration::from_secs(10), find);
    found.unwrap_or_else(|| panic!("no {count} lines with `{word}`:\n{}", martlet.log()))
}

const COREFILE: &str = "\
.:{PORT} {
    bind 127.0.0.1
    prometheus 127.0.0.1:{PORT2}
    log quiet.test {
        class denial error
    }
    log common.test
    log . \"seen {remote} {local} {>id} {type} {class} {name} {proto} {size} {>do} {>bufsize} {rcode} \
                        {>rflags} {rsize} {>opcode} {nothing} {/no/label}\"
    acl quiet.test {
        block type TXT net *
    }
    whoami
}
";

#[test]
fn queries_are_written_as_the_corefile_says() {
    let martlet = Setup::new(COREFILE).start();
    let client = martlet.client();
    let dnssec = Edns {
        flags: 0x8000,
        ..Edns::default()
    };
    let query = Query::new("WwW.other.test.", "AAAA");
    client
        .send(&query.clone().with_edns(dnssec))
        .expect("a reply");
    client.ask_tcp("www.other.test.", "A");
    client.ask("a.quiet.test.", "A");
    client.ask("b.quiet.test.", "TXT");
    client.ask("a.common.test.", "A");
    let found = lines(&martlet, "www.other.test.", 2);
    let of = |word: &str| {
        let found = found.iter().find(|line| line.contains(word));
        found.unwrap_or_else(|| panic!("{found:?}")).clone()
    };
    for (word, begin, parts) in [
        (
            "AAAA",
            "[INFO] seen 127.0.0.1 127.0.0.1 ",
            " AAAA IN www.other.test. udp 43 true 1232 NOERROR qr,aa,rd ",
        ),
        (
            "tcp",
            "[INFO] seen 127.0.0.1 127.0.0.1 ",
            " A IN www.other.test. tcp 32 false 65535 NOERROR qr,aa,rd ",
        ),
    ] {
        let line = of(word);
        assert!(line.starts_with(begin) && line.contains(parts), "{line}");
        assert!(line.ends_with(" 0 {nothing} -"), "{line}");
    }
    // What CoreDNS writes without a format.
    let common = &lines(&martlet, "a.common.test.", 1)[0];
    let port = common.strip_prefix("[INFO] 127.0.0.1:").expect(common);
    let (port, rest) = port.split_once(" - ").expect(common);
    assert!(port.parse::<u16>().is_ok(), "{common}");
    let (id, rest) = rest.split_once(' ').expect(common);
    assert!(id.parse::<u16>().is_ok(), "{common}");
    let expected = "\"A IN a.common.test. udp 31 false 512\" NOERROR qr,aa,rd ";
    let rest = rest.strip_prefix(expected).expect(common);
    let (len, duration) = rest.split_once(' ').expect(common);
    assert!(len.parse::<u16>().is_ok(), "{common}");
    let seconds = duration.strip_suffix('s').expect(common);
    assert!(seconds.parse::<f64>().is_ok(), "{common}");
    // Only what failed.
    lines(&martlet, "b.quiet.test.", 1);
    assert_eq!(martlet.said("a.quiet.test."), 0, "{}", martlet.log());
}

#[test]
fn lines_are_json_objects_when_told_to() {
    let corefile = ".:{PORT} {\n    bind 127.0.0.1\n    log . \"{name} \\\"{rcode}\\\"\"\n    errors\n    \
                    local\n}\n";
    let martlet = Setup::new(corefile).argument("-log-format=json").start();
    assert_eq!(martlet.client().ask("a.test.", "A").rcode, "SERVFAIL");
    let found = lines(&martlet, "a.test.", 2);
    let log = martlet.log();
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        for field in ["time", "level", "message"] {
            assert!(object[field].is_string(), "{line}");
        }
    }
    let of = |level: &str| {
        let objects = found
            .iter()
            .map(|line| serde_json::from_str(line).expect("as before"));
        let mut objects = objects.filter(|object: &Value| object["level"] == level);
        objects.next().map(|object| object["message"].clone())
    };
    // The server's SERVFAIL comes after the line, as in CoreDNS.
    assert_eq!(of("INFO"), Some("a.test. \"-\"".into()), "{log}");
    let error = of("ERROR").expect(&log);
    let error = error.as_str().expect("a text");
    assert!(error.starts_with("plugin/errors: 2 a.test. A: "), "{log}");
}

/// Whoever reads the log may stop reading: that is nobody's business who asks.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let martlet = Setup::new(COREFILE).start();
    let unread = martlet.process.unread();
    let lost = || Scrape::of(martlet.nth_port(2)).sum("martlet_log_lines_lost_total", &[]);
    let flood = Flood::start(martlet.client().server, "www.other.test.");
    let full = wait_until(Duration::from_secs(60), || (lost() > 0.0).then_some(()));
    let tally = flood.stop();
    drop(unread);
    assert!(full.is_some(), "no line was lost: {tally:?}");
    assert_eq!(tally.sent, tally.answered, "{tally:?}");
    // It is read again, and what is logged from now on is there.
    let arrives = wait_until(Duration::from_secs(20), || {
        martlet.client().ask("after.other.test.", "A");
        (martlet.said("after.other.test.") > 0).then_some(())
    });
    assert!(arrives.is_some());
}
