//! The Dockerfile says of the image what the manifests take for granted, and is built as CI builds.

use std::collections::BTreeSet;
use std::fs;

use martlet_tests::tools::repository;
use regex::Regex;

use super::{folder, only};

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).expect("it can be read")
}

/// The first group of a pattern's only match.
fn found(text: &str, pattern: &str) -> String {
    let pattern = Regex::new(pattern).expect("a pattern");
    let mut all = pattern.captures_iter(text);
    let first = all.next().unwrap_or_else(|| panic!("no {pattern}"))[1].to_owned();
    assert!(all.next().is_none(), "{pattern} twice");
    first
}

#[test]
fn the_image_is_what_the_manifests_expect() {
    let image = read("deploy/image/Dockerfile");
    let objects = folder("base");
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    let security = &pod["securityContext"];
    let user = format!("{}:{}", security["runAsUser"], security["runAsGroup"]);
    assert_eq!(found(&image, r"(?m)^USER (.*)$"), user);
    // The capability is the file's, too: a user who is not root gets it no other way.
    let container = &pod["containers"][0];
    let capability = found(&image, r"setcap cap_(\w+)=\+ep /martlet");
    let added = &container["securityContext"]["capabilities"]["add"];
    assert_eq!(added, &serde_json::json!([capability.to_uppercase()]));
    let exposed = found(&image, r"(?m)^EXPOSE (.*)$");
    let exposed: BTreeSet<_> = exposed.split(' ').map(str::to_owned).collect();
    let ports = container["ports"].as_array().expect("a list").iter();
    let ports = ports.map(|port| match port["protocol"].as_str() {
        Some("UDP") => format!("{}/udp", port["containerPort"]),
        _ => port["containerPort"].to_string(),
    });
    assert_eq!(exposed, ports.collect());
    assert_eq!(found(&image, r"(?m)^ENTRYPOINT (.*)$"), r#"["/martlet"]"#);
    let version = found(&image, r#"image\.version="(.*)""#);
    assert_eq!(
        version,
        found(&read("Cargo.toml"), r#"(?m)^version = "(.*)"$"#)
    );
}

#[test]
fn ci_builds_and_checks_as_the_image_does() {
    let (image, ci) = (read("deploy/image/Dockerfile"), read(".ci/run"));
    let flags = r"RUSTFLAGS='([^']*crt-static[^']*)'";
    assert_eq!(found(&image, flags), found(&ci, flags));
    for text in [image, ci] {
        assert!(text.contains("deploy/image/check-static "));
    }
}
