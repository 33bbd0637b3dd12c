//! The parameters of SVCB and HTTPS records (RFC 9460 §2.1).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::{TextError, Words};
use super::octets;

/// Keys by their number (RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §4).
const KEYS: [&str; 9] = [
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
    "dohpath",
    "ohttp",
];

/// All further words as parameters, on the wire in the order of their keys.
pub(super) fn parameters(words: &mut Words<'_>) -> Result<Vec<u8>, TextError> {
    let mut found = BTreeMap::new();
    while let Some(word) = words.words.next() {
        let bad = || TextError::Not("a service parameter", word.text.clone().into());
        let (key, mut value) = word.text.split_once('=').unwrap_or((&word.text, ""));
        // A value in quotes is a word of its own.
        if value.is_empty()
            && word.text.ends_with('=')
            && let Some(quoted) = words.words.as_slice().first().filter(|next| next.quoted)
        {
            value = &quoted.text;
            words.words.next();
        }
        let key = key_of(key).ok_or_else(bad)?;
        let value = value_of(key, value).ok_or_else(bad)?;
        if found.insert(key, value).is_some() {
            return Err(bad());
        }
    }
    let mut out = Vec::new();
    for (key, value) in found {
        out.extend(key.to_be_bytes());
        out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(value);
    }
    Ok(out)
}

fn key_of(text: &str) -> Option<u16> {
    let known = KEYS.iter().position(|key| *key == text);
    match known {
        Some(number) => u16::try_from(number).ok(),
        None => text.strip_prefix("key")?.parse().ok(),
    }
}

fn value_of(key: u16, text: &str) -> Option<Vec<u8>> {
    let list = || text.split(',');
    let mut out = Vec::new();
    match KEYS.get(usize::from(key)).copied() {
        Some("mandatory") => {
            let mut keys = list().map(key_of).collect::<Option<Vec<_>>>()?;
            keys.sort_unstable();
            keys.iter().for_each(|key| out.extend(key.to_be_bytes()));
        }
        Some("alpn") => {
            for protocol in list() {
                let octets = octets(protocol).ok()?;
                out.push(u8::try_from(octets.len()).ok().filter(|len| *len > 0)?);
                out.extend(octets);
            }
        }
        Some("no-default-alpn" | "ohttp") => text.is_empty().then_some(())?,
        Some("port") => out.extend(text.parse::<u16>().ok()?.to_be_bytes()),
        Some("ipv4hint") => {
            for address in list() {
                out.extend(address.parse::<Ipv4Addr>().ok()?.octets());
            }
        }
        Some("ipv6hint") => {
            for address in list() {
                out.extend(address.parse::<Ipv6Addr>().ok()?.octets());
            }
        }
        Some("ech") => out = STANDARD.decode(text).ok()?,
        _ => out = octets(text).ok()?,
    }
    (out.len() <= usize::from(u16::MAX)).then_some(out)
}
