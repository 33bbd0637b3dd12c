//! `rewrite [continue|stop] name|ttl|rcode|cname|type|class|edns0 …`: asks something else than the
//! client did. One rule a directive; its words may stand in a block.

mod answer;
mod edns;

use martlet_engine::pattern::Pattern;
use martlet_engine::plugins::rewrite::{Action, Form, Matcher, Respell, ResponseRule, Rule};

use super::super::args::{Arg, Args};
use super::super::error::{Problem, Reason};
use super::Directive;

/// `rewrite`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rewrite(pub Rule);

impl Directive for Rewrite {
    const NAME: &'static str = "rewrite";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut words = args.rest();
        if words.len() < 2 {
            words.extend(args.block_words());
        }
        let mut words = Words::new(args, words);
        let mut kind = words.next(KINDS)?;
        let mut continues = false;
        if let mode @ ("continue" | "stop") = &*kind.text().to_ascii_lowercase() {
            continues = mode == "continue";
            kind = words.next(KINDS)?;
        }
        let action = match &*kind.text().to_ascii_lowercase() {
            "name" => name(&mut words)?,
            "ttl" => {
                let (when, rest) = matcher(&mut words, 1, "a name and a TTL")?;
                Action::Response(when, ttl(rest[0])?)
            }
            "rcode" => {
                let (when, rest) = matcher(&mut words, 2, "a name and two response codes")?;
                let rule = ResponseRule::Rcode(rest[0].rcode()?, rest[1].rcode()?);
                Action::Response(when, rule)
            }
            "cname" => cname(&mut words)?,
            "type" => Action::Type(
                words.next("two record types")?.rtype()?,
                words.next("two record types")?.rtype()?,
            ),
            "class" => Action::Class(
                words.next("two classes")?.class()?,
                words.next("two classes")?.class()?,
            ),
            "edns0" => Action::Edns(edns::rule(&mut words)?),
            "answer" => {
                return Err(kind.is_not("the first word of a rule: `name` comes before `answer`"));
            }
            _ => {
                let kinds = ["name", "ttl", "rcode", "cname", "type", "class", "edns0"];
                let modes = ["continue", "stop"];
                return Err(kind.unknown_word(kinds.into_iter().chain(modes)));
            }
        };
        words.finish()?;
        Ok(Self(Rule { continues, action }))
    }
}

const KINDS: &str = "name, ttl, rcode, cname, type, class or edns0";

/// The words of a rule.
struct Words<'a, 'b> {
    of: &'b Args<'a>,
    words: std::vec::IntoIter<Arg<'a>>,
}

impl<'a, 'b> Words<'a, 'b> {
    fn new(of: &'b Args<'a>, words: Vec<Arg<'a>>) -> Self {
        let words = words.into_iter();
        Self { of, words }
    }

    fn next(&mut self, expected: &'static str) -> Result<Arg<'a>, Problem> {
        self.words.next().ok_or_else(|| {
            self.of.problem(Reason::MissingArgument {
                of: self.of.name().into(),
                expected,
            })
        })
    }

    fn finish(mut self) -> Result<(), Problem> {
        match self.words.next() {
            None => Ok(()),
            Some(argument) => Err(argument.problem(Reason::ExtraArgument {
                of: self.of.name().into(),
                value: argument.text().into(),
            })),
        }
    }
}

/// As rules write names: in lower case, with a dot at the end.
fn normal(text: &str) -> String {
    let mut name = text.to_ascii_lowercase();
    if !name.ends_with('.') {
        name.push('.');
    }
    name
}

/// How a name is compared.
#[derive(Clone, Copy)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Substring,
    Regex,
}

impl Kind {
    fn of(argument: Arg<'_>) -> Option<Self> {
        Some(match &*argument.text().to_ascii_lowercase() {
            "exact" => Self::Exact,
            "prefix" => Self::Prefix,
            "suffix" => Self::Suffix,
            "substring" => Self::Substring,
            "regex" => Self::Regex,
            _ => return None,
        })
    }

    fn form(self) -> Form {
        match self {
            Self::Exact => Form::Exact,
            Self::Prefix => Form::Prefix,
            Self::Suffix => Form::Suffix,
            Self::Substring => Form::Substring,
            Self::Regex => unreachable!("it has an expression"),
        }
    }

    /// Names like this one; `as_name` says how a text is written that is no expression.
    fn matcher(self, text: Arg<'_>, as_name: impl Fn(&str) -> String) -> Result<Matcher, Problem> {
        if let Self::Regex = self {
            return Ok(Matcher::new(Form::Regex(text.pattern()?), text.text()));
        }
        Ok(Matcher::new(self.form(), &as_name(text.text())))
    }
}

/// `[KIND] NAME` and as many words behind it as there must be.
fn matcher<'a>(
    words: &mut Words<'a, '_>,
    behind: usize,
    expected: &'static str,
) -> Result<(Matcher, Vec<Arg<'a>>), Problem> {
    let mut kind = Kind::Exact;
    if words.words.len() > behind + 1 {
        let argument = words.next(expected)?;
        kind = Kind::of(argument).ok_or_else(|| unknown_kind(argument))?;
    }
    let when = kind.matcher(words.next(expected)?, normal)?;
    let behind = (0..behind).map(|_| words.next(expected));
    Ok((when, behind.collect::<Result<_, _>>()?))
}

fn unknown_kind(argument: Arg<'_>) -> Problem {
    argument.unknown_word(["exact", "prefix", "suffix", "substring", "regex"].into_iter())
}

/// `[KIND] FROM TO [answer …]`
fn name(words: &mut Words<'_, '_>) -> Result<Action, Problem> {
    const EXPECTED: &str = "a name and what takes its place";
    let mut kind = Kind::Exact;
    if words.words.len() > 2 {
        let argument = words.next(EXPECTED)?;
        kind = Kind::of(argument).ok_or_else(|| unknown_kind(argument))?;
    }
    let from = words.next(EXPECTED)?;
    let to = words.next(EXPECTED)?;
    if let Kind::Regex = kind {
        check_groups(&from.pattern()?, to)?;
    }
    let matcher = kind.matcher(from, normal)?;
    let (auto, answers) = answer::rules(words)?;
    Ok(Action::Name {
        from: matcher,
        to: normal(to.text()).into(),
        auto: auto || matches!(kind, Kind::Exact),
        answers,
    })
}

/// `{1}` and so on must be groups of the expression.
fn check_groups(pattern: &Pattern, to: Arg<'_>) -> Result<(), Problem> {
    let used = (0..=100).filter(|number| to.text().contains(&format!("{{{number}}}")));
    if used.count() >= pattern.captures_len() {
        return Err(to.is_not("a replacement with at most the groups of its expression"));
    }
    Ok(())
}

/// `[KIND] FROM TO` for the targets of CNAMEs.
fn cname(words: &mut Words<'_, '_>) -> Result<Action, Problem> {
    const EXPECTED: &str = "a target and what takes its place";
    let mut kind = Kind::Exact;
    if words.words.len() > 2 {
        let argument = words.next(EXPECTED)?;
        kind = Kind::of(argument).ok_or_else(|| unknown_kind(argument))?;
    }
    let from = words.next(EXPECTED)?;
    let to = words.next(EXPECTED)?.text();
    let is_exact = matches!(kind, Kind::Exact);
    let as_name = |text: &str| {
        if is_exact {
            normal(text)
        } else {
            text.to_ascii_lowercase()
        }
    };
    let from = kind.matcher(from, as_name)?;
    Ok(Action::AnyResponse(ResponseRule::Cname(
        from,
        as_name(to).into(),
    )))
}

/// `N`, `MIN-MAX`, `-MAX` or `MIN-`, in seconds.
fn ttl(argument: Arg<'_>) -> Result<ResponseRule, Problem> {
    let bad = || argument.is_not("a TTL: N, MIN-MAX, -MAX or MIN-");
    let number = |text: &str, missing: u32| match text {
        "" => Some(missing),
        text => text.parse::<u32>().ok(),
    };
    let (min, max) = match argument.text().split_once('-') {
        None => {
            let ttl = argument.text().parse().map_err(|_| bad())?;
            (ttl, ttl)
        }
        Some(("", "")) => return Err(bad()),
        Some((min, max)) => (
            number(min, 0).ok_or_else(bad)?,
            number(max, TTL_MAX).ok_or_else(bad)?,
        ),
    };
    if min > max {
        return Err(argument.out_of("a range whose end is not below its beginning"));
    }
    Ok(ResponseRule::Ttl(min, max))
}

/// RFC 2181 §8.
const TTL_MAX: u32 = 0x7fff_ffff;

#[cfg(test)]
mod tests;
