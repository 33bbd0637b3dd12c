//! Reverse names back to addresses (RFC 1035 §3.5, RFC 3596 §2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::FoldedName;

const V4_ZONE: &[u8] = b"\x07in-addr\x04arpa\x00";
const V6_ZONE: &[u8] = b"\x03ip6\x04arpa\x00";
const NIBBLES: usize = 32;

/// The address that `name` is the reverse name of; `None` for partial names and others.
pub(in crate::plugins) fn address_of(name: &FoldedName) -> Option<IpAddr> {
    if let Some(above) = name.labels_above(V4_ZONE, 2) {
        return v4(name, above).map(IpAddr::V4);
    }
    v6(name, name.labels_above(V6_ZONE, 2)?).map(IpAddr::V6)
}

fn v4(name: &FoldedName, above: usize) -> Option<Ipv4Addr> {
    if above != 4 {
        return None;
    }
    let mut octets = [0; 4];
    for (index, octet) in octets.iter_mut().rev().enumerate() {
        let label = name.label(index);
        let leading_zero = label.len() > 1 && label[0] == b'0';
        if leading_zero || !label.iter().all(u8::is_ascii_digit) {
            return None;
        }
        *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
    }
    Some(octets.into())
}

/// Reads the 32 nibbles next to the zone. CoreDNS groups them by four from the right, so one to
/// three further labels fall off the end unseen; it joins labels before it reads digits, so a
/// group may be spelled with labels of other sizes as long as it comes to at most four digits.
fn v6(name: &FoldedName, above: usize) -> Option<Ipv6Addr> {
    if above / 4 != NIBBLES / 4 {
        return None;
    }
    let mut segments = [0_u16; 8];
    for (group, segment) in segments.iter_mut().enumerate() {
        let mut digits = 0;
        for place in 0..4 {
            for &octet in name.label(above - 1 - group * 4 - place) {
                let digit = char::from(octet).to_digit(16)?;
                digits += 1;
                if digits > 4 {
                    return None;
                }
                *segment = *segment << 4 | digit as u16;
            }
        }
    }
    Some(segments.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::wire_from_text;

    #[test]
    fn reverse_names_are_read() {
        let nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        let cases: &[(&str, Option<&str>)] = &[
            ("4.3.2.1.in-addr.arpa", Some("1.2.3.4")),
            ("5.4.3.2.1.in-addr.arpa", None),
            ("3.2.1.in-addr.arpa", None),
            ("04.3.2.1.in-addr.arpa", None),
            ("256.3.2.1.in-addr.arpa", None),
            ("a.3.2.1.in-addr.arpa", None),
            ("4.3.2.1.cluster.local", None),
            (nibbles, Some("fd00::1")),
            (&format!("x.{nibbles}"), Some("fd00::1")),
            (&nibbles[2..], None),
            (&nibbles.replace("d.f", "g.f"), None),
        ];
        for (text, expected) in cases {
            let mut name = FoldedName::default();
            name.parse(&wire_from_text(text).unwrap(), 0).unwrap();
            let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(address_of(&name), expected, "{text}");
        }
    }
}
