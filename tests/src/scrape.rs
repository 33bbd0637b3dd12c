//! What a server tells of itself at `/metrics`, read as strictly as Prometheus' text format 0.0.4
//! is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// One look at the metrics.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The type of each family by its name.
    pub types: BTreeMap<String, String>,
    /// All samples.
    pub samples: Vec<Sample>,
}

/// One line of the metrics.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The family that it stands under.
    pub family: String,
    /// Its name: the family's, or that with `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// What an HTTP server on this port of 127.0.0.1 has at `path`: the head in lower case, and the
/// body. Panics if it is not there.
pub fn http_get(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).expect("not nothing");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("it answers");
    let (head, body) = response.split_once("\r\n\r\n").expect("a whole response");
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    (head, body.to_owned())
}

impl Scrape {
    /// Asks the server on this port of 127.0.0.1; panics when that does not work or the text is not
    /// what it should be.
    pub fn of(port: u16) -> Self {
        let (head, body) = http_get(port, "/metrics");
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        Self::parse(&body)
    }

    /// Reads the text format.
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut family = String::new();
        let mut series = BTreeSet::new();
        assert!(text.ends_with('\n'), "the last line is not ended");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                name.clone_into(&mut family);
                let second = scrape.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(second, None, "{name} comes twice");
            } else if !line.starts_with("# HELP ") {
                let sample = sample(&family, &scrape.types, line);
                let is_new = series.insert((sample.name.clone(), sample.labels.clone()));
                assert!(is_new, "{line}: it comes twice");
                scrape.samples.push(sample);
            }
        }
        scrape
    }

    /// The sum of the samples with this name and at least these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|own| own == value)
            };
            sample.name == name && labels.iter().all(has)
        };
        let fitting = self.samples.iter().filter(fits);
        fitting.map(|sample| sample.value).sum()
    }

    /// How much larger that sum is than it was before.
    pub fn more(&self, before: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels) - before.sum(name, labels)
    }

    /// The names of the labels of a family's samples; panics if they differ.
    pub fn labels(&self, family: &str) -> Vec<String> {
        let mut found = None;
        for sample in self.samples.iter().filter(|s| s.family == family) {
            let names: Vec<_> = sample.labels.keys().filter(|name| *name != "le").collect();
            let names: Vec<_> = names.into_iter().cloned().collect();
            assert!(
                found.is_none() || found.as_ref() == Some(&names),
                "{family}"
            );
            found = Some(names);
        }
        found.unwrap_or_default()
    }
}

fn sample(family: &str, types: &BTreeMap<String, String>, line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a series and a value");
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').expect(line))),
    };
    let suffix = name
        .strip_prefix(family)
        .expect("samples follow their type");
    let suffixes = match types[family].as_str() {
        "histogram" => &["_bucket", "_sum", "_count"][..],
        "counter" | "gauge" => &[""],
        kind => panic!("{family}: no type {kind}"),
    };
    assert!(suffixes.contains(&suffix), "{line}");
    assert_eq!(suffix == "_bucket", labels.contains_key("le"), "{line}");
    Sample {
        family: family.to_owned(),
        name: name.to_owned(),
        labels,
        value: value.parse().expect(line),
    }
}

/// Labels without escapes, which is all that tests need.
fn read_labels(text: &str) -> BTreeMap<String, String> {
    let text = text.strip_suffix('"').expect("quoted values");
    let pairs = text.split("\",");
    let read = |pair: &str| {
        let (name, value) = pair.split_once("=\"").expect("a label");
        (name.to_owned(), value.to_owned())
    };
    pairs.map(read).collect()
}
