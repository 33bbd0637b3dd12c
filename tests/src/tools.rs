//! Programs that some tests need.

use std::env;
use std::path::Path;
use std::process::Command;

/// True when all of these are installed. Otherwise says which is not, so that the test can end
/// early; under `CI=true` that is a failure instead, lest CI pass without testing.
pub fn available(programs: &[&str]) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = |program: &str| {
        env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir| dir.join(program).is_file())
    };
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| !installed(program))
        .collect();
    if !missing.is_empty() {
        cannot(&format!("not installed: {missing:?}"));
    }
    missing.is_empty()
}

/// Says that a test is skipped, and why; panics under `CI=true`.
pub fn cannot(reason: &str) {
    let in_ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "needed in CI: {reason}");
    println!("skipped: {reason}");
}

/// What `dig +noall +answer` and its like print for a question to 127.0.0.1.
pub fn dig(port: u16, arguments: &[&str]) -> String {
    let port = port.to_string();
    output(
        Command::new("dig")
            .args(["@127.0.0.1", "-p", &port, "+time=2", "+tries=2"])
            .args(arguments),
    )
}

/// As [`dig`], with Knot's client.
pub fn kdig(port: u16, arguments: &[&str]) -> String {
    let port = port.to_string();
    output(
        Command::new("kdig")
            .args(["@127.0.0.1", "-p", &port, "+time=2"])
            .args(arguments),
    )
}

/// What the C library's resolver finds, with `/etc/resolv.conf` as it is.
pub fn getent(name: &str) -> String {
    output(Command::new("getent").args(["ahosts", name]))
}

/// What a program prints; panics when it cannot be started.
fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat()
}

/// The folder of the whole repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
}
