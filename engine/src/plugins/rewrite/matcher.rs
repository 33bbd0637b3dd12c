//! Which names a rule is about.

use crate::pattern::Pattern;
use crate::plugins::ends::{Screen, WORD, back, front};

/// How a name is compared with a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Form {
    /// They are equal.
    Exact,
    /// The name begins with it.
    Prefix,
    /// The name ends in it.
    Suffix,
    /// The name has it anywhere.
    Substring,
    /// The name matches the expression.
    Regex(Pattern),
}

/// Names that a rule is about. Names are compared as text, in lower case and with the dot at the
/// end, which is what rules are written for; octets of the wire form tell beforehand that most names
/// are not meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Matcher {
    form: Form,
    text: Box<str>,
    /// Octets that the wire form of every name has that matches; empty if nothing can be said.
    octets: Box<[u8]>,
}

impl Matcher {
    /// What tells most names from those that match.
    pub(super) fn screen(&self) -> Screen {
        let bits = 8 * self.octets.len().min(WORD) as u32;
        if bits == 0 {
            return Screen::OPEN;
        }
        match self.form {
            Form::Exact | Form::Suffix => Screen {
                end: 1,
                word: back(&self.octets),
                mask: u64::MAX >> (64 - bits),
            },
            Form::Prefix => Screen {
                end: 0,
                word: front(&self.octets),
                mask: u64::MAX << (64 - bits),
            },
            Form::Substring | Form::Regex(_) => Screen::OPEN,
        }
    }

    /// Names that have `text` in this form. Of an expression, `text` is its source.
    pub fn new(form: Form, text: &str) -> Self {
        // In labels that need escapes text and wire form differ.
        let is_plain = !text.contains('\\');
        let labels = text.trim_end_matches('.').rsplit('.');
        let octets: Vec<u8> = match form {
            Form::Exact | Form::Suffix if is_plain && text.ends_with('.') => {
                let mut labels = labels.map(str::as_bytes).collect::<Vec<_>>();
                labels.reverse();
                let (first, rest) = labels
                    .split_first()
                    .map_or((&b""[..], &[][..]), |(f, r)| (*f, r));
                let mut octets = first.to_vec();
                for label in rest {
                    octets.push(label.len() as u8);
                    octets.extend(*label);
                }
                octets.push(0);
                octets
            }
            Form::Prefix if is_plain => text.split('.').next().unwrap_or_default().into(),
            Form::Substring if is_plain => {
                let longest = text.split('.').max_by_key(|part| part.len());
                longest.unwrap_or_default().into()
            }
            _ => Vec::new(),
        };
        Self {
            form,
            text: text.into(),
            octets: octets.into(),
        }
    }

    /// `false` if the name of this wire form (in lower case) cannot match.
    #[inline]
    pub(super) fn may_match(&self, wire: &[u8]) -> bool {
        if self.octets.is_empty() {
            return true;
        }
        match self.form {
            Form::Exact | Form::Suffix => wire.ends_with(&self.octets),
            Form::Prefix => wire
                .get(1..)
                .is_some_and(|wire| wire.starts_with(&self.octets)),
            Form::Substring => wire
                .windows(self.octets.len())
                .any(|part| *part == *self.octets),
            Form::Regex(_) => true,
        }
    }

    /// Whether the name matches.
    pub(super) fn is_match(&self, name: &str) -> bool {
        match &self.form {
            Form::Exact => *self.text == *name,
            Form::Prefix => name.starts_with(&*self.text),
            Form::Suffix => name.ends_with(&*self.text),
            Form::Substring => name.contains(&*self.text),
            Form::Regex(pattern) => pattern.is_match(name),
        }
    }

    /// The name with `to` in the place of what matched; `None` if it does not match.
    pub(super) fn replace(&self, name: &str, to: &str) -> Option<String> {
        match &self.form {
            Form::Exact => (*self.text == *name).then(|| to.to_owned()),
            Form::Prefix => Some(format!("{to}{}", name.strip_prefix(&*self.text)?)),
            Form::Suffix => Some(format!("{}{to}", name.strip_suffix(&*self.text)?)),
            Form::Substring => name
                .contains(&*self.text)
                .then(|| name.replace(&*self.text, to)),
            Form::Regex(pattern) => expand(pattern, name, to),
        }
    }

    /// The text, if names are compared with one at their end.
    pub(super) fn suffix(&self) -> Option<&str> {
        matches!(self.form, Form::Suffix).then_some(&*self.text)
    }
}

/// `to` with `{0}`, `{1}`… replaced by the groups of the match; `None` if there is no match. Groups
/// that took no part are empty.
pub(super) fn expand(pattern: &Pattern, name: &str, to: &str) -> Option<String> {
    let groups = pattern.captures(name)?;
    let mut result = to.to_owned();
    for (number, group) in groups.iter().enumerate() {
        let group = group.map_or("", |group| group.as_str());
        result = result.replace(&format!("{{{number}}}"), group);
    }
    Some(result)
}
