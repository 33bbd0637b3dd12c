//! Events from manifest files, as `kubectl get … -o yaml` or `-o json` writes them: a cluster
//! without an API server, for tests, benches and fixed installations.
//!
//! Files are read as streams and cut into single objects before anything is parsed ([`yaml`],
//! [`json`]), and pieces of them are parsed side by side ([`together`]), so that a dump of a large
//! cluster costs the memory of a few pieces, or of its largest objects. Objects of kinds that
//! martlet does not read are skipped, mostly without parsing them. Of the others, those that look as
//! tools print them have a reader of their own ([`block`]).

mod block;
mod follow;
mod json;
mod object;
mod together;
mod yaml;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::thread;

use thiserror::Error;

pub use self::follow::watch;
use self::object::{Found, Head};
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
        source: io::Error,
    },
    /// A file holds something that is no usable object.
    #[error("{}:{line}: {what}: {fault}", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// The line of the fault, or the object's first one.
        line: usize,
        /// The object, as far as it is known.
        what: String,
        /// What is wrong with it.
        fault: ObjectFault,
    },
    /// The file system cannot report changes.
    #[error("{}: cannot be watched for changes", path.display())]
    Unwatchable {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: notify::Error,
    },
}

/// What is wrong with an object.
#[derive(Debug, Error)]
pub enum ObjectFault {
    /// Neither YAML nor JSON, or a field of the wrong type.
    #[error("{0}")]
    Malformed(String),
    /// No `apiVersion` or no `kind`, so nobody can tell what it is.
    #[error("`apiVersion` or `kind` is missing")]
    NoKind,
    /// No `metadata.name`.
    #[error("`metadata.name` is missing")]
    NoName,
    /// A list's items end in the middle of nowhere.
    #[error("neither an item of the list nor a key beside `items`; check the indentation")]
    Indentation,
    /// Bytes that are not text.
    #[error("not UTF-8")]
    NotText,
}

/// Threads that parse. More would take cores from the workers when manifests change.
const THREADS_MAX: usize = 2;

/// Sends one complete state: the start of each kind's list, what the files hold, the end of each
/// list. Where files repeat an object, the last one wins. An error leaves the lists without their
/// end.
pub fn load(
    paths: &[PathBuf],
    settings: &SourceSettings,
    mut sink: impl FnMut(Event),
) -> Result<(), ManifestError> {
    settings
        .kinds()
        .for_each(|kind| sink(Event::RelistStarted(kind)));
    let mut all = Vec::new();
    for path in paths {
        all.extend(files(path)?);
    }
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_MAX);
    if threads == 1 {
        for file in &all {
            load_file(file, settings, &mut sink).map_err(|stop| stop.of(file))?;
        }
    } else {
        together::load(&all, threads, settings, &mut sink)?;
    }
    settings
        .kinds()
        .for_each(|kind| sink(Event::RelistDone(kind)));
    Ok(())
}

/// Why reading a file stopped.
#[derive(Debug)]
enum Stop {
    Io(io::Error),
    Object {
        line: usize,
        what: String,
        fault: ObjectFault,
    },
}

impl Stop {
    fn of(self, file: &Path) -> ManifestError {
        let path = file.to_path_buf();
        match self {
            Self::Io(source) => ManifestError::Unreadable { path, source },
            Self::Object { line, what, fault } => ManifestError::Object {
                path,
                line,
                what,
                fault,
            },
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn load_file(
    path: &Path,
    settings: &SourceSettings,
    sink: &mut impl FnMut(Event),
) -> Result<(), Stop> {
    let (format, reader) = open(path)?;
    match format {
        Format::Json => json::read(reader, settings, sink),
        Format::Yaml => yaml::read(reader, &mut |found: Found<'_>, head: Head| {
            found.send(head, settings, sink)
        }),
    }
}

#[derive(Clone, Copy)]
enum Format {
    Json,
    Yaml,
}

/// Opens a file and looks what it is.
fn open(path: &Path) -> Result<(Format, impl BufRead), Stop> {
    let mut reader = BufReader::with_capacity(BUFFER_LEN, File::open(path)?);
    let start = reader.fill_buf()?;
    if start.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    let start = reader.fill_buf()?;
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    let format = match first {
        Some(b'{') => Format::Json,
        _ => Format::Yaml,
    };
    Ok((format, reader))
}

/// The file itself, or a directory's manifests, sorted by name so that the last one that wins is
/// always the same one.
fn files(path: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let fault = |source| ManifestError::Unreadable {
        path: path.to_owned(),
        source,
    };
    if !path.metadata().map_err(fault)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in path.read_dir().map_err(fault)? {
        let file = entry.map_err(fault)?.path();
        if is_manifest(&file) && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a directory's file of this name is read. Hidden files are not: editors and mounted
/// ConfigMaps keep their own there.
fn is_manifest(file: &Path) -> bool {
    let is_hidden = file
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = file.extension().and_then(|extension| extension.to_str());
    !is_hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Read at once from a file, in bytes.
const BUFFER_LEN: usize = 1 << 16;

/// U+FEFF, as some editors put it first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests;
