//! Nodes to values, by the rules of `yaml_serde`.
//!
//! What a plain scalar is depends on who asks: a string gets it as it is written, whatever it looks
//! like; only where anything may come (as in a [`serde_json::Value`]) its looks decide.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{Node, indent, unescape};

/// Not certain, or wrong; what exactly is for others to tell.
#[derive(Debug)]
pub(super) struct Unsure;

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not certain")
    }
}

impl std::error::Error for Unsure {}

impl de::Error for Unsure {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// The nodes of a text, decoded one after the other.
pub(super) struct Values<'n, 't> {
    nodes: &'n [Node<'t>],
    /// The place of the next one.
    next: usize,
}

impl<'n, 't> Values<'n, 't> {
    pub(super) fn new(nodes: &'n [Node<'t>]) -> Self {
        Self { nodes, next: 0 }
    }

    fn peek(&self) -> Result<Node<'t>, Unsure> {
        self.nodes.get(self.next).copied().ok_or(Unsure)
    }

    fn take(&mut self) -> Result<Node<'t>, Unsure> {
        let node = self.peek()?;
        self.next += 1;
        Ok(node)
    }

    /// A plain scalar.
    fn take_plain(&mut self) -> Result<&'t str, Unsure> {
        match self.take()? {
            Node::Plain(text) => Ok(text),
            _ => Err(Unsure),
        }
    }

    /// Whether all of a collection was asked for, as it has to be.
    fn done<T>(&self, end: usize, value: T) -> Result<T, Unsure> {
        if self.next == end {
            Ok(value)
        } else {
            Err(Unsure)
        }
    }
}

impl<'t> Node<'t> {
    /// A scalar's text.
    fn text(self) -> Result<Cow<'t, str>, Unsure> {
        Ok(match self {
            Self::Plain(text) | Self::Quoted(text) => text.into(),
            Self::Single(text) => text.replace("''", "'").into(),
            Self::Double(text) => unescaped(text)?.into(),
            Self::Literal { lines, strip } => literal(lines, strip).into(),
            Self::Sequence { .. } | Self::Mapping { .. } => return Err(Unsure),
        })
    }
}

fn unescaped(text: &str) -> Result<String, Unsure> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        let escaped = escape.bytes().next().and_then(unescape).ok_or(Unsure)?;
        plain.push_str(before);
        plain.push(escaped);
        rest = &escape[1..];
    }
    plain.push_str(rest);
    Ok(plain)
}

fn literal(lines: &str, strip: bool) -> String {
    let column = indent(lines);
    let mut text = String::with_capacity(lines.len());
    for line in lines.split_inclusive('\n') {
        // Blank lines may be shorter than the indentation.
        let line = line.get(column..).filter(|line| !line.is_empty());
        text.push_str(line.unwrap_or("\n"));
    }
    if strip {
        text.pop();
    }
    text
}

fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}

fn boolean(plain: &str) -> Option<bool> {
    match plain {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// An integer as programs print them; there are other ways to write one.
fn integer<T: std::str::FromStr>(plain: &str) -> Option<T> {
    let digits = plain.strip_prefix('-').unwrap_or(plain);
    let is_usual = plain == "0" || matches!(digits.as_bytes(), [b'1'..=b'9', ..]);
    let is_number = is_usual && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| plain.parse().ok())?
}

/// Whether a scalar that is no integer as programs print them is no number at all, such as a word, an
/// IP address or a date. Says so only of what is far from any way to write one.
fn is_word(plain: &str) -> bool {
    let bytes = plain.as_bytes();
    // Infinity has a dot before it.
    if bytes.first().is_none_or(u8::is_ascii_alphabetic) {
        return true;
    }
    let in_numbers = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let count = |wanted| bytes.iter().skip(1).filter(|&&byte| byte == wanted).count();
    !bytes.iter().all(in_numbers) || count(b'.') > 1 || count(b'-') > 1
}

/// Decodes as an integer of any size, which the visitor makes smaller.
macro_rules! integers {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
            visitor.$visit(integer(self.take_plain()?).ok_or(Unsure)?)
        }
    )*};
}

/// What no object has, and what would need more rules.
macro_rules! nothing {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unsure> {
            Err(Unsure)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Values<'_, '_> {
    type Error = Unsure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        let plain = match self.peek()? {
            Node::Plain(plain) => plain,
            Node::Sequence { .. } => return self.deserialize_seq(visitor),
            Node::Mapping { .. } => return self.deserialize_map(visitor),
            _ => return self.deserialize_str(visitor),
        };
        if let Some(boolean) = boolean(plain) {
            self.next += 1;
            visitor.visit_bool(boolean)
        } else if is_null(plain) {
            self.deserialize_unit(visitor)
        } else if let Some(number) = integer(plain) {
            self.next += 1;
            visitor.visit_u64(number)
        } else if let Some(number) = integer(plain) {
            self.next += 1;
            visitor.visit_i64(number)
        } else if is_word(plain) {
            self.deserialize_str(visitor)
        } else {
            Err(Unsure)
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        visitor.visit_bool(boolean(self.take_plain()?).ok_or(Unsure)?)
    }

    integers! {
        deserialize_i8 visit_i64
        deserialize_i16 visit_i64
        deserialize_i32 visit_i64
        deserialize_i64 visit_i64
        deserialize_u8 visit_u64
        deserialize_u16 visit_u64
        deserialize_u32 visit_u64
        deserialize_u64 visit_u64
    }

    nothing! {
        deserialize_i128
        deserialize_u128
        deserialize_f32
        deserialize_f64
        deserialize_bytes
        deserialize_byte_buf
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        visitor.visit_str(&self.take()?.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        match self.peek()? {
            Node::Plain(plain) if is_null(plain) => {
                self.next += 1;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        if is_null(self.take_plain()?) {
            visitor.visit_unit()
        } else {
            Err(Unsure)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        let end = match self.take()? {
            Node::Sequence { end } => end,
            Node::Plain("") => self.next,
            _ => return Err(Unsure),
        };
        let value = visitor.visit_seq(Inside { values: self, end })?;
        self.done(end, value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unsure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        let end = match self.take()? {
            Node::Mapping { end } => end,
            Node::Plain("") => self.next,
            _ => return Err(Unsure),
        };
        let value = visitor.visit_map(Inside { values: self, end })?;
        self.done(end, value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Unsure> {
        Err(Unsure)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        if let Node::Sequence { end } | Node::Mapping { end } = self.take()? {
            self.next = end;
        }
        visitor.visit_unit()
    }
}

/// What is in a collection.
struct Inside<'v, 'n, 't> {
    values: &'v mut Values<'n, 't>,
    /// The place behind it.
    end: usize,
}

impl<'de> SeqAccess<'de> for Inside<'_, '_, '_> {
    type Error = Unsure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unsure> {
        if self.values.next == self.end {
            return Ok(None);
        }
        seed.deserialize(&mut *self.values).map(Some)
    }
}

impl<'de> MapAccess<'de> for Inside<'_, '_, '_> {
    type Error = Unsure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unsure> {
        if self.values.next == self.end {
            return Ok(None);
        }
        seed.deserialize(&mut *self.values).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unsure> {
        seed.deserialize(&mut *self.values)
    }
}
