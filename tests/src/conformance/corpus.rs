//! The corpus: one question a line.
//!
//! ```text
//! NAME CLASS TYPE [option …] <tab> shape
//! RAW HEX [option …]         <tab> shape
//! ```
//!
//! The text before the tab is the key of the recorded answer. Options: `tcp`, `edns[=SIZE]`, `do`,
//! `ver=N`, `opt=CODE[:HEX]`, `ednsz`, `rd0`, `cd`, `ad`, `z`, `src=IP`, `sleep=SECONDS` (before
//! asking), `timeout=SECONDS`, `once` (no second try), `again=N` (only makes the key differ), `xfr` (a
//! zone transfer over TCP).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::dns::{Edns, Query, class_code, type_code};

/// One question of a corpus.
#[derive(Clone, Debug)]
pub struct Question {
    /// What the recorded answer is found by.
    pub key: String,
    /// What the corpus's maker had in mind; templates select by it.
    pub shape: String,
    options: Vec<(String, String)>,
    raw: Option<Vec<u8>>,
}

impl Question {
    /// Reads a key. Panics on what is not in the format: corpora are files of this repository.
    pub fn new(key: &str, shape: &str) -> Self {
        let mut words = key.split(' ');
        let raw = (words.next() == Some("RAW")).then(|| unhex(words.next().unwrap_or_default()));
        let options = words.skip(if raw.is_some() { 0 } else { 2 });
        let options = options.map(|word| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            (name.to_owned(), value.to_owned())
        });
        Self {
            key: key.to_owned(),
            shape: shape.to_owned(),
            options: options.collect(),
            raw,
        }
    }

    /// QNAME, or `RAW`.
    pub fn name(&self) -> &str {
        self.key.split(' ').next().unwrap_or_default()
    }

    /// QTYPE's mnemonic, or `RAW`.
    pub fn type_text(&self) -> &str {
        match self.raw {
            Some(_) => "RAW",
            None => self.key.split(' ').nth(2).unwrap_or_default(),
        }
    }

    /// True when the option is given.
    pub fn has(&self, option: &str) -> bool {
        self.option(option).is_some()
    }

    fn option(&self, option: &str) -> Option<&str> {
        let found = self.options.iter().find(|(name, _)| name == option);
        found.map(|(_, value)| value.as_str())
    }

    fn seconds(&self, option: &str) -> Option<Duration> {
        let text = self.option(option)?;
        Some(Duration::from_secs_f64(
            text.parse().expect("seconds are a number"),
        ))
    }

    /// How long to wait for an answer, where the question says so itself.
    pub fn timeout(&self) -> Option<Duration> {
        self.seconds("timeout")
    }

    /// How long to wait before asking.
    pub fn sleep(&self) -> Option<Duration> {
        self.seconds("sleep")
    }

    /// The address to ask from.
    pub fn source(&self) -> Option<IpAddr> {
        self.option("src")
            .map(|text| text.parse().expect("src is an address"))
    }

    /// The message.
    pub fn wire(&self, id: u16) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            let mut wire = raw.clone();
            if let Some(place) = wire.first_chunk_mut() {
                *place = id.to_be_bytes();
            }
            return wire;
        }
        let mut words = self.key.split(' ').skip(1);
        let mut word = || words.next().expect("a question has name, class and type");
        let mut query = Query::new(self.name(), "A");
        (query.class, query.rtype) = (class_code(word()), type_code(word()));
        query.flags = if self.has("rd0") { 0 } else { 0x0100 };
        for (option, bit) in [("cd", 0x0010), ("ad", 0x0020), ("z", 0x0040)] {
            if self.has(option) {
                query.flags |= bit;
            }
        }
        if ["edns", "do", "ver", "opt", "ednsz"]
            .iter()
            .any(|option| self.has(option))
        {
            query.edns = Some(self.edns());
        }
        query.wire(id)
    }

    fn edns(&self) -> Edns {
        let mut edns = Edns::default();
        if let Some(size) = self.option("edns").filter(|size| !size.is_empty()) {
            edns.size = size.parse().expect("edns is a size");
        }
        if let Some(version) = self.option("ver") {
            edns.version = version.parse().expect("ver is a number");
        }
        edns.flags = if self.has("do") { 0x8000 } else { 0 };
        edns.flags |= if self.has("ednsz") { 0x0101 } else { 0 };
        for (_, value) in self.options.iter().filter(|(name, _)| name == "opt") {
            let (code, content) = value.split_once(':').unwrap_or((value, ""));
            edns.options
                .push((code.parse().expect("opt has a code"), unhex(content)));
        }
        edns
    }
}

/// Reads a whole corpus. A line that is there twice gets `again=2`, so that keys differ.
pub fn parse_corpus(text: &str) -> Vec<Question> {
    let mut seen = HashMap::new();
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let questions = lines.map(|line| {
        let (key, shape) = line.split_once('\t').unwrap_or((line, "-"));
        let mut key = key.split_whitespace().collect::<Vec<_>>().join(" ");
        let times = seen.entry(key.clone()).or_insert(0);
        *times += 1;
        if *times > 1 {
            key = format!("{key} again={times}");
        }
        Question::new(
            &key,
            if shape.trim().is_empty() {
                "-"
            } else {
                shape.trim()
            },
        )
    });
    questions.collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let octet = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap_or("?"), 16);
    digits
        .map(|pair| octet(pair).expect("hex digits come in pairs"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_messages() {
        for (line, id, expected) in [
            ("a. IN A", 1, "000101000001000000000000 016100 0001 0001"),
            (
                "a. CH TXT rd0 cd ad z",
                1,
                "000100700001000000000000 016100 0010 0003",
            ),
            (
                "a. IN A edns=512 do ver=1 opt=10:0a0b opt=9 ednsz",
                1,
                "000101000001000000000001 016100 0001 0001 00 0029 0200 00018101 000a 000a00020a0b 00090000",
            ),
            (
                "a. IN A edns",
                1,
                "000101000001000000000001 016100 0001 0001 00 0029 04d0 00000000 0000",
            ),
            ("RAW 0000010203 once timeout=0.6", 0x1234, "1234010203"),
            ("RAW 00", 0x1234, "00"),
        ] {
            let question = Question::new(line, "-");
            assert_eq!(
                question.wire(id),
                unhex(&expected.replace(' ', "")),
                "{line}"
            );
        }
    }

    #[test]
    fn a_corpus_has_keys_shapes_and_no_doubles() {
        let corpus = parse_corpus(
            "# comment\n\na. IN  A\tsvc\na. IN A src=127.0.0.5 sleep=1.5\nRAW 00\t x\na. IN A\n",
        );
        let keys: Vec<_> = corpus
            .iter()
            .map(|q| (q.key.as_str(), q.shape.as_str()))
            .collect();
        let expected = [
            ("a. IN A", "svc"),
            ("a. IN A src=127.0.0.5 sleep=1.5", "-"),
            ("RAW 00", "x"),
            ("a. IN A again=2", "-"),
        ];
        assert_eq!(keys, expected);
        assert_eq!(corpus[1].source(), "127.0.0.5".parse().ok());
        assert_eq!(corpus[1].sleep(), Some(Duration::from_millis(1500)));
        assert_eq!((corpus[2].name(), corpus[2].type_text()), ("RAW", "RAW"));
        assert_eq!((corpus[3].name(), corpus[3].type_text()), ("a.", "A"));
    }
}
