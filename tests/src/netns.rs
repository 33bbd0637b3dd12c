//! Private network, host name and mount namespaces.
//!
//! A process cannot move itself there without help when it has threads, and tests have. So the test
//! binary starts itself again under `unshare`, and the child does the work.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::martlet::binary;
use crate::tools;

/// The running test binary, to be started again inside new namespaces. None, after saying so, where
/// that is not allowed.
pub fn command() -> Option<Command> {
    if !tools::available(&["unshare", "ip", "mount"]) {
        return None;
    }
    let mut flags = vec!["--net", "--uts", "--mount"];
    if !rustix::process::geteuid().is_root() {
        flags.push("--map-root-user");
    }
    let tried = Command::new("unshare")
        .args(&flags)
        .arg("true")
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        tools::cannot("new namespaces are not allowed here (not root?)");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(flags).args(["--fork", "--kill-child"]);
    command.arg(env::current_exe().expect("a running program has a file"));
    Some(command)
}

/// Runs the body of a test in namespaces of its own. `test` is the test's full name: the child is
/// told to run just that, finds a variable set, and runs the body.
pub fn isolated(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        run(Path::new("ip"), &["link", "set", "lo", "up"]);
        return body();
    }
    let Some(mut command) = command() else {
        return;
    };
    let arguments = ["--exact", test, "--nocapture", "--include-ignored"];
    let output = command
        .args(arguments)
        .env(INSIDE, "1")
        .env("MARTLET_BIN", binary())
        .output()
        .expect("unshare is installed");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(
        text.contains("1 passed"),
        "{test} inside its namespaces: {}\n{text}",
        output.status
    );
}

/// How large a packet may be on the loopback interface, in octets.
pub fn loopback_mtu(octets: u16) {
    let octets = octets.to_string();
    run(Path::new("ip"), &["link", "set", "lo", "mtu", &octets]);
}

/// Sets the namespaces up: addresses (with prefix length) on the loopback interface, host name,
/// and `/etc/resolv.conf`. `scratch` is a directory that lasts as long as they do.
pub fn prepare(scratch: &Path, addresses: &[String], hostname: &str, resolv_conf: &str) {
    let ip = Path::new("ip");
    run(ip, &["link", "set", "lo", "up"]);
    for address in addresses {
        let mut arguments = vec!["addr", "add", address, "dev", "lo"];
        if address.contains(':') {
            arguments.push("nodad");
        }
        run(ip, &arguments);
    }
    rustix::system::sethostname(hostname.as_bytes()).expect("the host name is ours to set");
    mount_resolv_conf(scratch, resolv_conf);
}

/// Puts another file over `/etc/resolv.conf`, in this mount namespace only.
pub fn mount_resolv_conf(scratch: &Path, text: &str) {
    let file = scratch.join("resolv.conf");
    fs::write(&file, text).expect("the scratch directory is writable");
    run(
        Path::new("mount"),
        &["--bind", &file.to_string_lossy(), "/etc/resolv.conf"],
    );
}

/// Runs a program that has to succeed.
pub fn run(program: &Path, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("looked for it before");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} {arguments:?}: {complaint}",
        program.display()
    );
}

const INSIDE: &str = "MARTLET_TEST_INSIDE";
