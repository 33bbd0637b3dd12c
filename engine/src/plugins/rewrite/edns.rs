//! Rules about EDNS options.

use std::net::IpAddr;

use super::super::metadata::{Label, Metadata};
use super::super::surroundings;
use super::answer::ResponseRule;
use crate::chain::Context;
use crate::wire::name::NameText;
use crate::wire::query::options;
use crate::wire::reply::{OwnEdns, echoes};
use crate::wire::{Edns, RType};

/// What a rule does to an option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EdnsAction {
    /// Puts it there, replacing what there is.
    Set,
    /// Puts one more there.
    Append,
    /// Replaces what there is, if there is.
    Replace,
    /// Takes it away.
    Unset,
}

/// The option.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EdnsOption {
    /// Any, with fixed data.
    Local(u16, Box<[u8]>),
    /// Any, with data of the query.
    Variable(u16, Variable),
    /// NSID (RFC 5001), empty.
    Nsid,
    /// The client's subnet (RFC 7871): so many bits of IPv4 and of IPv6 addresses.
    Subnet(u8, u8),
}

/// Data of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Variable {
    /// The name, as text.
    Qname,
    /// The type, two octets.
    Qtype,
    /// The client's address.
    ClientIp,
    /// The client's port, two octets.
    ClientPort,
    /// `udp` or `tcp`.
    Protocol,
    /// The address that was asked.
    ServerIp,
    /// The port that was asked, two octets.
    ServerPort,
    /// What another plugin tells, with `metadata`; `None` for what none does.
    Label(Option<Label>),
}

/// A rule about an option.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EdnsRule {
    /// What is done.
    pub action: EdnsAction,
    /// To which option.
    pub option: EdnsOption,
    /// The reply shows the options that the client sent.
    pub revert: bool,
}

const NSID: u16 = 3;
const SUBNET: u16 = 8;
/// The payload size of a query that gets its EDNS from a rule, as in CoreDNS.
const PAYLOAD_SIZE: u16 = 4_096;

/// The EDNS of a query on its way through the rules.
pub(super) struct Asked {
    /// Payload size and flags.
    head: Option<(u16, u16)>,
    options: Vec<Vec<u8>>,
    /// A rule has had to do with it.
    touched: bool,
    /// The options as octets.
    octets: Vec<u8>,
}

/// The options one by one, each with its code and length.
pub(super) fn list(octets: &[u8]) -> Vec<Vec<u8>> {
    options(octets).map(|(_, option)| option.to_vec()).collect()
}

fn code_of(option: &[u8]) -> u16 {
    option
        .first_chunk()
        .map_or(0, |code| u16::from_be_bytes(*code))
}

fn encode(code: u16, data: &[u8]) -> Vec<u8> {
    let mut option = code.to_be_bytes().to_vec();
    option.extend((data.len() as u16).to_be_bytes());
    option.extend(data);
    option
}

/// Gives back what rules with `revert` took or put.
pub(super) fn undo(rules: &[ResponseRule], options: &mut Vec<Vec<u8>>) {
    for rule in rules.iter().rev() {
        let place = |code| options.iter().position(|option| code_of(option) == code);
        match rule {
            ResponseRule::RemoveOption(code) => {
                if let Some(place) = place(*code) {
                    options.remove(place);
                }
            }
            ResponseRule::RestoreOption(code, old) => {
                if let Some(place) = place(*code) {
                    options[place] = old.to_vec();
                }
            }
            _ => {}
        }
    }
}

impl Asked {
    pub(super) fn new(edns: Option<&Edns<'_>>) -> Self {
        Self {
            head: edns.map(|edns| (edns.payload_size, edns.flags)),
            options: edns.map_or_else(Vec::new, |edns| list(edns.options)),
            touched: false,
            octets: Vec::new(),
        }
    }

    /// What upstreams are asked with.
    pub(super) fn view(&mut self) -> Option<Edns<'_>> {
        self.octets = self.options.concat();
        let (payload_size, flags) = self.head?;
        Some(Edns {
            payload_size,
            version: 0,
            flags,
            options: &self.octets,
        })
    }

    pub(super) fn undo(&mut self, rules: &[ResponseRule]) {
        undo(rules, &mut self.options);
    }

    /// What the client is answered with, if it is not its own EDNS. `also` says of an option's code
    /// that it is sent back besides those that always are.
    pub(super) fn reply(&self, also: impl Fn(u16) -> bool) -> Option<OwnEdns> {
        let (payload_size, flags) = self.head.filter(|_| self.touched)?;
        let options = self.options.iter();
        let options = options.filter(|option| echoes(code_of(option)) || also(code_of(option)));
        Some(OwnEdns {
            payload_size,
            flags,
            options: options.flatten().copied().collect(),
        })
    }
}

impl EdnsRule {
    /// The code of the option, if CoreDNS does not know it by itself.
    pub(super) fn local_code(&self) -> Option<u16> {
        match self.option {
            EdnsOption::Local(code, _) | EdnsOption::Variable(code, _) => Some(code),
            EdnsOption::Nsid | EdnsOption::Subnet(..) => None,
        }
    }

    /// Changes the options; `false` if there was nothing to do.
    pub(super) fn apply(
        &self,
        asked: &mut Asked,
        (name, qtype): (&[u8], RType),
        (context, labels): (&Context<'_>, Option<&Metadata>),
        undo: &mut Vec<ResponseRule>,
    ) -> bool {
        let (code, data) = match &self.option {
            EdnsOption::Local(code, data) => (*code, data.to_vec()),
            EdnsOption::Variable(code, variable) => {
                match variable.data((name, qtype), context, labels) {
                    Some(data) => (*code, data),
                    None => return false,
                }
            }
            EdnsOption::Nsid => (NSID, Vec::new()),
            EdnsOption::Subnet(v4, v6) => (SUBNET, subnet(*v4, *v6, context)),
        };
        asked.touched = true;
        asked.head.get_or_insert((PAYLOAD_SIZE, 0));
        if self.action == EdnsAction::Unset {
            asked.options.retain(|option| code_of(option) != code);
            return true;
        }
        let place = asked
            .options
            .iter()
            .position(|option| code_of(option) == code);
        let replaces = matches!(self.action, EdnsAction::Set | EdnsAction::Replace);
        match place {
            Some(place) if replaces => {
                let old = std::mem::replace(&mut asked.options[place], encode(code, &data));
                if self.revert {
                    undo.push(ResponseRule::RestoreOption(code, old.into()));
                }
                return true;
            }
            // Of these there is one at most.
            Some(_)
                if matches!(
                    self.option,
                    EdnsOption::Variable(..) | EdnsOption::Subnet(..)
                ) =>
            {
                return false;
            }
            _ => {}
        }
        if self.action == EdnsAction::Replace {
            return false;
        }
        asked.options.push(encode(code, &data));
        if self.revert {
            undo.push(ResponseRule::RemoveOption(code));
        }
        true
    }
}

impl Variable {
    fn data(
        self,
        (name, qtype): (&[u8], RType),
        context: &Context<'_>,
        labels: Option<&Metadata>,
    ) -> Option<Vec<u8>> {
        let peer = context.peer;
        let octets = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        Some(match self {
            Self::Qname => NameText::of(name).as_str().as_bytes().to_vec(),
            Self::Qtype => qtype.0.to_be_bytes().to_vec(),
            Self::ClientIp => octets(peer.remote.ip()),
            Self::ClientPort => peer.remote.port().to_be_bytes().to_vec(),
            Self::Protocol => if peer.stream { "tcp" } else { "udp" }.into(),
            Self::ServerIp => octets(peer.local_address()),
            Self::ServerPort => peer.local.port().to_be_bytes().to_vec(),
            Self::Label(label) => {
                let asked = surroundings::Asked::of(context);
                let value = labels?.value(label?, &asked);
                value.filter(|value| !value.is_empty())?.into_bytes()
            }
        })
    }
}

/// Family, prefix length, scope, and the octets of the address that the prefix covers.
fn subnet(v4: u8, v6: u8, context: &Context<'_>) -> Vec<u8> {
    let (family, bits, mut octets) = match context.peer.remote.ip().to_canonical() {
        IpAddr::V4(address) => (1, v4, address.octets().to_vec()),
        IpAddr::V6(address) => (2, v6, address.octets().to_vec()),
    };
    octets.truncate(usize::from(bits).div_ceil(8));
    if let Some(last) = octets.last_mut()
        && bits % 8 > 0
    {
        *last &= 0xff << (8 - bits % 8);
    }
    [&[0, family, bits, 0], &*octets].concat()
}
