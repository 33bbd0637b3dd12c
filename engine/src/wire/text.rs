//! Records as text (RFC 1035 §5.1): one record, as templates and zone files have them.
//!
//! What is read becomes octets at once. Types without a form here are written as in RFC 3597 §5:
//! `\# LENGTH HEXDIGITS`.

mod data;

use super::codes::{Class, RType};
use super::name::wire_from_presentation;
use super::record::Record;
use crate::limits::NAME_LEN_MAX;

/// Why a text is not a record.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextError {
    /// It ends too early.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A word of the wrong form.
    #[error("`{1}` is not {0}")]
    Not(&'static str, Box<str>),
    /// Words behind the last.
    #[error("`{0}` is too much")]
    Extra(Box<str>),
    /// A quote or a parenthesis that is never closed.
    #[error("a quote or a parenthesis is never closed")]
    Open,
    /// A type whose data cannot be read.
    #[error("records of type {0} are read in the form of RFC 3597 only: \\# LENGTH HEXDIGITS")]
    Type(RType),
}

/// A word of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    /// As it was written, without quotes.
    pub text: String,
    /// It stood in quotes.
    pub quoted: bool,
}

/// Cuts a text into words; a comment begins with `;`, and parentheses only join lines. `None` if a
/// quote or parenthesis is never closed.
pub fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut open = 0_usize;
    let mut letters = text.chars();
    let end = |word: &mut Option<String>, words: &mut Vec<Word>| {
        let quoted = false;
        words.extend(word.take().map(|text| Word { text, quoted }));
    };
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                let word = word.get_or_insert_default();
                word.push('\\');
                word.extend(letters.next());
            }
            '"' => {
                end(&mut word, &mut words);
                let mut text = String::new();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => {
                            text.push('\\');
                            text.push(letters.next()?);
                        }
                        letter => text.push(letter),
                    }
                }
                words.push(Word { text, quoted: true });
            }
            ';' => {
                end(&mut word, &mut words);
                letters.by_ref().find(|letter| *letter == '\n');
            }
            '(' => {
                end(&mut word, &mut words);
                open += 1;
            }
            ')' => {
                end(&mut word, &mut words);
                open = open.checked_sub(1)?;
            }
            letter if letter.is_whitespace() => end(&mut word, &mut words),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    end(&mut word, &mut words);
    (open == 0).then_some(words)
}

/// What a record does not say itself.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a> {
    /// Where names without a dot at their end are; wire form.
    pub origin: &'a [u8],
    /// The owner of records that have none.
    pub owner: Option<&'a [u8]>,
    /// In seconds.
    pub ttl: u32,
}

/// The TTL of records that name none, as in CoreDNS.
const TTL: u32 = 3_600;

/// Reads a record that stands alone: names are below the root.
///
/// # Errors
///
/// Why it is not one.
pub fn record(text: &str) -> Result<Record, TextError> {
    let words = words(text).ok_or(TextError::Open)?;
    let defaults = Defaults {
        origin: &[0],
        owner: None,
        ttl: TTL,
    };
    record_of(&words, defaults)
}

/// Reads a record: `OWNER [TTL] [CLASS] TYPE DATA…`. Without the owner, if there is one to take in
/// its place.
///
/// # Errors
///
/// Why it is not one.
pub fn record_of(words: &[Word], defaults: Defaults<'_>) -> Result<Record, TextError> {
    let mut words = Words {
        words: words.iter(),
        origin: defaults.origin,
    };
    let owner = match defaults.owner {
        Some(owner) => owner.to_vec(),
        None => words.name("the owner")?,
    };
    let (mut ttl, mut class) = (defaults.ttl, Class::IN);
    let rtype = loop {
        let word = words.next("the type")?;
        let upper = word.text.to_ascii_uppercase();
        if let Some(found) = ttl_of(&upper) {
            ttl = found;
        } else if let Some(found) =
            Class::from_mnemonic(&upper).filter(|found| *found != Class::ANY)
        {
            class = found;
        } else {
            break type_of(&upper)
                .ok_or_else(|| TextError::Not("a record type", word.text.clone().into()))?;
        }
    };
    let rdata = words.data(rtype)?;
    Ok(Record {
        owner,
        rtype,
        class,
        ttl,
        rdata,
    })
}

/// Reads the data of a record of this type; names without a dot at their end are below `origin`.
///
/// # Errors
///
/// Why it is none, and [`TextError::Type`] for types that have no form here.
pub fn data(rtype: RType, text: &str, origin: &[u8]) -> Result<Vec<u8>, TextError> {
    let words = words(text).ok_or(TextError::Open)?;
    let words = words.iter();
    Words { words, origin }.data(rtype)
}

/// The type of a mnemonic, or of its number behind `TYPE` (RFC 3597 §5). In upper case.
pub fn type_of(text: &str) -> Option<RType> {
    let number = || text.strip_prefix("TYPE")?.parse().ok();
    RType::from_mnemonic(text).or_else(|| number().map(RType))
}

/// Seconds, or numbers with units: `1h30m`. In upper case.
pub fn ttl_of(text: &str) -> Option<u32> {
    let (mut sum, mut number) = (0_u32, None::<u32>);
    for letter in text.bytes() {
        let unit = match letter {
            b'0'..=b'9' => {
                let digit = u32::from(letter - b'0');
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            b'S' => 1,
            b'M' => 60,
            b'H' => 3_600,
            b'D' => 86_400,
            b'W' => 604_800,
            _ => return None,
        };
        sum = sum.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match number {
        Some(rest) => sum.checked_add(rest),
        None => (!text.is_empty()).then_some(sum),
    }
}

/// A name as it is written; relative to `origin` without a dot at its end.
pub fn name(text: &str, origin: &[u8]) -> Option<Vec<u8>> {
    if text == "@" {
        return Some(origin.to_vec());
    }
    let mut wire = wire_from_presentation(text)?;
    let escaped = text
        .bytes()
        .rev()
        .skip(1)
        .take_while(|octet| *octet == b'\\')
        .count()
        % 2
        == 1;
    if !text.ends_with('.') || escaped {
        wire.pop();
        wire.extend(origin);
    }
    (wire.len() <= NAME_LEN_MAX).then_some(wire)
}

/// The words of a record from left to right.
struct Words<'a> {
    words: std::slice::Iter<'a, Word>,
    origin: &'a [u8],
}

impl<'a> Words<'a> {
    fn next(&mut self, what: &'static str) -> Result<&'a Word, TextError> {
        self.words.next().ok_or(TextError::Missing(what))
    }

    /// The data of a record, which are all words that are left.
    fn data(&mut self, rtype: RType) -> Result<Vec<u8>, TextError> {
        let data = data::read(rtype, self)?;
        match self.words.next() {
            Some(word) => Err(TextError::Extra(word.text.clone().into())),
            None => Ok(data),
        }
    }

    fn name(&mut self, what: &'static str) -> Result<Vec<u8>, TextError> {
        let word = self.next(what)?;
        name(&word.text, self.origin).ok_or_else(|| TextError::Not(what, word.text.clone().into()))
    }

    fn parse<T: std::str::FromStr>(&mut self, what: &'static str) -> Result<T, TextError> {
        let word = self.next(what)?;
        let parsed = word.text.parse();
        parsed.map_err(|_| TextError::Not(what, word.text.clone().into()))
    }
}

#[cfg(test)]
mod tests;
