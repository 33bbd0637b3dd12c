//! `reload`: changes are found without being told.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use martlet_tests::{Martlet, Scrape, Setup, wait_until};

use super::block;

const RELOAD: &str = "reload 2s 1s\n    prometheus :{PORT2}\n    whoami";

/// Waits until a name is answered with this code.
fn becomes(martlet: &Martlet, name: &str, rcode: &str) {
    let client = martlet.client();
    let found = wait_until(Duration::from_secs(20), || {
        (client.ask(name, "A").rcode == rcode).then_some(())
    });
    assert!(found.is_some(), "{name}: {}", martlet.log());
}

/// The hash that is told, which there is one of, once it is another than `before`: it is told a
/// moment after the first answer.
fn version(martlet: &Martlet, before: &str) -> String {
    let told = wait_until(Duration::from_secs(5), || {
        let scrape = Scrape::of(martlet.nth_port(2));
        let samples = scrape.samples.iter();
        let mut found = samples.filter(|sample| sample.name == "coredns_reload_version_info");
        let only = found.next()?;
        assert_eq!(found.next().map(|other| &other.labels), None);
        assert_eq!(only.labels["hash"], "sha512");
        (only.labels["value"] != before).then(|| only.labels["value"].clone())
    });
    told.expect("`reload` tells its version")
}

#[test]
fn a_changed_corefile_is_taken_and_a_bad_one_told_once() {
    let martlet = Martlet::start(&block("a.test", "PORT", RELOAD), &[]);
    let first = version(&martlet, "");
    martlet.says_again(&format!("SHA512 = {first}"), 0);
    martlet.write("Corefile", &block("b.test", "PORT", RELOAD));
    becomes(&martlet, "x.b.test.", "NOERROR");
    let second = version(&martlet, &first);

    let words = "plugin/reload: Corefile changed but reload failed";
    martlet.write("Corefile", &block("c.test", "PORT", "whoam"));
    martlet.says_again(words, 0);
    // Two intervals later nobody has complained again.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(martlet.said(words), 1, "{}", martlet.log());
    assert!(martlet.log().contains("`whoam`"), "{}", martlet.log());
    becomes(&martlet, "x.b.test.", "NOERROR");
    assert_eq!(version(&martlet, ""), second);
    let scrape = Scrape::of(martlet.nth_port(2));
    assert_eq!(scrape.sum("coredns_reload_failed_total", &[]), 1.0);

    martlet.write("Corefile", &block("c.test", "PORT", RELOAD));
    becomes(&martlet, "x.c.test.", "NOERROR");
    martlet.says_again("Reloading complete", 1);
}

/// A ConfigMap's directory, in which a link changes its target.
#[test]
fn imported_files_count() {
    let corefile = format!(
        "import {{DIR}}/custom/*\n{}",
        block("a.test", "PORT", RELOAD)
    );
    let martlet = Setup::new(&corefile).start();
    let dir = martlet.dir();
    becomes(&martlet, "x.b.test.", "REFUSED");
    let version = |name: &str, zone: &str| {
        let data = dir.join(name);
        fs::create_dir(&data).expect("it is writable");
        let text = format!(
            "{zone}:{} {{\n    bind 127.0.0.1\n    whoami\n}}\n",
            martlet.port()
        );
        fs::write(data.join("more.server"), text).expect("it is writable");
        symlink(&data, dir.join(".link")).expect("it is writable");
        fs::rename(dir.join(".link"), dir.join("custom")).expect("it is a link");
    };
    version("one", "b.test");
    becomes(&martlet, "x.b.test.", "NOERROR");
    version("two", "c.test");
    becomes(&martlet, "x.c.test.", "NOERROR");
    assert_eq!(martlet.client().ask("x.b.test.", "A").rcode, "REFUSED");
}
