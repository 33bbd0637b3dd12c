//! `soak [MINUTES [RATE]]`: a server under load while its upstreams fall ill. Prints figures; fails
//! when a question got no reply or a wrong one, or when the server holds more and more.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use martlet_tests::soak;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let mut number = |default| match arguments.next().map(|text| text.parse()) {
        None => Some(default),
        Some(parsed) => parsed.ok(),
    };
    let (Some(minutes), Some(rate)) = (number(10_u32), number(500_u32)) else {
        eprintln!("usage: soak [MINUTES [RATE]]");
        return ExitCode::from(2);
    };
    let report = soak::run(Duration::from_secs(60) * minutes, rate);
    let step = (report.held.len() / 20).max(1);
    for held in report.held.iter().step_by(step) {
        println!(
            "{:5} s  {:8} KiB  {:5} descriptors",
            held.at.as_secs(),
            held.memory,
            held.descriptors
        );
    }
    println!("{report}");
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
