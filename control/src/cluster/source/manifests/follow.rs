//! Manifest files that change while martlet runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc::{self, Sender};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, info};

use super::{ManifestError, is_manifest, load};
use crate::cluster::object::Event;
use crate::cluster::source::SourceSettings;

/// Sends the files' state, then a new one whenever they change, until the receiver is dropped.
/// Files that are broken at the start are an error; files that break later leave the last good
/// state in force and are logged. (If one breaks between being looked through and being read, what
/// was read before is in force as well: each object was a good one, and nothing is taken away.)
pub async fn watch(
    paths: Vec<PathBuf>,
    settings: SourceSettings,
    events: Sender<Event>,
) -> Result<(), ManifestError> {
    let paths: Arc<[PathBuf]> = paths.into();
    // Watched before they are read, so that no change falls in between.
    let (changes, mut changed) = mpsc::channel(1);
    let _watcher = start_watcher(&paths, changes)?;

    let settings = Arc::new(settings);
    let first = {
        let (paths, settings, events) = (paths.clone(), settings.clone(), events.clone());
        // A receiver that is gone is noticed below.
        let sink = move |event| drop(events.blocking_send(event));
        spawn_blocking(move || load(&paths, &settings, sink))
    };
    first.await.expect("loading does not panic")?;

    loop {
        tokio::select! {
            change = changed.recv() => if change.is_none() { return Ok(()) },
            () = events.closed() => return Ok(()),
        }
        // Changes come in bursts: a write is several, and so is a mount's update.
        for _ in 0..ROUNDS_MAX {
            if timeout(QUIET, changed.recv()).await.is_err() {
                break;
            }
        }
        let (paths, settings, events) = (paths.clone(), settings.clone(), events.clone());
        let again = spawn_blocking(move || {
            // Nothing may be sent before the last file is known to be good, and nothing is kept
            // until then: the cluster would be in memory twice.
            load(&paths, &settings, |_| ())?;
            let mut objects = 0;
            let sink = |event| {
                objects += usize::from(matches!(event, Event::Applied(_)));
                drop(events.blocking_send(event));
            };
            load(&paths, &settings, sink).map(|()| objects)
        });
        match again.await.expect("loading does not panic") {
            Ok(objects) => info!(objects, "manifests changed, loaded again"),
            Err(fault) => {
                let cause = std::error::Error::source(&fault).map(|cause| format!(": {cause}"));
                let fault = format!("{fault}{}", cause.unwrap_or_default());
                error!(
                    fault,
                    "manifests changed but are broken; the last good state stays"
                );
            }
        }
    }
}

/// Reports changes that may matter; one report stands for all that are not yet taken.
fn start_watcher(
    paths: &Arc<[PathBuf]>,
    changes: Sender<()>,
) -> Result<notify::RecommendedWatcher, ManifestError> {
    let targets = paths.clone();
    let handler = move |event: notify::Result<notify::Event>| {
        // An error means that events were lost, hence that anything may have changed.
        if event.is_ok_and(|event| !is_relevant(&event, &targets)) {
            return;
        }
        // Full: a report is waiting already.
        let _ = changes.try_send(());
    };
    let fault = |path: &Path, source| ManifestError::Unwatchable {
        path: path.to_owned(),
        source,
    };
    let mut watcher = notify::recommended_watcher(handler).map_err(|source| {
        fault(
            paths
                .first()
                .map_or_else(|| Path::new(""), PathBuf::as_path),
            source,
        )
    })?;
    for path in paths.iter() {
        // A file's directory, not the file: editors and mounts put a new file in its place.
        let directory = if path.is_dir() {
            path
        } else {
            directory_of(path)
        };
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .map_err(|source| fault(directory, source))?;
    }
    Ok(watcher)
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn is_relevant(event: &notify::Event, targets: &[PathBuf]) -> bool {
    // Reading a file is an event too, and our own reading must not cause the next.
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    is_change && (event.paths.is_empty() || event.paths.iter().any(|path| is_ours(path, targets)))
}

fn is_ours(path: &Path, targets: &[PathBuf]) -> bool {
    // A mounted ConfigMap or Secret changes by a new `..data` link, behind all of its files.
    if path.file_name().is_some_and(|name| name == "..data") {
        return true;
    }
    targets.iter().any(|target| {
        target.file_name() == path.file_name()
            || (path.parent() == Some(target) && is_manifest(path))
    })
}

/// No change for so long ends a burst.
const QUIET: Duration = Duration::from_millis(50);

/// Bounds how long a steady stream of changes can put off loading.
const ROUNDS_MAX: usize = 20;
