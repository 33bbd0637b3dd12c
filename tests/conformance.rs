//! Asks the server what CoreDNS was asked, and compares. Arguments are parts of labels, such as
//! `cluster-1/kubeadm`; without any, every case runs.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use martlet_tests::conformance::{Case, Deviations, Report};
use martlet_tests::{netns, ways};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [flag, label, dir] = arguments.as_slice()
        && flag == "--inner"
    {
        return inner(label, Path::new(dir));
    }
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let fits = |case: &Case| {
        wanted.is_empty()
            || wanted
                .iter()
                .any(|part| case.label().contains(part.as_str()))
    };
    let cases: Vec<_> = Case::all().into_iter().filter(fits).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        cases
            .iter()
            .for_each(|case| println!("{}: test", case.label()));
        return ExitCode::SUCCESS;
    }
    // A filter that names tests of other binaries; or a skip, which has been explained.
    if cases.is_empty() || netns::command().is_none() {
        return ExitCode::SUCCESS;
    }
    let asks = cases.iter().any(|case| case.io.is_some());
    let refused = asks.then(|| ways::refusal("io_uring")).flatten();
    if let Some(text) = &refused {
        println!("io_uring is not to be had here: {text}");
    }
    let cases: Vec<_> = cases
        .into_iter()
        .filter(|case| case.io.is_none() || refused.is_none())
        .collect();
    outer(&cases, wanted.is_empty())
}

/// Runs the cases, twice as many at a time as there are processors: a server and whoever asks it take
/// turns waiting for each other, and both wait for upstreams that never answer.
fn outer(cases: &[Case], all: bool) -> ExitCode {
    let started = Instant::now();
    martlet_tests::binary();
    let results = Mutex::new(Results {
        total: Report::default(),
        passed: 0,
        failed: 0,
    });
    let deviations = Mutex::new(Deviations::read());
    let next = AtomicUsize::new(0);
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(case, &results, &deviations);
                }
            });
        }
    });
    let results = results.into_inner().expect("nobody panicked");
    println!("total: {}", results.total);
    print!("{}", results.total.differences(40));
    for (used, reason) in deviations.into_inner().expect("nobody panicked").used() {
        if used > 0 {
            println!("deviation, {used} times: {reason}");
        } else if all {
            println!("warning: a deviation that nothing needs: {reason}");
        }
    }
    let seconds = started.elapsed().as_secs();
    println!(
        "{} passed, {} failed; {seconds} s",
        results.passed, results.failed
    );
    if results.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Results {
    total: Report,
    passed: usize,
    failed: usize,
}

fn run(case: &Case, results: &Mutex<Results>, deviations: &Mutex<Deviations>) {
    let Some(command) = netns::command() else {
        return;
    };
    let result = case.run(command, deviations);
    let mut results = results.lock().expect("nobody panicked");
    match result {
        Ok(report) => {
            println!("{}: {report}", case.label());
            let agrees = report.agrees();
            results.passed += usize::from(agrees);
            results.failed += usize::from(!agrees);
            results.total.add(report);
        }
        Err(reason) => {
            println!("{}: FAILED: {reason}", case.label());
            results.failed += 1;
        }
    }
}

fn inner(label: &str, dir: &Path) -> ExitCode {
    let done = match Case::find(label) {
        Some(case) => case.run_inside(dir),
        None => Err(format!("no case `{label}`")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}
