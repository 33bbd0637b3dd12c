//! `log`: a line a query. The line is formatted here and printed by another thread.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metadata::{Label, Metadata};
use super::surroundings::Asked;
use crate::chain::{Context, Step};
use crate::log::Level;
use crate::wire::walk::records;
use crate::wire::{Edns, Flags, Opcode, Query, RType, Rcode, Reply, Section};

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
    /// What a plugin tells; a dash if none does.
    Label(Label),
    /// `success`, `denial` or `error`; a label of `log` itself.
    ReplyClass,
    /// What kind of reply it is; a label of `log` itself.
    ReplyKind,
    /// A label that no plugin gives: a dash.
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
#[derive(Clone)]
pub struct Log {
    /// The rules in the Corefile's order.
    pub rules: Vec<Rule>,
    /// Where labels come from, with `metadata`.
    pub labels: Option<Arc<Metadata>>,
}

/// What kind of reply it is, as CoreDNS sorts them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// There is an answer, or nothing at all.
    NoError,
    /// There is no such name.
    NameError,
    /// There are no such records.
    NoData,
    /// Other servers know.
    Delegation,
    /// A transfer, or the word that there is one to ask for.
    Meta,
    /// The server failed, or does not know what to do.
    ServerError,
    /// Everything else.
    OtherError,
}

impl Kind {
    fn of(query: &Query<'_>, reply: &Reply<'_>) -> Self {
        let (message, at) = reply.message();
        let (answers, authority) = (
            reply.count(Section::Answer),
            reply.count(Section::Authority),
        );
        let has = |rtype| {
            let records = records(message, at, usize::from(answers + authority));
            let mut behind = records.skip(usize::from(answers));
            behind.any(|record| record.rtype == rtype)
        };
        match reply.rcode() {
            _ if matches!(query.qtype, RType::AXFR | RType::IXFR) => Self::Meta,
            _ if query.flags.opcode() == Opcode::NOTIFY => Self::Meta,
            Rcode::NOERROR if answers > 0 => Self::NoError,
            Rcode::NOERROR if has(RType::SOA) => Self::NoData,
            Rcode::NOERROR if has(RType::NS) => Self::Delegation,
            Rcode::NOERROR => Self::NoError,
            Rcode::NXDOMAIN if has(RType::SOA) => Self::NameError,
            Rcode::SERVFAIL | Rcode::NOTIMP => Self::ServerError,
            _ => Self::OtherError,
        }
    }

    /// As the label `log/type` has it.
    const fn name(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::NameError => "NXDOMAIN",
            Self::NoData => "NODATA",
            Self::Delegation => "DELEGATION",
            Self::Meta => "META",
            Self::ServerError => "SERVERERROR",
            Self::OtherError => "OTHERERROR",
        }
    }

    /// As the label `log/class` has it.
    const fn class(self) -> &'static str {
        match self {
            Self::NoError | Self::Delegation => "success",
            Self::NameError | Self::NoData => "denial",
            Self::Meta | Self::ServerError | Self::OtherError => "error",
        }
    }
}

impl Classes {
    fn have(self, kind: Kind) -> bool {
        match kind.class() {
            "success" => self.success,
            "denial" => self.denial,
            _ => self.error,
        }
    }
}

impl Log {
    /// Whether no answer and no denial is logged, whatever the name.
    pub(crate) fn is_for_failures(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.all(|rule| !rule.classes.success && !rule.classes.denial)
    }

    pub(crate) fn response(&self, context: &Context<'_>, step: Step, reply: &Reply<'_>) {
        if matches!(step, Step::Failed(..)) {
            // What the server then says was not there when CoreDNS wrote the line.
            return self.without_reply(context);
        }
        let kind = Kind::of(&context.query, reply);
        self.log(context, Some(reply), kind);
    }

    /// Logs a query that no stage wrote a reply to.
    #[cold]
    pub(crate) fn without_reply(&self, context: &Context<'_>) {
        self.log(context, None, Kind::OtherError);
    }

    /// The first rule that is about the query's name.
    fn rule(&self, context: &Context<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            let (zone, labels) = &rule.zone;
            context.name.labels_above(zone, *labels).is_some()
        })
    }

    fn log(&self, context: &Context<'_>, reply: Option<&Reply<'_>>, kind: Kind) {
        let Some(rule) = self.rule(context).filter(|rule| rule.classes.have(kind)) else {
            return;
        };
        let asked = Asked::of(context).with(self.labels.as_deref());
        let mut text = String::with_capacity(160);
        for piece in &rule.format {
            // Writing to a string cannot fail.
            let _ = write_piece(piece, context, (reply, kind), &asked, &mut text);
        }
        context.log.send(Level::Info, text);
    }
}

/// As CoreDNS has it: as many digits as it takes to tell it.
fn write_seconds(elapsed: Duration, out: &mut String) -> std::fmt::Result {
    write!(out, "{}s", elapsed.as_secs_f64())
}

/// What stands for something that is not there.
const NONE: &str = "-";
/// The payload size of clients that do not tell theirs, and the least that counts.
const PAYLOAD_MIN: u16 = 512;

fn write_piece(
    piece: &Piece,
    context: &Context<'_>,
    (reply, kind): (Option<&Reply<'_>>, Kind),
    asked: &Asked<'_>,
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
            write_seconds(elapsed, out)
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
        Piece::Label(label) => {
            let labels = asked.labels;
            let value = labels.and_then(|labels| labels.value(*label, asked));
            out.write_str(value.as_deref().unwrap_or(NONE))
        }
        Piece::ReplyClass => out.write_str(kind.class()),
        Piece::ReplyKind => out.write_str(kind.name()),
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
