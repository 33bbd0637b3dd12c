//! `check`: everything that is wrong with a Corefile, at once; and what it needs, if it is asked.

use super::needs::Needs;
use super::{ToolError, print};
use crate::args::CheckArgs;
use crate::assemble::{self, AssembleError};
use crate::cluster::source::manifests::{self, ManifestError};
use crate::corefile::{self, Corefile, KubernetesSource, Position};
use crate::run::RunError;

/// Reads a Corefile and all that it names, and says what is wrong. What is merely not on this
/// machine is a warning: a Corefile is mostly checked elsewhere than where it is served.
pub(super) fn check(
    CheckArgs {
        corefile: path,
        needs,
    }: &CheckArgs,
) -> Result<(), RunError> {
    let corefile = corefile::load(path).map_err(RunError::Corefile)?;
    for warning in &corefile.warnings {
        eprintln!("warning: {warning}");
    }
    let mut count = 0;
    let mut say = |is_warning: bool, text: String| {
        count += usize::from(!is_warning);
        let kind = if is_warning { "warning" } else { "error" };
        eprintln!("{kind}: {text}");
    };
    let mut found = assemble::problems(&corefile);
    found.extend(assemble::problems_here(&corefile));
    let port = corefile::Options::process().dns_port;
    // Whatever is left can only be seen by putting the plan together.
    if found.is_empty() {
        let assembled = assemble::assemble(&corefile, port, &super::nothing_kept());
        found.extend(assembled.err());
    }
    for error in found {
        say(AssembleError::is_of_this_machine(&error), error.to_string());
    }
    for (position, error) in manifest_problems(&corefile) {
        let is_absent = matches!(&error, ManifestError::Unreadable { source, .. }
            if source.kind() == std::io::ErrorKind::NotFound);
        let text = crate::cluster::feed::chain(&error);
        say(is_absent, format!("{position}: kubernetes: {text}"));
    }
    let file = path.display().to_string();
    if count > 0 {
        return Err(ToolError::Check { file, count }.into());
    }
    if *needs {
        let needs = serde_json::to_string(&Needs::of(&corefile, port)).expect("it is plain data");
        return Ok(print(format!("{needs}\n").as_bytes())?);
    }
    Ok(print(format!("{file}: no problems\n").as_bytes())?)
}

/// The first fault of each `manifests`.
fn manifest_problems(corefile: &Corefile) -> Vec<(Position, ManifestError)> {
    let mut problems = Vec::new();
    for block in &corefile.blocks {
        let Some(kubernetes) = &block.directives.kubernetes else {
            continue;
        };
        let KubernetesSource::Manifests(paths) = &kubernetes.source else {
            continue;
        };
        let position = block.position_of("kubernetes", 0);
        let Ok(settings) = assemble::source_settings(kubernetes, &position) else {
            continue;
        };
        let loaded = manifests::load(paths, &settings, |_| {});
        problems.extend(loaded.err().map(|error| (position, error)));
    }
    problems
}
