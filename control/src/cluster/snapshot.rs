//! The last known state of a cluster on disk, so that a start without the API server serves what was
//! true before instead of SERVFAIL.
//!
//! ```text
//! martlet snapshot 3 ␊   identity ␊   (length, object)… , 0   SHA-256 of all that
//! ```
//!
//! Lengths are four octets, the smallest first; objects are in [`postcard`]'s format. A file is
//! believed only as a whole: the checksum is looked at before the first object is used. It is
//! replaced by renaming, so there is always a whole one.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::object::Object;

/// The first line, which changes whenever older files cannot be read any more.
const MAGIC: &[u8] = b"martlet snapshot 3\n";
const CHECKSUM_LEN: usize = 32;
/// No object is larger: a thousand endpoints take a twentieth of that.
const OBJECT_LEN_MAX: usize = 4 << 20;

/// Where a cluster's state is kept, and which cluster that is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// The file.
    pub path: PathBuf,
    /// What the state is of: the source and what is taken from there. One line. A file with
    /// another identity is not used.
    pub identity: String,
}

/// Why a snapshot cannot be used, or not be written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refuses.
    #[error("cannot {what} the snapshot {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not a snapshot of this version.
    #[error("{} is no snapshot that this version can read", .0.display())]
    Format(PathBuf),
    /// Of another cluster, or with other settings.
    #[error("the snapshot {} is of another cluster or of other settings: `{found}`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its identity.
        found: String,
    },
    /// Not what was written.
    #[error("the snapshot {} is damaged", .0.display())]
    Damaged(PathBuf),
}

impl Snapshot {
    fn io(&self, what: &'static str) -> impl Fn(io::Error) -> SnapshotError {
        let path = self.path.clone();
        move |source| SnapshotError::Io {
            what,
            path: path.clone(),
            source,
        }
    }

    /// Hands every object of the file to `apply` and tells when it was written. `None` if there is
    /// no file.
    ///
    /// # Errors
    ///
    /// If the file is not to be used. `apply` has not been called then.
    pub fn read(&self, mut apply: impl FnMut(Object)) -> Result<Option<SystemTime>, SnapshotError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io("open")(error)),
        };
        let read = self.io("read");
        let written = file
            .metadata()
            .and_then(|of| of.modified())
            .map_err(&read)?;
        self.verify(&mut file)?;
        file.rewind().map_err(&read)?;
        let mut from = BufReader::new(file);
        self.skip_header(&mut from)?;
        let mut object = Vec::new();
        while let Some(len) = length(&mut from).map_err(&read)? {
            object.resize(len, 0);
            from.read_exact(&mut object).map_err(&read)?;
            let decoded = postcard::from_bytes(&object);
            apply(decoded.map_err(|_| SnapshotError::Damaged(self.path.clone()))?);
        }
        Ok(Some(written))
    }

    /// Whether header, lengths and checksum are right, and every object can be read.
    fn verify(&self, file: &mut File) -> Result<(), SnapshotError> {
        let damaged = |_| SnapshotError::Damaged(self.path.clone());
        let mut from = Summed::new(BufReader::new(file));
        self.skip_header(&mut from)?;
        let mut object = Vec::new();
        while let Some(len) = length(&mut from).map_err(damaged)? {
            object.resize(len, 0);
            from.read_exact(&mut object).map_err(damaged)?;
            if postcard::from_bytes::<Object>(&object).is_err() {
                return Err(SnapshotError::Damaged(self.path.clone()));
            }
        }
        let (mut from, sum) = from.finish();
        let mut rest = Vec::new();
        from.read_to_end(&mut rest).map_err(damaged)?;
        if rest == sum {
            Ok(())
        } else {
            Err(SnapshotError::Damaged(self.path.clone()))
        }
    }

    fn skip_header(&self, from: &mut impl Read) -> Result<(), SnapshotError> {
        let format = |_| SnapshotError::Format(self.path.clone());
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic).map_err(format)?;
        if magic != MAGIC {
            return Err(SnapshotError::Format(self.path.clone()));
        }
        let mut found = Vec::new();
        loop {
            let mut octet = [0];
            from.read_exact(&mut octet).map_err(format)?;
            if octet == *b"\n" {
                break;
            }
            found.push(octet[0]);
        }
        if found == self.identity.as_bytes() {
            return Ok(());
        }
        Err(SnapshotError::Foreign {
            path: self.path.clone(),
            found: String::from_utf8_lossy(&found).into_owned(),
        })
    }

    /// Writes the objects beside the file. They stand in its place after [`Written::commit`].
    ///
    /// # Errors
    ///
    /// If they cannot be written; the file stays as it was.
    pub fn write(&self, objects: impl Iterator<Item = Object>) -> Result<Written, SnapshotError> {
        let write = self.io("write");
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(&write)?;
        }
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let file = File::create(&beside).map_err(&write)?;
        match self.fill(file, objects) {
            Ok(file) => Ok(Written {
                file,
                beside,
                snapshot: self.clone(),
            }),
            Err(error) => {
                discard(&beside);
                Err(write(error))
            }
        }
    }

    fn fill(&self, file: File, objects: impl Iterator<Item = Object>) -> io::Result<File> {
        let mut to = Summed::new(BufWriter::new(file));
        let mut octets = Vec::new();
        to.write_all(MAGIC)?;
        to.write_all(self.identity.as_bytes())?;
        to.write_all(b"\n")?;
        for object in objects {
            octets.clear();
            octets = postcard::to_extend(&object, std::mem::take(&mut octets))
                .map_err(io::Error::other)?;
            to.write_all(&(octets.len() as u32).to_le_bytes())?;
            to.write_all(&octets)?;
        }
        to.write_all(&0_u32.to_le_bytes())?;
        let (mut to, sum) = to.finish();
        to.write_all(&sum)?;
        to.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Takes half a file away: it is of no use to anybody, and the disk may be full.
fn discard(beside: &Path) {
    let _ = fs::remove_file(beside);
}

/// A snapshot that is written but not in its place yet.
pub struct Written {
    file: File,
    beside: PathBuf,
    snapshot: Snapshot,
}

impl Written {
    /// Waits until the octets are on the disk, then puts them in the old file's place.
    ///
    /// # Errors
    ///
    /// If that cannot be done; the old file stays.
    pub fn commit(self) -> Result<(), SnapshotError> {
        let write = self.snapshot.io("write");
        let synced = self.file.sync_all();
        synced
            .and_then(|()| fs::rename(&self.beside, &self.snapshot.path))
            .map_err(|error| {
                discard(&self.beside);
                write(error)
            })?;
        let directory = self.snapshot.path.parent();
        let directory = directory.filter(|path| !path.as_os_str().is_empty());
        File::open(directory.unwrap_or_else(|| Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(write)
    }
}

/// The length of the next object; `None` behind the last one.
fn length(from: &mut impl Read) -> io::Result<Option<usize>> {
    let mut octets = [0; 4];
    from.read_exact(&mut octets)?;
    match u32::from_le_bytes(octets) as usize {
        0 => Ok(None),
        len if len <= OBJECT_LEN_MAX => Ok(Some(len)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Sums up what passes.
struct Summed<S> {
    stream: S,
    sum: Sha256,
}

impl<S> Summed<S> {
    fn new(stream: S) -> Self {
        let sum = Sha256::new();
        Self { stream, sum }
    }

    fn finish(self) -> (S, [u8; CHECKSUM_LEN]) {
        (self.stream, self.sum.finalize().into())
    }
}

impl<S: Read> Read for Summed<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.stream.read(buf)?;
        self.sum.update(&buf[..len]);
        Ok(len)
    }
}

impl<S: Write> Write for Summed<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.stream.write(buf)?;
        self.sum.update(&buf[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests;
