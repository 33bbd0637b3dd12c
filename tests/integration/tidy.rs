//! The rules of the house that a program can check.

use std::fs;
use std::path::{Path, PathBuf};

use martlet_tests::tools::repository;

/// Most lines of a source file, its test module not counted.
const LINES_MAX: usize = 600;

/// All files of the repository with their text; generated and binary ones left out.
fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let mut folders = vec![repository().to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("the repository can be read");
        for path in entries.map(|entry| entry.expect("as before").path()) {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            // In a second work tree `.git` is a file.
            if ["target", ".git", "corpus", "artifacts"].contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Some(text) = text(&path) {
                let relative = path
                    .strip_prefix(repository())
                    .expect("it was found in there");
                texts.push((relative.to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(
        texts.len() > 50,
        "the repository is larger than this: {}",
        texts.len()
    );
    texts
}

fn text(path: &PathBuf) -> Option<String> {
    let is_file = path.is_file() && !path.is_symlink();
    is_file
        .then(|| fs::read(path).ok())
        .flatten()
        .and_then(|octets| String::from_utf8(octets).ok())
}

fn sources() -> impl Iterator<Item = (String, String)> {
    texts()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs"))
}

/// Lines of code with their numbers: comments do not count.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.trim()));
    lines.filter(|(_, line)| !line.starts_with("//"))
}

fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// The words are put together here, lest this file be found.
fn word(parts: [&str; 2]) -> String {
    parts.concat()
}

#[test]
fn unsafe_code_is_in_its_place() {
    let forms =
        ["{", "fn", "impl", "extern"].map(|form| format!("{} {form}", word(["un", "safe"])));
    let mut found = Vec::new();
    for (path, text) in sources() {
        let places = ["engine/src/sys", "control/src/allocator.rs", "bench/"];
        if places.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        let lines = code(&text).filter(|(_, line)| forms.iter().any(|form| line.contains(form)));
        found.extend(lines.map(|(n, line)| format!("{path}:{n}: {line}")));
    }
    assert_none(
        "only system calls, the allocator and benches may be unsafe",
        &found,
    );
}

#[test]
fn nothing_is_left_to_do() {
    let words = [
        ["FIX", "ME"],
        ["dbg", "!("],
        ["to", "do!("],
        ["unimple", "mented!("],
    ]
    .map(word);
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (n, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{path}:{}: {line}", n + 1));
            }
        }
    }
    assert_none("finished code only", &found);
}

#[test]
fn files_are_small() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let name = Path::new(&path);
        if name.ends_with("tests.rs") || name.iter().any(|part| part == "tests") {
            continue;
        }
        let tests = ["#[cfg(test)]", "mod tests {"].join("\n");
        let lines = text
            .split(&tests)
            .next()
            .unwrap_or_default()
            .lines()
            .count();
        if lines >= LINES_MAX {
            found.push(format!("{path}: {lines} lines"));
        }
    }
    assert_none("files are split before they are long", &found);
}

#[test]
fn modules_are_not_called_mod() {
    let found: Vec<_> = sources()
        .map(|(path, _)| path)
        .filter(|path| path.ends_with("/mod.rs"))
        .collect();
    assert_none("foo.rs beside foo/", &found);
}

#[test]
fn the_repository_stands_alone() {
    let words = [["../sha", "red"], ["/wo", "rk/"]].map(word);
    let mut found = Vec::new();
    for (path, text) in texts() {
        for (n, line) in text.lines().enumerate() {
            // Packages of others may lie in a folder of any name.
            if words.iter().any(|word| line.contains(word.as_str())) && !line.contains("://") {
                found.push(format!("{path}:{}: {line}", n + 1));
            }
        }
    }
    assert_none("no paths out of the repository", &found);
}

#[test]
fn crates_stay_behind_their_fences() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (prefix, words) in [
            ("control/src/cluster", &["kube::", "k8s_openapi::"][..]),
            ("engine/tests", &["hickory_proto::"]),
        ] {
            let fenced = path.starts_with("control/src") || path.starts_with("engine/src");
            if !fenced || path.starts_with(prefix) {
                continue;
            }
            let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
            let uses = code(before_tests).filter(|(_, line)| {
                words.iter().any(|word| {
                    line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                        .any(|token| token.starts_with(word))
                })
            });
            found.extend(uses.map(|(n, line)| format!("{path}:{n}: {line}")));
        }
    }
    assert_none(
        "Kubernetes types stay in control/src/cluster, hickory in tests",
        &found,
    );
}
