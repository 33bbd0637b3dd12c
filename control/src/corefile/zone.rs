//! Zone names, and the reverse zones that address blocks stand for.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use martlet_engine::wire::name::NameText;

use super::error::reason::ZoneFault;
use crate::names::wire_of;

/// A zone's name: lower-case, with a trailing dot; `.` is the root.
///
/// In presentation form, each name in one spelling: an escape that needs none (`\097`) is gone.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ZoneName(Box<str>);

impl ZoneName {
    /// Reads a domain name, with or without its trailing dot.
    ///
    /// # Errors
    ///
    /// Why it is not one.
    pub fn parse(text: &str) -> Result<Self, ZoneFault> {
        check(text)?;
        let wire = wire_of(text).ok_or(ZoneFault::Long)?;
        Ok(Self(NameText::of(&wire).as_str().into()))
    }

    /// The root zone.
    pub fn root() -> Self {
        Self(".".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in lower-case wire form.
    pub fn wire(&self) -> Box<[u8]> {
        wire_of(&self.0).expect("it was written from a wire name")
    }

    /// Whether it lies *below* `in-addr.arpa.` or `ip6.arpa.`. As in CoreDNS those two themselves
    /// are not reverse zones: `kubernetes in-addr.arpa cluster.local` has the former as its primary
    /// zone.
    pub fn is_reverse(&self) -> bool {
        self.0.ends_with(".in-addr.arpa.") || self.0.ends_with(".ip6.arpa.")
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a zone or an address block (`10.0.0.0/24`, `2001:db8::/32`). A block gives one reverse zone
/// if its mask ends on a label (8 bits for IPv4, 4 for IPv6), several if it ends within one.
pub(super) fn expand(text: &str) -> Result<Vec<ZoneName>, ZoneFault> {
    let Ok(block) = text.parse::<IpNet>() else {
        if text.contains('/') && text.contains(':') {
            return Err(ZoneFault::BadCidr);
        }
        return ZoneName::parse(text).map(|zone| vec![zone]);
    };
    // CoreDNS refuses these forms; a Corefile with one could not be taken back to it.
    if text.contains(':') && text.starts_with([':', '0']) {
        return Err(ZoneFault::BadCidr);
    }
    let bits_per_label = if block.addr().is_ipv4() { 8 } else { 4 };
    let mask = block.prefix_len().next_multiple_of(bits_per_label);
    let subnets = block
        .trunc()
        .subnets(mask)
        .map_err(|_| ZoneFault::BadCidr)?;
    Ok(subnets
        .map(|subnet| reverse_zone(subnet.addr(), usize::from(mask)))
        .collect())
}

/// The reverse zone of the first `mask` bits of an address; `mask` ends on a label.
fn reverse_zone(address: IpAddr, mask: usize) -> ZoneName {
    let (mut labels, suffix): (Vec<String>, _) = match address {
        IpAddr::V4(address) => {
            let octets = address.octets();
            (
                octets[..mask / 8].iter().map(u8::to_string).collect(),
                "in-addr.arpa.",
            )
        }
        IpAddr::V6(address) => {
            let nibbles = address
                .octets()
                .into_iter()
                .flat_map(|octet| [octet >> 4, octet & 15]);
            (
                nibbles
                    .take(mask / 4)
                    .map(|nibble| format!("{nibble:x}"))
                    .collect(),
                "ip6.arpa.",
            )
        }
    };
    labels.reverse();
    labels.push(suffix.to_owned());
    ZoneName(labels.join(".").into())
}

/// Checks a name in presentation form against the limits of RFC 1035 §2.3.4.
fn check(text: &str) -> Result<(), ZoneFault> {
    match text {
        "" => return Err(ZoneFault::Empty),
        "." => return Ok(()),
        _ => {}
    }
    let mut rest = text.as_bytes();
    let (mut label, mut name) = (0, 0);
    let mut end_label = |label: usize| {
        name += label + 1;
        match label {
            0 => Err(ZoneFault::EmptyLabel),
            64.. => Err(ZoneFault::LongLabel),
            // With the root label, the name has at most 255 bytes.
            _ if name > 254 => Err(ZoneFault::Long),
            _ => Ok(()),
        }
    };
    loop {
        rest = match rest {
            [] => break,
            [b'.', rest @ ..] => {
                end_label(label)?;
                label = 0;
                rest
            }
            [
                b'\\',
                h @ b'0'..=b'9',
                t @ b'0'..=b'9',
                u @ b'0'..=b'9',
                rest @ ..,
            ] => {
                if [*h, *t, *u] > *b"255" {
                    return Err(ZoneFault::BigEscape);
                }
                label += 1;
                rest
            }
            [b'\\', _, rest @ ..] => {
                label += 1;
                rest
            }
            [b'\\'] => return Err(ZoneFault::OpenEscape),
            [_, rest @ ..] => {
                label += 1;
                rest
            }
        };
    }
    if label == 0 { Ok(()) } else { end_label(label) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        for (text, expected) in [
            (".", Ok(".")),
            ("Example.ORG", Ok("example.org.")),
            ("example.org.", Ok("example.org.")),
            ("a\\.b.c", Ok("a\\.b.c.")),
            ("a\\046b", Ok("a\\.b.")),
            ("a\\.", Ok("a\\..")),
            ("\\097\\066.c", Ok("ab.c.")),
            ("a\\255", Ok("a\\255.")),
            ("a\\256", Err(ZoneFault::BigEscape)),
            (
                &"\\200".repeat(63),
                Ok(&*format!("{}.", "\\200".repeat(63))),
            ),
            (&"\\200".repeat(64), Err(ZoneFault::LongLabel)),
            ("_tcp.x", Ok("_tcp.x.")),
            ("", Err(ZoneFault::Empty)),
            ("..", Err(ZoneFault::EmptyLabel)),
            (".a", Err(ZoneFault::EmptyLabel)),
            ("a..b", Err(ZoneFault::EmptyLabel)),
            ("a.b..", Err(ZoneFault::EmptyLabel)),
            ("a\\", Err(ZoneFault::OpenEscape)),
            (&format!("{label}a"), Err(ZoneFault::LongLabel)),
            (&format!("{label}a.b"), Err(ZoneFault::LongLabel)),
            (&longest, Ok(&*format!("{longest}."))),
            (&format!("{longest}a"), Err(ZoneFault::Long)),
        ] {
            let name = ZoneName::parse(text);
            assert_eq!(
                name.as_ref().map(ZoneName::as_str).map_err(|fault| *fault),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn the_wire_form_has_the_labels_that_were_written() {
        for (text, expected) in [
            (".", &b"\0"[..]),
            ("A.b", b"\x01a\x01b\0"),
            ("a\\.B.c", b"\x03a.b\x01c\0"),
            ("a\\046b.c.", b"\x03a.b\x01c\0"),
            ("\\065", b"\x01a\0"),
            ("a\\.", b"\x02a.\0"),
        ] {
            assert_eq!(*ZoneName::parse(text).unwrap().wire(), *expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_a_zone_has_one_spelling_and_a_wire_form(text in r"([\\.a-cA0-9@ü]|\\[0-9]{3}){0,90}") {
            if let Ok(zone) = ZoneName::parse(&text) {
                let again = ZoneName::parse(zone.as_str()).unwrap();
                assert_eq!((&again, again.wire()), (&zone, zone.wire()));
            }
        }
    }

    #[test]
    fn knows_reverse_zones() {
        for (text, expected) in [
            ("10.in-addr.arpa", true),
            ("8.b.d.0.ip6.arpa.", true),
            ("in-addr.arpa", false),
            ("ip6.arpa.", false),
            ("xin-addr.arpa", false),
            ("cluster.local", false),
        ] {
            assert_eq!(
                ZoneName::parse(text).map(|zone| zone.is_reverse()),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn expands_address_blocks() {
        for (text, expected) in [
            ("example.org", &["example.org."][..]),
            ("10.0.0.0/8", &["10.in-addr.arpa."]),
            ("10.0.0.0/24", &["0.0.10.in-addr.arpa."]),
            ("10.1.2.3/32", &["3.2.1.10.in-addr.arpa."]),
            ("0.0.0.0/0", &["in-addr.arpa."]),
            ("10.0.0.0/15", &["0.10.in-addr.arpa.", "1.10.in-addr.arpa."]),
            (
                "192.168.1.1/23",
                &["0.168.192.in-addr.arpa.", "1.168.192.in-addr.arpa."],
            ),
            (
                "10.129.60.0/22",
                &[
                    "60.129.10.in-addr.arpa.",
                    "61.129.10.in-addr.arpa.",
                    "62.129.10.in-addr.arpa.",
                    "63.129.10.in-addr.arpa.",
                ],
            ),
            ("2001:db8::/32", &["8.b.d.0.1.0.0.2.ip6.arpa."]),
            (
                "2001:db8::/31",
                &["8.b.d.0.1.0.0.2.ip6.arpa.", "9.b.d.0.1.0.0.2.ip6.arpa."],
            ),
            (
                "2001:db8::/115",
                &[
                    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
                    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
                ],
            ),
            // Not an address block, so a name, as for CoreDNS.
            ("10.0.0.0/33", &["10.0.0.0/33."]),
            ("10.0.0/24", &["10.0.0/24."]),
        ] {
            let zones = expand(text).expect(text);
            let zones: Vec<_> = zones.iter().map(ZoneName::as_str).collect();
            assert_eq!(zones, expected, "{text}");
        }
        let counts = [
            ("10.9.3.0/18", 64),
            ("10.0.0.0/9", 128),
            ("10.0.0.0/12", 16),
        ];
        for (text, count) in counts
            .into_iter()
            .chain([("2001:db8::/29", 8), ("fd00:96::/112", 1)])
        {
            assert_eq!(expand(text).map(|zones| zones.len()), Ok(count), "{text}");
        }
        for text in [
            "::ffff:b:f/115",
            "0:1::/16",
            "2001:db8::/129",
            "2001:zz::/8",
        ] {
            assert_eq!(expand(text), Err(ZoneFault::BadCidr), "{text}");
        }
    }
}
