//! The files below `tests/conformance/`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dns::Answer;

/// An answers file.
#[derive(Deserialize, Serialize)]
pub struct Answers {
    /// The answers by key.
    pub answers: BTreeMap<String, Answer>,
}

impl Answers {
    /// Reads a file, gzipped or not.
    pub fn read(path: &Path) -> Self {
        let text = read(path);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Where the recorded answers are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// The text of a file, gzipped or not.
pub(super) fn read(path: &Path) -> String {
    let octets = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    let read = if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(octets.as_slice()).read_to_string(&mut text)
    } else {
        octets.as_slice().read_to_string(&mut text)
    };
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text
}

/// The objects of a YAML text: documents, Lists of them, or both.
pub(super) fn objects(yaml: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    for document in yaml_serde::Deserializer::from_str(yaml) {
        let mut document = Value::deserialize(document).expect("manifests are YAML");
        match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => objects.extend(items),
            _ if document.is_null() => {}
            _ => objects.push(document),
        }
    }
    objects
}

/// Names of the files with this ending, without it, sorted.
pub(super) fn stems(dir: &Path, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut stems: Vec<_> = names
        .filter_map(|name| name.strip_suffix(ending).map(str::to_owned))
        .collect();
    stems.sort_unstable();
    stems
}
