//! What a run found, added up and printed.

use std::collections::BTreeMap;
use std::fmt;

use super::compare::{Kind, causes, full_answer};
use super::corpus::Question;
use super::deviations::Deviations;
use super::vectors::Answers;
use crate::dns::Answer;

/// What agreed in one case, or in all.
#[derive(Default)]
pub struct Report {
    /// Per kind of the recorded answer: agreeing, all.
    kinds: BTreeMap<Kind, [usize; 2]>,
    /// Answers that agree by a documented deviation only.
    deviating: usize,
    /// Differences without one, by cause, shape and type; with the labels of their questions.
    groups: BTreeMap<[String; 3], Vec<String>>,
}

impl Report {
    /// Compares the answers of one case.
    pub fn compare(
        label: &str,
        questions: &[Question],
        recorded: &Answers,
        ours: &BTreeMap<String, Answer>,
        deviations: &mut Deviations,
    ) -> Self {
        let mut report = Self::default();
        let template = label.rsplit('/').next().unwrap_or(label);
        let by_key: BTreeMap<_, _> = questions
            .iter()
            .map(|question| (question.key.as_str(), question))
            .collect();
        let not_asked = Answer::Nothing("not asked".to_owned());
        for (key, answer) in &recorded.answers {
            let unknown;
            let question = match by_key.get(key.as_str()) {
                Some(question) => question,
                None => {
                    unknown = Question::new(key, "-");
                    &unknown
                }
            };
            let full = full_answer(&recorded.answers, key);
            let found = causes(answer, ours.get(key).unwrap_or(&not_asked), full);
            let differs = !found.is_empty();
            let left: Vec<_> = found
                .into_iter()
                .filter(|cause| !deviations.accept(template, question, cause))
                .collect();
            let [agree, total] = report.kinds.entry(Kind::of(answer)).or_default();
            *total += 1;
            if left.is_empty() {
                *agree += 1;
                report.deviating += usize::from(differs);
            }
            for cause in left {
                let group = [
                    cause,
                    question.shape.clone(),
                    question.type_text().to_owned(),
                ];
                report
                    .groups
                    .entry(group)
                    .or_default()
                    .push(format!("{label}: {key}"));
            }
        }
        report
    }

    /// Adds what another case found.
    pub fn add(&mut self, other: Self) {
        for (kind, [agree, total]) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            *sum = [sum[0] + agree, sum[1] + total];
        }
        self.deviating += other.deviating;
        for (group, labels) in other.groups {
            self.groups.entry(group).or_default().extend(labels);
        }
    }

    /// True when nothing differs but what is documented, and something was compared at all.
    pub fn agrees(&self) -> bool {
        self.groups.is_empty() && self.sum()[1] > 0
    }

    fn sum(&self) -> [usize; 2] {
        self.kinds
            .values()
            .fold([0, 0], |sum, kind| [sum[0] + kind[0], sum[1] + kind[1]])
    }

    /// The differences, the commonest first, at most so many, with an example or two each.
    pub fn differences(&self, most: usize) -> String {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, labels)| std::cmp::Reverse(labels.len()));
        let mut text = String::new();
        for ([cause, shape, rtype], labels) in groups.iter().take(most) {
            text += &format!("{:6}  {cause}  |  {shape} {rtype}\n", labels.len());
            for label in labels.iter().take(2) {
                text += &format!("          {label}\n");
            }
        }
        if groups.len() > most {
            text += &format!("… and {} more groups\n", groups.len() - most);
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [agree, total] = self.sum();
        write!(f, "agree {agree} of {total}")?;
        let kinds = self
            .kinds
            .iter()
            .map(|(kind, [agree, total])| format!("{} {agree} of {total}", kind.word()));
        write!(f, " ({})", kinds.collect::<Vec<_>>().join(", "))?;
        if self.deviating > 0 {
            write!(f, ", {} by a documented deviation", self.deviating)?;
        }
        Ok(())
    }
}
