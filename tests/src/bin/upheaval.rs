//! `upheaval FOLDER [insecure|verified [STORMS]]`: what it costs in memory when a whole cluster is
//! listed anew, and when all its objects change at once; `perf/upheaval` runs it.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use martlet_tests::upheaval;

/// How long memory may take to settle.
const REST: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let (folder, pods, storms) = match arguments[..] {
        [folder] => (folder, "insecure", "3"),
        [folder, pods] => (folder, pods, "3"),
        [folder, pods, storms] => (folder, pods, storms),
        _ => ("", "", ""),
    };
    let Ok(storms) = storms.parse() else {
        eprintln!("usage: upheaval FOLDER [insecure|verified [STORMS]]");
        return ExitCode::from(2);
    };
    let objects = upheaval::read_objects(Path::new(folder));
    println!("{}", upheaval::run(objects, pods, storms, REST));
    ExitCode::SUCCESS
}
