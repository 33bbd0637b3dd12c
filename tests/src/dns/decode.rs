//! Reads a message into facts, however odd it is.

use std::time::{SystemTime, UNIX_EPOCH};

use super::names::{class_text, escape_label, rcode_text, type_text};
use super::rdata;
use super::reply::{OptRecord, Record, Reply, Transfer};

/// Takes a message apart. `own_port` is the port that the question came from: `whoami` shows it, so
/// it is masked, as are SOA serials that are the time of day.
///
/// A message that breaks off has `malformed` set and the sections that were whole.
pub fn decode(wire: &[u8], own_port: u16) -> Reply {
    sections(wire, own_port).0
}

/// The messages of a zone transfer as one reply, with the head of the first.
pub fn decode_transfer(messages: &[Vec<u8>], own_port: u16) -> Reply {
    let mut parts = messages.iter().map(|it| sections(it, own_port));
    let (mut reply, mut records) = parts.next().unwrap_or_default();
    parts.for_each(|(_, more)| records.extend(more));
    let is_soa = |record: Option<&Record>| record.is_some_and(|it| it.rtype() == "SOA");
    reply.xfr = Some(Transfer {
        records: records.len(),
        soa_first: is_soa(records.first()),
        soa_last: records.len() > 1 && is_soa(records.last()),
    });
    records.sort_unstable();
    (reply.an, reply.len) = (records, None);
    reply
}

/// The facts of a message, and its answer section in the order of the message.
fn sections(wire: &[u8], own_port: u16) -> (Reply, Vec<Record>) {
    let (mut reply, mut as_sent) = (Reply::default(), Vec::new());
    let mut at = Octets { wire, pos: 2 };
    let header = [at.u16(), at.u16(), at.u16(), at.u16(), at.u16()];
    let [
        Ok(flags),
        Ok(questions),
        Ok(answers),
        Ok(authorities),
        Ok(additionals),
    ] = header
    else {
        reply.malformed = Some("short header".to_owned());
        return (reply, as_sent);
    };
    let mut extended = 0;
    let body = (|| {
        for _ in 0..questions {
            let name = at.name()?;
            let [rtype, class] = [at.u16()?, at.u16()?];
            reply.q.push([name, class_text(class), type_text(rtype)]);
        }
        for (section, count) in [("an", answers), ("ns", authorities), ("ar", additionals)] {
            let mut records = Vec::new();
            for _ in 0..count {
                match record(&mut at, own_port)? {
                    Entry::Record(record) => records.push(record),
                    Entry::Opt(mut opt, bits) => {
                        opt.odd = section != "ar" || reply.edns.is_some();
                        extended = bits;
                        reply.edns = Some(opt);
                    }
                }
            }
            if section == "an" {
                as_sent.clone_from(&records);
            }
            records.sort_unstable();
            match section {
                "an" => reply.an = records,
                "ns" => reply.ns = records,
                _ => reply.ar = records,
            }
        }
        if at.pos == wire.len() {
            Ok(())
        } else {
            Err(Fault::Trailing)
        }
    })();
    reply.malformed = body.err().map(|fault: Fault| fault.word().to_owned());
    reply.len = (flags & TC != 0).then_some(wire.len());
    reply.rcode = rcode_text(extended << 4 | flags & 0xf);
    let set = FLAGS.iter().filter(|(bit, _)| flags & bit != 0);
    reply.flags = set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ");
    let opcode = u8::try_from(flags >> 11 & 0xf).expect("four bits");
    reply.opcode = (opcode != 0).then_some(opcode);
    reply.qr = (flags & QR == 0).then_some(0);
    let mut types: Vec<_> = as_sent.iter().map(Record::rtype).collect();
    let is_transfer = reply
        .q
        .iter()
        .any(|[_, _, rtype]| matches!(&**rtype, "AXFR" | "IXFR"));
    let company = types.len() > 1 && types.contains(&"CNAME") && !is_transfer;
    types.dedup();
    reply.order = company.then(|| types.join(" "));
    (reply, as_sent)
}

enum Entry {
    Record(Record),
    /// OPT, and the upper bits of the response code.
    Opt(OptRecord, u16),
}

fn record(at: &mut Octets<'_>, own_port: u16) -> Result<Entry, Fault> {
    let owner = at.name()?;
    let [rtype, class] = [at.u16()?, at.u16()?];
    let ttl = at.u32()?;
    let len = usize::from(at.u16()?);
    let start = at.pos;
    if start + len > at.wire.len() {
        return Err(Fault::Value);
    }
    if type_text(rtype) == "OPT" {
        let [extended, version, high, low] = ttl.to_be_bytes();
        let opt = OptRecord {
            name: owner,
            size: class,
            version,
            flags: format!("{:04x}", u16::from_be_bytes([high, low])),
            opts: options(at, start + len)?,
            odd: false,
        };
        at.pos = start + len;
        return Ok(Entry::Opt(opt, u16::from(extended)));
    }
    let class = class_text(class);
    let rdata = rdata::text(at.wire, &class, rtype, start, len);
    at.pos = start + len;
    let mut text = rdata.text;
    if rdata.serial.is_some_and(is_recent) {
        let mut words: Vec<_> = text.split(' ').collect();
        words[2] = "SERIAL";
        text = words.join(" ");
    }
    if owner.starts_with('_') && rdata.port == Some(own_port) && text.ends_with(" .") {
        text = text.replacen(&format!(" {own_port} ."), " CLIENTPORT .", 1);
    }
    Ok(Entry::Record(Record(
        owner,
        ttl,
        class,
        type_text(rtype),
        text,
    )))
}

fn options(at: &mut Octets<'_>, end: usize) -> Result<Vec<(u16, String)>, Fault> {
    let mut options = Vec::new();
    while at.pos < end {
        let [code, len] = [at.u16()?, at.u16()?];
        let to = at.pos + usize::from(len);
        let content = at.wire.get(at.pos..to).ok_or(Fault::Short)?;
        options.push((
            code,
            content.iter().map(|octet| format!("{octet:02x}")).collect(),
        ));
        at.pos = to;
    }
    Ok(options)
}

/// The kubernetes plugin takes the time of day for its serial.
fn is_recent(serial: u32) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is past 1970")
        .as_secs();
    now.abs_diff(u64::from(serial)) < 3 * 86_400
}

/// Why a message cannot be read to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// It ends too early.
    Short,
    /// A value that cannot be.
    Value,
    /// A name above 255 octets.
    LongName,
    /// Octets behind the last record.
    Trailing,
}

impl Fault {
    /// The word of the recorded answers.
    const fn word(self) -> &'static str {
        match self {
            Self::Short => "error",
            Self::Value => "ValueError",
            Self::LongName => "NameTooLong",
            Self::Trailing => "trailing bytes",
        }
    }
}

/// A place in a message.
#[derive(Clone, Copy)]
pub(super) struct Octets<'w> {
    /// The whole message, as names may point anywhere.
    pub(super) wire: &'w [u8],
    /// The next octet to read.
    pub(super) pos: usize,
}

impl Octets<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let octets = self
            .wire
            .get(self.pos..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(Fault::Short)?;
        self.pos += N;
        Ok(*octets)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.take().map(u32::from_be_bytes)
    }

    fn name(&mut self) -> Result<String, Fault> {
        let (name, next) = name_at(self.wire, self.pos)?;
        self.pos = next;
        Ok(name)
    }
}

/// The name at `pos` with its letter case, and the place behind it.
pub(super) fn name_at(wire: &[u8], mut pos: usize) -> Result<(String, usize), Fault> {
    let mut text = String::new();
    let mut len = 1;
    let mut next = None;
    let mut jumps = 0;
    loop {
        let first = *wire.get(pos).ok_or(Fault::Short)?;
        match first {
            0 => break,
            1..=0x3f => {
                let to = pos + 1 + usize::from(first);
                let label = wire.get(pos + 1..to).ok_or(Fault::Short)?;
                escape_label(label, &mut text);
                text.push('.');
                len += 1 + label.len();
                pos = to;
            }
            0xc0.. => {
                next = next.or(Some(pos + 2));
                let low = *wire.get(pos + 1).ok_or(Fault::Short)?;
                pos = usize::from(u16::from_be_bytes([first & 0x3f, low]));
                jumps += 1;
                if jumps > 128 {
                    return Err(Fault::Value);
                }
            }
            _ => return Err(Fault::Value),
        }
    }
    if len > 255 {
        return Err(Fault::LongName);
    }
    if text.is_empty() {
        text.push('.');
    }
    Ok((text, next.unwrap_or(pos + 1)))
}

const QR: u16 = 0x8000;
const TC: u16 = 0x0200;
const FLAGS: [(u16, &str); 7] = [
    (0x0400, "AA"),
    (TC, "TC"),
    (0x0100, "RD"),
    (0x0080, "RA"),
    (0x0040, "Z"),
    (0x0020, "AD"),
    (0x0010, "CD"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Edns, Query, name_to_wire};

    /// A reply to `a.test. IN A` with the given sections of whole records.
    fn message(flags: u16, counts: [u16; 3], records: &[u8]) -> Vec<u8> {
        let mut wire = Query::new("a.test.", "A").wire(7);
        wire[2..4].copy_from_slice(&(0x8000 | flags).to_be_bytes());
        for (place, count) in wire[6..12].chunks_mut(2).zip(counts) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        wire.extend(records);
        wire
    }

    fn record(rtype: u16, rdata: &[u8]) -> Vec<u8> {
        let mut wire = vec![0xc0, 12];
        wire.extend(rtype.to_be_bytes());
        wire.extend([0, 1, 0, 0, 0, 30]);
        wire.extend(u16::try_from(rdata.len()).unwrap().to_be_bytes());
        wire.extend(rdata);
        wire
    }

    #[test]
    fn rdata_has_its_presentation_form() {
        let soa = [name_to_wire("ns."), name_to_wire("h."), vec![0; 20]].concat();
        for (rtype, rdata, expected) in [
            (1, vec![10, 0, 0, 1], "10.0.0.1"),
            (28, [vec![0; 15], vec![1]].concat(), "::1"),
            (28, [vec![0; 12], vec![1, 2, 3, 4]].concat(), "::1.2.3.4"),
            (
                28,
                [vec![0xfd], vec![0; 9], vec![1, 0], vec![0; 4]].concat(),
                "fd00::100:0:0",
            ),
            (
                33,
                [vec![0, 1, 0, 2, 0, 3], name_to_wire("x.y.")].concat(),
                "1 2 3 x.y.",
            ),
            (12, vec![0xc0, 12], "a.test."),
            (16, b"\x01a\x02\"\xff".to_vec(), "\"a\" \"\\\"\\255\""),
            (6, soa, "ns. h. 0 0 0 0 0"),
            (1, vec![10, 0, 0], "\\# 3 0a0000"),
            (65_280, vec![1, 2], "\\# 2 0102"),
        ] {
            let reply = decode(&message(0, [1, 0, 0], &record(rtype, &rdata)), 9);
            assert_eq!(reply.malformed, None);
            assert_eq!(reply.an[0].rdata(), expected);
            assert_eq!((reply.an[0].owner(), reply.an[0].ttl()), ("a.test.", 30));
        }
    }

    #[test]
    fn what_changes_from_run_to_run_is_masked() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let serial = u32::try_from(now).unwrap().to_be_bytes();
        let soa = [
            name_to_wire("ns."),
            name_to_wire("h."),
            serial.to_vec(),
            vec![0; 16],
        ]
        .concat();
        let reply = decode(&message(0, [0, 1, 0], &record(6, &soa)), 9);
        assert_eq!(reply.ns[0].rdata(), "ns. h. SERIAL 0 0 0 0");

        let mut srv = name_to_wire("_udp.a.test.");
        srv.extend([0, 33, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 9, 0]);
        let reply = decode(&message(0, [0, 0, 1], &srv), 9);
        assert_eq!(reply.ar[0].rdata(), "0 0 CLIENTPORT .");
        let reply = decode(&message(0, [0, 0, 1], &srv), 10);
        assert_eq!(reply.ar[0].rdata(), "0 0 9 .");
    }

    #[test]
    fn odd_messages_say_what_is_odd() {
        for (wire, expected) in [
            (vec![0; 5], Some("short header")),
            (message(0, [1, 0, 0], &[]), Some("error")),
            (message(0, [0, 0, 0], &[1]), Some("trailing bytes")),
            (message(0, [1, 0, 0], &[0xc0, 25]), Some("error")),
            (message(0, [1, 0, 0], &[0x80]), Some("ValueError")),
            (message(0, [0, 0, 0], &[]), None),
        ] {
            assert_eq!(decode(&wire, 9).malformed.as_deref(), expected, "{wire:?}");
        }
    }

    #[test]
    fn the_header_and_opt_are_read() {
        let edns = Edns {
            size: 512,
            version: 0,
            flags: 0x8000,
            options: vec![(10, vec![1, 2])],
        };
        let mut wire = Query::new("a.", "ANY").with_edns(edns).wire(7);
        wire[2..4].copy_from_slice(&0x8533_u16.to_be_bytes());
        let reply = decode(&wire, 9);
        assert_eq!(
            (reply.rcode.as_str(), reply.flags.as_str()),
            ("NXDOMAIN", "AA RD AD CD")
        );
        assert_eq!(reply.q, [["a.", "IN", "ANY"]]);
        let opt = reply.edns.unwrap();
        assert_eq!(
            (opt.size, opt.flags.as_str(), opt.odd),
            (512, "8000", false)
        );
        assert_eq!(opt.opts, [(10, "0102".to_owned())]);
    }
}
