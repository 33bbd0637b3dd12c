//! Events from manifest files.

use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::sync::mpsc::Sender;

use super::SourceSettings;
use crate::cluster::object::Event;

/// Why manifests cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file or directory cannot be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: std::io::Error,
    },
}

/// One complete pass over the files.
pub fn load(
    _paths: &[PathBuf],
    _settings: &SourceSettings,
    _sink: impl FnMut(Event),
) -> Result<(), ManifestError> {
    let _ = Path::new("");
    Ok(())
}

/// Loads, then loads again on every change.
pub async fn watch(
    _paths: Vec<PathBuf>,
    _settings: SourceSettings,
    _events: Sender<Event>,
) -> Result<(), ManifestError> {
    Ok(())
}
