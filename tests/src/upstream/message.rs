//! Replies, octet by octet: tests need messages that no honest library would write.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dns::{class_code, name_to_wire, type_code};

/// A record of a reply: owner, TTL, type and RDATA in presentation form.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) owner: String,
    pub(super) ttl: u32,
    pub(super) rtype: &'static str,
    pub(super) rdata: String,
}

impl Entry {
    pub(super) fn new(
        owner: &str,
        ttl: u32,
        rtype: &'static str,
        rdata: impl Into<String>,
    ) -> Self {
        Self {
            owner: owner.to_owned(),
            ttl,
            rtype,
            rdata: rdata.into(),
        }
    }
}

/// A reply before it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) id: u16,
    /// The flag word without the response code.
    pub(super) flags: u16,
    pub(super) rcode: u16,
    /// Name, class, type.
    pub(super) question: [String; 3],
    pub(super) answer: Vec<Entry>,
    pub(super) authority: Vec<Entry>,
    pub(super) additional: Vec<Entry>,
    /// The flags of OPT and its options, if the query had one.
    pub(super) edns: Option<(u16, Vec<u8>)>,
}

impl Message {
    /// The octets, with every name compressed that can be. As in most servers, and in the one that
    /// the recorded answers were made with, letter case does not matter for that.
    pub(super) fn wire(&self) -> Vec<u8> {
        let sections = [&self.answer, &self.authority, &self.additional];
        let mut writer = Writer::default();
        for word in [self.id, self.flags | self.rcode, 1] {
            writer.u16(word);
        }
        for section in sections {
            writer.length(section.len());
        }
        // The additional section has OPT as well.
        let last = writer.wire.len() - 1;
        writer.wire[last] += u8::from(self.edns.is_some());
        let [name, class, rtype] = &self.question;
        writer.name(name);
        writer.u16(type_code(rtype));
        writer.u16(class_code(class));
        for entry in sections.into_iter().flatten() {
            writer.entry(entry);
        }
        if let Some((flags, options)) = &self.edns {
            writer.wire.push(0);
            for word in [type_code("OPT"), PAYLOAD_SIZE, 0, *flags] {
                writer.u16(word);
            }
            writer.length(options.len());
            writer.wire.extend(options);
        }
        writer.wire
    }
}

#[derive(Default)]
struct Writer {
    wire: Vec<u8>,
    /// Names that are there already, in lower case, and where.
    names: Vec<(Vec<u8>, u16)>,
}

impl Writer {
    fn u16(&mut self, word: u16) {
        self.wire.extend(word.to_be_bytes());
    }

    fn length(&mut self, len: usize) {
        self.u16(u16::try_from(len).expect("messages are small"));
    }

    fn name(&mut self, name: &str) {
        let wire = name_to_wire(name);
        let mut at = 0;
        while wire[at] != 0 {
            let rest = wire[at..].to_ascii_lowercase();
            if let Some((_, place)) = self.names.iter().find(|(known, _)| *known == rest) {
                let pointer = 0xc000 | *place;
                return self.u16(pointer);
            }
            if self.wire.len() < 0x4000 {
                let place = u16::try_from(self.wire.len()).expect("below 0x4000");
                self.names.push((rest, place));
            }
            let end = at + 1 + usize::from(wire[at]);
            self.wire.extend(&wire[at..end]);
            at = end;
        }
        self.wire.push(0);
    }

    fn entry(&mut self, entry: &Entry) {
        self.name(&entry.owner);
        self.u16(type_code(entry.rtype));
        self.u16(class_code("IN"));
        self.wire.extend(entry.ttl.to_be_bytes());
        let place = self.wire.len();
        self.u16(0);
        self.rdata(entry.rtype, &entry.rdata);
        let len = u16::try_from(self.wire.len() - place - 2).expect("RDATA is short");
        self.wire[place..place + 2].copy_from_slice(&len.to_be_bytes());
    }

    fn rdata(&mut self, rtype: &str, text: &str) {
        let words: Vec<_> = text.split(' ').collect();
        let number = |n: usize| words[n].parse::<u32>().expect("a number of an RDATA");
        let short = |n: usize| u16::try_from(number(n)).expect("a small number of an RDATA");
        match rtype {
            "A" => {
                let address: Ipv4Addr = text.parse().expect("A holds an address");
                self.wire.extend(address.octets());
            }
            "AAAA" => {
                let address: Ipv6Addr = text.parse().expect("AAAA holds an address");
                self.wire.extend(address.octets());
            }
            "CNAME" | "NS" | "PTR" => self.name(text),
            "MX" => {
                self.u16(short(0));
                self.name(words[1]);
            }
            "SRV" => {
                (0..3).for_each(|n| self.u16(short(n)));
                // Not compressed (RFC 2782).
                self.wire.extend(name_to_wire(words[3]));
            }
            "SOA" => {
                self.name(words[0]);
                self.name(words[1]);
                (2..7).for_each(|n| self.wire.extend(number(n).to_be_bytes()));
            }
            "TXT" => {
                for string in text.trim_matches('"').split("\" \"") {
                    let len = u8::try_from(string.len()).expect("at most 255 octets");
                    self.wire.push(len);
                    self.wire.extend(string.as_bytes());
                }
            }
            // As for unknown types (RFC 3597): `\# LENGTH HEX`.
            _ => {
                let digits = words[2].as_bytes().chunks(2);
                let octets = digits.map(|pair| {
                    let pair = str::from_utf8(pair).expect("hex is ASCII");
                    u8::from_str_radix(pair, 16).expect("hex digits come in pairs")
                });
                self.wire.extend(octets);
            }
        }
    }
}

/// The payload size that the upstream offers.
const PAYLOAD_SIZE: u16 = 1232;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::decode;

    #[test]
    fn what_is_written_is_read() {
        let message = Message {
            id: 7,
            flags: 0x8180,
            question: ["A.Up.test.", "IN", "ANY"].map(str::to_owned),
            answer: vec![
                Entry::new("a.up.TEST.", 1, "A", "192.0.2.1"),
                Entry::new("a.up.test.", 2, "AAAA", "2001:db8::1"),
                Entry::new("b.up.test.", 3, "CNAME", "a.up.test."),
                Entry::new("b.up.test.", 4, "MX", "10 a.up.test."),
                Entry::new("b.up.test.", 5, "SRV", "1 2 443 a.up.test."),
                Entry::new("b.up.test.", 6, "TXT", "\"one of them\" \"two\""),
                Entry::new("b.up.test.", 7, "TYPE65280", "\\# 4 deadbeef"),
            ],
            authority: vec![Entry::new(".", 8, "SOA", "ns. admin. 1 2 3 4 5")],
            edns: Some((0x8000, vec![0, 3, 0, 0])),
            ..Message::default()
        };
        let reply = decode(&message.wire(), 0);
        assert_eq!(reply.malformed, None);
        assert_eq!(reply.q, [["A.Up.test.", "IN", "ANY"]]);
        let facts: Vec<_> = reply
            .an
            .iter()
            .map(|record| (record.owner(), record.ttl(), record.rdata()))
            .collect();
        let expected = [
            ("A.Up.test.", 1, "192.0.2.1"),
            ("A.Up.test.", 2, "2001:db8::1"),
            ("b.Up.test.", 3, "A.Up.test."),
            ("b.Up.test.", 4, "10 A.Up.test."),
            ("b.Up.test.", 5, "1 2 443 a.up.test."),
            ("b.Up.test.", 6, "\"one of them\" \"two\""),
            ("b.Up.test.", 7, "\\# 4 deadbeef"),
        ];
        assert_eq!(facts, expected);
        assert_eq!(reply.ns[0].rdata(), "ns. admin. 1 2 3 4 5");
        let opt = reply.edns.expect("it was given");
        assert_eq!((opt.size, opt.flags.as_str()), (1232, "8000"));
        assert_eq!(opt.opts, [(3, String::new())]);
    }
}
