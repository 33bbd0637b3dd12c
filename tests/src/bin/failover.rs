//! `failover`: two upstreams with default options, one of which does not reply, or not any more; 500
//! new names a second for 12 seconds. Of the replies at most one in a hundred may come later than
//! 100 ms, none of those to questions after the server had half a second to see it, and every
//! question must have one.
//!
//! The times are a requirement, so this is for a machine that is not busy.

use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use martlet_tests::load::{Load, Outcome};
use martlet_tests::{Fault, Martlet, Setup, Upstream};

const RATE: u32 = 500;
const TIME: Duration = Duration::from_secs(12);
const LIMIT: Duration = Duration::from_millis(100);
/// What the server has to find the dead one.
const LEARNING: Duration = Duration::from_millis(500);
/// When the one that is well at first falls silent, and comes back.
const SILENT_FROM: Duration = Duration::from_secs(3);
const SILENT_TO: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let dead = silent.local_addr().expect("it is bound");
    let good = Upstream::start("good");
    let address = good.address();
    let mut passed = true;
    for (what, to) in [
        ("the first is silent", [dead, address]),
        ("the second is silent", [address, dead]),
    ] {
        let outcome = load(&serve(&to)).run();
        passed &= judge(what, &outcome, Duration::ZERO);
    }
    let ill = Upstream::start("ill");
    let martlet = serve(&[ill.address(), address]);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(SILENT_FROM);
            ill.misbehave("*", Fault::Silence);
            thread::sleep(SILENT_TO - SILENT_FROM);
            ill.behave();
        });
        load(&martlet).run()
    });
    passed &= judge("one falls silent and comes back", &outcome, SILENT_FROM);
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn serve(to: &[SocketAddr; 2]) -> Martlet {
    let corefile = format!(
        "ready.local:{{PORT}} {{\n    bind 127.0.0.1\n    whoami\n}}\n\
         .:{{PORT}} {{\n    bind 127.0.0.1\n    forward . {} {}\n}}\n",
        to[0], to[1]
    );
    Setup::new(&corefile)
        .until_it_answers("x.ready.local.")
        .start()
}

fn load(martlet: &Martlet) -> Load {
    Load {
        server: martlet.client().server,
        rate: RATE,
        time: TIME,
        new_every: 1,
    }
}

/// Prints the figures. `from` is when an upstream begins not to reply.
fn judge(what: &str, outcome: &Outcome, from: Duration) -> bool {
    let late = outcome.later_than(LIMIT, Duration::ZERO);
    let before = late - outcome.later_than(LIMIT, from);
    let after = outcome.later_than(LIMIT, from + LEARNING);
    let right = outcome.right == outcome.sent && outcome.adds_up();
    let good = right && late * 100 <= outcome.sent && before == 0 && after == 0;
    println!("{what}: {}", outcome.summary());
    println!(
        "{what}: later than {LIMIT:?}: {late}, of these to questions before the silence {before}, \
         after {LEARNING:?} of it {after}: {}",
        if good { "good" } else { "FAILED" }
    );
    good
}
