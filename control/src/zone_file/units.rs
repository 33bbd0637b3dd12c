//! Times with units (`1h30m`), which master files have had since BIND 8 and no RFC knows: in `$TTL`, as
//! a record's TTL and in the times of a SOA. They become seconds before the file is parsed.

use martlet_engine::wire::text::ttl_of;

/// Where in an entry the next word stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    /// First on a line without a space before it.
    Owner,
    /// Behind the owner: TTL, class, type.
    Header,
    /// Behind `$TTL`.
    Time,
    /// The data of a SOA, with the number of words before.
    Soa(u8),
    /// Data of other types, and of other directives.
    Rest,
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

/// The file with seconds in their place. Nothing else changes, and no line gets another number.
pub(super) fn resolved(file: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(file.len());
    let (mut place, mut depth) = (Place::at(file.first()), 0_u32);
    let mut at = 0;
    while let Some(&octet) = file.get(at) {
        let len = match octet {
            b'\n' => {
                if depth == 0 {
                    place = Place::at(file.get(at + 1));
                }
                1
            }
            b'(' | b')' => {
                depth = if octet == b'(' {
                    depth + 1
                } else {
                    depth.saturating_sub(1)
                };
                1
            }
            b';' => len_until(&file[at..], |octet| octet == b'\n'),
            b'"' => quoted_len(&file[at..]),
            _ if octet.is_ascii_whitespace() => 1,
            _ => {
                let is_end = |octet: u8| octet.is_ascii_whitespace() || b"();\"".contains(&octet);
                let len = len_until(&file[at..], is_end).max(1);
                let word = &file[at..at + len];
                let (next, is_time) = step(place, word);
                place = next;
                let seconds = is_time.then(|| seconds(word)).flatten();
                match seconds {
                    Some(seconds) => out.extend(seconds.to_string().as_bytes()),
                    None => out.extend(word),
                }
                at += len;
                continue;
            }
        };
        out.extend(&file[at..at + len]);
        at += len;
    }
    out
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
        Place::Owner if word.starts_with(b"$") => (Place::Rest, false),
        Place::Owner => (Place::Header, false),
        Place::Header if word[0].is_ascii_digit() => (Place::Header, true),
        Place::Header if ["IN", "CH", "HS", "CS"].into_iter().any(is) => (Place::Header, false),
        Place::Header if is("SOA") => (Place::Soa(0), false),
        Place::Header | Place::Rest => (Place::Rest, false),
        Place::Time => (Place::Rest, true),
        // Two names and the serial come first.
        Place::Soa(before) => (Place::Soa(before.saturating_add(1)), before > 2),
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
    use super::*;

    #[test]
    fn times_become_seconds_where_times_stand() {
        for (text, expected) in [
            ("$TTL 1h\n", "$TTL 3600\n"),
            ("$ORIGIN 1h\n", "$ORIGIN 1h\n"),
            ("1h 2h IN TXT 3h ; 4h\n", "1h 7200 IN TXT 3h ; 4h\n"),
            (
                "a IN 1D TXT \"5m ; ( 5m\" 5m\n",
                "a IN 86400 TXT \"5m ; ( 5m\" 5m\n",
            ),
            (
                " 1w2d A 192.0.2.1\n\t5m A 192.0.2.1\n",
                " 777600 A 192.0.2.1\n\t300 A 192.0.2.1\n",
            ),
            (
                "@ SOA 1h 2h ( 3\n 4h ; 5h\n 5m 6d\n 7S )\n8m A 192.0.2.1",
                "@ SOA 1h 2h ( 3\n 14400 ; 5h\n 300 518400\n 7 )\n8m A 192.0.2.1",
            ),
            ("a\\ 1h 60 A 192.0.2.1\n", "a\\ 1h 60 A 192.0.2.1\n"),
            ("a 1h30 A 192.0.2.1\n\"1h\n", "a 1h30 A 192.0.2.1\n\"1h\n"),
        ] {
            let out = resolved(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
