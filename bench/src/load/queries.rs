//! The questions of a run, encoded before it starts.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

use super::zone::{Wanted, Zone};
use crate::cluster::queries::Question;

/// A line of a question list that is no question.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Not of the form `NAME TYPE`.
    #[error("line {line}: {text:?} is not of the form `NAME TYPE`")]
    Form {
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: Box<str>,
    },
    /// The name or the type does not exist in DNS.
    #[error("line {line}: {text:?} is not a name and a type")]
    Question {
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: Box<str>,
        /// What is wrong with it.
        source: ProtoError,
    },
    /// The list cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Nothing to ask.
    #[error("no questions in the list")]
    Empty,
}

/// Encoded queries, one behind the other, all with ID 0 and RD set.
#[derive(Clone, Debug)]
pub struct QuerySet {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    /// Where the question section ends.
    question_end: usize,
    end: usize,
    /// What its reply must say, as far as that is known.
    wanted: Option<Wanted>,
}

impl QuerySet {
    /// Encodes a list of `NAME TYPE` lines; empty lines and those that start with `#` or `;` are
    /// skipped. With `payload_size`, queries carry an OPT record that offers that much.
    pub fn parse(text: &str, payload_size: Option<u16>) -> Result<Self, ListError> {
        let mut set = Self {
            bytes: Vec::new(),
            entries: Vec::new(),
        };
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with(['#', ';']) {
                continue;
            }
            let mut words = text.split_whitespace();
            let (Some(name), Some(qtype), None) = (words.next(), words.next(), words.next()) else {
                return Err(ListError::Form {
                    line,
                    text: text.into(),
                });
            };
            set.push(name, qtype, payload_size)
                .map_err(|source| ListError::Question {
                    line,
                    text: text.into(),
                    source,
                })?;
        }
        if set.entries.is_empty() {
            Err(ListError::Empty)
        } else {
            Ok(set)
        }
    }

    /// Encodes generated questions; the "line" of an error is a question's position.
    pub fn collect(
        questions: impl IntoIterator<Item = Question>,
        payload_size: Option<u16>,
    ) -> Result<Self, ListError> {
        let mut set = Self {
            bytes: Vec::new(),
            entries: Vec::new(),
        };
        for (line, question) in (1..).zip(questions) {
            set.push(&question.name, question.qtype, payload_size)
                .map_err(|source| ListError::Question {
                    line,
                    text: question.to_string().into(),
                    source,
                })?;
        }
        if set.entries.is_empty() {
            Err(ListError::Empty)
        } else {
            Ok(set)
        }
    }

    /// Reads and [`parse`](Self::parse)s a file.
    pub fn read(path: &Path, payload_size: Option<u16>) -> Result<Self, ListError> {
        let text = std::fs::read_to_string(path).map_err(|source| ListError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(&text, payload_size)
    }

    /// Each question of the set once, in the order in which they come up.
    #[must_use]
    pub fn distinct(&self) -> Self {
        let mut seen = HashSet::new();
        let mut set = Self {
            bytes: Vec::new(),
            entries: Vec::new(),
        };
        for entry in &self.entries {
            let query = &self.bytes[entry.start..entry.end];
            if !seen.insert(query) {
                continue;
            }
            let start = set.bytes.len();
            set.bytes.extend(query);
            set.entries.push(Entry {
                start,
                question_end: start + entry.question_end - entry.start,
                end: set.bytes.len(),
                wanted: entry.wanted,
            });
        }
        set
    }

    fn push(&mut self, name: &str, qtype: &str, payload: Option<u16>) -> Result<(), ProtoError> {
        let mut name = Name::from_ascii(name)?;
        name.set_fqdn(true);
        let qtype = RecordType::from_str(&qtype.to_ascii_uppercase())?;
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, qtype));
        let question_end = message.to_vec()?.len();
        if let Some(size) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        let start = self.bytes.len();
        self.bytes.extend(message.to_vec()?);
        let end = self.bytes.len();
        self.entries.push(Entry {
            start,
            question_end: start + question_end,
            end,
            wanted: None,
        });
        Ok(())
    }

    /// Remembers what a zone says to each question; says to how many of them it does.
    pub fn know(&mut self, zone: &Zone) -> usize {
        for at in 0..self.len() {
            self.entries[at].wanted = zone.wanted(self.question(at));
        }
        let entries = self.entries.iter();
        entries.filter(|entry| entry.wanted.is_some()).count()
    }

    /// How many there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Query `at`, whole.
    pub fn datagram(&self, at: usize) -> &[u8] {
        let entry = self.entries[at];
        &self.bytes[entry.start..entry.end]
    }

    /// What the reply to query `at` must say; `None` if that is not known.
    pub(super) fn wanted(&self, at: usize) -> Option<Wanted> {
        self.entries[at].wanted
    }

    /// The question section of query `at`.
    pub fn question(&self, at: usize) -> &[u8] {
        let entry = self.entries[at];
        &self.bytes[entry.start + HEADER_LEN..entry.question_end]
    }
}

/// Bytes of a DNS header.
pub(super) const HEADER_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::queries::{List, Questions};
    use crate::cluster::{Cluster, Shape};

    #[test]
    fn lines_become_queries() {
        let list = "# comment\n\nA.example A\n  _http._tcp.b.example.\tsrv \n; end\n";
        for payload in [None, Some(1232)] {
            let set = QuerySet::parse(list, payload).unwrap();
            assert_eq!(set.len(), 2);
            for (at, name, qtype) in [
                (0, "A.example.", RecordType::A),
                (1, "_http._tcp.b.example.", RecordType::SRV),
            ] {
                let message = Message::from_vec(set.datagram(at)).unwrap();
                assert_eq!(message.queries[0].name().to_string(), name, "case is kept");
                assert_eq!(message.queries[0].query_type(), qtype);
                assert!(message.metadata.recursion_desired);
                assert_eq!(message.edns.as_ref().map(Edns::max_payload), payload);
                let question = set.question(at);
                assert_eq!(question.len(), name.len() + 1 + 4);
                assert!(set.datagram(at)[HEADER_LEN..].starts_with(question));
            }
        }
    }

    #[test]
    fn generated_questions_encode_like_their_lines() {
        let cluster = Cluster::new(Shape {
            services: 50,
            ..Shape::default()
        })
        .unwrap();
        for list in List::ALL {
            let questions: Vec<_> = Questions::new(&cluster, list).take(100).collect();
            let lines: String = questions
                .iter()
                .map(|question| format!("{question}\n"))
                .collect();
            let collected = QuerySet::collect(questions, None).unwrap();
            assert_eq!(
                collected.bytes,
                QuerySet::parse(&lines, None).unwrap().bytes,
                "{list:?}"
            );
        }
    }

    #[test]
    fn distinct_questions_keep_their_first_place() {
        let set = QuerySet::parse("b. A\na. A\nb. A\na. AAAA\na. A\n", Some(1232)).unwrap();
        let expected = QuerySet::parse("b. A\na. A\na. AAAA\n", Some(1232)).unwrap();
        let distinct = set.distinct();
        assert_eq!(distinct.len(), expected.len());
        for at in 0..expected.len() {
            assert_eq!(distinct.datagram(at), expected.datagram(at));
            assert_eq!(distinct.question(at), expected.question(at));
        }
    }

    #[test]
    fn bad_lines_are_named() {
        let cases = [
            ("a.example", "line 1: \"a.example\" is not of the form"),
            ("a. A\nb. A IN", "line 2: \"b. A IN\" is not of the form"),
            (
                "a. A\n\nb. NOTYPE",
                "line 3: \"b. NOTYPE\" is not a name and a type",
            ),
            ("a..b A", "line 1: \"a..b A\" is not a name and a type"),
            ("# nothing", "no questions in the list"),
        ];
        for (list, message) in cases {
            let error = QuerySet::parse(list, None).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
