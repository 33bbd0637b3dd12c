//! `log`: a line a query. The line is formatted here and printed by another thread.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use crate::chain::{Context, Step};
use crate::log::Level;
use crate::wire::{Edns, Flags, Rcode, Reply, Section};

/// What kinds of replies are logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Classes {
    /// NOERROR with records.
    pub success: bool,
    /// NXDOMAIN and NODATA.
    pub denial: bool,
    /// Everything else.
    pub error: bool,
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
    /// A placeholder of a plugin that is not here: a dash.
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
    pub(crate) fn response(&self, context: &Context<'_>, _step: Step, reply: &Reply<'_>) {
        let Some(rule) = self.rules.iter().find(|rule| {
            context
                .name
                .labels_above(&rule.zone.0, rule.zone.1)
                .is_some()
        }) else {
            return;
        };
        let wanted = match reply.rcode() {
            Rcode::NOERROR if reply.count(Section::Answer) > 0 => rule.classes.success,
            Rcode::NOERROR | Rcode::NXDOMAIN => rule.classes.denial,
            _ => rule.classes.error,
        };
        if wanted {
            let mut text = String::with_capacity(160);
            for piece in &rule.format {
                // Writing to a string cannot fail.
                let _ = write_piece(piece, context, reply, &mut text);
            }
            context.log.send(Level::Info, text);
        }
    }
}

fn write_piece(
    piece: &Piece,
    context: &Context<'_>,
    reply: &Reply<'_>,
    out: &mut String,
) -> std::fmt::Result {
    let query = &context.query;
    match piece {
        Piece::Text(text) => out.write_str(text),
        Piece::Type => write!(out, "{}", query.qtype),
        Piece::Name => crate::wire::name::write_presentation(context.name.wire(), out),
        Piece::Class => write!(out, "{}", query.qclass),
        Piece::Proto => out.write_str(if context.peer.stream { "tcp" } else { "udp" }),
        Piece::Remote => write_address(context.peer.remote.ip(), out),
        Piece::Local => write_address(context.peer.local.ip(), out),
        Piece::Port => write!(out, "{}", context.peer.remote.port()),
        Piece::Size => write!(out, "{}", query.packet.len()),
        Piece::Rcode => write!(out, "{}", reply.rcode()),
        Piece::Rsize => write!(out, "{}", reply.len()),
        Piece::Duration => {
            let elapsed = Instant::now().saturating_duration_since(context.peer.received);
            write!(out, "{:.9}s", elapsed.as_secs_f64())
        }
        Piece::Rflags => write_flags(reply.flags(), out),
        Piece::Bufsize => {
            write!(
                out,
                "{}",
                query.edns.map_or(512, |edns| edns.payload_size.max(512))
            )
        }
        Piece::Do => write!(out, "{}", query.edns.as_ref().is_some_and(Edns::dnssec_ok)),
        Piece::Id => write!(out, "{}", u16::from_be_bytes(query.id())),
        Piece::Opcode => write!(out, "{}", query.flags.opcode().0),
        Piece::Missing => out.write_str("-"),
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
