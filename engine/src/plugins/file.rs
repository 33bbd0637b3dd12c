//! `file`: zones from master files (RFC 1035 §5), served with authority.

pub mod zone;

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use self::zone::{Outcome, Zone};
use super::zones::Zones;
use crate::chain::{Context, Step};
use crate::wire::record::Answer;
use crate::wire::{FoldedName, Opcode, RType, Rcode, Record, Reply, Section};

/// All `file`s of a block.
pub struct File {
    /// The zones that are served.
    pub zones: Zones,
    /// Each zone's origin and records: replaced as a whole when its file changes, absent as long as
    /// there was none to read.
    pub contents: Vec<(Box<[u8]>, Contents)>,
    /// Names in these zones that do not exist are left to the plugins behind.
    pub fallthrough: Zones,
    /// There is no plugin behind.
    pub is_last: bool,
}

/// The records of a zone as long as they are the newest ones.
pub type Contents = Arc<ArcSwapOption<Zone>>;

impl File {
    /// The zone that a name is in. `None` if none is, `Some(None)` if it is not there yet.
    fn zone(&self, context: &Context<'_>) -> Option<Option<Arc<Zone>>> {
        let origin = self.zones.find(context.name)?;
        let mut contents = self.contents.iter();
        let found = contents.find(|(known, _)| **known == *origin);
        Some(found.and_then(|(_, contents)| contents.load_full()))
    }

    /// The zone whose origin the name is, if it is there.
    pub(super) fn exactly(&self, name: &FoldedName) -> Option<Arc<Zone>> {
        let mut contents = self.contents.iter();
        let (_, contents) = contents.find(|(origin, _)| **origin == *name.wire())?;
        contents.load_full()
    }

    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let Some(zone) = self.zone(context) else {
            return if self.is_last {
                Step::Failed(Rcode::REFUSED, "")
            } else {
                Step::Next
            };
        };
        let Some(zone) = zone else {
            return Step::Failed(Rcode::SERVFAIL, "the zone is not loaded");
        };
        let qtype = context.query.qtype;
        if matches!(qtype, RType::AXFR | RType::IXFR) {
            return Step::Failed(Rcode::REFUSED, "");
        }
        if context.query.flags.opcode() == Opcode::NOTIFY {
            return Step::Dropped; // Only secondaries are told.
        }
        let dnssec_ok = context.query.edns.is_some_and(|edns| edns.dnssec_ok());
        let name = context.name;
        let found = zone.look_up(name.wire(), (qtype, dnssec_ok), &mut |target, qtype| {
            ask(context, target, qtype)
        });
        if context.need.is_some() {
            return Step::Slow;
        }
        let is_missing = matches!(found.outcome, Outcome::NameError | Outcome::Parent);
        if found.sections[0].is_empty() && is_missing && self.fallthrough.hold(name) {
            return Step::Next;
        }
        let has_answer = !found.sections[0].is_empty();
        let rcode = match found.outcome {
            Outcome::Failure if !has_answer => return Step::Failed(Rcode::SERVFAIL, ""),
            // RFC 6604 §3: the code is that of the last name.
            Outcome::Failure => Rcode::SERVFAIL,
            Outcome::NameError => Rcode::NXDOMAIN,
            _ => Rcode::NOERROR,
        };
        let is_authoritative = found.outcome != Outcome::Delegation || has_answer;
        reply.set_rcode(rcode);
        if is_authoritative {
            reply.set_authoritative();
        }
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        for (section, records) in sections.into_iter().zip(&found.sections) {
            for record in records {
                record.write(section, reply);
            }
        }
        Step::Answered
    }
}

/// What the server as a whole says about the target of an alias.
fn ask(context: &mut Context<'_>, target: &[u8], qtype: RType) -> (Vec<Record>, Outcome) {
    let Some(answer) = context.look_up(target, qtype, Answer::read) else {
        return (Vec::new(), Outcome::Failure);
    };
    let Some(Answer {
        rcode,
        sections: [records, ..],
        ..
    }) = answer
    else {
        return (Vec::new(), Outcome::Failure);
    };
    let outcome = match rcode {
        Rcode::NXDOMAIN => Outcome::NameError,
        Rcode::SERVFAIL => Outcome::Failure,
        Rcode::NOERROR if records.is_empty() => Outcome::NoData,
        _ => Outcome::Success,
    };
    (records, outcome)
}
