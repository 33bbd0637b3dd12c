//! What expressions of `view` and `template` can ask of a query.

use std::net::IpAddr;

use super::metadata::{Label, Metadata};
use crate::chain::{Context, Peer};
use crate::gathered::Gathered;
use crate::script::expr::Surroundings;
use crate::script::{ScriptError, Value};
use crate::wire::FoldedName;
use crate::wire::name::NameText;
use crate::wire::query::Query;

/// The functions, and how many arguments each takes.
pub const FUNCTIONS: [(&str, usize); 15] = [
    ("incidr", 2),
    ("metadata", 1),
    ("type", 0),
    ("name", 0),
    ("class", 0),
    ("proto", 0),
    ("size", 0),
    ("client_ip", 0),
    ("port", 0),
    ("id", 0),
    ("opcode", 0),
    ("do", 0),
    ("bufsize", 0),
    ("server_ip", 0),
    ("server_port", 0),
];

/// A query, as expressions see it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) query: &'a Query<'a>,
    /// The name in lower case.
    pub(crate) name: &'a FoldedName,
    /// The name that the client asked for, which `rewrite` may have changed since.
    pub(crate) original: &'a FoldedName,
    pub(crate) peer: &'a Peer,
    pub(crate) gathered: Option<&'a Gathered>,
    /// Where labels come from, with `metadata`.
    pub(crate) labels: Option<&'a Metadata>,
}

impl<'a> Asked<'a> {
    /// A query at the beginning of its way.
    pub(crate) const fn new(query: &'a Query<'a>, name: &'a FoldedName, peer: &'a Peer) -> Self {
        Self {
            query,
            name,
            original: name,
            peer,
            gathered: None,
            labels: None,
        }
    }

    /// A query on its way.
    pub(crate) fn of(context: &'a Context<'_>) -> Self {
        Self {
            original: context.original.unwrap_or(context.name),
            gathered: context.gathered,
            ..Self::new(&context.query, context.name, context.peer)
        }
    }

    /// The same, with labels.
    pub(crate) fn with(self, labels: Option<&'a Metadata>) -> Self {
        Self { labels, ..self }
    }

    /// The value of a label by its name, empty if there is none.
    pub(crate) fn label(&self, name: &str) -> Value {
        let value = self.labels.zip(Label::named(name));
        let value = value.and_then(|(labels, label)| labels.value(label, self));
        Value::Str(value.unwrap_or_default())
    }
}

impl Surroundings for Asked<'_> {
    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, ScriptError> {
        let (query, peer) = (self.query, self.peer);
        Ok(match (name, arguments) {
            ("incidr", [Value::Str(address), Value::Str(network)]) => {
                let address = address.parse::<IpAddr>();
                let network = network.parse::<ipnet::IpNet>();
                let (Ok(address), Ok(network)) = (address, network) else {
                    return ScriptError::new("incidr needs an address and a network");
                };
                Value::Bool(network.contains(&address))
            }
            ("metadata", [Value::Str(name)]) => self.label(name),
            ("type", []) => Value::Str(query.qtype.to_string()),
            ("name", []) => Value::str(NameText::of(self.name.wire()).as_str()),
            ("class", []) => Value::Str(query.qclass.to_string()),
            ("proto", []) => Value::str(if peer.stream { "tcp" } else { "udp" }),
            ("size", []) => Value::Int(query.packet.len() as i64),
            ("client_ip", []) => Value::Str(peer.remote.ip().to_canonical().to_string()),
            ("port", []) => Value::Str(peer.remote.port().to_string()),
            ("id", []) => Value::Int(i64::from(u16::from_be_bytes(query.id()))),
            ("opcode", []) => Value::Int(i64::from(query.flags.opcode().0)),
            ("do", []) => Value::Bool(query.edns.is_some_and(|edns| edns.dnssec_ok())),
            ("bufsize", []) => Value::Int(match &query.edns {
                _ if peer.stream => 65_535,
                None => 512,
                Some(edns) => i64::from(edns.payload_size.max(512)),
            }),
            ("server_ip", []) => Value::Str(peer.local_address().to_canonical().to_string()),
            ("server_port", []) => Value::Str(peer.local.port().to_string()),
            _ => {
                return ScriptError::new(format!("`{name}` cannot be applied to what it is given"));
            }
        })
    }

    fn variable(&self, _: &str) -> Value {
        Value::Nil
    }
}
