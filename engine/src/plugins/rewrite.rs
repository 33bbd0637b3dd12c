//! `rewrite`: asks something else than the client did, and has the answer look as if it had not.
//!
//! Rules are tried in the order of the file. Those that change the query do so at once, each seeing
//! what those before it made of the query; what they have to undo in the reply is noted, and done in
//! reverse order. A query that no rule is about costs the comparisons only: see [`Matcher`].

mod answer;
mod edns;
mod matcher;

use std::sync::Arc;

use super::ends::{Ends, Screen, Sieve};
use super::metadata::Metadata;
use crate::chain::{Context, Stage, Step};
use crate::wire::message::compose;
use crate::wire::name::{NameText, wire_from_presentation};
use crate::wire::{Class, RType, Rcode, Reply};

pub use self::answer::{Respell, ResponseRule};
pub use self::edns::{EdnsAction, EdnsOption, EdnsRule, Variable};
pub use self::matcher::{Form, Matcher};

/// The rules of a block.
pub struct Rewrite {
    /// In the order of the file.
    rules: Box<[Rule]>,
    /// For each of them.
    screens: Box<[Screen]>,
    /// For all of them.
    sieve: Sieve,
    /// Where labels come from, with `metadata`.
    labels: Option<Arc<Metadata>>,
}

/// One rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// `continue`: further rules are tried.
    pub continues: bool,
    /// What it does.
    pub action: Action,
}

/// What a rule does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Another name is asked for.
    Name {
        /// Which names are meant.
        from: Matcher,
        /// What takes the place of what matched; `{1}` and so on are groups of an expression.
        to: Box<str>,
        /// The reply shows the name that was asked for, as far as its records know only the new one.
        auto: bool,
        /// What is done to the reply besides.
        answers: Vec<ResponseRule>,
    },
    /// The reply to these names is changed.
    Response(Matcher, ResponseRule),
    /// The reply to any name is changed.
    AnyResponse(ResponseRule),
    /// Another type is asked for.
    Type(RType, RType),
    /// Another class is asked for.
    Class(Class, Class),
    /// The query has other EDNS options.
    Edns(EdnsRule),
}

/// What is asked, on its way through the rules.
struct Asked {
    /// The name as it will be asked.
    wire: Vec<u8>,
    /// The name in lower case, as text.
    text: String,
    qtype: RType,
    qclass: Class,
    edns: edns::Asked,
}

impl Rewrite {
    /// Rules in the order of the file.
    pub fn new(rules: Vec<Rule>, labels: Option<Arc<Metadata>>) -> Self {
        let screen = |rule: &Rule| match &rule.action {
            Action::Name { from: matcher, .. } | Action::Response(matcher, _) => matcher.screen(),
            _ => Screen::OPEN,
        };
        let screens: Box<[_]> = rules.iter().map(screen).collect();
        Self {
            sieve: Sieve::of(&screens),
            screens,
            rules: rules.into(),
            labels,
        }
    }

    pub(crate) fn query(&self, context: &Context<'_>) -> Step {
        let asked = (context.query.qtype, context.query.qclass);
        if self.is_about(asked, context.name.wire()) {
            Step::Wraps
        } else {
            Step::Next
        }
    }

    /// Whether a rule is about a query of this type and class, and of this lower-case wire name. If none
    /// is, this stage does nothing.
    #[inline]
    pub(crate) fn is_about(&self, asked: (RType, Class), wire: &[u8]) -> bool {
        let ends = Ends::of(wire);
        self.sieve.passes(&ends) && self.is_about_any(asked, wire, &ends)
    }

    // Apart, so that it does not crowd the way of the many names that no rule is about.
    #[inline(never)]
    fn is_about_any(&self, (qtype, qclass): (RType, Class), wire: &[u8], ends: &Ends) -> bool {
        let mut text = None;
        let mut passing = self.screens.iter().zip(&self.rules);
        passing.any(|(screen, rule)| {
            screen.passes(ends)
                && match &rule.action {
                    Action::Name { from: matcher, .. } | Action::Response(matcher, _) => {
                        matcher.may_match(wire)
                            && matcher
                                .is_match(text.get_or_insert_with(|| NameText::of(wire)).as_str())
                    }
                    Action::Type(from, _) => *from == qtype,
                    Action::Class(from, _) => *from == qclass,
                    Action::Edns(_) | Action::AnyResponse(_) => true,
                }
        })
    }

    pub(crate) fn wrap(
        &self,
        context: &mut Context<'_>,
        rest: &[Stage],
        reply: &mut Reply<'_>,
    ) -> Step {
        let mut asked = Asked {
            wire: context.query.name_as_sent().to_vec(),
            text: NameText::of(context.name.wire()).as_str().to_owned(),
            qtype: context.query.qtype,
            qclass: context.query.qclass,
            edns: edns::Asked::new(context.query.edns.as_ref()),
        };
        let mut undo = Vec::new();
        let known = (&*context, self.labels.as_deref());
        for rule in &*self.rules {
            let Some(done) = rule.action.apply(&mut asked, known, &mut undo) else {
                return Step::Failed(Rcode::SERVFAIL, "invalid name after rewrite");
            };
            if done && !rule.continues {
                break;
            }
        }
        let edns = asked.edns.view();
        let packet = compose(
            (context.query.id(), context.query.flags),
            (&asked.wire, asked.qtype, asked.qclass),
            edns.as_ref(),
        );
        let (step, mut answer) = context.serve_rest(&packet, rest);
        if matches!(step, Step::Dropped | Step::Slow) {
            return step;
        }
        if answer::undo(&undo, &mut answer, asked.qtype, context).is_none() {
            return Step::Slow;
        }
        asked.edns.undo(&undo);
        if let Some(own) = asked.edns.reply(self.local_codes()) {
            reply.set_edns(own, context.peer.stream);
        }
        match step {
            Step::Failed(_, cause) => Step::Failed(answer.rcode, cause),
            _ => {
                answer.put(reply);
                step
            }
        }
    }

    /// Options that rules are about are sent back.
    fn local_codes(&self) -> impl Fn(u16) -> bool {
        |code| {
            self.rules.iter().any(|rule| match &rule.action {
                Action::Edns(edns) => edns.local_code() == Some(code),
                _ => false,
            })
        }
    }
}

impl Action {
    /// Changes the query, and notes what is to be done to the reply. Says whether there was anything
    /// to do; `None` if what comes out is not a name.
    fn apply(
        &self,
        asked: &mut Asked,
        known: (&Context<'_>, Option<&Metadata>),
        undo: &mut Vec<ResponseRule>,
    ) -> Option<bool> {
        match self {
            Self::Name {
                from,
                to,
                auto,
                answers,
            } => {
                let Some(new) = from.replace(&asked.text, to) else {
                    return Some(false);
                };
                asked.wire = wire_from_presentation(&new)?;
                let old = std::mem::replace(&mut asked.text, new);
                if *auto {
                    let respell = Respell::reverting(from, to, &asked.text, &old);
                    undo.push(ResponseRule::Name(respell.clone()));
                    undo.push(ResponseRule::Value(respell));
                }
                asked.text.make_ascii_lowercase();
                undo.extend(answers.iter().cloned());
            }
            Self::Response(when, rule) if when.is_match(&asked.text) => undo.push(rule.clone()),
            Self::AnyResponse(rule) => undo.push(rule.clone()),
            Self::Type(from, to) if *from == asked.qtype => asked.qtype = *to,
            Self::Class(from, to) if *from == asked.qclass => asked.qclass = *to,
            Self::Edns(rule) => {
                let name = &asked.wire;
                return Some(rule.apply(&mut asked.edns, (name, asked.qtype), known, undo));
            }
            Self::Response(..) | Self::Type(..) | Self::Class(..) => return Some(false),
        }
        Some(true)
    }
}

#[cfg(test)]
mod tests;
