//! The ways of moving datagrams, each of which this machine may refuse.

use std::time::Duration;

use crate::martlet::Setup;
use crate::process::wait_until;

/// All of them, as `-io` has them.
pub const WAYS: [&str; 3] = ["recvmmsg", "io_uring", "io_uring_sqpoll"];

/// Runs a test for each way that this machine has; for the others, sees that it is said why not.
///
/// # Panics
///
/// If a way is refused that is always there, or without saying why.
pub fn each_way(test: impl Fn(&str)) {
    for io in WAYS {
        match refusal(io) {
            None => test(io),
            Some(text) => {
                assert_ne!(io, "recvmmsg", "it is always there: {text}");
                println!("{io} is not to be had here: {text}");
                let expected = format!("cannot use {io} for datagrams: ");
                assert!(text.contains(&expected), "{text}");
                assert!(refusal("auto").is_none(), "there is always a way");
            }
        }
    }
}

/// What the server says if it cannot start this way.
pub fn refusal(io: &str) -> Option<String> {
    let mut martlet = with_io(Setup::new(WHOAMI), io).at_once().start();
    let started = wait_until(Duration::from_secs(20), || {
        let runs = martlet.log().contains("workers move datagrams through");
        (runs || martlet.process.ended().is_some()).then_some(runs)
    });
    (started == Some(false)).then(|| {
        martlet.process.wait(Duration::from_secs(1));
        martlet.log()
    })
}

/// The same, with this way.
#[must_use]
pub fn with_io(setup: Setup, io: &str) -> Setup {
    setup.argument("-io").argument(io)
}

/// A server of which nothing is needed but that it starts.
pub const WHOAMI: &str = "example.org:{PORT} {\n    whoami\n}\n";
