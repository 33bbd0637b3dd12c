//! `loop`: a server that forwards to itself ends, and says why.

use std::time::Duration;

use martlet_tests::{Setup, Upstream, wait_until};

use crate::fixtures::{forward, resolver};

#[test]
fn a_loop_ends_the_process() {
    for corefile in [
        // Straight to ourselves.
        ".:{PORT} {\n    bind 127.0.0.1\n    loop\n    forward . 127.0.0.1:{PORT}\n}\n",
        // Over another server block.
        ".:{PORT} {\n    bind 127.0.0.1\n    loop\n    forward . 127.0.0.1:{PORT2}\n}\n\
         .:{PORT2} {\n    bind 127.0.0.1\n    forward . 127.0.0.1:{PORT}\n}\n",
        // With a cache in the way.
        ".:{PORT} {\n    bind 127.0.0.1\n    loop\n    cache 30\n    forward . 127.0.0.1:{PORT}\n}\n",
    ] {
        let mut martlet = Setup::new(corefile).at_once().start();
        let status = martlet.process.wait(Duration::from_secs(30));
        let log = martlet.log();
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(1), "{corefile}: {log}");
        for word in ["plugin/loop", "Loop", "HINFO"] {
            assert!(log.contains(word), "`{word}` is not in: {log}");
        }
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn no_loop_is_no_matter() {
    let upstream = Upstream::start("a");
    let directives = format!("loop\n{}", forward(&[upstream.address()], ""));
    let mut martlet = resolver(&directives).start();
    // The probe goes out, once, and its denial means that all is well.
    let probed = wait_until(Duration::from_secs(10), || {
        let asked = upstream.asked();
        asked.into_iter().find(|asked| asked.rtype == "HINFO")
    });
    assert!(probed.is_some(), "{:?}", upstream.asked());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(martlet.process.ended(), None, "{}", martlet.log());
    assert!(!martlet.client().ask("a.up.test.", "A").an.is_empty());
    let probes = upstream.asked();
    let probes = probes.iter().filter(|asked| asked.rtype == "HINFO").count();
    assert!(probes <= 2, "{probes} probes");
    assert!(martlet.stop().success());
}
