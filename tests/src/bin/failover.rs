//! `failover`: two upstreams with default options, one of which never replies; 500 new names a
//! second for 12 seconds. Of the replies at most one in a hundred may come later than 100 ms, none
//! of those to questions after the first half second, and every question must have one.
//!
//! The times are a requirement, so this is for a machine that is not busy.

use std::net::UdpSocket;
use std::process::ExitCode;
use std::time::Duration;

use martlet_tests::load::Load;
use martlet_tests::{Setup, Upstream};

const RATE: u32 = 500;
const TIME: Duration = Duration::from_secs(12);
const LIMIT: Duration = Duration::from_millis(100);
/// What the server has to find the dead one.
const LEARNING: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let dead = silent.local_addr().expect("it is bound");
    let good = Upstream::start("good");
    let mut failed = false;
    // Whichever of them is named first.
    for to in [[dead, good.address()], [good.address(), dead]] {
        let corefile = format!(
            "ready.local:{{PORT}} {{\n    bind 127.0.0.1\n    whoami\n}}\n\
             .:{{PORT}} {{\n    bind 127.0.0.1\n    forward . {} {}\n}}\n",
            to[0], to[1]
        );
        let setup = Setup::new(&corefile).until_it_answers("x.ready.local.");
        let martlet = setup.start();
        let load = Load {
            server: martlet.client().server,
            rate: RATE,
            time: TIME,
            new_every: 1,
        };
        let outcome = load.run();
        let late = outcome.later_than(LIMIT, Duration::ZERO);
        let late_then = outcome.later_than(LIMIT, LEARNING);
        let right = outcome.right == outcome.sent && outcome.adds_up();
        let good = right && late * 100 <= outcome.sent && late_then == 0;
        failed |= !good;
        println!("{}", outcome.summary());
        println!(
            "later than {LIMIT:?}: {late}, of these to questions after {LEARNING:?}: {late_then}: {}",
            if good { "good" } else { "FAILED" }
        );
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
