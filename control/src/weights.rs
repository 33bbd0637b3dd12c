//! The weight file of `loadbalance weighted`, and its changes.
//!
//! ```text
//! # A name, then its addresses with weights from 1 to 255.
//! www.example.com
//! 100.64.1.1 3
//! 100.64.1.2 1
//! ```

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use martlet_engine::plugins::loadbalance::Weights;

use crate::names::wire_of;

/// Why a weight file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// It cannot be read.
    #[error("cannot read the weight file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line of it has the wrong form.
    #[error("{}:{line}: {fault}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl WeightsError {
    /// Whether the file is not there at all.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// An address without a weight.
    #[error("the address `{0}` needs a weight from 1 to 255 behind it")]
    NoWeight(Box<str>),
    /// A word that is no name.
    #[error("`{0}` is not a domain name")]
    Name(Box<str>),
    /// A word that is no address.
    #[error("`{0}` is not an IP address")]
    Address(Box<str>),
    /// A weight out of range.
    #[error("`{0}` is not a weight from 1 to 255")]
    Weight(Box<str>),
    /// An address before the first name.
    #[error("a line with a domain name must come before the address `{0}`")]
    NoName(Box<str>),
    /// Neither a name nor an address with its weight.
    #[error("`{0}` is neither a domain name nor an address and its weight")]
    Words(Box<str>),
}

/// A file that is read again from time to time.
pub struct WeightFile {
    path: PathBuf,
    reload: Duration,
    weights: Arc<ArcSwap<Weights>>,
    /// Its text when it was last read.
    text: Option<String>,
}

impl WeightFile {
    /// Reads the file. With a `reload` interval it may be created later.
    ///
    /// # Errors
    ///
    /// A file that cannot be read and is not read again, or a line of the wrong form.
    pub fn open(path: &Path, reload: Duration) -> Result<Self, WeightsError> {
        let mut file = Self {
            path: path.to_owned(),
            reload,
            weights: Arc::default(),
            text: None,
        };
        match file.read() {
            Err(error @ WeightsError::Unreadable { .. }) if !reload.is_zero() => {
                tracing::warn!("plugin/loadbalance: {error}; trying again in {reload:?}");
            }
            read => {
                read?;
            }
        }
        Ok(file)
    }

    /// The weights: replaced as a whole when the file has changed.
    pub fn weights(&self) -> Arc<ArcSwap<Weights>> {
        Arc::clone(&self.weights)
    }

    /// Reads the file; `false` if nothing has changed. After an error the old weights stay, and the
    /// same text is not complained about again.
    fn read(&mut self) -> Result<bool, WeightsError> {
        let text = fs::read_to_string(&self.path).map_err(|source| WeightsError::Unreadable {
            path: self.path.clone(),
            source,
        })?;
        if self.text.as_ref() == Some(&text) {
            return Ok(false);
        }
        let parsed = parse(&text);
        self.text = Some(text);
        let weights = parsed.map_err(|(line, fault)| WeightsError::Line {
            path: self.path.clone(),
            line,
            fault,
        })?;
        self.weights.store(Arc::new(weights));
        Ok(true)
    }

    /// Reads the file again and again.
    pub async fn watch(mut self) {
        while !self.reload.is_zero() {
            tokio::time::sleep(self.reload).await;
            match self.read() {
                Ok(false) => {}
                Ok(true) => {
                    let path = self.path.display();
                    tracing::info!("plugin/loadbalance: the weight file {path} was read again");
                }
                Err(error) => tracing::error!("plugin/loadbalance: {error}; the weights stay"),
            }
        }
    }
}

/// Reads the text of a weight file; an error has its line.
fn parse(text: &str) -> Result<Weights, (usize, Fault)> {
    let mut weights = HashMap::<Box<[u8]>, Vec<(IpAddr, NonZeroU8)>>::new();
    let mut name = None;
    for (line, number) in text.lines().zip(1..) {
        let words = line.split_whitespace().collect::<Vec<_>>();
        let at = |fault| (number, fault);
        match *words {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            [word] if word.parse::<IpAddr>().is_ok() => {
                return Err(at(Fault::NoWeight(word.into())));
            }
            [word] => {
                let wire = wire_of(word);
                let wire = wire.ok_or_else(|| at(Fault::Name(word.into())))?;
                name = Some(weights.entry(wire).or_default());
            }
            [word, weight] => {
                let address = word.parse::<IpAddr>();
                let address = address.map_err(|_| at(Fault::Address(word.into())))?;
                let weight = weight
                    .parse()
                    .map_err(|_| at(Fault::Weight(weight.into())))?;
                let list = name.as_mut();
                let list = list.ok_or_else(|| at(Fault::NoName(word.into())))?;
                list.push((address.to_canonical(), weight));
            }
            _ => return Err(at(Fault::Words(line.trim().into()))),
        }
    }
    Ok(Weights(weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_addresses_and_weights() {
        let text = "# weights\n\nWWW.example.com\n 10.0.0.1 3\n::ffff:10.0.0.2\t255\n\
                    other.test.\nfd00::1 1\nwww.example.com.\n10.0.0.3 2\n";
        let weigh = |text: &str, weight| (text.parse().unwrap(), NonZeroU8::new(weight).unwrap());
        let expected = HashMap::from([
            (
                b"\x03www\x07example\x03com\0"[..].into(),
                vec![
                    weigh("10.0.0.1", 3),
                    weigh("10.0.0.2", 255),
                    weigh("10.0.0.3", 2),
                ],
            ),
            (b"\x05other\x04test\0"[..].into(), vec![weigh("fd00::1", 1)]),
        ]);
        assert_eq!(parse(text), Ok(Weights(expected)));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, message) in [
            (
                "a.test\n\n10.0.0.1",
                "W:3: the address `10.0.0.1` needs a weight from 1 to 255 behind it",
            ),
            ("a..test", "W:1: `a..test` is not a domain name"),
            ("a.test\n10.0.0 1", "W:2: `10.0.0` is not an IP address"),
            (
                "a.test\n10.0.0.1 0",
                "W:2: `0` is not a weight from 1 to 255",
            ),
            (
                "a.test\n10.0.0.1 256",
                "W:2: `256` is not a weight from 1 to 255",
            ),
            (
                "# a\n10.0.0.1 1",
                "W:2: a line with a domain name must come before the address `10.0.0.1`",
            ),
            (
                "a.test\n10.0.0.1 1 # one",
                "W:2: `10.0.0.1 1 # one` is neither a domain name nor an address and its weight",
            ),
        ] {
            let (line, fault) = parse(text).unwrap_err();
            let error = WeightsError::Line {
                path: "W".into(),
                line,
                fault,
            };
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let missing = WeightFile::open(&path, Duration::ZERO).err().unwrap();
        assert!(
            missing
                .to_string()
                .starts_with("cannot read the weight file /"),
            "{missing}"
        );
        let mut file = WeightFile::open(&path, Duration::from_secs(1)).unwrap();
        let weights = file.weights();
        fs::write(&path, "a.test\n10.0.0.1 2\n").unwrap();
        assert!(file.read().unwrap());
        assert_eq!(weights.load().0.len(), 1);
        assert!(!file.read().unwrap(), "nothing has changed");
        fs::write(&path, "a.test\n10.0.0.1 x\n").unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(
            error.ends_with("/weights:2: `x` is not a weight from 1 to 255"),
            "{error}"
        );
        assert_eq!(weights.load().0.len(), 1, "the old ones stay");
        assert!(!file.read().unwrap(), "and it is told once");
        fs::write(&path, "a.test\n10.0.0.1 2\nb.test\n").unwrap();
        assert!(file.read().unwrap());
        assert_eq!(weights.load().0.len(), 2);
        let broken = dir.path().join("broken");
        fs::write(&broken, "10.0.0.1\n").unwrap();
        assert!(WeightFile::open(&broken, Duration::from_secs(1)).is_err());
    }
}
