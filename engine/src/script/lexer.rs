//! Words of expressions and of the actions in templates.

use super::{ScriptError, Value};

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A number, a text, `true`, `false` or `nil`.
    Literal(Value),
    /// A name.
    Name(String),
    /// `$name`, or `$` alone: templates only.
    Variable(String),
    /// `.Name`, with nothing before the dot: templates only.
    Field(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// Space, which tells `a .B` from `a.B` in templates.
    Space,
}

/// Longest first.
const SIGNS: [&str; 31] = [
    "||", "&&", "==", "!=", "<=", ">=", "**", "??", "..", ":=", "<", ">", "+", "-", "*", "/", "%",
    "^", "!", "?", ":", ",", "(", ")", "[", "]", "{", "}", "|", ".", "=",
];

/// Cuts a text into words, space included.
///
/// # Errors
///
/// What is no word.
pub fn tokens(text: &str) -> Result<Vec<Token>, ScriptError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_name = |letter: char| letter == '_' || letter.is_alphanumeric();
        let name_len = |text: &str| text.find(|letter| !is_name(letter)).unwrap_or(text.len());
        if first.is_whitespace() {
            rest = rest.trim_start();
            tokens.push(Token::Space);
        } else if first.is_ascii_digit() {
            let len = number_len(rest);
            tokens.push(Token::Literal(number(&rest[..len])?));
            rest = &rest[len..];
        } else if is_name(first) {
            let len = name_len(rest);
            tokens.push(match &rest[..len] {
                "true" => Token::Literal(Value::Bool(true)),
                "false" => Token::Literal(Value::Bool(false)),
                "nil" => Token::Literal(Value::Nil),
                name => Token::Name(name.to_owned()),
            });
            rest = &rest[len..];
        } else if first == '$' {
            let len = 1 + name_len(&rest[1..]);
            tokens.push(Token::Variable(rest[..len].to_owned()));
            rest = &rest[len..];
        } else if matches!(first, '"' | '\'' | '`') {
            let (text, len) = quoted(rest, first)?;
            tokens.push(Token::Literal(Value::Str(text)));
            rest = &rest[len..];
        } else if first == '.'
            && rest[1..].starts_with(|next: char| next == '_' || next.is_alphabetic())
        {
            let len = 1 + name_len(&rest[1..]);
            tokens.push(Token::Field(rest[1..len].to_owned()));
            rest = &rest[len..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return ScriptError::new(format!("unexpected `{first}`"));
        }
    }
    Ok(tokens)
}

fn number_len(text: &str) -> usize {
    let octets = text.as_bytes();
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        let is_point = *octet == b'.' && octets.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(octet.is_ascii_alphanumeric() || *octet == b'_' || is_point) {
            break;
        }
        at += 1;
    }
    at
}

fn number(text: &str) -> Result<Value, ScriptError> {
    let digits = text.replace('_', "").to_ascii_lowercase();
    let (base, rest) = match digits.as_bytes() {
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        _ => (10, &*digits),
    };
    if let Ok(value) = i64::from_str_radix(rest, base) {
        return Ok(Value::Int(value));
    }
    let value = digits.parse().map(Value::Float);
    value.map_err(|_| ScriptError(format!("`{text}` is not a number")))
}

/// The text between quotes, and how long it is with them.
fn quoted(text: &str, quote: char) -> Result<(String, usize), ScriptError> {
    let mut out = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Ok((out, at + 1));
        }
        if letter != '\\' || quote == '`' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some((_, 'n')) => out.push('\n'),
            Some((_, 't')) => out.push('\t'),
            Some((_, 'r')) => out.push('\r'),
            Some((_, letter @ ('\\' | '"' | '\'' | '`'))) => out.push(letter),
            Some((_, letter)) => {
                return ScriptError::new(format!("`\\{letter}` is not an escape known here"));
            }
            None => break,
        }
    }
    ScriptError::new("a quote is never closed")
}
