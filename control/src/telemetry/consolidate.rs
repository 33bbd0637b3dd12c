//! `errors { consolidate }`: errors of a kind are counted, and printed as one line in a while.
//!
//! It is done where lines are printed, so that a worker has nothing to match and nothing to count,
//! and one thread sees the errors of all workers. Lines that the queue had no room for are not in
//! the counts.

use std::time::{Duration, Instant};

use martlet_engine::log::Line;
use regex::Regex;

use super::format::Lines;
use crate::corefile::directives::errors::{Consolidate, Level};
use crate::corefile::go_duration;

/// The rules of one `errors`, and what they count at the moment.
pub struct Consolidation {
    rules: Vec<Rule>,
}

struct Rule {
    pattern: Regex,
    period: Duration,
    /// What its lines begin with; `None` if they are not printed at all.
    level: Option<&'static str>,
    show_first: bool,
    counting: Option<Counting>,
}

struct Counting {
    ends: Instant,
    count: u64,
}

/// What to do with an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// No rule is about it: print it as any other line.
    Other,
    /// Print it with this level, if there is one.
    First(Option<&'static str>),
    /// It is counted.
    Counted,
}

impl Consolidation {
    /// The rules of an `errors`; `None` if it has none. Lines of level debug are printed where the
    /// server block says `debug`.
    pub fn new(rules: &[Consolidate], debug: bool) -> Option<Self> {
        let rules = rules
            .iter()
            .map(|rule| Rule {
                pattern: Regex::new(&rule.pattern).expect("the Corefile holds only sound patterns"),
                period: rule.period,
                level: match rule.level {
                    Level::Error => Some("ERROR"),
                    Level::Warning => Some("WARNING"),
                    Level::Info => Some("INFO"),
                    Level::Debug => debug.then_some("DEBUG"),
                },
                show_first: rule.show_first,
                counting: None,
            })
            .collect::<Vec<_>>();
        (!rules.is_empty()).then_some(Self { rules })
    }

    /// Looks at the cause of an error. The first rule that matches has it.
    fn judge(&mut self, cause: &str, now: Instant) -> Verdict {
        let mut rules = self.rules.iter_mut();
        let Some(rule) = rules.find(|rule| rule.pattern.is_match(cause)) else {
            return Verdict::Other;
        };
        match &mut rule.counting {
            Some(counting) => counting.count += 1,
            None => {
                let ends = now + rule.period;
                rule.counting = Some(Counting { ends, count: 1 });
                if rule.show_first {
                    return Verdict::First(rule.level);
                }
            }
        }
        Verdict::Counted
    }
}

/// Looks at a line that workers sent, with the rules of the plugin that it is from.
pub(super) fn judge(all: &mut [Consolidation], line: &Line, now: Instant) -> Verdict {
    let rules = line.counted.and_then(|counted| {
        let cause = line.text.get(counted.cause_at..)?;
        Some(all.get_mut(counted.rules)?.judge(cause, now))
    });
    rules.unwrap_or(Verdict::Other)
}

/// When the next period ends.
pub(super) fn next_end(all: &[Consolidation]) -> Option<Instant> {
    let rules = all.iter().flat_map(|one| &one.rules);
    let ends = rules.filter_map(|rule| Some(rule.counting.as_ref()?.ends));
    ends.min()
}

/// Writes a line for each period that ends by `now`, or for all if there is no `now`. An only
/// error that was printed already needs none.
pub(super) fn summarize(all: &mut [Consolidation], now: Option<Instant>, out: &mut Lines) {
    for rule in all.iter_mut().flat_map(|one| &mut one.rules) {
        let over = |counting: &mut Counting| now.is_none_or(|now| counting.ends <= now);
        let Some(Counting { count, .. }) = rule.counting.take_if(over) else {
            continue;
        };
        if let Some(level) = rule.level
            && (count > 1 || !rule.show_first)
        {
            let (pattern, period) = (rule.pattern.as_str(), go_duration(rule.period));
            let text =
                format!("plugin/errors: {count} errors like '{pattern}' occurred in last {period}");
            out.add(level, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Format;

    fn rule(pattern: &str, level: Level, show_first: bool) -> Consolidate {
        Consolidate {
            period: Duration::from_secs(30),
            pattern: pattern.into(),
            level,
            show_first,
        }
    }

    /// What each cause comes to, and what is printed when the period ends.
    fn run(rules: &[Consolidate], debug: bool, causes: &[&str]) -> (Vec<Verdict>, String) {
        let mut all = [Consolidation::new(rules, debug).unwrap()];
        let now = Instant::now();
        let verdicts = causes.iter().map(|cause| all[0].judge(cause, now));
        let verdicts = verdicts.collect();
        let mut early = Lines::new(Format::Text);
        summarize(&mut all, Some(now + Duration::from_secs(29)), &mut early);
        assert_eq!(early.text, "", "the period is not over");
        let mut text = Lines::new(Format::Text);
        summarize(&mut all, Some(now + Duration::from_secs(30)), &mut text);
        assert_eq!(next_end(&all), None, "counting begins anew");
        (verdicts, text.text)
    }

    #[test]
    fn errors_of_a_kind_become_one_line() {
        use Verdict::{Counted, First, Other};
        let plain = [rule("timeout$", Level::Warning, false)];
        let first = [rule("timeout$", Level::Error, true)];
        let two = [
            rule("^read", Level::Info, false),
            rule("timeout$", Level::Error, false),
        ];
        let debug = [rule("timeout$", Level::Debug, true)];
        type Case<'a> = (
            &'a str,
            &'a [Consolidate],
            bool,
            &'a [&'a str],
            Vec<Verdict>,
            &'a str,
        );
        let cases: &[Case<'_>] = &[
            (
                "counted",
                &plain,
                false,
                &["a timeout", "refused", "b timeout"],
                vec![Counted, Other, Counted],
                "[WARNING] plugin/errors: 2 errors like 'timeout$' occurred in last 30s\n",
            ),
            (
                "a lone one",
                &plain,
                false,
                &["a timeout"],
                vec![Counted],
                "[WARNING] plugin/errors: 1 errors like 'timeout$' occurred in last 30s\n",
            ),
            (
                "the first is shown",
                &first,
                false,
                &["a timeout", "b timeout", "c timeout"],
                vec![First(Some("ERROR")), Counted, Counted],
                "[ERROR] plugin/errors: 3 errors like 'timeout$' occurred in last 30s\n",
            ),
            (
                "the first is shown, and was the only one",
                &first,
                false,
                &["a timeout"],
                vec![First(Some("ERROR"))],
                "",
            ),
            (
                "the first rule that matches has it",
                &two,
                false,
                &["read timeout", "timeout"],
                vec![Counted, Counted],
                "[INFO] plugin/errors: 1 errors like '^read' occurred in last 30s\n\
                 [ERROR] plugin/errors: 1 errors like 'timeout$' occurred in last 30s\n",
            ),
            (
                "debug is silent",
                &debug,
                false,
                &["timeout", "timeout"],
                vec![First(None), Counted],
                "",
            ),
            (
                "unless the block says so",
                &debug,
                true,
                &["timeout", "timeout"],
                vec![First(Some("DEBUG")), Counted],
                "[DEBUG] plugin/errors: 2 errors like 'timeout$' occurred in last 30s\n",
            ),
        ];
        for (what, rules, debug, causes, verdicts, text) in cases {
            assert_eq!(
                run(rules, *debug, causes),
                (verdicts.clone(), (*text).to_owned()),
                "{what}"
            );
        }
    }

    #[test]
    fn only_the_cause_of_its_own_lines_is_matched() {
        use martlet_engine::log::{Counted, Level as EngineLevel};
        let mut all = [Consolidation::new(&[rule("^x", Level::Error, false)], false).unwrap()];
        let mut line = Line {
            level: EngineLevel::Error,
            text: "plugin/errors: 2 x. A: x".to_owned(),
            counted: Some(Counted {
                rules: 0,
                cause_at: 23,
            }),
        };
        let now = Instant::now();
        assert_eq!(judge(&mut all, &line, now), Verdict::Counted);
        assert_eq!(next_end(&all), Some(now + Duration::from_secs(30)));
        line.counted = None;
        assert_eq!(judge(&mut all, &line, now), Verdict::Other);
        let mut rest = Lines::new(Format::Text);
        summarize(&mut all, None, &mut rest);
        assert!(
            rest.text.contains(" 1 errors like '^x'"),
            "at the end all is told: {}",
            rest.text
        );
    }
}
