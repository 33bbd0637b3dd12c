//! Records in presentation format (RFC 1035 §5.1).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use martlet_engine::limits::NAME_LEN_MAX;
use martlet_engine::wire::RType;
use martlet_engine::wire::name::write_presentation;
use martlet_engine::wire::query::HEADER_LEN;
use martlet_engine::wire::walk::{expand_name, records, skip_name};

/// A record of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    /// The owner: uncompressed wire name.
    pub(super) owner: Vec<u8>,
    /// The TTL in seconds.
    pub(super) ttl: u32,
    /// The type.
    pub(super) rtype: RType,
    /// The data in presentation format.
    pub(super) data: String,
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_presentation(&self.owner, f)?;
        let (ttl, rtype, data) = (self.ttl, self.rtype, &self.data);
        write!(f, " {ttl} IN {rtype} {data}")
    }
}

/// The records of the answer section; those that cannot be read are left out.
pub(super) fn answers(message: &[u8]) -> Vec<Record> {
    let Some(records_at) = skip_name(message, HEADER_LEN).map(|end| end + 4) else {
        return Vec::new();
    };
    let count = usize::from(u16::from_be_bytes([message[6], message[7]]));
    let mut found = Vec::new();
    for record in records(message, records_at, count) {
        let owner = name_at(message, record.at);
        let ttl = message
            .get(record.ttl_at..record.ttl_at + 4)
            .and_then(|octets| octets.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        let data = data(message, record.rtype, record.rdata_at, record.end);
        let (Some(owner), Some(data)) = (owner, data) else {
            continue;
        };
        found.push(Record {
            owner,
            ttl,
            rtype: record.rtype,
            data,
        });
    }
    found
}

/// A query of class IN as a stub resolver sends it.
pub(super) fn query(name: &[u8], qtype: RType) -> Vec<u8> {
    let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(name);
    packet.extend(qtype.0.to_be_bytes());
    packet.extend([0, 1]);
    packet
}

/// A wire name as text.
pub(super) fn name_text(wire: &[u8]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_presentation(wire, &mut text);
    text
}

/// A label or other octets that are mostly text.
pub(super) fn label_text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// The type that a text names.
pub(super) fn type_from_text(text: &str) -> Option<RType> {
    let text = text.to_ascii_uppercase();
    let number = text.strip_prefix("TYPE").and_then(|text| text.parse().ok());
    number.map(RType).or_else(|| {
        let mut all = (0..=u16::MAX).map(RType);
        all.find(|rtype| rtype.mnemonic() == Some(&*text))
    })
}

fn name_at(message: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut buf = [0; NAME_LEN_MAX];
    let len = expand_name(message, at, &mut buf)?;
    Some(buf[..len].to_vec())
}

fn data(message: &[u8], rtype: RType, from: usize, to: usize) -> Option<String> {
    let octets = message.get(from..to)?;
    let word = |at: usize| Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]));
    let name = |at: usize| name_at(message, at).map(|wire| name_text(&wire));
    Some(match rtype {
        RType::A => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string(),
        RType::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string(),
        RType::CNAME | RType::NS | RType::PTR => name(from)?,
        RType::MX => format!("{} {}", word(0)?, name(from + 2)?),
        RType::SRV => format!("{} {} {} {}", word(0)?, word(2)?, word(4)?, name(from + 6)?),
        RType::SOA => {
            let mailbox_at = skip_name(message, from)?;
            let numbers_at = skip_name(message, mailbox_at)?;
            let mut text = format!("{} {}", name(from)?, name(mailbox_at)?);
            for number in message.get(numbers_at..to)?.chunks_exact(4) {
                let number = u32::from_be_bytes(number.try_into().ok()?);
                let _ = write!(text, " {number}");
            }
            text
        }
        RType::TXT => texts(octets)?,
        _ => {
            let mut text = format!("\\# {}", octets.len());
            for (place, octet) in octets.iter().enumerate() {
                let _ = write!(text, "{}{octet:02x}", if place == 0 { " " } else { "" });
            }
            text
        }
    })
}

/// Character strings, each in quotes.
fn texts(mut octets: &[u8]) -> Option<String> {
    let mut all = Vec::new();
    while let Some((&len, rest)) = octets.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(len))?;
        let mut text = String::from("\"");
        for &octet in string {
            let _ = match octet {
                b'"' | b'\\' => write!(text, "\\{}", char::from(octet)),
                0x20..=0x7e => write!(text, "{}", char::from(octet)),
                _ => write!(text, "\\{octet:03}"),
            };
        }
        text.push('"');
        all.push(text);
        octets = rest;
    }
    Some(all.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply to `x. TYPE` with one record, whose owner points to the question.
    fn reply(rtype: RType, rdata: &[u8]) -> Vec<u8> {
        let mut message = query(b"\x01x\x00", rtype);
        message[7] = 1;
        message.extend([0xc0, 12]);
        message.extend(rtype.0.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 30, 0, rdata.len() as u8]);
        message.extend(rdata);
        message
    }

    #[test]
    fn records_are_written_as_zone_files_have_them() {
        let mut soa = b"\xc0\x0c\x01a\xc0\x0c".to_vec();
        soa.extend([1_u32, 2, 3, 4, 5].map(u32::to_be_bytes).concat());
        let cases: &[(RType, &[u8], &str)] = &[
            (RType::A, &[10, 0, 0, 1], "x. 30 IN A 10.0.0.1"),
            (RType::CNAME, b"\x01a\xc0\x0c", "x. 30 IN CNAME a.x."),
            (
                RType::SRV,
                b"\x00\x00\x00\x32\x00\x50\x01a\x00",
                "x. 30 IN SRV 0 50 80 a.",
            ),
            (RType::MX, b"\x00\x0a\x01a\x00", "x. 30 IN MX 10 a."),
            (RType::SOA, &soa, "x. 30 IN SOA x. a.x. 1 2 3 4 5"),
            (
                RType::TXT,
                b"\x05a \"b\\\x01\x07",
                "x. 30 IN TXT \"a \\\"b\\\\\" \"\\007\"",
            ),
            (RType(65_280), &[1, 255], "x. 30 IN TYPE65280 \\# 2 01ff"),
        ];
        for (rtype, rdata, expected) in cases {
            let found = answers(&reply(*rtype, rdata));
            assert_eq!(found.len(), 1, "{expected}");
            assert_eq!(found[0].to_string(), *expected);
        }
        assert_eq!(answers(&reply(RType::A, &[10, 0])), []);
    }

    #[test]
    fn types_are_read_as_they_are_written() {
        for (text, expected) in [
            ("a", Some(RType::A)),
            ("SRV", Some(RType::SRV)),
            ("type65280", Some(RType(65_280))),
            ("TYPE70000", None),
            ("nonsense", None),
        ] {
            assert_eq!(type_from_text(text), expected, "{text}");
        }
    }
}
