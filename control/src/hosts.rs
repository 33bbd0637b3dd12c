//! The file of `hosts`, and its changes.
//!
//! A line is an address and its names; what does not look like that is passed over, as everywhere
//! where such files are read.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use martlet_engine::plugins::hosts::{Current, Table};
use martlet_engine::plugins::zones::Zones;

use crate::names::wire_of;

/// A file that is looked at from time to time.
pub struct HostsFile {
    path: PathBuf,
    zones: Zones,
    reverse: bool,
    reload: Duration,
    table: Arc<Current>,
    /// When it was changed, and its size.
    stamp: Option<(SystemTime, u64)>,
}

impl HostsFile {
    /// Reads the file, if it is there. Names outside of `zones` are passed over; `reverse` says that
    /// addresses lead to names.
    pub fn open(path: &Path, zones: Zones, reverse: bool, reload: Duration) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            zones,
            reverse,
            reload,
            table: Arc::default(),
            stamp: None,
        };
        if let Err(error) = file.read() {
            let path = path.display();
            tracing::warn!("plugin/hosts: cannot read {path}: {error}");
        }
        file
    }

    /// What it says.
    pub fn table(&self) -> Arc<Current> {
        Arc::clone(&self.table)
    }

    /// Reads the file if it has changed. What was read stays when it cannot be.
    fn read(&mut self) -> std::io::Result<()> {
        let metadata = fs::metadata(&self.path)?;
        let changed = metadata.modified()?;
        let stamp = Some((changed, metadata.len()));
        if self.stamp == stamp {
            return Ok(());
        }
        let octets = fs::read(&self.path)?;
        let mut table = parse(&String::from_utf8_lossy(&octets), &self.zones, self.reverse);
        table.changed = Some(changed);
        self.table.replace(table);
        self.stamp = stamp;
        Ok(())
    }

    /// Looks at the file again and again.
    pub async fn watch(mut self) {
        while !self.reload.is_zero() {
            tokio::time::sleep(self.reload).await;
            // It was complained about at the start; it may come back.
            let _ = self.read();
        }
    }
}

fn parse(text: &str, zones: &Zones, reverse: bool) -> Table {
    let mut table = Table::default();
    for line in text.lines() {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        // The part of an address that names an interface is of no use in answers.
        let address = words.next().and_then(|word| word.split('%').next());
        let Some(Ok(address)) = address.map(str::parse::<IpAddr>) else {
            continue;
        };
        for name in words.filter_map(wire_of) {
            if zones.hold_wire(&name) {
                table.add(&name, address.to_canonical(), reverse);
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Box<[u8]> {
        wire_of(text).unwrap()
    }

    #[test]
    fn lines_are_addresses_and_names() {
        let text = "# comment\n10.0.0.1 A.test b.test # rest\nfd00::1%eth0\ta.test.\nlocalhost a.test\n\
                    300.0.0.1 a.test\n10.0.0.2\n10.0.0.3 other.example\n::ffff:10.0.0.4 c.test\n";
        let zones = Zones::new([wire("test")]);
        let mut expected = Table::default();
        for (address, name) in [
            ("10.0.0.1", "a.test"),
            ("10.0.0.1", "b.test"),
            ("fd00::1", "a.test"),
            ("10.0.0.4", "c.test"),
        ] {
            expected.add(&wire(name), address.parse().unwrap(), true);
        }
        assert_eq!(parse(text, &zones, true), expected);
        assert_eq!(parse(text, &zones, false).len(), 4);
    }

    #[test]
    fn a_change_is_seen_and_a_loss_is_borne() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let zones = Zones::new([wire(".")]);
        let mut file = HostsFile::open(&path, zones, true, RELOAD);
        assert!(file.table().load().is_empty());
        fs::write(&path, "10.0.0.1 a\n").unwrap();
        file.read().unwrap();
        assert_eq!(file.table().load().len(), 2);
        fs::write(&path, "10.0.0.1 a b\n").unwrap();
        file.read().unwrap();
        assert_eq!(file.table().load().len(), 4);
        fs::remove_file(&path).unwrap();
        assert!(file.read().is_err());
        assert_eq!(file.table().load().len(), 4);
    }

    const RELOAD: Duration = Duration::from_secs(5);
}
