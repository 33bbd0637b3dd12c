//! `template`: answers that are put together from the question.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::metadata::Metadata;
use super::surroundings::Asked;
use super::zones::Zones;
use crate::chain::{Context, Step};
use crate::metrics::{Labelled, TemplateCount, TemplateEvent};
use crate::pattern::Pattern;
use crate::script::expr::{Expression, Surroundings};
use crate::script::template::{Data, Fields, Template};
use crate::script::{ScriptError, Value};
use crate::wire::name::NameText;
use crate::wire::{Answer, Class, Flags, Query, RType, Rcode, Record, Reply, text};

/// The `template`s of a block.
pub struct Templates {
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// Where labels come from, with `metadata`.
    pub labels: Option<Arc<Metadata>>,
    /// What is counted of them.
    pub counts: Arc<Labelled<TemplateCount>>,
}

/// One `template`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The class that it is for; ANY for all.
    pub class: Class,
    /// The type that it is for; ANY for all.
    pub rtype: RType,
    /// The zones that it is for.
    pub zones: Zones,
    /// `match`: the first that the name matches is used; all names match if there is none.
    pub patterns: Vec<Pattern>,
    /// `var`: values under names.
    pub variables: Vec<(String, Expression)>,
    /// `expr`: all must be true.
    pub conditions: Vec<Expression>,
    /// Records by section.
    pub sections: [Vec<Template>; 3],
    /// The code.
    pub rcode: Rcode,
    /// `ederror`: why, as code and text (RFC 8914).
    pub extended_error: Option<(u16, String)>,
    /// Names in these zones that do not match are left to what is behind.
    pub fallthrough: Zones,
}

/// What templates know.
pub const FIELDS: &Fields = &[
    ("Zone", &[]),
    ("Name", &[]),
    ("Regex", &[]),
    ("Match", &[]),
    ("Group", &[]),
    ("Class", &[]),
    ("Type", &[]),
    ("Message", &MESSAGE),
    ("Question", &["Name", "Qtype", "Qclass"]),
    ("Remote", &[]),
    ("Var", &[]),
    ("Meta", &[]),
];

const MESSAGE: [&str; 13] = [
    "Id",
    "Response",
    "Opcode",
    "Authoritative",
    "Truncated",
    "RecursionDesired",
    "RecursionAvailable",
    "Zero",
    "AuthenticatedData",
    "CheckingDisabled",
    "Rcode",
    "Compress",
    "Question",
];

/// The sections by their places.
const SECTIONS: [&str; 3] = ["answer", "authority", "additional"];

/// What a rule says of a query.
enum Verdict<'r> {
    Matches(Box<Matched<'r>>),
    /// The next rule is asked.
    Passes,
    /// No other rule is asked.
    Refuses,
}

/// A query that a rule matches.
struct Matched<'r> {
    rule: &'r Rule,
    zone: String,
    pattern: String,
    groups: Vec<(Option<String>, String)>,
    variables: BTreeMap<String, Value>,
}

impl Templates {
    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let mut text = None;
        for rule in &self.rules {
            let matched = match rule.judge(context, self.labels.as_deref(), &mut text) {
                Verdict::Passes => continue,
                Verdict::Refuses => return Step::Failed(Rcode::SERVFAIL, ""),
                Verdict::Matches(matched) => matched,
            };
            let answered = if rule.rcode == Rcode::SERVFAIL {
                Ok(Step::Failed(Rcode::SERVFAIL, ""))
            } else {
                matched.answer(context, self.labels.as_deref(), reply)
            };
            self.count(&matched, context, TemplateEvent::Match);
            return answered.unwrap_or_else(|event| {
                self.count(&matched, context, event);
                Step::Failed(Rcode::SERVFAIL, "the template gives no record")
            });
        }
        Step::Next
    }

    fn count(&self, matched: &Matched<'_>, context: &mut Context<'_>, event: TemplateEvent) {
        let (class, rtype) = matched.kind(&context.query);
        let zone = matched.zone.as_str().into();
        let what = TemplateCount {
            zone,
            class,
            rtype,
            event,
        };
        context.count_at_end(&self.counts, what);
    }
}

impl Rule {
    fn judge(
        &self,
        context: &Context<'_>,
        labels: Option<&Metadata>,
        text: &mut Option<NameText>,
    ) -> Verdict<'_> {
        let (qclass, qtype) = (context.query.qclass, context.query.qtype);
        let Some(zone) = self.zones.find(context.name) else {
            return Verdict::Passes;
        };
        let is_class = [self.class, qclass].contains(&Class::ANY) || self.class == qclass;
        let is_type = [self.rtype, qtype].contains(&RType::ANY) || self.rtype == qtype;
        if !is_class || !is_type {
            return Verdict::Passes;
        }
        let falls = || {
            if self.fallthrough.hold(context.name) {
                Verdict::Passes
            } else {
                Verdict::Refuses
            }
        };
        let name = text.get_or_insert_with(|| NameText::of(context.name.wire()));
        let name = name.as_str();
        let pattern = self.patterns.iter().find(|pattern| pattern.is_match(name));
        if pattern.is_none() && !self.patterns.is_empty() {
            return falls();
        }
        let groups = match pattern.and_then(|pattern| Some((pattern, pattern.captures(name)?))) {
            None => vec![(None, name.to_owned())],
            Some((pattern, captures)) => {
                let names = pattern.capture_names();
                let values = captures.iter();
                let values =
                    values.map(|group| group.map_or("", |group| group.as_str()).to_owned());
                names
                    .map(|name| name.map(str::to_owned))
                    .zip(values)
                    .collect()
            }
        };
        let mut matched = Box::new(Matched {
            rule: self,
            zone: NameText::of(zone).as_str().to_owned(),
            pattern: pattern.map_or(".*", |pattern| pattern.as_str()).to_owned(),
            groups,
            variables: BTreeMap::new(),
        });
        let asked = Asked::of(context).with(labels);
        for (name, expression) in &self.variables {
            match expression.evaluate(&Outside(asked, &matched)) {
                Ok(value) => matched.variables.insert(name.clone(), value),
                Err(_) => return Verdict::Refuses,
            };
        }
        for condition in &self.conditions {
            match condition.evaluate(&Outside(asked, &matched)) {
                Ok(Value::Bool(true)) => {}
                Ok(_) => return falls(),
                Err(_) => return Verdict::Refuses,
            }
        }
        Verdict::Matches(matched)
    }
}

/// What expressions of a rule can ask: of the query, and of the match.
struct Outside<'a>(Asked<'a>, &'a Matched<'a>);

impl Surroundings for Outside<'_> {
    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, ScriptError> {
        match (name, arguments) {
            ("group", [Value::Int(number)]) => Ok(self.1.group(&number.to_string())),
            ("group", [Value::Str(name)]) => Ok(self.1.group(name)),
            ("group", _) => Ok(Value::str("")),
            _ => self.0.call(name, arguments),
        }
    }

    fn variable(&self, name: &str) -> Value {
        self.1.variables.get(name).cloned().unwrap_or_default()
    }
}

impl Matched<'_> {
    /// Groups by number and by name; of a name that several have, the last.
    fn by_name(&self) -> BTreeMap<String, Value> {
        let numbered = self.groups.iter().enumerate();
        let numbered = numbered.map(|(number, (_, value))| (number.to_string(), value));
        let named = self.groups.iter();
        let named = named.filter_map(|(name, value)| Some((name.clone()?, value)));
        let all = numbered.chain(named);
        all.map(|(name, value)| (name, Value::str(value))).collect()
    }

    fn group(&self, name: &str) -> Value {
        self.by_name()
            .remove(name)
            .unwrap_or_else(|| Value::str(""))
    }

    /// The class and the type that are asked for; where any will do, those of the rule.
    fn kind(&self, query: &Query<'_>) -> (&'static str, &'static str) {
        let class = match query.qclass {
            Class::ANY => self.rule.class,
            class => class,
        };
        let rtype = match query.qtype {
            RType::ANY => self.rule.rtype,
            rtype => rtype,
        };
        let name = Option::unwrap_or_default;
        (name(class.mnemonic()), name(rtype.mnemonic()))
    }

    fn answer(
        &self,
        context: &mut Context<'_>,
        labels: Option<&Metadata>,
        reply: &mut Reply<'_>,
    ) -> Result<Step, TemplateEvent> {
        let rule = self.rule;
        let mut answer = Answer {
            flags: Flags(reply.flags().0 | Flags::AA),
            rcode: rule.rcode,
            ..Answer::default()
        };
        for place in 0..3 {
            for template in &rule.sections[place] {
                let record = self.record(template, place, context, labels)?;
                let qtype = context.query.qtype;
                let target = (place == 0
                    && record.rtype == RType::CNAME
                    && matches!(qtype, RType::A | RType::AAAA))
                .then(|| record.rdata.clone());
                answer.sections[place].push(record);
                let Some(target) = target else {
                    continue;
                };
                let behind = context.look_up(&target, qtype, Answer::read);
                if context.need.is_some() {
                    return Ok(Step::Slow);
                }
                if let Some(Some(behind)) = behind {
                    let [records, ..] = behind.sections;
                    answer.flags.0 = (answer.flags.0 & !Flags::TC) | (behind.flags.0 & Flags::TC);
                    answer.sections[place].extend(records);
                }
            }
        }
        if let Some((code, text)) = &rule.extended_error {
            answer.opt = Some((crate::wire::Edns::DO, extended_error(*code, text)));
        }
        answer.put(reply);
        Ok(Step::Answered)
    }

    fn record(
        &self,
        template: &Template,
        section: usize,
        context: &mut Context<'_>,
        labels: Option<&Metadata>,
    ) -> Result<Record, TemplateEvent> {
        let known = Known {
            matched: self,
            context,
            labels,
        };
        let section = SECTIONS[section];
        let rendered = template.render(&known);
        let line = rendered.map_err(|error| {
            context.cause = Some(error.to_string());
            TemplateEvent::TemplateFailure(section, template.text().into())
        })?;
        text::record(&line).map_err(|error| {
            context.cause = Some(error.to_string());
            TemplateEvent::RecordFailure(section, template.text().into())
        })
    }
}

/// The octets of an extended error (RFC 8914 §2), as the only option.
pub(super) fn extended_error(code: u16, text: &str) -> Box<[u8]> {
    const EXTENDED_ERROR: u16 = 15;
    let mut option = EXTENDED_ERROR.to_be_bytes().to_vec();
    option.extend((text.len() as u16 + 2).to_be_bytes());
    option.extend(code.to_be_bytes());
    option.extend(text.as_bytes());
    option.into()
}

/// What templates are told.
struct Known<'a, 'q> {
    matched: &'a Matched<'a>,
    context: &'a Context<'q>,
    labels: Option<&'a Metadata>,
}

impl Data for Known<'_, '_> {
    fn field(&self, name: &str) -> Value {
        let (matched, query) = (self.matched, &self.context.query);
        match name {
            "Zone" => Value::str(&matched.zone),
            "Name" => Value::str(NameText::of(self.context.name.wire()).as_str()),
            "Regex" => Value::str(&matched.pattern),
            "Match" => Value::List(
                matched
                    .groups
                    .iter()
                    .map(|(_, value)| Value::str(value))
                    .collect(),
            ),
            "Group" => Value::Map(matched.by_name()),
            "Class" => Value::str(matched.kind(query).0),
            "Type" => Value::str(matched.kind(query).1),
            "Remote" => Value::Str(self.context.peer.remote.ip().to_canonical().to_string()),
            "Var" => Value::Map(matched.variables.clone()),
            "Question" => self.question(),
            "Message" => self.message(),
            _ => Value::Nil,
        }
    }

    fn label(&self, name: &str) -> Value {
        Asked::of(self.context).with(self.labels).label(name)
    }
}

impl Known<'_, '_> {
    fn question(&self) -> Value {
        let query = &self.context.query;
        let entries = [
            (
                "Name",
                Value::str(NameText::of(query.name_as_sent()).as_str()),
            ),
            ("Qtype", Value::Int(query.qtype.0.into())),
            ("Qclass", Value::Int(query.qclass.0.into())),
        ];
        map(entries)
    }

    fn message(&self) -> Value {
        let query = &self.context.query;
        let flag = |bit| Value::Bool(query.flags.has(bit));
        map([
            ("Id", Value::Int(u16::from_be_bytes(query.id()).into())),
            ("Response", flag(Flags::QR)),
            ("Opcode", Value::Int(query.flags.opcode().0.into())),
            ("Authoritative", flag(Flags::AA)),
            ("Truncated", flag(Flags::TC)),
            ("RecursionDesired", flag(Flags::RD)),
            ("RecursionAvailable", flag(Flags::RA)),
            ("Zero", flag(Flags::Z)),
            ("AuthenticatedData", flag(Flags::AD)),
            ("CheckingDisabled", flag(Flags::CD)),
            ("Rcode", Value::Int((query.flags.0 & Flags::RCODE).into())),
            ("Compress", Value::Bool(false)),
            ("Question", Value::List(vec![self.question()])),
        ])
    }
}

fn map<const LEN: usize>(entries: [(&str, Value); LEN]) -> Value {
    let entries = entries.into_iter();
    Value::Map(
        entries
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

#[cfg(test)]
mod tests;
