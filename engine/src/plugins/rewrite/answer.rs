//! What rules do to the reply.

use super::matcher::{Matcher, expand};
use crate::chain::Context;
use crate::pattern::Pattern;
use crate::wire::name::{NameText, wire_from_presentation};
use crate::wire::{Answer, Flags, RType, Rcode, Record};

/// How a name in the reply is spelled anew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Respell {
    /// This name and those below it.
    Under(Box<str>, Box<str>),
    /// Names that end in this.
    Suffix(Box<str>, Box<str>),
    /// Names that match this; `{1}` and so on are groups.
    Regex(Pattern, Box<str>),
}

impl Respell {
    /// What undoes a rule that made `new` of `old`.
    pub(super) fn reverting(from: &Matcher, to: &str, new: &str, old: &str) -> Self {
        match from.suffix() {
            // Ends are turned round for all names in the reply, not only for those below `new`.
            Some(suffix) => Self::Suffix(to.into(), suffix.into()),
            None => Self::Under(new.into(), old.into()),
        }
    }

    fn respell(&self, name: &str) -> Option<String> {
        match self {
            Self::Under(from, to) => {
                let before = name.strip_suffix(&**from)?;
                (before.is_empty() || before.ends_with('.')).then(|| format!("{before}{to}"))
            }
            Self::Suffix(from, to) => Some(format!("{}{to}", name.strip_suffix(&**from)?)),
            Self::Regex(pattern, to) => expand(pattern, name, to),
        }
    }

    /// The wire form of the new spelling, if there is one.
    fn respell_wire(&self, wire: &[u8]) -> Option<Vec<u8>> {
        wire_from_presentation(&self.respell(NameText::of(wire).as_str())?)
    }
}

/// What is done to a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ResponseRule {
    /// Owner names.
    Name(Respell),
    /// Names in record data.
    Value(Respell),
    /// TTLs get at least and at most so many seconds.
    Ttl(u32, u32),
    /// One code in the place of another.
    Rcode(Rcode, Rcode),
    /// CNAMEs lead elsewhere: what the target matches, and what it becomes.
    Cname(Matcher, Box<str>),
    /// An EDNS option that a rule put in is taken out.
    RemoveOption(u16),
    /// An EDNS option that a rule replaced becomes what it was.
    RestoreOption(u16, Box<[u8]>),
}

/// A record of the answer section, and its place in the reply as it came.
type Numbered = (Option<usize>, Record);

/// Applies the rules, last one first. `None` if that needs I/O, which the context's need names.
pub(super) fn undo(
    rules: &[ResponseRule],
    answer: &mut Answer,
    qtype: RType,
    context: &mut Context<'_>,
) -> Option<()> {
    if rules.is_empty() {
        return Some(());
    }
    let [answers, authorities, additionals] = &mut answer.sections;
    let is_empty = answers.is_empty() && authorities.is_empty() && additionals.is_empty();
    let mut rcode = answer.rcode;
    for record in authorities.iter_mut().chain(additionals) {
        rules
            .iter()
            .rev()
            .for_each(|rule| rule.change(record, &mut rcode));
    }
    // A CNAME that leads elsewhere replaces what is behind it; what was behind it is still seen by
    // the rules, but nobody gets it.
    let came = std::mem::take(answers);
    let mut now = came.iter().cloned().enumerate();
    let mut now = now
        .by_ref()
        .map(|(n, record)| (Some(n), record))
        .collect::<Vec<Numbered>>();
    for (number, mut gone) in came.into_iter().enumerate() {
        for rule in rules.iter().rev() {
            let place = now.iter().position(|(known, _)| *known == Some(number));
            let record = place.map_or(&mut gone, |place| &mut now[place].1);
            if let ResponseRule::Cname(from, to) = rule {
                let record = record.clone();
                let truncated = redirect(from, to, &record, &mut now, qtype, context)?;
                if let Some(truncated) = truncated {
                    answer.flags.0 = (answer.flags.0 & !Flags::TC) | truncated;
                }
            } else {
                rule.change(record, &mut rcode);
            }
        }
    }
    answer.sections[0] = now.into_iter().map(|(_, record)| record).collect();
    if is_empty {
        for rule in rules.iter().rev() {
            if let ResponseRule::Rcode(old, new) = rule
                && rcode == *old
            {
                rcode = *new;
            }
        }
    } else if let Some((_, options)) = &mut answer.opt {
        let mut list = super::edns::list(options);
        super::edns::undo(rules, &mut list);
        *options = list.concat().into();
    }
    answer.rcode = rcode;
    Some(())
}

impl ResponseRule {
    fn change(&self, record: &mut Record, rcode: &mut Rcode) {
        match self {
            Self::Name(respell) => {
                if let Some(owner) = respell.respell_wire(&record.owner) {
                    record.owner = owner;
                }
            }
            Self::Value(respell) => {
                if let Some(target) = record.target().and_then(|name| respell.respell_wire(name)) {
                    record.set_target(&target);
                }
            }
            Self::Ttl(min, max) => record.ttl = record.ttl.max(*min).min((*max).max(*min)),
            Self::Rcode(old, new) => {
                if *rcode == *old {
                    *rcode = *new;
                }
            }
            Self::Cname(..) | Self::RemoveOption(_) | Self::RestoreOption(..) => {}
        }
    }
}

/// Has a CNAME lead elsewhere, and puts what is there behind it. Says with which TC flag that
/// came, if anything was done; `None` if that needs I/O.
fn redirect(
    from: &Matcher,
    to: &str,
    record: &Record,
    now: &mut Vec<Numbered>,
    qtype: RType,
    context: &mut Context<'_>,
) -> Option<Option<u16>> {
    let target = record.target().filter(|_| record.rtype == RType::CNAME);
    let new = target.and_then(|target| from.replace(NameText::of(target).as_str(), to));
    let (Some(target), Some(new)) = (target, new) else {
        return Some(None);
    };
    let Some(new) = wire_from_presentation(&new) else {
        return Some(None);
    };
    let Some(Some(found)) = context.look_up(&new, qtype, Answer::read) else {
        return context.need.is_none().then_some(None);
    };
    let mut answers = Vec::new();
    for (number, mut record) in now.drain(..) {
        if record.rtype == RType::CNAME {
            let is_ours = record.target() == Some(target);
            if is_ours {
                record.set_target(&new);
            }
            answers.push((number, record));
            if is_ours {
                break;
            }
        }
    }
    let [behind, ..] = found.sections;
    answers.extend(behind.into_iter().map(|record| (None, record)));
    *now = answers;
    Some(Some(found.flags.0 & Flags::TC))
}
