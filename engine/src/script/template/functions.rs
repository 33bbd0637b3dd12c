//! The functions of templates.

use std::cmp::Ordering;

use crate::script::{ScriptError, Value};

const KNOWN: [&str; 18] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt",
    "le", "gt", "ge", "parseInt", "html", "urlquery",
];

/// Whether there is a function of this name.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Calls a function, other than `and` and `or`.
pub(super) fn call(name: &str, values: &[Value]) -> Result<Value, ScriptError> {
    let bad = || {
        let types = values
            .iter()
            .map(Value::type_name)
            .collect::<Vec<_>>()
            .join(", ");
        ScriptError(format!("`{name}` cannot be applied to ({types})"))
    };
    let compare = |fits: fn(Ordering) -> bool| match values {
        [one, other] => one.compare(other).map(|order| Value::Bool(fits(order))),
        _ => None,
    };
    let is_equal = |one: &Value, other: &Value| match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Some(one == other),
        _ => one.compare(other).map(|order| order == Ordering::Equal),
    };
    let found = match (name, values) {
        ("not", [value]) => Some(Value::Bool(!value.is_truthy())),
        ("len", [value]) => value.size().map(|len| Value::Int(len as i64)),
        ("index", [value, indexes @ ..]) => {
            indexes
                .iter()
                .try_fold(value.clone(), |value, index| match index {
                    Value::Int(at) if *at < 0 => None,
                    index => value.at(index),
                })
        }
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("print", values) => {
            let mut text = String::new();
            for (place, value) in values.iter().enumerate() {
                let is_text = |value: &Value| matches!(value, Value::Str(_));
                if place > 0 && !is_text(value) && !is_text(&values[place - 1]) {
                    text.push(' ');
                }
                text += &value.to_string();
            }
            Some(Value::Str(text))
        }
        ("println", values) => {
            let texts = values.iter().map(Value::to_string).collect::<Vec<_>>();
            Some(Value::Str(texts.join(" ") + "\n"))
        }
        ("printf", [Value::Str(format), values @ ..]) => Some(Value::Str(printf(format, values))),
        ("eq", [one, others @ ..]) if !others.is_empty() => {
            let found = others.iter().map(|other| is_equal(one, other));
            let found = found.collect::<Option<Vec<_>>>();
            found.map(|found| Value::Bool(found.contains(&true)))
        }
        ("ne", [one, other]) => is_equal(one, other).map(|equal| Value::Bool(!equal)),
        ("lt", _) => compare(|order| order == Ordering::Less),
        ("le", _) => compare(|order| order != Ordering::Greater),
        ("gt", _) => compare(|order| order == Ordering::Greater),
        ("ge", _) => compare(|order| order != Ordering::Less),
        ("parseInt", [Value::Str(text), Value::Int(base), Value::Int(bits)]) => {
            let value = (*base >= 2 && *base <= 36 && !text.starts_with('+'))
                .then(|| u64::from_str_radix(text, *base as u32).ok())
                .flatten()
                .filter(|value| *bits == 0 || *bits >= 64 || *value >> *bits == 0);
            return match value.and_then(|value| i64::try_from(value).ok()) {
                Some(value) => Ok(Value::Int(value)),
                None => ScriptError::new(format!(
                    "`{text}` is not a number of base {base} in {bits} bits"
                )),
            };
        }
        ("html", [value]) => Some(Value::Str(
            value
                .to_string()
                .replace('&', "&amp;")
                .replace('\'', "&#39;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&#34;"),
        )),
        ("urlquery", [value]) => {
            let text = value.to_string();
            Some(Value::Str(
                form_urlencoded::byte_serialize(text.as_bytes()).collect(),
            ))
        }
        _ => None,
    };
    found.ok_or_else(bad)
}

fn slice(value: &Value, bounds: &[Value]) -> Option<Value> {
    let len = value.size()?;
    let bound = |place: usize, missing| match bounds.get(place) {
        None => Some(missing),
        Some(Value::Int(at)) => usize::try_from(*at).ok().filter(|at| *at <= len),
        Some(_) => None,
    };
    let (from, to) = (bound(0, 0)?, bound(1, len)?);
    match value {
        Value::Str(text) => text.get(from..to).map(Value::str),
        Value::List(values) => values.get(from..to).map(|part| Value::List(part.to_vec())),
        _ => None,
    }
}

/// As Go's `fmt.Sprintf`, for the verbs that make sense here.
fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let (mut left, mut zero, mut plus, mut sharp) = (false, false, false, false);
        while let Some(flag) = letters.next_if(|letter| "-0+# ".contains(*letter)) {
            match flag {
                '-' => left = true,
                '0' => zero = true,
                '+' => plus = true,
                '#' => sharp = true,
                _ => {}
            }
        }
        let mut number = || {
            let mut found = None;
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                let digit = digit.to_digit(10).unwrap_or(0) as usize;
                found = Some((found.unwrap_or(0) * 10 + digit).min(1_000));
            }
            found
        };
        let width = number().unwrap_or(0);
        let precision = letters.next_if_eq(&'.').map(|_| {
            let mut found = 0;
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                found = (found * 10 + digit.to_digit(10).unwrap_or(0) as usize).min(1_000);
            }
            found
        });
        let Some(verb) = letters.next() else {
            out += "%!(NOVERB)";
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            out += &format!("%!{verb}(MISSING)");
            continue;
        };
        let sign = if plus { "+" } else { "" };
        let text = match (verb, value) {
            ('d', Value::Int(value)) if *value >= 0 => format!("{sign}{value}"),
            ('v', Value::Str(value)) if sharp => format!("{value:?}"),
            ('s', Value::Str(value)) => match precision {
                Some(len) => value.chars().take(len).collect(),
                None => value.clone(),
            },
            ('d', Value::Int(value)) => value.to_string(),
            ('x', Value::Int(value)) => format!("{}{value:x}", if sharp { "0x" } else { "" }),
            ('X', Value::Int(value)) => format!("{}{value:X}", if sharp { "0X" } else { "" }),
            ('o', Value::Int(value)) => format!("{value:o}"),
            ('b', Value::Int(value)) => format!("{value:b}"),
            ('c', Value::Int(value)) => {
                let letter = u32::try_from(*value).ok().and_then(char::from_u32);
                letter.unwrap_or('\u{fffd}').to_string()
            }
            ('f' | 'F', Value::Float(value)) => format!("{value:.0$}", precision.unwrap_or(6)),
            ('t', Value::Bool(value)) => value.to_string(),
            ('q', Value::Str(value)) => format!("{value:?}"),
            ('x', Value::Str(value)) => value.bytes().map(|octet| format!("{octet:02x}")).collect(),
            ('X', Value::Str(value)) => value.bytes().map(|octet| format!("{octet:02X}")).collect(),
            ('v' | 's', Value::List(_) | Value::Map(_)) | ('v', _) => value.to_string(),
            ('T', value) => value.type_name().to_owned(),
            (verb, value) => format!("%!{verb}({}={value})", value.type_name()),
        };
        let missing = width.saturating_sub(text.chars().count());
        if left {
            out += &text;
            out.extend(std::iter::repeat_n(' ', missing));
        } else if zero && matches!(value, Value::Int(_) | Value::Float(_)) {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            out += sign;
            out.extend(std::iter::repeat_n('0', missing));
            out += digits;
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out += &text;
        }
    }
    out
}
