//! Replies as plain facts, in the form in which recorded answers are stored.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What came back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// No message: `timeout`, `closed`, or the name of an error.
    Nothing(String),
    /// A message.
    Reply(Box<Reply>),
}

impl Answer {
    /// The reply, if there is one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Nothing(_) => None,
            Self::Reply(reply) => Some(reply),
        }
    }
}

/// A message, taken apart. Sections are sorted, since the order inside an RRset means nothing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reply {
    /// Length in octets, where TC is set. Never compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<usize>,
    /// Why the message could not be read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed: Option<String>,
    /// Response code, the extended bits included.
    pub rcode: String,
    /// Those set of AA TC RD RA Z AD CD, in this order.
    pub flags: String,
    /// Opcode, where it is not QUERY.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opcode: Option<u8>,
    /// 0 where QR is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qr: Option<u8>,
    /// The questions as echoed: name, class, type.
    pub q: Vec<[String; 3]>,
    /// Types of the answer section in sequence, runs collapsed; only where a CNAME has company.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Answer section.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub an: Vec<Record>,
    /// Authority section.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ns: Vec<Record>,
    /// Additional section without OPT.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ar: Vec<Record>,
    /// The OPT record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edns: Option<OptRecord>,
    /// Of all messages of a zone transfer, whose records are those of the answer section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xfr: Option<Transfer>,
}

/// How a zone came.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Transfer {
    /// How many records.
    pub records: usize,
    /// The first is a SOA record.
    pub soa_first: bool,
    /// The last is another one.
    pub soa_last: bool,
}

impl Reply {
    /// True when the flag (`AA`, `TC`, …) is set.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.split(' ').any(|set| set == flag)
    }

    /// The addresses of the answer section, sorted.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<_> = self.rdata("A").chain(self.rdata("AAAA")).collect();
        addresses.sort_unstable();
        addresses
            .iter()
            .map(|text| text.parse().expect("A and AAAA hold addresses"))
            .collect()
    }

    /// The text of the answer section's records of one type.
    pub fn rdata<'a>(&'a self, rtype: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.an
            .iter()
            .filter(move |record| record.rtype() == rtype)
            .map(Record::rdata)
    }
}

/// A record: owner as sent, TTL in seconds, class, type, RDATA in presentation form.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Record(pub String, pub u32, pub String, pub String, pub String);

impl Record {
    /// The owner name as sent.
    pub fn owner(&self) -> &str {
        &self.0
    }

    /// The TTL in seconds.
    pub fn ttl(&self) -> u32 {
        self.1
    }

    /// The type's mnemonic.
    pub fn rtype(&self) -> &str {
        &self.3
    }

    /// The RDATA in presentation form.
    pub fn rdata(&self) -> &str {
        &self.4
    }
}

/// The OPT record of a reply.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OptRecord {
    /// Owner; `.` unless something is wrong.
    pub name: String,
    /// Payload size.
    pub size: u16,
    /// EDNS version.
    pub version: u8,
    /// Flags in hex.
    pub flags: String,
    /// Options: code and content in hex.
    pub opts: Vec<(u16, String)>,
    /// True when OPT is not in the additional section, or not alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub odd: bool,
}
