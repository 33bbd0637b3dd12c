//! RDATA in presentation form.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use super::decode::{Fault, Octets, name_at};
use super::names::{quote, type_text};

/// The text of the RDATA at `start..start + len`, and its SOA serial or SRV port if it has one.
/// What does not parse is shown as RFC 3597 does.
pub(super) fn text(wire: &[u8], class: &str, rtype: u16, start: usize, len: usize) -> Text {
    parsed(wire, class, rtype, start, len)
        .unwrap_or_else(|_| Text::plain(unknown(wire.get(start..start + len).unwrap_or_default())))
}

/// RDATA as text, with the number that another module may have to mask.
pub(super) struct Text {
    /// Presentation form.
    pub(super) text: String,
    /// SOA: the serial.
    pub(super) serial: Option<u32>,
    /// SRV: the port.
    pub(super) port: Option<u16>,
}

impl Text {
    fn plain(text: String) -> Self {
        Self {
            text,
            serial: None,
            port: None,
        }
    }
}

fn parsed(wire: &[u8], class: &str, rtype: u16, start: usize, len: usize) -> Result<Text, Fault> {
    let end = start + len;
    let mut at = Octets { wire, pos: start };
    let internet = class == "IN";
    let text = match type_text(rtype).as_str() {
        "A" if internet => Text::plain(Ipv4Addr::from(at.take::<4>()?).to_string()),
        "AAAA" if internet => Text::plain(ipv6(Ipv6Addr::from(at.take::<16>()?))),
        "NS" | "CNAME" | "PTR" | "DNAME" => Text::plain(name(&mut at)?),
        "MX" => {
            let preference = at.u16()?;
            Text::plain(format!("{preference} {}", name(&mut at)?))
        }
        "SOA" => soa(&mut at)?,
        "SRV" if internet => {
            let [priority, weight, port] = [at.u16()?, at.u16()?, at.u16()?];
            let target = name(&mut at)?;
            Text {
                port: Some(port),
                ..Text::plain(format!("{priority} {weight} {port} {target}"))
            }
        }
        "TXT" | "SPF" | "HINFO" => strings(&mut at, end)?,
        "RRSIG" => signature(&mut at, end)?,
        "DS" => {
            let (tag, [algorithm, digest_type]) = (at.u16()?, at.take::<2>()?);
            let digest = hex(rest(&mut at, end)?);
            Text::plain(format!("{tag} {algorithm} {digest_type} {digest}"))
        }
        "CAA" => {
            let [flags, len] = at.take::<2>()?;
            let tag_end = at.pos + usize::from(len);
            let tag = String::from_utf8_lossy(rest(&mut at, tag_end)?).into_owned();
            let mut text = format!("{flags} {tag} ");
            quote(rest(&mut at, end)?, &mut text);
            Text::plain(text)
        }
        "NAPTR" => {
            let [order, preference] = [at.u16()?, at.u16()?];
            let mut text = format!("{order} {preference}");
            for _ in ["flags", "services", "expression"] {
                let string_end = at.pos + 1 + usize::from(at.wire[at.pos]);
                let _ = write!(text, " {}", strings(&mut at, string_end)?.text);
            }
            Text::plain(format!("{text} {}", name(&mut at)?))
        }
        "SVCB" | "HTTPS" => service(&mut at, end)?,
        _ => return Err(Fault::Value),
    };
    if at.pos == end {
        Ok(text)
    } else {
        Err(Fault::Value)
    }
}

fn soa(at: &mut Octets<'_>) -> Result<Text, Fault> {
    let [primary, mailbox] = [name(at)?, name(at)?];
    let serial = at.u32()?;
    let mut text = format!("{primary} {mailbox} {serial}");
    for _ in ["refresh", "retry", "expire", "minimum"] {
        let _ = write!(text, " {}", at.u32()?);
    }
    Ok(Text {
        serial: Some(serial),
        ..Text::plain(text)
    })
}

fn strings(at: &mut Octets<'_>, end: usize) -> Result<Text, Fault> {
    let mut text = String::new();
    while at.pos < end {
        if !text.is_empty() {
            text.push(' ');
        }
        let len = usize::from(at.take::<1>()?[0]);
        let string = at.wire.get(at.pos..at.pos + len).ok_or(Fault::Short)?;
        quote(string, &mut text);
        at.pos += len;
    }
    Ok(Text::plain(text))
}

fn signature(at: &mut Octets<'_>, end: usize) -> Result<Text, Fault> {
    let covered = type_text(at.u16()?);
    let [algorithm, labels] = at.take::<2>()?;
    let mut text = format!("{covered} {algorithm} {labels} {}", at.u32()?);
    for _ in ["expiration", "inception"] {
        let time = Timestamp::from_second(at.u32()?.into()).map_err(|_| Fault::Value)?;
        let _ = write!(text, " {}", time.strftime("%Y%m%d%H%M%S"));
    }
    let tag = at.u16()?;
    let signer = name(at)?;
    let signature = rest(at, end)?;
    let _ = write!(text, " {tag} {signer} {}", BASE64.encode(signature));
    Ok(Text::plain(text))
}

/// RFC 9460 §2.1, with the parameters that are asked about.
fn service(at: &mut Octets<'_>, end: usize) -> Result<Text, Fault> {
    let mut text = format!("{} {}", at.u16()?, name(at)?);
    while at.pos < end {
        let (key, len) = (at.u16()?, usize::from(at.u16()?));
        let value_end = at.pos + len;
        let value = rest(at, value_end)?;
        let _ = match key {
            1 => {
                let mut names = Vec::new();
                let mut left = value;
                while let Some((&len, behind)) = left.split_first() {
                    let (name, behind) = behind.split_at_checked(len.into()).ok_or(Fault::Short)?;
                    names.push(String::from_utf8_lossy(name));
                    left = behind;
                }
                write!(text, " alpn=\"{}\"", names.join(","))
            }
            4 => {
                let hints = value.as_chunks::<4>().0.iter();
                let hints: Vec<_> = hints.map(|it| Ipv4Addr::from(*it).to_string()).collect();
                write!(text, " ipv4hint=\"{}\"", hints.join(","))
            }
            _ => return Err(Fault::Value),
        };
    }
    Ok(Text::plain(text))
}

/// What is left up to `end`.
fn rest<'w>(at: &mut Octets<'w>, end: usize) -> Result<&'w [u8], Fault> {
    let rest = at.wire.get(at.pos..end).ok_or(Fault::Short)?;
    at.pos = end;
    Ok(rest)
}

fn name(at: &mut Octets<'_>) -> Result<String, Fault> {
    let (name, next) = name_at(at.wire, at.pos)?;
    at.pos = next;
    Ok(name)
}

/// As `inet_ntop` writes it: the longest run of zeros is cut, and six of them in front leave an
/// IPv4 address.
fn ipv6(address: Ipv6Addr) -> String {
    let segments = address.segments();
    if segments[..6].iter().all(|&segment| segment == 0) && segments[6] != 0 {
        let [.., a, b, c, d] = address.octets();
        return format!("::{a}.{b}.{c}.{d}");
    }
    address.to_string()
}

fn unknown(octets: &[u8]) -> String {
    format!("\\# {} {}", octets.len(), hex(octets))
}

fn hex(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets {
        let _ = write!(text, "{octet:02x}");
    }
    text
}
