//! `log`: a line a query. The line is formatted here and printed by another thread.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use crate::chain::Context;
use crate::log::Level;
use crate::wire::walk::records;
use crate::wire::{Edns, Flags, RType, Rcode, Reply, Section};

/// What kinds of replies are logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Classes {
    /// NOERROR with an answer, a referral, or nothing at all.
    pub success: bool,
    /// NXDOMAIN, and NODATA with an SOA.
    pub denial: bool,
    /// Everything else, silence and transfers included.
    pub error: bool,
}

impl Classes {
    /// Whether this reply is wanted. The classes are CoreDNS's, NXDOMAIN behind an alias included,
    /// which it takes for an error.
    fn have(self, qtype: RType, reply: &Reply<'_>) -> bool {
        if self.success && self.denial && self.error {
            return true;
        }
        let answers = reply.count(Section::Answer) > 0;
        match reply.rcode() {
            _ if matches!(qtype, RType::AXFR | RType::IXFR) => self.error,
            Rcode::NOERROR if !answers && has_soa(reply) => self.denial,
            Rcode::NOERROR => self.success,
            Rcode::NXDOMAIN if !answers => self.denial,
            _ => self.error,
        }
    }
}

/// Whether there is an SOA in the authority section. There are no answers.
fn has_soa(reply: &Reply<'_>) -> bool {
    let (message, records_at) = reply.message();
    let count = usize::from(reply.count(Section::Authority));
    records(message, records_at, count).any(|record| record.rtype == RType::SOA)
}

/// One piece of a format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// Text that stands as it is.
    Text(Box<str>),
    /// The type asked for.
    Type,
    /// The name asked for.
    Name,
    /// The class asked for.
    Class,
    /// `udp` or `tcp`.
    Proto,
    /// The client's address.
    Remote,
    /// The address asked.
    Local,
    /// The client's port.
    Port,
    /// Octets of the query.
    Size,
    /// The reply's code.
    Rcode,
    /// Octets of the reply.
    Rsize,
    /// Seconds that the answer took.
    Duration,
    /// The reply's flags.
    Rflags,
    /// The client's payload size.
    Bufsize,
    /// Whether DO is set.
    Do,
    /// The message ID.
    Id,
    /// The operation code.
    Opcode,
    /// A label of `metadata`, which no plugin gives: a dash.
    Missing,
}

/// One zone of a `log` and how its queries are logged.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The zone: lower-case wire name and the number of its labels.
    pub zone: (Box<[u8]>, usize),
    /// The line.
    pub format: Vec<Piece>,
    /// Which replies.
    pub classes: Classes,
}

/// All `log`s of a block; the first rule that fits is used.
#[derive(Clone, Debug)]
pub struct Log {
    /// The rules in the Corefile's order.
    pub rules: Vec<Rule>,
}

impl Log {
    pub(crate) fn response(&self, context: &Context<'_>, reply: &Reply<'_>) {
        let rule = self.rule(context);
        let rule = rule.filter(|rule| rule.classes.have(context.query.qtype, reply));
        if let Some(rule) = rule {
            rule.log(context, Some(reply));
        }
    }

    /// Logs a query that gets no reply.
    #[cold]
    pub(crate) fn dropped(&self, context: &Context<'_>) {
        if let Some(rule) = self.rule(context).filter(|rule| rule.classes.error) {
            rule.log(context, None);
        }
    }

    /// The first rule that is about the query's name.
    fn rule(&self, context: &Context<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            let (zone, labels) = &rule.zone;
            context.name.labels_above(zone, *labels).is_some()
        })
    }
}

impl Rule {
    fn log(&self, context: &Context<'_>, reply: Option<&Reply<'_>>) {
        let mut text = String::with_capacity(160);
        for piece in &self.format {
            // Writing to a string cannot fail.
            let _ = write_piece(piece, context, reply, &mut text);
        }
        context.log.send(Level::Info, text);
    }
}

/// What stands for something that is not there.
const NONE: &str = "-";
/// The payload size of clients that do not tell theirs, and the least that counts.
const PAYLOAD_MIN: u16 = 512;

fn write_piece(
    piece: &Piece,
    context: &Context<'_>,
    reply: Option<&Reply<'_>>,
    out: &mut String,
) -> std::fmt::Result {
    let (query, peer) = (&context.query, context.peer);
    match piece {
        Piece::Text(text) => out.write_str(text),
        Piece::Type => write!(out, "{}", query.qtype),
        Piece::Name => crate::wire::name::write_presentation(context.name.wire(), out),
        Piece::Class => write!(out, "{}", query.qclass),
        Piece::Proto => out.write_str(if peer.stream { "tcp" } else { "udp" }),
        Piece::Remote => write_address(peer.remote.ip(), out),
        Piece::Local => write_address(peer.local_address(), out),
        Piece::Port => write!(out, "{}", peer.remote.port()),
        Piece::Size => write!(out, "{}", query.packet.len()),
        Piece::Rcode => match reply.map(Reply::rcode) {
            None => out.write_str(NONE),
            Some(rcode) => match rcode.mnemonic() {
                Some(name) => out.write_str(name),
                None => write!(out, "{}", rcode.0),
            },
        },
        Piece::Rsize => write!(out, "{}", reply.map_or(0, Reply::len)),
        Piece::Duration => {
            let elapsed = Instant::now().saturating_duration_since(peer.received);
            write!(out, "{:.9}s", elapsed.as_secs_f64())
        }
        Piece::Rflags => match reply {
            None => out.write_str(NONE),
            Some(reply) => write_flags(reply.flags(), out),
        },
        Piece::Bufsize => {
            let told = query.edns.as_ref().map_or(0, |edns| edns.payload_size);
            let size = if peer.stream {
                u16::MAX
            } else {
                told.max(PAYLOAD_MIN)
            };
            write!(out, "{size}")
        }
        Piece::Do => write!(out, "{}", query.edns.as_ref().is_some_and(Edns::dnssec_ok)),
        Piece::Id => write!(out, "{}", u16::from_be_bytes(query.id())),
        Piece::Opcode => write!(out, "{}", query.flags.opcode().0),
        Piece::Missing => out.write_str(NONE),
    }
}

fn write_address(address: IpAddr, out: &mut String) -> std::fmt::Result {
    match address {
        IpAddr::V4(v4) => write!(out, "{v4}"),
        IpAddr::V6(v6) => write!(out, "[{v6}]"),
    }
}

fn write_flags(flags: Flags, out: &mut String) -> std::fmt::Result {
    let names = [
        (Flags::QR, "qr"),
        (Flags::AA, "aa"),
        (Flags::TC, "tc"),
        (Flags::RD, "rd"),
        (Flags::RA, "ra"),
        (Flags::Z, "z"),
        (Flags::AD, "ad"),
        (Flags::CD, "cd"),
    ];
    let mut first = true;
    for (_, name) in names.iter().filter(|(bit, _)| flags.has(*bit)) {
        if !first {
            out.write_char(',')?;
        }
        first = false;
        out.write_str(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
