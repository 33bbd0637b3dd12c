//! Helpers of the tables beside the directives: one directive in a block for the root zone.

use super::super::{Corefile, Problems, parse};
use super::Directives;

fn read(zones: &str, text: &str) -> Result<Corefile, Problems> {
    parse("Corefile", &format!("{zones} {{\n{text}\n}}\n"))
}

/// The directives of a block that must be free of errors.
pub(super) fn good(text: &str) -> Directives {
    good_in(".", text)
}

/// The same in a block for these zones.
pub(super) fn good_in(zones: &str, text: &str) -> Directives {
    match read(zones, text) {
        Ok(mut corefile) => corefile.blocks.remove(0).directives,
        Err(problems) => panic!("{text}\n{problems}"),
    }
}

/// The warnings about a block that must be free of errors.
pub(super) fn warnings(text: &str) -> Vec<String> {
    let corefile = read(".", text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    corefile.warnings.iter().map(ToString::to_string).collect()
}

/// What is wrong with a block. The text starts at line 2.
pub(super) fn bad(text: &str) -> Vec<String> {
    let Err(problems) = read(".", text) else {
        panic!("no problem found in {text}")
    };
    problems.iter().map(ToString::to_string).collect()
}
