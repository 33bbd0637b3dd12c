//! `answer auto`, `answer name FROM TO`, `answer value FROM TO`: what a `name` rule does to the reply.

use super::{Respell, ResponseRule, Words, check_groups, normal};
use crate::corefile::args::Arg;
use crate::corefile::error::Problem;

/// Reads what stands behind a `name` rule. `true` for `answer auto`.
pub(super) fn rules(words: &mut Words<'_, '_>) -> Result<(bool, Vec<ResponseRule>), Problem> {
    let (mut auto, mut rules) = (None, Vec::new());
    let mut named: Option<Arg<'_>> = None;
    let mut is_first = true;
    while let Some(mut word) = words.words.next() {
        // Once there was one, the word may be left out.
        if word.text() == "answer" {
            word = words.next("auto, name or value")?;
        } else if is_first {
            return Err(word.is_not("`answer`, which is all that can follow a name rule"));
        }
        is_first = false;
        match word.text() {
            "auto" => auto = Some(word),
            kind @ ("name" | "value") => {
                let from = words.next("an expression and what takes its place")?;
                let to = words.next("an expression and what takes its place")?;
                let pattern = from.pattern()?;
                check_groups(&pattern, to)?;
                let respell = Respell::Regex(pattern, normal(to.text()).into());
                if kind == "name" {
                    named = Some(word);
                    rules.push(ResponseRule::Name(respell));
                } else {
                    rules.push(ResponseRule::Value(respell));
                }
            }
            _ => return Err(word.unknown_word(["auto", "name", "value"].into_iter())),
        }
    }
    if let (Some(_), Some(named)) = (auto, named) {
        return Err(named.is_not("possible together with `answer auto`"));
    }
    Ok((auto.is_some(), rules))
}
