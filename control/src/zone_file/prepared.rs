//! What is done to a master file before it is parsed.
//!
//! Times with units (`1h30m`), which master files have had since BIND 8 and no RFC knows, become seconds:
//! in `$TTL` and as a record's TTL. The data of a record, of those types that templates can have as
//! well, is read as it is there, and handed on as in RFC 3597 §5: that knows more types, takes long
//! texts, and knows what `@` stands for. The parser sees to the rest: entries, owners, TTLs, classes,
//! and the types of DNSSEC.

use martlet_engine::wire::text::{self, TextError, ttl_of};

/// Where in an entry the next word stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    /// First on a line without a space before it.
    Owner,
    /// Behind the owner: TTL, class, type.
    Header,
    /// Behind `$TTL`.
    Time,
    /// Behind `$ORIGIN`.
    Origin,
    /// Data, and what follows other directives.
    Rest,
}

/// What is wrong, and in which line.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) cause: TextError,
}

impl Place {
    /// That at the beginning of a line.
    const fn at(first: Option<&u8>) -> Self {
        match first {
            Some(b' ' | b'\t') => Self::Header,
            _ => Self::Owner,
        }
    }
}

/// The file as it is to be parsed; no line gets another number. `origin` is where it begins.
pub(super) fn prepared(file: &[u8], origin: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(file.len());
    let mut origin = origin.to_vec();
    let (mut place, mut depth) = (Place::at(file.first()), 0_u32);
    let mut at = 0;
    while let Some(&octet) = file.get(at) {
        let len = token_len(&file[at..]);
        let word = &file[at..at + len];
        match octet {
            b'\n' if depth == 0 => place = Place::at(file.get(at + 1)),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b';' | b'"' => {}
            _ if octet.is_ascii_whitespace() => {}
            _ => {
                let (next, is_time) = step(place, word);
                if place == Place::Origin
                    && let Some(new) = utf8(word).and_then(|word| text::name(word, &origin))
                {
                    origin = new;
                }
                let begins_data = (place, next) == (Place::Header, Place::Rest);
                place = next;
                if let Some(seconds) = is_time.then(|| seconds(word)).flatten() {
                    out.extend(seconds.to_string().as_bytes());
                    at += len;
                    continue;
                }
                if begins_data && depth == 0 {
                    let rest = &file[at + len..];
                    let data = &rest[..entry_len(rest)];
                    let generic = generic(word, data, &origin).map_err(|cause| Fault {
                        line: 1 + file[..at].iter().filter(|it| **it == b'\n').count(),
                        cause,
                    })?;
                    if let Some(generic) = generic {
                        out.extend(word);
                        out.extend(generic);
                        at += len + data.len();
                        continue;
                    }
                }
            }
        }
        out.extend(word);
        at += len;
    }
    Ok(out)
}

/// The data of a record of this type as in RFC 3597 §5, with as many ends of lines. `None` if its type
/// is one for the parser.
fn generic(rtype: &[u8], data: &[u8], origin: &[u8]) -> Result<Option<Vec<u8>>, TextError> {
    let rtype = utf8(rtype).and_then(|it| text::type_of(&it.to_ascii_uppercase()));
    let (Some(rtype), Some(data)) = (rtype, utf8(data)) else {
        return Ok(None);
    };
    let octets = match text::data(rtype, data, origin) {
        Err(TextError::Type(_)) => return Ok(None),
        read => read?,
    };
    let mut out = format!(" \\# {} ", octets.len());
    octets
        .iter()
        .for_each(|octet| out.push_str(&format!("{octet:02x}")));
    let ends = data.matches('\n').count();
    if ends > 0 {
        out.push_str(&format!(" ({})", "\n".repeat(ends)));
    }
    Ok(Some(out.into_bytes()))
}

fn utf8(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}

/// Octets up to the end of the line that an entry ends in.
fn entry_len(octets: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_u32);
    while let Some(&octet) = octets.get(at) {
        match octet {
            b'\n' if depth == 0 => break,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += token_len(&octets[at..]);
    }
    at
}

/// Octets of the word, text or comment that begins here, or one.
fn token_len(octets: &[u8]) -> usize {
    match octets[0] {
        b'(' | b')' => 1,
        b';' => len_until(octets, |octet| octet == b'\n'),
        b'"' => quoted_len(octets),
        octet if octet.is_ascii_whitespace() => 1,
        _ => {
            let is_end = |octet: u8| octet.is_ascii_whitespace() || b"();\"".contains(&octet);
            len_until(octets, is_end).max(1)
        }
    }
}

/// What the last `$TTL` of a file without units says.
pub(super) fn default_ttl(file: &[u8]) -> Option<u32> {
    let lines = file.split(|octet| *octet == b'\n').rev();
    let mut values = lines.filter_map(|line| {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        words.next()?.eq_ignore_ascii_case("$TTL").then_some(())?;
        words.next()?.parse().ok()
    });
    values.next()
}

/// What a word makes of the place, and whether it may be a time.
fn step(place: Place, word: &[u8]) -> (Place, bool) {
    let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
    match place {
        Place::Owner if is("$TTL") => (Place::Time, false),
        Place::Owner if is("$ORIGIN") => (Place::Origin, false),
        Place::Owner if word.starts_with(b"$") => (Place::Rest, false),
        Place::Owner => (Place::Header, false),
        Place::Header if word[0].is_ascii_digit() => (Place::Header, true),
        Place::Header if ["IN", "CH", "HS", "CS"].into_iter().any(is) => (Place::Header, false),
        Place::Header | Place::Origin | Place::Rest => (Place::Rest, false),
        Place::Time => (Place::Rest, true),
    }
}

/// `None` for what has no unit, or is no time.
fn seconds(word: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(word).ok()?.to_ascii_uppercase();
    ttl_of(&text).filter(|_| !text.ends_with(|last: char| last.is_ascii_digit()))
}

/// Octets before the first one that ends them; escaped ones do not.
fn len_until(octets: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        if ends(octet) {
            break;
        }
        at += if octet == b'\\' { 2 } else { 1 };
    }
    at.min(octets.len())
}

/// A text with its quotes.
fn quoted_len(octets: &[u8]) -> usize {
    let inside = len_until(&octets[1..], |octet| octet == b'"');
    (inside + 2).min(octets.len())
}

#[cfg(test)]
mod tests {
    use martlet_engine::wire::name::wire_from_text;

    use super::*;

    #[test]
    fn files_are_prepared() {
        let origin = wire_from_text("z").unwrap();
        for (text, expected) in [
            ("$TTL 1h\n", "$TTL 3600\n"),
            ("$ORIGIN 1h\n", "$ORIGIN 1h\n"),
            ("1h 2h IN RRSIG 3h ; 4h\n", "1h 7200 IN RRSIG 3h ; 4h\n"),
            (
                "a IN 1D TXT \"5m ; ( 5m\" 5m\n",
                "a IN 86400 TXT \\# 13 09356d203b202820356d02356d\n",
            ),
            (
                " 1w2d A 192.0.2.1\n\t5m A 192.0.2.2 ; x\n",
                " 777600 A \\# 4 c0000201\n\t300 A \\# 4 c0000202\n",
            ),
            (
                "@ SOA a @ ( 3\n 4h ; 5h\n 5m 6d\n 7S )\n8m A 192.0.2.1",
                "@ SOA \\# 28 0161017a00017a00000000030000384000\
                 00012c0007e90000000007 (\n\n\n)\n8m A \\# 4 c0000201",
            ),
            ("a\\ 1h 60 A 192.0.2.1\n", "a\\ 1h 60 A \\# 4 c0000201\n"),
            (
                "a 1h30 A 192.0.2.1\n\"1h\n",
                "a 1h30 A \\# 4 c0000201\n\"1h\n",
            ),
            (
                "a MX 1 @\n$ORIGIN b\na MX 1 @\n",
                "a MX \\# 5 0001017a00\n$ORIGIN b\na MX \\# 7 00010162017a00\n",
            ),
            ("a ( A 192.0.2.1 )\n", "a ( A 192.0.2.1 )\n"),
        ] {
            let out = prepared(text.as_bytes(), &origin).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        assert_eq!(prepared(b"\na A 1\n", &origin).unwrap_err().line, 2);
    }
}
