//! Differences that are accepted on purpose: `tests/deviations.yaml`.

use std::fs;
use std::path::Path;

use regex::Regex;
use serde::Deserialize;

use super::corpus::Question;

/// The rules, and how often each was used.
pub struct Deviations {
    rules: Vec<(Rule, usize)>,
}

/// Every glob that is given must match.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    template: Option<String>,
    shape: Option<String>,
    #[serde(rename = "type")]
    rtype: Option<String>,
    name: Option<String>,
    query: Option<String>,
    cause: Option<String>,
    /// Why we do not answer as CoreDNS.
    reason: String,
}

impl Deviations {
    /// The rules of this repository.
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deviations.yaml");
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(_) => Self { rules: Vec::new() },
        }
    }

    /// The rules of a YAML text.
    pub fn parse(text: &str) -> Self {
        let rules: Option<Vec<Rule>> =
            yaml_serde::from_str(text).expect("deviations.yaml is a list of globs and reasons");
        Self {
            rules: rules
                .unwrap_or_default()
                .into_iter()
                .map(|rule| (rule, 0))
                .collect(),
        }
    }

    /// True when a rule names this difference.
    pub fn accept(&mut self, template: &str, question: &Question, cause: &str) -> bool {
        let found = self.rules.iter_mut().find(|(rule, _)| {
            let facts = [
                (&rule.template, template),
                (&rule.shape, &question.shape),
                (&rule.rtype, question.type_text()),
                (&rule.name, question.name()),
                (&rule.query, &question.key),
                (&rule.cause, cause),
            ];
            facts
                .iter()
                .all(|(glob, text)| glob.as_deref().is_none_or(|glob| fits(glob, text)))
        });
        found.map(|(_, used)| *used += 1).is_some()
    }

    /// The rules: how often each was used, and its reason.
    pub fn used(&self) -> impl Iterator<Item = (usize, &str)> {
        self.rules
            .iter()
            .map(|(rule, used)| (*used, rule.reason.as_str()))
    }
}

/// Shell globs over the whole text: `*`, `?`, `[abc]`, `[!abc]`.
fn fits(glob: &str, text: &str) -> bool {
    let mut pattern = String::from("(?s)^");
    let mut rest = glob.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '[' if rest.as_str().contains(']') => {
                let set: String = rest.by_ref().take_while(|letter| *letter != ']').collect();
                let set = set.replace('\\', "\\\\").replace('[', "\\[");
                let negated = set.strip_prefix('!').map(|set| format!("[^{set}]"));
                pattern.push_str(&negated.unwrap_or_else(|| format!("[{set}]")));
            }
            _ => pattern.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push('$');
    Regex::new(&pattern)
        .expect("a glob makes a valid pattern")
        .is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_fit_whole_texts() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("rcode * -> ?*", "rcode A -> B", true),
            ("svc", "svc-x", false),
            ("a.c", "abc", false),
            ("[ab]c", "bc", true),
            ("[!ab]c", "bc", false),
            ("a[", "a[", true),
        ] {
            assert_eq!(fits(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn a_rule_needs_all_its_globs_and_counts_its_use() {
        let mut rules = Deviations::parse(
            "- {template: plain, type: TXT, cause: \"flags *\", reason: one}\n- {name: \"b.*\", reason: two}\n",
        );
        let question = Question::new("a. IN TXT tcp", "x");
        assert!(rules.accept("plain", &question, "flags +AA"));
        assert!(!rules.accept("plain", &question, "rcode"));
        assert!(!rules.accept("other", &question, "flags +AA"));
        assert!(!rules.accept("plain", &Question::new("a. IN A", "x"), "flags +AA"));
        assert_eq!(rules.used().collect::<Vec<_>>(), [(1, "one"), (0, "two")]);
        assert!(Deviations::parse("[]").used().next().is_none());
    }
}
