//! The data of each type.

mod service;

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{TextError, Words, ttl_of};
use crate::wire::RType;

/// Reads the data of a record of this type.
pub(super) fn read(rtype: RType, words: &mut Words<'_>) -> Result<Vec<u8>, TextError> {
    let mut out = Vec::new();
    if words
        .words
        .as_slice()
        .first()
        .is_some_and(|word| word.text == "\\#")
    {
        return unknown(words);
    }
    match rtype {
        RType::A => {
            out.extend(words.parse::<Ipv4Addr>("an IPv4 address")?.octets());
        }
        RType::AAAA => {
            out.extend(words.parse::<Ipv6Addr>("an IPv6 address")?.octets());
        }
        RType::NS | RType::CNAME | RType::PTR | RType::DNAME => out = words.name("a name")?,
        RType::MX | RType::KX | RType::AFSDB | RType::RT => {
            out.extend(words.parse::<u16>("a preference")?.to_be_bytes());
            out.extend(words.name("a name")?);
        }
        RType::RP | RType::MINFO => {
            out = words.name("a mailbox")?;
            out.extend(words.name("a name")?);
        }
        RType::SRV => {
            for what in ["a priority", "a weight", "a port"] {
                out.extend(words.parse::<u16>(what)?.to_be_bytes());
            }
            out.extend(words.name("a target")?);
        }
        RType::SOA => {
            out = words.name("a name server")?;
            out.extend(words.name("a mailbox")?);
            out.extend(words.parse::<u32>("a serial")?.to_be_bytes());
            for what in [
                "a refresh time",
                "a retry time",
                "an expiry time",
                "a minimum",
            ] {
                let word = words.next(what)?;
                let seconds = ttl_of(&word.text.to_ascii_uppercase());
                let seconds =
                    seconds.ok_or_else(|| TextError::Not(what, word.text.clone().into()))?;
                out.extend(seconds.to_be_bytes());
            }
        }
        RType::TXT | RType::SPF => {
            string(words, "a string", &mut out)?;
            while !words.words.as_slice().is_empty() {
                string(words, "a string", &mut out)?;
            }
        }
        RType::HINFO => {
            string(words, "a processor", &mut out)?;
            // As in CoreDNS: one word is enough, and more than two are one system.
            let system: Vec<_> = words.words.by_ref().map(|word| &*word.text).collect();
            append_string(&octets(&system.join(" "))?, &mut out);
        }
        RType::NAPTR => {
            for what in ["an order", "a preference"] {
                out.extend(words.parse::<u16>(what)?.to_be_bytes());
            }
            for what in ["flags", "services", "an expression"] {
                string(words, what, &mut out)?;
            }
            out.extend(words.name("a replacement")?);
        }
        RType::CAA => {
            out.push(words.parse("flags")?);
            string(words, "a tag", &mut out)?;
            out.extend(octets(&words.next("a value")?.text)?);
        }
        RType::URI => {
            for what in ["a priority", "a weight"] {
                out.extend(words.parse::<u16>(what)?.to_be_bytes());
            }
            out.extend(octets(&words.next("a target")?.text)?);
        }
        RType::DS | RType::CDS | RType::DLV => {
            out.extend(words.parse::<u16>("a key tag")?.to_be_bytes());
            out.push(words.parse("an algorithm")?);
            out.push(words.parse("a digest type")?);
            out.extend(hexadecimal(words)?);
        }
        RType::SSHFP => {
            out.push(words.parse("an algorithm")?);
            out.push(words.parse("a fingerprint type")?);
            out.extend(hexadecimal(words)?);
        }
        RType::TLSA | RType::SMIMEA => {
            for what in ["a usage", "a selector", "a matching type"] {
                out.push(words.parse(what)?);
            }
            out.extend(hexadecimal(words)?);
        }
        RType::DNSKEY | RType::CDNSKEY | RType::KEY => {
            out.extend(words.parse::<u16>("flags")?.to_be_bytes());
            out.push(words.parse("a protocol")?);
            out.push(words.parse("an algorithm")?);
            out.extend(base64(words)?);
        }
        RType::CERT => {
            for what in ["a certificate type", "a key tag"] {
                out.extend(words.parse::<u16>(what)?.to_be_bytes());
            }
            out.push(words.parse("an algorithm")?);
            out.extend(base64(words)?);
        }
        RType::OPENPGPKEY | RType::DHCID => out = base64(words)?,
        RType::EUI48 | RType::EUI64 => {
            let word = words.next("a hardware address")?;
            let pairs = word
                .text
                .split('-')
                .map(|pair| u8::from_str_radix(pair, 16));
            let bad = || TextError::Not("a hardware address", word.text.clone().into());
            out = pairs.collect::<Result<_, _>>().map_err(|_| bad())?;
            if out.len() != if rtype == RType::EUI48 { 6 } else { 8 } {
                return Err(bad());
            }
        }
        RType::SVCB | RType::HTTPS => {
            out.extend(words.parse::<u16>("a priority")?.to_be_bytes());
            out.extend(words.name("a target")?);
            out.extend(service::parameters(words)?);
        }
        other => return Err(TextError::Type(other)),
    }
    Ok(out)
}

/// A character string: its length in one octet, and its octets.
fn string(words: &mut Words<'_>, what: &'static str, out: &mut Vec<u8>) -> Result<(), TextError> {
    let word = words.next(what)?;
    append_string(&octets(&word.text)?, out);
    Ok(())
}

/// What is longer than a string can be becomes several, as in CoreDNS.
fn append_string(mut rest: &[u8], out: &mut Vec<u8>) {
    loop {
        let (head, tail) = rest.split_at(rest.len().min(255));
        out.push(head.len() as u8);
        out.extend(head);
        rest = tail;
        if rest.is_empty() {
            return;
        }
    }
}

/// The octets of a text, escapes resolved.
fn octets(text: &str) -> Result<Vec<u8>, TextError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'\\', [h @ b'0'..=b'9', t @ b'0'..=b'9', u @ b'0'..=b'9', tail @ ..]) => {
                let digit = |octet: &u8| u32::from(octet - b'0');
                let number = digit(h) * 100 + digit(t) * 10 + digit(u);
                let octet = u8::try_from(number);
                out.push(octet.map_err(|_| TextError::Not("an escape", text.into()))?);
                rest = tail;
            }
            (b'\\', [octet, tail @ ..]) => {
                out.push(*octet);
                rest = tail;
            }
            (octet, _) => out.push(octet),
        }
    }
    Ok(out)
}

/// All further words as base64.
fn base64(words: &mut Words<'_>) -> Result<Vec<u8>, TextError> {
    let text: String = words.words.by_ref().map(|word| &*word.text).collect();
    let decoded = STANDARD.decode(&text);
    decoded.map_err(|_| TextError::Not("base64", text.into()))
}

/// All further words as hexadecimal digits.
fn hexadecimal(words: &mut Words<'_>) -> Result<Vec<u8>, TextError> {
    let digits: String = words.words.by_ref().map(|word| &*word.text).collect();
    let bad = || TextError::Not("hexadecimal digits in pairs", digits.clone().into());
    let values = digits.chars().map(|digit| digit.to_digit(16));
    let values = values.collect::<Option<Vec<_>>>().ok_or_else(bad)?;
    let (pairs, rest) = values.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(bad());
    }
    Ok(pairs
        .iter()
        .map(|[high, low]| (high << 4 | low) as u8)
        .collect())
}

/// RFC 3597 §5.
fn unknown(words: &mut Words<'_>) -> Result<Vec<u8>, TextError> {
    words.next("the mark of unknown data")?;
    let len = words.parse::<u16>("a length")?;
    let data = hexadecimal(words)?;
    if data.len() == usize::from(len) {
        Ok(data)
    } else {
        Err(TextError::Not(
            "the length of the data",
            len.to_string().into(),
        ))
    }
}
