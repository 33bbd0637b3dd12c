//! Kubernetes label selectors: `app=web`, `tier!=back`, `env in (a, b)`, `env notin (a)`, `app`,
//! `!app`, joined by commas.
//!
//! The API server selects for us, so [`Selector`] prints itself as the `labelSelector` parameter.
//! Manifest files have no server, so it can also match.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Requirements that must all hold. Without any, everything matches.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector {
    requirements: Box<[Requirement]>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Requirement {
    key: Box<str>,
    test: Test,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Test {
    Exists,
    Absent,
    Equals(Box<str>),
    Differs(Box<str>),
    In(Box<[Box<str>]>),
    NotIn(Box<[Box<str>]>),
}

/// Why a text is not a label selector.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SelectorError {
    /// Something else was due at this place.
    #[error("label selector `{text}`: expected {expected} at column {column}, found {found}")]
    Unexpected {
        /// The whole selector.
        text: Box<str>,
        /// What should have stood here.
        expected: &'static str,
        /// Characters before the place, plus one.
        column: usize,
        /// What stands there.
        found: Box<str>,
    },
    /// A key that no label can have.
    #[error(
        "label selector `{text}`: `{key}` is not a label key: [prefix/]name, where the name has at \
         most 63 letters, digits, `-`, `_` or `.`, and starts and ends with a letter or digit"
    )]
    Key {
        /// The whole selector.
        text: Box<str>,
        /// The offending key.
        key: Box<str>,
    },
    /// A value that no label can have.
    #[error(
        "label selector `{text}`: `{value}` is not a label value: at most 63 letters, digits, `-`, \
         `_` or `.`, starting and ending with a letter or digit"
    )]
    Value {
        /// The whole selector.
        text: Box<str>,
        /// The offending value.
        value: Box<str>,
    },
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&*requirement.key).map(String::as_str);
            requirement.test.holds(value)
        })
    }
}

impl Selector {
    /// The same, and objects must have the label `key`.
    #[must_use]
    pub fn with_label(mut self, key: &str) -> Self {
        let mut requirements = std::mem::take(&mut self.requirements).into_vec();
        requirements.push(Requirement {
            key: key.into(),
            test: Test::Exists,
        });
        self.requirements = requirements.into();
        self
    }
}

impl Test {
    // As in the API, an absent label differs from every value.
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Equals(wanted) => value == Some(wanted),
            Self::Differs(other) => value != Some(other),
            Self::In(set) => value.is_some_and(|value| set.iter().any(|one| **one == *value)),
            Self::NotIn(set) => value.is_none_or(|value| set.iter().all(|one| **one != *value)),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Requirement { key, test }) in self.requirements.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match test {
                Test::Exists => write!(f, "{key}")?,
                Test::Absent => write!(f, "!{key}")?,
                Test::Equals(value) => write!(f, "{key}={value}")?,
                Test::Differs(value) => write!(f, "{key}!={value}")?,
                Test::In(set) => write!(f, "{key} in ({})", set.join(","))?,
                Test::NotIn(set) => write!(f, "{key} notin ({})", set.join(","))?,
            }
        }
        Ok(())
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, rest: text };
        let mut requirements = Vec::new();
        if parser.peek() != Token::End {
            loop {
                requirements.push(parser.requirement()?);
                match parser.next() {
                    (_, Token::Comma) => {}
                    (_, Token::End) => break,
                    (at, token) => return Err(parser.unexpected("`,` or the end", at, token)),
                }
            }
        }
        Ok(Self {
            requirements: requirements.into(),
        })
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token<'t> {
    Word(&'t str),
    Equals,
    Differs,
    Not,
    Comma,
    Open,
    Close,
    Other(char),
    End,
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.peek() == Token::Not {
            self.next();
            return Ok(Requirement {
                key: self.key("a label key")?,
                test: Test::Absent,
            });
        }
        let key = self.key("a label key or `!`")?;
        let test = match self.peek() {
            Token::Comma | Token::End => Test::Exists,
            Token::Equals => Test::Equals(self.operator_value()?),
            Token::Differs => Test::Differs(self.operator_value()?),
            Token::Word("in") => Test::In(self.operator_set()?),
            Token::Word("notin") => Test::NotIn(self.operator_set()?),
            token => {
                let (at, _) = self.next();
                return Err(self.unexpected("`=`, `!=`, `in` or `notin`", at, token));
            }
        };
        Ok(Requirement { key, test })
    }

    fn key(&mut self, expected: &'static str) -> Result<Box<str>, SelectorError> {
        match self.next() {
            (_, Token::Word(key)) if is_key(key) => Ok(key.into()),
            (_, Token::Word(key)) => Err(SelectorError::Key {
                text: self.text.into(),
                key: key.into(),
            }),
            (at, token) => Err(self.unexpected(expected, at, token)),
        }
    }

    /// The value behind `=` or `!=`; it may be empty.
    fn operator_value(&mut self) -> Result<Box<str>, SelectorError> {
        self.next();
        self.value()
    }

    /// The values behind `in` or `notin`, in parentheses.
    fn operator_set(&mut self) -> Result<Box<[Box<str>]>, SelectorError> {
        self.next();
        let (at, token) = self.next();
        if token != Token::Open {
            return Err(self.unexpected("`(`", at, token));
        }
        let mut set = Vec::new();
        loop {
            set.push(self.value()?);
            match self.next() {
                (_, Token::Comma) => {}
                (_, Token::Close) => return Ok(set.into()),
                (at, token) => return Err(self.unexpected("`,` or `)`", at, token)),
            }
        }
    }

    fn value(&mut self) -> Result<Box<str>, SelectorError> {
        match self.peek() {
            Token::Word(value) => {
                self.next();
                if is_value(value) {
                    Ok(value.into())
                } else {
                    Err(SelectorError::Value {
                        text: self.text.into(),
                        value: value.into(),
                    })
                }
            }
            _ => Ok("".into()),
        }
    }

    fn peek(&self) -> Token<'t> {
        Parser {
            text: self.text,
            rest: self.rest,
        }
        .next()
        .1
    }

    /// The next token and the byte it starts at.
    fn next(&mut self) -> (usize, Token<'t>) {
        self.rest = self.rest.trim_start();
        let at = self.text.len() - self.rest.len();
        let (token, len) = match self.rest.chars().next() {
            None => (Token::End, 0),
            Some('=') if self.rest.starts_with("==") => (Token::Equals, 2),
            Some('=') => (Token::Equals, 1),
            Some('!') if self.rest.starts_with("!=") => (Token::Differs, 2),
            Some('!') => (Token::Not, 1),
            Some(',') => (Token::Comma, 1),
            Some('(') => (Token::Open, 1),
            Some(')') => (Token::Close, 1),
            Some(other @ ('<' | '>')) => (Token::Other(other), 1),
            Some(_) => {
                let is_end = |c: char| c.is_whitespace() || "=!,()<>".contains(c);
                let len = self.rest.find(is_end).unwrap_or(self.rest.len());
                (Token::Word(&self.rest[..len]), len)
            }
        };
        self.rest = &self.rest[len..];
        (at, token)
    }

    fn unexpected(&self, expected: &'static str, at: usize, token: Token<'_>) -> SelectorError {
        let found = match token {
            Token::Word(word) => format!("`{word}`"),
            Token::Equals => "`=`".to_owned(),
            Token::Differs => "`!=`".to_owned(),
            Token::Not => "`!`".to_owned(),
            Token::Comma => "`,`".to_owned(),
            Token::Open => "`(`".to_owned(),
            Token::Close => "`)`".to_owned(),
            Token::Other(other) => format!("`{other}`"),
            Token::End => "the end".to_owned(),
        };
        SelectorError::Unexpected {
            text: self.text.into(),
            expected,
            column: self.text[..at].chars().count() + 1,
            found: found.into(),
        }
    }
}

/// A label's key: an optional DNS name as prefix, `/`, and a name.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_prefix(prefix) && !name.is_empty() && is_value(name),
        None => !key.is_empty() && is_value(key),
    }
}

fn is_prefix(prefix: &str) -> bool {
    prefix.len() <= PREFIX_LEN_MAX
        && prefix.split('.').all(|label| {
            is_framed(label)
                && label
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        })
}

/// A label's value, which may be empty.
fn is_value(value: &str) -> bool {
    value.is_empty()
        || (value.len() <= NAME_LEN_MAX
            && is_framed(value)
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')))
}

fn is_framed(text: &str) -> bool {
    let alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    alphanumeric(text.bytes().next()) && alphanumeric(text.bytes().last())
}

/// The longest name of a label, and the longest value, in bytes.
const NAME_LEN_MAX: usize = 63;

/// The longest prefix of a label's key, in bytes.
const PREFIX_LEN_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    /// Selector text, the form passed to the server, label sets it must and must not match.
    const CASES: &[(&str, &str, &[&str], &[&str])] = &[
        ("", "", &["", "a=b"], &[]),
        ("  ", "", &["", "a=b"], &[]),
        ("a=b", "a=b", &["a=b", "a=b,c=d"], &["", "a=c", "A=b"]),
        ("a==b", "a=b", &["a=b"], &["a="]),
        (" a = b , c = d ", "a=b,c=d", &["a=b,c=d"], &["a=b", "c=d"]),
        ("a=", "a=", &["a="], &["", "a=b"]),
        ("a!=b", "a!=b", &["", "a=c"], &["a=b"]),
        ("a", "a", &["a=", "a=b"], &["", "b=a"]),
        ("!a", "!a", &["", "b=a"], &["a=", "a=b"]),
        ("! a,b", "!a,b", &["b=1"], &["a=1,b=1", ""]),
        ("a in (b,c)", "a in (b,c)", &["a=b", "a=c"], &["", "a=d"]),
        ("a in(b)", "a in (b)", &["a=b"], &["a=bb"]),
        (
            "a notin ( b , c )",
            "a notin (b,c)",
            &["", "a=d"],
            &["a=b", "a=c"],
        ),
        ("a in ()", "a in ()", &["a="], &["", "a=b"]),
        ("a in (b,)", "a in (b,)", &["a=b", "a="], &[""]),
        ("in in (in)", "in in (in)", &["in=in"], &["in=out"]),
        ("notin", "notin", &["notin=1"], &[""]),
        (
            "k8s.io/app=x.y_z-1",
            "k8s.io/app=x.y_z-1",
            &["k8s.io/app=x.y_z-1"],
            &["app=x.y_z-1"],
        ),
    ];

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn selectors_print_and_match() {
        for (text, printed, matching, others) in CASES {
            let selector: Selector = text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"));
            assert_eq!(selector.to_string(), *printed, "{text:?}");
            assert_eq!(
                printed.parse().as_ref(),
                Ok(&selector),
                "{text:?} printed and parsed"
            );
            for set in *matching {
                assert!(
                    selector.matches(&labels(set)),
                    "{text:?} must match {set:?}"
                );
            }
            for set in *others {
                assert!(
                    !selector.matches(&labels(set)),
                    "{text:?} must not match {set:?}"
                );
            }
        }
    }

    #[test]
    fn faults_name_their_place() {
        let long = "a".repeat(64);
        for (text, part) in [
            (
                "a,",
                "expected a label key or `!` at column 3, found the end",
            ),
            (",a", "expected a label key or `!` at column 1, found `,`"),
            ("=b", "expected a label key or `!` at column 1, found `=`"),
            ("!", "expected a label key at column 2, found the end"),
            (
                "a b",
                "expected `=`, `!=`, `in` or `notin` at column 3, found `b`",
            ),
            (
                "a>1",
                "expected `=`, `!=`, `in` or `notin` at column 2, found `>`",
            ),
            ("a=b=c", "expected `,` or the end at column 4, found `=`"),
            ("a in b", "expected `(` at column 6, found `b`"),
            ("a in (b", "expected `,` or `)` at column 8, found the end"),
            ("a in (b c)", "expected `,` or `)` at column 9, found `c`"),
            ("-a=b", "`-a` is not a label key"),
            ("/a=b", "`/a` is not a label key"),
            ("A.b/c/d", "`A.b/c/d` is not a label key"),
            ("a=-b", "`-b` is not a label value"),
            ("a=é", "`é` is not a label value"),
            (&*long, "is not a label key"),
            (&*format!("a={long}"), "is not a label value"),
        ] {
            let error = text.parse::<Selector>().expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
            assert!(error.contains(text), "{text:?}: {error}");
        }
    }
}
