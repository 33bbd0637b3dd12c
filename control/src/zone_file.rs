//! Master files (RFC 1035 §5) for `file`, and their changes.

mod prepared;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use domain::base::iana::Class as FileClass;
use domain::base::name::{Name, ToName};
use domain::base::rdata::ComposeRecordData;
use domain::zonefile;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};
use martlet_engine::plugins::file::Contents;
use martlet_engine::plugins::file::zone::{Zone, ZoneFault};
use martlet_engine::wire::{Class, RType, Record};

/// Files that include each other, at most.
const DEPTH_MAX: u8 = 7;

/// Why a master file is no zone.
#[derive(Debug, thiserror::Error)]
pub enum ZoneFileError {
    /// It cannot be read.
    #[error("cannot read the zone file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An entry of it has the wrong form.
    #[error("{}:{text}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The line, if it is known, and what is wrong.
        text: String,
    },
    /// Its records make no zone.
    #[error("{}: {fault}", path.display())]
    Zone {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: &'static str,
    },
}

impl ZoneFileError {
    /// Whether the file is not there at all.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A zone's file that is read again when it changes.
pub struct ZoneFile {
    path: PathBuf,
    /// Lower-case wire name.
    origin: Box<[u8]>,
    reload: Duration,
    /// Whether each change of the file counts, not only one with a new serial.
    by_mtime: bool,
    contents: Contents,
    /// What was read last: the file, and those that it includes.
    stamps: Stamps,
}

/// Files, with the time of their last change and their size; `None` for what cannot be read.
type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

fn stamp(path: &Path) -> io::Result<(SystemTime, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.modified()?, metadata.len()))
}

impl ZoneFile {
    /// Reads the file. With a `reload` interval it may be created later.
    ///
    /// # Errors
    ///
    /// A file that cannot be read and is not read again, or one that is no zone.
    pub fn open(
        path: &Path,
        origin: &[u8],
        reload: Duration,
        by_mtime: bool,
    ) -> Result<Self, ZoneFileError> {
        let mut file = Self {
            path: path.to_owned(),
            origin: origin.into(),
            reload,
            by_mtime,
            contents: Contents::default(),
            stamps: Vec::new(),
        };
        match file.read() {
            Err(error @ ZoneFileError::Unreadable { .. }) if !reload.is_zero() => {
                tracing::warn!("plugin/file: {error}; trying again in {reload:?}");
            }
            read => {
                read?;
            }
        }
        Ok(file)
    }

    /// The zone: replaced as a whole when its file has changed.
    pub fn contents(&self) -> Contents {
        Arc::clone(&self.contents)
    }

    /// Reads the file; the new serial if there is a new zone. After an error the old zone stays, and
    /// the same file is not complained about again.
    fn read(&mut self) -> Result<Option<u32>, ZoneFileError> {
        let same = |(path, known): &(PathBuf, _)| stamp(path).ok() == *known;
        let is_there = self
            .stamps
            .first()
            .is_some_and(|(_, stamp)| stamp.is_some());
        if is_there && self.stamps.iter().all(same) {
            return Ok(None);
        }
        self.stamps.clear();
        let zone = read_zone(&self.path, &self.origin, &mut self.stamps)?;
        let serial = zone.serial();
        let known = self.contents.load();
        if !self.by_mtime && known.as_ref().is_some_and(|it| it.serial() == serial) {
            return Ok(None);
        }
        self.contents.store(Some(Arc::new(zone)));
        Ok(Some(serial))
    }

    /// Reads the file again and again.
    pub async fn watch(mut self) {
        while !self.reload.is_zero() {
            tokio::time::sleep(self.reload).await;
            let path = self.path.display().to_string();
            match self.read() {
                Ok(None) => {}
                Ok(Some(serial)) => {
                    tracing::info!("plugin/file: {path} is loaded, serial {serial}");
                }
                Err(error) => tracing::error!("plugin/file: {error}"),
            }
        }
    }
}

/// Reads a zone.
///
/// # Errors
///
/// As [`ZoneFile::open`].
pub fn parse(path: &Path, origin: &[u8]) -> Result<Zone, ZoneFileError> {
    read_zone(path, origin, &mut Vec::new())
}

fn read_zone(path: &Path, origin: &[u8], stamps: &mut Stamps) -> Result<Zone, ZoneFileError> {
    let mut records = Vec::new();
    read_into((&mut records, stamps), path, (origin, None), 0)?;
    Zone::new(origin, records).map_err(|fault| ZoneFileError::Zone {
        path: path.to_owned(),
        fault: match fault {
            ZoneFault::NoSoa => "no SOA record",
            ZoneFault::Nsec3 => "zones with NSEC3 are not supported",
        },
    })
}

/// The file's records, and those of the files that it includes. `ttl` is that of the file that
/// includes this one.
fn read_into(
    (records, stamps): (&mut Vec<Record>, &mut Stamps),
    path: &Path,
    (origin, ttl): (&[u8], Option<u32>),
    depth: u8,
) -> Result<(), ZoneFileError> {
    stamps.push((path.to_owned(), stamp(path).ok()));
    let text = fs::read(path).map_err(|source| ZoneFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    // The last line counts even if nothing ends it.
    let text = prepared::prepared(&[&*text, b"\n"].concat(), origin);
    let text = text.map_err(|fault| ZoneFileError::Entry {
        path: path.to_owned(),
        text: format!("{}: {}", fault.line, fault.cause),
    })?;
    let inherited = ttl.map(|ttl| format!("$TTL {ttl}\n")).unwrap_or_default();
    let mut file = Zonefile::from(inherited.as_bytes());
    file.extend_from_slice(&text);
    file.set_default_class(FileClass::IN);
    let fault = |text: String| ZoneFileError::Entry {
        path: path.to_owned(),
        text,
    };
    let name = Name::from_octets(origin.to_vec().into());
    file.set_origin(name.map_err(|error| fault(error.to_string()))?);
    loop {
        let next = file
            .next_entry()
            .map_err(|error| fault(with_line(&error, inherited.lines().count())))?;
        match next {
            None => return Ok(()),
            Some(Entry::Record(record)) => {
                if record.class() != FileClass::IN {
                    let text = format!("a record of class {}, not IN", record.class());
                    return Err(fault(text));
                }
                records.push(converted(&record));
            }
            Some(Entry::Include {
                path: included,
                origin: own,
            }) => {
                if depth >= DEPTH_MAX {
                    return Err(fault("too many files that include each other".into()));
                }
                let included = path
                    .parent()
                    .unwrap_or_else(|| Path::new(""))
                    .join(&*included);
                let own = own.or_else(|| file.origin().ok());
                let own = own.map(|name| name.as_slice().to_ascii_lowercase());
                let origin = own.as_deref().unwrap_or(origin);
                let ttl = prepared::default_ttl(&text).or(ttl);
                read_into((records, stamps), &included, (origin, ttl), depth + 1)?;
            }
        }
    }
}

/// An error with its line: `LINE: CAUSE`. The parser tells where it was, and that is the beginning of
/// the next line if the last word of a line is wrong. `lines_before` are not the file's own.
fn with_line(error: &zonefile::inplace::Error, lines_before: usize) -> String {
    let said = error.to_string();
    let mut parts = said.splitn(3, ':');
    let mut number = || parts.next()?.parse::<usize>().ok();
    match (number(), number(), parts.next()) {
        (Some(line), Some(column), Some(cause)) => {
            let line = line - usize::from(column <= 1) - lines_before;
            format!("{line}:{cause}")
        }
        _ => said,
    }
}

fn converted(record: &ScannedRecord) -> Record {
    let mut rdata = Vec::new();
    // Memory takes any octets.
    let Ok(()) = record.data().compose_rdata(&mut rdata);
    Record {
        owner: record.owner().to_name::<Vec<u8>>().into_octets(),
        rtype: RType(record.rtype().to_int()),
        class: Class::IN,
        ttl: record.ttl().as_secs(),
        rdata,
    }
}

#[cfg(test)]
mod tests;
