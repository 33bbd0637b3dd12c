//! Queries, well-formed unless asked otherwise.

use super::names::{class_code, name_to_wire, type_code};

/// The OPT record of a query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edns {
    /// Payload size that the client accepts.
    pub size: u16,
    /// EDNS version; 0 is the only one there is.
    pub version: u8,
    /// Flags: 0x8000 is DO.
    pub flags: u16,
    /// Options: code and content.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Default for Edns {
    fn default() -> Self {
        Self {
            size: 1232,
            version: 0,
            flags: 0,
            options: Vec::new(),
        }
    }
}

/// A query with one question.
#[derive(Clone, Debug)]
pub struct Query {
    /// QNAME in presentation form.
    pub name: String,
    /// QTYPE.
    pub rtype: u16,
    /// QCLASS.
    pub class: u16,
    /// The header's flag word; RD is set by default.
    pub flags: u16,
    /// The OPT record, if any.
    pub edns: Option<Edns>,
}

impl Query {
    /// A recursion-desired query of class IN.
    pub fn new(name: &str, rtype: &str) -> Self {
        Self {
            name: name.to_owned(),
            rtype: type_code(rtype),
            class: class_code("IN"),
            flags: RD,
            edns: None,
        }
    }

    /// The same query with an OPT record.
    #[must_use]
    pub fn with_edns(mut self, edns: Edns) -> Self {
        self.edns = Some(edns);
        self
    }

    /// The message.
    pub fn wire(&self, id: u16) -> Vec<u8> {
        let additional = u16::from(self.edns.is_some());
        let mut wire = Vec::with_capacity(64);
        for word in [id, self.flags, 1, 0, 0, additional] {
            wire.extend(word.to_be_bytes());
        }
        wire.extend(name_to_wire(&self.name));
        wire.extend(self.rtype.to_be_bytes());
        wire.extend(self.class.to_be_bytes());
        if let Some(edns) = &self.edns {
            wire.push(0);
            wire.extend(type_code("OPT").to_be_bytes());
            wire.extend(edns.size.to_be_bytes());
            wire.extend([0, edns.version]);
            wire.extend(edns.flags.to_be_bytes());
            let mut options = Vec::new();
            for (code, content) in &edns.options {
                options.extend(code.to_be_bytes());
                options.extend(length(content).to_be_bytes());
                options.extend(content);
            }
            wire.extend(length(&options).to_be_bytes());
            wire.extend(options);
        }
        wire
    }
}

fn length(octets: &[u8]) -> u16 {
    u16::try_from(octets.len()).expect("what a test sends is short")
}

const RD: u16 = 0x0100;
